#!/bin/bash
# SIGHUP a hundred times under load, valid and invalid, a client added and removed each time; then ten
# new TLS certificates: no request fails that should not, no process is replaced, and a removed client
# is refused.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
demo_client "$WORK/pki" ca guest || fail "no PKI"
GUEST='client guest {
	match { uri = "spiffe://demo.example/guest" }
	may = { issue }
	keys = { www }
}'
service_start
spki=$(dc_key P-256 "$WORK/out/dc")
json="{\"public_key\":\"$spki\",\"lifetime\":600}"
other="{\"public_key\":\"$(dc_key P-256 "$WORK/out/guest")\",\"lifetime\":600}"
pids="$(child api) $(child hsm) $(child ledger)"

/usr/bin/python3 "$TOP_SRCDIR/tests/load.py" "$WORK" "$URL" www "$json" 4 2 >"$WORK/out/load" 2>&1 &
load=$!

# until_taken COUNT: the api has taken so many configurations.
until_taken() {
	local n
	for n in $(seq 1200); do
		[ "$(grep -c 'program=dcsignd-api event="configuration taken"' "$WORK/log")" -ge "$1" ] && return
		sleep 0.05
	done
	fail "configuration number $1 was not taken"
}
taken=0
for n in $(seq 50); do
	if [ $((n % 2)) = 1 ]; then CONF_EXTRA=$GUEST; else CONF_EXTRA=; fi
	config_write
	kill -HUP "$PID"
	taken=$((taken + 1))
	until_taken $taken
	status=$(issue guest www "$other")
	if [ $((n % 2)) = 1 ]; then
		# the hsm process takes it over a moment later than the api's answer may ask it
		[ "$status" = 201 ] || [ "$(member code)" = unknown_client ] || fail "guest: $status $(cat "$WORK/out/body")"
	else
		[ "$status" = 403 ] || fail "a removed client got $status"
	fi
	CONF_EXTRA='colour = "blue"' config_write
	before=$(grep -c 'colour' "$WORK/log")
	kill -HUP "$PID"
	for i in $(seq 1200); do
		[ "$(grep -c colour "$WORK/log")" -gt "$before" ] && break
		sleep 0.05
	done
done
[ "$(child api) $(child hsm) $(child ledger)" = "$pids" ] || fail "a process was replaced"
[ "$(grep -c 'colour' "$WORK/log")" -ge 50 ] || fail "an invalid configuration was not told"

note "ten new TLS certificates, with new keys, while two clients shake hands without a pause"
CONF_EXTRA= config_write
for n in $(seq 10); do
	demo_leaf "$WORK/pki" ca server "$DEMO_SERVER_EXT" || fail "no certificate"
	kill -HUP "$PID"
	taken=$((taken + 1))
	until_taken $taken
	serial=$(openssl x509 -in "$WORK/pki/server.pem" -noout -serial)
	shown=$(openssl s_client -connect "localhost:$PORT" -cert "$WORK/pki/edge.pem" -key "$WORK/pki/edge.key" </dev/null 2>/dev/null |
		openssl x509 -noout -serial)
	[ "$serial" = "$shown" ] || fail "certificate $n is not shown: $shown"
done
[ "$(child api) $(child hsm) $(child ledger)" = "$pids" ] || fail "a process was replaced"
within_60s load_reached 101
touch "$WORK/out/stop"
wait $load
cat "$WORK/out/load"
grep -qv '^[0-9]* 201$' "$WORK/out/load" && fail "requests failed"
[ "$(cut -d' ' -f1 "$WORK/out/load")" -gt 100 ] || fail "not much load"
service_stop
ledger_verify
