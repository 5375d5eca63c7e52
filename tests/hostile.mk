# tests of what a process can't choose: a neighbour that was taken over, memory that is not there
check_PROGRAMS += tests/fakes/hostile_api
tests_fakes_hostile_api_SOURCES = tests/fakes/hostile_api.c tests/fakes/hostile.c tests/fakes/hostile.h
tests_fakes_hostile_api_LDADD = src/libdcsign.a $(CRYPTO_LIBS)
E2E_TESTS += tests/e2e_hostile.sh
LONG_TESTS += tests/e2e_hostile.sh
EXTRA_DIST += tests/e2e_hostile.sh

# The n-th allocation fails: `make nomem` for NOMEM_SECONDS. Sanitizers have a malloc of their own.
check_PROGRAMS += tests/faults/nomem.so
tests_faults_nomem_so_SOURCES = tests/faults/nomem.c
tests_faults_nomem_so_CFLAGS = -std=gnu11 $(PROJECT_CFLAGS) -fno-sanitize=all -fno-builtin -fPIC
tests_faults_nomem_so_LDFLAGS = -shared -Wl,-z,relro -Wl,-z,now
PLAIN_TESTS += tests/e2e_nomem.sh
LONG_TESTS += tests/e2e_nomem.sh
EXTRA_DIST += tests/e2e_nomem.sh tests/faults/nomem_cycles.py
nomem: all tests/faults/nomem.so tests/faults/p11fault.so
	TOP_SRCDIR='$(abs_top_srcdir)' TOP_BUILDDIR='$(abs_top_builddir)' bash $(srcdir)/tests/e2e_nomem.sh
.PHONY: nomem
