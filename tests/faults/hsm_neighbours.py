"""What a hostile token does to its neighbour: see e2e_neighbours.sh. `www` lies on the hostile one."""

import sys
import threading
import time

from hsm_service import LONG, Failed, Service, check, statuses

OTHER = "second-p-256"
EACH = 600 if LONG else 60


def other(s):
    """Requests to the neighbour: none may fail; its p99 in seconds."""
    results = s.load(2, EACH, key=OTHER)
    check(statuses(results) == {201: 2 * EACH}, f"the neighbour: {statuses(results)}")
    times = sorted(r[2] for r in results)
    return times[int(0.99 * len(times))]


def beside(s, *rules):
    """The same while requests come to a token under these rules."""
    stop = threading.Event()

    def hostile():
        while not stop.is_set():
            try:
                s.issue("www")
            except Failed:
                pass

    s.rules(*rules)
    threads = [threading.Thread(target=hostile) for _ in range(2)]
    for t in threads:
        t.start()
    try:
        return other(s)
    finally:
        stop.set()
        s.rules()
        for t in threads:
            t.join()


def main():
    s = Service()
    s.healthy(within=60)
    quiet = beside(s)
    for name, *rules in (
        ("hangs", "C_Sign hang"),
        ("crashes", "C_Sign crash pct=20"),
        ("leaks", "C_Sign leak=5120 count=240"),
        ("is lost", "* rv=0xe0"),
    ):
        loud = beside(s, *rules)
        s.healthy(within=60)
        again = beside(s)  # the machine may have become slower meanwhile
        least = max(quiet, again)
        print(f"neighbour {name}: p99 {loud * 1000:.1f} ms, {least * 1000:.1f} ms beside a healthy one "
              f"({loud / least:.2f}x)", flush=True)  # fmt: skip
        if LONG:
            check(loud <= 2 * least, f"{name}: p99 {loud * 1000:.1f} ms, more than twice {least * 1000:.1f} ms")
        quiet = again


if __name__ == "__main__":
    try:
        main()
    except Failed as e:
        sys.exit(f"FAIL {e}")
