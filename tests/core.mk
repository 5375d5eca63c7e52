# tests of core
vector_tables = tests/vectors/spki.txt tests/vectors/certificate.txt tests/vectors/dc.txt \
	tests/vectors/csr.txt
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
