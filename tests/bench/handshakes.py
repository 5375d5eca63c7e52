"""The table of `make bench-handshake` from its samples (lines NAME VALUE): medians, and the spread of
the times. Fails when a server did not do what its row says.

usage: handshakes.py SAMPLES CLIENTS [JSON-FILE]"""

import json
import statistics
import sys

ROWS = (
    ("a", "local", "the certificate's key on the server"),
    ("b", "delegated", "a delegated credential of dcsign"),
    ("c", "keyless", "a signature of the token for each"),
    ("d", "distant", "the same from 20 ms away"),
)


def samples(name):
    seen = {}
    with open(name, encoding="ascii") as f:
        for line in f:
            key, value = line.split()
            seen.setdefault(key, []).append(float(value))
    return seen


def figures(seen, name):
    def all_of(what):
        return sum(seen[f"{name}_server_{what}"])

    handshakes = all_of("handshakes")
    signatures = sum(seen.get(f"{name}_signer_signatures", [0]))
    row = {key: statistics.median(seen[f"{name}_{key}"]) for key in ("rate", "p50_ms", "p99_ms")}
    row["p50_spread"] = [min(seen[f"{name}_p50_ms"]), max(seen[f"{name}_p50_ms"])]
    row["rate_spread"] = [min(seen[f"{name}_rate"]), max(seen[f"{name}_rate"])]
    row["client_us"] = statistics.median(seen[f"{name}_cpu_us"])
    row["server_us"] = all_of("cpu_us") / handshakes
    row["token_us"] = sum(seen.get(f"{name}_signer_cpu_us", [0])) / handshakes
    row["token_signatures"] = signatures / handshakes
    if all_of("failed") or all_of("delegated") != (handshakes if name == "delegated" else 0):
        sys.exit(f"FAIL: {name}: {all_of('failed'):.0f} handshakes failed, {all_of('delegated'):.0f} "
                 f"of {handshakes:.0f} were delegated")  # fmt: skip
    if signatures != (handshakes if name in ("keyless", "distant") else 0):
        sys.exit(f"FAIL: {name}: {signatures:.0f} signatures for {handshakes:.0f} handshakes")
    return row


def main():
    seen = samples(sys.argv[1])
    clients = int(sys.argv[2])
    rows = [{"id": i, "name": words, **figures(seen, name)} for i, name, words in ROWS]
    print(f"{'full TLS 1.3 handshakes':38}{'p50':>9}{'spread':>17}{'p99':>9}{f'{clients} clients':>12}"
          "   CPU us: server  client  token")  # fmt: skip
    for r in rows:
        low, high = r["p50_spread"]
        print(f"{r['id']} {r['name']:36}{r['p50_ms']:6.2f} ms{low:8.2f} to {high:5.2f}{r['p99_ms']:6.2f} ms"
              f"{r['rate']:10,.0f}/s{r['server_us']:17.0f}{r['client_us']:8.0f}{r['token_us']:7.0f}")  # fmt: skip
    if len(sys.argv) > 3:
        with open(sys.argv[3], "w", encoding="ascii") as f:
            json.dump({"clients": clients, "rows": rows}, f, indent=1)
            f.write("\n")


main()
