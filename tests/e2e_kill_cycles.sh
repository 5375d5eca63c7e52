#!/bin/bash
# kill -9 of random processes under load: 100 times, 1,000 with DCSIGN_TESTS=long (make check-long),
# 10,000 of four services side by side with DCSIGN_TESTS=soak (make soak). Nothing that a client got is
# lost, nothing that was signed is unaccounted: module, ledger and clients agree, both verifiers pass,
# and nobody lent a hand.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
services=()

test_end() {
	local s
	for s in "${services[@]}"; do
		alive "$s" && kill -TERM -- "-$s" # all of its process group
	done
	wait "${services[@]}" 2>/dev/null
}

# side_by_side COUNT KILLS: this test COUNT times at once; their recovery times together.
side_by_side() {
	local n failed=0
	for n in $(seq "$1"); do
		KILL_TIMES=$WORK/times-$n DCSIGN_KILLS=$(($2 / $1)) DCSIGN_TESTS='' \
			setsid bash "$0" >"$WORK/out/service-$n" 2>&1 &
		services+=($!)
	done
	for n in $(seq "$1"); do
		wait "${services[n - 1]}" || failed=$?
		sed "s/^/service $n: /" "$WORK/out/service-$n"
	done
	[ "$failed" = 0 ] || fail "at least one of $1 services, see above"
	WORK=$WORK /usr/bin/python3 "$TOP_SRCDIR/tests/faults/kill_cycles.py" --times "$WORK"/times-* ||
		fail "see above"
}

e2e_begin
case "${DCSIGN_TESTS-}" in
long) kills=1000 ;;
soak)
	side_by_side 4 "${DCSIGN_KILLS:-10000}"
	exit
	;;
*) kills=100 ;;
esac
kills=${DCSIGN_KILLS:-$kills}
token_and_pki
faults_prepare
CONF_EXTRA="checkpoint { every = 50 file = \"$WORK/state/ledger/heads\" }"
service_start # finds free ports, and shows that all is well
service_stop
PID=0 faults_run kill_cycles.py "$DCSIGND" "$WORK/etc/dcsignd.conf" "$kills" || fail "see above"
faults_reconcile
/usr/bin/python3 "$TOP_SRCDIR/tests/faults/verify_ledger.py" "$WORK/state/ledger.db" >"$WORK/out/second" ||
	fail "the second verifier: $(cat "$WORK/out/second")"
note "$(tail -n 1 "$WORK/out/second")"
