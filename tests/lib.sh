# Shell functions of the end-to-end tests. Sourced by tests/e2e_*.sh (bash). A test calls
# e2e_begin, token_and_pki, perhaps changes a CONF_ variable, then service_start; what it
# started is stopped and its folder removed at its end. Everything of a test lies in $WORK.
set -u

TOP_SRCDIR=${TOP_SRCDIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
TOP_BUILDDIR=${TOP_BUILDDIR:-$PWD}
. "$TOP_SRCDIR/contrib/demo.sh"

DCSIGND=$TOP_BUILDDIR/src/dcsignd
DCSIGN=$TOP_BUILDDIR/src/client/dcsign
# The programs of the build tree instead of the installed ones: builds with --enable-test-hooks.
export DCSIGN_LIBEXECDIR=$TOP_BUILDDIR
# Ends in good order are wanted, however busy the machine is (tests/check_dcsignd.c asks how soon).
export DCSIGN_DRAIN_MS=60000
unset DCSIGN_URL DCSIGN_CA DCSIGN_CERT DCSIGN_KEY DCSIGN_DELEGATION_KEY DCSIGN_LEDGER
E2E_UIDS=(61711 61712 61713) # api, hsm, ledger, when root runs the tests
WORK=
PID=

fail() {
	echo "FAIL: $*" >&2
	exit 1
}

skip() {
	echo "SKIP: $*"
	exit 77
}

note() {
	echo "-- $*"
}

# within_60s COMMAND...: waits until the command succeeds; fails after 600 tries of 0.1 s.
within_60s() {
	local tries
	for tries in $(seq 600); do
		"$@" && return
		sleep 0.1
	done
	return 1
}

alive() {
	[ -n "$1" ] && kill -0 "$1" 2>/dev/null
}

# end_process PID: SIGTERM, after 60 s SIGKILL; gives the exit status of our child PID.
end_process() {
	local n
	kill -TERM "$1" 2>/dev/null
	for n in $(seq 600); do
		[ "$(ps_state "$1")" = gone ] && break
		sleep 0.1
	done
	kill -KILL "$1" 2>/dev/null
	wait "$1" 2>/dev/null
}

# The state letter of a process, or gone; a zombie has gone.
ps_state() {
	local s
	s=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null)
	case "$s" in
	'' | Z | X) echo gone ;;
	*) echo "$s" ;;
	esac
}

e2e_end() {
	local status=$?
	trap - EXIT INT TERM HUP
	if alive "$PID"; then
		end_process "$PID"
	fi
	if [ "$(type -t test_end)" = function ]; then
		test_end
	fi
	if [ -n "$WORK" ]; then
		if [ "$status" != 0 ] && [ "$status" != 77 ]; then
			echo "---- the service's log"
			tail -n 60 "$WORK/log" 2>/dev/null
		fi
		chmod -R u+w "$WORK" && rm -rf "$WORK"
	fi
	exit "$status"
}

# A folder of its own, and the end of everything at exit. Skips where a program is missing.
e2e_begin() {
	local p
	grep -q '^#define DCSIGN_TEST_HOOKS 1' "$TOP_BUILDDIR/settings.h" 2>/dev/null ||
		skip "the build is configured without --enable-test-hooks"
	for p in softhsm2-util openssl curl /usr/bin/python3; do
		command -v "$p" >/dev/null || skip "$p is missing"
	done
	[ -e "$DEMO_MODULE" ] || skip "$DEMO_MODULE is missing"
	WORK=$(mktemp -d "${TMPDIR:-/tmp}/dcsign-e2e.XXXXXX") || fail "no temporary folder"
	chmod 711 "$WORK"
	umask 022
	trap e2e_end EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	mkdir "$WORK/hsm" "$WORK/pki" "$WORK/etc" "$WORK/out"
	chmod 711 "$WORK/hsm"
	SEPARATE=
	if [ "$(id -u)" = 0 ]; then
		if demo_reachable "$TOP_BUILDDIR" && demo_reachable "$WORK"; then
			SEPARATE=yes
		else
			note "other users can't enter $TOP_BUILDDIR: all processes run as root"
		fi
	fi
	config_defaults
}

# make_key NAME TYPE: a delegation key in the token and its certificate pki/NAME.pem.
make_key() {
	local where=(--module "$DEMO_MODULE" --uri "pkcs11:token=demo;object=$1" --pin "file:$WORK/hsm/pin")
	"$DCSIGN" keys generate "${where[@]}" --type "$2" >"$WORK/out/keys" 2>&1 ||
		fail "dcsign keys generate: $(cat "$WORK/out/keys")"
	"$DCSIGN" keys csr "${where[@]}" --subject CN=localhost -o "$WORK/pki/$1.csr" >"$WORK/out/keys" 2>&1 ||
		fail "dcsign keys csr: $(cat "$WORK/out/keys")"
	demo_sign "$WORK/pki" ca "$1" "$DEMO_DELEGATION_EXT" || fail "no certificate for $1"
	cat "$WORK/pki/$1.pem" "$WORK/pki/ca.pem" >"$WORK/pki/$1-chain.pem"
}

