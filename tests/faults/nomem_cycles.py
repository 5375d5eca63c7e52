"""The n-th allocation of one program of the service fails, for many n: see e2e_nomem.sh.

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

PROGRAMS = ("ledger", "hsm", "api", "dcsignd")
PHASES = ("request", "sighup", "start", "check", "stop")
WHOLE = 40.0  # seconds until the service must be whole, however busy the machine is
EVERY = 2000
LONG_SECONDS = 1500


class Control:
    def __init__(self, program):
        with open(os.path.join(os.environ["WORK"], "nomem." + program), "r+b") as f:
            self.map = mmap.mmap(f.fileno(), 24)

    def arm(self, n):
        self.map[0:24] = struct.pack("=QQQ", 0, n, 0)

    def counted(self):
        return struct.unpack("=Q", self.map[0:8])[0]

    def failed(self):
        return struct.unpack("=Q", self.map[16:24])[0]


class Cycles(Service):
    def __init__(self, command):
        super().__init__()
        self.command, self.process = command, None
        self.path = os.path.join(os.environ["WORK"], "log")
        self.control = {p: Control(p) for p in PROGRAMS}
        self.read = os.path.getsize(self.path)
        self.killed = set()
        self.statuses = {}
        self.failures = 0

    def begin(self):
        environment = {k: v for k, v in os.environ.items() if k != "SOFTHSM2_CONF"}
        work = os.environ["WORK"]
        environment |= {"LD_PRELOAD": work + "/nomem.so", "NOMEM": work + "/nomem.dcsignd"}
        with open(self.path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
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
        # 400, 422: jansson and OpenSSL do not say that it was memory; it is a refusal all the same
        check(status in (0, 201, 400, 422, 500, 503, 504), f"an answer that nothing explains: {status}")
        return status == 201

    def whole(self):
        until = time.monotonic() + WHOLE
        while time.monotonic() < until:
            if self.process is None or self.process.poll() is not None:
                self.begin()  # what a service manager does
            if self.ask():
                return
            time.sleep(0.02)
        raise Failed(f"not whole after {WHOLE} s")

    def log_is_clean(self):
        with open(self.path, "rb") as f:
            f.seek(self.read)
            text = f.read().decode(errors="replace")
            self.read = f.tell()
        for line in text.splitlines():
            m = re.search(r"pid=(\d+) .*signal=([1-9]\d*)", line)
            check(not m or (int(m[1]) in self.killed and m[2] == "9"), f"ended by a signal: {line}")

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
            env={k: v for k, v in os.environ.items() if k != "SOFTHSM2_CONF"}
            | {"LD_PRELOAD": os.environ["WORK"] + "/nomem.so", "NOMEM": os.environ["WORK"] + "/nomem.dcsignd"},
        )  # fmt: skip
        said = p.stdout + p.stderr
        check(p.returncode >= 0 and not re.search(rb"signal [1-9]", said), f"dcsignd -n: {p.returncode} {said!r}")

    def trial(self, program, phase, n):
        """Whether n was reached."""
        control = self.control[program]
        if phase != "check":
            self.whole()
        control.arm(n)
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
            check(status >= 0, f"dcsignd was ended by signal {-status}")
        if phase not in ("check", "stop"):
            self.whole()
            check(self.process.poll() is None or self.process.returncode >= 0, f"dcsignd: {self.process.returncode}")
        reached = control.failed() > 0
        total = control.counted()
        control.arm(0)
        self.log_is_clean()
        return reached, total

    def series(self, program, phase, seconds, every):
        """Every n from 1, or a sample of what one run allocates, as far as the time goes."""
        until = time.monotonic() + seconds
        total = self.trial(program, phase, 0)[1]
        numbers = list(range(1, min(total, EVERY) + 1)) if every else []
        rest = list(range(len(numbers) + 1, total + 1))
        numbers += random.sample(rest, min(len(rest), 200 if every else 1000))
        if every:
            random.shuffle(numbers)  # what the time does not suffice for is spread
        done = reached = 0
        for n in numbers:
            if time.monotonic() > until:
                break
            try:
                reached += self.trial(program, phase, n)[0]
            except Failed as e:
                self.failures += 1
                print(f"FAIL: {program} {phase} {n}: {e}", flush=True)
            done += 1
        print(f"-- {program} {phase}: {total} allocations, {done} of {len(numbers)} tried, {reached} failed", flush=True)
        return reached


def main():
    seed = int(os.environ.get("NOMEM_SEED", time.time_ns() % 10**6))
    random.seed(seed)
    long = os.environ.get("DCSIGN_TESTS") == "long"
    service = Cycles([sys.argv[1], "-c", sys.argv[2]])
    pairs = [(p, f) for p in PROGRAMS for f in PHASES]
    print(f"-- seed {seed}", flush=True)
    try:
        service.whole()
        if len(sys.argv) > 4:
            for n in sys.argv[5:]:
                print(service.trial(sys.argv[3], sys.argv[4], int(n)), flush=True)
            if len(sys.argv) == 5:
                service.series(sys.argv[3], sys.argv[4], float(os.environ.get("NOMEM_SECONDS", "60")), long)
        else:
            seconds = float(os.environ.get("NOMEM_SECONDS", LONG_SECONDS if long else 15))
            reached = sum(service.series(p, f, seconds / len(pairs), long) for p, f in pairs)
            check(reached >= 10, f"only {reached} allocations failed")
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
