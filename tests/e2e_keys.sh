#!/bin/bash
# dcsign keys: keys that are as narrow as the token takes them, what it says of keys that are not, its
# exit codes and JSON, and what it refuses to run beside: a process that uses the same SoftHSM token,
# p11-kit's proxy, a PIN that was refused before or is at its last try.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
command -v pkcs11-tool >/dev/null || skip "pkcs11-tool is missing (Debian: opensc)"
demo_token "$WORK/hsm" demo || fail "softhsm2-util made no token"
pin=$(cat "$WORK/hsm/pin")
mkdir "$WORK/spy"
RULES=$WORK/spy/rules WITNESS=$WORK/spy/witness
: >"$RULES"
export P11FAULT_MODULE=$DEMO_MODULE P11FAULT_LOG=$WITNESS P11FAULT_CONTROL=$RULES
fault=$TOP_BUILDDIR/tests/faults/p11fault.so
export ASAN_OPTIONS=detect_leaks=0

# keys STATUS COMMAND ARGUMENT...: dcsign keys on the fault module ends so; its output goes to out/keys.
keys() {
	local want=$1 status=0
	shift
	timeout 200 "$DCSIGN" keys "$@" --module "$fault" --pin "file:$WORK/hsm/pin" --state "$WORK/state" \
		>"$WORK/out/keys" 2>"$WORK/out/errors" || status=$?
	[ "$status" = "$want" ] || fail "dcsign keys $*: status $status, not $want: $(cat "$WORK/out/keys" "$WORK/out/errors")"
	! grep -qF "$pin" "$WORK/out/keys" "$WORK/out/errors" || fail "dcsign keys $* prints the PIN"
}

says() { # WORDS: in what was printed last
	grep -qF -- "$1" "$WORK/out/keys" "$WORK/out/errors" || fail "not said: $1: $(cat "$WORK/out/keys" "$WORK/out/errors")"
}

says_not() {
	! grep -qF -- "$1" "$WORK/out/keys" "$WORK/out/errors" || fail "said: $1"
}

# json EXPRESSION: true of the JSON d that was printed last.
json() {
	/usr/bin/python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))
sys.exit(not eval(sys.argv[2]))' "$WORK/out/keys" "$1" || fail "$1: $(cat "$WORK/out/keys")"
}

rules() {
	printf '%s\n' "$@" >"$RULES.new" && mv "$RULES.new" "$RULES"
}

calls() { # FUNCTION: how often it was called since forget
	grep -c " fn=$1 " "$WITNESS"
}

forget() {
	: >"$WITNESS"
}

T='pkcs11:token=demo'
# Every type, fit at once.
for type in P-256 P-384 P-521 Ed25519 RSA-2048; do
	keys 0 generate --uri "$T;object=$type" --type $type
	says_not 'left out'
	keys 0 check --uri "$T;object=$type" --json
	json 'd["verdict"] == "ok" and d["detail"] == "" and len(d["attributes"]) > 15'
	json 'all(a["verdict"] == "ok" for a in d["attributes"])'
	json '{a["attribute"]: a["value"] for a in d["attributes"]}["allowed_mechanisms"] == "the one that is used"'
done
keys 1 generate --uri "$T;object=P-256" --type P-256
says 'has such a key already'
keys 2 generate --uri "$T;object=x" --type P-224
keys 2 generate --uri "$T;object=x;colour=red" --type P-256
keys 2 check --uri "$T"
keys 2 list --uri "pkcs11:slot-id=0"
keys 1 check --uri "$T;object=nobody"
keys 3 list --uri "pkcs11:token=nobody"

