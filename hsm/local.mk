# hsm: the process that holds the key. token*.c are the only files that know PKCS#11.
noinst_LIBRARIES += hsm/libhsm.a hsm/libtoken.a hsm/libcounters.a
hsm_libcounters_a_SOURCES = hsm/counters.c hsm/counters.h
hsm_libtoken_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(P11_CFLAGS) $(P11KIT_CFLAGS)
hsm_libtoken_a_SOURCES = \
	hsm/token_uri.c hsm/token_private.h \
	hsm/token.c hsm/token.h \
	hsm/token_gate.c hsm/token_gate.h \
	hsm/token_index.c \
	hsm/token_sign.c \
	hsm/token_key.c
hsm_libhsm_a_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
hsm_libhsm_a_SOURCES = \
	hsm/identity.c hsm/identity.h \
	hsm/pin.c hsm/pin.h \
	hsm/guard.c hsm/guard.h \
	hsm/clock.c hsm/clock.h \
	hsm/deadline.c hsm/deadline.h \
	hsm/append.c hsm/append.h hsm/append_private.h \
	hsm/append_channel.c \
	hsm/append_waiting.c \
	hsm/sign.c hsm/sign.h \
	hsm/public_keys.c hsm/public_keys.h \
	hsm/keyring.c hsm/keyring.h hsm/keyring_private.h \
	hsm/keyring_adopt.c \
	hsm/keyring_test.c \
	hsm/keyring_prove.c hsm/keyring_pass.h \
	hsm/keyring_prover.c \
	hsm/keyring_look.c \
	hsm/keyring_state.c \
	hsm/decide.c hsm/credential.h \
	hsm/evidence.c \
	hsm/batch.c \
	hsm/issue.c hsm/issue.h \
	hsm/queue.c hsm/queue.h hsm/queue_private.h hsm/line.h \
	hsm/queue_work.c \
	hsm/watchdog.c hsm/watchdog.h \
	hsm/resources.c hsm/resources.h \
	hsm/keeper.c hsm/keeper.h
HSM_LIBS = hsm/libhsm.a hsm/libtoken.a hsm/libcounters.a src/libdcsign.a $(P11_LIBS) $(P11KIT_LIBS) $(CRYPTO_LIBS)

pkglibexec_PROGRAMS += hsm/dcsignd-hsm
hsm_dcsignd_hsm_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS)
hsm_dcsignd_hsm_SOURCES = hsm/dcsignd-hsm.c src/memory.c src/memory.h hsm/service.c hsm/service.h \
	hsm/service_messages.c hsm/service_private.h
hsm_dcsignd_hsm_LDADD = $(HSM_LIBS) $(SECCOMP_LIBS) -lpthread

pkglibexec_PROGRAMS += hsm/dcsign-keys
dist_man8_MANS += hsm/dcsign-keys.8
hsm_dcsign_keys_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(P11_CFLAGS) $(P11KIT_CFLAGS)
hsm_dcsign_keys_SOURCES = hsm/dcsign-keys.c src/memory.c src/memory.h hsm/keys.h \
	hsm/keys_open.c hsm/keys_hazard.c hsm/keys_breaker.c hsm/keys_ceremony.c \
	hsm/csr.c hsm/csr.h hsm/token_keygen.c hsm/token_keygen.h
hsm_dcsign_keys_LDADD = $(HSM_LIBS)
