#!/bin/bash
# The n-th allocation fails (tests/faults/nomem.c), in each program, over start, one request, SIGHUP and
# shutdown. A process that has no memory says so and ends (src/memory.c): each allocation of each child, tool and
# agent goes that way, so that whichever fails the end is the same. Every n up to 2,000 and a sample beyond fails
# in a copy of the process that is made for it, which has to say what it lacks and to end with the exit status for
# that; some n fail in the process itself: no process dies by a signal, no answer says what is not so, a child
# is born again and the service is whole without a hand, a tool exits with 4. In `make check` less: see windows()
# in nomem_cycles.py. Of a build without sanitizers, which have a malloc of their own.
# usage: e2e_nomem.sh [PROGRAM PHASE [N...]]
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
for p in api hsm ledger dcsignd tool; do
	head -c 120 /dev/zero >"$WORK/nomem.$p"
	chmod 666 "$WORK/nomem.$p"
done
CONF_POLICY='min_lifetime = 1s' # the agent's is short
service_start # finds free ports, and shows that all is well
request --key www --new-key ecdsa_secp256r1_sha256 -o "$WORK/out/set" >"$WORK/out/request" 2>&1 ||
	fail "dcsign request: $(cat "$WORK/out/request")"
cp "$WORK/out/set/credential.dc" "$WORK/pki/edge.dc"
service_stop
export DCSIGN_LIBEXECDIR=$tree TOP_BUILDDIR MODULE=$DEMO_MODULE
PID=0 faults_run nomem_cycles.py "$DCSIGND" "$WORK/etc/dcsignd.conf" "$@" || fail "see above"
faults_reconcile
