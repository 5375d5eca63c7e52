#!/bin/bash
# `dcsign ledger archive` on a ledger that the service made over two days: what leaves it, what stays
# and why; heads, proofs and the start go on; both verifiers with and without the archive; a kill at
# each moment leaves the one state or the other; an archive that was changed is found out.
. "$(dirname "$0")/lib.sh"
e2e_begin
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || skip "python3-cryptography is missing"
preload=$TOP_BUILDDIR/tests/faults/wallclock.so
[ -e "$preload" ] || fail "$preload is not built"
token_and_pki
HEADS=$WORK/state/ledger/heads
CONF_EXTRA="checkpoint { every = 4 file = \"$HEADS\" }"
CONF_ENVIRONMENT=", \"LD_PRELOAD=$preload\", \"WALLCLOCK=$WORK/clocks\", \"ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0\""
echo '0 0 1' >"$WORK/clocks"
spki=$(dc_key P-256 "$WORK/out/dc")
json="{\"public_key\":\"$spki\"}"
DAYS=2
# The time of the first day's end.
noon() {
	date -u -d "+${1:-1} day" +%Y-%m-%dT%H:%M:%SZ
}
issue_some() { # HOW-MANY
	local n
	for n in $(seq "$1"); do
		[ "$(issue edge www "$json")" = 201 ] || fail "$(cat "$WORK/out/body")"
		member id >>"$WORK/out/ids"
	done
}
as_ledger() {
	if [ -n "$SEPARATE" ]; then
		setpriv --reuid "${E2E_UIDS[2]}" --regid "${E2E_UIDS[2]}" --clear-groups "$@"
	else
		"$@"
	fi
}
# archive NAME STATUS [ENVIRONMENT...]: of the ledger NAME into the file NAME.archive, DAYS later.
archive() {
	local name=$1 want=$2 status=0
	shift 2
	as_ledger env DCSIGN_LIBEXECDIR="$DCSIGN_LIBEXECDIR" LD_PRELOAD="$preload" WALLCLOCK="$WORK/clocks" \
		ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 "$@" "$DCSIGN" ledger archive \
		--ledger "$WORK/copies/$name/ledger.db" --before "$(noon)" --to "$WORK/copies/$name/old" \
		>"$WORK/out/archive" 2>&1 || status=$?
	[ "$status" = "$want" ] || fail "archive $name: $status: $(cat "$WORK/out/archive")"
}
copy() { # NAME
	cp -a "$WORK/state/." "$WORK/copies/$1"
}
# verified NAME STATUS WORDS [OPTION...]: by both verifiers.
verified() {
	local name=$1 want=$2 words=$3 status=0
	shift 3
	"$DCSIGN" ledger verify --ledger "$WORK/copies/$name/ledger.db" --checkpoint "$HEADS" "$@" >"$WORK/out/verify" 2>&1 || status=$?
	[ "$status" = "$want" ] || fail "$name $*: verify: $status, not $want: $(cat "$WORK/out/verify")"
	grep -q "$words" "$WORK/out/verify" || fail "$name: verify does not say \"$words\": $(cat "$WORK/out/verify")"
	status=0
	/usr/bin/python3 "$TOP_SRCDIR/tests/faults/verify_ledger.py" --checkpoint "$HEADS" "$@" \
		"$WORK/copies/$name/ledger.db" >"$WORK/out/second" 2>&1 || status=$?
	[ "$status" = "$want" ] || fail "$name $*: the second verifier: $status, not $want: $(cat "$WORK/out/second")"
}
reads() { # FILE COMMAND OPTION...: of the ledger whole
	local out=$1
	shift
	"$DCSIGN" ledger "$@" >"$WORK/out/$out" 2>"$WORK/out/$out.err" || fail "$*: $(cat "$WORK/out/$out.err")"
}

mkdir "$WORK/copies" && chmod 711 "$WORK/copies"
service_start
issue_some 6
[ "$(issue stranger www "$json")" = 403 ] || fail "a stranger: $(cat "$WORK/out/body")"
[ "$(api edge /v1/keys/www/credentials -H 'Content-Type: application/json' -H 'Idempotency-Key: one' -d "$json")" = 201 ] ||
	fail "$(cat "$WORK/out/body")"
service_stop
copy young
archive young 0
grep -q 'stay: of credentials that have not expired' "$WORK/out/archive" || fail "unexpired: $(cat "$WORK/out/archive")"
verified young 3 'are archived'
[ "$("$DCSIGN" ledger list --csv --ledger "$WORK/copies/young/ledger.db" 2>/dev/null | grep -c .)" = 8 ] ||
	fail "a credential that lives has left the ledger"

echo "$((DAYS * 86400000)) $((DAYS * 86400000)) 1" >"$WORK/clocks"
service_start
issue_some 5
service_stop
reads list list --csv --ledger "$LEDGER"
reads export export --ledger "$LEDGER"

