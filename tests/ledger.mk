# tests of ledger
check_LIBRARIES += tests/libledgerhelp.a
tests_libledgerhelp_a_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_libledgerhelp_a_SOURCES = tests/ledger_help.c tests/ledger_help.h
LEDGER_CHECK = tests/libledgerhelp.a src/ledger/libledger.a $(CHECK_LINK) $(SQLITE_LIBS)

ledger_checks = tests/check_record tests/check_ledgerd
check_PROGRAMS += $(ledger_checks)
UNIT_TESTS += $(ledger_checks)
EXTRA_DIST += src/ledger/RECORDS.md
tests_check_record_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_record_LDADD = $(LEDGER_CHECK)
tests_check_ledgerd_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_ledgerd_LDADD = $(LEDGER_CHECK)
