#!/bin/bash
# kill -9 of random processes under load: 100 times, 1,000 with DCSIGN_TESTS=long (make check-long),
# 10,000 with DCSIGN_TESTS=soak (make soak). Nothing that a client got is lost, nothing that was signed is
# unaccounted: module, ledger and clients agree, both verifiers pass, and nobody lent a hand.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
token_and_pki
faults_prepare
case "${DCSIGN_TESTS-}" in
long) kills=1000 ;;
soak) kills=10000 ;;
*) kills=100 ;;
esac
kills=${DCSIGN_KILLS:-$kills}
CONF_EXTRA="checkpoint { every = 50 file = \"$WORK/state/ledger/heads\" }"
service_start # finds free ports, and shows that all is well
service_stop
PID=0 faults_run kill_cycles.py "$DCSIGND" "$WORK/etc/dcsignd.conf" "$kills" || fail "see above"
faults_reconcile
/usr/bin/python3 "$TOP_SRCDIR/tests/faults/verify_ledger.py" "$WORK/state/ledger.db" >"$WORK/out/second" ||
	fail "the second verifier: $(cat "$WORK/out/second")"
note "$(tail -n 1 "$WORK/out/second")"
