"""The service's own verifier on the ledgers that check_verify_ledger.py makes: it takes the good
one, and sees every fault but those that take a policy to see, which it does not hold against the
records."""

import os
import subprocess
import sys
import tempfile

from check_verify_ledger import FAULTS, GOOD
from synthetic import write_sqlite

NOT_ITS_OWN = (
    "its policy does not allow it",
    "its client may not issue",
    "its key or client is not in the configuration",
    "unexpired credentials",
    "its Idempotency-Key released",
    "the chain begins with",
    "a self-test",
    "its credential has not expired",
    "it shows no credential of its self-test",
    "there was no attempt 1 before it",
    "attempt 1 had not failed",
)


def verify(path):
    program = os.path.join(os.environ["TOP_BUILDDIR"], "src/ledger/dcsign-ledger")
    return subprocess.run([program, "verify", "--ledger", path], capture_output=True, text=True, check=False)


def main():
    seen, unseen, unexpected, impossible = 0, [], [], 0
    with tempfile.TemporaryDirectory() as folder:
        good = os.path.join(folder, "good.db")
        write_sqlite(good, GOOD.ledger())
        done = verify(good)
        if done.returncode != 0:
            print("FAIL: it does not take the good ledger:", done.stdout, done.stderr)
            return 1
        for n, (words, name, broken) in enumerate(FAULTS):
            path = os.path.join(folder, f"{n}.db")
            try:
                write_sqlite(path, broken(GOOD.copy()))
            except ValueError:
                impossible += 1
                continue
            done = verify(path)
            if done.returncode == 1:
                seen += 1
            elif done.returncode != 0:
                unexpected.append(f"{name}: exit {done.returncode} {done.stderr}")
            elif any(w in words for w in NOT_ITS_OWN):
                unseen.append(name)
            else:
                unexpected.append(f"{name} ({words}): not seen")
    for problem in unexpected:
        print("FAIL:", problem)
    print(f"{seen} seen by both, {len(unseen)} by this one alone ({', '.join(unseen)}), {impossible} impossible in a file")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
