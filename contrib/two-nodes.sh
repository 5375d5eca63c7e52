#!/bin/sh
# Two dcsignd that share a ledger: each with its own copy of the key in its own token, HAProxy before
# them, PostgreSQL behind them. Everything runs on this machine, in one folder.
#
#   sh contrib/two-nodes.sh              shows it, then stops what it started and removes what it made
#   sh contrib/two-nodes.sh --keep DIR   the same, but everything lies under DIR and goes on
#   sh contrib/two-nodes.sh --stop DIR   ends that
#
# After --keep, `. DIR/env` sets what dcsign and curl need. DCSIGN_SKIP_INSTALL=1: install no packages.
# DCSIGND, DCSIGN: programs to use instead of building (and installing under DIR) those of this tree.
set -eu
unset CDPATH
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/contrib/demo.sh"

uid_api=61701 uid_hsm=61702 uid_ledger=61703
dir='' keep='' step=0
work=${DCSIGN_NODES_BASE:-/tmp}

heading() {
	step=$((step + 1))
	printf '\n%d. %s\n' "$step" "$*"
}

fail() {
	printf '\ntwo-nodes.sh: %s\n' "$*" >&2
	exit 1
}

# start_process NAME COMMAND...: in the background, its log and pid in the folder.
start_process() {
	name=$1
	shift
	(cd / && exec setsid "$@" </dev/null >>"$dir/$name.log" 2>&1) &
	echo $! >"$dir/$name.pid"
}

# end_process NAME SIGNAL
end_process() {
	[ -s "$dir/$1.pid" ] || return 0
	pid=$(cat "$dir/$1.pid")
	rm "$dir/$1.pid"
	kill -"$2" "$pid" 2>/dev/null || return 0
	n=0
	# a process that nobody has waited for yet has no arguments any more
	while [ "$n" -lt 100 ] && [ -s "/proc/$pid/cmdline" ] && [ -n "$(tr -d '\0' <"/proc/$pid/cmdline" 2>/dev/null)" ]; do
		n=$((n + 1))
		sleep 0.1
	done
	[ "$n" -lt 100 ] || kill -KILL "$pid"
}

stop_all() {
	end_process haproxy TERM
	end_process sign1 TERM
	end_process sign2 TERM
	end_process postgres INT
}

