#!/bin/bash
# The database's disk is full, under load: the records' tablespace lies on a small file system of its
# own (a mount: root alone can do that). Nothing is signed without its record, the ledger process
# stays, what was under way gets its outcome when there is room, and the clients their credentials.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/postgres.sh"
pg_present
[ "$(id -u)" = 0 ] || skip "only root can mount a small file system: a full disk under PostgreSQL was NOT tested"
e2e_begin
load=
mounted=

test_end() {
	touch "$WORK/stop"
	[ -z "$load" ] || wait "$load" 2>/dev/null
	pg_stop QUIT
	[ -z "$mounted" ] || umount -l "$mounted"
}

pg_make "$WORK/pg" || fail "initdb: $(cat "$WORK/pg/initdb.log")"
mkdir "$PG/small"
mount -t tmpfs -o size=8m,mode=711 dcsign-test "$PG/small" 2>"$WORK/out/mount" ||
	skip "mount: $(cat "$WORK/out/mount"): a full disk under PostgreSQL was NOT tested"
mounted=$PG/small
mkdir "$PG/small/space"
chown "$PG_USER" "$PG/small/space"
pg_start && pg_database || fail "no database"
pg_sql postgres "CREATE TABLESPACE small LOCATION '$PG/small/space'" || fail "no tablespace"
"$DCSIGN" ledger init --ledger "$(pg_url owner)" --writer node --reader auditor || fail "ledger init"
pg_sql dcsign 'ALTER TABLE dcsign.records SET TABLESPACE small' || fail "the records can't be moved"
token_and_pki
LEDGER=$(pg_url node)
service_start
pid=$(child ledger)
spki=$(dc_key P-256 "$WORK/out/dc")
: >"$WORK/got"
/usr/bin/python3 "$TOP_SRCDIR/tests/postgres_load.py" "$URL" "$WORK/pki" "$WORK/stop" "$WORK/got" "$spki" &
load=$!

# grows COUNT: so many credentials more.
grows() {
	local n before
	before=$(wc -l <"$WORK/got")
	for n in $(seq 600); do
		[ "$(wc -l <"$WORK/got")" -ge $((before + $1)) ] && return
		sleep 0.1
	done
	fail "no credentials come: $(wc -l <"$WORK/got") after $before"
}

for round in 1 2; do
	grows 10
	note "the disk is full, round $round"
	: >"$WORK/log"
	dd if=/dev/zero of="$PG/small/filler" bs=4096 2>/dev/null
	for n in $(seq 600); do
		grep -q 'the database is lost' "$WORK/log" && grep -q 'No space left on device' "$PG/log" && break
		sleep 0.1
	done
	grep -q 'the database is lost' "$WORK/log" || fail "the log does not say that nothing can be written"
	grep -q 'No space left on device' "$PG/log" || fail "the disk is not full"
	# what is free in a page may still take a record or two
	refused=0
	for n in $(seq 300); do
		if [ "$(issue edge www "{\"public_key\":\"$spki\"}")" = 503 ]; then
			refused=$((refused + 1))
		else
			refused=0
		fi
		[ "$refused" -lt 5 ] || break
	done
	[ "$refused" = 5 ] || fail "credentials come on a full disk: $(cat "$WORK/out/body")"
	rm "$PG/small/filler"
done
grows 10
touch "$WORK/stop"
wait "$load" || fail "the load"
load=
[ "$(child ledger)" = "$pid" ] || fail "the ledger process was born again"
service_stop
ledger_verify
/usr/bin/python3 "$TOP_SRCDIR/tests/faults/verify_ledger.py" "$WORK/out/records" >"$WORK/out/second" ||
	fail "the second verifier: $(tail -n 5 "$WORK/out/second")"
/usr/bin/python3 "$TOP_SRCDIR/tests/postgres_load.py" --check "$WORK/out/records" "$WORK/got" || exit 1
