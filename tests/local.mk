# tests: one fragment per room that is tested. Check suites are check_<module>, in UNIT_TESTS too.
UNIT_TESTS =
LINT_TESTS =
E2E_TESTS =
# End-to-end tests of builds without sanitizers alone.
PLAIN_TESTS =
# Those of them that do more with DCSIGN_TESTS=long.
LONG_TESTS =
# Those of make soak, with DCSIGN_TESTS=soak.
SOAK_TESTS =
TEST_EXTENSIONS = .sh .py
SH_LOG_COMPILER = bash
PY_LOG_COMPILER = /usr/bin/python3
AM_TESTS_ENVIRONMENT = \
	export TOP_SRCDIR='$(abs_top_srcdir)' TOP_BUILDDIR='$(abs_top_builddir)'; \
	export CK_VERBOSITY=normal CK_DEFAULT_TIMEOUT=240;

CHECK_LINK = src/libdcsign.a $(CHECK_LIBS) $(CRYPTO_LIBS)

include tests/core.mk
include tests/parent.mk
include tests/ledger.mk
include tests/postgres.mk
include tests/durable.mk
include tests/hsm.mk
include tests/api.mk
include tests/client.mk
include tests/faults.mk
include tests/hostile.mk
include tests/e2e.mk
include tests/fuzz.mk
include tests/bench.mk
include tests/proof.mk

TESTS += $(UNIT_TESTS) $(LINT_TESTS) $(E2E_TESTS)
if !SANITIZED
TESTS += $(PLAIN_TESTS)
endif

# The unit tests and lints alone: for a second compiler.
check-unit:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(UNIT_TESTS) $(LINT_TESTS)'
# Up to 60 minutes on two processors, LONG_JOBS at a time unless make was given its own -j. The longest begin, or
# the last one would run alone; in the end come those that judge short times, one after the other.
LONG_JOBS = 2
LONG_FIRST = tests/check_valgrind.sh tests/e2e_threads.sh tests/fuzz_long.sh tests/analyze.sh tests/e2e_faults.sh \
	tests/e2e_nomem.sh tests/e2e_capacity.sh tests/e2e_kill_cycles.sh
LONG_ALONE = tests/e2e_neighbours.sh tests/e2e_scale.sh
check-long: long-ready
	@tests=`printf '%s\n' $(LONG_ALONE) - $(LONG_FIRST) $(LONG_TESTS) | awk '!seen[$$0]++ && after; /^-$$/ { after = 1 }' | tr '\n' ' '`; \
	case "$$MAKEFLAGS" in *jobserver*) jobs= ;; *) jobs=-j$(LONG_JOBS) ;; esac; \
	status=0; \
	DCSIGN_TESTS=long $(MAKE) $(AM_MAKEFLAGS) $$jobs check TESTS="$$tests" || status=1; \
	DCSIGN_TESTS=long $(MAKE) $(AM_MAKEFLAGS) -j1 check TESTS='$(LONG_ALONE)' || status=1; \
	exit $$status
# About an hour.
soak: long-ready
	DCSIGN_TESTS=soak $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(SOAK_TESTS)'
# What would be left out otherwise, or fail in the middle: they make further builds of the same source.
long-ready:
if TEST_HOOKS
	@test "$(srcdir)" != . || { echo 'run configure --enable-test-hooks in a folder of its own for this' >&2; exit 1; }
else
	@echo 'this build can not run it: run configure --enable-test-hooks in a folder of its own' >&2; exit 1
endif
# What the sanitized build can't run.
check-plain:
	$(MAKE) $(AM_MAKEFLAGS) check TESTS='$(UNIT_TESTS) $(LINT_TESTS) $(PLAIN_TESTS)'
.PHONY: check-unit check-long check-plain long-ready soak
