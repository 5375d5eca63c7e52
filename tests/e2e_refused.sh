#!/bin/bash
# Keys that must not be served, beside some that are, on a token full of other objects: a certificate of
# another key, two keys of one name, an extractable key, one that decrypts, a type that can't sign, no
# such key, no such token. Each is refused with its reason in the log, the ledger, /readyz and /v1/keys;
# the others serve. accept_weak_key lets one through, and all four say so.
. "$(dirname "$0")/lib.sh"
e2e_begin
command -v pkcs11-tool >/dev/null || skip "pkcs11-tool is missing (Debian: opensc)"
demo_token "$WORK/hsm" demo || fail "softhsm2-util made no token"
demo_ca "$WORK/pki" ca && demo_leaf "$WORK/pki" ca server "$DEMO_SERVER_EXT" && demo_client "$WORK/pki" ca edge &&
	demo_client "$WORK/pki" ca auditor || fail "openssl made no PKI"
pin=$(cat "$WORK/hsm/pin")
# SoftHSM leaks when it makes an Ed25519 key.
export ASAN_OPTIONS=detect_leaks=0

tool() {
	pkcs11-tool --module "$DEMO_MODULE" --login --pin "$pin" "$@" >"$WORK/out/tool" 2>&1 ||
		fail "pkcs11-tool $*: $(cat "$WORK/out/tool")"
}

# tool_key NAME ID OPTION...: a key that pkcs11-tool makes, and its certificate pki/NAME.pem.
tool_key() {
	local name=$1
	tool --keypairgen --key-type EC:prime256v1 --label "$1" --id "$2" "${@:3}"
	tool --read-object --type pubkey --id "$2" -o "$WORK/out/pub.der"
	printf '%s\n' "$DEMO_DELEGATION_EXT" >"$WORK/out/ext"
	openssl x509 -new -force_pubkey "$WORK/out/pub.der" -CA "$WORK/pki/ca.pem" -CAkey "$WORK/pki/ca.key" \
		-subj /CN=localhost -days 30 -extfile "$WORK/out/ext" -out "$WORK/pki/$name.pem" || fail "no certificate for $name"
}

make_key www p256
make_key www384 p384
make_key other p256
# What lies around: other curves and types, secret keys, certificates, data.
make_key ed ed25519
tool --keypairgen --key-type EC:secp256k1 --label koblitz --id a1
tool --keypairgen --key-type EC:brainpoolP256r1 --label brainpool --id a2
tool --keygen --key-type AES:32 --label aes --id a3
tool --keygen --key-type GENERIC:32 --label secret --id a4
tool --write-object "$WORK/pki/server.pem" --type cert --label cert --id a5
tool --write-object "$WORK/pki/ca.pem" --type data --label www
tool --keypairgen --key-type rsa:1024 --label small --id a6
tool_key open 01 --extractable
tool_key decrypts 02 --usage-sign --sensitive
tool_key weak 03 --usage-sign --sensitive
tool_key twice 04 --usage-sign --sensitive
tool --keypairgen --key-type EC:prime256v1 --label twice --id 05
if [ -n "$SEPARATE" ]; then
	demo_token_close "$WORK/hsm" "${E2E_UIDS[1]}"
else
	demo_token_close "$WORK/hsm"
fi

