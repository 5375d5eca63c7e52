#!/bin/bash
# The n-th allocation fails (tests/faults/nomem.c), in each program, over start, one request, SIGHUP and
# shutdown: does a process die by a signal, is an answer wrong, is the service whole afterwards without
# a hand? A sample of n; with DCSIGN_TESTS=long every n up to 2,000 and a sample beyond. Of a build
# without sanitizers, which have a malloc of their own.
# usage: e2e_nomem.sh [PROGRAM PHASE N...]
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h" && skip "the build has sanitizers"
token_and_pki
faults_prepare
cp "$TOP_BUILDDIR/tests/faults/nomem.so" "$WORK/nomem.so"
chmod 755 "$WORK/nomem.so"
tree=$WORK/tree
for p in api/dcsignd-api hsm/dcsignd-hsm src/ledger/dcsignd-ledger; do
	mkdir -p "$tree/${p%/*}"
	printf '#!/bin/sh\nexec env LD_PRELOAD=%s NOMEM=%s %s "$@"\n' "$WORK/nomem.so" \
		"$WORK/nomem.${p##*-}" "$TOP_BUILDDIR/$p" >"$tree/$p"
	chmod 755 "$tree/$p"
done
ln -s "$TOP_BUILDDIR/src/ledger/dcsign-ledger" "$tree/src/ledger/"
chmod -R a+rX "$tree"
for p in api hsm ledger dcsignd; do
	head -c 24 /dev/zero >"$WORK/nomem.$p"
	chmod 666 "$WORK/nomem.$p"
done
service_start # finds free ports, and shows that all is well
service_stop
export DCSIGN_LIBEXECDIR=$tree
PID=0 faults_run nomem_cycles.py "$DCSIGND" "$WORK/etc/dcsignd.conf" "$@" || fail "see above"
faults_reconcile
