# tests of api
check_PROGRAMS += tests/api_parent
tests_api_parent_SOURCES = tests/api_parent.c
tests_api_parent_LDADD = src/libdcsign.a $(CRYPTO_LIBS)
E2E_TESTS += tests/e2e_api.py tests/e2e_api_abuse.py tests/e2e_api_strict.py tests/e2e_requests.sh tests/e2e_holds.sh tests/e2e_holds_tokens.sh tests/e2e_clock.sh tests/e2e_sighup_load.sh tests/e2e_drain.sh tests/e2e_idempotency.sh tests/e2e_openapi.py
EXTRA_DIST += tests/ABUSE.md tests/load.py tests/e2e_replace.sh tests/api_fixture.py tests/e2e_api.py tests/e2e_api_abuse.py tests/e2e_api_strict.py tests/e2e_requests.sh tests/e2e_holds.sh tests/e2e_holds_tokens.sh tests/e2e_clock.sh tests/e2e_sighup_load.sh tests/e2e_drain.sh tests/e2e_idempotency.sh tests/e2e_openapi.py

# what the ledger is asked through the API
E2E_TESTS += tests/e2e_ledger_api.sh tests/e2e_policy.sh tests/e2e_metrics.sh
EXTRA_DIST += tests/e2e_metrics.sh tests/metrics_api.py tests/e2e_ledger_api.sh tests/ledger_api.py tests/openapi.py tests/api_client.py \
	tests/e2e_policy.sh tests/policy_api.py
LONG_TESTS += tests/openapi_document.sh
EXTRA_DIST += tests/openapi_document.sh

api_checks = tests/check_pem tests/check_request tests/check_framing tests/check_sieve tests/check_limits \
	tests/check_peer tests/check_link tests/check_signer tests/check_reply tests/check_routes
check_PROGRAMS += $(api_checks)
UNIT_TESTS += $(api_checks)
api_check_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(GNUTLS_CFLAGS) $(JANSSON_CFLAGS)
api_check_link = api/libapi.a src/libdcsign.a $(CHECK_LIBS) $(API_LIBS)
tests_check_pem_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_check_pem_CFLAGS = $(api_check_cflags)
tests_check_pem_LDADD = $(api_check_link)
tests_check_request_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_check_request_CFLAGS = $(api_check_cflags)
tests_check_request_LDADD = $(api_check_link)
tests_check_framing_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_check_framing_CFLAGS = $(api_check_cflags)
tests_check_framing_LDADD = $(api_check_link)
tests_check_sieve_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_check_sieve_CFLAGS = $(api_check_cflags)
tests_check_sieve_LDADD = $(api_check_link)
tests_check_limits_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_check_limits_CFLAGS = $(api_check_cflags)
tests_check_limits_LDADD = $(api_check_link)
tests_check_peer_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_check_peer_CFLAGS = $(api_check_cflags)
tests_check_peer_LDADD = $(api_check_link)
tests_check_link_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_check_link_CFLAGS = $(api_check_cflags)
tests_check_link_LDADD = $(api_check_link)
tests_check_signer_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_check_signer_CFLAGS = $(api_check_cflags)
tests_check_signer_LDADD = $(api_check_link)
tests_check_reply_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_check_reply_CFLAGS = $(api_check_cflags)
tests_check_reply_LDADD = $(api_check_link)
tests_check_routes_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_check_routes_CFLAGS = $(api_check_cflags)
tests_check_routes_LDADD = $(api_check_link)

tests_fuzz_request_SOURCES = tests/fuzz_request.c
tests_fuzz_request_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_fuzz_request_LDADD = api/libapi.a $(FUZZ_LINK) $(JANSSON_LIBS)
tests_fuzz_batch_SOURCES = tests/fuzz_batch.c
tests_fuzz_batch_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_fuzz_batch_LDADD = api/libapi.a $(FUZZ_LINK) $(JANSSON_LIBS)
tests_fuzz_query_SOURCES = tests/fuzz_query.c
tests_fuzz_query_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_fuzz_query_LDADD = api/libapi.a $(FUZZ_LINK)
tests_fuzz_peer_SOURCES = tests/fuzz_peer.c tests/fuzz_files.h
tests_fuzz_peer_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_fuzz_peer_CFLAGS = $(AM_CFLAGS) $(GNUTLS_CFLAGS)
tests_fuzz_peer_LDADD = api/libapi.a $(FUZZ_LINK) $(GNUTLS_LIBS)
tests_fuzz_sieve_SOURCES = tests/fuzz_sieve.c tests/fuzz_files.h
tests_fuzz_sieve_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_fuzz_sieve_LDADD = api/libapi.a $(FUZZ_LINK)
tests_fuzz_http_SOURCES = tests/fuzz_http.c tests/fuzz_files.h
tests_fuzz_http_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/api
tests_fuzz_http_CFLAGS = $(AM_CFLAGS) $(MHD_CFLAGS)
tests_fuzz_http_LDADD = api/libapi.a $(FUZZ_LINK) $(MHD_LIBS)

# clocks that stand where a test says
check_PROGRAMS += tests/faults/wallclock.so
tests_faults_wallclock_so_SOURCES = tests/faults/wallclock.c
tests_faults_wallclock_so_CFLAGS = -std=gnu11 $(PROJECT_CFLAGS) -fno-sanitize=all -fPIC
tests_faults_wallclock_so_LDFLAGS = -shared -Wl,-z,defs -Wl,-z,relro -Wl,-z,now
tests_faults_wallclock_so_LDADD =
E2E_TESTS += tests/e2e_clock_boot.sh tests/e2e_overload.sh tests/e2e_replace.sh
LONG_TESTS += tests/e2e_clock_boot.sh tests/e2e_overload.sh tests/e2e_api_strict.py tests/e2e_api_abuse.py
EXTRA_DIST += tests/e2e_clock_boot.sh tests/e2e_overload.sh
