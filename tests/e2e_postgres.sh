#!/bin/bash
# The service on PostgreSQL: what init gives and what it withholds; issuing, idempotency, holds; the
# server restarted with `immediate` under load; a stale replica in its place.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/postgres.sh"
pg_present
e2e_begin
load=

test_end() {
	touch "$WORK/stop"
	[ -z "$load" ] || wait "$load" 2>/dev/null
	pg_stop QUIT
}

pg_make "$WORK/pg" || fail "initdb: $(cat "$WORK/pg/initdb.log")"
pg_start && pg_database || fail "no database"

note "a database without a ledger, one that loses data, a password in the URL: refused"
token_and_pki
LEDGER=$(pg_url node)
PORT=$(demo_port) MONITOR_PORT=$(demo_port)

# refused TEXT: dcsignd must not start, and say this.
refused() {
	local status=0
	config_write
	timeout 200 env -u SOFTHSM2_CONF "$DCSIGND" -c "$WORK/etc/dcsignd.conf" </dev/null >"$WORK/log" 2>&1 || status=$?
	[ "$status" = 78 ] || fail "dcsignd ended with $status, not 78"
	# the end hit the hsm process in its login, perhaps; two in a row would hold the PIN back
	rm -f "$WORK"/state/hsm/pin-breaker.*
	grep -q "$1" "$WORK/log" || fail "it does not say: $1"
}
refused 'dcsign ledger init'
"$DCSIGN" ledger init --ledger "$(pg_url owner)" --writer node --reader auditor || fail "ledger init"
"$DCSIGN" ledger init --ledger "$(pg_url owner)" --writer node --reader auditor || fail "ledger init, again"
pg_sql postgres 'ALTER ROLE node SET synchronous_commit = off'
refused 'synchronous_commit = off'
pg_sql postgres 'ALTER ROLE node RESET synchronous_commit'
for setting in fsync full_page_writes; do
	pg_sql postgres "ALTER SYSTEM SET $setting = off" && pg_sql postgres 'SELECT pg_reload_conf()' >/dev/null
	for n in $(seq 600); do
		[ "$(pg_sql postgres "SHOW $setting")" = off ] && break
		sleep 0.1
	done
	refused "$setting = off"
	pg_sql postgres "ALTER SYSTEM RESET $setting" && pg_sql postgres 'SELECT pg_reload_conf()' >/dev/null
	for n in $(seq 600); do
		[ "$(pg_sql postgres "SHOW $setting")" = on ] && break
		sleep 0.1
	done
done
"$DCSIGN" ledger list --ledger 'postgresql://node:geheim@/dcsign' >"$WORK/out/list" 2>&1 &&
	fail "a password in a URL was taken"
grep -q passfile= "$WORK/out/list" || fail "it does not say what to do: $(cat "$WORK/out/list")"
! grep -q geheim "$WORK/out/list" || fail "the password is printed"

note "the role of a node adds records and changes none"
denied() {
	pg_sql dcsign "$1" "$2" 2>"$WORK/out/sql" && fail "$2 may: $1"
	grep -q 'permission denied' "$WORK/out/sql" || fail "$1: $(cat "$WORK/out/sql")"
}
for table in records nodes credentials hold_events; do
	denied "DELETE FROM dcsign.$table" node
	denied "TRUNCATE dcsign.$table" node
	denied "UPDATE dcsign.$table SET $([ $table = records ] && echo idx || echo "$([ $table = nodes ] && echo level || echo number)") = 1" node
done
pg_sql dcsign 'DROP TABLE dcsign.records' node 2>/dev/null && fail "node may drop the records"
denied "INSERT INTO dcsign.records VALUES ('x', 1, '{}', '')" auditor
[ "$(pg_sql dcsign 'SELECT count(*) FROM dcsign.records' auditor)" = 0 ] || fail "an auditor can't read"

note "issuing, idempotency, holds"
service_start
grep -q '^Seccomp:.2$' "/proc/$(child ledger)/status" || fail "dcsignd-ledger has no filter of system calls"
spki=$(dc_key P-256 "$WORK/out/dc")
ask="{\"public_key\":\"$spki\",\"lifetime\":600}"
[ "$(issue edge www "$ask")" = 201 ] || fail "$(cat "$WORK/out/body")"
for n in 1 2; do
	[ "$(api edge /v1/keys/www/credentials -H 'Content-Type: application/json' -H 'Idempotency-Key: one' -d "$ask")" = 201 ] ||
		fail "$(cat "$WORK/out/body")"
	ids[n]=$(member id)
done
[ "${ids[1]}" = "${ids[2]}" ] || fail "two credentials for one Idempotency-Key"
[ "$(api edge /v1/keys/www/credentials -H 'Content-Type: application/json' -H 'Idempotency-Key: one' -d "${ask/600/700}")" = 409 ] ||
	fail "another request under the same Idempotency-Key: $(cat "$WORK/out/body")"
