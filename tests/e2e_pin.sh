#!/bin/bash
# A wrong PIN with a token that locks it after three tries: one C_Login fails, whatever is born again
# how often; the right PIN is taken without a reset. And the PIN lies nowhere where it does not belong:
# files, memory and cores of every process are searched, by a search that finds one that was planted.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
token_and_pki
faults_prepare
pin=$(cat "$WORK/hsm/pin")
printf 'C_Login locked\nC_GetTokenInfo locked\n' >"$RULES"

logins() { # RV: how many C_Login ended so
	grep ' fn=C_Login ' "$WITNESS" | grep -c " rv=$1"
}

# Waits until the process that holds the keys says that it has no login.
no_login() {
	local n
	for n in $(seq 600); do
		curl -s --max-time 2 "$MONITOR/readyz" | grep -q 'PIN' && child hsm >/dev/null && return
		sleep 0.1
	done
	fail "/readyz does not tell of the PIN: $(curl -s "$MONITOR/readyz")"
}

# hsm_dies N: so often the hsm process is killed, and another one is born.
hsm_dies() {
	local round n old now
	for round in $(seq "$1"); do
		old=$(child hsm)
		kill -KILL "$old"
		for n in $(seq 1200); do
			now=$(child hsm) && [ "$now" != "$old" ] && break
			sleep 0.05
		done
		[ "$now" != "$old" ] || fail "the hsm process is not born again"
	done
}

echo 00000000 >"$WORK/hsm/pin"
PORT=$(demo_port) MONITOR_PORT=$(demo_port)
URL=https://localhost:$PORT MONITOR=http://127.0.0.1:$MONITOR_PORT
config_write
: >"$WORK/log"
dc_key P-256 "$WORK/out/dc1" >"$WORK/out/dc1.spki"
rounds=3
[ "${DCSIGN_TESTS-}" = long ] && rounds=10
for start in 1 2; do
	service_spawn
	no_login
	hsm_dies "$rounds"
	no_login
	for n in $(seq 600); do
		status=$(issue edge www "{\"public_key\":\"$(cat "$WORK/out/dc1.spki")\"}")
		[ "$status $(member code)" = '503 pin_refused' ] && break
		sleep 0.1
	done
	[ "$status $(member code)" = '503 pin_refused' ] || fail "without a login: $status $(cat "$WORK/out/body")"
	[ "$(member detail)" = 'the token refused the PIN, or it will not be tried again' ] || fail "a client is told $(member detail)"
	service_stop
done
[ "$(logins 0xa0)" = 1 ] || fail "$(logins 0xa0) failed C_Login in $((2 * rounds + 2)) lives, not 1"
[ "$(logins 0x0)" = 0 ] || fail "a wrong PIN logged in"
[ "$(issue edge www '{}' 2>/dev/null)" != 201 ] || fail "issued without a login"

