#!/bin/bash
# SIGTERM: the listening socket is closed first, so that a new client is refused at once and goes
# elsewhere, and a request that is under way still gets its answer. The daemon exits with 0.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
service_start
json="{\"public_key\":\"$(dc_key P-256 "$WORK/out/dc")\"}"

/usr/bin/python3 - "$WORK" "$PORT" "$json" "$PID" "$(child hsm)" "$MONITOR" <<'END' || exit 1
import http.client, os, signal, socket, ssl, sys, time, urllib.request
work, port, body, parent, hsm, monitor = sys.argv[1:]
port, parent, hsm = int(port), int(parent), int(hsm)
context = ssl.create_default_context(cafile=work + "/pki/ca.pem")
context.load_cert_chain(work + "/pki/edge.pem", work + "/pki/edge.key")
idle = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
idle.request("GET", "/v1/whoami")
if idle.getresponse().read() == b"":
    sys.exit("FAIL: no answer")
busy = http.client.HTTPSConnection("localhost", port, context=context, timeout=60)
busy.connect()
def in_flight():
    until = time.monotonic() + 60
    while b'\ndcsign_token_requests_waiting{token="main"} 1\n' not in urllib.request.urlopen(monitor + "/metrics", timeout=60).read():
        if time.monotonic() > until:
            sys.exit("FAIL: the request does not come to the hsm process")
        time.sleep(0.02)
os.kill(hsm, signal.SIGSTOP)
try:
    busy.request("POST", "/v1/keys/www/credentials", body, {"Content-Type": "application/json"})
    in_flight()
    os.kill(parent, signal.SIGTERM)
    refused = False
    for _ in range(1200):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=60).close()
        except ConnectionResetError:
            pass  # it was in the queue of the socket when that was closed
        except ConnectionRefusedError:
            refused = True
            break
        time.sleep(0.05)
finally:
    os.kill(hsm, signal.SIGCONT)
if not refused:
    sys.exit("FAIL: new connections are taken while the service drains")
answer = busy.getresponse()
if answer.status != 201:
    sys.exit("FAIL: the request under way got %d %s" % (answer.status, answer.read()))
END
status=0
wait "$PID" || status=$?
PID=
[ "$status" = 0 ] || fail "dcsignd ended with $status"
ledger_verify
[ "$(records ISSUED)" = 1 ] || fail "$(records ISSUED) ISSUED records"
