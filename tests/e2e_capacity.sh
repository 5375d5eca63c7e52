#!/bin/bash
# An open-loop load of 0.5, 1, 2 and 5 times what the token can sign: what is issued stays at capacity, every
# request is answered within its deadline, /healthz answers at once. And many more clients than processors, which ask
# again as soon as they are told to come later, do not take it down, with connections that stay and with a
# handshake for each request. All ratios are of figures that were taken one after the other, and of three turns the
# median counts: other work on this machine comes and goes, and a service that collapses does so each time. In
# make check-long; in a build without sanitizers.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h" && skip "this build has sanitizers"
[ "${DCSIGN_TESTS-}" = long ] || skip "in make check-long"
seconds=${OVERLOAD_SECONDS:-3}
HEALTH=

test_end() {
	[ -z "$HEALTH" ] || kill "$HEALTH" 2>/dev/null
}

# load NAME OPTION...: its JSON in out/NAME.
load() {
	"$TOP_BUILDDIR/tests/bench/load" --port "$PORT" --ca "$WORK/pki/ca.pem" --cert "$WORK/pki/edge.pem" \
		--key "$WORK/pki/edge.key" --method POST --path /v1/keys/www/credentials \
		--bodies "$WORK/bodies" --seconds "$seconds" "${@:2}" >"$WORK/out/$1" || fail "load $*"
}

# health_begin NAME, health_end: times of /healthz in between, in out/health-NAME.
health_begin() {
	/usr/bin/python3 - "$MONITOR" >"$WORK/out/health-$1" <<'END' &
import signal, sys, time, urllib.request
signal.signal(signal.SIGTERM, lambda *a: sys.exit())
while True:
    begin = time.monotonic()
    with urllib.request.urlopen(sys.argv[1] + "/healthz", timeout=10) as r:
        assert r.status == 200
    print(time.monotonic() - begin, flush=True)
    time.sleep(0.02)
END
	HEALTH=$!
}

health_end() {
	kill "$HEALTH" || fail "/healthz: no answer"
	wait "$HEALTH"
	HEALTH=
}

# rate NAME TIMES: so many times the credentials per second of the load NAME.
rate() {
	/usr/bin/python3 -c '
import json, sys
a = json.load(open(sys.argv[1]))
print(float(sys.argv[2]) * a["statuses"].get("201", 0) / a["seconds"])' "$WORK/out/$1" "$2"
}

e2e_begin
token_and_pki
faults_prepare
/usr/bin/python3 "$TOP_SRCDIR/tests/bench/bodies.py" "$WORK" || fail "bodies.py"
CONF_TOKEN='workers = 8
	sessions = 4'
CONF_POLICY='max_live = 10000000'
CONF_EXTRA='limits { queue = 64 request_deadline = 5s connections = 2048 connections_per_address = 0 }'
echo 'C_Sign delay=40' >"$RULES" # four sessions: under 100 a second, far less than the processors can do
service_start
turns="1 2 3"
for turn in $turns; do
	health_begin "$turn-0"
	sleep 2
	health_end
	load "$turn-capacity-0" --clients 16 --warm-up 1
	at=0
	for times in 0.5 1 2 5; do
		health_begin "$turn-$times"
		load "$turn-$times" --clients 256 --rate "$(rate "$turn-capacity-$at" "$times")"
		health_end
		at=$((at + 1))
		load "$turn-capacity-$at" --clients 16 --warm-up 1
	done
done
/usr/bin/python3 - "$WORK/out" <<'END' || exit 1
import json, sys
out, bad = sys.argv[1], []
def read(name):
    with open(f"{out}/{name}") as f:
        return json.load(f)
