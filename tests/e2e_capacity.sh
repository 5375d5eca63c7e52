#!/bin/bash
# An open-loop load of 0.5, 1, 2 and 5 times what the token can sign: what is issued stays at capacity, every
# request is answered within its deadline, /healthz answers at once. And many more clients than processors
# take away nothing, with connections that stay and with a handshake for each request. All ratios are of figures
# of this run. In make check-long; in a build without sanitizers.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h" && skip "this build has sanitizers"
[ "${DCSIGN_TESTS-}" = long ] || skip "in make check-long"
seconds=${OVERLOAD_SECONDS:-8}
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

# issued NAME: credentials per second.
issued() {
	/usr/bin/python3 -c '
import json, sys
a = json.load(open(sys.argv[1]))
print(a["statuses"].get("201", 0) / a["seconds"])' "$WORK/out/$1"
}

e2e_begin
token_and_pki
faults_prepare
/usr/bin/python3 "$TOP_SRCDIR/tests/bench/bodies.py" "$WORK" || fail "bodies.py"
CONF_TOKEN='workers = 8
	sessions = 4'
CONF_EXTRA='limits { queue = 64 request_deadline = 5s connections = 2048 connections_per_address = 0 }'
echo 'C_Sign delay=10' >"$RULES" # four sessions: under 400 a second, far less than the processors can do
service_start
health_begin idle
sleep 5
health_end
load before --clients 32 --warm-up 1
rate=$(issued before)
for times in 0.5 1 2 5; do
	health_begin "$times"
	load "$times" --clients 256 --rate "$(/usr/bin/python3 -c 'import sys; print(float(sys.argv[1]) * float(sys.argv[2]))' "$times" "$rate")"
	health_end
done
load after --clients 32 --warm-up 1
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
    return t[len(t) * 99 // 100], t[-1]
def goodput(a):
    return a["statuses"].get("201", 0) / a["seconds"]
DEADLINE, MARGIN = 5.0, 2.0  # seconds; the margin is for a busy machine
capacity = min(goodput(read("before")), goodput(read("after")))
idle = health("idle")
print(f"-- capacity {capacity:.0f}/s; /healthz idle: 99 % {1000 * idle[0]:.1f} ms")
for times in ("0.5", "1", "2", "5"):
    a, h = read(times), health(times)
    ratio = goodput(a) / capacity
    print(f"-- {times} times: {goodput(a):.0f}/s issued ({ratio:.2f} of capacity), {a['statuses']}, 50 % {a['p50_ms']:.0f} ms, "
          f"99 % {a['p99_ms']:.0f} ms, longest {a['max_ms']:.0f} ms; /healthz 99 % {1000 * h[0]:.1f} ms, longest {1000 * h[1]:.1f} ms")
    if set(a["statuses"]) - {"201", "503"} or a["broken"]:
        bad.append(f"{times} times: {a['statuses']}, {a['broken']} connections broken")
    if ratio < 0.9 * min(1, float(times)):
        bad.append(f"{times} times: {ratio:.2f} of capacity")
    if a["max_ms"] > 1000 * (DEADLINE + MARGIN):
        bad.append(f"{times} times: an answer after {a['max_ms']:.0f} ms")
    if h[0] > max(0.1, 3 * idle[0]):
        bad.append(f"{times} times: /healthz took {1000 * h[0]:.0f} ms")
if read("5")["statuses"].get("503", 0) == 0:
    bad.append("5 times: nothing was turned away: not the load that was meant")
sys.exit("FAIL: " + "; ".join(bad) if bad else 0)
END

# The processors are the limit now.
: >"$RULES.new" && mv "$RULES.new" "$RULES"
for n in 16 512; do
	load "stay-$n" --clients $n --warm-up 1
	load "new-$n" --clients $n --new-connection
done
/usr/bin/python3 - "$WORK/out" <<'END' || exit 1
import json, sys
bad = []
def issued(a):
    return a["statuses"].get("201", 0) / a["seconds"]
def answered(a):
    return a["rate"]
for kind, words, good in (("stay", "connections that stay", issued), ("new", "a new connection each time", answered)):
    few, many = (json.load(open(f"{sys.argv[1]}/{kind}-{n}")) for n in (16, 512))
    print(f"-- {words}: 16 clients {few['rate']:.0f}/s; 512 clients {issued(many):.0f}/s issued, {many['rate']:.0f}/s "
          f"answered, 99 % {many['p99_ms']:.0f} ms, {many['broken']} broken")
    if good(many) < 0.7 * good(few) or set(many["statuses"]) - {"201", "503"} or many["broken"]:
        bad.append(f"{words}: {good(many) / good(few):.2f} of the rate of 16 clients, {many['statuses']}")
sys.exit("FAIL: " + "; ".join(bad) if bad else 0)
END
service_stop
ledger_verify
[ "$(records AUTHORISED)" = "$(records ISSUED)" ] || fail "$(records AUTHORISED) AUTHORISED, $(records ISSUED) ISSUED"
