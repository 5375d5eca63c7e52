#!/bin/sh
# dcsign from a bare Debian 12 to a delegated credential that a TLS client accepts:
#
#   sh contrib/try.sh              shows it, then stops what it started and removes what it made
#   sh contrib/try.sh --keep DIR   the same, but everything lies under DIR and the service goes on
#   sh contrib/try.sh --stop DIR   ends that service and verifies its ledger
#
# After --keep, `. DIR/env` sets what dcsign and curl need to use the service. As root the four
# processes run as separate users (by number, nothing is created), otherwise as you.
# DCSIGN_SKIP_INSTALL=1: install no packages. JOBS=N: compile with N processes (2).
set -eu
unset CDPATH
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/contrib/demo.sh"

# User ids of the processes when this is root's; see dcsignd.conf for a real installation's.
uid_api=61701 uid_hsm=61702 uid_ledger=61703
dir='' keep='' pid='' step=0

usage() {
	echo "usage: sh contrib/try.sh [--keep DIR | --stop DIR]" >&2
	exit 2
}

say() {
	printf '%s\n' "$*"
}

heading() {
	step=$((step + 1))
	printf '\n%d. %s\n' "$step" "$*"
}

fail() {
	printf '\ntry.sh: %s\n' "$*" >&2
	exit 1
}

# What a command prints, set off from what we say.
show() {
	sed 's/^/      /'
}

# run COMMAND...: shows what it prints and gives its exit status.
run() {
	run_status=0
	"$@" >"$dir/output" 2>&1 || run_status=$?
	show <"$dir/output"
	return "$run_status"
}

# Is process $1 the dcsignd of folder $2? (A zombie has no arguments.)
ours() {
	args=$({ tr '\0' ' ' <"/proc/$1/cmdline"; } 2>/dev/null)
	[ "$args" = "$2/prefix/sbin/dcsignd -c $2/etc/dcsignd.conf " ]
}

# stop_service PID FOLDER: SIGTERM, which drains; after 10 s SIGKILL.
stop_service() {
	kill -TERM "$1" 2>/dev/null || return 0
	n=0
	while ours "$1" "$2"; do
		n=$((n + 1))
		if [ "$n" = 100 ]; then
			say "   it did not end within 10 s: killed"
			kill -KILL "$1"
			return 1
		fi
		sleep 0.1
	done
}

verify_ledger() {
	"$1/prefix/bin/dcsign" ledger verify --ledger "sqlite:$1/state/ledger.db"
}

stop_kept() {
	[ -f "$1/env" ] || fail "$1/env is not there: was $1 made with --keep?"
	kept=$(cd "$1" && pwd -P)
	pid=$(sed -n "s/^DCSIGN_PID='\(.*\)'/\1/p" "$kept/env")
	if ours "$pid" "$kept"; then
		say "Stopping dcsignd, process $pid"
		stop_service "$pid" "$kept" || exit 1
	else
		say "dcsignd, process $pid, is not running any more"
	fi
	say "The ledger that it leaves:"
	dir=$kept
	run verify_ledger "$kept"
	exit
}

cleanup() {
	status=$?
	trap - EXIT INT TERM HUP
	if [ -n "$pid" ] && { [ -z "$keep" ] || [ "$status" != 0 ]; }; then
		stop_service "$pid" "$dir" || true
	fi
	if [ "$status" != 0 ] && [ -n "$dir" ] && [ -s "$dir/log" ]; then
		printf '\nThe end of the log of dcsignd:\n' >&2
		tail -n 20 "$dir/log" >&2
	fi
	if [ -z "$keep" ] && [ -n "$dir" ]; then
		chmod -R u+w "$dir" && rm -rf "$dir"
	fi
	exit "$status"
}

