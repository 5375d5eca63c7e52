#!/bin/bash
# Start and end: READY=1 to the service manager once keys can be served, a second daemon on the
# same state refused, what the processes gave up, SIGTERM that drains what is under way.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki

# A service manager's socket that writes down what it is told.
socket=$WORK/notify
/usr/bin/python3 - "$socket" "$WORK/notified" <<'END' &
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
os.chmod(sys.argv[1], 0o777)
with open(sys.argv[2], "a") as f:
    while True:
        f.write(s.recv(4096).decode() + "\n")
        f.flush()
END
manager=$!
test_end() {
	end_process "$manager"
}
for n in $(seq 600); do
	[ -S "$socket" ] && break
	sleep 0.05
done
service_start env NOTIFY_SOCKET="$socket"
within_60s grep -q '^READY=1' "$WORK/notified" || fail "no READY=1: $(cat "$WORK/notified")"
[ "$(grep -c '^READY=1' "$WORK/notified")" = 1 ] || fail "READY=1 more than once"

note "what the processes are"
declare -A uid_of=([api]=${E2E_UIDS[0]} [hsm]=${E2E_UIDS[1]} [ledger]=${E2E_UIDS[2]})
status_of() { # PID FIELD
	awk -v f="$2:" '$1 == f { $1 = ""; sub(/^ /, ""); print }' "/proc/$1/status"
}
for name in api hsm ledger; do
	p=$(child $name) || fail "no dcsignd-$name"
	[ "$(status_of "$p" NoNewPrivs)" = 1 ] || fail "dcsignd-$name may gain privileges"
	[ "$(status_of "$p" Seccomp)" = 2 ] || fail "dcsignd-$name has no filter of system calls"
	grep -q '^Max core file size *0 *0 ' "/proc/$p/limits" || fail "dcsignd-$name may leave a core file"
	if ! grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h"; then
		[ $name = hsm ] || grep -q '^Max processes *0 *0 ' "/proc/$p/limits" || fail "dcsignd-$name may start others"
		# what /proc has of a process that is not dumpable is root's
		[ "$(id -u)$SEPARATE" = 0 ] || [ "$(stat -c %u "/proc/$p/environ")" = 0 ] || fail "dcsignd-$name is dumpable"
	fi
	if [ -n "$SEPARATE" ]; then
		u=${uid_of[$name]}
		[ "$(status_of "$p" Uid)" = "$u	$u	$u	$u" ] || [ "$(status_of "$p" Uid | tr '\t' ' ')" = "$u $u $u $u" ] ||
			fail "dcsignd-$name runs as $(status_of "$p" Uid)"
		[ "$(status_of "$p" Gid | tr '\t' ' ')" = "$u $u $u $u" ] || fail "dcsignd-$name: groups $(status_of "$p" Gid)"
		[ -z "$(status_of "$p" Groups | tr -d ' \t')" ] || fail "dcsignd-$name has groups $(status_of "$p" Groups)"
		[ "$(status_of "$p" CapEff)" = 0000000000000000 ] || fail "dcsignd-$name has capabilities"
		[ "$(status_of "$p" CapPrm)" = 0000000000000000 ] || fail "dcsignd-$name has capabilities"
	fi
done
if [ -n "$SEPARATE" ]; then
	# CAP_KILL 5, CAP_SETGID 6, CAP_SETUID 7
	[ "$(status_of "$PID" CapEff)" = 00000000000000e0 ] || fail "dcsignd has CapEff $(status_of "$PID" CapEff)"
	[ "$(status_of "$PID" CapBnd)" = 00000000000000e0 ] || fail "dcsignd has CapBnd $(status_of "$PID" CapBnd)"
fi
# Nobody but the hsm process has the token's module.
for name in api ledger; do
	! grep -q softhsm "/proc/$(child $name)/maps" || fail "dcsignd-$name has mapped the PKCS#11 module"
done
pin=$(cat "$WORK/hsm/pin")
for p in $PID $(child api) $(child hsm) $(child ledger); do
	! tr '\0' '\n' <"/proc/$p/environ" | grep -qF "$pin" || fail "the PIN is in the environment of $p"
	! tr '\0' '\n' <"/proc/$p/cmdline" | grep -qF "$pin" || fail "the PIN is in the arguments of $p"
done
! grep -qF "$pin" "$WORK/log" || fail "the PIN is in the log"

note "a second daemon"
PORT=$(demo_port)
MONITOR_PORT=$(demo_port)
cp "$WORK/etc/dcsignd.conf" "$WORK/etc/first.conf"
config_write
status=0
timeout 100 "$DCSIGND" -c "$WORK/etc/dcsignd.conf" >"$WORK/out/second" 2>&1 </dev/null || status=$?
[ $status != 0 ] && [ $status != 124 ] || fail "a second daemon runs on the same state (exit $status)"
grep -qiE 'another|already|in use|lock' "$WORK/out/second" || fail "it does not say why: $(cat "$WORK/out/second")"
note "$(tail -n 1 "$WORK/out/second")"
spki=$(dc_key P-256 "$WORK/out/dc")
[ "$(issue edge www "{\"public_key\":\"$spki\"}")" = 201 ] || fail "the first one suffered: $(cat "$WORK/out/body")"

note "SIGTERM with requests under way"
for n in $(seq 8); do
	(
		status=$(curl -s --max-time 60 --cacert "$WORK/pki/ca.pem" --cert "$WORK/pki/edge.pem" \
			--key "$WORK/pki/edge.key" -H 'Content-Type: application/json' \
			-d "{\"public_key\":\"$spki\"}" -o "$WORK/out/drain$n" -w '%{http_code}' \
			"$URL/v1/keys/www384/credentials")
		echo "$status" >"$WORK/out/status$n"
	) &
done
sleep 0.1
service_stop
wait $(jobs -p | grep -vx "$manager") 2>/dev/null
within_60s grep -q '^STOPPING=1' "$WORK/notified" || fail "no STOPPING=1: $(cat "$WORK/notified")"
ledger_verify
released=1
for n in $(seq 8); do
	[ "$(cat "$WORK/out/status$n")" != 201 ] || released=$((released + 1))
done
[ "$(records ISSUED)" -ge $released ] || fail "$released credentials released, $(records ISSUED) ISSUED"
[ "$(records STOP)" = 1 ] || fail "no STOP record"
[ "$(ls "$WORK/state" | grep -cE -- '-(wal|shm)$')" = 0 ] || fail "the ledger is more than one file"
note "drained, $((released - 1)) of 8 answered with a credential"

note "and again on the same ledger"
cp "$WORK/etc/first.conf" "$WORK/etc/dcsignd.conf"
service_start
[ "$(issue edge www "{\"public_key\":\"$spki\"}")" = 201 ] || fail "$(cat "$WORK/out/body")"
service_stop
ledger_verify
[ "$(records STOP)" = 2 ] && [ "$(records START)" = 2 ] || fail "the second run has not its START and STOP"
