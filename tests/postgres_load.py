#!/usr/bin/python3
"""Clients that ask for credentials, each with an Idempotency-Key, and ask again until they have one.

postgres_load.py URL[,URL...] PKI STOP GOT SPKI [THREADS]: until the file STOP is there; each credential is
a line "key id sha256" of GOT. postgres_load.py --check RECORDS GOT: every one is ISSUED, one for each key,
and every AUTHORISED has exactly one outcome. postgres_load.py --race URL1 URL2 PKI GOT SPKI ROUNDS: the same
request to two nodes at once, each round with a key of its own: both must get the same credential.
"""
import base64
import collections
import hashlib
import http.client
import json
import os
import ssl
import sys
import threading
import urllib.parse


class Client(threading.Thread):
    def __init__(self, number, urls, pki, stop, out, spki):
        super().__init__()
        self.number, self.urls, self.stop, self.out, self.spki = number, urls, stop, out, spki
        self.context = ssl.create_default_context(cafile=pki + "/ca.pem")
        self.context.load_cert_chain(pki + "/edge.pem", pki + "/edge.key")
        self.context.check_hostname = False
        self.connection = None
        self.statuses = collections.Counter()

    def ask(self, key):
        if self.connection is None:
            url = urllib.parse.urlsplit(self.urls[self.number % len(self.urls)])
            self.connection = http.client.HTTPSConnection(url.hostname, url.port, context=self.context, timeout=60)
        self.connection.request(
            "POST",
            "/v1/keys/www/credentials",
            json.dumps({"public_key": self.spki, "lifetime": 600}),
            {"Content-Type": "application/json", "Idempotency-Key": key},
        )
        answer = self.connection.getresponse()
        body = answer.read()
        self.statuses[answer.status] += 1
        return json.loads(body) if answer.status == 201 else None

    def again(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None
        self.number += 1  # perhaps by another way

    def run(self):
        n, first = 0, self.number
        while not os.path.exists(self.stop):
            n += 1
            key = "load-%d-%d" % (first, n)
            got = None
            while got is None and not os.path.exists(self.stop):
                try:
                    got = self.ask(key)
                except (OSError, http.client.HTTPException, ValueError):
                    self.statuses["lost"] += 1
                if got is None:
                    self.again()
                    threading.Event().wait(0.05)
            if got is not None:
                digest = hashlib.sha256(base64.b64decode(got["credential"])).hexdigest()
                self.out.write("%s %s %s\n" % (key, got["id"], digest))


def load(urls, pki, stop, got, spki, threads="4"):
    with open(got, "a", buffering=1) as out:
        clients = [Client(i, urls.split(","), pki, stop, out, spki) for i in range(int(threads))]
        for c in clients:
            c.start()
        for c in clients:
            c.join()
    print("-- answers:", dict(sum((c.statuses for c in clients), collections.Counter())))


def race(first, second, pki, got, spki, rounds):
    barrier = threading.Barrier(2)
    answers = {}

    class Racer(Client):
        def run(self):
            for n in range(int(rounds)):
                barrier.wait()
                got = None
                for _ in range(100):
                    try:
                        got = self.ask("race-%d-%d" % (os.getpid(), n))
                    except (OSError, http.client.HTTPException, ValueError):
                        self.connection = None
                    if got is not None:
                        break
                    threading.Event().wait(0.05)
                answers[self.number, n] = got

    racers = [Racer(i, [first, second], pki, None, None, spki) for i in range(2)]
    for r in racers:
        r.start()
    for r in racers:
        r.join()
    with open(got, "a") as out:
        for n in range(int(rounds)):
            a, b = answers[0, n], answers[1, n]
            if a is None or b is None or a["credential"] != b["credential"] or a["id"] != b["id"]:
                sys.exit("FAIL: two nodes gave %s and %s for one Idempotency-Key" % (a, b))
            digest = hashlib.sha256(base64.b64decode(a["credential"])).hexdigest()
            out.write("race-%d-%d %s %s\n" % (os.getpid(), n, a["id"], digest))


def check(records, got):
    issued, by_key, outcomes, authorised = {}, collections.Counter(), collections.Counter(), {}
    for line in open(records, encoding="utf-8"):
        r = json.loads(line)
        attempt = (r.get("id"), r.get("attempt"))
        if r["type"] == "AUTHORISED":
            authorised[attempt] = r
        elif r["type"] in ("ISSUED", "FAILED", "UNKNOWN", "LATE") and "attempt" in r:
            # a signature that comes after its UNKNOWN is LATE
            outcomes[attempt] += r["type"] != "LATE" or attempt not in outcomes
            if r["type"] == "ISSUED":
                issued[r["id"]] = r["dc_sha256"]
                if "idempotency" in authorised[attempt]:
                    by_key[authorised[attempt]["idempotency"]] += 1
    for attempt in authorised:
        if outcomes[attempt] != 1:
            sys.exit("FAIL: the attempt %s has %d outcomes" % (attempt, outcomes[attempt]))
    for key, count in by_key.items():
        if count != 1:
            sys.exit("FAIL: %d credentials were released for %s" % (count, key))
    seen = 0
    for line in open(got, encoding="utf-8"):
        key, name, digest = line.split()
        seen += 1
        if issued.get(name) != digest:
            sys.exit("FAIL: %s was released for %s and is not ISSUED" % (name, key))
        if by_key[key] != 1:
            sys.exit("FAIL: %s has no released credential" % key)
    print("-- %d credentials got, %d ISSUED, all accounted for" % (seen, len(issued)))


if __name__ == "__main__":
    {"--check": check, "--race": race}.get(sys.argv[1], lambda *a: load(sys.argv[1], *a))(*sys.argv[2:])
