"""kill -9 of random processes of the service under load, again and again, with nobody's help but a
supervisor that starts dcsignd again when it ends.

kill_cycles.py DCSIGND CONFIG KILLS: with WORK, URL, MONITOR, SPKI in the environment. What clients got
lies in WORK/got afterwards. Every tenth kill waits for a quiet service and measures how long it takes
until a credential that is asked for afterwards is there. KILL_TIMES=FILE keeps these times, a line each.

kill_cycles.py --times FILE...: the times of several services together: 99 of 100 within 1 s, too, as in
check-long.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time

from hsm_service import Failed, Service, check

NAMES = ("hsm", "ledger", "api")
RECOVERY = 60.0  # seconds: more than this is no recovery, however busy the machine


class Supervisor(threading.Thread):
    def __init__(self, command, log):
        super().__init__(daemon=True)
        self.command, self.log = command, log
        self.stop = False
        self.process = None
        self.ends = []

    def run(self):
        while not self.stop:
            self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
            status = self.process.wait()
            self.ends.append(status)
            if status not in (0, -signal.SIGKILL):
                time.sleep(0.1)


class Cycles(Service):
    def __init__(self, supervisor):
        super().__init__()
        self.supervisor = supervisor
        self.quiet = threading.Event()
        self.stop = False
        self.asked = self.issued = 0

    def client(self, key):
        while not self.stop:
            self.asked += 1
            try:
                status = self.issue(key)[0]
            except Failed:
                status = 0
            self.issued += status == 201
            if status != 201:
                time.sleep(0.02)

    def alive(self):
        """(name, pid) of what can be killed now; the daemon itself now and then."""
        self.daemon = self.supervisor.process.pid
        found = [(name, self.child(name)) for name in NAMES]
        return [(name, pid) for name, pid in found if pid is not None]

    def recovered(self, begun):
        while time.monotonic() - begun < RECOVERY:
            try:
                if self.issue("www")[0] == 201:
                    return time.monotonic() - begun
            except Failed:
                pass
            time.sleep(0.01)
        raise Failed(f"no credential within {RECOVERY} s")

    def victim(self, n):
        if n % 14 == 10:  # so that some of those that are measured are of the daemon
            return "daemon", self.supervisor.process.pid
        until = time.monotonic() + RECOVERY
        while time.monotonic() < until:
            found = self.alive()
            if found:
                return random.choice(found)
            time.sleep(0.01)
        raise Failed(f"no process is born within {RECOVERY} s")

    def kill_one(self, n):
        name, pid = self.victim(n)
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        return name


def times_say(recoveries):
    """Of a sorted list of (seconds, what was killed)."""
    n = len(recoveries)
    return (
        f"recovery: median {recoveries[n // 2][0]:.2f} s, 99 % {recoveries[min(n - 1, n * 99 // 100)][0]:.2f} s, "
        f"longest {recoveries[-1][0]:.2f} s ({recoveries[-1][1]})"
    )


def times_check(recoveries):
    late = [r for r in recoveries if r[0] > 1]
    check(len(late) * 100 <= len(recoveries), f"more than one of a hundred took over 1 s: {late}")


def times_keep(recoveries):
    if "KILL_TIMES" in os.environ:
        with open(os.environ["KILL_TIMES"], "w", encoding="ascii") as f:
            f.writelines(f"{seconds:.4f} {name}\n" for seconds, name in recoveries)


def times_of(files):
    recoveries = []
    for name in files:
        with open(name, encoding="ascii") as f:
            recoveries += [(float(line.split()[0]), line.split()[1]) for line in f]
    recoveries.sort()
    print(f"-- {len(files)} services, {len(recoveries)} times; {times_say(recoveries)}")
    times_check(recoveries)


def main():
    seed = int(os.environ.get("KILL_SEED", time.time_ns() % 10**6))
    random.seed(seed)
    kills = int(sys.argv[3])
    begun = time.monotonic()
    with open(os.path.join(os.environ["WORK"], "log"), "ab") as log:
        environment = {k: v for k, v in os.environ.items() if k != "SOFTHSM2_CONF"}
        os.environ.clear()
        os.environ.update(environment)
        supervisor = Supervisor(sys.argv[1:2] + ["-c", sys.argv[2]], log)
        supervisor.start()
        time.sleep(0.2)
        service = Cycles(supervisor)
        service.recovered(time.monotonic())
        clients = [threading.Thread(target=service.client, args=(k,)) for k in ("www", "www384", "www")]
        for c in clients:
            c.start()
        count, recoveries = {}, []
        try:
            for n in range(kills):
                if n % 10 == 0:
                    service.recovered(time.monotonic())
                name = service.kill_one(n)
                count[name] = count.get(name, 0) + 1
                if n % 10 == 0:
                    recoveries.append((service.recovered(time.monotonic()), name))
                time.sleep(random.uniform(0, 0.15))
            service.recovered(time.monotonic())
        finally:
            service.stop = True
            for c in clients:
                c.join()
            supervisor.stop = True
            supervisor.process.terminate()
            supervisor.join(100)
    check(supervisor.ends[-1] == 0, f"dcsignd ended with {supervisor.ends[-1]} after SIGTERM")
    # 70: a child was killed before it had answered at the first start
    strange = [e for e in supervisor.ends if e not in (0, -signal.SIGKILL, 70)]
    check(not strange, f"dcsignd ended by itself: {strange}")
    recoveries.sort()
    seconds = time.monotonic() - begun
    print(
        f"-- {kills} kills in {seconds:.0f} s ({', '.join(f'{v} {k}' for k, v in sorted(count.items()))}), seed {seed}: "
        f"{service.issued} of {service.asked} requests got a credential; {times_say(recoveries)}"
    )
    times_keep(recoveries)
    if os.environ.get("DCSIGN_TESTS") == "long":  # on a machine without other work, so within 1 s
        times_check(recoveries)
    check(service.issued >= kills / 10, f"only {service.issued} credentials under load")


if __name__ == "__main__":
    try:
        times_of(sys.argv[2:]) if sys.argv[1] == "--times" else main()
    except Failed as e:
        sys.exit(f"FAIL: {e}")