[ "$(api auditor /v1/keys/www/hold -H 'Content-Type: application/json' -d '{"reason":"drill"}')" = 200 ] || fail "$(cat "$WORK/out/body")"
[ "$(issue edge www "$ask")" = 409 ] || fail "issued on hold"
[ "$(issue edge www384 "$ask")" = 201 ] || fail "$(cat "$WORK/out/body")"
[ "$(api auditor /v1/keys/www/release -H 'Content-Type: application/json' -d '{"reason":"over"}')" = 200 ] || fail "$(cat "$WORK/out/body")"
[ "$(issue edge www "$ask")" = 201 ] || fail "$(cat "$WORK/out/body")"
service_stop
ledger_verify
[ "$(records ISSUED)" = 4 ] || fail "$(records ISSUED) ISSUED"
for command in list live; do
	"$DCSIGN" ledger $command --ledger "$(pg_url auditor)" >"$WORK/out/$command" || fail "ledger $command"
done
[ "$(grep -c ' www ' "$WORK/out/live")" = 3 ] || fail "ledger live: $(cat "$WORK/out/live")"
"$DCSIGN" ledger prove --ledger "$(pg_url auditor)" --id "${ids[1]}" >"$WORK/out/prove" || fail "ledger prove"
/usr/bin/python3 "$TOP_SRCDIR/tests/faults/verify_ledger.py" "$WORK/out/records" >"$WORK/out/second" ||
	fail "the second verifier: $(tail -n 5 "$WORK/out/second")"

note "the server restarted with immediate, under load"
mkdir "$WORK/kept"
[ -z "$SEPARATE" ] || chown "${E2E_UIDS[2]}" "$WORK/kept"
CONF_EXTRA="checkpoint { file = \"$WORK/kept/heads\" every = 5 }"
pg_stop INT
cp -a "$PG/data" "$PG/stale"
pg_start || fail "the server does not start again"
service_start
pid=$(child ledger)
: >"$WORK/got"
/usr/bin/python3 "$TOP_SRCDIR/tests/postgres_load.py" "$URL" "$WORK/pki" "$WORK/stop" "$WORK/got" "$spki" &
load=$!
for round in 1 2; do
	before=$(wc -l <"$WORK/got")
	for n in $(seq 600); do
		[ "$(wc -l <"$WORK/got")" -ge $((before + 20)) ] && break
		sleep 0.1
	done
	[ "$(wc -l <"$WORK/got")" -ge $((before + 20)) ] || fail "no credentials in round $round"
	pg_stop QUIT
	[ "$round" != 2 ] || sleep 1
	pg_start || fail "the server does not start again"
done
before=$(wc -l <"$WORK/got")
for n in $(seq 600); do
	[ "$(wc -l <"$WORK/got")" -gt "$before" ] && break
	sleep 0.1
done
touch "$WORK/stop"
wait "$load" || fail "the load"
load=
[ "$(wc -l <"$WORK/got")" -gt "$before" ] || fail "nothing is issued after the server came back"
[ "$(child ledger)" = "$pid" ] || fail "the ledger process was born again"
grep -q 'the database is back' "$WORK/log" || fail "the log does not say that the database is back"

note "a stale replica in its place"
pg_stop INT
pg_start "$PG/stale" || fail "the replica does not start"
for n in $(seq 600); do
	grep -q LEDGER-BEHIND "$WORK/log" && break
	sleep 0.1
done
grep -q LEDGER-BEHIND "$WORK/log" || fail "the log does not say LEDGER-BEHIND"
stale=$(pg_sql dcsign 'SELECT count(*) FROM dcsign.records')
for n in 1 2 3; do
	[ "$(issue edge www "$ask")" = 503 ] || fail "issued on a stale replica: $(cat "$WORK/out/body")"
done
not_ready() {
	[ "$(curl -s -o /dev/null -w '%{http_code}' "$MONITOR/readyz")" = 503 ]
}
within_60s not_ready || fail "/readyz on a stale replica"
[ "$(pg_sql dcsign 'SELECT count(*) FROM dcsign.records')" = "$stale" ] || fail "records were added to a stale replica"
within_60s grep -q 'records_known' "$WORK/log" || fail "the log does not say how far behind it is"
pg_stop INT
pg_start || fail "the server does not start again"
for n in $(seq 600); do
	[ "$(issue edge www "$ask")" = 201 ] && break
	sleep 0.1
done
[ "$(issue edge www "$ask")" = 201 ] || fail "it does not go on with the right server: $(cat "$WORK/out/body")"
[ "$(child ledger)" = "$pid" ] || fail "the ledger process was born again"
service_stop
ledger_verify
/usr/bin/python3 "$TOP_SRCDIR/tests/faults/verify_ledger.py" "$WORK/out/records" >"$WORK/out/second" ||
	fail "the second verifier: $(tail -n 5 "$WORK/out/second")"
/usr/bin/python3 "$TOP_SRCDIR/tests/postgres_load.py" --check "$WORK/out/records" "$WORK/got" || exit 1

