# tests of faults: the fault module p11fault.so, and what reads its witness
check_PROGRAMS += tests/faults/p11fault.so tests/check_p11fault
UNIT_TESTS += tests/check_p11fault
tests_faults_p11fault_so_SOURCES = \
	tests/faults/p11fault.c tests/faults/p11fault.h tests/faults/p11functions.h \
	tests/faults/p11rules.c \
	tests/faults/p11actions.c \
	tests/faults/p11damage.c \
	tests/faults/p11foreign.c \
	tests/faults/p11sessions.c \
	tests/faults/p11witness.c
# Without sanitizers: tools that are built without them load it, too. Never unloaded, as the module
# that it wraps never is.
tests_faults_p11fault_so_CFLAGS = -std=gnu11 $(PROJECT_CFLAGS) -fno-sanitize=all -fPIC -fvisibility=hidden \
	$(P11KIT_CFLAGS) $(CRYPTO_CFLAGS)
tests_faults_p11fault_so_LDFLAGS = -shared -Wl,-z,defs -Wl,-z,nodelete -Wl,-z,relro -Wl,-z,now
tests_faults_p11fault_so_LDADD = $(CRYPTO_LIBS)

tests_check_p11fault_SOURCES = tests/check_p11fault.c \
	tests/faults/p11checks.h tests/faults/p11check_signature.c tests/faults/p11check_process.c \
	tests/faults/p11rig.c tests/faults/p11rig.h
tests_check_p11fault_CFLAGS = $(AM_CFLAGS) $(CHECK_CFLAGS) $(P11KIT_CFLAGS)
tests_check_p11fault_LDADD = $(CHECK_LIBS) $(CRYPTO_LIBS)

# The decision and the signed octets against an oracle in Python.
check_PROGRAMS += tests/faults/decide
tests_faults_decide_SOURCES = tests/faults/decide.c
tests_faults_decide_LDADD = src/libdcsign.a $(CRYPTO_LIBS)
UNIT_TESTS += tests/faults/check_policy_oracle.py
LONG_TESTS += tests/faults/check_policy_oracle.py
EXTRA_DIST += tests/faults/check_policy_oracle.py tests/faults/policy_oracle.py

# What the module was asked, what the ledger says, what clients got: held against each other.
UNIT_TESTS += tests/faults/check_verify_ledger.py tests/faults/check_reconcile.py \
	tests/faults/check_verifiers_agree.py tests/faults/check_report.py tests/faults/check_records_md.py \
	tests/faults/check_resume.py tests/faults/check_flips.py
LONG_TESTS += tests/faults/check_resume.py tests/faults/check_report.py tests/faults/check_flips.py
check_PROGRAMS += tests/flip_bits
tests_flip_bits_LDADD = $(LEDGER_CHECK)
E2E_TESTS += tests/e2e_tamper.sh
EXTRA_DIST += tests/e2e_tamper.sh tests/faults/check_resume.py tests/faults/check_flips.py tests/faults/check_records_md.py tests/faults/tampering.py tests/faults/signed_notes.py
E2E_TESTS += tests/faults/e2e_witness.sh
EXTRA_DIST += tests/faults/check_verify_ledger.py tests/faults/check_reconcile.py \
	tests/faults/check_verifiers_agree.py tests/faults/check_report.py tests/faults/e2e_witness.sh tests/faults/ledger_records.py \
	tests/faults/reconcile.py tests/faults/synthetic.py tests/faults/verify_ledger.py tests/faults/written.py

# In the plain build: sanitizers need wider lists.
check_PROGRAMS += tests/faults/inside.so
tests_faults_inside_so_SOURCES = tests/faults/inside.c
tests_faults_inside_so_CFLAGS = -std=gnu11 $(PROJECT_CFLAGS) -fno-sanitize=all -fPIC
tests_faults_inside_so_LDFLAGS = -shared -Wl,-z,relro -Wl,-z,now
PLAIN_TESTS += tests/e2e_sandbox.sh
EXTRA_DIST += tests/e2e_sandbox.sh
# Seeded bugs, one at a time: do the checks notice? `make mutants MUTANTS="NAME ..."` tries some.
LINT_TESTS += tests/lint_mutants.sh
EXTRA_DIST += tests/lint_mutants.sh tests/INVARIANTS.md tests/faults/mutants.py tests/faults/mutants
mutants:
	TOP_SRCDIR='$(abs_top_srcdir)' /usr/bin/python3 $(srcdir)/tests/faults/mutants.py $(MUTANTS)
.PHONY: mutants
