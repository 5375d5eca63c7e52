# make bench: the service beside its floors (tests/bench/bench.sh). Not part of make check.
bench_programs = tests/bench/load tests/bench/floors
EXTRA_PROGRAMS += $(bench_programs)
CLEANFILES += $(bench_programs)
tests_bench_load_SOURCES = tests/bench/load.c tests/bench/connection.c tests/bench/latency.c \
	tests/bench/latency.h tests/bench/load.h
tests_bench_load_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(SSL_CFLAGS)
tests_bench_load_LDADD = $(SSL_LIBS) $(CRYPTO_LIBS)
tests_bench_floors_SOURCES = tests/bench/floors.c
tests_bench_floors_CFLAGS = $(AM_CFLAGS) $(CRYPTO_CFLAGS) $(P11KIT_CFLAGS)
tests_bench_floors_LDADD = $(P11KIT_LIBS) $(CRYPTO_LIBS)
EXTRA_DIST += tests/bench/bench.sh tests/bench/parts.sh tests/bench/bodies.py tests/bench/first_dc.py \
	tests/bench/own_module.py tests/bench/rows.py tests/bench/NOTES.md
bench: all $(bench_programs) tests/faults/p11fault.so tests/scale_token
	$(AM_V_at)$(AM_TESTS_ENVIRONMENT) BENCH_JSON='$(BENCH_JSON)' MODULE='$(MODULE)' URI='$(URI)' \
		PIN_FILE='$(PIN_FILE)' bash $(srcdir)/tests/bench/bench.sh
.PHONY: bench
