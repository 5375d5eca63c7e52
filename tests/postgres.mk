# tests of the PostgreSQL engine: they need a server of Debian
E2E_TESTS += tests/e2e_postgres_suites.sh tests/e2e_postgres.sh tests/e2e_postgres_engines.sh tests/e2e_postgres_full.sh tests/e2e_two_nodes.sh
LONG_TESTS += tests/e2e_postgres_engines.sh
EXTRA_DIST += tests/postgres.sh tests/postgres_load.py tests/e2e_postgres_suites.sh tests/e2e_postgres.sh tests/e2e_postgres_engines.sh tests/faults/same_engines.py tests/e2e_postgres_full.sh tests/e2e_two_nodes.sh
check_PROGRAMS += tests/check_postgres
tests_check_postgres_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(PQ_CFLAGS)
tests_check_postgres_LDADD = $(LEDGER_CHECK)
