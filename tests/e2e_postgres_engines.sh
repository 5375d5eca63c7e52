#!/bin/bash
# The same ledger in SQLite and in PostgreSQL: what `dcsign ledger` says of both is the same, octet by
# octet (tests/faults/same_engines.py). One ledger is made by the service, the others in the test.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/postgres.sh"
pg_present
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || skip "python3-cryptography is missing"
e2e_begin

test_end() {
	pg_stop QUIT
}

pg_make "$WORK/pg" || fail "initdb: $(cat "$WORK/pg/initdb.log")"
pg_start && pg_database || fail "no database"
token_and_pki
mkdir "$WORK/kept"
[ -z "$SEPARATE" ] || chown "${E2E_UIDS[2]}" "$WORK/kept"
CONF_EXTRA="checkpoint { every = 4 file = \"$WORK/kept/heads\" }"
service_start
spki=$(dc_key P-256 "$WORK/out/dc")
for n in 1 2 3 4 5 6 7 8; do
	[ "$(issue edge www "{\"public_key\":\"$spki\",\"lifetime\":$((3600 + n))}")" = 201 ] || fail "$(cat "$WORK/out/body")"
done
[ "$(api edge /v1/keys/www/credentials -H 'Content-Type: application/json' -H 'Idempotency-Key: one' \
	-d "{\"public_key\":\"$spki\"}")" = 201 ] || fail "$(cat "$WORK/out/body")"
[ "$(issue stranger www "{\"public_key\":\"$spki\"}")" = 403 ] || fail "a stranger: $(cat "$WORK/out/body")"
[ "$(api auditor /v1/keys/www/hold -H 'Content-Type: application/json' -d '{"reason":"drill"}')" = 200 ] || fail "$(cat "$WORK/out/body")"
[ "$(issue edge www "{\"public_key\":\"$spki\"}")" = 409 ] || fail "issued on hold"
service_stop
export PG_BIN
/usr/bin/python3 -W ignore "$TOP_SRCDIR/tests/faults/same_engines.py" "$PG/run" "$(pg_url owner)" "$(pg_url auditor)" \
	"$WORK/state/ledger.db" "$WORK/kept/heads" || fail "the engines differ"
