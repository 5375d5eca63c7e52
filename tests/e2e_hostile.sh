#!/bin/bash
# A taken-over api: tests/fakes/hostile_api in the place of dcsignd-api speaks to the real dcsignd-hsm
# and dcsignd-ledger, for 20 s, or 300 s with DCSIGN_TESTS=long: messages that are right, replayed, in
# no order, with each of their fields at and beyond its limits, truncated, followed, oversized, of other
# channels, with bits turned over. What was signed is what the policy allows and the ledger has, no
# process dies by a signal, and the service issues afterwards.
# usage: e2e_hostile.sh [SEED]
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
token_and_pki
faults_prepare
seconds=20 deaths=3
[ "${DCSIGN_TESTS-}" != long ] || seconds=300 deaths=50
seconds=${DCSIGN_HOSTILE_SECONDS:-$seconds}
seed=${1:-$(($(date +%s%N) % 1000000))}
note "seed $seed"
service_start # finds free ports, and shows that all is well
service_stop

mkdir -p "$WORK/tree/api" "$WORK/tree/src"
ln -s "$TOP_BUILDDIR/hsm" "$WORK/tree/hsm"
ln -s "$TOP_BUILDDIR/src/ledger" "$WORK/tree/src/ledger"
ln -s "$TOP_BUILDDIR/tests/fakes/hostile_api" "$WORK/tree/api/dcsignd-api"
[ -z "$SEPARATE" ] || chown "${E2E_UIDS[0]}" "$WORK/got"
: >"$WORK/log"
service_spawn DCSIGN_LIBEXECDIR="$WORK/tree" DCSIGN_TEST_HOSTILE="$WORK/got" DCSIGN_TEST_SEED="$seed" \
	DCSIGN_TEST_SPKI="$SPKI"
# count PATTERN: lines of the tally
count() { grep -cE -- "$1" "$WORK/got/tally" 2>/dev/null; }
granted() { awk '$2 == "answers" {n += $5} END {print n + 0}' "$WORK/got/tally" 2>/dev/null; }
# At least so long, and until it has done what it is here for, however busy the machine is.
begun=$SECONDS
until [ $((SECONDS - begun)) -ge "$seconds" ] && [ "$(count '^closed hsm .')" -ge $deaths ] &&
	[ "$(count '^closed ledger .')" -ge $deaths ] && [ "$(granted)" -ge 20 ]; do
	alive "$PID" || fail "dcsignd ended"
	[ $((SECONDS - begun)) -lt $((seconds + 400)) ] || fail "too little came about: $(sort "$WORK/got/tally" | uniq -c)"
	sleep 0.5
done
service_stop
! grep FAIL "$WORK/got/tally" || fail "see above (seed $seed)"
# 15: who is born while the parent stops ends by its SIGTERM; nobody else sends that one
! grep -P 'Sanitizer|runtime error|signal=(?!0 |15 )' "$WORK/log" || fail "a crash (seed $seed)"
# what it says must not make its neighbours break their word to each other, or the ledger unwritable
broken="event=\"(malformed answer of the ledger|the ledger can't be written)|malformed message\" detail=\"?(main|dcsignd)"
! grep -E "$broken" "$WORK/log" || fail "a neighbour was misled (seed $seed)"
for who in hsm ledger; do
	refused=$(grep -cE "program=dcsignd-$who event=\"(a neighbour sent a )?malformed message" "$WORK/log")
	[ "$refused" -le "$(count "^sent $who ")" ] || fail "dcsignd-$who calls right messages malformed (seed $seed)"
done
cat "$WORK/log" >"$WORK/out/hostile-log"

service_start
status=$(issue edge www "{\"public_key\":\"$SPKI\"}") # www384 it may have put on hold: it says who asks
[ "$status" = 201 ] || fail "no credential afterwards: $(cat "$WORK/out/body") (seed $seed)"
service_stop
faults_reconcile
/usr/bin/python3 "$TOP_SRCDIR/tests/faults/verify_ledger.py" "$WORK/state/ledger.db" >"$WORK/out/second" ||
	fail "the second verifier: $(cat "$WORK/out/second") (seed $seed)"
note "$(count '^sent') bent messages, $(granted) credentials, $(count '^closed hsm') ends of hsm, $(count '^closed ledger') of ledger, $(cat "$WORK/got/life") of the api"
