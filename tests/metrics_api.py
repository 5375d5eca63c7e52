"""The part of e2e_metrics.sh that speaks to the running service."""
import json
import os
import re
import signal
import time
import urllib.request

from api_client import URL, WORK, Client, expect, fail

WWW = "/v1/keys/www/credentials"
MONITOR = os.environ["MONITOR"]
NUMBER = r"[0-9]+(\.[0-9]*[1-9])?"  # exact: no exponent, no zeros at the end
SAMPLE = re.compile(r'^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*)\})? (%s)$' % NUMBER)
UNITS = ("seconds", "bytes", "info", "total")


def page():
    with urllib.request.urlopen(MONITOR + "/metrics", timeout=20) as answer:
        return answer.read().decode()


def lint(text, whole=False):
    """As promtool check metrics does, and that each sample stands below the HELP and TYPE of its family."""
    families, family, kind, samples = {}, None, None, {}
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family, words = line[7:].split(" ", 1)
            if family in families or not words.endswith("."):
                fail("HELP: " + line)
        elif line.startswith("# TYPE "):
            name, kind = line[7:].split(" ")
            if name != family or kind not in ("counter", "gauge", "histogram"):
                fail("TYPE: " + line)
            families[family] = kind
            if kind == "counter" and not name.endswith("_total"):
                fail("a counter that does not end in _total: " + name)
            if kind != "counter" and name.endswith("_total"):
                fail("no counter, and ends in _total: " + name)
            if kind != "histogram" and name.endswith(("_count", "_sum", "_bucket")):
                fail("no histogram, and ends as one: " + name)
            if re.search(r"_(ms|us|milliseconds|minutes|kb|mb|kilobytes|percent)(_|$)", name):
                fail("not a base unit: " + name)
            if kind == "histogram" and not name.endswith("_seconds"):
                fail("a histogram without its unit: " + name)
        else:
            match = SAMPLE.match(line)
            if not match:
                fail("a sample: " + line)
            base = re.sub(r"_(bucket|sum|count)$", "", match[1]) if kind == "histogram" else match[1]
            if base != family:
                fail("a sample of another family: " + line)
            if (match[1], match[2]) in samples:
                fail("twice: " + line)
            samples[match[1], match[2] or ""] = float(match[3])
    for name in families:
        if whole and not any(n.startswith(name) for n, _ in samples) and name not in (
                "dcsign_client_crl_next_update_timestamp_seconds",):  # no CRL is configured
            fail("no sample of " + name)
    for (name, labels), value in samples.items():
        if name.endswith("_count") and families.get(name[:-6]) == "histogram":
            infinite = (labels + "," if labels else "") + 'le="+Inf"'
            expect("the last bucket of " + name, samples[name[:-6] + "_bucket", infinite], value)
    return samples


def wait(what, condition):
    until = time.monotonic() + 60
    while not condition():
        if time.monotonic() > until:
            fail("%s does not come: %s" % (what, page()))
        time.sleep(0.1)


def value(name, labels=""):
    return lint(page()).get((name, labels))


requests = {}
edge = Client("edge")
with open(WORK + "/out/dc.spki") as f:
    body = {"public_key": f.read().strip(), "lifetime": 3600}
response, answer = edge.ask("POST", WWW, body)
requests["issue"] = response.getheader("X-Request-Id"), True
response, answer = edge.ask("POST", WWW, dict(body, lifetime=1))
expect("refused", (response.status, answer["request"]), (422, response.getheader("X-Request-Id")))
requests["refusal"] = response.getheader("X-Request-Id"), True
response, answer = edge.ask("GET", '/v1/keys?"}%0alevel=error')
requests["target"] = response.getheader("X-Request-Id"), False
response, answer = edge.ask("POST", WWW + "?dry_run=true", body)
hostile = Client("hostile").ask("GET", "/v1/whoami")[0]
expect("hostile", hostile.status, 403)
requests["hostile"] = hostile.getheader("X-Request-Id"), True
with open(WORK + "/out/requests.json", "w") as f:
    json.dump(requests, f)

wait("a live credential", lambda: value("dcsign_live_credentials") == 1)
wait("a note", lambda: value("dcsign_ledger_signed_records", 'chain="test/main"'))
wait("a signature", lambda: value("dcsign_token_signatures_total", 'token="main"'))
now = lint(page(), whole=True)
for name, labels, least, most in (
        ("dcsign_requests_total", 'key="www",client="edge",code="201"', 1, 1),
        ("dcsign_requests_total", 'key="www",client="edge",code="422"', 1, 1),
        ("dcsign_credentials_total", 'key="www",client="edge",outcome="issued"', 1, 1),
        ("dcsign_credentials_total", 'key="www",client="edge",outcome="lifetime_too_short"', 1, 1),
        ("dcsign_dry_runs_total", "", 1, 1),
        ("dcsign_holds", "", 0, 0),
        ("dcsign_token_sessions", 'token="main"', 1, 1000),
        ("dcsign_token_clock_drift_seconds", 'token="main"', 0, 2),
        ("dcsign_ledger_records", 'chain="test/main"', 6, 1000),
        ("dcsign_ledger_signed_records", 'chain="test/main"', 2, 1000),
        ("dcsign_ledger_size_bytes", "", 4096, 1 << 30),
        ("dcsign_ledger_last_record_timestamp_seconds", 'chain="test/main"', time.time() - 600, time.time() + 5),
        ("process_start_time_seconds", "", time.time() - 600, time.time() + 5),
        ("dcsign_key_certificate_expiry_timestamp_seconds", 'key="www"', time.time() + 29 * 86400, time.time() + 31 * 86400),
        ("dcsign_tls_certificate_expiry_timestamp_seconds", 'listen="0"', time.time() + 29 * 86400, time.time() + 31 * 86400),
        ("dcsign_client_ca_expiry_timestamp_seconds", 'listen="0"', time.time() + 59 * 86400, time.time() + 61 * 86400),
        ("dcsign_certificate_ends_soon", 'certificate="delegation",of="www",within_days="30"', 1, 1),
        ("dcsign_process_restarts_total", 'process="hsm",token="main"', 0, 0),
        ("dcsign_process_restarts_total", 'process="ledger",token=""', 0, 0)):
    got = now.get((name, labels))
    if got is None or not least <= got <= most:
        fail("%s{%s} is %s, not from %s to %s" % (name, labels, got, least, most))
for part in "queue", "ledger", "sign", "verify", "request":
    if now['dcsign_token_%s_seconds_count' % part, 'token="main"'] < 1:
        fail("no %s in the histograms" % part)

os.kill(int(os.environ["HSM"]), signal.SIGKILL)
wait("a birth of hsm", lambda: value("dcsign_process_restarts_total", 'process="hsm",token="main"') == 1)
wait("the key", lambda: value("dcsign_key_served", 'key="www",token="main"') == 1)
os.kill(int(os.environ["LEDGER_PID"]), signal.SIGKILL)
wait("a birth of the ledger", lambda: value("dcsign_process_restarts_total", 'process="ledger",token=""') == 1)
wait("the ledger", lambda: value("dcsign_ledger_ready") == 1)
wait("the key", lambda: value("dcsign_key_served", 'key="www",token="main"') == 1)
wait("issuance", lambda: edge.ask("POST", WWW, body)[0].status == 201)
