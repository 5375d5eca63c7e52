#!/bin/bash
# dcsign agent as a witness of the ledger: against a stand-in for the service whose ledger is put back,
# rewritten, forked, signed by another, without a credential, or silent; then against the service
# itself, whose ledger is put back from an older copy.
. "$(dirname "$0")/lib.sh"
src=$TOP_SRCDIR
. "$src/tests/fakes/service.sh"
fake_service || exit $?
WORK=
test_end() { fake_service_stop; }
trap e2e_end EXIT
cd "$FAKE" || exit 1

# configure FOLDER [LINE-OF-THE-SERVICE]
configure() {
	cat >agent.conf <<-END
		metrics = metrics.prom
		service main {
			url = { "$DCSIGN_URL" }
			ca = "$DCSIGN_CA"
			certificate = "$DCSIGN_CERT"
			private_key = "$DCSIGN_KEY"
			${2-}
		}
		credential edge {
			service = main
			key = www
			output = $1
			lifetime = 1000s
		}
	END
	folder=$1
}
# once CODE TEXT: one run must end with CODE and say TEXT ("" for nothing at all)
once() {
	local got=0
	"$DCSIGN" agent -c agent.conf --once >out 2>&1 || got=$?
	[ $got = "$1" ] || fail "exit $got instead of $1: $(cat out)"
	if [ -z "$2" ]; then
		[ ! -s out ] || fail "said without need: $(cat out)"
	else
		grep -qF -- "$2" out || fail "\"$2\" is not said: $(cat out)"
	fi
}
due() { sed -i --follow-symlinks 's/"renew_at": [0-9]*/"renew_at": 1/' "$folder/agent.json"; }
metric() { sed -n "s/^dcsign_agent_$1{.*} //p" metrics.prom; }
control() { echo "$1" >control; }
head_size() { sed -n 's/.*"note": "[^\\]*\\n\([0-9]*\)\\n.*/\1/p' "$folder/.ledger"; }
dc_id() { sed -n 's/.*"id": "\(.*\)".*/\1/p' "$folder/credential.json"; }

note "the ledger grows: each renewal has it proved"
configure good
once 0 renewed
[ "$(head_size)" = 4 ] || fail "the first head: $(cat good/.ledger)"
[ "$(metric ledger_alarm)" = 0 ] && [ "$(metric ledger_size_records)" = 4 ] || fail "metrics: $(cat metrics.prom)"
[ "$(stat -c %a good/.ledger)" = 600 ] || fail "the mode of .ledger"
first=$(dc_id)
due
once 0 renewed
! grep -q ledger out || fail "the ledger is complained about: $(cat out)"
grep -q "/v1/ledger/proof?id=$first " requests || fail "the credential before was not asked for"
grep -q "/v1/ledger/consistency?chain=test/main&from=4&to=6 " requests || fail "no consistency was asked for"
[ "$(head_size)" = 6 ] || fail "the head does not go on: $(cat good/.ledger)"
for _ in 1 2 3; do
	due
	once 0 renewed
	! grep -q ledger out || fail "the ledger is complained about: $(cat out)"
done
[ "$(head_size)" = 12 ] || fail "the head does not go on: $(cat good/.ledger)"
[ $(($(date +%s) - $(metric ledger_checked_seconds))) -lt 100 ] || fail "metric ledger_checked_seconds"

note "no answer is no alarm, and is not forgotten"
for wrong in silent garbage; do
	control "{\"ledger\": \"$wrong\"}"
	due
	once 0 "the ledger did not prove what it was asked for"
	grep -q "credential renewed" out || fail "$wrong stops the renewal: $(cat out)"
	[ "$(metric ledger_alarm)" = 0 ] || fail "$wrong is an alarm"
	[ "$(head_size)" = 12 ] || fail "$wrong changes what is kept"
done
control '{}'
due
once 0 renewed
! grep -q "did not prove" out || fail "$(cat out)"

