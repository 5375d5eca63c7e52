#!/bin/bash
# Other PKCS#11 modules beside SoftHSM, several in one service, one process each: a second SoftHSM
# token, NSS softokn, and SoftHSM behind a p11-kit server. Each issues a credential that verifies; the
# loss of one leaves the others alone. A module that is not installed is left out, loudly.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
# Modules leak by themselves.
export ASAN_OPTIONS=detect_leaks=0
OTHERS=
SERVER=

test_end() {
	[ -z "$SERVER" ] || kill "$SERVER" 2>/dev/null
}

# hsm_owns FOLDER: all but the PIN, which the daemon opens.
hsm_owns() {
	[ -z "$SEPARATE" ] && return
	chown -R "${E2E_UIDS[1]}:${E2E_UIDS[1]}" "$1"
	chown 0:0 "$1/pin"
}

# other NAME MODULE TOKEN-URI PIN-FILE ENVIRONMENT MODULE-ARGS TYPE [MODULE ENVIRONMENT]: a token with
# the key www-NAME, which is made through the second module and environment.
other() {
	local made_by=${8:-$2} made_in=${9:-$5}
	local where=(--module "$made_by" --uri "$3;object=www-$1" --pin "file:$4") args='' accept='' environment=''
	if [ -n "$6" ]; then
		where+=(--module-args "$6")
		args="module_args = \"$6\""
	fi
	[ -z "$5" ] || environment="environment = { \"$5\" }"
	# NSS says of keys that it made itself that they are not local.
	[ "$1" = nss ] && accept='accept_weak_key = { local }'
	env ${made_in:+"$made_in"} "$DCSIGN" keys generate "${where[@]}" --type "$7" >"$WORK/out/keys-$1" 2>&1 ||
		fail "$1: dcsign keys generate: $(cat "$WORK/out/keys-$1")"
	note "$1: $(tr '\n' ';' <"$WORK/out/keys-$1" | cut -c1-400)"
	env ${made_in:+"$made_in"} "$DCSIGN" keys csr "${where[@]}" --subject CN=localhost -o "$WORK/pki/www-$1.csr" \
		>"$WORK/out/keys" 2>&1 || fail "$1: dcsign keys csr: $(cat "$WORK/out/keys")"
	demo_sign "$WORK/pki" ca "www-$1" "$DEMO_DELEGATION_EXT" || fail "no certificate for www-$1"
	CONF_EXTRA="$CONF_EXTRA
token $1 {
	module = \"$2\"
	uri = \"$3\"
	pin = \"file:$4\"
	$args
	$environment
}
key www-$1 {
	token = $1
	uri = \"pkcs11:object=www-$1\"
	certificate = { \"$WORK/pki/www-$1.pem\" }
	policy = default
	$accept
}"
	CONF_KEYS="$CONF_KEYS, www-$1"
	OTHERS="$OTHERS $1"
}

# A second SoftHSM, with a token of its own.
mkdir "$WORK/second" "$WORK/nss"
chmod 711 "$WORK/second" "$WORK/nss"
(demo_token "$WORK/second" second) || fail "softhsm2-util made no second token"
other second "$DEMO_MODULE" pkcs11:token=second "$WORK/second/pin" "SOFTHSM2_CONF=$WORK/second/softhsm2.conf" '' p384

softokn=$(ls /usr/lib/*/libsoftokn3.so 2>/dev/null | head -n 1)
if [ -n "$softokn" ] && command -v certutil >/dev/null; then
	(umask 077 && echo nss-password-1 >"$WORK/nss/pin")
	certutil -N -d "sql:$WORK/nss" -f "$WORK/nss/pin" || fail "certutil"
	other nss "$softokn" "pkcs11:token=NSS%20Certificate%20DB" "$WORK/nss/pin" '' \
		"configdir='sql:$WORK/nss' certPrefix='' keyPrefix='' secmod='secmod.db' flags=" p256
	hsm_owns "$WORK/nss"
else
	note "LEFT OUT: NSS softokn (Debian: libnss3, libnss3-tools)"
fi

client=$(ls /usr/lib/*/pkcs11/p11-kit-client.so 2>/dev/null | head -n 1)
if [ -n "$client" ] && command -v p11-kit >/dev/null; then
	mkdir "$WORK/kit"
	chmod 711 "$WORK/kit"
	(demo_token "$WORK/kit" kit) || fail "softhsm2-util made no token for p11-kit"
	other kit "$client" pkcs11:token=kit "$WORK/kit/pin" "P11_KIT_SERVER_ADDRESS=unix:path=$WORK/kit/socket" '' p256 \
		"$DEMO_MODULE" "SOFTHSM2_CONF=$WORK/kit/softhsm2.conf"
	# It serves its own user alone.
	kit=()
	if [ -n "$SEPARATE" ]; then
		hsm_owns "$WORK/kit"
		kit=(setpriv "--reuid=${E2E_UIDS[1]}" "--regid=${E2E_UIDS[1]}" --clear-groups)
	fi
	SOFTHSM2_CONF=$WORK/kit/softhsm2.conf "${kit[@]}" p11-kit server -f -n "$WORK/kit/socket" \
		--provider "$DEMO_MODULE" pkcs11: >"$WORK/out/kit" 2>&1 &
	SERVER=$!
	for n in $(seq 50); do
		[ -S "$WORK/kit/socket" ] && break
		sleep 0.1
	done
else
	note "LEFT OUT: p11-kit server and client (Debian: p11-kit, p11-kit-modules)"
fi
if [ -n "$SEPARATE" ]; then
	demo_token_close "$WORK/second" "${E2E_UIDS[1]}"
else
	demo_token_close "$WORK/second"
fi

service_keys=$((2 + $(echo $OTHERS | wc -w)))
service_start
SPKI=$(dc_key P-256 "$WORK/out/dc")
for key in www www384 $(printf 'www-%s ' $OTHERS); do
	[ "$(issue edge "$key" "{\"public_key\":\"$SPKI\"}")" = 201 ] || fail "$key: $(cat "$WORK/out/body")"
	member credential | base64 -d >"$WORK/out/$key.dc"
	"$DCSIGN" verify --certificate "$WORK/pki/$key.pem" "$WORK/out/$key.dc" >"$WORK/out/verified" 2>&1 ||
		fail "$key: $(cat "$WORK/out/verified")"
done
note "SoftHSM and$OTHERS: every credential verifies"

# One process lost: the others do not notice.
for p in $(cat "/proc/$PID/task/$PID/children"); do
	tr '\0' ' ' <"/proc/$p/cmdline" | grep -q 'dcsignd-hsm second' && kill -KILL "$p"
done
for key in www www384 $(printf 'www-%s ' ${OTHERS#* second}); do
	[ "$(issue edge "$key" "{\"public_key\":\"$SPKI\"}")" = 201 ] || fail "$key: $(cat "$WORK/out/body")"
done
service_ready || fail "the lost process does not serve again"
if [ -n "$SERVER" ]; then
	# The HSM's own connection is lost.
	for p in $(cat "/proc/$SERVER/task/$SERVER/children"); do
		kill -KILL "$p"
	done
	for n in $(seq 100); do
		[ "$(issue edge www-kit "{\"public_key\":\"$SPKI\"}")" = 201 ] && break
		sleep 0.1
	done
	[ "$n" -lt 100 ] || fail "www-kit is not served again: $(cat "$WORK/out/body")"
	note "p11-kit's connection was cut: served again"
fi
service_stop
"$DCSIGN" ledger verify --ledger "$LEDGER" >"$WORK/out/verify" 2>&1 || fail "$(cat "$WORK/out/verify")"
