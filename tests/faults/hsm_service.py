"""A running service on p11fault.so, for the tests that make faults: rules, requests, recovery. The
shell around it (e2e_*.sh) has made token, PKI and daemon and tells of them in the environment."""

import http.client
import itertools
import json
import os
import re
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request

WORK = os.environ["WORK"]
LONG = os.environ.get("DCSIGN_TESTS") == "long"
# A recovery that takes longer is none; in make check the machine may be as busy as it likes.
SOON = 8.0 if LONG else 60.0
# The same for an answer, after its deadline.
MARGIN = 1.0 if LONG else 30.0
# What a module or its loader says: a call, a code, a file.
INNER = re.compile(r"\bC_[A-Z]|CKR_|\(0x|\.so\b")


class Failed(Exception):
    pass


def check(condition, words):
    if not condition:
        raise Failed(words)


class Service:
    def __init__(self):
        self.url = os.environ["URL"]
        self.port = int(self.url.rsplit(":", 1)[1])
        self.monitor = os.environ["MONITOR"]
        self.daemon = int(os.environ["PID"])
        self.spki = os.environ["SPKI"]
        self.rule_file = os.environ["RULES"]
        self.got = os.path.join(WORK, "got")
        self.tls = ssl.create_default_context(cafile=f"{WORK}/pki/ca.pem")
        self.tls.load_cert_chain(f"{WORK}/pki/edge.pem", f"{WORK}/pki/edge.key")
        self.number = itertools.count(int(time.time() * 1000) % 10**9 * 1000)
        self.local = threading.local()
        self.base = ("* one-thread", "* one-process")

    # ---- faults ----

    def rules(self, *lines):
        with open(self.rule_file + ".new", "w", encoding="ascii") as f:
            f.write("".join(line + "\n" for line in (*self.base, *lines)))
        os.rename(self.rule_file + ".new", self.rule_file)

    def child(self, name="hsm", token=None):
        """The pid of a child of the daemon; None: it is not alive now."""
        try:
            with open(f"/proc/{self.daemon}/task/{self.daemon}/children", encoding="ascii") as f:
                children = f.read().split()
        except OSError:
            return None
        for pid in children:
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as f:
                    if f.read().strip() != f"dcsignd-{name}":
                        continue
                with open(f"/proc/{pid}/cmdline", "rb") as f:
                    if token is None or token.encode() in f.read().split(b"\0"):
                        return int(pid)
            except OSError:
                pass
        return None

    def kill(self, name="hsm"):
        pid = self.child(name)
        if pid is not None:
            os.kill(pid, 9)
        return pid

    # ---- requests ----

    def connection(self):
        c = getattr(self.local, "connection", None)
        if c is None:
            c = http.client.HTTPSConnection("localhost", self.port, timeout=60, context=self.tls)
            self.local.connection = c
        return c

    def issue(self, key="www", **members):
        """(status, answer, seconds) of one request."""
        n = next(self.number)
        body = json.dumps({"public_key": self.spki, "lifetime": 600 + n % 3000, **members})
        begun = time.monotonic()
        for again in (True, False):
            try:
                c = self.connection()
                c.request("POST", f"/v1/keys/{key}/credentials", body,
                          {"Content-Type": "application/json"})  # fmt: skip
                answer = c.getresponse()
                octets = answer.read()
                break
            except (http.client.HTTPException, OSError, socket.timeout) as e:
                self.local.connection = None
                if not again or time.monotonic() - begun > 30:
                    raise Failed(f"no answer after {time.monotonic() - begun:.1f} s: {e!r}") from e
        seconds = time.monotonic() - begun
        if answer.status == 201:
            with open(f"{self.got}/{n}.json", "wb") as f:
                f.write(octets)
        try:
            said = json.loads(octets)
        except ValueError:
            return answer.status, {}, seconds
        check(not INNER.search(said.get("detail", "")), f"a client gets the module's words: {said}")
        return answer.status, said, seconds

    def load(self, threads, each, key="www", deadline=SOON):
        """Requests side by side; [(status, answer, seconds)]."""
        results, problems = [], []

        def run():
            try:
                for _ in range(each):
                    results.append(self.issue(key))
            except Failed as e:
                problems.append(str(e))

        workers = [threading.Thread(target=run) for _ in range(threads)]
        for w in workers:
            w.start()
        for w in workers:
            w.join()
        check(not problems, f"{problems[:3]}")
        worst = max(r[2] for r in results)
        check(worst < deadline, f"an answer took {worst:.1f} s")
        return results

    def healthy(self, within=SOON, keys=("www", "www384")):
        """Seconds until every key issues."""
        begun = time.monotonic()
        missing = list(keys)
        last = None
        while missing:
            status, last, _ = self.issue(missing[0])
            if status == 201:
                missing.pop(0)
            elif time.monotonic() - begun > within:
                raise Failed(f"not serving again after {within} s: {status} {last}")
            else:
                time.sleep(0.01)
        return time.monotonic() - begun

    def ready(self):
        try:
            with urllib.request.urlopen(self.monitor + "/readyz", timeout=60) as f:
                return f.status, json.load(f)
        except urllib.error.HTTPError as e:
            return e.code, json.load(e)

    def ready_keys(self):
        """What /readyz says of each key."""
        return {k["key"]: k["ready"] for k in self.ready()[1].get("keys", [])}


def statuses(results):
    count = {}
    for status, _, _ in results:
        count[status] = count.get(status, 0) + 1
    return count


def witness(fn, path=None):
    """The lines of the module's witness about a function, those that end calls."""
    with open(path or os.environ["WITNESS"], encoding="utf-8", errors="replace") as f:
        return [line for line in f if f" fn={fn} " in line and " ev=begin" not in line]
