# tests of ledger
check_LIBRARIES += tests/libledgerhelp.a
tests_libledgerhelp_a_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS) $(SQLITE_CFLAGS) $(PQ_CFLAGS)
tests_libledgerhelp_a_SOURCES = tests/ledger_help.c tests/ledger_help.h \
	tests/ledger_bench.c tests/ledger_bench.h \
	tests/ledgerd_rig.c tests/ledgerd_rig.h
LEDGER_CHECK = tests/libledgerhelp.a src/ledger/libledger.a $(CHECK_LINK) $(SQLITE_LIBS) $(PQ_LIBS) $(JANSSON_LIBS)

ledger_checks = tests/check_record tests/check_store tests/check_holders tests/check_state tests/check_commit tests/check_ledger_verify tests/check_ledgerd tests/check_holds tests/check_log tests/check_heads tests/check_witness tests/check_answers tests/check_archive tests/check_upgrade
check_PROGRAMS += $(ledger_checks)
UNIT_TESTS += $(ledger_checks)
EXTRA_DIST += src/ledger/RECORDS.md
tests_check_record_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_record_LDADD = $(LEDGER_CHECK)
tests_check_state_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_state_LDADD = $(LEDGER_CHECK)
tests_check_ledgerd_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_ledgerd_LDADD = $(LEDGER_CHECK)
tests_check_ledger_verify_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_ledger_verify_LDADD = $(LEDGER_CHECK)
tests_check_commit_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_commit_LDADD = $(LEDGER_CHECK)
tests_check_store_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_store_LDADD = $(LEDGER_CHECK)
tests_check_holders_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SQLITE_CFLAGS)
tests_check_holders_LDADD = $(LEDGER_CHECK)
tests_check_holds_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_holds_LDADD = $(LEDGER_CHECK)
tests_check_log_SOURCES = tests/check_log.c tests/table.c
tests_check_log_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_log_LDADD = $(CHECK_LINK)
EXTRA_DIST += tests/vectors/make_log.py tests/vectors/log.txt
tests_check_heads_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_heads_LDADD = $(LEDGER_CHECK)
tests_check_witness_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_witness_LDADD = $(LEDGER_CHECK)
tests_check_answers_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_answers_LDADD = $(LEDGER_CHECK)
tests_check_archive_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_archive_LDADD = $(LEDGER_CHECK)
tests_check_upgrade_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(SQLITE_CFLAGS)
tests_check_upgrade_LDADD = $(LEDGER_CHECK)
tests_fuzz_bookmark_SOURCES = tests/fuzz_bookmark.c tests/fuzz_files.h
ledger_fuzz_libs = src/ledger/libledger.a $(FUZZ_LINK) $(SQLITE_LIBS) $(PQ_LIBS) $(JANSSON_LIBS)
tests_fuzz_bookmark_LDADD = $(ledger_fuzz_libs)
tests_fuzz_pending_SOURCES = tests/fuzz_pending.c tests/fuzz_files.h
tests_fuzz_pending_LDADD = $(ledger_fuzz_libs)
tests_fuzz_archive_SOURCES = tests/fuzz_archive.c tests/fuzz_files.h
tests_fuzz_archive_LDADD = $(ledger_fuzz_libs)
check_PROGRAMS += tests/check_store_faults tests/check_memory
UNIT_TESTS += tests/check_store_faults tests/check_memory
tests_check_store_faults_SOURCES = tests/check_store_faults.c tests/fakes/failing_store.c tests/fakes/failing_store.h
tests_check_store_faults_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_store_faults_LDADD = $(LEDGER_CHECK)

# The n-th allocation fails, of these objects' own and of libcrypto's.
tests_check_memory_SOURCES = tests/check_memory.c tests/failing_crypto.c $(failing_malloc) tests/run_suite.h tests/table.c tests/table.h
tests_check_memory_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_check_memory_LDFLAGS = $(AM_LDFLAGS) $(FAILING_MALLOC) $(FAILING_CRYPTO)
tests_check_memory_LDADD = $(LEDGER_CHECK)
