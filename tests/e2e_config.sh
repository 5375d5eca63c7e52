#!/bin/bash
# Configurations that are refused: dcsignd -n exits with 78 and names the file, the line, the
# option and what was expected; dcsignd itself refuses them too. The good one passes.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
PORT=$(demo_port)
MONITOR_PORT=$(demo_port)
config_write
conf=$WORK/etc/dcsignd.conf
cp "$conf" "$WORK/good"

check() {
	timeout 200 "$DCSIGND" -n -c "$conf" >"$WORK/out/said" 2>&1
}

check || fail "the good configuration is refused: $(cat "$WORK/out/said")"

# bad WORDS SED-SCRIPT PATTERN...: after the edit every pattern must be in what -n says.
bad() {
	local words=$1 status=0 p
	sed "$2" "$WORK/good" >"$conf"
	shift 2
	! cmp -s "$conf" "$WORK/good" || fail "$words: the edit changes nothing"
	check || status=$?
	[ $status = 78 ] || fail "$words: exit $status, not 78: $(cat "$WORK/out/said")"
	for p in "$@"; do
		grep -qE -- "$p" "$WORK/out/said" || fail "$words: no '$p' in: $(cat "$WORK/out/said")"
	done
	note "$words: $(head -n 1 "$WORK/out/said")"
	bad_count=$((bad_count + 1))
}
bad_count=0

line() { # the number of the first line that matches
	grep -nE "$1" "$WORK/good" | head -n 1 | cut -d: -f1
}

bad 'an option that nobody knows' '1i colour = blue' 'dcsignd.conf:1\b' colour
bad 'a scalar given twice' '1i node = other' 'dcsignd.conf:2\b' node
bad 'a section given twice' '$a policy default { }' dcsignd.conf: default
bad 'a unit that is none' 's/max_lifetime = 24h/max_lifetime = 24x/' \
	"dcsignd.conf:$(line max_lifetime)\\b" max_lifetime 24x
bad 'a lifetime that RFC 9345 forbids' 's/max_lifetime = 24h/max_lifetime = 7d/' max_lifetime
bad 'an algorithm that is none' 's/ecdsa_secp384r1_sha384, //; s/ed25519 }/ed25519, sha1_rsa }/' \
	"dcsignd.conf:$(line 'algorithms =')\\b" algorithms sha1_rsa
bad 'a right that is none' 's/may = { issue }/may = { isue }/' may isue
bad 'a key of no token' 's/token = main/token = other/' token other
bad 'a client of no key' 's/keys = { www, www384 }/keys = { www, nokey }/' nokey
bad 'a key of no policy' 's/policy = default$/policy = strict/' strict
bad 'a certificate that is not there' "s|pki/www384.pem|pki/missing.pem|" missing.pem
bad 'a module that is not there' 's|module = ".*"|module = "/nonexistent/module.so"|' 'dcsignd.conf:14\b' /nonexistent/module.so
bad 'a token URI that names a slot' 's|uri = "pkcs11:token=demo"|uri = "pkcs11:slot-id=0"|' uri
bad 'an environment variable' 's|^origin = .*|origin = "${HOME}"|' 'dcsignd.conf:2\b' '\$\{'
bad 'a name with other characters' 's/client edge {/client Edge {/' Edge
bad 'no key at all for HTTPS' 's|private_key = .*|private_key = "/nonexistent.key"|' nonexistent.key
bad 'the end is missing' '$a client more {' dcsignd.conf
chmod 644 "$WORK/hsm/pin"
bad 'a PIN that others can read' 's/^node = test/node = test2/' 'hsm/pin'
chmod 600 "$WORK/hsm/pin"
chmod 644 "$WORK/pki/server.key"
bad 'a TLS key that others can read' 's/^node = test/node = test2/' server.key
chmod 600 "$WORK/pki/server.key"

# One key's unfit certificate stops no other key: -n only warns, and names it.
sed 's|pki/www384.pem|pki/server.pem|' "$WORK/good" >"$conf"
check || fail "a certificate that can't delegate: exit $?: $(cat "$WORK/out/said")"
grep -q "key=www384.*server.pem.*DelegationUsage" "$WORK/out/said" || fail "no warning: $(cat "$WORK/out/said")"

# dcsignd refuses what -n refuses, and starts nothing.
sed '1i colour = blue' "$WORK/good" >"$conf"
status=0
timeout 200 "$DCSIGND" -c "$conf" >"$WORK/out/said" 2>&1 || status=$?
[ $status = 78 ] || fail "dcsignd: exit $status, not 78: $(cat "$WORK/out/said")"
status=0
timeout 200 "$DCSIGND" -n -c "$WORK/etc/missing.conf" >"$WORK/out/said" 2>&1 || status=$?
[ $status = 78 ] && grep -q missing.conf "$WORK/out/said" || fail "no file: exit $status: $(cat "$WORK/out/said")"
note "$bad_count configurations refused"
