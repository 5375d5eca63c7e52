"""The n-th allocation of one program fails, for many n: see e2e_nomem.sh.

nomem_cycles.py DCSIGND CONFIG [PROGRAM PHASE N...]: with WORK, URL, MONITOR, SPKI in the environment.
"""

import mmap
import os
import random
import re
import signal
import struct
import subprocess
import sys
import time

from hsm_service import Failed, Service, check

WORK = os.environ["WORK"]
CHILDREN = ("ledger", "hsm", "api")
# "check" and "stop" last: nothing runs after them
PHASES = ("request", "sighup", "start", "check", "stop")
AGAIN = 75  # what a child exits with to be born again
WHOLE = 60.0  # seconds until the service must be whole, however busy the machine is
FIELDS = ("count", "fail", "failed", "guarded", "bare")


class Control:
    """The file of nomem.so."""

    def __init__(self, program):
        self.path = os.path.join(WORK, "nomem." + program)
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 40)

    def arm(self, n):
        self.map[0:40] = struct.pack("=5Q", 0, n, 0, 0, 0)

    def __getattr__(self, name):
        return struct.unpack("=5Q", self.map[0:40])[FIELDS.index(name)]


def preloaded(control, **more):
    environment = {k: v for k, v in os.environ.items() if k != "SOFTHSM2_CONF"}
    return environment | {"LD_PRELOAD": WORK + "/nomem.so", "NOMEM": control.path} | more


def numbers(total, every):
    """Every n up to 2,000 and a sample beyond, or a sample; what there is no time for is spread."""
    first = list(range(1, min(total, 2000) + 1))
    rest = list(range(len(first) + 1, total + 1))
    random.shuffle(first)
    return (first if every else first[:40]) + random.sample(rest, min(len(rest), 200 if every else 10))


