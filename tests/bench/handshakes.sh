#!/bin/bash
# What a delegated credential is worth to a TLS server: full TLS 1.3 handshakes of a BoringSSL server with
# NSS clients, the key being in four places: `make bench-handshake`.
#   BENCH_RUNS=3 BENCH_SECONDS=3   how often and how long each figure is measured
#   BENCH_CLIENTS=16               at once, for the rate; the times are those of one client alone
#   BENCH_COUNT=N                  at most N handshakes of each client
#   BENCH_JSON=FILE                the table as JSON, too
# All on one machine: server, clients and token share its processors, so the rates compare the four with
# each other. Needs a build with --enable-test-hooks and without sanitizers.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lib.sh"
grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h" && skip "this build has sanitizers"
runs=${BENCH_RUNS:-3} seconds=${BENCH_SECONDS:-3} clients=${BENCH_CLIENTS:-16}
bench=$TOP_BUILDDIR/tests/bench
for p in handshake_server handshake_client; do
	[ -x "$bench/$p" ] || skip "$p is missing (Debian: android-libboringssl-dev, libnss3-dev)"
done
SERVER='' SIGNER=''

test_end() {
	local p
	for p in $SERVER $SIGNER; do
		alive "$p" && end_process "$p"
	done
}

# said FILE PID WORD: waits until this process has printed a line that begins with WORD; prints its rest.
said() {
	local n
	for n in $(seq 600); do
		sed -n "s/^$3 *//p" "$1" | grep -q '' && break
		alive "$2" || break
		sleep 0.05
	done
	grep -q "^$3" "$1" || return 1
	sed -n "s/^$3 *//p" "$1"
}

# sample FILE PREFIX NAME...: members of the JSON line in FILE as samples, PREFIX_NAME VALUE.
sample() {
	/usr/bin/python3 - "$@" <<'END' >>"$WORK/samples" || fail "no figures in $1: $(cat "$1")"
import json, sys
line = json.loads([l for l in open(sys.argv[1]) if l.startswith("{")][-1])
for name in sys.argv[3:]:
    print(f"{sys.argv[2]}_{name} {line[name]}")
END
}

# client NAME CLIENTS OPTION...: into out/client.
client() {
	"$bench/handshake_client" --port "$port" --ca "$WORK/pki/ca.der" --seconds "$seconds" \
		--count "${BENCH_COUNT:-0}" --clients "$2" "${@:3}" >"$WORK/out/client" ||
		fail "$1: the clients failed; the server said: $(cat "$WORK/out/server")"
}

# row NAME SERVER-OPTION...: one server, one client alone, then all. Samples NAME_...
row() {
	local name=$1 option=()
	shift
	[ "$name" != delegated ] || option=(--delegated)
	"$bench/handshake_server" "$@" >"$WORK/out/server" 2>&1 &
	SERVER=$!
	port=$(said "$WORK/out/server" $SERVER port) || fail "$name: $(cat "$WORK/out/server")"
	client "$name" 1 "${option[@]}"
	sample "$WORK/out/client" "$name" p50_ms p99_ms cpu_us
	client "$name" "$clients" "${option[@]}"
	sample "$WORK/out/client" "$name" rate
	kill -TERM $SERVER
	wait $SERVER
	SERVER=
	sample "$WORK/out/server" "${name}_server" handshakes delegated failed cpu_us
}

# keyless_row NAME MILLISECONDS: a signature of the token for each handshake, from so far away.
keyless_row() {
	rm -f "$WORK/sign"
	"$bench/keyless" "$DEMO_MODULE" "pkcs11:token=demo;object=www" "$WORK/hsm/pin" "$WORK/sign" \
		"$2" >"$WORK/out/signer" 2>&1 &
	SIGNER=$!
	said "$WORK/out/signer" $SIGNER ready >/dev/null || fail "keyless: $(cat "$WORK/out/signer")"
	row "$1" --chain "$WORK/pki/www.pem" --keyless "$WORK/sign"
	kill -TERM $SIGNER
	wait $SIGNER
	SIGNER=
	sample "$WORK/out/signer" "${1}_signer" signatures cpu_us
}

e2e_begin
token_and_pki
demo_leaf "$WORK/pki" ca local "$DEMO_DELEGATION_EXT" || fail "openssl made no certificate"
openssl x509 -in "$WORK/pki/ca.pem" -outform DER -out "$WORK/pki/ca.der"
service_start
request --key www --new-key ecdsa_secp256r1_sha256 -o "$WORK/dc" >"$WORK/out/request" ||
	fail "no delegated credential: $(cat "$WORK/out/request")"
service_stop
for run in $(seq "$runs"); do
	note "run $run of $runs"
	row local --chain "$WORK/pki/local.pem" --key "$WORK/pki/local.key"
	row delegated --chain "$WORK/pki/www.pem" --dc "$WORK/dc/credential.dc" --dc-key "$WORK/dc/key.pem"
	keyless_row keyless 0
	keyless_row distant 20
done
/usr/bin/python3 "$here/handshakes.py" "$WORK/samples" "$clients" ${BENCH_JSON:+"$BENCH_JSON"}
