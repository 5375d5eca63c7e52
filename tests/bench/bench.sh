#!/bin/bash
# Measures the service beside the floors that its figures are judged by, in one run: `make bench`.
#   BENCH_RUNS=3 BENCH_SECONDS=4   how often and how long each figure is measured
#   BENCH_ROWS="1 2 3 ..."         only these rows (see rows.py); the floors are always measured
#   BENCH_RECORDS=1000000          how many records the old ledger of rows 7 and 9 has; a DC is two
#   BENCH_DCS=1000000              after how many DCs memory is looked at (row 8)
#   BENCH_WARM_UP=1 BENCH_FLOOR_SECONDS=2 BENCH_REST=12
#   BENCH_JSON=FILE                the table as JSON, too
#   MODULE=... URI=... PIN_FILE=...  another PKCS#11 module and a P-256 key in it: rows 1 to 4 and 6; where it
#                                  needs them: MODULE_ARGS=..., MODULE_ENV="NAME=value;NAME=value" and
#                                  ACCEPT="local, ..." (accept_weak_key of the key's section). The users of
#                                  the service's processes are made up: the token must let uid 61712 in
# Needs a build with --enable-test-hooks and without sanitizers, on a machine that does nothing else.
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../lib.sh"
. "$here/parts.sh"
. "$here/../postgres.sh"
grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h" && {
	echo "bench: this build has sanitizers: configure one without them" >&2
	exit 1
}
warm_up=${BENCH_WARM_UP:-1}
runs=${BENCH_RUNS:-3} seconds=${BENCH_SECONDS:-4}
records=${BENCH_RECORDS:-1000000} dcs=${BENCH_DCS:-1000000}
rows=${BENCH_ROWS:-1 2 3 4 5 6 7 8 9 10 11}
[ -z "${MODULE-}" ] || rows=$(echo "$rows" | tr ' ' '\n' | grep -xE '1|2|3|4|6' | tr '\n' ' ')
e2e_begin
samples=$WORK/samples
: >"$samples"
CONF_POLICY='max_live = 100000000'
bench_token
bodies_make
wanted 10 && postgres_begin
for run in $(seq "$runs"); do
	note "run $run of $runs"
	floors
	wanted 1 2 3 4 6 11 && plain_rows
	wanted 5 && slow_module_row
	wanted 7 && growth_rows
	wanted 10 && [ -n "$PG_PID" ] && postgres_row
done
wanted 7 8 9 && age_rows
/usr/bin/python3 "$here/rows.py" "$samples" ${BENCH_JSON:+--json "$BENCH_JSON"} || fail "rows.py"
