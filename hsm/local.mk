# hsm: the process that holds the key. token*.c are the only files that know PKCS#11.
noinst_LIBRARIES += hsm/libhsm.a
hsm_libhsm_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(P11_CFLAGS) $(P11KIT_CFLAGS)
hsm_libhsm_a_SOURCES = \
	hsm/counters.c hsm/counters.h \
	hsm/token_uri.c hsm/token_private.h \
	hsm/token.c hsm/token.h \
	hsm/token_sign.c \
	hsm/token_key.c
HSM_LIBS = hsm/libhsm.a src/libdcsign.a $(P11_LIBS) $(P11KIT_LIBS) $(CRYPTO_LIBS)
