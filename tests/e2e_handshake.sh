#!/bin/bash
# Delegated credentials made by make_dc.py, shown to two judges: NSS as a TLS 1.3 client in a
# handshake with a BoringSSL server, and `dcsign verify`. Both must say the same.
set -u
src=${TOP_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
build=${TOP_BUILDDIR:-$PWD}
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || {
	echo "skipped: /usr/bin/python3 has no cryptography (Debian: python3-cryptography)"
	exit 77
}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
/usr/bin/python3 "$src/tests/interop/make_dc.py" "$folder" || exit 1
failures=0

# judge NAME CHAIN [NSS_ERROR]
judge()
{
	local expected=${3:-} said code
	echo "== $1${expected:+: $expected}"
	bash "$src/tests/interop/handshake.sh" --chain "$folder/$2" --dc "$folder/$1.dc" \
		--key "$folder/$1.key" --name dc.example.test --ca "$folder/ca.pem" \
		${expected:+--refused "$expected"}
	code=$?
	[ $code -eq 77 ] && exit 77
	[ $code -eq 0 ] || failures=$((failures + 1))
	said=$("$build/src/client/dcsign" verify --certificate "$folder/$2" "$folder/$1.dc")
	code=$?
	echo "  dcsign verify: $said"
	case "$expected:$code:$said" in
	:0:valid:*) ;;
	"$expected:1:invalid: $expected: "*) ;;
	*)
		echo "dcsign verify ended with $code: not what was expected" >&2
		failures=$((failures + 1))
		;;
	esac
}

# first: in an hour it is not over-long any more
judge over-long chain.pem SSL_ERROR_DC_INAPPROPRIATE_VALIDITY_PERIOD
judge p256 chain.pem
judge p384 chain.pem
judge p521 chain.pem
judge expired chain.pem SSL_ERROR_DC_EXPIRED
judge wrong-role chain.pem SSL_ERROR_DC_BAD_SIGNATURE
judge bad-signature chain.pem SSL_ERROR_DC_BAD_SIGNATURE
judge plain plain-chain.pem SSL_ERROR_DC_INVALID_KEY_USAGE
[ $failures -eq 0 ] || {
	echo "$failures verdicts differ" >&2
	exit 1
}