class Cycles(Service):
    def __init__(self, command):
        super().__init__()
        self.command, self.process = command, None
        self.path = os.path.join(WORK, "log")
        self.control = {p: Control(p) for p in (*CHILDREN, "dcsignd", "tool")}
        self.read = os.path.getsize(self.path)
        self.killed = set()
        self.statuses = {}
        self.failures = self.reached = 0

    # ---- the service ----

    def begin(self):
        with open(self.path, "ab") as log:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=preloaded(self.control["dcsignd"])
            )
        self.daemon = self.process.pid

    def end(self):
        if self.process is None:
            return 0
        self.process.terminate()
        status = self.process.wait(60)
        self.process = None
        return status

    def ask(self):
        try:
            status = self.issue("www")[0]
        except Failed:
            status = 0
        self.statuses[status] = self.statuses.get(status, 0) + 1
        # never that the client, its key or its request is not as it should be
        check(status in (0, 201, 500, 503, 504), f"an answer that says what is not so: {status}")
        return status == 201

    def whole(self):
        until = time.monotonic() + WHOLE
        while time.monotonic() < until:
            if self.process is None or self.process.poll() is not None:
                check(self.process is None or self.process.returncode in (0, AGAIN), f"dcsignd: {self.process}")
                self.begin()  # what a service manager does
            if self.ask():
                return
            time.sleep(0.02)
        raise Failed(f"not whole after {WHOLE} s")

    def log_since(self):
        with open(self.path, "rb") as f:
            f.seek(self.read)
            text = f.read().decode(errors="replace")
            self.read = f.tell()
        return text

    def check_log(self, program, phase, reached):
        name = program if program == "dcsignd" else f"dcsignd-{program}"
        says, ended = f"{name}: out of memory", f"child={name} .*exit={AGAIN} "
        text = self.log_since()
        until = time.monotonic() + WHOLE
        if reached and phase in ("request", "start"):
            while says not in text or (program in CHILDREN and not re.search(ended, text)):
                check(time.monotonic() < until, f"{name} does not say what it lacks and exit with {AGAIN}")
                time.sleep(0.02)  # it was perhaps the last thing that happened
                text += self.log_since()
        for line in text.splitlines():
            m = re.search(r"pid=(\d+) exit=(\d+) signal=(\d+)", line)
            if m and int(m[1]) not in self.killed:
                check(m[3] == "0", f"ended by a signal: {line}")

    def reborn(self, program):
        if program == "dcsignd":
            self.end()
            self.begin()
            return
        pid = self.child(program)
        if pid is not None:
            self.killed.add(pid)
            os.kill(pid, signal.SIGKILL)

    def check_only(self):
        p = subprocess.run(
            self.command + ["-n"], stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
            env=preloaded(self.control["dcsignd"]),
        )  # fmt: skip
        said = p.stdout + p.stderr
        check(not re.search(rb"signal [1-9]", said), f"dcsignd -n: {said!r}")
        want = AGAIN if self.control["dcsignd"].failed > 0 else 0
        failed = any(self.control[c].failed > 0 for c in CHILDREN)
        check(p.returncode == want or (failed and p.returncode > 0), f"dcsignd -n: {p.returncode} {said!r}")

    def phase(self, program, phase):
        if phase == "request":
            self.ask()
        elif phase == "sighup":
            self.process.send_signal(signal.SIGHUP)
            time.sleep(0.15)
            self.ask()
        elif phase == "start":
            self.reborn(program)
        elif phase == "check":
            self.check_only()
        else:
            status = self.end()
            check(status in (0, AGAIN), f"dcsignd ended with {status}")

    def trial(self, program, phase, n):
        """Whether n was reached, how many allocations there were and how many of them bare."""
        control = self.control[program]
        if phase != "check":
            self.whole()
            self.log_since()
        control.arm(n)
        self.phase(program, phase)
        if phase not in ("check", "stop"):
            self.whole()
        result = control.failed > 0, control.count, control.bare
        control.arm(0)
        self.check_log(program, phase, result[0])
        return result

    def series(self, program, phase, seconds, every):
        until = time.monotonic() + seconds
        _, total, bare = self.trial(program, phase, 0)
        # Each allocation goes through src/memory.c: so whichever fails, the process ends with 75.
        check(bare == 0, f"{program} {phase}: {bare} of {total} allocations past memory.c")
        todo = numbers(total, every)
        done = reached = 0
        for n in todo:
            if done > 0 and time.monotonic() > until:
                break
            try:
                reached += self.trial(program, phase, n)[0]
            except Failed as e:
                self.failures += 1
                print(f"FAIL: {program} {phase} {n}: {e}", flush=True)
            done += 1
        self.reached += reached
        print(f"-- {program} {phase}: {total} allocations, {done} of {len(todo)} tried, {reached} failed", flush=True)

    # ---- programs that a person or a timer starts ----

    def tool(self, name, command, seconds, every, again=None):
        """With n: exit 4 and the reason, and as if nothing had been (again) afterwards."""
        control = self.control["tool"]
        until = time.monotonic() + seconds

        def run(n):
            control.arm(n)
            p = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
                env=preloaded(control, SOFTHSM2_CONF=WORK + "/hsm/softhsm2.conf"),
            )  # fmt: skip
            return p.returncode, p.stdout + p.stderr

        status, said = run(0)
        total, bare = control.count, control.bare
        check(status == 0, f"{name}: {status} {said!r}")
        check(total > 0 and bare == 0, f"{name}: {bare} of {total} allocations past memory.c")
        todo = numbers(total, every)
        done = reached = 0
        for n in todo:
            if done > 0 and time.monotonic() > until:
                break
            status, said = run(n)
            failed = control.failed > 0
            good = status == 4 and b"out of memory" in said if failed else status == 0
            if not good:
                self.failures += 1
                print(f"FAIL: {name} {n}: {status} {said[-300:]!r}", flush=True)
            done += 1
            reached += failed
        control.arm(0)
        if again is not None:
            again(run)
        self.reached += reached
        print(f"-- {name}: {total} allocations, {done} of {len(todo)} tried, {reached} failed", flush=True)

    def tools_at_rest(self, seconds, every):
        build = os.environ["TOP_BUILDDIR"]
        token = ["--module", os.environ["MODULE"], "--uri", "pkcs11:token=demo", "--pin", f"file:{WORK}/hsm/pin"]
        ledger = ["--ledger", f"sqlite:{WORK}/state/ledger.db"]
        tools = {
            "dcsign-keys list": [build + "/hsm/dcsign-keys", "list", *token],
            "dcsign-ledger verify": [build + "/src/ledger/dcsign-ledger", "verify", *ledger],
            "dcsign-ledger list": [build + "/src/ledger/dcsign-ledger", "list", *ledger],
            "dcsign inspect": [build + "/src/client/dcsign", "inspect", f"{WORK}/pki/edge.dc"],
        }
        for name, command in tools.items():
            if every or name in ("dcsign-keys list", "dcsign-ledger list"):
                self.tool(name, command, seconds / len(tools), every)

    def tools_of_the_service(self, seconds, every):
        dcsign = os.environ["TOP_BUILDDIR"] + "/src/client/dcsign"
        to = ["--url", self.url, "--ca", f"{WORK}/pki/ca.pem", "--cert", f"{WORK}/pki/edge.pem"]
        to += ["--tls-key", f"{WORK}/pki/edge.key", "--key", "www"]
        agent = f"{WORK}/etc/agent.conf"
        with open(agent, "w", encoding="ascii") as f:
            f.write(
                f'service s {{ url = "{self.url}" ca = "{WORK}/pki/ca.pem" certificate = "{WORK}/pki/edge.pem" '
                f'private_key = "{WORK}/pki/edge.key" }}\n'
                f'credential c {{ service = s key = www lifetime = 10m output = "{WORK}/agent" }}\n'
            )

        def set_is_whole(run):
            status, said = run(0)
            check(status == 0, f"dcsign agent afterwards: {status} {said!r}")
            p = subprocess.run(
                [dcsign, "verify", "--certificate", f"{WORK}/agent/chain.pem", f"{WORK}/agent/credential.dc"],
                capture_output=True, check=False,
            )  # fmt: skip
            check(p.returncode == 0, f"the set does not verify: {p.stderr!r}")

        self.whole()
        request = [dcsign, "request", *to, "--new-key", "ecdsa_secp256r1_sha256", "-o", f"{WORK}/request"]
        if every:
            self.tool("dcsign request", request, seconds / 2, every)
        self.tool("dcsign agent", [dcsign, "agent", "-c", agent, "--once"], seconds / 2, every, set_is_whole)


