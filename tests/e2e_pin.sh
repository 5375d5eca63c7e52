#!/bin/bash
# A wrong PIN with a token that locks it after three tries: one C_Login fails, whatever is born again
# how often; the right PIN is taken without a reset. And the PIN lies nowhere where it does not belong.
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
	for n in $(seq 150); do
		curl -s --max-time 2 "$MONITOR/readyz" | grep -q 'PIN' && child hsm >/dev/null && return
		sleep 0.1
	done
	fail "/readyz does not tell of the PIN: $(curl -s "$MONITOR/readyz")"
}

echo 00000000 >"$WORK/hsm/pin"
PORT=$(demo_port) MONITOR_PORT=$(demo_port)
URL=https://localhost:$PORT MONITOR=http://127.0.0.1:$MONITOR_PORT
config_write
: >"$WORK/log"
dc_key P-256 "$WORK/out/dc1" >"$WORK/out/dc1.spki"
for start in 1 2; do
	service_spawn
	no_login
	for round in $(seq 10); do
		old=$(child hsm)
		kill -KILL "$old"
		for n in $(seq 100); do
			now=$(child hsm) && [ "$now" != "$old" ] && break
			sleep 0.05
		done
	done
	no_login
	for n in $(seq 100); do
		status=$(issue edge www "{\"public_key\":\"$(cat "$WORK/out/dc1.spki")\"}")
		[ "$status $(member code)" = '503 pin_refused' ] && break
		sleep 0.1
	done
	[ "$status $(member code)" = '503 pin_refused' ] || fail "without a login: $status $(cat "$WORK/out/body")"
	service_stop
done
[ "$(logins 0xa0)" = 1 ] || fail "$(logins 0xa0) failed C_Login in 22 lives, not 1"
[ "$(logins 0x0)" = 0 ] || fail "a wrong PIN logged in"
[ "$(issue edge www '{}' 2>/dev/null)" != 201 ] || fail "issued without a login"

# The right PIN: another value needs no reset, and success clears everything. Without its rules the
# fault module does not say any more that the token's count is low.
: >"$RULES"
echo "$pin" >"$WORK/hsm/pin"
service_start
SPKI=$(dc_key P-256 "$WORK/out/dc2")
[ "$(issue edge www "{\"public_key\":\"$SPKI\"}")" = 201 ] || fail "$(cat "$WORK/out/body")"
[ "$(logins 0x0)" -ge 1 ] || fail "no login"
ls "$WORK"/state/hsm/pin-breaker.* 2>/dev/null && fail "the breaker is still there"

# Where the PIN must not be.
grep -aqF "$pin" "$WORK/log" && fail "the PIN is in the log"
grep -qF "$pin" "$WITNESS" && fail "the PIN is in the witness"
grep -raqF "$pin" "$WORK/state" && fail "the PIN, or something that holds it, is in the state folder"
for p in $PID $(child api) $(child hsm) $(child ledger); do
	for part in environ cmdline; do
		tr '\0' '\n' <"/proc/$p/$part" | grep -qF "$pin" && fail "the PIN is in $part of $p"
	done
done
if [ "$(id -u)" = 0 ]; then
	for p in $PID $(child api) $(child ledger) $(child hsm); do
		/usr/bin/python3 - "$p" "$pin" <<'END' || fail "the PIN is in the memory of $(cat "/proc/$p/comm")"
import sys
pid, pin = sys.argv[1], sys.argv[2].encode()
with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
    for line in maps:
        span, mode = line.split()[:2]
        begin, end = (int(x, 16) for x in span.split("-"))
        if mode[0] != "r" or mode[1] != "w" or end - begin > 1 << 28:
            continue
        try:
            mem.seek(begin)
            octets = mem.read(end - begin)
        except (OSError, ValueError):
            continue
        if pin in octets:
            sys.exit(1)
END
	done
	note "the PIN is in no memory: parent, api, ledger, and hsm after its login"
fi
service_stop
ledger_verify
note "1 failed C_Login in 2 starts and 20 deaths"
