#!/bin/bash
# The clock over a suspend, a restart of the service and a reboot of the machine, with records in the
# ledger; readings that only seem to go back. What e2e_clock.sh does to a running process is not
# repeated (DCSIGN_TESTS=long: with every step). No credential may outlive true now and the policy's maximum, no right request be refused.
. "$(dirname "$0")/lib.sh"
e2e_begin
preload=$TOP_BUILDDIR/tests/faults/wallclock.so
[ -e "$preload" ] || fail "$preload is not built"
token_and_pki
# clocks REALTIME-SECONDS BOOTTIME-SECONDS SYNCHRONISED, added to the machine's
clocks() {
	echo "$(echo "$1" | awk '{ printf "%d", $1 * 1000 }') $(echo "$2" | awk '{ printf "%d", $1 * 1000 }') $3" >"$WORK/clocks.new"
	mv "$WORK/clocks.new" "$WORK/clocks"
}
echo 11111111-1111-4111-8111-111111111111 >"$WORK/boot"
clocks 0 0 1
CONF_ENVIRONMENT=", \"LD_PRELOAD=$preload\", \"WALLCLOCK=$WORK/clocks\", \"DCSIGN_BOOT_ID_FILE=$WORK/boot\", \"DCSIGN_CLOCK_STEADY_MS=700\",
	\"ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0\""
eval "$(declare -f config_write | sed '1s/config_write/config_write_plain/')"
config_write() {
	config_write_plain
	sed -i 's/^require_clock_sync = no/require_clock_sync = yes/' "$WORK/etc/dcsignd.conf"
}
service_start
json="{\"public_key\":\"$(dc_key P-256 "$WORK/out/dc")\"}"

issued() {
	[ "$(issue edge www "$json")" = 201 ] || fail "$1: $(cat "$WORK/out/body")"
}
refused() {
	local status
	status=$(issue edge www "$json")
	[ "$status" = 503 ] && [ "$(member code)" = clock_untrusted ] || fail "$1: $status $(cat "$WORK/out/body")"
}
# Waits until /readyz says so many keys.
keys() {
	local n
	for n in $(seq 600); do
		[ "$(keys_ready)" = "$1" ] && return
		sleep 0.1
	done
	fail "$2: $(curl -s "$MONITOR/readyz")"
}
clock_told() {
	curl -s "$MONITOR/readyz" | grep -qi 'clock'
}
# The service starts and says that no key is served, and why.
start_refused() {
	local n
	config_write
	: >"$WORK/log"
	service_spawn
	for n in $(seq 600); do
		[ "$(issue edge www "$json")" = 503 ] && [ "$(member code)" = clock_untrusted ] && break
		alive "$PID" || fail "$1: dcsignd has ended"
		sleep 0.1
	done
	refused "$1"
	sleep 1.5 # longer than it must be steady
	refused "$1, steady"
	[ "$(keys_ready)" = 0 ] || fail "$1: keys are called ready"
	within_60s clock_told || fail "$1: /readyz does not say why: $(curl -s "$MONITOR/readyz")"
}
start_served() {
	config_write
	: >"$WORK/log"
	service_spawn
	service_ready || fail "$1: $(curl -s "$MONITOR/readyz")"
	issued "$1"
}

issued 'the right time'

note "a suspend: both clocks have gone on"
for hours in 9; do
	clocks $((hours * 3600)) $((hours * 3600)) 1
	issued "after $hours h"
	sleep 1.2
	issued "after $hours h and a look at the clocks"
done
away=$((9 * 3600))

note "a suspend that the wall clock has slept through, and one that it has doubled"
for wall in 0 7200; do # seconds by which it went on while the machine slept for an hour
	clocks $((away + wall)) $((away + 3600)) 1
	refused "wall $wall"
	keys 0 "wall $wall"
	away=$((away + 3600))
	clocks $away $away 1
	keys 2 'set right'
	issued 'set right'
done

note "two workers' commits in any order, while the clock is drawn to and fro by less than it may"
/usr/bin/python3 "$TOP_SRCDIR/tests/load.py" "$WORK" "$URL" www "$json" 8 0 >"$WORK/out/load" 2>&1 &
load=$!
for n in 1 2 3 4 5 6 7 8; do
	clocks $(echo $away $((n % 2)) | awk '{ print $1 + ($2 ? 0.9 : -0.9) }') $away 1
	sleep 0.4
done
clocks $away $away 1
within_60s load_reached 51
touch "$WORK/out/stop"
wait $load
grep -qv '^[0-9]* 201$' "$WORK/out/load" && fail "requests were refused: $(cat "$WORK/out/load")"
[ "$(cut -d' ' -f1 "$WORK/out/load")" -gt 50 ] || fail "not much load"

note "a restart in the same boot"
if [ "${DCSIGN_TESTS-}" = long ]; then
	restarts='-3600 3600 315360000' reboots='-3600 315360000' unsynchronised='0 3600'
else
	restarts=3600 reboots=-3600 unsynchronised=3600
fi
for wall in $restarts; do
	service_stop
	clocks $((away + wall)) $away 1
	start_refused "restart with $wall s"
	clocks $away $away 1
	keys 2 "set right after $wall"
	issued "set right after $wall"
done

note "a reboot"
boots=1
# reboot WALL SYNCHRONISED: the clocks that the machine has then
reboot() {
	service_stop
	boots=$((boots + 1))
	echo "${boots}2222222-2222-4222-8222-222222222222" >"$WORK/boot"
	clocks $((away + $1)) -$(cut -d. -f1 /proc/uptime) "$2"
}
for wall in $reboots; do
	reboot $wall 1
	start_refused "reboot with $wall s" # what is steady and synchronised is a person's to judge
done
for wall in $unsynchronised; do # nothing but its time daemon can tell an hour too many
	reboot $wall 0
	start_refused "reboot with $wall s, not synchronised"
	clocks $away -$(cut -d. -f1 /proc/uptime) 1
	keys 2 "synchronised after a reboot with $wall"
	issued "synchronised after a reboot with $wall"
done
reboot 0 1
start_served 'an ordinary reboot'

service_stop
ledger_verify
/usr/bin/python3 - "$WORK/out/records" "$away" <<'END' || exit 1
import json, sys, time
true = time.time() + int(sys.argv[2])
count = 0
for line in open(sys.argv[1]):
    r = json.loads(line)
    if r["type"] == "AUTHORISED":
        count += 1
        if r["expiry"] > true + 86400 + 3:
            sys.exit("FAIL: %s outlives the maximum: %s" % (r["id"], line[:300]))
    # the last one of a wrong clock would bind the right one
    if r["time"] > true + 3:
        sys.exit("FAIL: a record with the time of a wrong clock: %s" % line[:200])
if count < 60:
    sys.exit("FAIL: only %d" % count)
END