# What the token does not take is left out, and nothing else; what every key must have is not.
rules 'C_GenerateKeyPair no-attribute=0x40000600'
keys 0 generate --uri "$T;object=lean1" --type P-256
says 'the token does not take allowed_mechanisms'
says_not 'copyable'
rules
keys 0 check --uri "$T;object=lean1" --json
json '{a["attribute"]: a["verdict"] for a in d["attributes"]}["allowed_mechanisms"] == "note"'
json '{a["attribute"]: a["value"] for a in d["attributes"]}["copyable"] == "false"'
rules 'C_GenerateKeyPair no-attribute=0x171' 'C_GenerateKeyPair no-attribute=0x170'
keys 0 generate --uri "$T;object=lean2" --type P-256 --json
json '[a["attribute"] for a in d["left_out"]] == ["modifiable", "copyable"] and d["type"] == "P-256"'
rules
keys 1 check --uri "$T;object=lean2"
says 'modifiable           true                             REFUSED'
says 'attribute modifiable of the key is true, it must be false'
keys 0 check --uri "$T;object=lean2" --accept modifiable --accept copyable
says 'modifiable           true                             accepted'
rules 'C_GenerateKeyPair no-attribute=0x103'
keys 3 generate --uri "$T;object=never" --type P-256
says 'C_GenerateKeyPair'
rules 'C_GenerateKeyPair rv=0x30'
forget
keys 3 generate --uri "$T;object=never" --type P-256
[ "$(calls C_GenerateKeyPair)" = 1 ] || fail "$(calls C_GenerateKeyPair) C_GenerateKeyPair with a broken device"
rules
keys 1 check --uri "$T;object=never"

# A key that another tool made.
pkcs11-tool --module "$DEMO_MODULE" --login --pin "$pin" --keypairgen --key-type EC:prime256v1 --usage-sign \
	--sensitive --label weak --id 77 >/dev/null 2>&1 || fail "pkcs11-tool"
keys 1 check --uri "$T;object=weak"
says 'decrypt              true                             REFUSED'
keys 1 check --uri "$T;object=weak" --json
json 'd["verdict"] == "key_attributes" and "decrypt" in d["detail"]'
keys 1 check --uri "$T;object=weak" --accept decrypt
keys 0 list --token demo --json
json 'len(d["keys"]) == 8 and {"id": "77", "label": "weak", "type": "P-256"} in d["keys"]'
keys 0 list --token demo
[ "$(wc -l <"$WORK/out/keys")" = 8 ] || fail "$(cat "$WORK/out/keys")"

# Whatever function fails: an answer in time, and no crash.
n=0
for fn in C_GetFunctionList C_Initialize C_GetSlotList C_GetTokenInfo C_OpenSession C_Login C_GetMechanismList \
	C_GetMechanismInfo C_FindObjectsInit C_FindObjects C_FindObjectsFinal C_GenerateKeyPair C_CloseSession C_Finalize; do
	for code in 0x30 0x80000123; do
		rules "$fn rv=$code"
		n=$((n + 1)) status=0
		timeout 200 "$DCSIGN" keys generate --uri "$T;object=matrix$n" --type P-256 --module "$fault" \
			--pin "file:$WORK/hsm/pin" --state "$WORK/state" >"$WORK/out/keys" 2>&1 || status=$?
		case $fn:$status in
		*:3 | C_GetMechanism*:0 | C_FindObjectsFinal:0 | C_CloseSession:0 | C_Finalize:0) ;;
		*) fail "$fn $code: status $status: $(cat "$WORK/out/keys")" ;;
		esac
	done
done
rules

