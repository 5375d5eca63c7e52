#!/bin/bash
# A million requests of 128 clients: the memory of all processes stays within 5 % of what it was after the first
# 200,000, their descriptors are as many as before, and the ledger verifies. In `make soak`, in a build without
# sanitizers. The memory that is held to it is anonymous and shared memory: how much of a library a process answers
# for in its PSS depends on who else on the machine has mapped it. The first 100,000 are of 256 clients: memory goes
# by how many requests are under way at a time, which on a busy machine is now more and now less.
. "$(dirname "$0")/lib.sh"
grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h" && skip "this build has sanitizers"
[ "${DCSIGN_TESTS-}" = soak ] || skip "in make soak"
slices=10 requests=$((${DCSIGN_REQUESTS:-1000000} / 10))

processes() {
	echo "$PID" $(cat "/proc/$PID/task/$PID/children")
}

# sum FIELD...: of the proportional set sizes of all processes, in KiB.
sum() {
	local p
	for p in $(processes); do
		cat "/proc/$p/smaps_rollup"
	done | awk -v want=" $* " 'index(want, " " $1 " ") { s += $2 } END { print s }'
}

memory() {
	sum Pss_Anon: Pss_Shmem:
}

descriptors() {
	local p
	for p in $(processes); do
		ls "/proc/$p/fd"
	done | wc -l
}

# Sets memory and fds to their least of a while: what a burst took is given back within seconds.
settle() {
	local n now
	memory=$(memory) fds=$(descriptors)
	for n in $(seq 16); do
		sleep 0.5
		now=$(memory)
		[ "$now" -ge "$memory" ] || memory=$now
		now=$(descriptors)
		[ "$now" -ge "$fds" ] || fds=$now
	done
}

e2e_begin
token_and_pki
/usr/bin/python3 "$TOP_SRCDIR/tests/bench/bodies.py" "$WORK" || fail "bodies.py"
CONF_POLICY='max_live = 10000000'
CONF_EXTRA='limits { queue = 512 connections = 1024 connections_per_address = 0 }'
service_start
first=$(processes) begun=$(date +%s)
for n in $(seq $slices); do
	clients=128
	[ "$n" != 1 ] || clients=256
	"$TOP_BUILDDIR/tests/bench/load" --port "$PORT" --ca "$WORK/pki/ca.pem" --cert "$WORK/pki/edge.pem" \
		--key "$WORK/pki/edge.key" --method POST --path /v1/keys/www/credentials --bodies "$WORK/bodies" \
		--clients $clients --requests $requests --seconds 100000 >"$WORK/out/load" || fail "load"
	grep -q "\"statuses\":{\"201\":$requests}" "$WORK/out/load" || fail "not all were issued: $(cat "$WORK/out/load")"
	settle
	note "$((n * requests)): $(member rate "$WORK/out/load")/s, 99 % $(member p99_ms "$WORK/out/load") ms, $memory KiB (PSS $(sum Pss:)), $fds descriptors"
	[ "$n" != 2 ] || { warm=$memory fds_warm=$fds; }
done
note "$((slices * requests)) requests in $(($(date +%s) - begun)) s: memory $warm to $memory KiB, descriptors $fds_warm to $fds"
[ "$(processes)" = "$first" ] || fail "a process was born again: $first, now $(processes)"
[ $((memory * 100)) -le $((warm * 105)) ] || fail "the memory grew by more than 5 %"
[ "$fds" = "$fds_warm" ] || fail "$fds_warm descriptors became $fds"
service_stop
"$DCSIGN" ledger verify --ledger "$LEDGER" >"$WORK/out/verify" 2>&1 || fail "the ledger does not verify: $(cat "$WORK/out/verify")"
note "$(tail -n 1 "$WORK/out/verify")"
