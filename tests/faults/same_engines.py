"""One ledger in SQLite and in PostgreSQL, row by row: the tool must say the same of both, octet by octet, of good ones
and of broken ones.

same_engines.py FOLDER-OF-SOCKET OWNER AUDITOR [LEDGER CHECKPOINTS]   (URLs; LEDGER: one that the service made, with its
kept heads). All faults with DCSIGN_TESTS=long, else every seventh.
"""

import csv
import io
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

from check_report import iso, town
from check_verify_ledger import FAULTS, GOOD
from synthetic import NOW, write_sqlite

PROGRAM = os.path.join(os.environ.get("TOP_BUILDDIR", "."), "src/ledger/dcsign-ledger")
TABLES = ("chains", "records", "attempts", "counts", "idempotency", "holds", "nodes", "checkpoints", "credentials")
SOCKET, OWNER, AUDITOR = sys.argv[1:4]
PSQL = [os.path.join(os.environ["PG_BIN"], "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", SOCKET, "-U", "owner", "-d", "dcsign"]


def psql(sql, text=None):
    done = subprocess.run([*PSQL, "-c", sql], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)


def cell(value):
    return "\\x" + value.hex() if isinstance(value, bytes) else value


def to_postgres(path):
    """ValueError: it can't be in a database."""
    db = sqlite3.connect(path)
    psql(f"TRUNCATE {', '.join('dcsign.' + t for t in TABLES)}")
    for table in TABLES:
        out = io.StringIO()
        rows = csv.writer(out, quoting=csv.QUOTE_ALL)
        for row in db.execute(f"SELECT * FROM {table}"):
            rows.writerow([cell(value) for value in row])
        psql(f"COPY dcsign.{table} FROM STDIN WITH (FORMAT csv)", out.getvalue())
    db.close()


def says(ledger, arguments):
    done = subprocess.run([PROGRAM, *arguments, "--ledger", ledger], capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


def compare(path, *commands):
    """How many outputs were the same; the last one's exit status."""
    to_postgres(path)
    for arguments in commands:
        a, b = says(path, arguments), says(AUDITOR, arguments)
        assert a == b, (arguments, *(x[-2000:] for part in zip(a, b) for x in part if isinstance(x, bytes)), a[0], b[0])
        assert a[0] in (0, 1, 3), (arguments, a)
    return len(commands), a[0]


def reads(at, more=()):
    for name, options in (
        ("list", ()), ("list", ("--csv",)), ("list", ("--json", "--client", "edge")), ("list", ("--key", "www")),
        ("list", ("--from", iso(at - 90000), "--to", iso(at))), ("live", ("--at", iso(at))),
        ("live", ("--at", iso(at), "--json")), ("live", ("--at", iso(at), "--client", "edge", "--csv")), ("export", ()),
        ("export", ("--csv",)), ("export", ("--type", "AUTHORISED", "--key", "www")),
        ("report", ("--html", "-", "--at", iso(at), *more)), ("verify", more), ("verify", ("--json", *more)),
        ("verify", ("--chain-only", *more)),
    ):  # fmt: skip
        yield (name, *options)


def released(path):
    """(id, time) of credentials."""
    db = sqlite3.connect(path)
    found = db.execute("SELECT id, time FROM credentials ORDER BY number").fetchall()
    db.close()
    return found


def archived(path, folder):
    """A copy of a stopped ledger, from which records have gone, and where they are."""
    copy, old = os.path.join(folder, "archived.db"), os.path.join(folder, "old")
    shutil.copyfile(path, copy)
    status, _, said = says(copy, ("archive", "--before", "2100-01-01T00:00:00Z", "--to", old))
    assert status == 0 and os.path.exists(old), said
    return copy, old


def main():
    same, broken, impossible = 0, 0, 0
    done = subprocess.run([PROGRAM, "init", "--ledger", OWNER, "--reader", "auditor"], check=False)
    assert done.returncode == 0
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ledger.db")
        s = town()
        s.renumber()
        write_sqlite(path, s.ledger())
        same += compare(path, *reads(NOW + 40 * 3600), *reads(s.at - 3600))[0]
        for ledger, heads in zip(sys.argv[4::2], sys.argv[5::2]):
            kept = ("--checkpoint", heads)
            credentials = released(ledger)
            proofs = [("prove", "--id", i, *more) for i, _ in credentials[:5] for more in ((), kept)]
            same += compare(ledger, *reads(credentials[-1][1], kept), *proofs)[0]
            copy, old = archived(ledger, folder)
            options = ("--archive", old)
            proofs = [(*p, *options) for p in proofs]
            same += compare(copy, ("verify", *options, *kept), ("export", *options), ("export",), ("list", *options), *proofs)[0]
        for n, (words, name, change) in enumerate(FAULTS[:: 1 if os.environ.get("DCSIGN_TESTS") == "long" else 7]):
            path = os.path.join(folder, f"{n}.db")
            try:
                write_sqlite(path, change(GOOD.copy()))
                _, status = compare(path, ("verify",))
            except ValueError:
                impossible += 1
                continue
            assert status == 1, (words, name)
            broken += 1
    print(f"{same} outputs of good ledgers and {broken} of broken ones are the same of both; {impossible} can't be stored")
    return 0


if __name__ == "__main__":
    sys.exit(main())
