#!/bin/bash
# What bash offers after a part of a dcsign command line.
set -u
src=${TOP_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
build=${TOP_BUILDDIR:-$PWD}
. "$src/contrib/completion/dcsign.bash" || exit 1
failures=0

# offers EXPECTED WORD...: the words offered for the last WORD of `dcsign WORD...`
offers()
{
	local expected=$1
	shift
	COMP_WORDS=("$build/src/client/dcsign" "$@")
	COMP_CWORD=$#
	_dcsign
	[ "${COMPREPLY[*]}" = "$expected" ] || {
		echo "dcsign $*: offers \"${COMPREPLY[*]}\" instead of \"$expected\"" >&2
		failures=$((failures + 1))
	}
}
offers "request" req
offers "request agent inspect verify keys ledger help version" ""
offers "verify version" help ver
offers "--at" verify --at
offers "--certificate --compat" verify --c
offers "--config" agent --c
offers "--once" agent -c x --o
offers "client" request --role c
offers "fizz" request --format f
offers "ed25519" request --new-key ed
offers "" request --url h
offers "prove" ledger pr
offers "csr check" keys c
cd "$src/src/client" || exit 1
offers "agent.conf.example" agent -c agent.conf.e
complete -p dcsign >/dev/null || failures=$((failures + 1))
# each option of each command that takes options is offered
for command in request agent inspect verify; do
	COMP_WORDS=("$build/src/client/dcsign" "$command" --)
	COMP_CWORD=2
	_dcsign
	[ ${#COMPREPLY[@]} -ge 2 ] || {
		echo "dcsign $command --: ${COMPREPLY[*]}" >&2
		failures=$((failures + 1))
	}
done
[ $failures -eq 0 ] || exit 1
