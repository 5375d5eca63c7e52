#!/bin/bash
# Every file format that dcsign writes, against a parser written from its description
# (interop/formats.py), and the raw form in a handshake with a server that loads it.
set -u
src=${TOP_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
build=${TOP_BUILDDIR:-$PWD}
. "$src/tests/fakes/service.sh"
failures=0
failed()
{
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

fake_service || exit $?
trap 'fake_service_stop' EXIT
cd "$FAKE" || exit 1

for role in server client; do
	for format in raw pem hex json fizz; do
		echo "== $format, $role"
		"$build/src/client/dcsign" request --new-key P-256 --role $role --format $format \
			-o $role-$format >out 2>&1 || failed "$role $format: $(cat out)"
		/usr/bin/python3 "$src/tests/interop/formats.py" $role-$format $role $format ||
			failed "$role $format"
		file=$(cd $role-$format && ls credential.dc credential.pem credential.hex fizz.pem 2>/dev/null)
		"$build/src/client/dcsign" verify --certificate $role-$format/chain.pem --role $role \
			"$role-$format/${file:-credential.json}" >out || failed "verify: $(cat out)"
		form=$("$build/src/client/dcsign" inspect "$role-$format/${file:-credential.json}" |
			sed -n 's/^format *//p')
		[ "$form" = $format ] || failed "inspect takes $format for $form"
	done
done

echo "== fizz needs a P-256 key that is made here"
for given in "--new-key P-384" "--new-key ed25519" "--csr x.pem"; do
	# shellcheck disable=SC2086
	"$build/src/client/dcsign" request $given --format fizz -o x 2>out
	[ $? -eq 2 ] && grep -q "fizz needs --new-key P-256" out || failed "$given: $(cat out)"
done

echo "== the raw form in a server"
bash "$src/tests/interop/handshake.sh" --chain server-raw/chain.pem --dc server-raw/credential.dc \
	--key server-raw/key.pem --name dc.example.test
code=$?
[ $code -eq 0 ] || [ $code -eq 77 ] || failed "handshake"

[ $failures -eq 0 ] || {
	echo "$failures failures" >&2
	exit 1
}
