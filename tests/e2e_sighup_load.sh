#!/bin/bash
# SIGHUP a hundred times under load, valid and invalid, a client added and removed each time; then a
# new TLS certificate: no request fails that should not, no process is replaced, and a removed client
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

/usr/bin/python3 - "$WORK" "$URL" "$json" >"$WORK/out/load" 2>&1 <<'END' &
import collections, http.client, json, os, ssl, sys, threading
work, url, body = sys.argv[1:]
port = int(url.rsplit(":", 1)[1])
seen, lock = collections.Counter(), threading.Lock()
def connect():
    context = ssl.create_default_context(cafile=work + "/pki/ca.pem")
    context.load_cert_chain(work + "/pki/edge.pem", work + "/pki/edge.key")
    return http.client.HTTPSConnection("localhost", port, context=context, timeout=30)
def load(fresh):
    c = connect()
    while not os.path.exists(work + "/out/stop"):
        if fresh:
            c.close()
            c = connect()
        try:
            c.request("POST", "/v1/keys/www/credentials", body, {"Content-Type": "application/json"})
            r = c.getresponse()
            answer = r.read()
            what = str(r.status) if r.status == 201 else "%d %s" % (r.status, answer.decode())
        except Exception as e:
            what = repr(e)
            c = connect()
        with lock:
            seen[what] += 1
threads = [threading.Thread(target=load, args=(i == 0,)) for i in range(4)]
for t in threads: t.start()
for t in threads: t.join()
for what, count in seen.items():
    print(count, what)
END
load=$!

# until_taken COUNT: the api has taken so many configurations.
until_taken() {
	local n
	for n in $(seq 200); do
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
	for i in $(seq 200); do
		[ "$(grep -c colour "$WORK/log")" -gt "$before" ] && break
		sleep 0.05
	done
done
[ "$(child api) $(child hsm) $(child ledger)" = "$pids" ] || fail "a process was replaced"
[ "$(grep -c 'colour' "$WORK/log")" -ge 50 ] || fail "an invalid configuration was not told"

note "a new TLS certificate"
demo_leaf "$WORK/pki" ca server "$DEMO_SERVER_EXT" || fail "no certificate"
CONF_EXTRA= config_write
kill -HUP "$PID"
taken=$((taken + 1))
until_taken $taken
serial=$(openssl x509 -in "$WORK/pki/server.pem" -noout -serial)
shown=$(openssl s_client -connect "localhost:$PORT" -cert "$WORK/pki/edge.pem" -key "$WORK/pki/edge.key" </dev/null 2>/dev/null |
	openssl x509 -noout -serial)
[ "$serial" = "$shown" ] || fail "the new certificate is not shown: $shown"
touch "$WORK/out/stop"
wait $load
cat "$WORK/out/load"
grep -qv '^[0-9]* 201$' "$WORK/out/load" && fail "requests failed"
[ "$(cut -d' ' -f1 "$WORK/out/load")" -gt 100 ] || fail "not much load"
service_stop
ledger_verify