# p11-kit's proxy is all modules in one.
proxy=$(ls /usr/lib/*/p11-kit-proxy.so 2>/dev/null | head -n 1)
if [ -n "$proxy" ]; then
	"$DCSIGN" keys list --token demo --module "$proxy" --pin "file:$WORK/hsm/pin" >"$WORK/out/keys" 2>"$WORK/out/errors"
	[ $? = 1 ] || fail "the proxy is taken"
	says 'all registered modules in one'
fi

# SIGTERM does not cut a login in two.
rules 'C_Login hang'
forget
"$DCSIGN" keys list --token demo --module "$fault" --pin "file:$WORK/hsm/pin" --state "$WORK/state" >"$WORK/out/keys" 2>&1 &
ceremony=$!
for n in $(seq 1200); do
	grep -q 'fn=C_Login .*ev=begin' "$WITNESS" && break
	sleep 0.05
done
pid=$(sed -n 's/.* pid=\([0-9]*\) .*fn=C_Login .*ev=begin.*/\1/p' "$WITNESS")
kill -TERM "$pid"
sleep 0.5 # it has time to be wrong
rules
wait $ceremony && fail "SIGTERM did not end it"
grep -q ' fn=C_Login .* rv=0x0' "$WITNESS" || fail "the login was cut: $(tail -n 2 "$WITNESS")"
rules

# PIN: the modes of its file, the token's flags, and a value that was refused once.
chmod 604 "$WORK/hsm/pin"
keys 3 list --token demo
says 'others can read it'
chmod 600 "$WORK/hsm/pin"
for flag in 0x20000:'last try' 0x40000:locked; do
	forget
	rules "C_GetTokenInfo flags=${flag%:*}"
	keys 3 list --token demo
	says "${flag#*:}"
	[ "$(calls C_Login)" = 0 ] || fail "a login was tried: $flag"
done
rules 'C_GetTokenInfo flags=0x20000'
keys 0 list --token demo --final-try
rules 'C_GetTokenInfo flags=0x40000'
keys 3 list --token demo --final-try
rules 'C_GetTokenInfo flags=0x10000' # COUNT_LOW: a person is here
keys 0 list --token demo
rules 'C_Login locked' 'C_GetTokenInfo locked'
mkdir -p "$WORK/state/hsm"
chmod 711 "$WORK/state"
[ -z "$SEPARATE" ] || chown -R "${E2E_UIDS[1]}:${E2E_UIDS[1]}" "$WORK/state/hsm"
chmod 700 "$WORK/state/hsm"
forget
echo 00000000 >"$WORK/hsm/pin"
keys 3 list --token demo
says 'C_Login'
keys 3 list --token demo
says 'refused this PIN before'
[ "$(calls C_Login)" = 1 ] || fail "$(calls C_Login) C_Login for one wrong PIN"
[ -z "$SEPARATE" ] || [ "$(stat -c %u "$WORK"/state/hsm/pin-breaker.*)" = "${E2E_UIDS[1]}" ] || fail "whose is the breaker?"
echo "$pin" >"$WORK/hsm/pin"
keys 0 list --token demo
echo 00000000 >"$WORK/hsm/pin"
keys 3 list --token demo # the right one in between is no leave
[ "$(calls C_Login)" = 2 ] || fail "$(calls C_Login) C_Login"
"$DCSIGN" keys reset-pin-breaker --state "$WORK/state" >"$WORK/out/keys" || fail "reset-pin-breaker"
says 'cleared the PIN breaker of token'
"$DCSIGN" keys reset-pin-breaker --state "$WORK/state" >"$WORK/out/keys" || fail "reset-pin-breaker"
says 'no PIN breaker is set'
keys 3 list --token demo
[ "$(calls C_Login)" = 3 ] || fail "$(calls C_Login) C_Login after a reset"
"$DCSIGN" keys reset-pin-breaker --state "$WORK/state" >/dev/null
echo "$pin" >"$WORK/hsm/pin"
rules
keys 0 list --token demo
rm -r "$WORK/state"

# Beside a service that uses the token: its login would write there.
if [ -n "$SEPARATE" ]; then
	unset SOFTHSM2_CONF
	(
		demo_token "$WORK/other" other
	) || fail "softhsm2-util made no other token"
	export SOFTHSM2_CONF=$WORK/hsm/softhsm2.conf
	demo_ca "$WORK/pki" ca && demo_leaf "$WORK/pki" ca server "$DEMO_SERVER_EXT" && demo_client "$WORK/pki" ca edge &&
		demo_client "$WORK/pki" ca auditor || fail "openssl made no PKI"
	make_key www p256
	make_key www384 p384
	demo_token_close "$WORK/hsm" "${E2E_UIDS[1]}"
	LEDGER=sqlite:$WORK/state/ledger.db
	service_start
	forget
	keys 1 list --token demo
	says "dcsignd-hsm) uses the same SoftHSM token"
	[ "$(calls C_Login)" = 0 ] || fail "a login beside the service"
	keys 0 list --token demo --while-running
	SOFTHSM2_CONF=$WORK/other/softhsm2.conf "$DCSIGN" keys list --token other --module "$DEMO_MODULE" \
		--pin "file:$WORK/other/pin" >"$WORK/out/keys" 2>&1 || fail "another token: $(cat "$WORK/out/keys")"
	cp "$WORK/hsm/pin" "$WORK/out/pin" && chown "${E2E_UIDS[1]}" "$WORK/out/pin" && chmod 755 "$WORK/out"
	SOFTHSM2_CONF=$WORK/hsm/softhsm2.conf setpriv "--reuid=${E2E_UIDS[1]}" "--regid=${E2E_UIDS[1]}" --clear-groups \
		"$DCSIGN" keys list --token demo --module "$DEMO_MODULE" --pin "file:$WORK/out/pin" >"$WORK/out/keys" 2>&1 ||
		fail "a token that can't be written has no such hazard: $(cat "$WORK/out/keys")"
	service_stop
	keys 0 list --token demo
fi
