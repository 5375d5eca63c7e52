#!/bin/bash
# Coverage of the trusted core by the unit tests: `make coverage` prints lines and branches of each file
# and ends with 1 when less than 95 % of the branches of one were taken. A branch is what gcov counts without
# optimisation: each outcome of each condition, those of failing allocations included. Nothing is excluded.
set -u
build=$TOP_BUILDDIR/build-coverage
least=${COVERAGE_LEAST:-95}
suites="bounds basics dc policy pubkey vectors memory message record log state commit store store_faults holds
	ledgerd heads issue token module module_keys gate append hsm framing ledger_verify"
core='src/(dc|spki|pubkey|pubkey_[a-z]+|certificate|certificate_[a-z]+|policy|message|message_[a-z]+|record|record_[a-z]+|merkle|merkle_[a-z]+)
hsm/(issue|batch|decide|evidence|token|token_gate|token_index|token_key|token_sign|token_uri)
src/ledger/(commit|take|state)'

command -v gcovr >/dev/null || {
	echo "there is no gcovr here: sh contrib/packages.sh long"
	exit 1
}
mkdir -p "$build" && cd "$build" || exit 1
"$TOP_SRCDIR/configure" -q --enable-test-hooks CC=gcc CFLAGS='-O0 -g --coverage -fprofile-update=atomic' || exit 1
programs=
for s in $suites; do
	programs="$programs tests/check_$s"
done
# One after the other: all is made by a make of its own, and both would compile the same files at once.
{ make -s -j2 all && make -s -j2 tests/faults/p11fault.so tests/fakes/fake_module.so $programs; } >make.log 2>&1 || {
	tail -n 20 make.log
	exit 1
}
find . -name '*.gcda' -delete
rm -f a-conftest.gcno
export TOP_BUILDDIR=$build CK_DEFAULT_TIMEOUT=600
for s in $suites; do
	"tests/check_$s" >"check_$s.out" 2>&1 </dev/null || {
		echo "check_$s failed:"
		grep -v '^$' "check_$s.out" | tail -n 5
		exit 1
	}
done
filters=
for f in $core; do
	filters="$filters -f $TOP_SRCDIR/$f\\.c"
done
gcovr -r "$TOP_SRCDIR" --object-directory . $filters --json-summary summary.json 2>gcovr.err || {
	cat gcovr.err
	exit 1
}
# Counts that gcov leaves out would be zeros.
if grep -h 'stamp mismatch\|corrupt\|profiling error' gcovr.err check_*.out; then
	echo "the counts are not of this build"
	exit 1
fi
exec /usr/bin/python3 - "$least" <<'PY'
import json
import os
import sys

with open("summary.json") as f:
    summary = json.load(f)
row = "{:<34} {:>6} {:>6} {:>6}   {:>6} {:>6} {:>6}"


def show(name, s):
    print(row.format(name, s["line_total"], s["line_covered"], "%.1f" % s["line_percent"],
        s["branch_total"], s["branch_covered"], "%.1f" % s["branch_percent"]))


print(row.format("file", "lines", "run", "%", "branch", "taken", "%"))
for s in sorted(summary["files"], key=lambda s: s["filename"]):
    if s["branch_total"] == 0:
        s["branch_percent"] = 100.0
    show(s["filename"], s)
show("the trusted core", summary)
least = float(sys.argv[1])
counted = {os.path.basename(s["filename"]) for s in summary["files"]}
lost = [f for f in ("dc.c", "spki.c", "pubkey.c", "certificate.c", "policy.c", "message.c", "record.c", "merkle.c",
    "issue.c", "commit.c", "state.c", "token.c") if f not in counted]
if lost:
    sys.exit("nothing is known of " + ", ".join(lost))
few = [s["filename"] for s in summary["files"] if s["branch_percent"] < least]
if few:
    sys.exit("less than %g %% of the branches were taken of " % least + ", ".join(few))
PY
