#!/bin/bash
# A ledger that the service made, and what the two verifiers say when it was tampered with; that the
# service itself refuses to start on an older copy when it knows a later head.
. "$(dirname "$0")/lib.sh"
e2e_begin
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || skip "python3-cryptography is missing"
token_and_pki
spki=$(dc_key P-256 "$WORK/out/dc")
issue_some() { # KEY HOW-MANY
	local n
	for n in $(seq "$2"); do
		[ "$(issue edge "$1" "{\"public_key\":\"$spki\",\"lifetime\":$((3600 + n))}")" = 201 ] || fail "$(cat "$WORK/out/body")"
	done
}

note "another node"
CONF_NODE=other
service_start
issue_some www 1
service_stop
mv "$WORK/state" "$WORK/other"

CONF_NODE=test
CONF_EXTRA="checkpoint { every = 8 file = \"$WORK/kept/heads\" }"
mkdir "$WORK/kept"
[ -z "$SEPARATE" ] || chown "${E2E_UIDS[2]}" "$WORK/kept"
service_start
issue_some www 4
service_stop
cp -a "$WORK/state" "$WORK/older"
service_start
issue_some www384 4
[ "$(api auditor /v1/keys/www384/hold -H 'Content-Type: application/json' -d '{"reason":"a ceremony"}')" = 200 ] ||
	fail "no hold: $(cat "$WORK/out/body")"
issue_some www 3
[ "$(api edge /v1/keys/www/credentials -H 'Content-Type: application/json' -H 'Idempotency-Key: one' \
	-d "{\"public_key\":\"$spki\"}")" = 201 ] || fail "$(cat "$WORK/out/body")"
service_stop
ledger_verify
vkey=$(sed -n 's|.*, verifier key ||p' "$WORK/out/verify" | head -n 1)
key=$(find "$WORK/state" -name checkpoint.key)
/usr/bin/python3 "$TOP_SRCDIR/tests/faults/tampering.py" "$WORK/state/ledger.db" "$WORK/kept/heads" "$vkey" "$key" \
	"$WORK/older/ledger.db" "$WORK/other/ledger.db" || fail "tampering was not seen"

note "the older copy of the whole folder is put back"
mv "$WORK/state" "$WORK/newer"
cp -a "$WORK/older" "$WORK/state"
PORT=$(demo_port)
MONITOR_PORT=$(demo_port)
config_write
: >"$WORK/log"
service_spawn
for n in $(seq 600); do
	grep -q 'put back' "$WORK/log" && break
	alive "$PID" || break
	sleep 0.1
done
grep -q 'it was put back' "$WORK/log" || fail "it does not say that the ledger is older than a known head"
[ "$(keys_ready 2>/dev/null)" != 2 ] || fail "it serves on an older copy"
end_process "$PID"
PID=
note "without a known head that can't be seen, and verify says so"
"$DCSIGN" ledger verify --ledger "$LEDGER" >"$WORK/out/verify" 2>&1 || fail "$(cat "$WORK/out/verify")"
grep -q 'put back to an older state as a whole looks good here' "$WORK/out/verify" || fail "verify does not say what it can't see"
