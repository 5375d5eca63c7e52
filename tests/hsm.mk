# tests of hsm
check_LIBRARIES += tests/libhsmhelp.a
tests_libhsmhelp_a_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_libhsmhelp_a_SOURCES = tests/hsm_fixture.c tests/hsm_fixture.h \
	tests/fakes/fake_ledger.c tests/fakes/fake_ledger.h
HSM_CHECK = tests/libhsmhelp.a $(HSM_LIBS) $(CHECK_LIBS)

hsm_checks = tests/check_hsm tests/check_issue tests/check_pin \
	tests/check_token tests/check_append tests/check_gate tests/check_guard tests/check_rate \
	tests/check_public_keys tests/check_queue
check_PROGRAMS += $(hsm_checks)
UNIT_TESTS += $(hsm_checks)
tests_check_hsm_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_hsm_LDADD = $(HSM_CHECK)

# issue.c and keyring.c with a token and a ledger that write down the order of calls
tests_check_issue_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_check_issue_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_check_issue_SOURCES = tests/check_issue.c tests/table.c tests/table.h tests/fakes/fake_order.c tests/fakes/fake_order.h $(failing_malloc)
tests_check_issue_LDFLAGS = $(AM_LDFLAGS) $(FAILING_MALLOC) \
	-Wl,--wrap=dc_parse_tbs,--wrap=dc_expiry,--wrap=identity_new
tests_check_issue_LDADD = tests/libhsmhelp.a hsm/libhsm.a hsm/libcounters.a $(CHECK_LINK)

# queue*.c with requests, a token and a ledger that are scripted
tests_check_queue_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_check_queue_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_check_queue_LDADD = tests/libhsmhelp.a hsm/libhsm.a hsm/libcounters.a $(CHECK_LINK)

tests_check_pin_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_check_pin_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_pin_LDADD = $(HSM_CHECK)
tests_check_token_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_check_token_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_check_token_LDADD = $(HSM_CHECK)

# token*.c on a module that answers what the test says
check_PROGRAMS += tests/fakes/fake_module.so tests/check_module tests/check_module_keys
UNIT_TESTS += tests/check_module tests/check_module_keys
tests_fakes_fake_module_so_SOURCES = tests/fakes/fake_module.c tests/fakes/fake_module.h
tests_fakes_fake_module_so_CFLAGS = -std=gnu11 $(PROJECT_CFLAGS) -fno-sanitize=all -fPIC $(P11KIT_CFLAGS)
tests_fakes_fake_module_so_LDFLAGS = -shared -Wl,-z,relro -Wl,-z,now
on_module = tests/module_rig.c tests/module_rig.h tests/fakes/fake_module.h $(failing_malloc)
tests_check_module_SOURCES = tests/check_module.c $(on_module)
tests_check_module_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_check_module_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS) $(P11KIT_CFLAGS)
tests_check_module_LDFLAGS = $(AM_LDFLAGS) $(FAILING_MALLOC)
tests_check_module_LDADD = $(HSM_LIBS) $(CHECK_LIBS)
tests_check_module_keys_SOURCES = tests/check_module_keys.c $(on_module)
tests_check_module_keys_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_check_module_keys_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS) $(P11KIT_CFLAGS)
tests_check_module_keys_LDFLAGS = $(AM_LDFLAGS) $(FAILING_MALLOC)
tests_check_module_keys_LDADD = $(HSM_LIBS) $(CHECK_LIBS)

LONG_TESTS += tests/check_rate
tests_check_rate_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_check_rate_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_rate_LDADD = $(HSM_CHECK)
tests_check_gate_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_check_gate_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_gate_LDADD = $(HSM_CHECK)
tests_check_append_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_check_append_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_append_LDADD = $(HSM_CHECK)

tests_fuzz_pin_SOURCES = tests/fuzz_pin.c tests/fuzz_files.h
tests_fuzz_pin_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_fuzz_pin_LDADD = hsm/libhsm.a $(FUZZ_LINK)
tests_fuzz_clock_SOURCES = tests/fuzz_clock.c tests/fuzz_files.h
tests_fuzz_clock_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_fuzz_clock_LDADD = hsm/libhsm.a hsm/libcounters.a $(FUZZ_LINK)
tests_fuzz_uri_SOURCES = tests/fuzz_uri.c tests/fuzz_files.h
tests_fuzz_uri_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_fuzz_uri_CFLAGS = $(AM_CFLAGS) $(P11KIT_CFLAGS)
tests_fuzz_uri_LDADD = hsm/libtoken.a hsm/libcounters.a $(FUZZ_LINK) $(P11_LIBS) $(P11KIT_LIBS)
tests_fuzz_issue_SOURCES = tests/fuzz_issue.c tests/fuzz_files.h tests/fakes/fake_order.c tests/fakes/fake_order.h
tests_fuzz_issue_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_fuzz_issue_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(CHECK_CFLAGS)
tests_fuzz_issue_LDADD = tests/libhsmhelp.a hsm/libhsm.a hsm/libcounters.a $(FUZZ_LINK)

# the whole service on p11fault.so
E2E_TESTS += tests/e2e_faults.sh tests/e2e_matrix.sh
LONG_TESTS += tests/e2e_faults.sh tests/e2e_matrix.sh
EXTRA_DIST += tests/e2e_faults.sh tests/e2e_matrix.sh tests/faults/lib.sh \
	tests/faults/hsm_service.py tests/faults/hsm_scenarios.py tests/faults/hsm_matrix.py
tests_check_guard_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_check_guard_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_guard_LDADD = hsm/libhsm.a $(CHECK_LINK)
tests_check_public_keys_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/hsm
tests_check_public_keys_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_check_public_keys_LDADD = hsm/libhsm.a $(CHECK_LINK)

# thousands of keys, hundreds of threads
check_PROGRAMS += tests/scale_token
tests_scale_token_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(P11KIT_CFLAGS) $(CRYPTO_CFLAGS)
tests_scale_token_LDADD = tests/libhsmhelp.a $(CHECK_LINK)
E2E_TESTS += tests/e2e_scale.sh
LONG_TESTS += tests/e2e_scale.sh
E2E_TESTS += tests/e2e_pin.sh tests/e2e_modules.sh tests/e2e_opencryptoki.sh tests/e2e_keys.sh tests/e2e_refused.sh
LONG_TESTS += tests/e2e_tpm2.sh
EXTRA_DIST += tests/HSM.md tests/modules.sh tests/e2e_keys.sh tests/e2e_tpm2.sh tests/e2e_pin.sh tests/e2e_modules.sh tests/e2e_opencryptoki.sh tests/e2e_scale.sh tests/faults/hsm_scale.py

# the process that holds the keys is followed by another
E2E_TESTS += tests/e2e_heir.sh
EXTRA_DIST += tests/e2e_heir.sh

# a hostile token beside another
E2E_TESTS += tests/e2e_neighbours.sh
LONG_TESTS += tests/e2e_neighbours.sh
EXTRA_DIST += tests/e2e_neighbours.sh tests/faults/hsm_neighbours.py
EXTRA_DIST += tests/scan_memory.py
EXTRA_DIST += tests/e2e_refused.sh
