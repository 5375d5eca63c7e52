#!/bin/bash
# Delegated credentials through the whole service: each DC key type, both roles, both delegation
# keys, each judged by dcsign verify; refusals by their code and field; the ledger afterwards.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
service_start

verify() {
	"$DCSIGN" verify --certificate "$WORK/pki/$1.pem" --role "$2" "$3" >"$WORK/out/said" 2>&1
}

issued=0
for key in www www384; do
	for role in server client; do
		for alg in ecdsa_secp256r1_sha256 ecdsa_secp384r1_sha384 ecdsa_secp521r1_sha512 ed25519; do
			dc=$WORK/out/$key-$role-$alg
			request --key $key --role $role --new-key $alg --lifetime 1h -o "$dc" >"$WORK/out/said" 2>&1 ||
				fail "$key $role $alg: $(cat "$WORK/out/said")"
			issued=$((issued + 1))
			verify $key $role "$dc/credential.dc" || fail "$dc: $(cat "$WORK/out/said")"
			! verify $key "$([ $role = server ] && echo client || echo server)" "$dc/credential.dc" ||
				fail "$dc verifies for the other role"
			! verify "$([ $key = www ] && echo www384 || echo www)" $role "$dc/credential.dc" ||
				fail "$dc verifies under another certificate"
			openssl pkey -in "$dc/key.pem" -noout || fail "$dc/key.pem is no private key"
		done
	done
done
note "$issued credentials issued and verified"

# NSS, as a client of BoringSSL, takes those that it knows.
nss=0
for key in www www384; do
	for alg in ecdsa_secp256r1_sha256 ecdsa_secp384r1_sha384 ecdsa_secp521r1_sha512; do
		dc=$WORK/out/$key-server-$alg status=0
		bash "$TOP_SRCDIR/tests/interop/handshake.sh" --chain "$dc/chain.pem" --dc "$dc/credential.dc" \
			--key "$dc/key.pem" --name localhost --ca "$WORK/pki/ca.pem" >"$WORK/out/said" 2>&1 || status=$?
		if [ $status = 77 ]; then
			note "no handshake with NSS: $(tail -n 1 "$WORK/out/said")"
			break 2
		fi
		[ $status = 0 ] || fail "NSS: $dc: $(cat "$WORK/out/said")"
		nss=$((nss + 1))
	done
done
note "$nss of them used in handshakes with NSS"

# A bare public key, and a request for the raw octets.
for type in P-256 P-384 P-521 ed25519; do
	spki=$(dc_key $type "$WORK/out/$type")
	[ "$(issue edge www "{\"public_key\":\"$spki\",\"lifetime\":600}")" = 201 ] || fail "$type: $(cat "$WORK/out/body")"
	member credential | base64 -d >"$WORK/out/$type.dc"
	verify www server "$WORK/out/$type.dc" || fail "$type: $(cat "$WORK/out/said")"
	[ "$(api edge /v1/keys/www/credentials -H 'Content-Type: application/json' \
		-H 'Accept: application/octet-stream' -d "{\"public_key\":\"$spki\"}")" = 201 ] || fail "raw $type"
	verify www server "$WORK/out/body" || fail "raw $type: $(cat "$WORK/out/said")"
	issued=$((issued + 2))
done

refused() { # STATUS CODE FIELD CLIENT KEY JSON
	local status
	status=$(issue "$4" "$5" "$6")
	[ "$status" = "$1" ] && [ "$(member code)" = "$2" ] || fail "$6: $status $(cat "$WORK/out/body"), not $1 $2"
	if [ -n "$3" ]; then
		[ "$(member field)" = "$3" ] || fail "$6: field $(member field), not $3"
	fi
}
spki=$(dc_key P-256 "$WORK/out/r")
ed448=$(dc_key ed448 "$WORK/out/r448")
rsa=$(dc_key RSA "$WORK/out/rsa")
ahead=$(date -u -d '+1 day' +%Y-%m-%dT%H:%M:%SZ)
refused 422 lifetime_too_long lifetime edge www "{\"public_key\":\"$spki\",\"lifetime\":86401}"
refused 422 lifetime_too_short lifetime edge www "{\"public_key\":\"$spki\",\"lifetime\":299}"
refused 422 start_too_far_ahead not_before edge www "{\"public_key\":\"$spki\",\"not_before\":\"$ahead\"}"
refused 422 algorithm_not_allowed algorithm edge www "{\"public_key\":\"$ed448\"}"
refused 422 public_key_mismatch '' edge www "{\"public_key\":\"$spki\",\"algorithm\":\"ed25519\"}"
refused 422 public_key_forbidden '' edge www "{\"public_key\":\"$rsa\"}"
refused 400 malformed '' edge www "{\"public_key\":\"$spki\",\"valid_time\":5}"
refused 400 malformed '' edge www "{\"public_key\":\"$spki\",\"lifetime\":600.0}"
refused 400 malformed '' edge www "{}"
refused 404 no_such_key '' edge nokey "{\"public_key\":\"$spki\"}"
refused 403 missing_right '' auditor www "{\"public_key\":\"$spki\"}"
refused 403 unknown_client '' stranger www "{\"public_key\":\"$spki\"}"
# A request whose signature is that of another key.
openssl req -in "$WORK/out/r.csr" -outform DER -out "$WORK/out/r.der"
/usr/bin/python3 - "$WORK/out/r.der" <<'END'
import sys
b = bytearray(open(sys.argv[1], "rb").read())
b[-1] ^= 1
open(sys.argv[1], "wb").write(b)
END
csr=$(openssl req -inform DER -in "$WORK/out/r.der" | awk '{ printf "%s\\n", $0 }')
refused 422 proof_invalid csr edge www "{\"csr\":\"$csr\"}"
# Without a client certificate there is no HTTP at all.
if curl -s --max-time 10 --cacert "$WORK/pki/ca.pem" -o /dev/null "$URL/v1/whoami"; then
	fail "answered without a client certificate"
fi

[ "$(api edge /v1/keys/www/certificate)" = 200 ] || fail "no certificate"
cmp -s <(openssl x509 -in "$WORK/out/body" -outform DER) <(openssl x509 -in "$WORK/pki/www.pem" -outform DER) ||
	fail "/v1/keys/www/certificate is not the delegation certificate"

service_stop
ledger_verify
[ "$(records ISSUED)" = $issued ] && [ "$(records AUTHORISED)" = $issued ] ||
	fail "$issued credentials, but $(records AUTHORISED) AUTHORISED and $(records ISSUED) ISSUED"
[ "$(records KEY-PROVED)" = 2 ] || fail "$(records KEY-PROVED) KEY-PROVED"
[ "$(records STOP)" = 1 ] || fail "$(records STOP) STOP"
for f in "$WORK"/out/*/credential.dc "$WORK"/out/*.dc; do
	grep -qF "\"dc\":\"$(base64 -w0 "$f")\"" "$WORK/out/records" || fail "$f is not in the ledger"
done
note "all of them are in the ledger"