# key NAME URI CERTIFICATE [LINE]
key() {
	CONF_KEYS="$CONF_KEYS, $1"
	CONF_EXTRA="$CONF_EXTRA
key $1 {
	token = ${5:-main}
	uri = \"$2\"
	certificate = { \"$WORK/pki/$3.pem\" }
	policy = default
	${4-}
}"
}
CONF_EXTRA="token absent {
	module = \"$DEMO_MODULE\"
	uri = \"pkcs11:token=nobody\"
	pin = \"file:$WORK/hsm/pin\"
	environment = { \"SOFTHSM2_CONF=$WORK/hsm/softhsm2.conf\" }
}"
WEAK='decrypt, unwrap, sign_recover, modifiable, copyable'
key ed pkcs11:object=ed ed
key accepted pkcs11:object=weak weak "accept_weak_key = { $WEAK }"
key foreign pkcs11:object=other www
key twice pkcs11:object=twice twice "accept_weak_key = { $WEAK }"
key open pkcs11:object=open open "accept_weak_key = { $WEAK, derive }"
key decrypts pkcs11:object=decrypts decrypts
key koblitz pkcs11:object=koblitz www
key nokey pkcs11:object=nowhere www
key notoken pkcs11:object=www www '' absent
LEDGER=sqlite:$WORK/state/ledger.db
SERVED='www www384 ed accepted'
service_keys=$(echo $SERVED | wc -w)
service_start

SPKI=$(dc_key P-256 "$WORK/out/dc")
for key in $SERVED; do
	[ "$(issue edge $key "{\"public_key\":\"$SPKI\"}")" = 201 ] || fail "$key: $(cat "$WORK/out/body")"
	member credential | base64 -d >"$WORK/out/$key.dc"
done
"$DCSIGN" verify --certificate "$WORK/pki/weak.pem" "$WORK/out/accepted.dc" >"$WORK/out/verified" 2>&1 || fail "$(cat "$WORK/out/verified")"

# told FILE KEY REASON WORDS: the entry of the key in this JSON of /readyz or /v1/keys tells the reason.
told() {
	/usr/bin/python3 - "$@" <<'END' || fail "$2 in ${1##*/}: not $3 ($4): $(cat "$1")"
import json, sys
path, name, reason, words = sys.argv[1:]
keys = json.load(open(path))["keys"]
key = next(k for k in keys if k["key"] == name)
health = key.get("health", key)
served = health.get("ready", health.get("served"))
sys.exit(not (served is False and health["code"] == reason and words in health["detail"]))
END
}

# refused KEY REASON WORDS [WORDS]: in all four places; asked to issue, it says so too. The last: to clients.
refused() {
	grep 'event="key is refused"' "$WORK/log" | grep " key=$1 " | grep "reason=$2 .*$3" >/dev/null ||
		fail "$1 in the log: not $2 ($3): $(grep " key=$1 " "$WORK/log" | tail -n 3)"
	told "$WORK/out/readyz" "$1" "$2" "$3"
	told "$WORK/out/keys.json" "$1" "$2" "${4-$3}"
	[ "$(issue edge "$1" "{\"public_key\":\"$SPKI\"}")" = 503 ] || fail "$1: $(cat "$WORK/out/body")"
	case $(member detail) in
	*"${4-$3}"*) ;;
	*) fail "$1, asked to issue: $(cat "$WORK/out/body")" ;;
	esac
	[ -z "${4-}" ] || ! grep -F "$3" "$WORK/out/body" "$WORK/out/keys.json" || fail "$1: a client gets the token's words"
}
WRONG='foreign:key_unproved:
twice:key_ambiguous:several private keys
open:key_attributes:extractable
decrypts:key_attributes:decrypt
koblitz:certificate_key_unsupported:type or curve
nokey:key_missing:no private key'
# Those that are served may be so before the others are refused.
all_told() {
	local key reason words
	curl -s "$MONITOR/readyz" >"$WORK/out/readyz"
	while IFS=: read -r key reason words; do
		(told "$WORK/out/readyz" "$key" "$reason" "$words") 2>/dev/null || return 1
	done <<<"$WRONG"
}
within_60s all_told
[ "$(api edge /v1/keys)" = 200 ] || fail "$(cat "$WORK/out/body")"
cp "$WORK/out/body" "$WORK/out/keys.json"
while IFS=: read -r key reason words; do
	refused "$key" "$reason" "$words"
done <<<"$WRONG"
grep -q 'event="no token" token=absent reason=token_unavailable detail="no token matches' "$WORK/log" || fail "the log does not tell of the token"
# Without its token a process stays, to tell why, while others look at the token again and again.
looks() {
	grep -c 'event="no token" token=absent' "$WORK/log"
}
for n in $(seq 600); do
	[ "$(looks)" -gt 4 ] && break
	sleep 0.1
done
[ "$(looks)" -gt 4 ] || fail "the token was looked at $(looks) times"
for n in $(seq 20); do
	curl -s "$MONITOR/readyz" >"$WORK/out/readyz"
	[ "$(api edge /v1/keys)" = 200 ] || fail "$(cat "$WORK/out/body")"
	cp "$WORK/out/body" "$WORK/out/keys.json"
	refused notoken token_unavailable 'no token matches' "the token can't be used now"
	sleep 0.1
done
grep 'event="key is served"' "$WORK/log" | grep 'key=accepted' | grep -q 'decrypt true' || fail "the log does not tell of the weak key"
/usr/bin/python3 - "$WORK/out/keys.json" <<'END' || fail "/v1/keys does not tell of the weak key: $(cat "$WORK/out/keys.json")"
import json, sys
keys = {k["key"]: k for k in json.load(open(sys.argv[1]))["keys"]}
assert "decrypt true" in json.dumps(keys["accepted"]), keys["accepted"]
assert "decrypt true" not in json.dumps(keys["www"])
END
service_stop
ledger_verify
while IFS=: read -r key reason words; do
	grep '"type":"KEY-REFUSED"' "$WORK/out/records" | grep "\"key\":\"$key\"" | grep "\"reason\":\"$reason\"" | grep -q "$words" ||
		fail "$key in the ledger: not $reason ($words): $(grep KEY-REFUSED "$WORK/out/records" | grep "\"$key\"")"
done <<<"$WRONG
notoken:token_unavailable:no token matches"
[ "$(grep '"type":"KEY-REFUSED"' "$WORK/out/records" | grep -c '"key":"notoken"')" = 1 ] ||
	fail "notoken: $(grep -c '"key":"notoken"' "$WORK/out/records") records of one reason"
grep '"type":"KEY-PROVED"' "$WORK/out/records" | grep '"key":"accepted"' | grep -q 'decrypt true' || fail "the ledger does not tell of the weak key"
[ "$(records KEY-PROVED)" = "$service_keys" ] || fail "$(records KEY-PROVED) keys proved"
note "refused: $(echo "$WRONG" | cut -d: -f1,2 | tr '\n' ' ')"
