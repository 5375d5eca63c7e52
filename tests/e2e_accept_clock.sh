#!/bin/bash
# `dcsign ledger accept-clock`: after a step of an hour nothing is issued, by no restart either; a person
# accepts the clock, while the service runs or before it starts, and it issues again behind a CLOCK record
# that says who and why. Others can't; and a clock that steps again after that is not trusted.
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
	for n in $(seq 600); do
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
	for n in $(seq 600); do
		[ "$(issue edge www "$json")" = 503 ] && [ "$(member code)" = clock_untrusted ] && break
		alive "$PID" || fail "$1: dcsignd has ended"
		sleep 0.1
	done
	sleep 3
	refused "$1, steady"
}

# asked OTHER: another user, who may neither ask nor stand in for the daemon
asked_by() {
	local uid=$1
	accept 4 setpriv --reuid "$uid" --regid "$uid" --clear-groups
	refused "asked by the user $uid"
}

service_start
issued 'the right time'
accept 4
grep -q 'is trusted: there is nothing to accept' "$WORK/out/accept" || fail "trusted: $(cat "$WORK/out/accept")"
[ "$(stat -c '%a %F %u' "$WORK/state/control/socket")" = "600 socket $(id -u)" ] || fail "$(stat "$WORK/state/control/socket")"
# what is no decision ends its connection and nothing else
/usr/bin/python3 - "$WORK/state/control/socket" <<'END' || fail "the socket"
import socket, struct, sys

def say(*messages):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(20)
        s.connect(sys.argv[1])
        for m in messages:
            s.send(m)
        return s.recv(2000) if messages else b""

def text(s):
    return struct.pack(">I", len(s)) + s

head = struct.pack(">HHQ", 1, 20, 1)
decide = head + bytes([1]) + text(b"no-such-token") + bytes(4) + text(b"a test")
for bad in (b"x", b"x" * 2000, struct.pack(">HHQ", 1, 6, 1), head, decide + b"x", decide[:-1], decide.replace(b"a test", b"a\ntest"),
            struct.pack(">HHQ", 1, 21, 1) + decide[12:]):  # fmt: skip
    assert say(bad) == b"", bad
say()
assert b"no process serves a token" in say(decide)
assert b"LEDGER-BEHIND" in say(decide.replace(head + bytes([1]), head + bytes([2])))
END
clock 3600000
refused 'an hour ahead'
if [ -n "$SEPARATE" ]; then
	for uid in "${E2E_UIDS[@]}"; do
		asked_by "$uid"
	done
elif [ "$(id -u)" = 0 ]; then
	asked_by 65534
fi
born=$(child hsm)
accept 0
grep -q 'a CLOCK record says so' "$WORK/out/accept" || fail "while it runs: $(cat "$WORK/out/accept")"
issued 'accepted while it runs'
[ "$(child hsm)" = "$born" ] || fail "another process issues"
clock 7200000
refused 'another hour'
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
clock 7800000
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
grep '"type":"CLOCK"' "$WORK/out/records" | grep -c '"reason":"accepted"' | grep -qx 2 ||
	fail "not two accepted CLOCK record: $(grep '"type":"CLOCK"' "$WORK/out/records")"
grep '"reason":"accepted"' "$WORK/out/records" | grep -c "\"detail\":\"uid $(id -u): checked by hand\"" | grep -qx 2 ||
	fail "it does not say who: $(grep '"type":"CLOCK"' "$WORK/out/records")"
