"""Many keys: see e2e_scale.sh. Times are those of the log's lines."""

import datetime
import os
import re
import sys
import time

from hsm_service import WORK, Failed, Service, check

STAMP = re.compile(r"ts=(\S+Z) .*")


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


def main():
    s = Service()
    count, limits = int(os.environ["KEYS"]), os.environ["LIMITS"] == "yes"
    s.healthy(within=30)
    quiet = sorted(r[2] for r in s.load(2, 100))
    old = s.kill()
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        pid = s.child()
        if pid not in (None, old):
            born, keys = served(pid)
            if born is not None and len(keys) == count:
                break
        time.sleep(0.2)
    else:
        raise Failed(f"{len(keys)} of {count} keys are served after 120 s")
    s.healthy(within=5)
    more = (resident(pid) - int(os.environ["OWN"])) / 1024
    floor = int(os.environ["FLOOR"]) / 1000
    first, last = min(keys) - born, max(keys) - born
    many = sorted(r[2] for r in s.load(2, 100))
    print(f"{count} keys: the first is served {first:.2f} s after the process was born, the last "
          f"{last:.2f} s; {more:.1f} MB above the module's own {int(os.environ['OWN']) / 1024:.0f} MB; "
          f"the module alone finds them and signs once with each in {floor:.2f} s, the last is served after "
          f"{last / floor:.2f} of that, the first after {first / floor:.2f}; "
          f"a request takes {many[100] * 1000:.1f} ms (median; {quiet[100] * 1000:.1f} ms before)")  # fmt: skip
    if limits:
        check(first < 1 or first < floor, f"the first key was served after {first:.2f} s")
        check(last < 3 or last < 3 * floor, f"the last key was served after {last:.2f} s")
        check(more < 25, f"{more:.1f} MB above the module's own")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as e:
        sys.exit(f"FAIL {e}")
