#!/bin/bash
# Five times what the token can sign, for a while: each request is answered within its deadline,
# with a credential or a clear "later" (503 with Retry-After, 429 for a client over its rate);
# nothing waits without end, /healthz answers throughout, and when it is over all is as before. Times
# are printed; none is asserted but the deadlines.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
token_and_pki
faults_prepare
demo_client "$WORK/pki" ca flooder || fail "no PKI"
CONF_TOKEN='workers = 8
	sessions = 4'
CONF_EXTRA='limits { queue = 12 request_deadline = 3s connections_per_address = 0 }
client flooder {
	match { uri = "spiffe://demo.example/flooder" }
	may = { issue }
	keys = { www }
	rate = 5/s
}'
service_start
json="{\"public_key\":\"$SPKI\",\"lifetime\":600}"
other="{\"public_key\":\"$(dc_key P-256 "$WORK/out/other")\",\"lifetime\":600}"
echo 'C_Sign delay=40' >"$RULES.new" && mv "$RULES.new" "$RULES" # four sessions: about 100 a second

/usr/bin/python3 - "$WORK" "$URL" "$MONITOR" "$json" "$other" <<'END' || exit 1
import collections, http.client, json, os, ssl, sys, threading, time, urllib.request
work, url, monitor, body, other = sys.argv[1:]
SECONDS = 30 if os.environ.get("DCSIGN_TESTS") == "long" else 5
DEADLINE, MARGIN = 3.0, 7.0 if os.environ.get("DCSIGN_TESTS") == "long" else 57.0  # of a busy machine, not of the service
def connect(name):
    context = ssl.create_default_context(cafile=work + "/pki/ca.pem")
    context.load_cert_chain("%s/pki/%s.pem" % (work, name), "%s/pki/%s.key" % (work, name))
    return http.client.HTTPSConnection("127.0.0.1", int(url.rsplit(":", 1)[1]), context=context, timeout=90)
def post(c, body=body):
    begin = time.monotonic()
    c.request("POST", "/v1/keys/www/credentials", body, {"Content-Type": "application/json"})
    r = c.getresponse()
    answer = json.loads(r.read())
    return r.status, answer, r.getheader("Retry-After"), time.monotonic() - begin
lock, seen, wrong, took = threading.Lock(), collections.Counter(), [], collections.defaultdict(list)
stop = threading.Event()
def load(name):
    c = connect(name)
    while not stop.is_set():
        try:
            status, answer, later, t = post(c, other if name == "flooder" else body)
        except Exception as e:
            with lock:
                wrong.append(repr(e))
            return
        with lock:
            seen[name, status, answer.get("code", "")] += 1
            took[status].append(t)
            if status not in (201, 503, 429) or (status != 201 and (not later or int(later) < 1)) or t > DEADLINE + MARGIN:
                wrong.append((name, status, answer, later, t))
            if status == 429 and name != "flooder":
                wrong.append((name, "a rate that it does not have"))
        if status != 201:
            time.sleep(0.02)
def health():
    while not stop.is_set():
        begin = time.monotonic()
        try:
            with urllib.request.urlopen(monitor + "/healthz", timeout=60) as r:
                status = r.status
        except Exception as e:
            status = repr(e)
        with lock:
            took["healthz"].append(time.monotonic() - begin)
            if status != 200:
                wrong.append(("healthz", status))
        time.sleep(0.05)
names = ["edge"] * 60 + ["flooder"] * 4
threads = [threading.Thread(target=load, args=(n,)) for n in names] + [threading.Thread(target=health)]
begun = time.monotonic()
for t in threads: t.start()
time.sleep(SECONDS)
def meant():
    return all(seen[w] for w in (("edge", 201, ""), ("edge", 503, "overloaded"), ("flooder", 429, "rate_limited")))
while not meant() and not wrong and time.monotonic() < begun + SECONDS + 60:
    time.sleep(0.1)
stop.set()
for t in threads: t.join(100)
lasted = time.monotonic() - begun
if any(t.is_alive() for t in threads):
    wrong.append("a request without an answer")
for what, times in took.items():
    times.sort()
    print("-- %s: %d, median %.0f ms, 99 %% %.0f ms, longest %.0f ms" % (
        what, len(times), 1000 * times[len(times) // 2], 1000 * times[len(times) * 99 // 100], 1000 * times[-1]))
print("--", dict(seen))
if wrong:
    sys.exit("FAIL: %d, of them %s" % (len(wrong), wrong[:5]))
if not meant():
    sys.exit("FAIL: not the load that was meant")
if seen["flooder", 201, ""] + seen["flooder", 503, "overloaded"] > 5 * lasted + 5:
    sys.exit("FAIL: the rate does not hold")
until = time.monotonic() + 60
c = connect("edge")
while post(c)[0] != 201:
    if time.monotonic() > until:
        sys.exit("FAIL: it does not recover")
    time.sleep(0.05)
END
service_stop
ledger_verify
[ "$(records AUTHORISED)" = "$(records ISSUED)" ] || fail "$(records AUTHORISED) AUTHORISED, $(records ISSUED) ISSUED"
