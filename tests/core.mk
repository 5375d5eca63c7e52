# tests of core
# Of a test that makes the n-th allocation fail: its sources and LDFLAGS.
failing_malloc = tests/failing_malloc.c tests/failing_malloc.h
FAILING_MALLOC = -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free,--wrap=sha256

FAILING_CRYPTO = -Wl,--wrap=BN_mod_mul,--wrap=BN_mod_sqr,--wrap=BN_mod_sub \
	-Wl,--wrap=EVP_PKEY_CTX_set_rsa_padding,--wrap=EVP_PKEY_CTX_set_rsa_mgf1_md \
	-Wl,--wrap=EVP_PKEY_fromdata_init,--wrap=i2d_X509_PUBKEY,--wrap=X509_STORE_CTX_init

vector_tables = tests/vectors/spki.txt tests/vectors/certificate.txt tests/vectors/dc.txt \
	tests/vectors/csr.txt tests/vectors/chain.txt
vector_makers = tests/vectors/make_vectors.py tests/vectors/certs.py tests/vectors/curves.py \
	tests/vectors/der.py tests/vectors/keys.py
EXTRA_DIST += $(vector_tables) $(vector_makers)

check_PROGRAMS += tests/check_vectors
UNIT_TESTS += tests/check_vectors
tests_check_vectors_SOURCES = tests/check_vectors.c tests/table.c tests/table.h
tests_check_vectors_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_check_vectors_LDADD = $(CHECK_LINK)

check_PROGRAMS += tests/check_foreign
UNIT_TESTS += tests/check_foreign
tests_check_foreign_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS) $(JANSSON_CFLAGS)
tests_check_foreign_LDADD = $(CHECK_LINK) $(JANSSON_LIBS)

core_suites = tests/check_bounds tests/check_basics tests/check_dc tests/check_policy tests/check_pubkey
check_PROGRAMS += $(core_suites)
UNIT_TESTS += $(core_suites)
tests_check_basics_SOURCES = tests/check_basics.c tests/run_suite.h
tests_check_basics_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_basics_LDADD = $(CHECK_LINK)
tests_check_bounds_SOURCES = tests/check_bounds.c tests/run_suite.h tests/table.c tests/table.h
tests_check_bounds_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_check_bounds_LDADD = $(CHECK_LINK)
tests_check_dc_SOURCES = tests/check_dc.c tests/run_suite.h
tests_check_dc_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_dc_LDADD = $(CHECK_LINK)
tests_check_policy_SOURCES = tests/check_policy.c tests/run_suite.h
tests_check_policy_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS)
tests_check_policy_LDADD = $(CHECK_LINK)
tests_check_pubkey_SOURCES = tests/check_pubkey.c tests/run_suite.h tests/table.c tests/table.h
tests_check_pubkey_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(CRYPTO_CFLAGS)
tests_check_pubkey_LDADD = $(CHECK_LINK)

EXTRA_DIST += tests/rooms.txt tests/lint_includes.sh tests/lint_symbols.sh tests/lint_format.sh \
	tests/check_lints.sh tests/remake_vectors.sh
LINT_TESTS += tests/lint_includes.sh tests/lint_symbols.sh tests/lint_format.sh \
	tests/check_lints.sh tests/remake_vectors.sh
