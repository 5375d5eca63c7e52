#!/bin/bash
# At most one released credential for each Idempotency-Key while processes are killed: clients
# repeat a request until they get a credential, then once more; every further signature is LATE.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
token_and_pki
faults_prepare
service_start

/usr/bin/python3 - "$WORK" "$URL" "$SPKI" <<'END' &
import http.client, json, os, ssl, sys, threading, time
work, url, spki = sys.argv[1:]
port = int(url.rsplit(":", 1)[1])
body = json.dumps({"public_key": spki, "lifetime": 600})
got, wrong, lock = {}, [], threading.Lock()
def connect():
    context = ssl.create_default_context(cafile=work + "/pki/ca.pem")
    context.load_cert_chain(work + "/pki/edge.pem", work + "/pki/edge.key")
    return http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
def ask(c, key):
    c.request("POST", "/v1/keys/www/credentials", body,
              {"Content-Type": "application/json", "Idempotency-Key": key})
    r = c.getresponse()
    return r.status, json.loads(r.read())
def client(worker):
    n, c = 0, connect()
    while not os.path.exists(work + "/out/stop") or len(got) < 20:
        # two workers share each key
        key, wanted, until = "k-%d-%d" % (worker // 2, n), 2, time.monotonic() + 120
        n += 1
        while wanted > 0:
            try:
                status, answer = ask(c, key)
            except Exception:
                c.close()
                c = connect()
                status = 0
                time.sleep(0.05)
            if status == 201:
                wanted -= 1
                with lock:
                    got.setdefault(key, set()).add(answer["credential"])
                with open("%s/got/%s-%d-%d.json" % (work, key, worker, wanted), "w") as f:
                    json.dump(answer, f)
            elif status in (0, 503, 504):
                time.sleep(0.02)
            else:
                wrong.append((key, status, answer))
                return
            if time.monotonic() > until:
                wrong.append((key, "no credential within 120 s", status))
                return
threads = [threading.Thread(target=client, args=(i,)) for i in range(6)]
for t in threads: t.start()
for t in threads: t.join()
several = [k for k, v in got.items() if len(v) != 1]
if wrong or several:
    sys.exit("FAIL: %s; %d keys with several credentials: %s" % (wrong[:3], len(several), several[:3]))
json.dump({k: v.pop() for k, v in got.items()}, open(work + "/out/got", "w"))
END
load=$!
for round in 1 2 3 4; do
	for victim in hsm ledger api; do
		sleep "0.$((RANDOM % 9 + 1))"
		pid=$(child $victim 2>/dev/null) || continue
		kill -KILL "$pid"
		for n in $(seq 1200); do
			new=$(child $victim 2>/dev/null) && [ "$new" != "$pid" ] && break
			sleep 0.05
		done
		service_ready || fail "not ready after the end of dcsignd-$victim"
	done
done
touch "$WORK/out/stop"
wait $load || fail "the clients saw something wrong"
service_stop
faults_reconcile
/usr/bin/python3 - "$WORK/out/records" "$WORK/out/got" <<'END' || exit 1
import collections, json, sys
got = json.load(open(sys.argv[2]))
key_of, released, late, unknown = {}, collections.Counter(), 0, 0
dc = {}
for line in open(sys.argv[1]):
    r = json.loads(line)
    if r["type"] == "AUTHORISED":
        key_of[r["id"]] = r.get("idempotency")
    elif r["type"] == "ISSUED":
        released[key_of[r["id"]]] += 1
        dc[key_of[r["id"]]] = r["dc"]
    late += r["type"] == "LATE"
    unknown += r["type"] == "UNKNOWN"
several = [k for k, n in released.items() if n != 1]
if several:
    sys.exit("FAIL: released more than once: %s" % several[:5])
for key, credential in got.items():
    if dc.get(key) != credential:
        sys.exit("FAIL: %s got a credential that is not the ISSUED one" % key)
if len(got) < 20:
    sys.exit("FAIL: only %d keys" % len(got))
print("-- %d Idempotency-Keys, %d attempts, each released once; %d LATE, %d UNKNOWN" % (
    len(got), len(key_of), late, unknown))
END
