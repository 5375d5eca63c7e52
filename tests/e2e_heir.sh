#!/bin/bash
# An hsm process is followed by another without a failed request: on SIGHUP, when its token or key
# section changed; and one that does not answer any more is killed.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
token_and_pki
faults_prepare
WITNESS=$WORK/spy/witness
CONF_TOKEN='sessions = 4'
service_start
limit=$(sed -n 's/^Max open files *\([0-9]*\) *\([0-9]*\).*/\1 \2/p' "/proc/$(child hsm)/limits")
[ "$limit" = "1056 1056" ] || [ "${limit#* }" -lt 1056 ] || fail "open files of dcsignd-hsm: $limit"
/usr/bin/python3 - "$TOP_SRCDIR/tests/faults" >"$WORK/out/load" 2>&1 <<END &
import os, sys
sys.path.insert(0, sys.argv[1])
os.environ.update(WORK="$WORK", URL="$URL", MONITOR="$MONITOR", PID="$PID", SPKI="$SPKI", RULES="$RULES")
import threading
from hsm_service import Service, statuses
s, results = Service(), []
def run(key):
    while not os.path.exists("$WORK/out/stop"):
        results.append(s.issue(key))
threads = [threading.Thread(target=run, args=(k,)) for k in ("www", "www", "www384")]
for t in threads: t.start()
for t in threads: t.join()
print(statuses(results), [r[1] for r in results if r[0] != 201][:3], max(r[2] for r in results))
sys.exit(0 if set(statuses(results)) == {201} else 1)
END
load=$!

# until_true COMMAND...: within 60 s
until_true() {
	within_60s "$@" || fail "not within 60 s: $*"
}
replaced() { # by another, and the one before has ended
	local p n=0
	for p in $(cat "/proc/$PID/task/$PID/children"); do
		[ "$(cat "/proc/$p/comm" 2>/dev/null)" != dcsignd-hsm ] || n=$((n + 1))
	done
	[ "$n" = 1 ] && [ "$(child hsm)" != "$1" ]
}
logged() { # TEXT COUNT
	[ "$(grep -c -- "$1" "$WORK/log")" -ge "$2" ]
}

note "the token section changes, three times"
for n in 1 2 3; do
	sleep 1
	before=$(child hsm)
	CONF_TOKEN="sessions = $((4 + n))"
	config_write
	kill -HUP "$PID"
	until_true logged 'event="takes over"' $n
	until_true replaced "$before"
done

note "a key gets another certificate"
until_true logged 'event="configuration taken"' 4
cp "$WORK/pki/www.pem" "$WORK/pki/www-old.pem"
demo_sign "$WORK/pki" ca www "$DEMO_DELEGATION_EXT" || fail "no certificate"
new=$(openssl x509 -in "$WORK/pki/www.pem" -outform DER | sha256sum | cut -d' ' -f1)
new_one() { # issues under it
	[ "$(issue edge www "{\"public_key\":\"$SPKI\",\"lifetime\":601}")" = 201 ] || fail "$(cat "$WORK/out/body")"
	cp "$WORK/out/body" "$WORK/got/s$((got += 1)).json"
	[ "$(member certificate_sha256)" = "$new" ]
}
got=0
before=$(child hsm)
config_write
kill -HUP "$PID"
until_true new_one
[ "$(child hsm)" = "$before" ] || fail "the process was replaced for a key"

note "the successor finds no token: the one that has it goes on, and is followed when it is there"
before=$(child hsm)
printf 'C_Initialize rv=0x5\n' >"$RULES.new" && mv "$RULES.new" "$RULES"
CONF_TOKEN="sessions = 9"
config_write
kill -HUP "$PID"
until_true logged 'successor has no token: this one goes on.*pid=' 1
[ "$(child hsm)" = "$before" ] || fail "the process that has the token was replaced by one that has none"
new_one
: >"$RULES.new" && mv "$RULES.new" "$RULES"
until_true logged 'event="takes over"' 4
until_true replaced "$before"

touch "$WORK/out/stop"
wait $load || fail "a request failed: $(cat "$WORK/out/load")"
note "$(cat "$WORK/out/load")"

note "the token has no session for a second process: the first is drained"
before=$(child hsm)
printf 'C_OpenSession rv=0xb1\n' >"$RULES.new" && mv "$RULES.new" "$RULES"
CONF_TOKEN="sessions = 5"
config_write
kill -HUP "$PID"
until_true logged 'it is drained before the next is born' 1
: >"$RULES.new" && mv "$RULES.new" "$RULES"
until_true replaced "$before"
service_ready || fail "not ready after one process was drained for the next"

note "a process that is stopped is killed"
before=$(child hsm)
kill -STOP "$before"
until_true logged "does not answer: killed.*pid=$before" 1
until_true replaced "$before"
service_ready || fail "not ready again"

service_stop
faults_reconcile --certificate "$WORK/pki/www-old.pem"