prepare_folder() {
	if [ -n "$keep" ]; then
		mkdir -p "$keep"
		dir=$(cd "$keep" && pwd -P)
		if [ -f "$dir/env" ]; then
			old=$(sed -n "s/^DCSIGN_PID='\(.*\)'/\1/p" "$dir/env")
			! ours "$old" "$dir" || { keep=; dir=; fail "a service of $1 runs: --stop it first"; }
			chmod -R u+w "$dir"
			rm -rf "$dir/prefix" "$dir/hsm" "$dir/pki" "$dir/etc" "$dir/state" "$dir/dc" \
				"$dir/env" "$dir/log"
		elif [ -n "$(ls -A "$dir")" ]; then
			dir=
			fail "$keep is not empty, and not made by --keep"
		fi
	else
		dir=$(mktemp -d /tmp/dcsign-try.XXXXXX)
	fi
	chmod 711 "$dir"
	mkdir "$dir/hsm" "$dir/pki" "$dir/etc" "$dir/dc"
	chmod 711 "$dir/hsm"
	separate=
	if [ "$(id -u)" = 0 ]; then
		if demo_reachable "$dir"; then
			separate=yes
		else
			say "Other users can't enter $dir, so all processes will run as root (single_user)."
		fi
	fi
}

build() {
	heading "Building dcsign (its output: $dir/build/log)"
	mkdir -p "$dir/build"
	if ! {
		{ [ -x "$top/configure" ] && [ -z "$(find "$top" -name '*.mk' -newer "$top/configure")" ] &&
			[ -z "$(find "$top/configure.ac" "$top/Makefile.am" -newer "$top/configure")" ]; } ||
			"$top/autogen.sh"
		cd "$dir/build" && "$top/configure" -q --prefix="$dir/prefix" &&
			make -j"${JOBS:-2}" && make install && make tests/interop/dc_server
	} >"$dir/build/log" 2>&1; then
		tail -n 30 "$dir/build/log" >&2
		fail "it does not build"
	fi
	cd "$dir"
	PATH=$dir/prefix/bin:$dir/prefix/sbin:$PATH
	export PATH
	say "   dcsignd        the parent: configuration, sockets, births of the others"
	say "   dcsignd-api    HTTPS with client certificates; has no key to sign with"
	say "   dcsignd-hsm    decides, and signs with the key in the HSM; hears no stranger"
	say "   dcsignd-ledger writes every decision down before anything is signed"
	say "   dcsign         the client and the tools"
}

make_keys() {
	heading "A token and, made inside it, the delegation key"
	say "   SoftHSM stands in for an HSM. The key may sign and do nothing else, and can't leave."
	demo_token "$dir/hsm" demo || fail "softhsm2-util made no token"
	run dcsign keys generate --module "$DEMO_MODULE" --uri 'pkcs11:token=demo;object=www' \
		--pin "file:$dir/hsm/pin" --type p256
}

make_pki() {
	heading "A demonstration PKI, made with the openssl command"
	demo_ca "$dir/pki" ca
	demo_leaf "$dir/pki" ca server "$DEMO_SERVER_EXT"
	demo_client "$dir/pki" ca edge
	demo_client "$dir/pki" ca auditor
	dcsign keys csr --module "$DEMO_MODULE" --uri 'pkcs11:token=demo;object=www' \
		--pin "file:$dir/hsm/pin" --subject 'CN=localhost' -o "$dir/pki/www.csr"
	demo_sign "$dir/pki" ca www "$DEMO_DELEGATION_EXT"
	cat "$dir/pki/www.pem" "$dir/pki/ca.pem" >"$dir/pki/chain.pem"
	say "   ca.pem       the authority"
	say "   server.pem   for the HTTPS of the service"
	say "   edge.pem     a client that may have credentials issued"
	say "   auditor.pem  a client that may read, hold and release"
	say "   www.pem      the delegation certificate, for the key in the token: it carries the"
	say "                extension DelegationUsage (1.3.6.1.4.1.44363.44) of RFC 9345"
}

write_configuration() {
	if [ -n "$separate" ]; then
		users="users {
	api    = \"$uid_api\"
	hsm    = \"$uid_hsm\"
	ledger = \"$uid_ledger\"
}"
		demo_token_close "$dir/hsm" "$uid_hsm"
	else
		users="single_user = yes"
		demo_token_close "$dir/hsm"
	fi
	cat >"$dir/etc/dcsignd.conf" <<END
