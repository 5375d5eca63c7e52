# For tests of the service with other PKCS#11 modules: sourced after tests/lib.sh (bash).

MODULE_KEYS= # the keys that were made, TOKEN-TYPE
# Modules leak by themselves.
export ASAN_OPTIONS=detect_leaks=0

# hsm_owns FOLDER: all but the PIN, which the daemon opens.
hsm_owns() {
	[ -z "$SEPARATE" ] && return
	chown -R "${E2E_UIDS[1]}:${E2E_UIDS[1]}" "$1"
	chown 0:0 "$1/pin"
}

# module_token NAME MODULE TOKEN-URI PIN-FILE ENVIRONMENT MODULE-ARGS [MODULE ENVIRONMENT]: a token of
# the configuration; module_key makes its keys, through the second module and environment where given.
module_token() {
	local args='' environment=''
	T_NAME=$1 T_ENV=${8:-$5}
	T_WHERE=(--module "${7:-$2}" --pin "file:$4")
	T_URI=$3
	if [ -n "$6" ]; then
		T_WHERE+=(--module-args "$6")
		args="module_args = \"$6\""
	fi
	[ -z "$5" ] || environment="environment = { \"${5//;/\", \"}\" }"
	CONF_EXTRA="$CONF_EXTRA
token $1 {
	module = \"$2\"
	uri = \"$3\"
	pin = \"file:$4\"
	$args
	$environment
}"
}

# The environment of the token (NAME=value, several with ; between them), and a command in it.
module_env() {
	local IFS=';'
	env $T_ENV "$@"
}

# module_key TYPE [ATTRIBUTE...]: a key of the last token and its certificate; the attributes are
# accepted as they are. pss-2048: an RSA key, and a certificate that says id-RSASSA-PSS.
module_key() {
	local type=${1/pss-/rsa-} key=$T_NAME-$1 accept='' x
	local where=("${T_WHERE[@]}" --uri "$T_URI;object=$key")
	shift
	for x in "$@"; do
		accept="${accept:+$accept, }$x"
	done
	[ -z "$accept" ] || accept="accept_weak_key = { $accept }"
	module_env "$DCSIGN" keys generate "${where[@]}" --type "$type" >"$WORK/out/keys-$key" 2>&1 ||
		fail "$key: dcsign keys generate: $(cat "$WORK/out/keys-$key")"
	note "$key: $(tr '\n' ';' <"$WORK/out/keys-$key" | cut -c1-400)"
	module_env "$DCSIGN" keys csr "${where[@]}" --subject CN=localhost -o "$WORK/pki/$key.csr" \
		>"$WORK/out/keys" 2>&1 || fail "$key: dcsign keys csr: $(cat "$WORK/out/keys")"
	demo_sign "$WORK/pki" ca "$key" "$DEMO_DELEGATION_EXT" || fail "no certificate for $key"
	[[ $key != *pss-* ]] || pss_certificate "$key"
	CONF_EXTRA="$CONF_EXTRA
key $key {
	token = $T_NAME
	uri = \"pkcs11:object=$key\"
	certificate = { \"$WORK/pki/$key.pem\" }
	policy = default
	$accept
}"
	CONF_KEYS="$CONF_KEYS, $key"
	MODULE_KEYS="$MODULE_KEYS $key"
}

# The certificate KEY.pem anew, with the same key as id-RSASSA-PSS (RFC 4055) without parameters.
pss_certificate() {
	/usr/bin/python3 - "$WORK/pki/$1" <<'END' || fail "no id-RSASSA-PSS key for $1"
import subprocess, sys
rsa = bytes.fromhex("300d06092a864886f70d0101010500")
pss = bytes.fromhex("300b06092a864886f70d01010a")
der = subprocess.run(["openssl", "x509", "-in", sys.argv[1] + ".pem", "-noout", "-pubkey"],
                     check=True, capture_output=True).stdout
der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=der, check=True,
                     capture_output=True).stdout
assert der[:2] == b"\x30\x82" and der[4:19] == rsa, der[:24].hex()
body = pss + der[19:]
with open(sys.argv[1] + ".pub", "wb") as f:
    f.write(b"\x30\x82" + len(body).to_bytes(2, "big") + body)
END
	printf '%s\n' "$DEMO_DELEGATION_EXT" >"$WORK/pki/$1.ext"
	openssl x509 -new -force_pubkey "$WORK/pki/$1.pub" -CA "$WORK/pki/ca.pem" -CAkey "$WORK/pki/ca.key" \
		-subj /CN=localhost -days 30 -extfile "$WORK/pki/$1.ext" -out "$WORK/pki/$1.pem" ||
		fail "no id-RSASSA-PSS certificate for $1"
	openssl x509 -in "$WORK/pki/$1.pem" -noout -text | grep -q 'Public Key Algorithm: rsassaPss' ||
		fail "the certificate of $1 is not of id-RSASSA-PSS"
}

# issues KEY...: each issues a credential that dcsign verify accepts.
issues() {
	local key
	[ -n "${SPKI-}" ] || SPKI=$(dc_key P-256 "$WORK/out/dc")
	for key in "$@"; do
		[ "$(issue edge "$key" "{\"public_key\":\"$SPKI\"}")" = 201 ] || fail "$key: $(cat "$WORK/out/body")"
		member credential | base64 -d >"$WORK/out/$key.dc"
		"$DCSIGN" verify --certificate "$WORK/pki/$key.pem" "$WORK/out/$key.dc" >"$WORK/out/verified" 2>&1 ||
			fail "$key: $(cat "$WORK/out/verified")"
		note "$key: a credential that verifies, $(member signature_algorithm)"
	done
}

# issues_again KEY: waits until the key issues.
issues_again() {
	local n
	for n in $(seq 600); do
		[ "$(issue edge "$1" "{\"public_key\":\"$SPKI\"}")" = 201 ] && return
		sleep 0.1
	done
	fail "$1 is not served again: $(cat "$WORK/out/body")"
}

# hsm_process TOKEN: the pid of its process.
hsm_process() {
	local p
	for p in $(cat "/proc/$PID/task/$PID/children"); do
		if tr '\0' ' ' <"/proc/$p/cmdline" | grep -q "dcsignd-hsm $1 "; then
			echo "$p"
			return
		fi
	done
	return 1
}
