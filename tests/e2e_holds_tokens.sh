#!/bin/bash
# A hold of a client on a node with two tokens: in force on both at once, under load, over a kill of
# every process and over a restart; its answer counts what lives on on both, and says until when.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
demo_token "$WORK/hsm2" second || fail "no second token"
chmod 711 "$WORK/hsm2"
where=(--module "$DEMO_MODULE" --uri "pkcs11:token=second;object=two" --pin "file:$WORK/hsm2/pin")
"$DCSIGN" keys generate "${where[@]}" --type p256 >"$WORK/out/keys" 2>&1 || fail "$(cat "$WORK/out/keys")"
"$DCSIGN" keys csr "${where[@]}" --subject CN=localhost -o "$WORK/pki/two.csr" >"$WORK/out/keys" 2>&1 ||
	fail "$(cat "$WORK/out/keys")"
demo_sign "$WORK/pki" ca two "$DEMO_DELEGATION_EXT" || fail "no certificate"
if [ -n "$SEPARATE" ]; then
	demo_token_close "$WORK/hsm2" "${E2E_UIDS[1]}"
else
	demo_token_close "$WORK/hsm2"
fi
CONF_KEYS=', two'
CONF_EXTRA="token second {
	module = \"$DEMO_MODULE\"
	uri = \"pkcs11:token=second\"
	pin = \"file:$WORK/hsm2/pin\"
	environment = { \"SOFTHSM2_CONF=$WORK/hsm2/softhsm2.conf\" }
}
key two {
	token = second
	uri = \"pkcs11:object=two\"
	certificate = { \"$WORK/pki/two.pem\" }
	policy = default
}"
service_keys=3
service_start
spki=$(dc_key P-256 "$WORK/out/dc")

json() { echo "{\"public_key\":\"$spki\",\"lifetime\":$1}"; }
# ask KEY STATUS WHAT [CODE]
ask() {
	local status
	status=$(issue edge "$1" "$(json 3600)")
	[ "$status" = "$2" ] || fail "$3: $1: $status: $(cat "$WORK/out/body")"
	[ -z "${4-}" ] || [ "$(member code)" = "$4" ] || fail "$3: $(cat "$WORK/out/body")"
}
# It is neither born nor reached yet, while nothing but 503 and 504 comes of it.
answered() {
	[[ $(issue edge "$1" "$(json 3600)") != 50[34] ]]
}
# hold|release
change() {
	[ "$(api auditor "/v1/clients/edge/$1" -H 'Content-Type: application/json' -d "{\"reason\":\"$1 of edge\"}")" = 200 ] ||
		fail "$1: $(cat "$WORK/out/body")"
}
# The process of token $1.
hsm_of() {
	sed -n "s/.*event=born child=dcsignd-hsm token=$1 pid=\([0-9]*\).*/\1/p" "$WORK/log" | tail -n 1
}

last=
for seconds in 600 7200 1200; do
	[ "$(issue edge two "$(json $seconds)")" = 201 ] || fail "$(cat "$WORK/out/body")"
	[ $seconds = 7200 ] && last=$(member not_after)
done
ask www 201 'the first token'
ask www384 201 'the first token'
change hold
[ "$(member live) $(member latest_expiry) $(member client)" = "5 $last edge" ] ||
	fail "5 live on until $last: $(cat "$WORK/out/body")"
for key in www www384 two; do ask $key 409 'held' held; done

note "after a kill of each process"
for process in "$(child ledger)" "$(hsm_of main)" "$(hsm_of second)"; do
	kill -KILL "$process" || fail "no process $process"
	for key in www two; do
		within_60s answered $key || fail "not ready again: $(cat "$WORK/out/body")"
		ask $key 409 'held after a kill' held
	done
done

note "after a restart"
service_stop
service_start
for key in www two; do ask $key 409 'held after a restart' held; done
change release
for key in www two; do ask $key 201 'released'; done

note "under load on both tokens"
/usr/bin/python3 - "$WORK" "$URL" "$(json 600)" <<'END' || exit 1
import http.client, json, ssl, sys, threading, time
work, url, body = sys.argv[1:]
def connect(name):
    context = ssl.create_default_context(cafile=work + "/pki/ca.pem")
    context.load_cert_chain("%s/pki/%s.pem" % (work, name), "%s/pki/%s.key" % (work, name))
    return http.client.HTTPSConnection("127.0.0.1", int(url.rsplit(":", 1)[1]), context=context, timeout=60)
def post(c, path, body):
    c.request("POST", path, body, {"Content-Type": "application/json"})
    r = c.getresponse()
    return r.status, json.loads(r.read())
for turn in range(3):
    held, stop, lock = threading.Event(), threading.Event(), threading.Lock()
    wrong, counts = [], {}
    def load(key):
        c = connect("edge")
        while not stop.is_set():
            after = held.is_set()
            status, answer = post(c, "/v1/keys/%s/credentials" % key, body)
            with lock:
                counts[key, after, status] = counts.get((key, after, status), 0) + 1
                if status not in ((409,) if after else (201, 409)):
                    wrong.append((key, after, status, answer))
    threads = [threading.Thread(target=load, args=(k,)) for k in ("www", "two") * 3]
    for t in threads: t.start()
    def wait(after, status, least):
        until = time.monotonic() + 60
        while time.monotonic() < until and not wrong:
            with lock:
                if all(counts.get((key, after, status), 0) >= least for key in ("www", "two")):
                    return
            time.sleep(0.02)
    wait(False, 201, 5)
    auditor = connect("auditor")
    status, answer = post(auditor, "/v1/clients/edge/hold", '{"reason":"under load"}')
    held.set()
    wait(True, 409, 5)
    stop.set()
    for t in threads: t.join()
    if status != 200 or wrong or answer["live"] < 5:
        sys.exit("FAIL: %s %s %s" % (status, answer, wrong[:3]))
    for key in "www", "two":
        if not counts.get((key, False, 201)) or not counts.get((key, True, 409)):
            sys.exit("FAIL: no load on %s: %s" % (key, counts))
    if post(auditor, "/v1/clients/edge/release", '{"reason":"over"}')[0] != 200:
        sys.exit("FAIL: no release")
print("-- the last turn:", counts)
END
service_stop
ledger_verify
/usr/bin/python3 - "$WORK/out/records" <<'END' || exit 1
import json, sys
held, seen, authorised = {}, {}, 0
for line in open(sys.argv[1]):
    r = json.loads(line)
    chain = r["chain"]
    if r["type"] in ("HELD", "RELEASED"):
        held[chain] = r["type"] == "HELD"
        seen[chain] = seen.get(chain, 0) + 1
    elif r["type"] == "AUTHORISED":
        authorised += 1
        if held.get(chain):
            sys.exit("FAIL: authorised on hold: %s" % line)
if seen != {"test/main": 8, "test/second": 8} or any(held.values()) or authorised < 20:
    sys.exit("FAIL: %s %s %d" % (seen, held, authorised))
END
