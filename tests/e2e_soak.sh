#!/bin/bash
# A million requests of 128 clients: the memory of all processes stays within 5 % of what it was after the
# first 100,000, their descriptors are as many as before, and the ledger verifies. In `make soak`, in a build
# without sanitizers.
. "$(dirname "$0")/lib.sh"
grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h" && skip "this build has sanitizers"
[ "${DCSIGN_TESTS-}" = soak ] || skip "in make soak"
slices=10 requests=$((${DCSIGN_REQUESTS:-1000000} / 10))

processes() {
	echo "$PID" $(cat "/proc/$PID/task/$PID/children")
}

# Proportional set size of all processes in KiB.
memory() {
	local p
	for p in $(processes); do
		awk '/^Pss:/ { print $2 }' "/proc/$p/smaps_rollup"
	done | awk '{ s += $1 } END { print s }'
}

descriptors() {
	local p
	for p in $(processes); do
		ls "/proc/$p/fd"
	done | wc -l
}

# The least of a while: what a burst took is given back within seconds.
settled() {
	local n least='' now
	for n in $(seq 16); do
		sleep 0.5
		now=$("$1")
		[ -z "$least" ] || [ "$now" -lt "$least" ] || continue
		least=$now
	done
	echo "$least"
}

e2e_begin
token_and_pki
/usr/bin/python3 "$TOP_SRCDIR/tests/bench/bodies.py" "$WORK" || fail "bodies.py"
CONF_POLICY='max_live = 10000000'
CONF_EXTRA='limits { queue = 512 connections = 1024 connections_per_address = 0 }'
service_start
first=$(processes) begun=$(date +%s)
for n in $(seq $slices); do
	"$TOP_BUILDDIR/tests/bench/load" --port "$PORT" --ca "$WORK/pki/ca.pem" --cert "$WORK/pki/edge.pem" \
		--key "$WORK/pki/edge.key" --method POST --path /v1/keys/www/credentials --bodies "$WORK/bodies" \
		--clients 128 --requests $requests --seconds 100000 >"$WORK/out/load" || fail "load"
	grep -q "\"statuses\":{\"201\":$requests}" "$WORK/out/load" || fail "not all were issued: $(cat "$WORK/out/load")"
	memory=$(settled memory) fds=$(settled descriptors)
	note "$((n * requests)): $(member rate "$WORK/out/load")/s, 99 % $(member p99_ms "$WORK/out/load") ms, $memory KiB, $fds descriptors"
	[ "$n" != 1 ] || { memory_1=$memory fds_1=$fds; }
done
note "$((slices * requests)) requests in $(($(date +%s) - begun)) s: memory $memory_1 to $memory KiB, descriptors $fds_1 to $fds"
[ "$(processes)" = "$first" ] || fail "a process was born again: $first, now $(processes)"
[ $((memory * 100)) -le $((memory_1 * 105)) ] || fail "the memory grew by more than 5 %"
[ "$fds" = "$fds_1" ] || fail "$fds_1 descriptors became $fds"
service_stop
"$DCSIGN" ledger verify --ledger "$LEDGER" >"$WORK/out/verify" 2>&1 || fail "the ledger does not verify: $(cat "$WORK/out/verify")"
note "$(tail -n 1 "$WORK/out/verify")"
