#!/bin/bash
# Other PKCS#11 modules beside SoftHSM, several in one service, one process each: a second SoftHSM
# token with every key type that can sign, NSS softokn, and SoftHSM behind a p11-kit server. Each
# issues credentials that verify; the loss of one leaves the others alone. A module that is not
# installed is left out, loudly.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/modules.sh"
e2e_begin
token_and_pki
SERVER=

test_end() {
	[ -z "$SERVER" ] || kill "$SERVER" 2>/dev/null
}

# A second SoftHSM, with a token of its own. On it lie keys that nobody serves, too.
mkdir "$WORK/second" "$WORK/nss"
chmod 711 "$WORK/second" "$WORK/nss"
(demo_token "$WORK/second" second) || fail "softhsm2-util made no second token"
module_token second "$DEMO_MODULE" pkcs11:token=second "$WORK/second/pin" "SOFTHSM2_CONF=$WORK/second/softhsm2.conf" ''
for type in p-256 p-384 p-521 ed25519 rsa-2048 rsa-3072 rsa-4096 pss-2048; do
	module_key $type
done

softokn=$(ls /usr/lib/*/libsoftokn3.so 2>/dev/null | head -n 1)
if [ -n "$softokn" ] && command -v certutil >/dev/null; then
	(umask 077 && echo nss-password-1 >"$WORK/nss/pin")
	certutil -N -d "sql:$WORK/nss" -f "$WORK/nss/pin" || fail "certutil"
	module_token nss "$softokn" "pkcs11:token=NSS%20Certificate%20DB" "$WORK/nss/pin" '' \
		"configdir='sql:$WORK/nss' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
	# It says of keys that it made itself that they are not local.
	for type in p-256 p-384 p-521 rsa-2048; do
		module_key $type local
	done
	hsm_owns "$WORK/nss"
else
	note "LEFT OUT: NSS softokn (Debian: libnss3, libnss3-tools)"
fi

client=$(ls /usr/lib/*/pkcs11/p11-kit-client.so 2>/dev/null | head -n 1)
if [ -n "$client" ] && command -v p11-kit >/dev/null; then
	mkdir "$WORK/kit"
	chmod 711 "$WORK/kit"
	(demo_token "$WORK/kit" kit) || fail "softhsm2-util made no token for p11-kit"
	module_token kit "$client" pkcs11:token=kit "$WORK/kit/pin" "P11_KIT_SERVER_ADDRESS=unix:path=$WORK/kit/socket" '' \
		"$DEMO_MODULE" "SOFTHSM2_CONF=$WORK/kit/softhsm2.conf"
	for type in p-256 p-384 rsa-2048; do
		module_key $type
	done
	# It serves its own user alone.
	kit=()
	if [ -n "$SEPARATE" ]; then
		hsm_owns "$WORK/kit"
		kit=(setpriv "--reuid=${E2E_UIDS[1]}" "--regid=${E2E_UIDS[1]}" --clear-groups)
	fi
	SOFTHSM2_CONF=$WORK/kit/softhsm2.conf "${kit[@]}" p11-kit server -f -n "$WORK/kit/socket" \
		--provider "$DEMO_MODULE" pkcs11: >"$WORK/out/kit" 2>&1 &
	SERVER=$!
	within_60s test -S "$WORK/kit/socket" || fail "p11-kit server: $(cat "$WORK/out/kit")"
else
	note "LEFT OUT: p11-kit server and client (Debian: p11-kit, p11-kit-modules)"
fi
if [ -n "$SEPARATE" ]; then
	demo_token_close "$WORK/second" "${E2E_UIDS[1]}"
else
	demo_token_close "$WORK/second"
fi

service_keys=$((2 + $(echo $MODULE_KEYS | wc -w)))
service_start
issues www www384 $MODULE_KEYS
for key in rsa-2048:rsa_pss_rsae_sha256 rsa-4096:rsa_pss_rsae_sha256 pss-2048:rsa_pss_pss_sha256 ed25519:ed25519; do
	[ "$(issue edge "second-${key%:*}" "{\"public_key\":\"$SPKI\"}")" = 201 ] || fail "$(cat "$WORK/out/body")"
	[ "$(member signature_algorithm)" = "${key#*:}" ] || fail "second-${key%:*} signs $(member signature_algorithm)"
done

# One process lost: the others do not notice.
kill -KILL "$(hsm_process second)" || fail "no process of the second token"
for key in www www384 $MODULE_KEYS; do
	[[ $key = second-* ]] || issues "$key" >/dev/null
done
service_ready || fail "the lost process does not serve again"
if [ -n "$SERVER" ]; then
	# The HSM's own connection is lost.
	for p in $(cat "/proc/$SERVER/task/$SERVER/children"); do
		kill -KILL "$p"
	done
	issues_again kit-p-256
	note "p11-kit's connection was cut: served again"
fi
service_stop
"$DCSIGN" ledger verify --ledger "$LEDGER" >"$WORK/out/verify" 2>&1 || fail "$(cat "$WORK/out/verify")"
