#!/bin/bash
# Return codes of every PKCS#11 function that is called: see tests/faults/hsm_matrix.py. A slice of
# it; all of it with DCSIGN_TESTS=long (make check-long), as slices side by side, each with a service
# of its own.
# usage: e2e_matrix.sh [SLICE | FUNCTION [CODE [TIMES]]]
SLICES=4
if [ "${DCSIGN_TESTS-}" = long ] && [ $# = 0 ]; then
	out=$(mktemp -d) || exit 1
	for n in $(seq $SLICES); do
		bash "$0" "$n/$SLICES" >"$out/$n" 2>&1 &
		slices[n]=$!
	done
	worst=0
	for n in $(seq $SLICES); do
		wait "${slices[n]}"
		status=$?
		echo "-- slice $n: status $status"
		cat "$out/$n"
		[ $status -le $worst ] || worst=$status
	done
	rm -r "$out"
	exit $worst
fi
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
token_and_pki
faults_prepare
CONF_TOKEN='sessions = 4
	sign_timeout = 1s'
CONF_EXTRA='limits { request_deadline = 2s }'
service_start
DCSIGN=$DCSIGN STATE=$WORK/state faults_run hsm_matrix.py "${@:-short}" || fail "see above"
service_stop
(faults_reconcile) || fail "the cells were
$(cat "$WORK/out/cells")"