# alarms WRONG TEXT: the renewal is done, and the alarm stands until .ledger is removed
alarms() {
	note "   $1"
	rm -rf now && cp -a good now && folder=now
	configure now "${key_line-}"
	control '{}'
	due
	once 0 renewed
	control "{\"ledger\": \"$1\"}"
	due
	once 5 "ALARM: THE LEDGER IS NOT WHAT IT WAS"
	grep -qF -- "$2" out || fail "$1: \"$2\" is not said: $(cat out)"
	grep -q "level=error.*ALARM" out || fail "$1: not an error: $(cat out)"
	grep -q "credential renewed" out || fail "$1: not renewed: $(cat out)"
	[ "$(metric ledger_alarm)" = 1 ] || fail "$1: metric ledger_alarm"
	control '{}'
	once 5 "$2"
	due
	once 5 "$2"
	rm now/.ledger
	due
	once 0 renewed
	[ "$(metric ledger_alarm)" = 0 ] || fail "$1: the alarm stays without .ledger"
}
note "what is an alarm"
alarms gone "is not in the ledger"
alarms rewritten "are not a part of the"
alarms without "is not in the ledger"
alarms key "signed by another ledger's key than before"
alarms origin "signed by another ledger's key than before"
alarms liar "is not in the ledger as it was issued"
alarms old "which is in use, is not in the ledger"
# The credential is so old that it is there: then the number of records shows it.
configure good
control '{}'
due
once 0 renewed
cp good/.current/credential.json older.json
for _ in 1 2 3; do
	due
	once 0 renewed
done
cat older.json >"$(readlink -f good/credential.json)"
# not the key's any more, so renewed at once
control '{"ledger": "old"}'
once 5 "an older copy was put back"
rm -rf good
configure good
control '{}'
once 0 renewed

note "with the verifier key in the configuration"
another_vkey=$(cat ledger.vkey)
configure good "ledger_key = \"$another_vkey\""
due
once 0 renewed
key_line="ledger_key = \"$another_vkey\""
alarms broken "is not by ledger_key"
alarms key "is not by ledger_key"
unset key_line
configure good 'ledger_key = "fake.example+00000000+AAAA"'
once 2 "a verifier key"

note "what is kept can't be read"
configure good
echo '{' >good/.ledger
once 5 ".ledger can't be read"
rm good/.ledger
due
once 0 renewed
fake_service_stop
FAKE=

note "the service itself: its ledger is put back from an older copy"
unset DCSIGN_URL DCSIGN_CA DCSIGN_CERT DCSIGN_KEY
e2e_begin
mkdir "$WORK/agent" && cd "$WORK/agent" || exit 1
token_and_pki
service_start
real() {
	DCSIGN_URL=$URL DCSIGN_CA=$WORK/pki/ca.pem DCSIGN_CERT=$WORK/pki/edge.pem DCSIGN_KEY=$WORK/pki/edge.key \
		configure dc "${1-}"
}
real
once 0 renewed
if ! [ -e dc/.ledger ] || [ -z "$(head_size)" ]; then
	[ "$(api edge /v1/ledger/checkpoint?chain=test/main)" = 404 ] || fail "no head is kept: $(cat out)"
	skip "this service has no /v1/ledger yet"
fi
! grep -q "did not prove" out || fail "$(cat out)"
one=$(head_size)
due
once 0 renewed
! grep -q "ledger" out || fail "$(cat out)"
[ "$(head_size)" -gt "$one" ] || fail "the head does not go on"
service_stop
# As its auditor tells it: the verifier key, to be put into agents' configurations.
"$DCSIGN" ledger verify --ledger "$LEDGER" >"$WORK/out/verify" 2>&1 || fail "$(cat "$WORK/out/verify")"
vkey=$(grep -oE 'test\.dcsign\.example[^ ]*\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+' "$WORK/out/verify" | head -n 1)
[ -n "$vkey" ] || fail "dcsign ledger verify tells no verifier key: $(cat "$WORK/out/verify")"
cp -a "$WORK/state" "$WORK/older"
service_start
real "ledger_key = \"$another_vkey\""
due
once 5 "is not by ledger_key"
rm dc/.ledger
# of the nodes of a service each has its own
real "ledger_key = { \"$another_vkey\", \"$vkey\" }"
for _ in 1 2; do
	due
	once 0 renewed
	! grep -q "ledger" out || fail "$(cat out)"
done
service_stop
rm -r "$WORK/state"
mv "$WORK/older" "$WORK/state"
service_start
real "ledger_key = \"$vkey\""
due
once 5 "ALARM: THE LEDGER IS NOT WHAT IT WAS"
grep -q "credential renewed" out || fail "the renewal was stopped: $(cat out)"
[ "$(metric ledger_alarm)" = 1 ] || fail "metric ledger_alarm"
note "$(sed -n 's/.*detail=//p' out | head -n 1)"
service_stop