# The right PIN: another value needs no reset, and success clears everything. Without its rules the
# fault module does not say any more that the token's count is low.
: >"$RULES"
echo "$pin" >"$WORK/hsm/pin"
service_start
SPKI=$(dc_key P-256 "$WORK/out/dc2")
[ "$(issue edge www "{\"public_key\":\"$SPKI\"}")" = 201 ] || fail "$(cat "$WORK/out/body")"
cp "$WORK/out/body" "$WORK/got/1.json"
[ "$(logins 0x0)" -ge 1 ] || fail "no login"
ls "$WORK"/state/hsm/pin-breaker.* 2>/dev/null && fail "the breaker is still there"

# Where the PIN must not be. `scan` says where it is, of processes and files.
scan() {
	/usr/bin/python3 "$TOP_SRCDIR/tests/scan_memory.py" "$WORK/hsm/pin" "$@" >"$WORK/out/scan"
}
service_pids() {
	echo "$PID $(child api) $(child ledger) $(child hsm)"
}
clean() { # WHAT PID|FILE...
	local what=$1
	shift
	scan "$@" || fail "$what: the PIN: $(cat "$WORK/out/scan")"
	note "$what: not in $(sed -n 's/.*: \([0-9]* KB\)$/\1/p' "$WORK/out/scan" | tr '\n' ' ')"
}
finds() { # WHAT PID|FILE...: the scan is no use when it finds nothing where the PIN is
	local what=$1
	shift
	scan "$@"
	[ $? = 1 ] || fail "$what: the scan does not find the PIN that is there: $(cat "$WORK/out/scan")"
}
clean "log, witness, ledger and state" "$WORK/log" "$WITNESS" $(find "$WORK/state" -type f)
for p in $(service_pids); do
	[ "$(awk '/core file size/ { print $5 $6 }' "/proc/$p/limits")" = 00 ] || fail "$(cat "/proc/$p/comm") may leave a core file"
done
if [ "$(id -u)" = 0 ]; then
	# A process that has it in its memory, in its environment, or in its arguments.
	(
		exec 3<"$WORK/hsm/pin"
		exec /usr/bin/python3 -c 'import os, sys, time
kept = os.read(3, 100)
print("kept", flush=True)
time.sleep(600)' >"$WORK/out/planted"
	) &
	planted=$!
	for n in $(seq 1200); do
		grep -q kept "$WORK/out/planted" && break
		sleep 0.05
	done
	finds "a process that has read it" $planted
	if command -v gcore >/dev/null; then
		gcore -o "$WORK/out/core" $planted >/dev/null 2>&1 && finds "its core" "$WORK/out/core.$planted"
	fi
	kill $planted
	EVIL=$pin sleep 600 &
	finds "its environment" $!
	kill $!
	/usr/bin/python3 -c 'import time; time.sleep(600)' "$pin" &
	finds "its arguments" $!
	kill $!

	clean "after the login: parent, api, ledger, hsm" $(service_pids)
	if grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h"; then
		note "left out: cores of processes with the sanitizers' terabytes; their memory was searched"
	elif command -v gcore >/dev/null; then
		for p in $(service_pids); do
			gcore -o "$WORK/out/core" "$p" >"$WORK/out/gcore" 2>&1 || fail "gcore: $(cat "$WORK/out/gcore")"
			[ "$(stat -c %s "$WORK/out/core.$p")" -gt 100000 ] || fail "an empty core"
			clean "a core of $(cat "/proc/$p/comm")" "$WORK/out/core.$p"
			rm "$WORK/out/core.$p"
		done
	else
		note "LEFT OUT: cores (Debian: gdb)"
	fi
	# In its login the process has it, and nobody else.
	printf 'C_Login hang\n' >"$RULES.new" && mv "$RULES.new" "$RULES"
	before=$(grep -c 'fn=C_Login .*ev=begin' "$WITNESS")
	kill -KILL "$(child hsm)"
	for n in $(seq 600); do
		[ "$(grep -c 'fn=C_Login .*ev=begin' "$WITNESS")" -gt "$before" ] && break
		sleep 0.1
	done
	login=$(child hsm)
	kill -STOP "$login" # it ends after 30 s in a call
	finds "the hsm process in its login" "$login"
	kill -CONT "$login"
	clean "in the login: parent, api, ledger" "$PID" "$(child api)" "$(child ledger)"
	: >"$RULES.new" && mv "$RULES.new" "$RULES"
	service_ready || fail "not ready after a login that took long"
	clean "after a login that took long" "$(child hsm)"
	# Of a process that crashes no core is left, wherever the kernel would put it.
	(cd / && ls core* "$WORK"/core* 2>/dev/null | sort) >"$WORK/out/cores"
	printf 'C_Sign crash count=1\n' >"$RULES.new" && mv "$RULES.new" "$RULES"
	issue edge www "{\"public_key\":\"$SPKI\"}" >/dev/null
	grep -q 'fn=C_Sign .*ev=begin.*did=crash' "$WITNESS" || fail "it has not crashed"
	: >"$RULES.new" && mv "$RULES.new" "$RULES"
	service_ready || fail "not ready after a crash"
	(cd / && ls core* "$WORK"/core* 2>/dev/null | sort) | cmp -s - "$WORK/out/cores" || fail "a core was left"
	clean "the log after a crash" "$WORK/log"
fi
[ -z "$(find "$WORK/state/hsm" -perm /077)" ] || fail "others may read in state/hsm: $(ls -lR "$WORK/state/hsm")"
service_stop
faults_reconcile
note "1 failed C_Login in 2 starts and $((2 * rounds)) deaths"

# A process that dies in its login. With a PIN that the token takes, the next one needs nobody.
rules() {
	printf '%s\n' "$@" >"$RULES.new" && mv "$RULES.new" "$RULES"
}
begun() { # how many C_Login had a rule that may keep them from ending
	grep -c 'fn=C_Login .*ev=begin' "$WITNESS"
}
rules 'C_Login crash count=1'
before=$(begun) right=$(logins 0x0)
service_start
[ "$(begun) $(logins 0x0)" = "$((before + 1)) $((right + 1))" ] || fail "not one C_Login that died and one that came back"
service_stop
# With another PIN, in which every process dies, on a token that doesn't tell of wrong ones: one
# repetition, and no more in all lives; most tokens lock their PIN after three.
echo 00000001 >"$WORK/hsm/pin"
rules 'C_Login crash'
before=$(begun)
for start in 1 2; do
	service_spawn
	no_login
	hsm_dies 2
	no_login
	service_stop
done
[ $(($(begun) - before)) = 2 ] || fail "$(($(begun) - before)) C_Login with a PIN of which the token never said anything"
note "2 C_Login that nobody saw the end of, in 2 starts and 4 deaths more"
rules ''
echo "$pin" >"$WORK/hsm/pin"
faults_reconcile

# A PIN file that others may read is no PIN file.
chmod 640 "$WORK/hsm/pin"
"$DCSIGND" -n -c "$WORK/etc/dcsignd.conf" >"$WORK/out/check" 2>&1
[ $? = 78 ] || fail "a PIN that others may read is taken: $(cat "$WORK/out/check")"
grep -q 'mode 0640' "$WORK/out/check" || fail "$(cat "$WORK/out/check")"
