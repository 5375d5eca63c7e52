#!/bin/bash
# dcsign agent against a stand-in for the service: what it installs, when it renews, what it keeps,
# whom it tells, what it says.
set -u
src=${TOP_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
build=${TOP_BUILDDIR:-$PWD}
dcsign=$build/src/client/dcsign
. "$src/tests/fakes/service.sh"
fake_service || exit $?
trap 'fake_service_stop' EXIT
cd "$FAKE" || exit 1
failures=0
failed()
{
	echo "FAILED: $*" >&2
	failures=$((failures + 1))
}

# configure [OPTION...]: agent.conf with one credential, in which these lines stand too
configure()
{
	cat >agent.conf <<-EOC
		metrics = metrics.prom
		service main {
			url = { $urls }
			ca = ca.pem
			certificate = client.pem
			private_key = client.key
		}
		credential edge {
			service = main
			key = ${key:-www}
			output = dc
			$(printf '%s\n' "$@")
		}
	EOC
}

# once CODE TEXT [FILE]: one run must end with CODE and say TEXT ("" for nothing at all)
once()
{
	"$dcsign" agent -c "${3:-agent.conf}" --once >out 2>&1
	local got=$?
	cat out >>said
	[ $got -eq "$1" ] || failed "exit $got instead of $1: $(cat out)"
	if [ -z "$2" ]; then
		[ -s out ] && failed "said without need: $(cat out)"
	else
		grep -qF -- "$2" out || failed "\"$2\" is not said: $(cat out)"
	fi
}

silent_about() { ! grep -qF -- "$1" out || failed "\"$1\" is said: $(cat out)"; }
note() { sed -i --follow-symlinks "s/\"$1\": [0-9]*/\"$1\": $2/" dc/agent.json; }
due() { note renew_at 1; }
dc_id() { sed -n 's/.*"id": "\(.*\)".*/\1/p' dc/credential.json; }
count() { wc -l <"$1" 2>/dev/null || echo 0; }
metric() { sed -n "s/^dcsign_agent_$1{.*} //p" metrics.prom; }
control() { echo "${1:-{\}}" >control; }
whole()
{
	/usr/bin/python3 "$src/tests/interop/formats.py" dc server "$@" || failed "the set is not whole"
	"$dcsign" verify --certificate dc/chain.pem dc/credential.json >/dev/null || failed "the set"
}
urls="\"$DCSIGN_URL\""

echo "== the first set, and nothing to do after it"
configure 'formats = { raw, fizz, hex }' 'lifetime = 1000s'
once 0 'because="there is no credential yet"'
whole raw fizz hex
[ "$(count released)" = 1 ] || failed "$(count released) credentials are released"
first=$(dc_id)
once 0 ""
[ "$(dc_id)" = "$first" ] || failed "renewed without need"
left=$(($(metric not_after_seconds) - $(date +%s)))
[ $left -gt 980 ] && [ $left -le 1000 ] || failed "not_after_seconds: $left s are left"
[ "$(metric valid)" = 1 ] || failed "metric valid"
renew=$(($(metric renew_after_seconds) - $(date +%s)))
[ $renew -gt 380 ] && [ $renew -le 500 ] || failed "renewal in $renew s"
head -1 requests | grep -q '"lifetime":1000' || failed "the lifetime is not asked for"
grep -q PRIVATE requests && failed "a private key was sent"

echo "== renewal"
due
once 0 'because="half of its lifetime is over"'
[ "$(dc_id)" != "$first" ] || failed "not renewed"
whole raw fizz hex
[ "$(find dc -name '.set-*' | wc -l)" = 2 ] || failed "the previous set is not kept: $(ls -A dc)"
due
once 0 renewed
[ "$(find dc -name '.set-*' | wc -l)" = 2 ] || failed "old sets are not pruned: $(ls -A dc)"

echo "== the configuration, the certificate, a damaged set"
configure 'formats = { pem }' 'lifetime = 1000s' 'mode = 0640'
once 0 "the configuration asks for something else now"
[ "$(stat -Lc %a dc/key.pem)" = 640 ] || failed "mode"
[ ! -e dc/credential.dc ] || failed "a format that is not wished is still there"
configure 'formats = { raw }' 'lifetime = 1000s'
once 0 renewed
whole raw
control '{"certificate": 1}'
once 0 'because="the delegation certificate has changed"'
whole raw
once 0 ""
cp dc/key.pem key.kept
"$dcsign" request --new-key P-256 -o other >/dev/null && cat other/key.pem >"$(readlink -f dc/key.pem)"
once 0 "not the credential's key"
whole raw
rm "$(readlink -f dc/credential.dc)"
once 0 "a file of the set is missing"
whole raw

echo "== a lost answer: the retry is the same renewal"
due
control '{"certificate": 1, "lose": true}'
before=$(count released)
once 3 "the credential in place serves on"
once 3 "renewal failed"
[ "$(count released)" = $((before + 1)) ] || failed "a retry made another credential"
[ "$(stat -c %a dc/.pending)" = 600 ] || failed "mode of .pending"
control '{"certificate": 1}'
once 0 renewed
[ "$(count released)" = $((before + 1)) ] || failed "the answer is not the first one's"
grep csr requests | tail -3 | cut -d' ' -f2- | sort -u | grep -c csr | grep -qx 1 || failed "not the same octets"
[ "$(cut -d' ' -f2 released | tail -1)" = "$(sed -n 's/.*"public_key_sha256": "\(.*\)".*/\1/p' dc/credential.json)" ] ||
	failed "another key is installed"
whole raw
[ ! -e dc/.pending ] || failed ".pending is left"

echo "== outages are told louder and louder, and the last set stays"
control '{"drop": true}'
kept=$(dc_id)
due
once 3 "level=warning"
grep -q "the credential in place serves on" out || failed "first outage: $(cat out)"
note issued_at $(($(date +%s) - 4000))
once 3 "level=error"
grep -q "the credential ends soon" out || failed "later: $(cat out)"
note issued_at $(($(date +%s) - 20000))
once 3 "RENEWAL FAILS, the credential ends very soon"
[ "$(dc_id)" = "$kept" ] || failed "the last good set is gone"
[ "$(metric failures_in_a_row)" = 1 ] || failed "metric failures_in_a_row"
control
configure 'lifetime = 2s'
once 0 renewed
control '{"problem": 503}'
sleep 3
once 3 "NO VALID CREDENTIAL"
[ "$(metric valid)" = 0 ] || failed "an expired credential is called valid"
[ -e dc/credential.dc ] || failed "the set is gone"
control
configure 'lifetime = 1000s'
once 0 renewed

echo "== failover, but no refusal is taken elsewhere"
urls="\"https://localhost:1\", \"$DCSIGN_URL\""
configure 'lifetime = 1000s'
due
once 0 "no answer of use"
grep -q "credential renewed" out || failed "no failover: $(cat out)"
urls="\"$DCSIGN_URL\", \"https://localhost:1\""
for status in 429 503; do
	control "{\"problem\": $status}"
	configure 'lifetime = 1000s'
	due
	once 3 "localhost:1"
done
control '{"problem": 422}'
due
once 1 "422 test_problem"
silent_about "localhost:1"
control
urls="\"$DCSIGN_URL\""
key=html configure 'lifetime = 1000s'
once 4 "never gives"
for key in other-key bad-signature wrong-role over-long lies not-json; do
	configure 'lifetime = 1000s'
	once 4 "NO VALID CREDENTIAL"
	[ ! -e dc/.pending ] || failed "$key: would be asked again for ever"
done
key=www
configure 'lifetime = 1000s'
once 0 renewed

echo "== clocks"
control '{"skew": 600}'
due
once 0 "a clock is wrong"
grep -q "service_ahead_s=600" out || grep -q "service_ahead_s=59[0-9]" out || failed "$(cat out)"
whole raw
control '{"skew": -3600}'
due
once 4 "the clocks of $DCSIGN_URL and of this machine differ by -3"
whole raw
before=$(count released)
once 4 "it expired at"
[ "$(count released)" = "$before" ] || failed "a wrong clock uses up credentials"
control
rm dc/.pending
once 0 renewed

echo "== the issuer's chain"
configure 'lifetime = 1000s' 'issuer_ca = ca.pem'
due
once 0 renewed
configure 'lifetime = 1000s' 'issuer_ca = stranger-ca.pem'
due
once 4 "renewal failed"
whole raw

echo "== the server is told"
configure 'lifetime = 1000s' 'reload_command = { /bin/sh, "-c", "cat dc/credential.dc >>told; exit $(cat answer)" }'
echo 3 >answer
due
once 4 "ended with status 3"
[ "$(metric reload_pending)" = 1 ] || failed "metric reload_pending"
once 4 "attempt=1"
grep -q "credential renewed" out && failed "renewed again, only the reload was due"
echo 0 >answer
once 0 "server told"
once 0 ""
cat dc/credential.dc >now
tail -c "$(stat -c %s now)" told | cmp -s - now || failed "told before the set was in place"
configure 'lifetime = 1000s' 'reload_pid_file = server.pid' 'reload_signal = USR1'
/usr/bin/python3 -c '
import signal, time
signal.signal(signal.SIGUSR1, lambda *_: open("signalled", "w").close())
open("server.ready", "w").close()
time.sleep(600)' &
server=$!
echo $server >server.pid
for _ in $(seq 1200); do [ -e server.ready ] && break; sleep 0.05; done
due
once 0 "server told"
for _ in $(seq 1200); do [ -e signalled ] && break; sleep 0.05; done
[ -e signalled ] || failed "no signal came"
kill $server
wait $server 2>/dev/null
due
once 4 "server.pid"
chmod 666 server.pid
once 4 "writable by no one else"
echo 1 >server.pid
chmod 600 server.pid
once 4 "no process id"
rm dc/.reload
mkdir bin
printf '#!/bin/sh\necho "$@" >>systemctl.args\n' >bin/systemctl
chmod +x bin/systemctl
configure 'lifetime = 1000s' 'reload_unit = "edge.service"'
due
PATH=$FAKE/bin:$PATH once 0 "server told"
grep -qx -- "--no-ask-password reload -- edge.service" systemctl.args || failed "systemctl"

echo "== owner"
if [ "$(id -u)" = 0 ]; then
	configure 'lifetime = 1000s' 'owner = "65534"' 'group = "65533"' 'mode = 0640'
	once 0 renewed
	[ "$(stat -Lc %u:%g:%a dc/key.pem)" = 65534:65533:640 ] || failed "owner of key.pem"
	[ "$(stat -Lc %u:%g:%a dc/chain.pem)" = 65534:65533:644 ] || failed "owner of chain.pem"
	configure 'lifetime = 1000s'
	once 0 renewed
fi

echo "== one agent for a folder; several credentials"
/usr/bin/python3 -c '
import fcntl, sys, time
f = open("dc/.lock", "r+")
fcntl.flock(f, fcntl.LOCK_EX)
open("locked", "w").close()
time.sleep(600)' &
holder=$!
for _ in $(seq 1200); do [ -e locked ] && break; sleep 0.05; done
once 4 "another dcsign agent looks after this folder"
cat agent.conf - >two.conf <<EOC
credential second { service = main
	key = www
	output = "second"
	algorithm = P-384
	role = client
}
EOC
once 4 "credential=second" two.conf
[ -e second/key.pem ] || failed "the other credential waits for the locked one"
timeout 100 "$dcsign" agent -c agent.conf >out 2>&1
[ $? -eq 4 ] || failed "the daemon starts without its folder: $(cat out)"
kill $holder
wait $holder 2>/dev/null
once 0 "" two.conf

echo "== what is wrong in a configuration"
# wrong TEXT LINE...
wrong()
{
	local text=$1
	shift
	configure "$@"
	once 2 "$text"
}
wrong "no such option 'frob'" 'frob = 1'
wrong "stands here twice" 'mode = 0600' 'mode = 0600'
wrong "option 'lifetime' in credential 'edge': got '8d', expected a time" 'lifetime = 8d'
wrong "expected 0400, 0440, 0600 or 0640" 'mode = 0644'
wrong "expected one of ecdsa_secp256r1_sha256 (P-256)" 'algorithm = rsa'
wrong "expected one of server, client" 'role = both'
wrong "formats: raw, pem, hex, json, fizz" 'formats = { der }'
wrong "is an empty list" 'formats = { }'
wrong "fizz goes with algorithm ecdsa_secp256r1_sha256 alone" 'formats = { fizz }' 'algorithm = P-384'
wrong "a user of this machine" 'owner = "no such user"'
wrong "give one of reload_command" 'reload_unit = a' 'reload_pid_file = b'
wrong "path from the root" 'reload_command = { nginx }'
wrong "HUP, USR1, USR2 or WINCH" 'reload_signal = KILL'
wrong "variables of the environment" "reference = \"\${HOME}\""
wrong "string that begins here has no end" 'reference = "x'
wrong "a } is missing" '/* } */ { '
wrong "comment that begins here has no end" '/* x'
urls='"http://localhost"' wrong "expected https://host:port" ''
configure 'lifetime = 1000s'
sed -i 's/service = main/service = other/' agent.conf
once 2 "there is no service 'other'"
sed '/^credential/,$d' agent.conf >none.conf
once 2 "there is no section 'credential'" none.conf
configure 'lifetime = 1000s'
sed -i '/output/d' agent.conf
once 2 "option 'output' in credential 'edge' is missing"
once 2 "No such file" nowhere.conf
"$dcsign" agent --once 2>out
[ $? -eq 2 ] && grep -q -- "-c is missing" out || failed "no -c: $(cat out)"
"$dcsign" agent --help | grep -q "usage: dcsign agent" || failed "help"
sed "s|/var/lib/dcsign-agent|$FAKE|" "$src/src/client/agent.conf.example" >example.conf
once 3 "sign1.corp.example" example.conf

echo "== each machine has a moment of its own"
moments=$(sed -n 's/.*event="credential renewed".* renew_in_s=\([0-9]*\) .*/\1/p' said | awk '$1 > 100 && $1 < 600')
for moment in $moments; do
	[ "$moment" -ge 399 ] && [ "$moment" -le 500 ] || failed "a renewal in $moment of 1000 s"
done
[ "$(wc -w <<<"$moments")" -gt 10 ] && [ "$(sort -u <<<"$moments" | wc -l)" -gt 3 ] ||
	failed "no jitter: $moments"

echo "== the machine's clock is stepped"
lib=
for f in /usr/lib/*/faketime/libfaketimeMT.so.1; do
	[ -e "$f" ] && lib=$f
done
if [ -n "$lib" ]; then
	control
	configure 'lifetime = 1000s'
	echo +0 >step
	rm -f metrics.prom
	LD_PRELOAD=$lib FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME_NO_CACHE=1 FAKETIME_FORCE_MONOTONIC_FIX=0 \
		FAKETIME_TIMESTAMP_FILE=$FAKE/step ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 \
		"$dcsign" agent -c agent.conf >out 2>&1 &
	server=$!
	for _ in $(seq 600); do [ -e metrics.prom ] && break; sleep 0.1; done
	echo +300 >step
	for _ in $(seq 600); do
		grep -q "this machine's clock was stepped" out && break
		kill -0 $server 2>/dev/null || break
		sleep 0.1
	done
	kill $server
	wait $server 2>/dev/null
	grep -qE "this machine's clock was stepped.* seconds=(299|300|301) " out || failed "a step is not said: $(cat out)"
else
	echo "libfaketimeMT.so.1 is missing (Debian: faketime): not tried"
fi

[ $failures -eq 0 ] || {
	echo "$failures failures" >&2
	exit 1
}
