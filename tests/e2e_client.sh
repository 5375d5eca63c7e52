#!/bin/bash
# The commands of dcsign: request against a stand-in for the service (fakes/service.py), which tells
# what is written, what is believed and what is refused; verify, inspect and the helpers.
set -u
src=${TOP_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
build=${TOP_BUILDDIR:-$PWD}
dcsign=$build/src/client/dcsign
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || {
	echo "skipped: /usr/bin/python3 has no cryptography (Debian: python3-cryptography)"
	exit 77
}
folder=$(mktemp -d) || exit 1
/usr/bin/python3 "$src/tests/fakes/service.py" "$folder" >"$folder/said" 2>&1 &
pid=$!
trap 'kill $pid $silent 2>/dev/null; wait $pid $silent 2>/dev/null; rm -rf "$folder"' EXIT
silent=
port=
for _ in $(seq 1200); do
	port=$(sed -n 's/^port //p' "$folder/said")
	[ -n "$port" ] && break
	sleep 0.05
done
[ -n "$port" ] || {
	cat "$folder/said" >&2
	exit 1
}
cd "$folder" || exit 1
export DCSIGN_URL=https://localhost:$port DCSIGN_CA=ca.pem DCSIGN_CERT=client.pem
export DCSIGN_KEY=client.key DCSIGN_DELEGATION_KEY=www
failures=0
failed()
{
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# run CODE TEXT ARGUMENT...: dcsign request must end with CODE and say TEXT
run()
{
	local code=$1 text=$2 got
	shift 2
	"$dcsign" request "$@" >out 2>&1
	got=$?
	[ $got -eq "$code" ] || failed "exit $got instead of $code: $*: $(cat out)"
	grep -qF -- "$text" out || failed "\"$text\" is not said: $*: $(cat out)"
}

timeout 100 "$dcsign" request --key silent --new-key P-256 -o silent >silent.out 2>&1 &
silent=$!

echo "== each kind of new key, each form of file"
for kind in P-256 P-384 P-521 ed25519 ecdsa_secp256r1_sha256; do
	run 0 "expires" --new-key $kind -o "new-$kind"
	[ "$(stat -Lc %a "new-$kind/key.pem")" = 600 ] || failed "mode of key.pem"
	"$dcsign" verify --certificate "new-$kind/chain.pem" "new-$kind/credential.dc" || failed "$kind"
	openssl pkey -in "new-$kind/key.pem" -pubout -outform DER 2>/dev/null | sha256sum | cut -d' ' -f1 >a
	"$dcsign" inspect "new-$kind/credential.dc" | sed -n 's/^public_key_sha256 *//p' >b
	cmp -s a b || failed "the key of $kind is not the credential's"
done
for form in pem hex json; do
	run 0 "credential.$form" --new-key P-256 --format $form -o "form-$form"
	[ "$("$dcsign" inspect "form-$form/credential.$form" | sed -n 's/^format *//p')" = $form ] ||
		failed "form $form"
	[ -e "form-$form/credential.dc" ] && failed "credential.dc beside $form"
	"$dcsign" verify --certificate "form-$form/chain.pem" "form-$form/credential.$form" >/dev/null ||
		failed "$form"
done
/usr/bin/python3 - new-P-256 <<'EOF' || failed "credential.json"
import base64, json, sys
folder = sys.argv[1]
answer = json.load(open(folder + "/credential.json"))
assert base64.b64decode(answer["credential"]) == open(folder + "/credential.dc", "rb").read()
assert answer["chain"] == open(folder + "/chain.pem").read()
EOF

echo "== CSR, public key, role, times"
openssl ecparam -name secp384r1 -genkey -noout -out mine.key 2>/dev/null
openssl req -new -key mine.key -subj /CN=x -out mine.csr 2>/dev/null
openssl req -in mine.csr -outform DER -out mine.csr.der
openssl pkey -in mine.key -pubout -out mine.pub
openssl pkey -in mine.key -pubout -outform DER -out mine.pub.der
for given in "--csr mine.csr" "--csr mine.csr.der" "--public-key mine.pub" "--public-key mine.pub.der"; do
	# shellcheck disable=SC2086
	run 0 "ecdsa_secp384r1_sha384" $given -o given
	[ -e given/key.pem ] && failed "a key.pem without a new key"
done
run 0 "client role" --new-key P-256 --role client -o client
"$dcsign" verify --certificate client/chain.pem client/credential.dc >/dev/null &&
	failed "a client credential passes as a server's"
end=$(date -u -d '+2 hours' +%Y-%m-%dT%H:%M:%SZ)
run 0 "$end" --csr mine.csr --not-after "$end" -o times
run 0 "" --csr mine.csr --lifetime 30m --reference 'CHG "1"' --algorithm ecdsa_secp384r1_sha384 \
	--not-before "$(date -u +%Y-%m-%dT%H:%M:%SZ)" -o times
tail -1 requests | grep -q '"lifetime":1800' || failed "lifetime is not sent"
tail -1 requests | grep -qF '"reference":"CHG \"1\""' || failed "reference is not sent"
tail -1 requests | grep -q '"algorithm":"ecdsa_secp384r1_sha384"' || failed "algorithm is not sent"
run 0 "issued" --csr mine.csr --idempotency-key k1 -o again
run 0 "(again)" --csr mine.csr --idempotency-key k1 -o again
run 0 "warning   KEY-SHARED" --key shared --csr mine.csr -o shared
run 0 "would be issued" --csr mine.csr --dry-run
tail -1 requests | grep -q '?dry_run=true' || failed "dry_run is not sent"
run 0 '"directory"' --new-key P-256 --json -o json

echo "== what the service refuses"
run 1 "422 lifetime_too_long, lifetime" --key refuse --csr mine.csr -o new-P-256
run 1 "3 d is over the maximum of 24 h" --key refuse --csr mine.csr -o new-P-256
run 1 '"code": "lifetime_too_long"' --key refuse --csr mine.csr --json -o new-P-256
run 3 "try again in 7 s" --key busy --csr mine.csr -o new-P-256
run 4 "internal_error" --key broken --csr mine.csr -o new-P-256

echo "== what to do next"
# next STATUS CODE TEXT: a refusal with this code says what to do
next()
{
	local exit=1
	[ "$1" -lt 500 ] || exit=3
	echo "{\"problem\": $1, \"code\": \"$2\"}" >control
	run $exit "as the test asks; $3" --csr mine.csr -o new-P-256
}
next 403 unknown_client "the service's operator has to add this client certificate"
next 409 held "this was stopped on purpose"
next 422 proof_required "use --new-key or --csr"
next 504 outcome_unknown "try again with the same Idempotency-Key"
rm control

echo "== what is not believed"
run 4 "not for the public key" --key other-key --new-key P-256 -o new-P-256
run 4 "not the certificate key's" --key bad-signature --csr mine.csr -o new-P-256
run 4 "not the certificate key's" --key wrong-role --csr mine.csr -o new-P-256
run 4 "for more than 7 days" --key over-long --csr mine.csr -o new-P-256
run 4 '"not_after" is not that' --key lies --csr mine.csr -o new-P-256
run 4 "no JSON object" --key not-json --csr mine.csr -o new-P-256
run 4 "never gives" --key html --csr mine.csr -o new-P-256
run 4 "302" --key redirect --csr mine.csr -o new-P-256
run 3 "no answer" --key huge --csr mine.csr -o new-P-256
run 3 "no answer" --key endless --csr mine.csr -o new-P-256

echo "== whom it does not talk to"
run 3 "does not verify with the CA in stranger-ca.pem" --ca stranger-ca.pem --csr mine.csr -o new-P-256
run 3 "does not verify" --url "https://127.0.0.1:$port" --csr mine.csr -o new-P-256
run 3 "does it accept the client certificate" --cert stranger.pem --tls-key stranger.key \
	--csr mine.csr -o new-P-256
run 3 "no answer" --url https://localhost:1 --csr mine.csr -o new-P-256
https_proxy=http://localhost:1 run 0 "issued" --csr mine.csr -o proxy

echo "== after all these failures the first set is whole"
"$dcsign" verify --certificate new-P-256/chain.pem new-P-256/credential.dc || failed "the set"
openssl pkey -in new-P-256/key.pem -noout || failed "key.pem"
[ "$(find new-P-256 -name '.set-*' | wc -l)" = 1 ] || failed "leftovers: $(ls -A new-P-256)"

echo "== command line"
run 2 "there is no option --frob" --frob
run 2 "--key is missing (or set DCSIGN_DELEGATION_KEY)" --key "" --new-key P-256 -o x
unset DCSIGN_DELEGATION_KEY
run 2 "--key is missing (or set DCSIGN_DELEGATION_KEY)" --new-key P-256 -o x
export DCSIGN_DELEGATION_KEY=www
run 2 "give one of --new-key, --csr and --public-key" -o x
run 2 "give one of" --new-key P-256 --csr mine.csr -o x
run 2 "-o is missing" --new-key P-256
run 2 "ecdsa_secp256r1_sha256 (P-256)" --new-key rsa -o x
run 2 "give 30m, 24h" --new-key P-256 --lifetime 1w -o x
run 2 "not both" --new-key P-256 --lifetime 1h --not-after "$end" -o x
run 2 "give a time like" --new-key P-256 --not-after tomorrow -o x
run 2 "give a time like" --new-key P-256 --not-before 2026-02-30T00:00:00Z -o x
run 2 "give server or client" --new-key P-256 --role both -o x
run 2 "give one of raw, pem, hex, json, fizz" --new-key P-256 --format der -o x
run 2 "give https://" --url http://localhost --new-key P-256 -o x
run 2 "given twice" --role client --role server --new-key P-256 -o x
run 2 "one argument too many" --new-key P-256 -o x y
run 2 "a key's name" --key ../x --new-key P-256 -o x
run 1 "No such file" --csr nowhere.csr -o x
run 1 "does not verify" --csr mine.pub.der -o x
run 1 "mine.key" --public-key mine.key -o x
run 1 "a/b" --new-key P-256 -o a/b
mkdir taken && echo mine >taken/key.pem
run 1 "was not put there by dcsign" --new-key P-256 -o taken
[ "$(cat taken/key.pem)" = mine ] || failed "a file of somebody else was changed"

# says CODE TEXT ARGUMENT...: the same for dcsign
says()
{
	local code=$1 text=$2 got
	shift 2
	"$dcsign" "$@" >out 2>&1
	got=$?
	[ $got -eq "$code" ] || failed "exit $got instead of $code: $*: $(cat out)"
	grep -qF -- "$text" out || failed "\"$text\" is not said: $*: $(cat out)"
}

echo "== verify and inspect"
cert=new-P-256/chain.pem dc=new-P-256/credential.dc
expires=$("$dcsign" inspect $dc --certificate $cert | sed -n 's/^expires *//p')
opens=$("$dcsign" inspect $dc --certificate $cert | sed -n 's/^window_opens *//p')
at() { date -u -d "$1 $2 seconds" +%Y-%m-%dT%H:%M:%SZ; }
says 0 "valid: a server delegated credential" verify --certificate $cert --at "$expires" $dc
says 1 "invalid: SSL_ERROR_DC_EXPIRED: " verify --certificate $cert --at "$(at "$expires" +1)" $dc
says 0 "valid: " verify --certificate $cert --at "$opens" $dc
says 1 "SSL_ERROR_DC_INAPPROPRIATE_VALIDITY_PERIOD" verify --certificate $cert --at "$(at "$opens" -1)" $dc
says 1 "SSL_ERROR_DC_BAD_SIGNATURE" verify --certificate $cert --role client $dc
says 1 '"nss": "SSL_ERROR_DC_BAD_SIGNATURE"' verify --certificate $cert --role client --json $dc
says 0 '"valid": true' verify --certificate $cert --json $dc
says 0 "valid" verify --certificate $cert - <$dc
head -c 50 $dc >short
says 1 "invalid: truncated" verify --certificate $cert short
says 1 "No such file" verify --certificate nowhere $dc
says 1 "No such file" verify --certificate $cert nowhere
says 2 "--certificate is missing" verify $dc
says 2 "a file is missing" verify --certificate $cert
says 2 "give a time like" verify --certificate $cert --at now $dc
says 2 "give server or client" verify --certificate $cert --role any $dc
says 0 '"state": "usable"' inspect --json --certificate $cert $dc
says 1 "not a delegated credential" inspect short
says 1 "0 blocks of this PEM file" inspect ca.pem

echo "== which stacks take it"
says 0 "nss            client             takes it" verify --compat --certificate $cert $dc
says 0 "NSS 3.117 to 3.121 refuse" verify --compat --certificate $cert $dc
says 0 "NSS-KEY: nss takes keys on" verify --compat --certificate new-ed25519/chain.pem new-ed25519/credential.dc
says 0 "NSS-ROLE: " verify --compat --role client --certificate client/chain.pem client/credential.dc
says 1 "TONGSUO-EXPIRED" verify --compat --certificate $cert --at "$(at "$expires" +1)" $dc
says 1 "tlslite-ng     client             takes it" verify --compat --certificate $cert --at "$(at "$expires" +1)" $dc
says 1 "refused by every stack" verify --compat --certificate $cert --role client $dc
says 1 "refused by every stack" verify --compat --certificate $cert short
says 1 "refused by every stack" verify --compat --certificate ca.pem $dc
grep -q "takes it" out && failed "a stack takes what is refused: $(cat out)"
"$dcsign" verify --compat --json --certificate $cert $dc |
	/usr/bin/python3 -c '
import json, sys
stacks = {s["stack"]: s for s in json.load(sys.stdin)["compat"]}
assert set(stacks) == {"nss", "fizz", "boringssl", "cloudflare-go", "tongsuo", "tlslite-ng"}
assert all(s["takes"] and s["why"] == [] for s in stacks.values())' || failed "--compat --json"

echo "== help, helpers, a full disk"
for command in request inspect verify; do
	says 0 "usage: dcsign $command" help $command
	says 0 "usage: dcsign $command" $command --help
done
says 0 "dcsign " version
says 0 "usage: dcsign COMMAND" help
says 2 "usage: dcsign COMMAND"
says 2 "there is no command frob" frob
"$dcsign" help >/dev/full 2>out
[ $? -eq 4 ] || failed "standard output is full and nobody says so"
if grep -q '^#define DCSIGN_TEST_HOOKS 1' "$build/settings.h"; then
	mkdir -p tree/hsm tree/src/ledger
	printf '#!/bin/sh\nprintf "%%s|" "$@"\nexit 5\n' >tree/hsm/dcsign-keys
	cp tree/hsm/dcsign-keys tree/src/ledger/dcsign-ledger
	chmod +x tree/hsm/dcsign-keys tree/src/ledger/dcsign-ledger
	export DCSIGN_LIBEXECDIR=$folder/tree
	says 5 "generate|--json|a b|" keys generate --json "a b"
	says 5 "list|" ledger list
	says 5 "--help|" help ledger
	export DCSIGN_LIBEXECDIR=$folder/nowhere
	says 4 "No such file" keys list
fi

echo "== client.conf stands in for options and variables"
(
	url=$DCSIGN_URL
	unset DCSIGN_URL DCSIGN_CA DCSIGN_CERT DCSIGN_KEY DCSIGN_DELEGATION_KEY
	export XDG_CONFIG_HOME=$PWD/config HOME=$PWD/home
	mkdir -p config/dcsign home/.config/dcsign
	printf '# mine\n\nurl = %s\nca= ca.pem\ncert =client.pem\n tls-key = client.key \nkey = www\n' "$url" \
		>config/dcsign/client.conf
	"$dcsign" request --new-key P-256 -o by-conf >out 2>&1 || { cat out >&2; exit 1; }
	[ -e by-conf/credential.dc ] || exit 2
	# an option and a variable come first
	"$dcsign" request --new-key P-256 --key refuse -o not-made >out 2>&1
	[ $? -eq 1 ] && grep -q lifetime_too_long out || { cat out >&2; exit 3; }
	DCSIGN_DELEGATION_KEY=refuse "$dcsign" request --new-key P-256 -o not-made >out 2>&1
	[ $? -eq 1 ] && grep -q lifetime_too_long out || { cat out >&2; exit 4; }
	mv config/dcsign/client.conf home/.config/dcsign
	unset XDG_CONFIG_HOME
	"$dcsign" request --new-key P-256 -o by-home >out 2>&1 || { cat out >&2; exit 5; }
	echo 'colour = blue' >>home/.config/dcsign/client.conf
	"$dcsign" request --new-key P-256 -o not-made >out 2>&1
	[ $? -eq 2 ] && grep -q 'client.conf:8: expected' out || { cat out >&2; exit 6; }
) || failed "client.conf: $?"

echo "== a service that never answers"
wait $silent
status=$?
[ $status -ne 124 ] || failed "the total time of 15 s is not kept"
[ $status -eq 3 ] || failed "the silent service: $status: $(cat silent.out)"
silent=

[ $failures -eq 0 ] || {
	echo "$failures failures" >&2
	exit 1
}
