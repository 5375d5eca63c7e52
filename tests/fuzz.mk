# Fuzz targets: tests/fuzz_<t>.c has LLVMFuzzerTestOneInput, tests/corpus/<t>/ at least one file.
# One line adds one, below its room's name: FUZZ_TARGETS += tests/fuzz_<t>
# `make check` replays the corpus; configured with CC=clang --enable-fuzzing --enable-sanitizers,
# `make fuzz FUZZ_SECONDS=60` runs each with libFuzzer.
FUZZ_TARGETS =
# core
FUZZ_TARGETS += tests/fuzz_dc tests/fuzz_spki tests/fuzz_certificate tests/fuzz_csr
# parent
FUZZ_TARGETS += tests/fuzz_message tests/fuzz_config
# ledger
FUZZ_TARGETS += tests/fuzz_record tests/fuzz_checkpoint tests/fuzz_bookmark
FUZZ_TARGETS += tests/fuzz_pending tests/fuzz_archive
# hsm
FUZZ_TARGETS += tests/fuzz_pin tests/fuzz_clock tests/fuzz_uri tests/fuzz_issue
# api
FUZZ_TARGETS += tests/fuzz_request tests/fuzz_batch tests/fuzz_query tests/fuzz_peer
FUZZ_TARGETS += tests/fuzz_sieve tests/fuzz_http
# client
FUZZ_TARGETS += tests/fuzz_formats tests/fuzz_issued
FUZZ_TARGETS += tests/fuzz_agentconf tests/fuzz_agentstate tests/fuzz_witness

# A target that needs more than src/libdcsign.a and libcrypto also says in its room's .mk:
#   tests_fuzz_<t>_SOURCES = tests/fuzz_<t>.c <further sources>
#   tests_fuzz_<t>_LDADD = $(FUZZ_LINK) <further libraries>
if FUZZING
FUZZ_LINK = src/libdcsign.a $(CRYPTO_LIBS) $(FUZZ_LDFLAGS)
else
FUZZ_LINK = tests/libfuzzmain.a src/libdcsign.a $(CRYPTO_LIBS)
check_LIBRARIES += tests/libfuzzmain.a
tests_libfuzzmain_a_SOURCES = tests/fuzz_main.c
UNIT_TESTS += $(FUZZ_TARGETS)
endif
# Programs that name no libraries of their own are fuzz targets.
LDADD = $(FUZZ_LINK)

check_PROGRAMS += $(FUZZ_TARGETS)
EXTRA_DIST += tests/corpus tests/fuzz_main.c tests/FUZZING.md tests/fuzz_long.sh
# Counted: a million inputs in all, or ten million.
LONG_TESTS += tests/fuzz_long.sh
SOAK_TESTS += tests/fuzz_long.sh

FUZZ_SECONDS = 60
# What libFuzzer finds new lies in fuzz-corpus/<t>/ of the build folder, what it breaks as crash-*.
fuzz: $(FUZZ_TARGETS)
	@set -e; for f in $(FUZZ_TARGETS); do \
		t=$${f#tests/fuzz_}; mkdir -p fuzz-corpus/$$t; echo "fuzz $$t, $(FUZZ_SECONDS) s"; \
		$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 -artifact_prefix=fuzz-corpus/crash-$$t- \
			fuzz-corpus/$$t $(srcdir)/tests/corpus/$$t; \
	done
.PHONY: fuzz
