"""The n-th allocation of one program fails: in copies of the process for every n up to EVERY and a
sample beyond, in the process itself for a few: see nomem.c and e2e_nomem.sh.

nomem_cycles.py DCSIGND CONFIG [PROGRAM PHASE N...]: with WORK, URL, MONITOR, SPKI in the environment.
"""

import mmap
import os
import random
import re
import shutil
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
UNEXPECTED = 4  # what a tool does
FEW = 10  # that fail in the process itself, of each program and phase
WHOLE = 60.0  # seconds until the service must be whole, however busy the machine is
EVERY, SAMPLE = 2000, 200
THREADS = 8  # that may be at a copy while they are counted
WINDOW = 500  # so many copies at most while the others wait for an answer
FIELDS = ("count", "fail", "failed", "guarded", "bare", "first", "last", "step", "want",
          "tried", "wrong", "wrong_n", "status", "large", "large_n")  # fmt: skip
LAYOUT = f"={len(FIELDS)}Q"
SIZE = struct.calcsize(LAYOUT)


class Control:
    """The file of nomem.so."""

    def __init__(self, program):
        self.path = os.path.join(WORK, "nomem." + program)
        with open(self.path, "r+b") as f:
            self.map = mmap.mmap(f.fileno(), SIZE)

    def set(self, step=0, **values):
        """While the process runs: without a step nothing is copied, so that one comes last."""
        at = 8 * FIELDS.index("step")
        self.map[at : at + 8] = struct.pack("=Q", 0)
        self.map[0:SIZE] = struct.pack(LAYOUT, *(values.get(name, 0) for name in FIELDS))
        self.map[at : at + 8] = struct.pack("=Q", step)

    def arm(self, n):
        self.set(fail=n)

    def copies(self, first, last, step, want):
        self.set(first=first, last=last, step=step, want=want)

    def __getattr__(self, name):
        return struct.unpack(LAYOUT, self.map[0:SIZE])[FIELDS.index(name)]

    def said(self, read, says):
        """A copy is counted when it is made, before it speaks: reads on, in pieces, until all have."""
        until, text = time.monotonic() + WHOLE, read()
        while text.count(says) < self.tried and self.wrong == 0:
            check(time.monotonic() < until, f"not all of {self.tried} copies say what they lack")
            time.sleep(0.01)
            text += read()

    def swept(self):
        """How many copies there were; each must have ended as it has to."""
        check(self.wrong == 0, f"{self.wrong} copies, the last at {self.wrong_n}, ended with status {self.status:#x}")
        reached = max(0, min(self.count, self.last) - self.first + 1)
        tried = self.tried
        check(tried + self.large + THREADS >= reached // self.step, f"{tried} copies of {reached}")
        return tried


def preloaded(control, **more):
    environment = {k: v for k, v in os.environ.items() if k != "SOFTHSM2_CONF"}
    return environment | {"LD_PRELOAD": WORK + "/nomem.so", "NOMEM": control.path} | more


def windows(total, every):
    """(first, last, step): all up to EVERY, some beyond."""
    if not every:
        return [(1, 150, 1)]
    found = [(n, n + WINDOW - 1, 1) for n in range(1, min(total, EVERY) + 1, WINDOW)]
    if total > EVERY:
        found.append((EVERY + 1, total, (total - EVERY) // SAMPLE + 1))
    return found


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
            self.command + ["-n"], stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
            env=preloaded(self.control["dcsignd"]),
        )  # fmt: skip
        said = p.stdout + p.stderr
        check(not re.search(rb"signal [1-9]", said), f"dcsignd -n: {said!r}")
        want = AGAIN if self.control["dcsignd"].failed > 0 else 0
        failed = any(self.control[c].failed > 0 for c in CHILDREN)
        check(p.returncode == want or (failed and p.returncode > 0), f"dcsignd -n: {p.returncode} {said!r}")

    def hangup(self):
        """SIGHUP, and a request when all have taken the configuration, or when one has died of it."""
        before = os.path.getsize(self.path)
        until = time.monotonic() + WHOLE
        self.process.send_signal(signal.SIGHUP)
        text = b""
        while not re.search(rb'event="configuration taken"|event="configuration refused|event=ended', text):
            if self.process.poll() is not None or time.monotonic() > until:
                break
            time.sleep(0.02)
            with open(self.path, "rb") as f:
                f.seek(before)
                text = f.read()
        self.ask()

    def phase(self, program, phase):
        if phase == "request":
            self.ask()
        elif phase == "sighup":
            self.hangup()
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

    def sweep(self, program, phase, window):
        """Copies fail, the service goes on: how many."""
        control = self.control[program]
        if phase != "check":
            self.whole()
            self.log_since()
        control.copies(*window, AGAIN)
        self.phase(program, phase)
        if phase not in ("check", "stop"):
            self.whole()
        if phase != "check":
            control.said(self.log_since, f"{'dcsignd' if program == 'dcsignd' else 'dcsignd-' + program}: out of memory\n")
        tried, large = control.swept(), control.large_n
        control.arm(0)
        if large > 0:
            self.trial(program, phase, large)
        return tried

    def series(self, program, phase, seconds, every):
        _, total, bare = self.trial(program, phase, 0)
        # Each allocation goes through src/memory.c: so whichever fails, the process ends with 75.
        check(bare == 0, f"{program} {phase}: {bare} of {total} allocations past memory.c")
        copies = self.attempt(lambda w: self.sweep(program, phase, w), windows(total, every), None)
        sample = random.sample(range(1, total + 1), min(total, FEW))
        failed = self.attempt(lambda n: self.trial(program, phase, n)[0], sample, seconds)
        print(f"-- {program} {phase}: {total} allocations, {copies} failed in copies, {failed} in the process", flush=True)

    def attempt(self, run, todo, seconds):
        """The sum of what they give; at least one of them."""
        until = time.monotonic() + (seconds or float("inf"))
        sum_of = 0
        for at, x in enumerate(todo):
            if at > 0 and time.monotonic() > until:
                break
            try:
                sum_of += run(x)
            except Failed as e:
                self.failures += 1
                print(f"FAIL: {run.__qualname__.split('.')[1]} {x}: {e}", flush=True)
        self.reached += sum_of
        return sum_of

    # ---- programs that a person or a timer starts ----

    def tool(self, name, command, seconds, every, agent=None):
        """With n: exit 4 and the reason, and as if nothing had been afterwards. An agent has everything to do
        but after it failed: then it goes on."""
        control = self.control["tool"]

        def run():
            p = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=False,
                env=preloaded(control, SOFTHSM2_CONF=WORK + "/hsm/softhsm2.conf"),
            )  # fmt: skip
            return p.returncode, p.stdout + p.stderr

        def sweep(window):
            if agent is not None:
                agent.forget()
            control.copies(*window, UNEXPECTED)
            status, said = run()
            check(status == 0, f"{name} {window}: {status} {said[-300:]!r}")
            check(said.count(b": out of memory\n") >= control.swept(), f"{name}: not all copies say what they lack")
            check(control.large == 0, f"{name}: {control.large_n} is too large for a copy, try it otherwise")
            return control.tried

        def trial(n):
            control.arm(n)
            status, said = run()
            failed = control.failed > 0
            good = status == UNEXPECTED and b"out of memory" in said if failed else status == 0
            check(good, f"{name} {n}: {status} {said[-300:]!r}")
            control.arm(0)
            if agent is not None:
                agent.goes_on()
                agent.forget()
            return failed

        control.arm(0)
        status, said = run()
        check(status == 0, f"{name}: {status} {said!r}")
        total, bare = control.count, control.bare
        check(total > 0 and bare == 0, f"{name}: {bare} of {total} allocations past memory.c")
        copies = self.attempt(sweep, windows(total, every), None)
        failed = self.attempt(trial, random.sample(range(1, total + 1), min(total, FEW)), seconds)
        print(f"-- {name}: {total} allocations, {copies} failed in copies, {failed} in the process", flush=True)

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
        request = [dcsign, "request", *to, "--new-key", "ecdsa_secp256r1_sha256", "-o", f"{WORK}/request"]
        agent = Agent(self, dcsign, "8s" if every else "60s")
        self.whole()
        if every:
            self.tool("dcsign request", request, seconds / 2, every)
        self.tool("dcsign agent --once", agent.command + ["--once"], seconds / 2, every, agent)
        if every:
            self.agent_daemon(agent, seconds / 2)

    def agent_daemon(self, agent, seconds):
        """Whatever ends it, the next one goes on. SIGHUP and SIGTERM end it at once, without an allocation."""
        control = self.control["tool"]

        def sweep(phase, window):
            self.whole()
            status, said = agent.life(phase, lambda: control.copies(*window, UNEXPECTED))
            check(status == -signal.SIGTERM, f"dcsign agent {phase} {window}: {status} {said[-300:]!r}")
            with open(agent.out, "rb") as out:
                control.said(out.read, b": out of memory\n")
            return control.swept()

        def trial(phase, n):
            self.whole()
            status, said = agent.life(phase, lambda: control.arm(n))
            failed = control.failed > 0
            good = status == UNEXPECTED and b"out of memory" in said if failed else status == -signal.SIGTERM
            check(good, f"dcsign agent {phase} {n}: {status} {said[-300:]!r}")
            control.arm(0)
            agent.goes_on()
            return failed

        for phase in ("start", "renewal"):
            trial(phase, 0)
            agent.life(phase, lambda: control.arm(0))
            total, bare = control.count, control.bare
            check(total > 0 and bare == 0, f"dcsign agent {phase}: {bare} of {total} allocations past memory.c")
            copies = self.attempt(lambda w: sweep(phase, w), windows(total, True), None)
            failed = self.attempt(lambda n: trial(phase, n), random.sample(range(1, total + 1), FEW), seconds / 2)
            print(f"-- dcsign agent {phase}: {total} allocations, {copies} failed in copies, {failed} in the process", flush=True)


class Agent:
    """dcsign agent with one credential, which it renews every few seconds."""

    def __init__(self, service, dcsign, lifetime):
        conf, self.folder, self.dcsign = f"{WORK}/etc/agent.conf", f"{WORK}/agent", dcsign
        self.out = WORK + "/out/agent"
        with open(conf, "w", encoding="ascii") as f:
            f.write(
                f'service s {{ url = "{service.url}" ca = "{WORK}/pki/ca.pem" certificate = "{WORK}/pki/edge.pem" '
                f'private_key = "{WORK}/pki/edge.key" }}\n'
                f'credential c {{ service = s key = www lifetime = {lifetime} output = "{self.folder}" }}\n'
            )
        self.environment = preloaded(service.control["tool"])
        self.command = [dcsign, "agent", "-c", conf]

    def forget(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def credential(self):
        try:
            with open(self.folder + "/credential.dc", "rb") as f:
                return f.read()
        except FileNotFoundError:
            return None

    def goes_on(self):
        """One that was ended in the middle has left nothing that the next can't do with."""
        p = subprocess.run(self.command + ["--once"], capture_output=True, timeout=120, check=False)
        check(p.returncode == 0, f"dcsign agent afterwards: {p.returncode} {p.stderr!r}")
        verify = [self.dcsign, "verify", "--certificate", self.folder + "/chain.pem", self.folder + "/credential.dc"]
        p = subprocess.run(verify, capture_output=True, check=False)
        check(p.returncode == 0, f"the set does not verify: {p.stderr!r}")

    def life(self, phase, arm):
        """From nothing to the first credential, or on to the second: status, and what it says."""
        self.forget()
        if phase == "start":
            arm()
        with open(self.out, "w+b") as out:
            p = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=self.environment)
            self.until_another(p, None)
            if phase == "renewal":
                arm()
                self.until_another(p, self.credential())
            p.terminate()
            p.wait(60)
            out.seek(0)
            return p.returncode, out.read()

    def until_another(self, p, old):
        until = time.monotonic() + 2 * WHOLE
        while p.poll() is None and self.credential() in (None, old):
            check(time.monotonic() < until, "dcsign agent gets no credential")
            time.sleep(0.02)


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
