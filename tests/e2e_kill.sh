#!/bin/bash
# kill -9 of each kind of process under load. Nobody helps the service up but a loop that starts
# dcsignd again when it ends, as a service manager does. In the end the ledger verifies, every
# credential that a client got is in it as ISSUED, and the module's witness says the same.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
token_and_pki
faults_prepare
spki=$SPKI
loads=()
supervisor=

# One client after the other, a new connection each, until stop is there.
load() {
	local n=0 status
	while ! [ -e "$WORK/stop" ]; do
		n=$((n + 1))
		status=$(curl -s --max-time 60 --cacert "$WORK/pki/ca.pem" --cert "$WORK/pki/edge.pem" \
			--key "$WORK/pki/edge.key" -H 'Content-Type: application/json' \
			-d "{\"public_key\":\"$spki\",\"lifetime\":600}" -o "$WORK/got/$1-$n" \
			-w '%{http_code}' "$URL/v1/keys/$2/credentials")
		case "$status" in
		201) mv "$WORK/got/$1-$n" "$WORK/got/$1-$n.issued" ;;
		*) sleep 0.05 ;;
		esac
	done
}

supervise() {
	while ! [ -e "$WORK/stop" ]; do
		"$DCSIGND" -c "$WORK/etc/dcsignd.conf" </dev/null >>"$WORK/log" 2>&1 &
		echo $! >"$WORK/pid.new" && mv "$WORK/pid.new" "$WORK/pid"
		wait $!
		echo "dcsignd ended with $?" >>"$WORK/ends"
	done
}

test_end() {
	touch "$WORK/stop"
	[ ! -s "$WORK/pid" ] || end_process "$(cat "$WORK/pid")"
	wait "${loads[@]}" $supervisor 2>/dev/null
}

gone() {
	[ "$(ps_state "$1")" = gone ]
}

# recovers KEY WHAT: a credential asked for after now must come within 60 s.
recovers() {
	local n
	for n in $(seq 600); do
		[ "$(issue edge "$1" "{\"public_key\":\"$spki\"}")" = 201 ] && return
		sleep 0.1
	done
	fail "no credential within 60 s after the end of $2: $(cat "$WORK/out/body")"
}

service_start
service_stop
# the same ports and configuration, now in the hands of the supervisor
supervise &
supervisor=$!
for n in $(seq 600); do
	[ -s "$WORK/pid" ] && break
	sleep 0.1
done
PID=$(cat "$WORK/pid")
service_ready || fail "the service does not come back"
load a www &
loads+=($!)
load b www384 &
loads+=($!)

for round in 1 2 3; do
	for victim in hsm ledger api; do
		sleep 0.5
		pid=$(child $victim) || fail "dcsignd-$victim is not there"
		kill -KILL "$pid"
		for n in $(seq 1200); do
			new=$(child $victim) && [ "$new" != "$pid" ] && break
			sleep 0.05
		done
		[ "$new" != "$pid" ] || fail "dcsignd-$victim was not born again"
		recovers www "dcsignd-$victim"
		recovers www384 "dcsignd-$victim"
	done
	sleep 0.5
	old=$PID
	children=$(cat "/proc/$PID/task/$PID/children")
	kill -KILL "$PID"
	for n in $(seq 1200); do
		PID=$(cat "$WORK/pid")
		[ "$PID" != "$old" ] && break
		sleep 0.05
	done
	for p in $children; do
		within_60s gone "$p" || fail "process $p lives on after the death of its parent"
	done
	service_ready || fail "the service does not come back after the death of dcsignd"
	recovers www dcsignd
done

many() {
	[ "$(find "$WORK/got" -name '*.issued' | wc -l)" -gt 50 ]
}
within_60s many
touch "$WORK/stop"
wait "${loads[@]}"
end_process "$PID"
wait $supervisor
supervisor=
[ "$(tail -n 1 "$WORK/ends")" = 'dcsignd ended with 0' ] || fail "$(tail -n 1 "$WORK/ends") after SIGTERM"
PID=
faults_reconcile
issued=$(find "$WORK/got" -name '*.issued' | wc -l)
[ "$issued" -gt 50 ] || fail "only $issued credentials under load"
/usr/bin/python3 - "$WORK/out/records" "$WORK"/got/*.issued <<'END' || exit 1
import json, sys
records = [json.loads(line) for line in open(sys.argv[1])]
issued = {r["id"]: r["dc"] for r in records if r["type"] == "ISSUED"}
for name in sys.argv[2:]:
    got = json.load(open(name))
    if issued.get(got["id"]) != got["credential"]:
        sys.exit("FAIL: %s was released but is not ISSUED in the ledger" % got["id"])
# every attempt has exactly one outcome; a signature that comes after its UNKNOWN is LATE
outcomes = {}
for r in records:
    if r["type"] in ("ISSUED", "FAILED", "UNKNOWN", "LATE"):
        k = (r["id"], r.get("attempt"))
        outcomes[k] = outcomes.get(k, 0) + (r["type"] != "LATE" or k not in outcomes)
for r in records:
    if r["type"] == "AUTHORISED" and outcomes.get((r["id"], r["attempt"])) != 1:
        sys.exit("FAIL: AUTHORISED %s has %s outcomes" % (r["id"], outcomes.get((r["id"], r["attempt"]))))
print("-- %d credentials got under load, %d ISSUED, %d UNKNOWN" % (
    len(sys.argv) - 2, len(issued), sum(r["type"] == "UNKNOWN" for r in records)))
END
