#!/bin/bash
# SIGHUP: a configuration that checks is in force for the next request, without a connection
# lost; one that does not check changes nothing and is logged.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
service_start
spki=$(dc_key P-256 "$WORK/out/dc")
two_hours="{\"public_key\":\"$spki\",\"lifetime\":7200}"
[ "$(issue edge www "$two_hours")" = 201 ] || fail "$(cat "$WORK/out/body")"
pids="$(child api) $(child hsm) $(child ledger)"

# until_status STATUS: the two hours' request is answered with it within 60 s.
until_status() {
	local n
	for n in $(seq 600); do
		[ "$(issue edge www "$two_hours")" = "$1" ] && return
		sleep 0.1
	done
	fail "$(cat "$WORK/out/body"), not $1"
}

CONF_MAX_LIFETIME=1h config_write
kill -HUP "$PID"
until_status 422
[ "$(member code)" = lifetime_too_long ] || fail "$(cat "$WORK/out/body")"

note "a configuration that does not check"
lines=$(wc -l <"$WORK/log")
CONF_EXTRA='colour = "blue"'
CONF_MAX_LIFETIME=24h
config_write
kill -HUP "$PID"
for n in $(seq 600); do
	tail -n +$((lines + 1)) "$WORK/log" | grep -q colour && break
	sleep 0.1
done
tail -n +$((lines + 1)) "$WORK/log" | grep -q 'dcsignd.conf:[0-9]*.*colour' || fail "the error is not logged"
[ "$(issue edge www "$two_hours")" = 422 ] || fail "a bad configuration is in force: $(cat "$WORK/out/body")"

note "and a good one again"
CONF_EXTRA=
config_write
kill -HUP "$PID"
until_status 201
[ "$(child api) $(child hsm) $(child ledger)" = "$pids" ] || fail "a process was replaced"

service_stop
ledger_verify
/usr/bin/python3 - "$WORK/out/records" <<'END' || exit 1
import json, sys
records = [json.loads(line) for line in open(sys.argv[1])]
known = []
for r in records:
    if r["type"] == "CONFIG":
        known.append(r["generation"])
    elif r["type"] == "AUTHORISED" and r["generation"] not in known:
        sys.exit("FAIL: AUTHORISED %s under a generation that no CONFIG before it names" % r["id"])
if len(known) != 3 or known[0] != known[2] or known[0] == known[1]:
    sys.exit("FAIL: CONFIG records: %s" % known)
END
