"""The table of the bench from its samples (lines NAME VALUE): each row's figure, what it is judged by
in the same run, and whether it is met. Medians; the spread is the lowest and highest sample.

usage: rows.py SAMPLES [--json FILE]
       rows.py --split BEFORE AFTER     two states of /metrics: how long a request was where in between"""

import json
import re
import statistics
import sys

FLOORS = ("F_sign", "F_sign2", "F_verify", "F_sync", "F_http")
SPAN = re.compile(r'dcsign_(\w+)_seconds_(sum|count)(?:\{token="main"\})? (\S+)')
SPLIT = ("request_duration", "token_queue", "token_ledger", "token_sign", "token_verify", "token_request")


class Samples:
    def __init__(self, name):
        self.all = {}
        with open(name, encoding="ascii") as f:
            for line in f:
                key, value = line.split()
                self.all.setdefault(key, []).append(float(value))

    def __contains__(self, name):
        return name in self.all

    def __getitem__(self, name):
        return statistics.median(self.all[name])

    def spread(self, name):
        return [min(self.all[name]), max(self.all[name])]


def table(s):
    """(id, name, samples that it needs, unit, value, target, "max" | "min")"""
    return (
        ("1", "CPU per DC, 16 clients", ("cpu",), "us", lambda: s["cpu"],
         lambda: 1e6 / s["F_sign"] + 1e6 / s["F_verify"] + 80, "max"),
        ("2", "DCs/s, 16 clients, SQLite ledger", ("rate16",), "/s", lambda: s["rate16"],
         lambda: 0.235 * s["F_sign2"], "min"),
        ("3", "DCs/s, batches of 256, 4 clients", ("batch_rate",), "/s", lambda: s["batch_rate"],
         lambda: 0.365 * s["F_sign2"], "min"),
        ("4", "p50 with 1 client", ("p50_1",), "ms", lambda: s["p50_1"],
         lambda: 2e3 / s["F_sync"] + 0.5, "max"),
        ("4b", "p99 with 1 client", ("p99_1",), "ms", lambda: s["p99_1"],
         lambda: 4 * s["p50_1"], "max"),
        ("5", "DCs/s, 20 ms per signature, 40 sessions, 80 clients", ("slow_rate",), "/s",
         lambda: s["slow_rate"], lambda: 0.97 * 2000, "min"),
        ("5b", "p99 of row 5", ("slow_p99",), "ms", lambda: s["slow_p99"], lambda: 90, "max"),
        ("6", "DCs/s, 64 clients, a new TLS connection each time", ("fresh_rate",), "/s",
         lambda: s["fresh_rate"],
         lambda: 0.9 / (1 / s["fresh_http"] + s["cpu"] / 1e6 / 2), "min"),
        ("7", "rate at 1,000,000 records (BENCH_RECORDS) / at a new ledger", ("aged_rate", "young_rate"), "",
         lambda: s["aged_rate"] / s["young_rate"], lambda: 0.9, "min"),
        ("7b", "rate with 5,000 keys / with 10", ("keys_5000", "keys_10"), "",
         lambda: s["keys_5000"] / s["keys_10"], lambda: 0.9, "min"),
        ("7c", "rate with 10,000 clients configured / with 10", ("clients_10000", "clients_10"), "",
         lambda: s["clients_10000"] / s["clients_10"], lambda: 0.9, "min"),
        ("8", "PSS of all processes, idle", ("idle_memory",), "KiB", lambda: s["idle_memory"],
         lambda: 32 * 1024, "max"),
        ("8b", "PSS after 1,000,000 DCs (BENCH_DCS) / before them", ("aged_memory", "young_memory"), "",
         lambda: s["aged_memory"] / s["young_memory"], lambda: 1.05, "max"),
        ("8c", "PSS of all processes after them, idle", ("aged_memory",), "KiB",
         lambda: s["aged_memory"], lambda: 32 * 1024, "max"),
        ("9", "start to first DC, 10 keys, the ledger of row 7", ("first_dc",), "s",
         lambda: s["first_dc"], lambda: 0.5, "max"),
        ("10", "rate with PostgreSQL / with SQLite", ("postgres_rate", "sqlite_rate"), "",
         lambda: s["postgres_rate"] / s["sqlite_rate"], lambda: 0.6, "min"),
        ("11", "rate beside 1,000 idle connections / row 2", ("idle_rate", "rate16"), "",
         lambda: s["idle_rate"] / s["rate16"], lambda: 0.9, "min"),
        ("11b", "memory of an idle connection", ("idle_kib",), "KiB",
         lambda: s["idle_kib"] / 1000, lambda: 40, "max"),
    )  # fmt: skip


def judged(s):
    for number, name, needs, unit, value, target, kind in table(s):
        if not all(n in s for n in needs):
            continue
        v, t = value(), target()
        yield {"id": number, "name": name, "unit": unit, "value": v, "target": t, "kind": kind,
               "met": v <= t if kind == "max" else v >= t, "spread": s.spread(needs[0])}  # fmt: skip


def text(number):
    return f"{number:,.0f}" if number >= 1000 else f"{number:.4g}"


def show(s, rows):
    print("floors: " + ", ".join(f"{f} {text(s[f])}/s" for f in FLOORS if f in s))
    print(f"{'row':4}{'figure':54}{'value':>14}{'target':>14}  met  spread")
    for r in rows:
        sign = "<=" if r["kind"] == "max" else ">="
        print(f"{r['id']:4}{r['name']:54}{text(r['value']) + ' ' + r['unit']:>14}"
              f"{sign + ' ' + text(r['target']):>14}  {'yes' if r['met'] else 'NO ':3}"
              f"  {text(r['spread'][0])} to {text(r['spread'][1])}")  # fmt: skip
    stages = [k for k in s.all if k.startswith("cpu_")]
    if stages:
        print("processor time of a request in us: " + ", ".join(f"{k[4:]} {s[k]:.0f}" for k in stages))
    if "outside_mean" in s:
        print("time of a request in us, 16 clients, means: "
              f"{s['outside_mean']:.0f} seen from outside; by /metrics "
              f"{s['own_request_duration']:.0f} in the api, of these {s['own_token_request']:.0f} in the token's "
              "process: " + ", ".join(f"{k[6:]} {s['own_' + k]:.0f}" for k in SPLIT[1:5]))  # fmt: skip


def spans(name):
    """Of /metrics: {duration: [sum, count]}."""
    seen = {}
    with open(name, encoding="utf-8") as f:
        for line in f:
            m = SPAN.match(line)
            if m and m[1] in SPLIT:
                seen.setdefault(m[1], {})[m[2]] = float(m[3])
    return seen


def split(before, after):
    """All per request of the API: it waits for the ledger more than once."""
    before, after = spans(before), spans(after)
    requests = after["request_duration"]["count"] - before["request_duration"]["count"]
    for name in SPLIT:
        spent = after[name]["sum"] - before.get(name, {"sum": 0})["sum"]
        print(f"own_{name} {spent / requests * 1e6:.1f}")


def main():
    if sys.argv[1] == "--split":
        split(*sys.argv[2:4])
        return
    s = Samples(sys.argv[1])
    rows = list(judged(s))
    show(s, rows)
    if "--json" in sys.argv:
        with open(sys.argv[sys.argv.index("--json") + 1], "w", encoding="ascii") as f:
            json.dump({"rows": rows, "floors": {k: s[k] for k in FLOORS if k in s},
                       "stages_us": {k: s[k] for k in s.all if k[:4] in ("cpu_", "own_", "outs")}},
                      f, indent=1)  # fmt: skip
            f.write("\n")


main()
