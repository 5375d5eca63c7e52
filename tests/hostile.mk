# tests of what a process can't choose: a neighbour that was taken over, memory that is not there
check_PROGRAMS += tests/fakes/hostile_api
tests_fakes_hostile_api_SOURCES = tests/fakes/hostile_api.c tests/fakes/hostile.c tests/fakes/hostile.h
tests_fakes_hostile_api_LDADD = src/libdcsign.a $(CRYPTO_LIBS)
E2E_TESTS += tests/e2e_hostile.sh
LONG_TESTS += tests/e2e_hostile.sh
EXTRA_DIST += tests/e2e_hostile.sh