def health(name):
    with open(f"{out}/health-{name}") as f:
        t = sorted(float(line) for line in f)
    assert len(t) > 20, f"only {len(t)} times of /healthz"
    return t[len(t) * 99 // 100]
def goodput(a):
    return a["statuses"].get("201", 0) / a["seconds"]
def middle(of):
    return sorted(of)[1]
DEADLINE, MARGIN = 5.0, 2.0  # seconds; the margin is for a busy machine
TURNS = (1, 2, 3)
capacity = [[goodput(read(f"{turn}-capacity-{n}")) for n in range(5)] for turn in TURNS]
idle = middle(health(f"{turn}-0") for turn in TURNS)
print(f"-- capacity {min(map(min, capacity)):.0f} to {max(map(max, capacity)):.0f}/s; /healthz idle: 99 % {1000 * idle:.1f} ms")
for n, times in enumerate(("0.5", "1", "2", "5")):
    loads = [read(f"{turn}-{times}") for turn in TURNS]
    # what it can do now: before and after
    ratios = [goodput(a) / min(c[n], c[n + 1]) for a, c in zip(loads, capacity)]
    ratio, slow = middle(ratios), middle(health(f"{turn}-{times}") for turn in TURNS)
    print(f"-- {times} times: {ratio:.2f} of capacity issued ({', '.join(f'{r:.2f}' for r in ratios)}), "
          f"{[a['statuses'] for a in loads]}, longest {max(a['max_ms'] for a in loads):.0f} ms; /healthz 99 % {1000 * slow:.1f} ms")
    for a in loads:
        if set(a["statuses"]) - {"201", "503"} or a["broken"]:
            bad.append(f"{times} times: {a['statuses']}, {a['broken']} connections broken")
    if ratio < 0.9 * min(1, float(times)):
        bad.append(f"{times} times: {ratio:.2f} of capacity")
    if middle(a["max_ms"] for a in loads) > 1000 * (DEADLINE + MARGIN):
        bad.append(f"{times} times: an answer after {middle(a['max_ms'] for a in loads):.0f} ms")
    if slow > max(0.1, 3 * idle):
        bad.append(f"{times} times: /healthz took {1000 * slow:.0f} ms")
    if times == "5" and not all(a["statuses"].get("503", 0) for a in loads):
        bad.append("5 times: nothing was turned away: not the load that was meant")
sys.exit("FAIL: " + "; ".join(bad) if bad else 0)
END

# The processors are the limit now.
: >"$RULES.new" && mv "$RULES.new" "$RULES"
load stay-few-0 --clients 16 --warm-up 1
load new-few-0 --clients 16 --new-connection
for turn in $turns; do
	load "stay-many-$turn" --clients 512
	load "stay-few-$turn" --clients 16 --warm-up 1
	load "new-many-$turn" --clients 512 --new-connection
	load "new-few-$turn" --clients 16 --new-connection
done
/usr/bin/python3 - "$WORK/out" <<'END' || exit 1
import json, sys
bad = []
def read(name):
    with open(f"{sys.argv[1]}/{name}") as f:
        return json.load(f)
def issued(a):
    return a["statuses"].get("201", 0) / a["seconds"]
def answered(a):
    return a["rate"]
for kind, words, good in (("stay", "connections that stay", issued), ("new", "a new connection each time", answered)):
    ratios = []
    few = [read(f"{kind}-few-{n}") for n in range(4)]
    for turn in (1, 2, 3):
        many = read(f"{kind}-many-{turn}")
        now = min(good(few[turn - 1]), good(few[turn]))  # what it can do: before and after
        print(f"-- {words}: 16 clients {now:.0f}/s; 512 clients {issued(many):.0f}/s issued, {many['rate']:.0f}/s "
              f"answered, 99 % {many['p99_ms']:.0f} ms, {many['broken']} broken")
        ratios.append(good(many) / now)
        if set(many["statuses"]) - {"201", "503"} or many["broken"]:
            bad.append(f"{words}: {many['statuses']}, {many['broken']} broken")
        # a connection that was told to come later gets its next answer after 250 ms at the soonest
        if kind == "stay" and many["statuses"].get("503", 0) > 512 * (1 + 4 * many["seconds"]):
            bad.append(f"{words}: {many['statuses']['503']} were turned away in {many['seconds']:.1f} s")
    if sorted(ratios)[1] < 0.7:
        bad.append(f"{words}: {ratios} of the rate of 16 clients")
sys.exit("FAIL: " + "; ".join(bad) if bad else 0)
END
service_stop
ledger_verify
[ "$(records AUTHORISED)" = "$(records ISSUED)" ] || fail "$(records AUTHORISED) AUTHORISED, $(records ISSUED) ISSUED"