cleanup() {
	status=$?
	trap - EXIT INT TERM HUP
	if [ -n "$dir" ] && { [ -z "$keep" ] || [ "$status" != 0 ]; }; then
		stop_all
	fi
	if [ "$status" != 0 ] && [ -n "$dir" ]; then
		tail -n 15 "$dir"/*.log >&2 || true
	fi
	if [ -n "$dir" ] && [ -z "$keep" ]; then
		chmod -R u+w "$dir" && rm -rf "$dir"
	fi
	exit "$status"
}

# The server refuses to run as root.
as_postgres() {
	if [ "$(id -u)" != 0 ]; then
		"$@"
	else
		setpriv --reuid="$pg_user" --regid="$(id -g "$pg_user")" --clear-groups "$@"
	fi
}

sql() {
	"$pg_bin/psql" -X -q -v ON_ERROR_STOP=1 -h "$dir/pg/run" -U postgres "$@" >/dev/null
}

database() {
	heading "PostgreSQL, on a Unix socket in $dir/pg/run"
	pg_bin=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -n 1)
	[ -n "$pg_bin" ] || fail "there is no PostgreSQL server: install the package postgresql"
	pg_user=postgres
	id "$pg_user" >/dev/null 2>&1 || pg_user=nobody
	mkdir "$dir/pg"
	[ "$(id -u)" != 0 ] || chown "$pg_user" "$dir/pg"
	chmod 711 "$dir/pg"
	(cd / && as_postgres "$pg_bin/initdb" -D "$dir/pg/data" -U postgres -A trust -E UTF8 \
		--locale=C.UTF-8 --no-sync >"$dir/initdb.log" 2>&1) || fail "initdb: $(cat "$dir/initdb.log")"
	(cd / && as_postgres mkdir -m 711 "$dir/pg/run")
	cp "$top/contrib/postgres/dcsign.conf" "$dir/pg/data/dcsign.conf"
	printf "include = 'dcsign.conf'\nlisten_addresses = ''\nunix_socket_directories = '%s'\n" "$dir/pg/run" \
		>>"$dir/pg/data/postgresql.conf"
	chmod 644 "$dir/pg/data/dcsign.conf"
	if [ "$(id -u)" = 0 ]; then
		start_process postgres setpriv --reuid="$pg_user" --regid="$(id -g "$pg_user")" --clear-groups \
			"$pg_bin/postgres" -D "$dir/pg/data"
	else
		start_process postgres "$pg_bin/postgres" -D "$dir/pg/data"
	fi
	n=0
	until sql -c 'SELECT 1' postgres 2>/dev/null; do
		n=$((n + 1))
		[ "$n" -lt 300 ] || fail "the server does not start"
		sleep 0.1
	done
	sql -f "$top/contrib/postgres/roles.sql" postgres
	where="@/dcsign?host=$dir/pg/run"
	"$DCSIGN" ledger init --ledger "postgresql://dcsign_owner$where" --writer dcsign_node --reader dcsign_auditor ||
		fail "ledger init"
	echo "   The tables are dcsign_owner's; the nodes connect as dcsign_node, which can add records and"
	echo "   neither change nor delete them."
}

keys() {
	heading "A token with the delegation key, and a copy of it for the second node"
	mkdir "$dir/sign1" "$dir/sign2" "$dir/pki"
	mkdir -m 711 "$dir/sign1/hsm"
	demo_token "$dir/sign1/hsm" demo || fail "softhsm2-util made no token"
	key="--module $DEMO_MODULE --uri pkcs11:token=demo;object=www --pin file:$dir/sign1/hsm/pin"
	# shellcheck disable=SC2086
	"$DCSIGN" keys generate $key --type p256 >"$dir/keys.log" 2>&1 || fail "$(cat "$dir/keys.log")"
	demo_ca "$dir/pki" ca
	demo_leaf "$dir/pki" ca server "$DEMO_SERVER_EXT"
	demo_client "$dir/pki" ca edge
	demo_client "$dir/pki" ca auditor
	# shellcheck disable=SC2086
	"$DCSIGN" keys csr $key --subject CN=localhost -o "$dir/pki/www.csr" >"$dir/keys.log" 2>&1 ||
		fail "$(cat "$dir/keys.log")"
	demo_sign "$dir/pki" ca www "$DEMO_DELEGATION_EXT"
	cat "$dir/pki/www.pem" "$dir/pki/ca.pem" >"$dir/pki/chain.pem"
	# what an HSM's own replication does
	cp -a "$dir/sign1/hsm" "$dir/sign2/hsm"
	sed "s|$dir/sign1|$dir/sign2|" "$dir/sign1/hsm/softhsm2.conf" >"$dir/sign2/hsm/softhsm2.conf"
	for node in sign1 sign2; do
		if [ "$(id -u)" = 0 ]; then
			demo_token_close "$dir/$node/hsm" "$uid_hsm"
		else
			demo_token_close "$dir/$node/hsm"
		fi
	done
}

# configuration NODE PORT MONITOR-PORT
configuration() {
	users='single_user = yes'
	[ "$(id -u)" != 0 ] || users="users { api = \"$uid_api\" hsm = \"$uid_hsm\" ledger = \"$uid_ledger\" }"
	cat >"$dir/$1/dcsignd.conf" <<END
node    = $1                            # the one line, besides paths and ports, in which they differ
origin  = "demo.dcsign.example"
state   = "$dir/$1/state"
monitor = "127.0.0.1:$3"
ledger  = "postgresql://dcsign_node$where"
require_clock_sync = no                 # this may be a container: nobody tells it about NTP
$users
limits { connections_per_address = 0 }  # all come from HAProxy
listen "127.0.0.1:$2" {
	certificate = "$dir/pki/server.pem"
	private_key = "$dir/pki/server.key"
	client_ca   = "$dir/pki/ca.pem"
}
token main {
	module      = "$DEMO_MODULE"
	uri         = "pkcs11:token=demo"
	pin         = "file:$dir/$1/hsm/pin"
	environment = { "SOFTHSM2_CONF=$dir/$1/hsm/softhsm2.conf" }
}
policy default {
	max_lifetime        = 24h
	roles               = { server }
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

nodes() {
	heading "Two nodes, sign1 and sign2"
	port1=$(demo_port) monitor1=$(demo_port) port2=$(demo_port) monitor2=$(demo_port)
	configuration sign1 "$port1" "$monitor1"
	configuration sign2 "$port2" "$monitor2"
	start_process sign1 env -u SOFTHSM2_CONF "$DCSIGND" -c "$dir/sign1/dcsignd.conf"
	start_process sign2 env -u SOFTHSM2_CONF "$DCSIGND" -c "$dir/sign2/dcsignd.conf"
	demo_ready "http://127.0.0.1:$monitor1" "$(cat "$dir/sign1.pid")" 60 || fail "sign1 does not become ready"
	demo_ready "http://127.0.0.1:$monitor2" "$(cat "$dir/sign2.pid")" 60 || fail "sign2 does not become ready"
}

proxy() {
	heading "HAProxy before them: TLS goes through, the clients' certificates with it"
	front=$(demo_port)
	cat >"$dir/haproxy.env" <<END
DCSIGN_FRONT=127.0.0.1:$front
DCSIGN_NODE1=127.0.0.1:$port1
DCSIGN_NODE2=127.0.0.1:$port2
DCSIGN_MONITOR_HOST1=127.0.0.1
DCSIGN_MONITOR_PORT1=$monitor1
DCSIGN_MONITOR_HOST2=127.0.0.1
DCSIGN_MONITOR_PORT2=$monitor2
END
	# shellcheck disable=SC2046
	start_process haproxy env $(cat "$dir/haproxy.env") haproxy -db -f "$top/contrib/haproxy/haproxy.cfg"
	cat >"$dir/env" <<END
DCSIGN_URL='https://localhost:$front'
DCSIGN_URL1='https://localhost:$port1'
DCSIGN_URL2='https://localhost:$port2'
DCSIGN_MONITOR1='http://127.0.0.1:$monitor1'
DCSIGN_MONITOR2='http://127.0.0.1:$monitor2'
DCSIGN_CA='$dir/pki/ca.pem'
DCSIGN_CERT='$dir/pki/edge.pem'
DCSIGN_KEY='$dir/pki/edge.key'
DCSIGN_AUDITOR_CERT='$dir/pki/auditor.pem'
DCSIGN_AUDITOR_KEY='$dir/pki/auditor.key'
DCSIGN_DELEGATION_KEY='www'
DCSIGN_CHAIN='$dir/pki/chain.pem'
DCSIGN_LEDGER='postgresql://dcsign_auditor$where'
DCSIGN_PID1='$(cat "$dir/sign1.pid")'
DCSIGN_PID2='$(cat "$dir/sign2.pid")'
export DCSIGN_URL DCSIGN_CA DCSIGN_CERT DCSIGN_KEY DCSIGN_DELEGATION_KEY DCSIGN_CHAIN DCSIGN_LEDGER
END
	. "$dir/env"
	n=0
	until curl -sf -o /dev/null --max-time 2 --cacert "$DCSIGN_CA" --cert "$DCSIGN_CERT" --key "$DCSIGN_KEY" \
		"$DCSIGN_URL/v1/whoami"; do
		n=$((n + 1))
		[ "$n" -lt 300 ] || fail "HAProxy lets nobody through"
		sleep 0.1
	done
}

# call URL PATH BODY: POST as the auditor; the status.
call() {
	curl -s -o "$dir/answer" -w '%{http_code}' --max-time 10 --cacert "$DCSIGN_CA" --cert "$DCSIGN_AUDITOR_CERT" \
		--key "$DCSIGN_AUDITOR_KEY" -H 'Content-Type: application/json' -d "$3" "$1$2"
}

# request URL FOLDER: a credential by this way.
request() {
	DCSIGN_URL=$1 "$DCSIGN" request --new-key ecdsa_secp256r1_sha256 --lifetime 1h -o "$dir/dc/$2" >"$dir/output" 2>&1
}

show() {
	heading "Credentials through HAProxy, from both nodes"
	mkdir "$dir/dc"
	for n in 1 2 3 4; do
		request "$DCSIGN_URL" "set$n" || fail "$(cat "$dir/output")"
	done
	"$DCSIGN" ledger list | sed 's/^/   /'
	heading "A hold set on one node holds on the other"
	[ "$(call "$DCSIGN_URL1" /v1/keys/www/hold '{"reason":"drill"}')" = 200 ] || fail "hold: $(cat "$dir/answer")"
	if request "$DCSIGN_URL2" held; then
		fail "sign2 issued in spite of the hold"
	fi
	sed 's/^/   /' "$dir/output"
	[ "$(call "$DCSIGN_URL2" /v1/keys/www/release '{"reason":"over"}')" = 200 ] || fail "release: $(cat "$dir/answer")"
	request "$DCSIGN_URL1" released || fail "$(cat "$dir/output")"
	echo "   released on sign2, issued by sign1 again"
	heading "The auditor's verification of both chains, while they grow"
	"$DCSIGN" ledger verify | sed 's/^/   /'
}

build() {
	heading "Building dcsign (its output: $dir/build.log)"
	mkdir "$dir/build"
	{ [ -x "$top/configure" ] || "$top/autogen.sh"; } >"$dir/build.log" 2>&1
	(cd "$dir/build" && "$top/configure" -q --prefix="$dir/prefix" && make -j"${JOBS:-2}" && make install) \
		>>"$dir/build.log" 2>&1 || fail "it does not build: $(tail -n 20 "$dir/build.log")"
	DCSIGND=$dir/prefix/sbin/dcsignd DCSIGN=$dir/prefix/bin/dcsign
}

case $# in
0) ;;
2)
	case "$1" in
	--keep) keep=$2 ;;
	--stop)
		dir=$(cd "$2" && pwd -P)
		stop_all
		exit
		;;
	*) fail "usage: sh contrib/two-nodes.sh [--keep DIR | --stop DIR]" ;;
	esac
	;;
*) fail "usage: sh contrib/two-nodes.sh [--keep DIR | --stop DIR]" ;;
esac
umask 022
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
heading "Packages"
sh "$top/contrib/packages.sh" nodes | sed 's/^/   /'
if [ -n "$keep" ]; then
	mkdir -p "$keep"
	[ -z "$(ls -A "$keep")" ] || fail "$keep is not empty"
	dir=$(cd "$keep" && pwd -P)
else
	dir=$(mktemp -d "$work/dcsign-nodes.XXXXXX")
fi
chmod 711 "$dir"
[ "$(id -u)" != 0 ] || demo_reachable "$dir" || fail "other users can't enter $dir: choose another folder"
if [ -z "${DCSIGND-}" ] || [ -z "${DCSIGN-}" ]; then
	build
fi
database
keys
nodes
proxy
show
if [ -n "$keep" ]; then
	heading "All of it goes on"
	echo "   . $dir/env                            then dcsign and curl find it"
	echo "   sh contrib/two-nodes.sh --stop $dir   ends it"
else
	printf '\nAll of it worked. What was made is removed; --keep DIR would have kept it.\n'
fi
