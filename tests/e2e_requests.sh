#!/bin/bash
# Batches, dry runs, warnings and Idempotency-Keys against the whole service, and what the ledger
# says of them afterwards.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
demo_client "$WORK/pki" ca fourth || fail "no PKI"
CONF_EXTRA='client fourth {
	match { uri = "spiffe://demo.example/fourth" }
	may = { issue }
	keys = { www }
	max_live = 3
}
client here {
	match { peer_uid = '"$(id -u)"' }
	may = { issue }
	keys = { www }
}
listen "unix:'"$WORK"'/api.sock" {
}'
service_start
export WORK URL
cat >"$WORK/client.py" <<'END'
import base64, http.client, json, os, ssl, sys
WORK, URL = os.environ["WORK"], os.environ["URL"]

def spki(name):
    with open("%s/out/%s" % (WORK, name)) as f:
        return f.read().strip()

class Client:
    def __init__(self, name):
        context = ssl.create_default_context(cafile=WORK + "/pki/ca.pem")
        context.load_cert_chain("%s/pki/%s.pem" % (WORK, name), "%s/pki/%s.key" % (WORK, name))
        self.connection = http.client.HTTPSConnection("127.0.0.1", int(URL.rsplit(":", 1)[1]),
                                                      context=context, timeout=30)

    def post(self, path, body, **headers):
        headers = {k.replace("_", "-"): v for k, v in headers.items()}
        headers["Content-Type"] = "application/json"
        self.connection.request("POST", path, json.dumps(body), headers)
        response = self.connection.getresponse()
        octets = response.read()
        return response, json.loads(octets) if octets else None

WWW = "/v1/keys/www/credentials"

def expect(what, got, wanted):
    if got != wanted:
        sys.exit("FAIL: %s: %r, not %r" % (what, got, wanted))
END
for n in a b c; do dc_key P-256 "$WORK/out/$n" >"$WORK/out/$n.spki"; done
dc_key ed25519 "$WORK/out/ed" >"$WORK/out/ed.spki"
for n in server edge www; do
	openssl x509 -in "$WORK/pki/$n.pem" -pubkey -noout | openssl pkey -pubin -outform DER | base64 -w0 >"$WORK/out/$n.spki"
done
for n in $(seq 256); do
	openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 |
		openssl pkey -pubout -outform DER | base64 -w0
	echo
done >"$WORK/out/many"

