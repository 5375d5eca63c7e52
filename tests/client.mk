# tests of client
client_libs = src/client/libclient.a $(CHECK_LINK) $(CURL_LIBS) $(JANSSON_LIBS)
client_cflags = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS) $(JANSSON_CFLAGS) $(CURL_CFLAGS)
client_checks = tests/check_verify tests/check_formats tests/check_install tests/check_keygen \
	tests/check_compat
check_PROGRAMS += $(client_checks)
UNIT_TESTS += $(client_checks)
tests_check_verify_SOURCES = tests/check_verify.c tests/dc_maker.c tests/dc_maker.h
tests_check_verify_CFLAGS = $(client_cflags)
tests_check_verify_LDADD = $(client_libs)
tests_check_compat_SOURCES = tests/check_compat.c tests/run_suite.h tests/dc_maker.c tests/dc_maker.h
tests_check_compat_CFLAGS = $(client_cflags)
tests_check_compat_LDADD = $(CHECK_LINK)
tests_check_formats_SOURCES = tests/check_formats.c tests/dc_maker.c tests/dc_maker.h
tests_check_formats_CFLAGS = $(client_cflags)
tests_check_formats_LDADD = $(client_libs)
tests_check_install_CFLAGS = $(client_cflags)
tests_check_install_LDADD = $(client_libs)
tests_check_keygen_CFLAGS = $(client_cflags)
tests_check_keygen_LDADD = $(client_libs)
tests_fuzz_formats_SOURCES = tests/fuzz_formats.c
tests_fuzz_formats_LDADD = src/client/libclient.a $(FUZZ_LINK) $(JANSSON_LIBS)
client_fuzz_libs = src/client/libclient.a $(FUZZ_LINK) $(CONFUSE_LIBS) $(CURL_LIBS) $(JANSSON_LIBS)
tests_fuzz_issued_SOURCES = tests/fuzz_issued.c tests/fuzz_files.h
tests_fuzz_issued_LDADD = $(client_fuzz_libs)
tests_fuzz_agentconf_SOURCES = tests/fuzz_agentconf.c tests/fuzz_files.h
tests_fuzz_agentconf_LDADD = $(client_fuzz_libs)
tests_fuzz_agentstate_SOURCES = tests/fuzz_agentstate.c tests/fuzz_files.h
tests_fuzz_agentstate_LDADD = $(client_fuzz_libs)
tests_fuzz_witness_SOURCES = tests/fuzz_witness.c tests/fuzz_files.h
tests_fuzz_witness_LDADD = $(client_fuzz_libs)

if HAVE_BORINGSSL
check_PROGRAMS += tests/interop/dc_server
tests_interop_dc_server_SOURCES = tests/interop/dc_server.c
tests_interop_dc_server_CPPFLAGS = $(PROJECT_CPPFLAGS)
tests_interop_dc_server_CFLAGS = $(AM_CFLAGS) $(BORINGSSL_CFLAGS)
tests_interop_dc_server_LDADD = $(BORINGSSL_LIBS)
endif
if HAVE_NSS
check_PROGRAMS += tests/interop/nss_server
tests_interop_nss_server_SOURCES = tests/interop/nss_server.c
tests_interop_nss_server_CFLAGS = $(AM_CFLAGS) $(NSS_CFLAGS) -Wno-strict-prototypes
tests_interop_nss_server_LDADD = $(NSS_LIBS)
endif
client_e2e = tests/e2e_handshake.sh tests/e2e_client.sh tests/e2e_formats.sh \
	tests/e2e_agent.sh tests/e2e_witness.sh tests/e2e_agent_kill.py tests/e2e_rotation.sh \
	tests/e2e_completion.sh
E2E_TESTS += $(client_e2e)
EXTRA_DIST += $(client_e2e) tests/interop/handshake.sh tests/interop/make_dc.py \
	tests/interop/formats.py tests/fakes/service.py tests/fakes/ledger.py tests/fakes/service.sh
LINT_TESTS += tests/lint_man.sh
EXTRA_DIST += tests/lint_man.sh
