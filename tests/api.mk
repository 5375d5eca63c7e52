# tests of api
check_PROGRAMS += tests/api_parent
tests_api_parent_SOURCES = tests/api_parent.c
tests_api_parent_LDADD = src/libdcsign.a $(CRYPTO_LIBS)
E2E_TESTS += tests/e2e_api.py tests/e2e_api_abuse.py
EXTRA_DIST += tests/api_fixture.py tests/e2e_api.py tests/e2e_api_abuse.py
