#!/bin/bash
# One TLS 1.3 handshake with a delegated credential between two stacks that nobody here wrote: a
# BoringSSL server (dc_server, which holds no certificate key) and NSS's tstclnt -B as the client.
#
# usage: handshake.sh --chain FILE --dc FILE --key FILE --name DNSNAME [--ca FILE]
#                     [--server DC_SERVER] [--refused SSL_ERROR_NAME]
#
#   --chain    PEM, the delegation certificate first; --ca: the client's trust anchor
#              (default: the last certificate of the chain)
#   --dc       the delegated credential, raw octets; --key: its private key, PEM
#   --name     the server's DNS name, as the certificate has it
#   --server   the program dc_server (default: tests/interop/dc_server of TOP_BUILDDIR)
#   --refused  the client must refuse with this error of NSS
#
# Exit: 0 as expected, 1 not, 2 usage, 77 a program is missing.
set -u

fail()
{
	echo "handshake: $*" >&2
	exit 1
}

usage()
{
	sed -n 's/^# \{0,1\}//; 5,16p' "$0" >&2
	exit 2
}

chain= dc= key= name= ca= refused=
server="${TOP_BUILDDIR:-$(dirname "$0")/../..}/tests/interop/dc_server"
while [ $# -gt 0 ]; do
	[ $# -ge 2 ] || usage
	case "$1" in
	--chain) chain=$2 ;;
	--dc) dc=$2 ;;
	--key) key=$2 ;;
	--name) name=$2 ;;
	--ca) ca=$2 ;;
	--server) server=$2 ;;
	--refused) refused=$2 ;;
	*) usage ;;
	esac
	shift 2
done
[ -n "$chain" ] && [ -n "$dc" ] && [ -n "$key" ] && [ -n "$name" ] || usage

for program in tstclnt certutil; do
	command -v "$program" >/dev/null || {
		echo "handshake: $program is missing (Debian: libnss3-tools)" >&2
		exit 77
	}
done
[ -x "$server" ] || {
	echo "handshake: $server is missing (needs Debian's android-libboringssl-dev; make check builds it)" >&2
	exit 77
}

folder=$(mktemp -d) || exit 1
pid=
cleanup()
{
	if [ -n "$pid" ]; then
		kill "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	fi
	rm -rf "$folder"
}
trap cleanup EXIT
trap 'exit 1' INT TERM HUP

if [ -z "$ca" ]; then
	ca=$folder/ca.pem
	awk '/-----BEGIN CERTIFICATE-----/ { block = "" }
		{ block = block $0 "\n" }
		END { printf "%s", block }' "$chain" >"$ca"
fi
mkdir "$folder/nss"
certutil -N -d "sql:$folder/nss" --empty-password &&
	certutil -A -d "sql:$folder/nss" -n ca -t "C,," -i "$ca" || fail "NSS refuses the CA $ca"

"$server" --chain "$chain" --dc "$dc" --dc-key "$key" >"$folder/server" 2>&1 &
pid=$!
port=
for _ in $(seq 1200); do
	port=$(sed -n 's/^port //p' "$folder/server")
	[ -n "$port" ] && break
	kill -0 "$pid" 2>/dev/null || break
	sleep 0.05
done
[ -n "$port" ] || fail "the server did not start: $(cat "$folder/server")"

timeout 120 tstclnt -h 127.0.0.1 -p "$port" -a "$name" -d "sql:$folder/nss" \
	-B -V tls1.3:tls1.3 -v </dev/null >"$folder/client" 2>&1
code=$?
for _ in $(seq 1200); do
	grep -q '^connection' "$folder/server" && break
	sleep 0.05
done
said=$(grep '^connection' "$folder/server")

if [ -n "$refused" ]; then
	if [ $code -ne 0 ] && grep -qw "$refused" "$folder/client"; then
		grep -w "$refused" "$folder/client" | sed 's/^/  client (NSS): /'
		echo "handshake: refused by the client with $refused, as expected"
		exit 0
	fi
	cat "$folder/client" "$folder/server" >&2
	fail "the client was to refuse with $refused (it ended with $code)"
fi
if [ $code -eq 0 ] && grep -q '^Received a Delegated Credential' "$folder/client" &&
	grep -q 'delegated credential used' "$folder/server"; then
	grep -E '^Received a Delegated|Signature Scheme|^subject DN|hello$' "$folder/client" |
		sed 's/^ */  client (NSS): /'
	echo "  server (BoringSSL, without the certificate's key): $said"
	echo "handshake: the delegated credential was used"
	exit 0
fi
cat "$folder/client" "$folder/server" >&2
fail "the delegated credential was not used (the client ended with $code)"
