# make bench: the service beside its floors (tests/bench/bench.sh). make bench-handshake: what a delegated
# credential is worth to a TLS server. make check only sees that they run; nothing there asserts a time.
bench_programs = tests/bench/load tests/bench/floors tests/bench/keyless
check_PROGRAMS += $(bench_programs)
tests_bench_load_SOURCES = tests/bench/load.c tests/bench/connection.c tests/bench/latency.c \
	tests/bench/latency.h tests/bench/load.h
tests_bench_load_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(SSL_CFLAGS)
tests_bench_load_LDADD = $(SSL_LIBS) $(CRYPTO_LIBS)
tests_bench_floors_SOURCES = tests/bench/floors.c tests/bench/token.c tests/bench/token.h
tests_bench_floors_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(P11KIT_CFLAGS)
tests_bench_floors_LDADD = $(P11KIT_LIBS) $(CRYPTO_LIBS)
tests_bench_keyless_SOURCES = tests/bench/keyless.c tests/bench/token.c tests/bench/token.h
tests_bench_keyless_CFLAGS = $(AM_CFLAGS) $(P11KIT_CFLAGS)
tests_bench_keyless_LDADD = $(P11KIT_LIBS)
if HAVE_BORINGSSL
if HAVE_NSS
bench_programs += tests/bench/handshake_server tests/bench/handshake_client
tests_bench_handshake_server_SOURCES = tests/bench/handshake_server.c
tests_bench_handshake_server_CPPFLAGS = $(PROJECT_CPPFLAGS)
tests_bench_handshake_server_CFLAGS = $(AM_CFLAGS) $(BORINGSSL_CFLAGS)
tests_bench_handshake_server_LDADD = $(BORINGSSL_LIBS)
tests_bench_handshake_client_SOURCES = tests/bench/handshake_client.c tests/bench/latency.c tests/bench/latency.h
tests_bench_handshake_client_CFLAGS = $(AM_CFLAGS) $(NSS_CFLAGS) -Wno-strict-prototypes
tests_bench_handshake_client_LDADD = $(NSS_LIBS)
endif
endif
PLAIN_TESTS += tests/e2e_bench.sh
# What it does at and beyond its capacity, and for a long time.
LONG_TESTS += tests/e2e_capacity.sh
SOAK_TESTS += tests/e2e_soak.sh
EXTRA_DIST += tests/e2e_capacity.sh tests/e2e_soak.sh
EXTRA_DIST += tests/e2e_bench.sh tests/bench/handshakes.sh tests/bench/handshakes.py
EXTRA_DIST += tests/bench/bench.sh tests/bench/parts.sh tests/bench/bodies.py tests/bench/first_dc.py \
	tests/bench/own_module.py tests/bench/rows.py tests/bench/NOTES.md
bench: all $(bench_programs) tests/faults/p11fault.so tests/scale_token
	$(AM_V_at)$(AM_TESTS_ENVIRONMENT) BENCH_JSON='$(BENCH_JSON)' MODULE='$(MODULE)' URI='$(URI)' \
		PIN_FILE='$(PIN_FILE)' MODULE_ARGS="$(MODULE_ARGS)" MODULE_ENV='$(MODULE_ENV)' ACCEPT='$(ACCEPT)' \
		bash $(srcdir)/tests/bench/bench.sh
bench-handshake: all $(bench_programs)
	$(AM_V_at)$(AM_TESTS_ENVIRONMENT) BENCH_JSON='$(BENCH_JSON)' bash $(srcdir)/tests/bench/handshakes.sh
.PHONY: bench bench-handshake
