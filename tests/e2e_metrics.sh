#!/bin/bash
# /metrics of the running service: its form, each of the things that an operator looks for, what it
# says after deaths. And the log as JSON: one object a line whatever clients send, with the request
# id that stands in the answer, the ledger and the log.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
# a stranger whose names try to be more than one line, one value, one object
demo_leaf "$WORK/pki" ca hostile "$DEMO_LEAF_EXT
extendedKeyUsage=clientAuth" || fail "no PKI"
openssl req -new -key "$WORK/pki/hostile.key" -subj '/CN=x\" level=error\
{\"a\":1}' -out "$WORK/pki/hostile.csr" 2>/dev/null && demo_sign "$WORK/pki" ca hostile "$DEMO_LEAF_EXT
extendedKeyUsage=clientAuth" || fail "no hostile certificate"
CONF_TOKEN='sign_timeout = 20s' # on a busy machine
CONF_EXTRA='limits { request_deadline = 30s }
log {
	format = json
	level = debug
}
checkpoint {
	every = 2
}'
service_start
dc_key P-256 "$WORK/out/dc" >"$WORK/out/dc.spki"
export WORK URL MONITOR
PYTHONPATH=$TOP_SRCDIR/tests HSM=$(child hsm) LEDGER_PID=$(child ledger) \
	/usr/bin/python3 "$TOP_SRCDIR/tests/metrics_api.py" || exit 1
service_stop
ledger_verify
/usr/bin/python3 - "$WORK" <<'END' || exit 1
import json, sys
work = sys.argv[1]
with open(work + "/out/requests.json") as f:
    requests = json.load(f)
lines = []
for line in open(work + "/log", encoding="utf-8"):
    if line.startswith("{"):
        lines.append(json.loads(line))
    elif not line.startswith("dcsignd: "):
        sys.exit("FAIL: a line of the log is not JSON: %r" % line)
for line in lines:
    if not {"ts", "level", "program", "event"} <= set(line) or line["level"] not in ("debug", "info", "warning", "error"):
        sys.exit("FAIL: a line of the log lacks something: %s" % line)
ledger = {r.get("request") for r in map(json.loads, open(work + "/out/records"))}
for what, (request, in_ledger) in requests.items():
    if not any(line.get("request") == request for line in lines):
        sys.exit("FAIL: %s %s is not in the log" % (what, request))
    if in_ledger and request not in ledger:
        sys.exit("FAIL: %s %s is not in the ledger" % (what, request))
hostile = [line for line in lines if line["event"] == "unknown client"]
if not hostile or '"' not in hostile[0]["subject"] or hostile[0]["level"] != "warning":
    sys.exit("FAIL: the hostile subject: %s" % hostile)
print("-- %d lines of JSON" % len(lines))
END
for secret in "$(cat "$WORK/hsm/pin")" 'PRIVATE KEY' "$(sed -n 2p "$WORK/pki/server.key")" "$(cat "$WORK/out/dc.spki")"; do
	grep -qF -- "$secret" "$WORK/log" && fail "the log has $secret"
done
exit 0
