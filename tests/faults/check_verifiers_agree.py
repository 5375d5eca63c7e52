"""The service's own verifier on the ledgers that check_verify_ledger.py makes: it takes the good
one, and sees every fault that the other one sees."""

import os
import subprocess
import sys
import tempfile

from check_verify_ledger import FAULTS, GOOD
from synthetic import write_sqlite

def verify(path):
    program = os.path.join(os.environ["TOP_BUILDDIR"], "src/ledger/dcsign-ledger")
    return subprocess.run([program, "verify", "--ledger", path], capture_output=True, text=True, check=False)


def main():
    seen, unexpected, impossible = 0, [], 0
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
            else:
                unexpected.append(f"{name} ({words}): not seen")
    for problem in unexpected:
        print("FAIL:", problem)
    print(f"{seen} seen by both, {impossible} impossible in a file")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
