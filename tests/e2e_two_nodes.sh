#!/bin/bash
# Two nodes on one database behind HAProxy, as contrib/two-nodes.sh makes them: one is killed with -9
# under load, and comes back. Clients that repeat their request with its Idempotency-Key get one
# credential each, whichever node answers; a second signature is LATE; holds hold on both.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/postgres.sh"
pg_present
command -v haproxy >/dev/null || skip "haproxy is missing (Debian's package haproxy): two nodes were NOT tested"
e2e_begin
load=
SIGN1=

test_end() {
	touch "$WORK/stop"
	[ -z "$load" ] || wait "$load" 2>/dev/null
	sh "$TOP_SRCDIR/contrib/two-nodes.sh" --stop "$WORK/nodes"
	[ -z "$SIGN1" ] || end_process "$SIGN1"
}

export DCSIGND DCSIGN DCSIGN_SKIP_INSTALL=1
sh "$TOP_SRCDIR/contrib/two-nodes.sh" --keep "$WORK/nodes" >"$WORK/log" 2>&1 || fail "contrib/two-nodes.sh"
. "$WORK/nodes/env"
spki=$(dc_key P-256 "$WORK/out/dc")
: >"$WORK/got"

exported() {
	"$DCSIGN" ledger export >"$WORK/out/records" || fail "ledger export"
}
exported
for chain in sign1/main sign2/main; do
	for type in HELD RELEASED; do
		grep "\"type\":\"$type\"" "$WORK/out/records" | grep -q "\"chain\":\"$chain\"" || {
			# the copy in the other node's chain comes with its next group
			DCSIGN_URL=$DCSIGN_URL2 "$DCSIGN" request --public-key "$WORK/out/dc.pub" -o "$WORK/out/one" >/dev/null 2>&1
			exported
			grep "\"type\":\"$type\"" "$WORK/out/records" | grep -q "\"chain\":\"$chain\"" ||
				fail "there is no $type in $chain"
		}
	done
done

note "one Idempotency-Key on both nodes at once"
for n in $(seq 50); do
	/usr/bin/python3 "$TOP_SRCDIR/tests/postgres_load.py" --race "$DCSIGN_URL1" "$DCSIGN_URL2" "$WORK/nodes/pki" \
		"$WORK/got" "$spki" 20 || exit 1
	exported
	[ "$(records LATE)" -ge 1 ] && break
done
[ "$(records LATE)" -ge 1 ] || fail "no signature came late in 1000 races"

note "a node killed with -9 under load"
/usr/bin/python3 "$TOP_SRCDIR/tests/postgres_load.py" "$DCSIGN_URL" "$WORK/nodes/pki" "$WORK/stop" "$WORK/got" \
	"$spki" 6 &
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
grows 30
children=$(cat "/proc/$DCSIGN_PID1/task/$DCSIGN_PID1/children")
kill -KILL "$DCSIGN_PID1" $children
grows 30
env -u SOFTHSM2_CONF "$DCSIGND" -c "$WORK/nodes/sign1/dcsignd.conf" </dev/null >>"$WORK/log" 2>&1 &
SIGN1=$!
for n in $(seq 600); do
	curl -sf -o /dev/null --max-time 2 "$DCSIGN_MONITOR1/readyz" && break
	sleep 0.1
done
curl -sf -o /dev/null "$DCSIGN_MONITOR1/readyz" || fail "the node that was killed does not come back"
grows 20
touch "$WORK/stop"
wait "$load" || fail "the load"
load=

note "a hold set on one node while both serve"
hold() {
	curl -s -o "$WORK/out/body" -w '%{http_code}' --max-time 60 --cacert "$DCSIGN_CA" --cert "$DCSIGN_AUDITOR_CERT" \
		--key "$DCSIGN_AUDITOR_KEY" -H 'Content-Type: application/json' -d '{"reason":"drill"}' "$1/v1/keys/www/$2"
}
ask() {
	DCSIGN_URL=$1 "$DCSIGN" request --public-key "$WORK/out/dc.pub" -o "$WORK/out/two" >"$WORK/out/ask" 2>&1
}
[ "$(hold "$DCSIGN_URL1" hold)" = 200 ] || fail "hold: $(cat "$WORK/out/body")"
ask "$DCSIGN_URL2" && fail "sign2 issued on hold"
grep -q held "$WORK/out/ask" || fail "$(cat "$WORK/out/ask")"
[ "$(hold "$DCSIGN_URL2" release)" = 200 ] || fail "release: $(cat "$WORK/out/body")"
ask "$DCSIGN_URL1" || fail "$(cat "$WORK/out/ask")"
# an auditor gets the other node's head and records by either way
for url in "$DCSIGN_URL1" "$DCSIGN_URL2"; do
	for chain in sign1/main sign2/main; do
		status=$(curl -s -o "$WORK/out/body" -w '%{http_code}' --max-time 60 --cacert "$DCSIGN_CA" \
			--cert "$DCSIGN_AUDITOR_CERT" --key "$DCSIGN_AUDITOR_KEY" "$url/v1/ledger/checkpoint?chain=$chain")
		[ "$status" = 200 ] || fail "the checkpoint of $chain from $url: $status $(cat "$WORK/out/body")"
	done
done

end_process "$SIGN1"
SIGN1=
kill -TERM "$DCSIGN_PID2"
for n in $(seq 600); do
	[ "$(ps_state "$DCSIGN_PID2")" = gone ] && break
	sleep 0.1
done
LEDGER=$DCSIGN_LEDGER
ledger_verify
# with the verifier keys that were handed over: each node has its own
key1=$(sed -n 's|.*/sign1/main: .* verifier key ||p' "$WORK/out/verify")
key2=$(sed -n 's|.*/sign2/main: .* verifier key ||p' "$WORK/out/verify")
keys() { # STATUS OPTION...
	local status=0 expected=$1
	shift
	"$DCSIGN" ledger verify "$@" >"$WORK/out/verify" 2>&1 || status=$?
	[ "$status" = "$expected" ] || fail "verify $*: $status: $(cat "$WORK/out/verify")"
	status=0
	/usr/bin/python3 "$TOP_SRCDIR/tests/faults/verify_ledger.py" "$@" "$WORK/out/records" >"$WORK/out/second" || status=$?
	[ "$status" = "$expected" ] || fail "the second verifier, $*: $status: $(tail -n 5 "$WORK/out/second")"
}
keys 0
keys 0 --verifier-key "$key1" --verifier-key "$key2"
keys 1 --verifier-key "$key1"
/usr/bin/python3 "$TOP_SRCDIR/tests/postgres_load.py" --check "$WORK/out/records" "$WORK/got" || exit 1
note "$(records LATE) LATE, $(records UNKNOWN) UNKNOWN"
