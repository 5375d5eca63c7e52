#!/bin/bash
# OpenSC's pkcs11-spy between the service and SoftHSM writes down every call: the key is used by
# C_Sign and nothing else, as often as the ledger has AUTHORISED and SELF-TEST records.
. "$(dirname "$0")/lib.sh"
e2e_begin
spy=
for f in /usr/lib/*/pkcs11-spy.so /usr/lib/*/pkcs11/pkcs11-spy.so; do
	[ -e "$f" ] && spy=$f && break
done
[ -n "$spy" ] || skip "pkcs11-spy.so is missing (Debian: opensc-pkcs11)"
token_and_pki
mkdir "$WORK/spy"
[ -z "$SEPARATE" ] || chown "${E2E_UIDS[1]}" "$WORK/spy"
log=$WORK/spy/log
CONF_MODULE=$spy
CONF_ENVIRONMENT=", \"PKCS11SPY=$DEMO_MODULE\", \"PKCS11SPY_OUTPUT=$log\""
service_start
[ -s "$log" ] || fail "the service does not use the spy"

spki=$(dc_key P-256 "$WORK/out/dc")
for n in $(seq 20); do
	for key in www www384; do
		[ "$(issue edge $key "{\"public_key\":\"$spki\"}")" = 201 ] || fail "$(cat "$WORK/out/body")"
	done
done
# What is refused must not touch the key.
for n in $(seq 5); do
	[ "$(issue edge www "{\"public_key\":\"$spki\",\"lifetime\":999999}")" = 422 ] || fail "$(cat "$WORK/out/body")"
done
service_stop
ledger_verify

calls() {
	grep -cE "^[0-9]+: $1\$" "$log"
}
expected=$(($(records AUTHORISED) + $(records SELF-TEST)))
[ "$(records AUTHORISED)" = 40 ] || fail "$(records AUTHORISED) AUTHORISED records, not 40"
[ "$(records SELF-TEST)" -ge 2 ] || fail "fewer SELF-TEST records than keys"
[ "$(calls C_Sign)" = "$expected" ] || fail "$(calls C_Sign) C_Sign, $expected records"
[ "$(calls C_SignInit)" = "$expected" ] || fail "$(calls C_SignInit) C_SignInit, $expected records"
allowed='C_(GetFunctionList|Initialize|Finalize|GetInfo|GetSlotList|GetSlotInfo|GetTokenInfo|GetMechanismList'
allowed="$allowed|GetMechanismInfo|OpenSession|CloseSession|CloseAllSessions|GetSessionInfo|Login|Logout"
allowed="$allowed|FindObjectsInit|FindObjects|FindObjectsFinal|GetAttributeValue|SignInit|Sign)"
others=$(grep -E '^[0-9]+: C_' "$log" | sed 's/^[0-9]*: //' | sort -u | grep -vxE "$allowed")
[ -z "$others" ] || fail "other calls: $others"
note "$expected C_Sign for $expected records; calls: $(grep -E '^[0-9]+: C_' "$log" | sed 's/^[0-9]*: //' |
	sort | uniq -c | awk '{ printf "%s %s, ", $2, $1 }')"
