#!/bin/bash
# mandoc finds nothing to say about the manual pages, and each option of a command that its
# help tells stands in its page.
set -u
src=${TOP_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
build=${TOP_BUILDDIR:-$PWD}
command -v mandoc >/dev/null || {
	echo "skipped: mandoc is missing (Debian: mandoc)"
	exit 77
}
failures=0
for page in "$src"/src/client/*.1 "$src"/src/ledger/*.8 "$src"/hsm/*.8 "$build"/src/dcsignd.8 \
	"$build"/src/dcsignd.conf.5; do
	# the other pages of this project are perhaps not installed
	mandoc -T lint "$page" 2>&1 | grep -v -e 'referenced manual not found' -e 'outdated mandoc.db' &&
		failures=$((failures + 1))
done
# documents PAGE COMMAND
documents()
{
	local option text
	text=$(mandoc -T utf8 "$src/src/client/$1" | sed 's/.\x08//g') || exit 1
	for option in $("$build/src/client/dcsign" help "$2" | grep -oE -- '--[a-z][a-z-]+' | sort -u); do
		grep -qE -- "$option\b" <<<"$text" || {
			echo "$1 does not document $option of dcsign $2" >&2
			failures=$((failures + 1))
		}
	done
}
commands='request agent inspect verify'
# these two run other programs, which a build without hooks looks for where it will be installed
grep -q '^#define DCSIGN_TEST_HOOKS 1' "$build/settings.h" && commands="$commands keys ledger"
for command in $commands; do
	DCSIGN_LIBEXECDIR=$build "$build/src/client/dcsign" help "$command" | grep -q '^Examples\?:' || {
		echo "dcsign help $command gives no example" >&2
		failures=$((failures + 1))
	}
done
documents dcsign.1 request
documents dcsign.1 inspect
documents dcsign.1 verify
documents dcsign-agent.1 agent
# every option of the configuration
names=$(grep -hoE '\.name = "[a-z_]+"' "$src/src/client/agent_conf_values.c" | cut -d'"' -f2 | sort -u)
[ "$(wc -w <<<"$names")" -gt 20 ] || failures=$((failures + 1))
for name in $names; do
	grep -qE "^\.I[tc].*\b$name\b" "$src/src/client/dcsign-agent.1" || {
		echo "dcsign-agent.1 does not document $name" >&2
		failures=$((failures + 1))
	}
done
[ $failures -eq 0 ] || exit 1