def main():
    seed = int(os.environ.get("NOMEM_SEED", time.time_ns() % 10**6))
    random.seed(seed)
    long = os.environ.get("DCSIGN_TESTS") == "long"
    service = Cycles([sys.argv[1], "-c", sys.argv[2]])
    seconds = float(os.environ.get("NOMEM_SECONDS", 600 if long else 1))
    pairs = [(p, f) for p in (*CHILDREN, "dcsignd") for f in PHASES if long or f in ("request", "start")]
    print(f"-- seed {seed}", flush=True)
    try:
        if len(sys.argv) > 4:
            service.whole()
            for n in sys.argv[5:]:
                print(service.trial(sys.argv[3], sys.argv[4], int(n)), flush=True)
            if len(sys.argv) == 5:
                service.series(sys.argv[3], sys.argv[4], seconds, long)
        else:
            service.tools_at_rest(seconds * 0.2, long)
            service.tools_of_the_service(seconds * 0.2, long)
            for p, f in pairs:
                service.series(p, f, seconds * 0.6 / len(pairs), long)
            check(service.reached >= 8, f"only {service.reached} allocations failed")
        service.whole()
    finally:
        status = service.end()
    check(service.failures == 0, f"{service.failures} times")
    check(status == 0, f"dcsignd ended with {status} after SIGTERM")
    print(f"-- answers: {dict(sorted(service.statuses.items()))}")


if __name__ == "__main__":
    try:
        main()
    except Failed as e:
        sys.exit(f"FAIL: {e}")
