#!/bin/bash
# Drills for the day when a chain can't go on: a snapshot that was rolled back, a host that is lost, a
# damaged tail. Each time the service refuses to start and says why; `dcsign ledger succeed` opens a
# new chain that goes on for the old one; the service issues again; and both verifiers show the gap,
# then and after everything that follows.
. "$(dirname "$0")/lib.sh"
e2e_begin
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || skip "python3-cryptography is missing"
token_and_pki
DB=$WORK/state/ledger.db
HEADS=$WORK/state/ledger/heads
CONF_EXTRA="checkpoint { every = 4 file = \"$HEADS\" }"
spki=$(dc_key P-256 "$WORK/out/dc")

issue_some() { # HOW-MANY
	local n
	for n in $(seq "$1"); do
		[ "$(issue edge www "{\"public_key\":\"$spki\"}")" = 201 ] || fail "$(cat "$WORK/out/body")"
	done
}

# The ledger's own user runs what writes to it.
as_ledger() {
	if [ -n "$SEPARATE" ]; then
		setpriv --reuid "${E2E_UIDS[2]}" --regid "${E2E_UIDS[2]}" --clear-groups "$@"
	else
		"$@"
	fi
}

succeed() { # CHAIN REASON [OPTION...]
	local chain=$1 reason=$2
	shift 2
	as_ledger env DCSIGN_LIBEXECDIR="$DCSIGN_LIBEXECDIR" "$DCSIGN" ledger succeed --ledger "$LEDGER" \
		--chain "$chain" --reason "$reason" "$@" >"$WORK/out/succeed" 2>&1
}

# refuses WORDS: the daemon does not start, and says this.
refuses() {
	local status=0
	"$DCSIGND" -c "$WORK/etc/dcsignd.conf" </dev/null >"$WORK/out/refused" 2>&1 || status=$?
	[ "$status" = 78 ] || fail "dcsignd ended with $status: $(cat "$WORK/out/refused")"
	grep -q "$1" "$WORK/out/refused" || fail "not \"$1\": $(cat "$WORK/out/refused")"
	cat "$WORK/out/refused" >>"$WORK/log"
}

# shows STATUS WORDS: what both verifiers say of the stopped ledger.
shows() {
	local status=0
	"$DCSIGN" ledger verify --ledger "$LEDGER" >"$WORK/out/verify" 2>&1 || status=$?
	[ "$status" = "$1" ] || fail "verify: $status: $(cat "$WORK/out/verify")"
	grep -q "$2" "$WORK/out/verify" || fail "verify does not say \"$2\": $(cat "$WORK/out/verify")"
	status=0
	/usr/bin/python3 "$TOP_SRCDIR/tests/faults/verify_ledger.py" "$DB" >"$WORK/out/second" 2>&1 || status=$?
	[ "$status" = "$1" ] || fail "the second verifier: $status: $(cat "$WORK/out/second")"
	grep -q "$2" "$WORK/out/second" || fail "the second verifier does not say \"$2\": $(cat "$WORK/out/second")"
}

service_start
issue_some 2
service_stop

# ---- a snapshot that was rolled back ----
cp -a "$WORK/state" "$WORK/snapshot"
service_start
issue_some 3
service_stop
cp -a "$HEADS" "$WORK/out/heads"
known=$(sed -n 2p "$HEADS")
rm -rf "$WORK/state" && cp -a "$WORK/snapshot" "$WORK/state"
cp -a "$WORK/out/heads" "$HEADS" # the notes were kept elsewhere
refuses 'has fewer'
succeed test/main 'restored from the snapshot' --checkpoint "$HEADS" || fail "$(cat "$WORK/out/succeed")"
grep -q '^test/main#2 goes on for test/main$' "$WORK/out/succeed" || fail "$(cat "$WORK/out/succeed")"
succeed test/main 'once more' && fail "a closed chain was closed again"
grep -q 'closed already' "$WORK/out/succeed" || fail "$(cat "$WORK/out/succeed")"
service_start
issue_some 2
chain=$(member ledger.chain)
[ "$chain" = 'test/main#2' ] || fail "issued into $chain"
service_stop
shows 0 "test/main#2 goes on for test/main, of which $known records were known"
note "a rolled-back snapshot: $(grep 'goes on' "$WORK/out/second")"
# it shows for ever, after further starts, too
service_start
issue_some 1
service_stop
shows 0 'are missing for ever'

# ---- a damaged tail ----
/usr/bin/python3 - "$DB" <<'PY'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
last = db.execute("SELECT max(idx) FROM records WHERE chain = 'test/main#2'").fetchone()[0]
db.execute("UPDATE records SET record = replace(record, 'test/main', 'test/mail') WHERE chain = 'test/main#2' AND idx = ?", (last - 1,))
db.commit()
PY
refuses 'test/main#2, record'
succeed 'test/main#2' 'the tail was damaged' || fail "$(cat "$WORK/out/succeed")"
service_start
issue_some 2
[ "$(member ledger.chain)" = 'test/main#3' ] || fail "issued into $(member ledger.chain)"
service_stop
shows 1 'test/main#3 goes on for test/main#2 after'
grep -q 'test/main#2.*record' "$WORK/out/verify" || fail "the damaged record is not shown: $(cat "$WORK/out/verify")"
note "a damaged tail: $(grep 'goes on' "$WORK/out/second" | tail -n 1)"

# ---- a host that is lost: only the notes are left ----
cp -a "$HEADS" "$WORK/out/heads"
rm -rf "$WORK/state"
mkdir -m 711 "$WORK/state"
mkdir -m 700 "$WORK/state/ledger"
cp "$WORK/out/heads" "$HEADS"
[ -z "$SEPARATE" ] || chown -R "${E2E_UIDS[2]}" "$WORK/state"
refuses 'did not sign'
rm "$HEADS" # its key is lost, too: the notes are evidence for auditors
succeed 'test/main#3' 'the host burnt down' --checkpoint "$WORK/out/heads" || fail "$(cat "$WORK/out/succeed")"
service_start
issue_some 2
[ "$(member ledger.chain)" = 'test/main#4' ] || fail "issued into $(member ledger.chain)"
service_stop
shows 0 'from 0 on, are missing for ever'
note "a lost host: $(grep 'goes on' "$WORK/out/second")"
