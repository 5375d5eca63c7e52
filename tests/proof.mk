# What machines say about the code: coverage, valgrind, ThreadSanitizer, four analysers.
proof_folders = build-coverage build-threads build-analyze
proof = export TOP_SRCDIR='$(abs_top_srcdir)' TOP_BUILDDIR='$(abs_top_builddir)' DCSIGN_TESTS=long;

coverage:
	@$(proof) bash $(srcdir)/tests/coverage.sh
AM_TESTS_ENVIRONMENT += export UNIT_PROGRAMS='$(UNIT_TESTS)';
check-valgrind: $(check_PROGRAMS)
	@$(proof) UNIT_PROGRAMS='$(UNIT_TESTS)' bash $(srcdir)/tests/check_valgrind.sh
analyze:
	@$(proof) bash $(srcdir)/tests/analyze.sh
LONG_TESTS += tests/check_valgrind.sh tests/analyze.sh tests/e2e_threads.sh
EXTRA_DIST += tests/coverage.sh tests/check_valgrind.sh tests/valgrind.supp tests/analyze.sh tests/analyze_gcc.txt tests/analyze_scan.txt \
	tests/analyze_cppcheck.h tests/e2e_threads.sh .clang-tidy
clean-local:
	rm -rf $(proof_folders)
.PHONY: coverage check-valgrind analyze
