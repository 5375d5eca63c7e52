"""dcsign ledger verify --resume: stopped after any record and gone on later it says what one run says."""

import os
import subprocess
import sys
import tempfile

from check_verify_ledger import FAULTS, GOOD
from ledger_records import Head, Ledger, tree_root
from synthetic import CHAIN, write_sqlite

PROGRAM = os.path.join(os.environ.get("TOP_BUILDDIR", "."), "src/ledger/dcsign-ledger")
# an id that was used by an attempt that is closed is forgotten, as the manual says
FORGOTTEN = {"an_id_twice", "two_outcomes", "late_after_issued"}


def verify(path, state):
    return subprocess.run([PROGRAM, "verify", "--ledger", path, "--resume", state], capture_output=True, text=True, check=False)


def first(ledger, n):
    """The first n records, as they were then."""
    rows = [r for r in ledger.rows if r.chain == CHAIN][:n]
    return Ledger(rows, {CHAIN: Head(len(rows), tree_root([r.leaf_hash for r in rows]))})


def main():
    failed, seen = 0, 0
    # many small files are synced
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        whole, part, state = (os.path.join(folder, n) for n in ("whole", "part", "state"))
        good = GOOD.ledger()
        write_sqlite(whole, good)
        every = 1 if os.environ.get("DCSIGN_TESTS") == "long" else 5
        for n in range(0, len(good.rows) + 1, every):
            if n:
                write_sqlite(part, first(good, n))
                done = verify(part, state)
                assert done.returncode == 0, (n, done)
                os.unlink(part)
            done = verify(whole, state)
            assert done.returncode == 0 and f"{len(good.rows)} records" in done.stdout, (n, done)
            os.unlink(state)
        os.unlink(whole)
        for cut in (7, 31) if every == 1 else (31,):
            for _, name, broken in FAULTS:
                ledger = broken(GOOD.copy())
                try:
                    write_sqlite(whole, ledger)
                    write_sqlite(part, first(ledger, cut))
                except ValueError:
                    continue
                finally:
                    before = verify(part, state).returncode if os.path.exists(part) else None
                    after = verify(whole, state)
                    for path in (whole, part, state):
                        if os.path.exists(path):
                            os.unlink(path)
                seen += after.returncode == 1
                if after.returncode != 1 and name not in FORGOTTEN:
                    print(f"FAIL: {name}, cut at {cut}: {before}, {after}")
                    failed += 1
        write_sqlite(whole, good)
        for text in (b"", b"dcsign ledger verify 1\n", b"x" * 99):
            with open(state, "wb") as f:
                f.write(text)
            assert verify(whole, state).returncode == 4, text
            os.unlink(state)
        verify(whole, state)
        os.chmod(state, 0o666)
        assert verify(whole, state).returncode == 4
    print(f"{seen} faults seen by a run that went on, {failed} not seen")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