note "a process of this machine, known by its uid"
spki=$(dc_key P-256 "$WORK/out/here")
status=$(curl -s --max-time 60 --unix-socket "$WORK/api.sock" -o "$WORK/out/body" -w '%{http_code}' \
	-H 'Content-Type: application/json' -d "{\"public_key\":\"$spki\"}" http://x/v1/keys/www/credentials)
[ "$status" = 201 ] || fail "over the Unix socket: $status $(cat "$WORK/out/body")"
curl -s --unix-socket "$WORK/api.sock" -o "$WORK/out/body" http://x/v1/whoami
[ "$(member client) $(member peer) $(member certificate)" = 'here unix None' ] || fail "$(cat "$WORK/out/body")"

note "batches"
PYTHONPATH=$WORK /usr/bin/python3 - <<'END' || exit 1
from client import *
edge, fourth = Client("edge"), Client("fourth")
many = open(WORK + "/out/many").read().split()
response, body = edge.post(WWW + "/batch", {"requests": [{"public_key": k} for k in many]})
expect("256", (response.status, len(body["results"])), (200, 256))
for i, result in enumerate(body["results"]):
    if "credential" not in result:
        sys.exit("FAIL: item %d: %s" % (i, result))
    if base64.b64decode(many[i]) not in base64.b64decode(result["credential"]):
        sys.exit("FAIL: item %d has another key" % i)
expect("chain", body["chain"].count("BEGIN CERTIFICATE"), 1)
open(WORK + "/out/batch", "w").write("\n".join(r["credential"] for r in body["results"]))

mixed = [{"public_key": spki("a.spki")}, {"public_key": spki("a.spki"), "lifetime": 5},
         {"public_key": spki("www.spki")}, {"nothing": 1}, {"public_key": spki("b.spki")}]
response, dry = edge.post(WWW + "/batch?dry_run=true", {"requests": mixed})
response, body = edge.post(WWW + "/batch", {"requests": mixed})
codes = [r.get("code") for r in body["results"]]
expect("mixed", codes, [None, "lifetime_too_short", "public_key_reused", "malformed", None])
expect("dry", [r.get("code") for r in dry["results"]], codes)
expect("allowed", [r.get("allowed") for r in dry["results"]], [True, False, False, None, True])

# max_live counts inside a batch too: each is judged with those before it
response, body = fourth.post(WWW + "/batch", {"requests": [{"public_key": k} for k in many[:1]]})
expect("key of another client", body["results"][0]["code"], "key_shared")
response, body = fourth.post(WWW + "/batch", {"requests": [{"public_key": spki("c.spki")}] * 5})
expect("quota", [r.get("code") for r in body["results"]], [None] * 3 + ["quota_exceeded"] * 2)
END

note "dry runs say what the real call says"
PYTHONPATH=$WORK /usr/bin/python3 - <<'END' || exit 1
from client import *
edge, fourth = Client("edge"), Client("fourth")
csr = open(WORK + "/out/a.csr").read()
cases = [(edge, {"public_key": spki(k + ".spki")}, "public_key_reused", "own_key")
         for k in ("server", "edge", "www")]
cases += [(edge, {"public_key": spki("a.spki"), "lifetime": 90000}, "lifetime_too_long", "lifetime"),
          (edge, {"public_key": spki("a.spki"), "algorithm": "ed25519"}, "public_key_mismatch", "algorithm"),
          (fourth, {"csr": csr}, "quota_exceeded", "max_live"),
          (fourth, {"public_key": spki("a.spki")}, "key_shared", "key_shared")]
for client, body, code, rule in cases:
    _, dry = client.post(WWW + "?dry_run=true", body)
    response, real = client.post(WWW, body)
    expect("dry %s" % code, (dry["allowed"], dry["code"]), (False, code))
    expect("real %s" % code, (response.status, real["code"], real["detail"], real.get("field")),
           (dry["status"], code, dry["detail"], dry.get("field")))
    expect("rules of %s" % code, (dry["rules"][-1]["rule"], [r["passed"] for r in dry["rules"]][-1]),
           (rule, False))
_, dry = edge.post(WWW + "?dry_run=true", {"public_key": spki("a.spki"), "lifetime": 3600})
expect("allowed", (dry["allowed"], len(dry["rules"])), (True, 15))
END

note "warnings"
PYTHONPATH=$WORK /usr/bin/python3 - <<'END' || exit 1
from client import *
edge = Client("edge")
def codes(body):
    return sorted(w.split(":")[0] for w in body["warnings"])
_, p256 = edge.post(WWW, {"csr": open(WORK + "/out/b.csr").read()})
_, ed = edge.post(WWW, {"csr": open(WORK + "/out/ed.csr").read()})
print("-- P-256: %s; Ed25519: %s" % (codes(p256), codes(ed)))
if (codes(p256), codes(ed)) != ([], ["FIZZ-KEY-TYPES", "NSS-KEY"]):
    sys.exit("FAIL: warnings: %s" % (p256["warnings"] + ed["warnings"]))
# a key that another client has, with proof of possession: granted and told
_, shared = edge.post(WWW + "?dry_run=true", {"csr": open(WORK + "/out/c.csr").read()})
expect("dry shared", "KEY-SHARED" in codes(shared), True)
_, shared = edge.post(WWW, {"csr": open(WORK + "/out/c.csr").read()})
expect("shared", "KEY-SHARED" in codes(shared), True)
expect("not shared", "KEY-SHARED" in codes(p256), False)
END

note "one Idempotency-Key, 50 at once"
PYTHONPATH=$WORK /usr/bin/python3 - <<'END' || exit 1
from client import *
import threading
body = {"public_key": spki("a.spki"), "lifetime": 600}
answers = []
def one():
    answers.append(Client("edge").post(WWW, body, Idempotency_Key="fifty"))
threads = [threading.Thread(target=one) for _ in range(50)]
for t in threads: t.start()
for t in threads: t.join()
statuses = sorted(r.status for r, _ in answers)
expect("statuses", statuses, [201] * 50)
expect("credentials", len({b["credential"] for _, b in answers}), 1)
expect("first", sum(r.getheader("Idempotency-Replayed") is None for r, _ in answers), 1)
edge = Client("edge")
response, again = edge.post(WWW, body, Idempotency_Key="fifty")
expect("replay", (response.status, response.getheader("Idempotency-Replayed"), again["credential"]),
       (201, "true", answers[0][1]["credential"]))
response, dry = edge.post(WWW + "?dry_run=true", body, Idempotency_Key="fifty")
expect("dry replay", (dry["replayed"], "credential" in dry, dry["rules"][-1]["rule"]), (True, False, "idempotency"))
response, other = edge.post(WWW, dict(body, lifetime=601), Idempotency_Key="fifty")
expect("another body", (response.status, other["code"]), (409, "idempotency_mismatch"))
# of a batch, each item has its own
two = [body, dict(body, role="client")]
_, first = edge.post(WWW + "/batch", {"requests": two}, Idempotency_Key="batch")
_, again = edge.post(WWW + "/batch", {"requests": two}, Idempotency_Key="batch")
expect("batch", [r["replayed"] for r in first["results"] + again["results"]], [False, False, True, True])
expect("batch again", [r["credential"] for r in again["results"]], [r["credential"] for r in first["results"]])
open(WORK + "/out/fifty", "w").write(answers[0][1]["id"])
END

service_stop
ledger_verify
while read -r dc; do
	grep -qF "\"dc\":\"$dc\"" "$WORK/out/records" || fail "a credential of the batch is not in the ledger"
done < <(head -3 "$WORK/out/batch")
/usr/bin/python3 - "$WORK/out/records" "$(cat "$WORK/out/fifty")" <<'END' || exit 1
import json, sys
records = [json.loads(line) for line in open(sys.argv[1])]
authorised = [r for r in records if r["type"] == "AUTHORISED"]
fifty = {r["id"] for r in authorised if r.get("idempotency") == "fifty"}
released = [r["id"] for r in records if r["type"] == "ISSUED" and r["id"] in fifty]
late = [r["id"] for r in records if r["type"] == "LATE" and r["id"] in fifty]
if released != [sys.argv[2]]:
    sys.exit("FAIL: released under the Idempotency-Key: %s" % released)
if len(late) != len(fifty) - 1:
    sys.exit("FAIL: %d attempts, %d of them LATE" % (len(fifty), len(late)))
if not any(r["client"] == "here" and r["peer"] == "unix" for r in authorised):
    sys.exit("FAIL: nothing authorised over the Unix socket")
print("-- %d attempts under one Idempotency-Key, 1 released, %d LATE" % (len(fifty), len(late)))
END
