#!/bin/bash
# The whole service on p11fault.so: a quiet run, then one with faults of the module and kill -9 of
# the process that holds the key. After each, the module's witness, the ledger and what the clients
# got are held against each other, and the ledger is verified by both verifiers.
. "$(dirname "$0")/../lib.sh"
e2e_begin
FAULTS=$TOP_SRCDIR/tests/faults
python=/usr/bin/python3
$python -c 'import cryptography' 2>/dev/null || skip "python3-cryptography is missing"
token_and_pki
mkdir "$WORK/spy" "$WORK/got"
: >"$WORK/spy/rules"
[ -z "$SEPARATE" ] || chown -R "${E2E_UIDS[1]}" "$WORK/spy"
CONF_MODULE=$TOP_BUILDDIR/tests/faults/p11fault.so
CONF_ENVIRONMENT=", \"P11FAULT_MODULE=$DEMO_MODULE\", \"P11FAULT_LOG=$WORK/spy/witness\", \"P11FAULT_CONTROL=$WORK/spy/rules\""
spki=$(dc_key P-256 "$WORK/out/dc")

rules() {
	printf '%s\n' "$@" >"$WORK/spy/rules.new" && mv "$WORK/spy/rules.new" "$WORK/spy/rules"
}

# ask NUMBER KEY: the answer goes to got/ when it is a credential. Prints the status.
ask() {
	local status
	status=$(curl -s --max-time 60 --cacert "$WORK/pki/ca.pem" --cert "$WORK/pki/edge.pem" \
		--key "$WORK/pki/edge.key" -H 'Content-Type: application/json' \
		-d "{\"public_key\":\"$spki\",\"lifetime\":$((600 + $1))}" -o "$WORK/got/$1.answer" \
		-w '%{http_code}' "$URL/v1/keys/$2/credentials")
	[ "$status" = 201 ] && mv "$WORK/got/$1.answer" "$WORK/got/$1.json"
	echo "$status"
}

reconciled() { # WHAT
	ledger_verify
	$python "$FAULTS/verify_ledger.py" "$WORK/state/ledger.db" >"$WORK/out/second" ||
		fail "$1: the second verifier: $(cat "$WORK/out/second")"
	$python "$FAULTS/verify_ledger.py" "$WORK/out/records" >"$WORK/out/third" ||
		fail "$1: the second verifier on the export: $(cat "$WORK/out/third")"
	$python "$FAULTS/reconcile.py" --ledger "$WORK/state/ledger.db" --witness "$WORK/spy/witness" \
		--clients "$WORK/got" --certificate "$WORK/pki/www.pem" --certificate "$WORK/pki/www384.pem" \
		--configuration "$WORK"/etc/written-* \
		>"$WORK/out/reconciled" || fail "$1: $(cat "$WORK/out/reconciled")"
	note "$1: $(cat "$WORK/out/reconciled")"
}

service_start
for n in $(seq 10); do
	[ "$(ask $n www)" = 201 ] || fail "$(cat "$WORK/got/$n.answer")"
	[ "$(ask $((n + 10)) www384)" = 201 ] || fail "$(cat "$WORK/got/$((n + 10)).answer")"
done
service_stop
[ "$(find "$WORK/got" -name '*.json' | wc -l)" = 20 ] || fail "20 credentials were issued, not $(ls "$WORK/got")"
reconciled "a quiet run"

# The same ledger goes on.
service_start
n=100
# recovers: asks until there is a credential, 60 s at most.
recovers() {
	local try status
	for try in $(seq 1200); do
		n=$((n + 1))
		status=$(ask $n www)
		[ "$status" = 201 ] && return
		echo "$status" >>"$WORK/out/refused"
		sleep 0.05
	done
	fail "no credential within 60 s: $(cat "$WORK/got/$n.answer")"
}

faulted() { # HOW-MANY RULE...
	local left=$1
	shift
	rules "$@"
	while [ "$left" -gt 0 ]; do
		recovers
		left=$((left - 1))
	done
}
faulted 6 'C_Sign flip count=1'
faulted 6 'C_Sign rv=0x6 count=2'
faulted 6 'C_Sign rv=0xb3 count=1' 'C_SignInit rv=0x90 count=1'
faulted 6 'C_Sign late=0x30 count=1'
faulted 6 'C_Sign foreign count=1' 'C_Sign other-octets skip=3 count=1'
faulted 6 'C_Sign length=63 count=1' 'C_Sign replay skip=2 count=1'
faulted 6 'C_Sign delay=100'
faulted 6 'C_Sign crash count=1'
for round in 1 2 3; do
	rules 'C_Sign delay=300 pct=50'
	asked=()
	for key in www www384 www; do
		n=$((n + 1))
		ask $n $key >"$WORK/out/status-$n" &
		asked+=($!)
	done
	sleep 0.1
	kill -KILL "$(child hsm)"
	wait "${asked[@]}"
	rules ''
	recovers
done
service_stop
reconciled "faults and kill -9"
[ "$(records ISSUED)" -ge 50 ] || fail "only $(records ISSUED) issued"
note "$(sort "$WORK/out/refused" | uniq -c | awk '{ printf "%s x %s, ", $1, $2 }')refused meanwhile"
