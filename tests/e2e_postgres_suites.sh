#!/bin/bash
# The suites of the ledger a second time, over the PostgreSQL engine.
set -u
. "$TOP_SRCDIR/tests/postgres.sh"
pg_present
# in memory where there is such a folder: these suites make many ledgers and cut no power
base=${TMPDIR:-/tmp}
[ -w /dev/shm ] && [ "$(df --output=avail -m /dev/shm | tail -n 1)" -gt 300 ] && base=/dev/shm
work=$(mktemp -d "$base/dcsign-pg.XXXXXX") || exit 99
chmod 711 "$work"
trap 'pg_stop QUIT; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
if ! pg_make "$work/pg"; then
	cat "$work/pg/initdb.log"
	exit 1
fi
pg_start && pg_database || exit 1
export DCSIGN_TEST_POSTGRES=$PG/run
failed=0
for suite in ${DCSIGN_TEST_SUITES:-store state commit holds heads answers archive postgres}; do
	"$TOP_BUILDDIR/tests/check_$suite" || failed=1
done
exit $failed