# The token with the keys www (P-256) and www384, the PKI, the clients edge (issues) and auditor,
# and the certificate of a stranger whom the configuration does not know.
token_and_pki() {
	demo_token "$WORK/hsm" demo || fail "softhsm2-util made no token"
	demo_ca "$WORK/pki" ca && demo_leaf "$WORK/pki" ca server "$DEMO_SERVER_EXT" &&
		demo_client "$WORK/pki" ca edge && demo_client "$WORK/pki" ca auditor &&
		demo_client "$WORK/pki" ca stranger || fail "openssl made no PKI"
	make_key www p256
	make_key www384 p384
	if [ -n "$SEPARATE" ]; then
		demo_token_close "$WORK/hsm" "${E2E_UIDS[1]}"
	else
		demo_token_close "$WORK/hsm"
	fi
	LEDGER=sqlite:$WORK/state/ledger.db
}

config_defaults() {
	CONF_MODULE=$DEMO_MODULE
	CONF_KEYS=''	    # further keys of the client edge, each after a comma
	CONF_TOKEN=''	    # further lines of token main
	CONF_ENVIRONMENT='' # further "NAME=value" of the token, each after a comma
	CONF_POLICY=''	     # further lines of policy default
	CONF_MAX_LIFETIME=24h
	CONF_EXTRA='' # further sections
	CONF_NODE=test
}

# Writes etc/dcsignd.conf with the ports $PORT and $MONITOR_PORT. Where a test has no limits of its own,
# nothing comes to its deadline because the machine is busy.
config_write() {
	local users='single_user = yes' limits='' timeout=''
	[[ $CONF_EXTRA = *'limits {'* ]] || limits='limits { request_deadline = 30s }'
	[[ $CONF_TOKEN = *sign_timeout* ]] || timeout='sign_timeout = 20s'
	if [ -n "$SEPARATE" ]; then
		users="users { api = \"${E2E_UIDS[0]}\" hsm = \"${E2E_UIDS[1]}\" ledger = \"${E2E_UIDS[2]}\" }"
	fi
	cat >"$WORK/etc/dcsignd.conf" <<END
node = $CONF_NODE
origin = "test.dcsign.example"
state = "$WORK/state"
monitor = "127.0.0.1:$MONITOR_PORT"
ledger = "$LEDGER"
require_clock_sync = no
$users
listen "127.0.0.1:$PORT" {
	certificate = "$WORK/pki/server.pem"
	private_key = "$WORK/pki/server.key"
	client_ca = "$WORK/pki/ca.pem"
}
token main {
	module = "$CONF_MODULE"
	uri = "pkcs11:token=demo"
	pin = "file:$WORK/hsm/pin"
	environment = { "SOFTHSM2_CONF=$WORK/hsm/softhsm2.conf"$CONF_ENVIRONMENT }
	$timeout
	$CONF_TOKEN
}
policy default {
	max_lifetime = $CONF_MAX_LIFETIME
	roles = { server, client }
	algorithms = { ecdsa_secp256r1_sha256, ecdsa_secp384r1_sha384, ecdsa_secp521r1_sha512, ed25519 }
	proof_of_possession = optional
	$CONF_POLICY
}
key www {
	token = main
	uri = "pkcs11:object=www"
	certificate = { "$WORK/pki/www.pem" }
	issuer_ca = "$WORK/pki/ca.pem"
	policy = default
}
key www384 {
	token = main
	uri = "pkcs11:object=www384"
	certificate = { "$WORK/pki/www384.pem" }
	policy = default
}
client edge {
	match { uri = "spiffe://demo.example/edge" }
	may = { issue }
	keys = { www, www384$CONF_KEYS }
}
client auditor {
	match { uri = "spiffe://demo.example/auditor" }
	may = { read, hold, release }
	keys = { www, www384 }
}
$limits
$CONF_EXTRA
END
	# each stays, for tests/faults/reconcile.py
	cp "$WORK/etc/dcsignd.conf" "$WORK/etc/written-$(sha256sum <"$WORK/etc/dcsignd.conf" | cut -c1-16)"
}

