"""Many keys: see e2e_scale.sh. Times are those of the log's lines; work is processor time of all the
service's processes, which a busy machine does not change much.

hsm_scale.py few     with a few keys configured: when they are served again after kill -9; the work of a
                     request into out/few
hsm_scale.py sound   the same and more with many keys, none of them refused, into out/sound
hsm_scale.py many    the process that holds many keys is lost: when they are served again"""

import datetime
import os
import re
import sys
import time

from hsm_service import WORK, Failed, Service, check, statuses

STAMP = re.compile(r"ts=(\S+Z) .*")
REQUESTS = 400
IDLE = 20  # seconds


def seconds(line):
    return datetime.datetime.fromisoformat(STAMP.match(line)[1].replace("Z", "+00:00")).timestamp()


def served(pid):
    """When the process of this pid was born, and when it served each key."""
    born, keys = None, []
    with open(f"{WORK}/log", encoding="utf-8", errors="replace") as f:
        for line in f:
            if f"event=born child=dcsignd-hsm token=main pid={pid}" in line:
                born, keys = seconds(line), []
            elif 'event="key is served"' in line:
                keys.append(seconds(line))
    return born, keys


def resident(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def work_of(pid):
    """Seconds of processor time."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def work(s):
    return sum(work_of(p) for p in (s.daemon, s.child("api"), s.child("ledger"), s.child()))


def work_of_a_request(s):
    """Milliseconds, the least of three: other work, of the keeper say, only adds."""
    s.load(2, 20)
    least = float("inf")
    for _ in range(3):
        before = work(s)
        results = s.load(2, REQUESTS // 2)
        check(statuses(results) == {201: REQUESTS}, f"{statuses(results)}")
        least = min(least, (work(s) - before) / REQUESTS * 1000)
    return least


class Start:
    """The process is lost; until all keys are served by the next."""

    def __init__(self, s, count):
        old, others = s.child(), (s.daemon, s.child("api"), s.child("ledger"))
        before, killed = sum(map(work_of, others)), time.time()
        s.kill()
        deadline = time.monotonic() + 240
        while time.monotonic() < deadline:
            self.pid = s.child()
            if self.pid not in (None, old):
                born, keys = served(self.pid)
                if born is not None and len(keys) == count:
                    self.first, self.last = min(keys) - born, max(keys) - born  # seconds
                    self.again = max(keys) - killed
                    self.work = work_of(self.pid) + sum(map(work_of, others)) - before
                    return
            time.sleep(0.2)
        raise Failed(f"{len(keys)} of {count} keys are served after 240 s")


def idle(s):
    """The share of a processor that is used while nobody asks."""
    begun, before = time.monotonic(), work(s)
    time.sleep(IDLE)
    return (work(s) - before) / (time.monotonic() - begun)


def what_the_module_takes():
    return [dict(f.split("=") for f in line.split()) for line in os.environ["FLOORS"].splitlines()]


def quiet():
    """Had the machine nothing else to do?"""
    return all(int(f["wall"]) < 1.2 * int(f["cpu"]) for f in what_the_module_takes())


def few(s):
    count, limits = int(os.environ["KEYS"]), os.environ["LIMITS"] == "yes"
    with open(f"{WORK}/out/few", "w", encoding="ascii") as f:
        f.write(str(work_of_a_request(s)))
    times = []
    while limits and len(times) < 5:
        time.sleep(1.2)  # who lives shorter is born again later
        times.append(Start(s, count).again)
    if limits:
        print(f"{count} keys are served again {', '.join(f'{t:.3f}' for t in times)} s after kill -9")
        check(min(times) < (0.2 if quiet() else 1), "too late")


def sound(s):
    begun = Start(s, int(os.environ["KEYS"]))
    s.healthy(within=60)
    with open(f"{WORK}/out/sound", "w", encoding="ascii") as f:
        print(begun.work, work_of_a_request(s), idle(s), file=f)


def many(s):
    count, limits = int(os.environ["KEYS"]), os.environ["LIMITS"] == "yes"
    floors = what_the_module_takes()
    floor = {k: min(int(f[k]) for f in floors) for k in floors[0]}
    wall = max(int(f["wall"]) for f in floors) / 1000
    begun = Start(s, count)
    for _ in range(2 if limits else 0):  # other work only adds
        time.sleep(1.2)  # who lives shorter is born again later
        begun = min(begun, Start(s, count), key=lambda start: start.last)
    s.healthy(within=60)
    more = (resident(s.child()) - floor["kb"]) / 1024
    print(f"{count} keys and one that is refused: the first is served {begun.first:.2f} s after the process was born, "
          f"the last {begun.last:.2f} s, {begun.work:.2f} s of work; the module alone lists them, reads what they are "
          f"and signs once with each in {wall:.2f} s, {floor['cpu'] / 1000:.2f} s of work "
          f"({', '.join(f'{k} {v} ms' for k, v in floor.items() if k not in ('kb', 'cpu', 'wall'))}): "
          f"{begun.work * 1000 / floor['cpu']:.2f} times as much; "
          f"{more:.1f} MB above the module's own {floor['kb'] / 1024:.0f} MB")  # fmt: skip
    with open(f"{WORK}/out/few", encoding="ascii") as f:
        before = float(f.read())
    now = work_of_a_request(s)
    print(f"work of a request: {now:.3f} ms; with 10 keys {before:.3f} ms ({now / before:.2f})")
    if not limits:
        return
    used = idle(s)
    with open(f"{WORK}/out/sound", encoding="ascii") as f:
        sound_work, sound_request, sound_idle = map(float, f.read().split())
    print(f"nobody asks: {100 * used:.2f} % of a processor; without the key that is refused {100 * sound_idle:.2f} %, "
          f"{sound_work:.2f} s of work to the last key, {sound_request:.3f} ms a request")  # fmt: skip
    check(begun.work * 1000 < 4 * floor["cpu"], f"{begun.work:.2f} s of work")
    check(more < 25, f"{more:.1f} MB above the module's own")
    check(now < 1.25 * before, f"the work of a request: {now:.3f} ms, {before:.3f} ms with 10 keys")
    check(used < 0.03, f"{100 * used:.1f} % of a processor while nobody asks")
    check(begun.work < 1.15 * sound_work + 0.1, f"{begun.work:.2f} s of work, {sound_work:.2f} s without the refused key")
    check(now < 1.25 * sound_request, f"{now:.3f} ms a request, {sound_request:.3f} ms without the refused key")
    check(used < sound_idle + 0.02, f"{100 * used:.1f} % of a processor, {100 * sound_idle:.1f} % without it")
    # on a machine that has something else to do, several threads wait longer for it than one
    if not quiet():
        print("the machine has something else to do: times are held against the module's own")
    check(begun.first < (1 if quiet() else max(1, 2 * wall)), f"the first key was served after {begun.first:.2f} s")
    check(begun.last < (3 if quiet() else max(3, 5 * wall)), f"the last key was served after {begun.last:.2f} s")


if __name__ == "__main__":
    service = Service()
    service.healthy(within=60)
    try:
        {"few": few, "sound": sound, "many": many}[sys.argv[1]](service)
    except Failed as e:
        sys.exit(f"FAIL {e}")
