#!/bin/bash
# `dcsign ledger accept-clock`: after a step of an hour nothing is issued, by no restart either; a person
# accepts the clock, and the service issues again behind a CLOCK record that says who and why. Others
# can't, nor while the service runs; and a clock that steps again after that is not trusted.
. "$(dirname "$0")/lib.sh"
e2e_begin
preload=$TOP_BUILDDIR/tests/faults/wallclock.so
[ -e "$preload" ] || fail "$preload is not built"
token_and_pki
CONF_ENVIRONMENT=", \"LD_PRELOAD=$preload\", \"WALLCLOCK=$WORK/clocks\", \"DCSIGN_CLOCK_STEADY_MS=1000\",
	\"ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0\""
# clock MS: that far ahead of the machine's, by a step
clock() {
	echo "$1 0 1" >"$WORK/clocks.new"
	mv "$WORK/clocks.new" "$WORK/clocks"
}
clock 0
spki=$(dc_key P-256 "$WORK/out/dc")
json="{\"public_key\":\"$spki\"}"

keys() { # HOW-MANY WHEN
	local n
	for n in $(seq 300); do
		[ "$(keys_ready)" = "$1" ] && return
		sleep 0.1
	done
	fail "$2: $(curl -s "$MONITOR/readyz")"
}
refused() {
	local status
	status=$(issue edge www "$json")
	[ "$status" = 503 ] && [ "$(member code)" = clock_untrusted ] || fail "$1: $status $(cat "$WORK/out/body")"
}
issued() {
	[ "$(issue edge www "$json")" = 201 ] || fail "$1: $(cat "$WORK/out/body")"
}
# accept STATUS [COMMAND...]: with the clock as it is, perhaps by another user
accept() {
	local want=$1 status=0
	shift
	"$@" env DCSIGN_LIBEXECDIR="$DCSIGN_LIBEXECDIR" LD_PRELOAD="$preload" WALLCLOCK="$WORK/clocks" \
		ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 "$DCSIGN" ledger accept-clock \
		--state "$WORK/state" --token main --reason 'checked by hand' >"$WORK/out/accept" 2>&1 || status=$?
	[ "$status" = "$want" ] || fail "accept-clock: $status, not $want: $(cat "$WORK/out/accept")"
}
# It comes up, answers, and trusts no clock, also when the clock was steady.
start_refused() {
	local n
	config_write
	: >"$WORK/log"
	service_spawn
	for n in $(seq 300); do
		[ "$(issue edge www "$json")" = 503 ] && [ "$(member code)" = clock_untrusted ] && break
		alive "$PID" || fail "$1: dcsignd has ended"
		sleep 0.1
	done
	sleep 3
	refused "$1, steady"
}

service_start
issued 'the right time'
clock 3600000
refused 'an hour ahead'
accept 4
grep -q 'dcsignd runs' "$WORK/out/accept" || fail "while it runs: $(cat "$WORK/out/accept")"
refused 'after that'
service_stop

cp -p "$WORK/state/hsm/clock.main" "$WORK/out/before"
if [ -n "$SEPARATE" ]; then
	for uid in "${E2E_UIDS[1]}" "${E2E_UIDS[2]}"; do
		accept 4 setpriv --reuid "$uid" --regid "$uid" --clear-groups
		cmp -s "$WORK/out/before" "$WORK/state/hsm/clock.main" || fail "the user $uid has changed the reference"
	done
elif [ "$(id -u)" = 0 ]; then
	accept 4 setpriv --reuid 65534 --regid 65534 --clear-groups
	cmp -s "$WORK/out/before" "$WORK/state/hsm/clock.main" || fail "another user has changed the reference"
else
	note "not root: nobody else asks"
fi
start_refused 'not accepted'
service_stop

accept 0
clock 4200000
start_refused 'ten minutes more since'
service_stop
accept 0
service_start
keys 2 'accepted'
issued 'accepted'
grep -q ' accepted ' "$WORK/state/hsm/clock.main" && fail "the word is still there: $(cat "$WORK/state/hsm/clock.main")"
service_stop
service_start
issued 'after another start'
service_stop
ledger_verify
grep '"type":"CLOCK"' "$WORK/out/records" | grep -c '"reason":"accepted"' | grep -qx 1 ||
	fail "not one accepted CLOCK record: $(grep '"type":"CLOCK"' "$WORK/out/records")"
grep '"reason":"accepted"' "$WORK/out/records" | grep -q "\"detail\":\"uid $(id -u): checked by hand\"" ||
	fail "it does not say who: $(grep '"type":"CLOCK"' "$WORK/out/records")"