note "the way back when nothing but the stale replica is left"
pg_stop INT
pg_start "$PG/stale" || fail "the replica does not start"
refused 'fewer'
"$DCSIGN" ledger succeed --ledger "$LEDGER" --chain test/main --checkpoint "$WORK/kept/heads" \
	--reason 'the primary is lost, its replica lacked records' >"$WORK/out/succeed" ||
	fail "ledger succeed: $(cat "$WORK/out/succeed")"
service_start
[ "$(issue edge www "$ask")" = 201 ] || fail "nothing is issued after succeed: $(cat "$WORK/out/body")"
[ "$(member ledger.chain)" = test/main#2 ] || fail "issued in $(member ledger.chain)"
service_stop
"$DCSIGN" ledger verify --ledger "$LEDGER" --checkpoint "$WORK/kept/heads" >"$WORK/out/verify" ||
	fail "the ledger does not verify: $(cat "$WORK/out/verify")"
grep -q 'test/main#2 goes on for test/main, .* missing for ever' "$WORK/out/verify" ||
	fail "the gap is not told: $(cat "$WORK/out/verify")"

note "the same while the service runs: root says so over its socket"
pg_stop INT
cp -a "$PG/stale" "$PG/staler"
pg_start "$PG/stale" || fail "the replica does not start"
service_start
for n in 1 2 3; do
	[ "$(issue edge www "$ask")" = 201 ] || fail "before the replica: $(cat "$WORK/out/body")"
done
succeed() { # STATUS CHAIN
	local status=0
	"$DCSIGN" ledger succeed --state "$WORK/state" --chain "$2" --reason 'the primary burnt down' \
		>"$WORK/out/succeed" 2>&1 || status=$?
	[ "$status" = "$1" ] || fail "succeed $2: $status, not $1: $(cat "$WORK/out/succeed")"
}
succeed 4 test/main#2
grep -q 'no chain that LEDGER-BEHIND has stopped' "$WORK/out/succeed" || fail "$(cat "$WORK/out/succeed")"
: >"$WORK/log"
parent=$PID
pg_stop INT
pg_start "$PG/staler" || fail "the replica does not start"
for n in $(seq 600); do
	grep -q LEDGER-BEHIND "$WORK/log" && break
	sleep 0.1
done
succeed 4 test/main
succeed 0 test/main#2
grep -qx 'test/main#3 goes on for test/main#2' "$WORK/out/succeed" || fail "$(cat "$WORK/out/succeed")"
for n in $(seq 600); do
	[ "$(issue edge www "$ask")" = 201 ] && break
	sleep 0.1
done
[ "$(issue edge www "$ask")" = 201 ] || fail "nothing is issued after succeed: $(cat "$WORK/out/body")"
[ "$(member ledger.chain)" = test/main#3 ] || fail "issued in $(member ledger.chain)"
[ "$PID" = "$parent" ] && alive "$PID" || fail "dcsignd has ended"
service_stop
"$DCSIGN" ledger verify --ledger "$LEDGER" --checkpoint "$WORK/kept/heads" >"$WORK/out/verify" ||
	fail "the ledger does not verify: $(cat "$WORK/out/verify")"
grep -q 'test/main#3 goes on for test/main#2, .* missing for ever' "$WORK/out/verify" ||
	fail "the gap is not told: $(cat "$WORK/out/verify")"

note "old records into a file: not as a node, but as the owner"
"$DCSIGN" ledger export --ledger "$(pg_url auditor)" >"$WORK/out/before" || fail "ledger export"
archive() { # ROLE
	"$DCSIGN" ledger archive --ledger "$(pg_url "$1")" --before "$(date -u -d '+1 hour' +%Y-%m-%dT%H:%M:%SZ)" \
		--to "$WORK/out/old" >"$WORK/out/archive" 2>&1
}
archive node && fail "a node archives"
grep -q 'as the owner' "$WORK/out/archive" && [ ! -e "$WORK/out/old" ] || fail "archive as a node: $(cat "$WORK/out/archive")"
archive owner || fail "archive: $(cat "$WORK/out/archive")"
grep -q '[1-9][0-9]* of them left the ledger' "$WORK/out/archive" || fail "archive: $(cat "$WORK/out/archive")"
status=0
"$DCSIGN" ledger verify --ledger "$(pg_url auditor)" >"$WORK/out/verify" 2>&1 || status=$?
[ "$status" = 3 ] || fail "verify without the archive: $status $(cat "$WORK/out/verify")"
"$DCSIGN" ledger verify --ledger "$(pg_url auditor)" --archive "$WORK/out/old" --checkpoint "$WORK/kept/heads" \
	>"$WORK/out/verify" 2>&1 || fail "verify with the archive: $(cat "$WORK/out/verify")"
"$DCSIGN" ledger export --ledger "$(pg_url auditor)" --archive "$WORK/out/old" | cmp - "$WORK/out/before" ||
	fail "with its archive the ledger reads otherwise"
service_start
[ "$(issue edge www "$ask")" = 201 ] || fail "nothing is issued after archive: $(cat "$WORK/out/body")"
service_stop
