#!/bin/bash
# /v1/credentials and /v1/ledger/...: who may read what, pages, heads and proofs that a client can
# check itself, and that the stopped ledger proves the same credential under a head that was fetched.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
demo_client "$WORK/pki" ca fourth || fail "no PKI"
CONF_TOKEN='sign_timeout = 20s' # on a busy machine
CONF_EXTRA='limits { request_deadline = 30s }
client fourth {
	match { uri = "spiffe://demo.example/fourth" }
	may = { issue }
	keys = { www }
	rate = 40/h
}
client holder {
	match { peer_uid = '"$(id -u)"' }
	may = { hold }
	keys = { www }
}
listen "unix:'"$WORK"'/api.sock" {
}'
service_start
for n in a b; do dc_key P-256 "$WORK/out/$n" >"$WORK/out/$n.spki"; done
export WORK URL
PYTHONPATH=$TOP_SRCDIR/tests /usr/bin/python3 "$TOP_SRCDIR/tests/ledger_api.py" || exit 1
status=$(curl -s --max-time 60 --unix-socket "$WORK/api.sock" -o "$WORK/out/body" -w '%{http_code}' http://x/v1/credentials)
[ "$status $(member code)" = '403 missing_right' ] || fail "only hold: $status $(cat "$WORK/out/body")"

note "the stopped ledger"
service_stop
ledger_verify
id=$(cat "$WORK/out/id")
"$DCSIGN" ledger prove --ledger "$LEDGER" --checkpoint "$WORK/out/note" --id "$id" >"$WORK/out/prove" 2>&1 ||
	fail "prove: $(cat "$WORK/out/prove")"
/usr/bin/python3 - "$WORK" <<'END' || exit 1
import json, sys
read = lambda n: open("%s/out/%s" % (sys.argv[1], n), encoding="utf-8").read()
mine, theirs = json.loads(read("proof.json")), json.loads(read("prove"))
for a, b in ("chain", "chain"), ("index", "idx"), ("leaf_hash", "leaf_hash"), ("checkpoint", "note"), ("proof", "proof"):
    if mine[a] != theirs[b]:
        sys.exit("FAIL: %s: %r of the service, %r of the ledger" % (a, mine[a], theirs[b]))
if json.loads(mine["record"]) != theirs["record"]:
    sys.exit("FAIL: another record")
if read("records.jsonl") != "".join(read("records").splitlines(True)[:read("records.jsonl").count("\n")]):
    sys.exit("FAIL: the records that were read are not those of the ledger")
END
"$DCSIGN" ledger verify --ledger "$LEDGER" --checkpoint "$WORK/out/note" >"$WORK/out/verify" 2>&1 ||
	fail "verify with the note: $(cat "$WORK/out/verify")"
