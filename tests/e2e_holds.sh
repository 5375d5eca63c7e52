#!/bin/bash
# Hold and release of a key and of a client: at once, with what lives on, over a restart, and in
# the ledger: nothing is authorised between a HELD and its RELEASED.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
service_start
spki=$(dc_key P-256 "$WORK/out/dc")
json="{\"public_key\":\"$spki\",\"lifetime\":3600}"

# hold CLIENT PATH REASON: POST; the status is printed.
hold() {
	api "$1" "$2" -H 'Content-Type: application/json' -d "{\"reason\":\"$3\"}"
}
# is STATUS CODE WANTED-STATUS WANTED-CODE
want() {
	[ "$1" = "$2" ] || fail "$3: $1, not $2: $(cat "$WORK/out/body")"
	[ -z "${4-}" ] || [ "$(member code)" = "$4" ] || fail "$3: $(cat "$WORK/out/body")"
}
keyed() {
	api edge /v1/keys/www/credentials -H 'Content-Type: application/json' -H 'Idempotency-Key: one' -d "$json"
}

want "$(keyed)" 201 issue
last=$(member not_after)
want "$(hold edge /v1/keys/www/hold x)" 403 'hold without the right' missing_right
want "$(hold auditor /v1/keys/nokey/hold x)" 404 'hold of nothing' no_such_key
want "$(hold auditor /v1/clients/nobody/hold x)" 404 'hold of nobody' not_found
want "$(hold auditor /v1/keys/www/hold '')" 400 'hold without a reason' malformed
want "$(hold auditor /v1/keys/www/release x)" 404 'release of what is not held' not_found

want "$(hold auditor /v1/keys/www/hold 'INC-7: stolen edge')" 200 'hold'
[ "$(member held) $(member live) $(member latest_expiry) $(member key)" = "True 1 $last www" ] ||
	fail "$(cat "$WORK/out/body")"
want "$(issue edge www "$json")" 409 'issue on hold' held
want "$(keyed)" 409 'a replay on hold' held
want "$(api edge '/v1/keys/www/credentials?dry_run=true' -H 'Content-Type: application/json' -d "$json")" 200 'dry run on hold'
[ "$(member allowed) $(member code)" = 'False held' ] || fail "$(cat "$WORK/out/body")"
want "$(issue edge www384 "$json")" 201 'another key'
one_hold() {
	[ "$(curl -s "$MONITOR/metrics" | sed -n 's/^dcsign_holds //p')" = 1 ]
}
within_60s one_hold || fail "dcsign_holds is not 1"
want "$(api edge /v1/keys/www)" 200 'the key'
[ "$(member hold.reason)" = 'INC-7: stolen edge' ] || fail "$(cat "$WORK/out/body")"

note "after a restart"
service_stop
service_start
want "$(issue edge www "$json")" 409 'issue on hold' held
want "$(hold auditor /v1/clients/edge/hold 'INC-8')" 200 'hold of a client'
want "$(issue edge www384 "$json")" 409 'issue to a client on hold' held
want "$(hold auditor /v1/keys/www/release 'INC-7 closed')" 200 'release'
[ "$(member held)" = False ] || fail "$(cat "$WORK/out/body")"
want "$(issue edge www "$json")" 409 'the client is still on hold' held
want "$(hold auditor /v1/clients/edge/release 'INC-8 closed')" 200 'release of a client'
want "$(issue edge www "$json")" 201 'after the release'
want "$(keyed)" 201 'the replay after the release'

note "a hold under load"
/usr/bin/python3 - "$WORK" "$URL" "$json" <<'END' || exit 1
import http.client, json, ssl, sys, threading, time
work, url, body = sys.argv[1:]
def connect(name):
    context = ssl.create_default_context(cafile=work + "/pki/ca.pem")
    context.load_cert_chain("%s/pki/%s.pem" % (work, name), "%s/pki/%s.key" % (work, name))
    return http.client.HTTPSConnection("127.0.0.1", int(url.rsplit(":", 1)[1]), context=context, timeout=60)
def post(c, path, body):
    c.request("POST", path, body, {"Content-Type": "application/json"})
    r = c.getresponse()
    r.read()
    return r.status
held, stop = threading.Event(), threading.Event()
late, before, after = [], [0], [0]
def load():
    c = connect("edge")
    while not stop.is_set():
        asked_after = held.is_set()
        status = post(c, "/v1/keys/www/credentials", body)
        if status not in (201, 409):
            late.append(status)
        if asked_after and status != 409:
            late.append("issued after the hold")
        (after if asked_after else before)[0] += 1
threads = [threading.Thread(target=load) for _ in range(8)]
for t in threads: t.start()
def wait(count):
    until = time.monotonic() + 60
    while count[0] < 40 and not late and time.monotonic() < until:
        time.sleep(0.02)
wait(before)
if post(connect("auditor"), "/v1/keys/www/hold", '{"reason":"under load"}') != 200:
    late.append("no hold")
held.set()
wait(after)
stop.set()
for t in threads: t.join()
if late or not before[0] or not after[0]:
    sys.exit("FAIL: %s, %d before, %d after" % (late[:5], before[0], after[0]))
print("-- %d requests before the hold, %d after it" % (before[0], after[0]))
END

service_stop
ledger_verify
/usr/bin/python3 - "$WORK/out/records" <<'END' || exit 1
import json, sys
held = set()
for line in open(sys.argv[1]):
    r = json.loads(line)
    name = ("key", r.get("key")) if r.get("key") else ("client", r.get("client"))
    if r["type"] == "HELD":
        held.add(name)
        if not r.get("reason") or not (r.get("by") or r.get("by_client") or r.get("client_sha256")):
            sys.exit("FAIL: HELD says not who and why: %s" % line)
    elif r["type"] == "RELEASED":
        held.discard(name)
    elif r["type"] == "AUTHORISED" and (("key", r["key"]) in held or ("client", r["client"]) in held):
        sys.exit("FAIL: authorised on hold: %s" % r["id"])
if held != {("key", "www")}:
    sys.exit("FAIL: held in the end: %s" % held)
END