# The daemon in the background with what else stands in front of it: service_spawn [COMMAND...]
service_spawn() {
	env -u SOFTHSM2_CONF "$@" "$DCSIGND" -c "$WORK/etc/dcsignd.conf" </dev/null >>"$WORK/log" 2>&1 &
	PID=$!
}

# Configures free ports, starts the daemon, waits until all keys are served. Sets URL, MONITOR, PID.
service_start() {
	local try
	for try in 1 2 3 4 5; do
		PORT=$(demo_port)
		MONITOR_PORT=$(demo_port)
		config_write
		: >"$WORK/log"
		service_spawn "$@"
		URL=https://127.0.0.1:$PORT
		MONITOR=http://127.0.0.1:$MONITOR_PORT
		service_ready && return
		grep -qi 'in use' "$WORK/log" || break
	done
	fail "the service does not become ready: $(curl -s --max-time 2 "$MONITOR/readyz")"
}

# Waits until every key is ready.
service_ready() {
	local n
	for n in $(seq ${service_tries:-600}); do
		alive "$PID" || return 1
		[ "$(keys_ready)" = "${service_keys:-2}" ] && return 0
		sleep 0.1
	done
	return 1
}

# How many keys /readyz calls ready.
keys_ready() {
	curl -s --max-time 2 "$MONITOR/readyz" | /usr/bin/python3 -c '
import json, sys
try:
    print(sum(1 for k in json.load(sys.stdin)["keys"] if k["ready"]))
except (ValueError, KeyError):
    print(0)'
}

# SIGTERM; the daemon must drain and exit with 0.
service_stop() {
	local status=0
	end_process "$PID" || status=$?
	PID=
	[ "$status" = 0 ] || fail "dcsignd ended with $status after SIGTERM"
}

# The pid of the child that runs dcsignd-$1.
child() {
	local p
	for p in $(cat "/proc/$PID/task/$PID/children"); do
		if [ "$(cat "/proc/$p/comm")" = "dcsignd-$1" ]; then
			echo "$p"
			return
		fi
	done
	return 1
}

# load_reached COUNT: tests/load.py has had so many outcomes.
load_reached() {
	[ "$(stat -c %s "$WORK/out/asked" 2>/dev/null || echo 0)" -ge "$1" ]
}

# request ARGUMENT...: dcsign request as the client edge.
request() {
	"$DCSIGN" request --url "$URL" --ca "$WORK/pki/ca.pem" --cert "$WORK/pki/edge.pem" \
		--tls-key "$WORK/pki/edge.key" "$@"
}

# api CLIENT PATH [CURL-ARGUMENT...]: the answer's body goes to out/body, its status is printed.
api() {
	local client=$1 path=$2
	shift 2
	curl -s --max-time 60 --cacert "$WORK/pki/ca.pem" --cert "$WORK/pki/$client.pem" \
		--key "$WORK/pki/$client.key" -o "$WORK/out/body" -w '%{http_code}\n' "$@" "$URL$path"
}

# issue CLIENT KEY JSON: POST for a credential.
issue() {
	api "$1" "/v1/keys/$2/credentials" -H 'Content-Type: application/json' -d "$3"
}

# member NAME [FILE]: a member of the JSON object in FILE (out/body).
member() {
	/usr/bin/python3 -c '
import json, sys
v = json.load(open(sys.argv[2]))
for n in sys.argv[1].split("."):
    v = v[n]
print(v)' "$1" "${2:-$WORK/out/body}"
}

# A new key of an openssl type (P-256, P-384, P-521, ed25519, ...): FILE.key, .csr, .pub (PEM) and
# the base64 of its SubjectPublicKeyInfo on standard output.
dc_key() {
	case "$1" in
	P-*) openssl genpkey -quiet -algorithm EC -pkeyopt "ec_paramgen_curve:$1" -out "$2.key" ;;
	*) openssl genpkey -quiet -algorithm "$1" -out "$2.key" ;;
	esac
	openssl req -new -key "$2.key" -subj / -out "$2.csr" 2>/dev/null
	openssl pkey -in "$2.key" -pubout -out "$2.pub"
	openssl pkey -in "$2.key" -pubout -outform DER | base64 -w0
}

# The ledger of the stopped service must verify; its records go to out/records, one a line.
ledger_verify() {
	"$DCSIGN" ledger verify --ledger "$LEDGER" >"$WORK/out/verify" 2>&1 ||
		fail "the ledger does not verify: $(cat "$WORK/out/verify")"
	"$DCSIGN" ledger export --ledger "$LEDGER" >"$WORK/out/records" 2>"$WORK/out/export" ||
		fail "the ledger can't be exported: $(cat "$WORK/out/export")"
}

# How many records of this type out/records has.
records() {
	grep -c "\"type\":\"$1\"" "$WORK/out/records"
}