node    = demo
origin  = "demo.dcsign.example"
state   = "$dir/state"
monitor = "127.0.0.1:$port_monitor"
ledger  = "sqlite:$dir/state/ledger.db"
require_clock_sync = no                 # this may be a container: nobody tells it about NTP
$users
listen "127.0.0.1:$port" {
	certificate = "$dir/pki/server.pem"
	private_key = "$dir/pki/server.key"
	client_ca   = "$dir/pki/ca.pem"
}
token main {
	module      = "$DEMO_MODULE"
	uri         = "pkcs11:token=demo"
	pin         = "file:$dir/hsm/pin"
	environment = { "SOFTHSM2_CONF=$dir/hsm/softhsm2.conf" }
}
policy default {
	max_lifetime        = 24h
	roles               = { server, client }
	algorithms          = { ecdsa_secp256r1_sha256, ecdsa_secp384r1_sha384,
		ecdsa_secp521r1_sha512, ed25519,
		rsa_pss_pss_sha256, rsa_pss_pss_sha384, rsa_pss_pss_sha512,
		mldsa44, mldsa65, mldsa87 }
	proof_of_possession = optional
}
key www {
	token       = main
	uri         = "pkcs11:object=www"
	certificate = { "$dir/pki/www.pem" }
	issuer_ca   = "$dir/pki/ca.pem"
	policy      = default
}
client edge {
	match { uri = "spiffe://demo.example/edge" }
	may  = { issue }
	keys = { www }
}
client auditor {
	match { uri = "spiffe://demo.example/auditor" }
	may  = { read, hold, release }
	keys = { www }
}
END
}

write_env() {
	cat >"$dir/env" <<END
DCSIGN_URL='$DCSIGN_URL'
DCSIGN_MONITOR_URL='http://127.0.0.1:$port_monitor'
DCSIGN_CA='$dir/pki/ca.pem'
DCSIGN_CERT='$dir/pki/edge.pem'
DCSIGN_KEY='$dir/pki/edge.key'
DCSIGN_AUDITOR_CERT='$dir/pki/auditor.pem'
DCSIGN_AUDITOR_KEY='$dir/pki/auditor.key'
DCSIGN_DELEGATION_KEY='www'
DCSIGN_CHAIN='$dir/pki/chain.pem'
DCSIGN_LEDGER='sqlite:$dir/state/ledger.db'
DCSIGN_CONFIG='$dir/etc/dcsignd.conf'
DCSIGN_PID='$pid'
PATH='$dir/prefix/bin:$dir/prefix/sbin:'"\$PATH"
export DCSIGN_URL DCSIGN_MONITOR_URL DCSIGN_CA DCSIGN_CERT DCSIGN_KEY DCSIGN_AUDITOR_CERT
export DCSIGN_AUDITOR_KEY DCSIGN_DELEGATION_KEY DCSIGN_CHAIN DCSIGN_LEDGER DCSIGN_CONFIG DCSIGN_PID
export PATH
END
}

start() {
	heading "The service"
	tries=0
	while :; do
		port=$(demo_port) port_monitor=$(demo_port)
		write_configuration
		dcsignd -n -c "$dir/etc/dcsignd.conf" || fail "dcsignd refuses its configuration"
		env -u SOFTHSM2_CONF setsid "$dir/prefix/sbin/dcsignd" -c "$dir/etc/dcsignd.conf" \
			</dev/null >"$dir/log" 2>&1 &
		pid=$!
		if demo_ready "http://127.0.0.1:$port_monitor" "$pid" 30; then
			break
		fi
		tries=$((tries + 1))
		[ "$tries" -lt 5 ] && grep -qi 'in use' "$dir/log" || fail "dcsignd does not become ready"
	done
	DCSIGN_URL=https://localhost:$port
	write_env
	. "$dir/env"
	say "   $DCSIGN_URL for clients, $DCSIGN_MONITOR_URL/readyz, /healthz, /metrics"
	say "   Before it served its key it showed, with a self-test, that the key in the token is that"
	say "   of the certificate. Its processes and their users:"
	for p in "$pid" $(cat "/proc/$pid/task/$pid/children"); do
		printf '%-16s pid %-8s uid %s\n' "$(basename "$(tr '\0' '\n' <"/proc/$p/cmdline" | head -n 1)")" "$p" \
			"$(awk '$1 == "Uid:" { print $2 }' "/proc/$p/status")"
	done | show
}