for moment in written taken; do
	copy $moment
	archive $moment 137 DCSIGN_ARCHIVE_CUT=$moment
	verified $moment 0 'all as they must be'
	[ "$moment" = written ] || [ -s "$WORK/copies/$moment/old" ] || fail "$moment: there is no archive"
done
[ ! -e "$WORK/copies/written/old" ] || fail "written: there is an archive already"
archive written 0 # again, after the kill
verified written 0 'all as they must be' --archive "$WORK/copies/written/old"
archive taken 4
grep -q 'is there already' "$WORK/out/archive" || fail "$(cat "$WORK/out/archive")"
copy committed
archive committed 137 DCSIGN_ARCHIVE_CUT=committed
verified committed 3 'are archived'

copy whole
archive whole 0
cp "$WORK/out/archive" "$WORK/out/moved"
old=$WORK/copies/whole/old db=$WORK/copies/whole/ledger.db
grep -q 'are archived, [1-9][0-9]* of them left the ledger' "$WORK/out/moved" || fail "$(cat "$WORK/out/moved")"
grep -q 'stay: starts, keys' "$WORK/out/moved" || fail "$(cat "$WORK/out/moved")"
grep -q 'not expired' "$WORK/out/moved" && fail "what has expired stays: $(cat "$WORK/out/moved")"
verified whole 3 'are archived: their leaf hashes'
verified whole 0 'all as they must be' --archive "$old"
tail -n 1 "$old" | grep -q '"type":"CHECKPOINT"' || fail "no signed head ends the archive"
reads list2 list --csv --ledger "$db" --archive "$old"
reads export2 export --ledger "$db" --archive "$old"
cmp "$WORK/out/list" "$WORK/out/list2" && cmp "$WORK/out/export" "$WORK/out/export2" ||
	fail "with its archive the ledger reads otherwise"
reads list3 list --csv --ledger "$db"
grep -q 'records are archived: --archive reads them' "$WORK/out/list3.err" || fail "list does not say it: $(cat "$WORK/out/list3.err")"
[ "$(grep -c . "$WORK/out/list3")" = 6 ] || fail "list: $(cat "$WORK/out/list3")"
id=$(head -n 1 "$WORK/out/ids")
reads proof prove --id "$id" --ledger "$db"
reads proof2 prove --id "$id" --ledger "$db" --archive "$old"
reads proof3 prove --id "$id" --ledger "$LEDGER"
grep -q '"record":null' "$WORK/out/proof" || fail "prove: $(cat "$WORK/out/proof")"
cmp "$WORK/out/proof2" "$WORK/out/proof3" || fail "prove, with the archive: $(cat "$WORK/out/proof2")"

note "changed archives"
# change NAME PYTHON: of the lines of the archive
change() {
	/usr/bin/python3 -c "
import sys
lines = open(sys.argv[1], 'rb').read().splitlines(keepends=True)
n = next(i for i, l in enumerate(lines) if b'\"type\":\"ISSUED\"' in l)
$2
open(sys.argv[2], 'wb').write(b''.join(lines))" "$old" "$WORK/copies/$1"
	verified whole 1 "$3" --archive "$WORK/copies/$1"
}
change flip 'lines[n] = lines[n].replace(b"\"dc\":\"", b"\"dc\":\"B", 1)' 'leaf hash is not that\|no archive that was given has it'
change digit 'lines[n] = lines[n].replace(b"\"time\":1", b"\"time\":2", 1)' 'leaf hash is not that'
change drop 'del lines[n]' 'no archive that was given has it'
cp -a "$WORK/copies/whole" "$WORK/copies/more"
/usr/bin/python3 - "$WORK/copies/more/ledger.db" <<'END' || fail "sqlite3"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE records SET record = '' WHERE idx = (SELECT max(idx) FROM records)")
db.commit()
END
verified more 1 'no signed head covers it'

note "the service goes on"
cp -a "$WORK/copies/whole/." "$WORK/state"
service_start
issue_some 2
status=$(api auditor "/v1/credentials/$id")
[ "$status" = 404 ] || fail "an archived credential: $status $(cat "$WORK/out/body")"
status=0
as_ledger env DCSIGN_LIBEXECDIR="$DCSIGN_LIBEXECDIR" "$DCSIGN" ledger archive --ledger "$LEDGER" --before "$(noon)" \
	--to "$WORK/state/other" >"$WORK/out/archive" 2>&1 || status=$?
[ "$status" = 4 ] && grep -q 'another process holds' "$WORK/out/archive" || fail "while it runs: $status $(cat "$WORK/out/archive")"
service_stop
copy after
verified after 0 'all as they must be' --archive "$old"
rm "$WORK/copies/after/old"
archive after 0
grep -q 'nothing to archive' "$WORK/out/archive" && [ ! -e "$WORK/copies/after/old" ] || fail "twice: $(cat "$WORK/out/archive")"
