#!/bin/bash
# A wall clock that is stepped under the hsm process (libfaketime; the machine's own clock goes on):
# nothing is issued from the step on, also after kill -9; the log, /readyz and the answer say why;
# small steps are taken up again once the clock was steady, large ones never.
. "$(dirname "$0")/lib.sh"
e2e_begin
lib=
for f in /usr/lib/*/faketime/libfaketimeMT.so.1; do
	[ -e "$f" ] && lib=$f
done
[ -n "$lib" ] || skip "libfaketimeMT.so.1 is missing (Debian: faketime)"
token_and_pki
step() {
	echo "$1" >"$WORK/step.new" && mv "$WORK/step.new" "$WORK/step"
}
step +0
CONF_ENVIRONMENT=", \"LD_PRELOAD=$lib\", \"FAKETIME_DONT_FAKE_MONOTONIC=1\", \"FAKETIME_NO_CACHE=1\", \"FAKETIME_FORCE_MONOTONIC_FIX=0\",
	\"FAKETIME_TIMESTAMP_FILE=$WORK/step\", \"DCSIGN_CLOCK_STEADY_MS=6000\",
	\"ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0\""
begun=$(date +%s)
service_start
spki=$(dc_key P-256 "$WORK/out/dc")
json="{\"public_key\":\"$spki\"}"

refused() {
	local status
	status=$(issue edge www "$json")
	[ "$status" = 503 ] && [ "$(member code)" = clock_untrusted ] || fail "$1: $status $(cat "$WORK/out/body")"
}
issued() {
	[ "$(issue edge www "$json")" = 201 ] || fail "$1: $(cat "$WORK/out/body")"
}
# How often the log says so. What /readyz tells in between is soon over.
logged() {
	grep -c "the clock is $1" "$WORK/log"
}
# heals WHAT DOUBTS TRUSTS: after so many lines of each the clock is once more not trusted, and trusted again.
more() {
	[ "$(logged "$1")" -gt "$2" ]
}
heals() {
	within_60s more 'not to be trusted' "$2" || fail "$1: not in the log"
	within_60s more 'trusted again' "$3" || fail "$1: not trusted again"
	keys 2 "$1"
	issued "$1, steady"
}
# Waits until /readyz says so many keys.
keys() {
	local n
	for n in $(seq 600); do
		[ "$(keys_ready)" = "$1" ] && return
		sleep 0.1
	done
	fail "$2: $(curl -s "$MONITOR/readyz")"
}
reason_told() {
	curl -s "$MONITOR/readyz" | grep -q 'clock_untrusted.*wall clock moved by'
}
kill_hsm() {
	local pid n new=
	pid=$(child hsm) || fail "no hsm process"
	kill -KILL "$pid"
	for n in $(seq 1200); do
		new=$(child hsm 2>/dev/null) && [ "$new" != "$pid" ] && return
		sleep 0.05
	done
	fail "the hsm process was not born again"
}

issued 'the right time'
for s in -1h +1h +10y; do
	step $s
	refused "$s"
	keys 0 "$s"
	within_60s reason_told || fail "$s: $(curl -s "$MONITOR/readyz")"
	sleep 7 # longer than it must be steady
	refused "$s, steady"
	kill_hsm
	sleep 2
	refused_later=
	for n in $(seq 50); do
		status=$(issue edge www "$json")
		[ "$status" = 201 ] && fail "$s: issued by a new process"
		[ "$status" = 503 ] && [ "$(member code)" = clock_untrusted ] && refused_later=yes && break
		sleep 0.1
	done
	[ -n "$refused_later" ] || note "$s: after the restart: $(cat "$WORK/out/body")"
	step +0
	keys 2 "set right after $s"
	issued "set right after $s"
done
grep -q 'the clock is not to be trusted' "$WORK/log" || fail "the log does not say it"

note "steps of 1.9 s"
step +1.9
sleep 1.5
issued 'one step of 1.9 s'
doubts=$(logged 'not to be trusted') trusts=$(logged 'trusted again')
step +3.8
refused 'two steps of 1.9 s'
heals 'two steps of 1.9 s' $doubts $trusts
kill_hsm
keys 2 'after it'
issued 'after it'
# every time it is accepted; in sum not more than 5 min
doubts=$(logged 'not to be trusted') trusts=$(logged 'trusted again')
step +250
refused '250 s'
heals '250 s' $doubts $trusts
step +310
refused '310 s in sum'
sleep 8
refused '310 s in sum, steady'
step +250
keys 2 '250 s again'
issued '250 s again'
step +0
keys 2 'the right time in the end'

service_stop
ledger_verify
[ "$(records CLOCK)" -ge 10 ] || fail "$(records CLOCK) CLOCK records"
/usr/bin/python3 - "$WORK/out/records" "$begun" <<'END' || exit 1
import json, sys, time
begun, true = int(sys.argv[2]), time.time()
for line in open(sys.argv[1]):
    r = json.loads(line)
    if r["type"] == "AUTHORISED" and r["expiry"] > true + 86400 + 300:
        sys.exit("FAIL: %s outlives the maximum" % r["id"])
    if not begun - 600 < r["time"] < true + 600:
        sys.exit("FAIL: a record with the time of a wrong clock: %s" % line[:200])
END