issue() {
	heading "A delegated credential"
	say "   dcsign request makes a new P-256 key here, sends a PKCS#10 request that proves that we"
	say "   have it, and checks what comes back:"
	run dcsign request --new-key ecdsa_secp256r1_sha256 --lifetime 12h -o "$dir/dc/set"
	say "   dcsign inspect shows what is in it:"
	run dcsign inspect "$dir/dc/set/credential.dc" --certificate "$dir/pki/www.pem"
	say "   dcsign verify judges it as a TLS client would:"
	run dcsign verify --certificate "$dir/pki/www.pem" "$dir/dc/set/credential.dc"
}

handshake() {
	heading "A TLS 1.3 handshake with it, by programs that nobody here wrote"
	say "   The server is BoringSSL with the credential and its key, without the certificate's key."
	say "   The client is NSS (the TLS of Firefox): tstclnt -B."
	run bash "$top/tests/interop/handshake.sh" --chain "$dir/pki/chain.pem" \
		--dc "$dir/dc/set/credential.dc" --key "$dir/dc/set/key.pem" --name localhost \
		--server "$dir/build/tests/interop/dc_server" ||
		fail "the handshake did not use the delegated credential"
}

# refusal WORDS CODE COMMAND...: the command must fail and name the code.
refusal() {
	say "   $1:"
	code=$2
	shift 2
	if run "$@"; then
		fail "that was not refused"
	fi
	grep -qi "$code" "$dir/output" || fail "refused, but not with $code"
}

refusals() {
	heading "Four requests that are refused"
	mkdir "$dir/dc/refused"
	openssl genpkey -quiet -algorithm ed448 -out "$dir/dc/refused/ed448.key"
	openssl pkey -in "$dir/dc/refused/ed448.key" -pubout -out "$dir/dc/refused/ed448.pem"
	ahead=$(date -u -d '+2 days' +%Y-%m-%dT%H:%M:%SZ)
	refusal "A lifetime over the policy's 24 hours" lifetime_too_long \
		dcsign request --new-key ecdsa_secp256r1_sha256 --lifetime 48h -o "$dir/dc/refused/set"
	refusal "A start in two days" start_too_far_ahead dcsign request \
		--new-key ecdsa_secp256r1_sha256 --not-before "$ahead" -o "$dir/dc/refused/set"
	refusal "An algorithm that the policy does not name, Ed448" algorithm_not_allowed \
		dcsign request --public-key "$dir/dc/refused/ed448.pem" -o "$dir/dc/refused/set"
	refusal "A client without a certificate: TLS ends before any HTTP. curl says" curl \
		curl -sS --cacert "$DCSIGN_CA" "$DCSIGN_URL/v1/whoami"
	sleep 0.2
	say "   and the service's log:"
	run grep 'event="handshake refused"' "$dir/log" || fail "the service did not log that"
}

finish() {
	if [ -n "$keep" ]; then
		heading "The service goes on, process $pid"
		say "   . $dir/env                      then dcsign and curl find it"
		say "   sh contrib/try.sh --stop $dir   ends it"
		return
	fi
	heading "Stopping the service, and its ledger"
	stop_service "$pid" "$dir" || fail "dcsignd did not drain"
	pid=
	say "   Every decision is one record, chained by hashes (RFC 9162). dcsign ledger verify:"
	run verify_ledger "$dir" || fail "the ledger does not verify"
	say "   dcsign ledger list:"
	run dcsign ledger list --ledger "$DCSIGN_LEDGER"
	printf '\nAll of it worked. What was made is removed; --keep DIR would have kept it.\n'
}

case $# in
0) ;;
2)
	case "$1" in
	--keep) keep=$2 ;;
	--stop) stop_kept "$2" ;;
	*) usage ;;
	esac
	;;
*) usage ;;
esac
umask 022
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
heading "Packages"
sh "$top/contrib/packages.sh" | sed 's/^/   /'
prepare_folder "$keep"
build
make_keys
make_pki
start
issue
handshake
refusals
finish
