#!/bin/bash
# SIGHUP with changed key and token sections under load: a key's section is taken over without a new
# process, a token's section gets a new one, and no request fails. Each credential was authorised
# under one generation, and none was signed twice.
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
	for n in $(seq 400); do
		[ "$(grep -c 'program=dcsignd-api event="configuration taken"' "$WORK/log")" -ge $taken ] && break
		sleep 0.05
	done
	[ "$n" -lt 400 ] || fail "configuration number $taken was not taken"
}

note "a key's section"
pid=$(child hsm)
for n in 1 2 3 4; do
	CONF_MAX_LIFETIME=$((10 + n))h config_write
	sed -i "/^key www {/a\\	accept_weak_key = { reason$n }" "$WORK/etc/dcsignd.conf"
	"$DCSIGND" -n -c "$WORK/etc/dcsignd.conf" >/dev/null 2>&1 ||
		sed -i '/accept_weak_key/d' "$WORK/etc/dcsignd.conf"
	hangup
done
[ "$(child hsm)" = "$pid" ] || fail "the hsm process was replaced"

note "the token's section"
for n in 1 2 3 4; do
	pid=$(child hsm)
	CONF_TOKEN="sessions = $((4 + n))"
	config_write
	hangup
	for i in $(seq 200); do
		new=$(child hsm 2>/dev/null) && [ -n "$new" ] && [ "$new" != "$pid" ] && break
		sleep 0.05
	done
	[ "$new" != "$pid" ] || fail "the hsm process was not replaced"
	service_ready || fail "the new process does not serve: $(curl -s "$MONITOR/readyz")"
	sleep 0.5
done
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
