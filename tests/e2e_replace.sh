#!/bin/bash
# SIGHUP with changed key and token sections under load: a token's new section gets a new process, and
# no request fails. Nothing is authorised or signed twice, and each under a generation that the chain
# names before it.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
service_start
json="{\"public_key\":\"$(dc_key P-256 "$WORK/out/dc")\",\"lifetime\":600}"
/usr/bin/python3 "$TOP_SRCDIR/tests/load.py" "$WORK" "$URL" www "$json" 4 1 >"$WORK/out/load" 2>&1 &
load=$!

# hangup: the configuration that was just written is taken by the api, and every key is served.
taken=0
hangup() {
	local n
	kill -HUP "$PID"
	taken=$((taken + 1))
	for n in $(seq 1200); do
		[ "$(grep -c 'program=dcsignd-api event="configuration taken"' "$WORK/log")" -ge $taken ] && break
		sleep 0.05
	done
	[ "$n" -lt 1200 ] || fail "configuration number $taken was not taken"
}

note "a key's section"
for n in 1 2 3 4; do
	config_write
	[ $((n % 2)) = 0 ] || sed -i 's|pki/www\.pem|pki/www-chain.pem|' "$WORK/etc/dcsignd.conf"
	hangup
	service_ready || fail "the key is not served: $(curl -s "$MONITOR/readyz")"
	sleep 0.5
done
grep -q 'configuration refused' "$WORK/log" && fail "a configuration was refused"

note "the token's section"
for n in 1 2 3 4; do
	pid=$(child hsm)
	CONF_TOKEN="sessions = $((4 + n))"
	config_write
	hangup
	for i in $(seq 1200); do
		new=$(child hsm 2>/dev/null) && [ -n "$new" ] && [ "$new" != "$pid" ] && break
		sleep 0.05
	done
	[ "$new" != "$pid" ] || fail "the hsm process was not replaced"
	service_ready || fail "the new process does not serve: $(curl -s "$MONITOR/readyz")"
	sleep 0.5
done
within_60s load_reached 101
touch "$WORK/out/stop"
wait $load
cat "$WORK/out/load"
grep -qv '^[0-9]* 201$' "$WORK/out/load" && fail "requests failed"
count=$(cut -d' ' -f1 "$WORK/out/load")
[ "$count" -gt 100 ] || fail "not much load"
service_stop
ledger_verify
[ "$(records ISSUED)" = "$count" ] || fail "$(records ISSUED) ISSUED for $count requests"
[ "$(records AUTHORISED)" = "$count" ] || fail "$(records AUTHORISED) AUTHORISED for $count requests"
/usr/bin/python3 - "$WORK/out/records" <<'END' || exit 1
import json, sys
known, used = set(), set()
for line in open(sys.argv[1]):
    r = json.loads(line)
    if r["type"] == "CONFIG":
        known.add(r["generation"])
    elif r["type"] == "AUTHORISED":
        used.add(r["generation"])
        if r["generation"] not in known:
            sys.exit("FAIL: a generation without a CONFIG record: %s" % line[:200])
if len(used) < 5:
    sys.exit("FAIL: only %d generations were used" % len(used))
END
