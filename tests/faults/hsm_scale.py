"""Many keys: see e2e_scale.sh. Times are those of the log's lines; work is processor time of all the
service's processes, which a busy machine does not change much.

hsm_scale.py few     the work of a request, with a few keys configured, into out/few
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
    """Milliseconds."""
    s.load(2, 20)
    before = work(s)
    results = s.load(2, REQUESTS // 2)
    check(statuses(results) == {201: REQUESTS}, f"{statuses(results)}")
    return (work(s) - before) / REQUESTS * 1000


def few(s):
    with open(f"{WORK}/out/few", "w", encoding="ascii") as f:
        f.write(str(work_of_a_request(s)))


def start(s, count):
    """The process is lost; until all keys are served by the next: its pid, and seconds."""
    old, others = s.child(), (s.daemon, s.child("api"), s.child("ledger"))
    before = sum(map(work_of, others))
    s.kill()
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        pid = s.child()
        if pid not in (None, old):
            born, keys = served(pid)
            if born is not None and len(keys) == count:
                done = work_of(pid) + sum(map(work_of, others)) - before
                return pid, min(keys) - born, max(keys) - born, done
        time.sleep(0.2)
    raise Failed(f"{len(keys)} of {count} keys are served after 240 s")


def many(s):
    count, limits = int(os.environ["KEYS"]), os.environ["LIMITS"] == "yes"
    floors = [dict(f.split("=") for f in line.split()) for line in os.environ["FLOORS"].splitlines()]
    floor = {k: min(int(f[k]) for f in floors) for k in floors[0]}
    wall = max(int(f["wall"]) for f in floors) / 1000
    pid, first, last, done = start(s, count)
    s.healthy(within=30)
    more = (resident(pid) - floor["kb"]) / 1024
    print(f"{count} keys and one that is refused: the first is served {first:.2f} s after the process was born, "
          f"the last {last:.2f} s, {done:.2f} s of work; the module alone lists them, reads what they are and signs "
          f"once with each in {wall:.2f} s, {floor['cpu'] / 1000:.2f} s of work "
          f"({', '.join(f'{k} {v} ms' for k, v in floor.items() if k not in ('kb', 'cpu', 'wall'))}): "
          f"{done * 1000 / floor['cpu']:.2f} times as much; "
          f"{more:.1f} MB above the module's own {floor['kb'] / 1024:.0f} MB")  # fmt: skip
    with open(f"{WORK}/out/few", encoding="ascii") as f:
        before = float(f.read())
    now = work_of_a_request(s)
    print(f"work of a request: {now:.3f} ms; with 10 keys {before:.3f} ms ({now / before:.2f})")
    if not limits:
        return
    idle = work_of(pid)
    time.sleep(IDLE)
    idle = (work_of(pid) - idle) / IDLE
    print(f"nobody asks, one key is refused: {100 * idle:.2f} % of a processor")
    check(done * 1000 < 4 * floor["cpu"], f"{done:.2f} s of work")
    # on a machine that has something else to do, several threads wait longer for it than one
    check(first < max(1, 2 * wall), f"the first key was served after {first:.2f} s")
    check(last < max(3, 5 * wall), f"the last key was served after {last:.2f} s")
    check(more < 25, f"{more:.1f} MB above the module's own")
    check(now < 1.25 * before, f"the work of a request: {now:.3f} ms, {before:.3f} ms with 10 keys")
    check(idle < 0.08, f"{100 * idle:.1f} % of a processor while nobody asks")


if __name__ == "__main__":
    service = Service()
    service.healthy(within=30)
    try:
        (few if sys.argv[1] == "few" else many)(service)
    except Failed as e:
        sys.exit(f"FAIL {e}")
