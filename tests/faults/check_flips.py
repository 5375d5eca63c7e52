"""Each bit of a small ledger with records of every type, and of an archive with most of them, turned over by itself:
both verifiers must name what it is of.

With DCSIGN_TESTS=long every bit, else one of many.
"""

import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import ledger_records
import signed_notes
import synthetic
from ledger_records import MUST, Ledger, Row, canonical, leaf_hash, tree_root
from synthetic import CHAIN, GENERATION, KEYS
from verify_ledger import Verifier

PROGRAM = os.path.join(os.environ.get("TOP_BUILDDIR", "."), "tests/flip_bits")
LONG = os.environ.get("DCSIGN_TESTS") == "long"
STEP = 1 if LONG else 1009
# the second verifier: one bit of each octet, another one in each octet that follows
STEP_PYTHON = 1 if LONG else 257
HASH = "the stored leaf hash is not that of the record"
SAYS = {
    "record": "{chain} {idx}: " + HASH,
    "leaf": "{chain} {idx}: " + HASH,
    "root": "{chain} head: its root is not that of its records",
    "edge": "{chain} head: the edge of its tree is not that of its records",
    "size": "{chain} head: it says ",
    "time": "{chain} head: its last_time is not that of its writer's last record",
    "node": "ledger head: the inner nodes that are kept for proofs are not those of the records",
    "note": "ledger head: the signed heads that the store keeps are not the newest of the records",
}


class Small(synthetic.Set):
    """One record of each type, and what these need."""

    def __init__(self):
        self.records, self.witness, self.clients = [], [], []
        self.at, self.serial, self.pid = synthetic.NOW, 0, 100
        self.spkis = list(synthetic.DC_KEYS)
        www = KEYS[0]
        self.start(GENERATION)
        self.self_test(www, "KEY-PROVED")
        self.add("KEY-REFUSED", key="mail", reason="key_missing")
        self.issue(www, "ISSUED", idempotency="deploy-42", request_sha256="02" * 32)
        self.end(self.authorise(www), "FAILED", reason="token_unavailable")
        late = self.issue(www, "UNKNOWN")
        self.end(late, "LATE", dc=late["made"])
        self.add("REFUSED", client="edge", key="www", reason="lifetime_too_long")
        self.add("HELD", key="p384", reason="a ceremony")
        self.add("RELEASED", key="p384", reason="it is over")
        self.add("CLOCK", drift_ms=1)
        self.head()
        self.add("STOP")
        size = len(self.records)
        self.add("SUCCEEDED", previous=CHAIN, reason="a drill", size=size, root=self.root().hex())
        self.records[-1].update(chain=CHAIN + "#2", idx=0)

    def write(self, path, ledger):
        synthetic.write_sqlite(path, ledger)
        db = sqlite3.connect(path)
        db.execute("INSERT INTO checkpoints VALUES (?,?)", (CHAIN, self.note))
        db.commit()
        db.close()

    def root(self):
        return tree_root([leaf_hash(canonical(r)) for r in self.records])

    def head(self):
        key, origin, size = signed_notes.seed(b"k" * 32), "log.example/" + CHAIN, len(self.records)
        self.note = signed_notes.sign(origin, size, self.root(), key)
        public = signed_notes.vkey(origin, signed_notes.ED25519, signed_notes.public_of(key))
        self.add("CHECKPOINT", note=self.note, public_key=public, root=self.root().hex(), size=size)


def flips(ledger):
    """(what, chain, idx, number of octets, a function that turns a bit of them over and gives the way back)"""

    def row_flip(row, name):
        def flip(at, mask):
            before = getattr(row, name)
            setattr(row, name, turned(before, at, mask))
            return lambda: setattr(row, name, before)

        return flip

    def number_flip(head, name):
        def flip(at, mask):
            before = getattr(head, name)
            setattr(head, name, before ^ mask << 8 * at)
            return lambda: setattr(head, name, before)

        return flip

    def item_flip(of, key, text=False):
        def flip(at, mask):
            before = of[key]
            octets = turned(before.encode() if text else before, at, mask)
            of[key] = octets.decode("latin-1") if text else octets
            return lambda: of.__setitem__(key, before)

        return flip

    for row in ledger.rows:
        yield "record", row.chain, row.idx, len(row.text), row_flip(row, "text")
        yield "leaf", row.chain, row.idx, len(row.leaf_hash), row_flip(row, "leaf_hash")
    for chain, head in ledger.heads.items():
        yield "root", chain, None, len(head.root), row_flip(head, "root")
        yield "edge", chain, None, len(head.edge), row_flip(head, "edge")
        yield "size", chain, None, 8, number_flip(head, "size")
        yield "time", chain, None, 8, number_flip(head, "last_time")
    for name, octets in ledger.tables.nodes.items():
        yield "node", name[0], None, len(octets), item_flip(ledger.tables.nodes, name)
    for chain, text in ledger.tables.notes.items():
        yield "note", chain, None, len(text.encode()), item_flip(ledger.tables.notes, chain, text=True)


def turned(octets, at, mask):
    return octets[:at] + bytes([octets[at] ^ mask]) + octets[at + 1 :]


def python_part(arguments):
    """(how many were seen, of how many octets); raises at the first that was not."""
    path, part, parts = arguments
    ledger = ledger_records.load(path)
    assert not Verifier(ledger).run()
    seen = octets = 0
    for what, chain, idx, length, flip in flips(ledger):
        for at in range(length):
            octets += 1
            if octets % STEP_PYTHON or octets // STEP_PYTHON % parts != part:
                continue
            back = flip(at, 1 << octets % 8)
            problems = Verifier(ledger).run()
            back()
            says = SAYS[what].format(chain=chain, idx=idx)
            assert any(p == says or (what == "size" and p.startswith(says)) for p in problems), (what, chain, idx, at, problems)
            seen += 1
    assert not Verifier(ledger).run()
    return seen, octets


def archived(of, path, archive):
    """What the signed head covers leaves the ledger for the archive."""
    shutil.copyfile(of, path)
    db = sqlite3.connect(path)
    size = db.execute("SELECT idx FROM records WHERE record LIKE '%\"type\":\"CHECKPOINT\"%'").fetchone()[0]
    rows = db.execute("SELECT record FROM records WHERE chain = ? AND idx < ? ORDER BY idx", (CHAIN, size)).fetchall()
    with open(archive, "w", encoding="utf-8") as f:
        f.writelines(text + "\n" for (text,) in rows)
    db.execute("UPDATE records SET record = '' WHERE chain = ? AND idx < ?", (CHAIN, size))
    db.commit()
    db.close()


def archive_python_part(arguments):
    """The same as python_part, of the lines of an archive."""
    path, archive, part, parts = arguments
    ledger = ledger_records.load(path)
    with open(archive, "rb") as f:
        good = f.read()
    seen = 0
    for at in [None, *range(part * STEP_PYTHON, len(good), parts * STEP_PYTHON)]:
        octets = good if at is None else turned(good, at, 1 << at % 8)
        archives = {(r.chain, r.idx): r.text for r in ledger_records.from_export(octets).rows}
        problems = Verifier(ledger, archives=archives).run()
        for row in ledger.rows:  # it reads them into the rows
            row.text = row.text if row.idx >= good.count(b"\n") or row.chain != CHAIN else b""
        if at is None:
            assert not problems, problems
            continue
        of = f"{CHAIN} {good.count(10, 0, at)}: "
        assert {of + "is archived, and no archive that was given has it", of + HASH} & set(problems), (at, problems)
        seen += 1
    return seen, len(good)


def run_c(*arguments):
    """(bits that were seen, bits), by several processes."""
    parts = os.cpu_count() or 1
    command = [PROGRAM, arguments[0], str(STEP)]
    running = [
        subprocess.Popen([*command, str(n), str(parts), *(a + str(n) * (a == arguments[-1]) for a in arguments[1:])], stdout=subprocess.PIPE, text=True)
        for n in range(parts)
    ]
    done = [p.communicate()[0] for p in running]
    assert not any(p.returncode for p in running), (done, [p.returncode for p in running])
    seen, of = sum(int(d.split()[0]) for d in done), int(done[0].split()[1])
    assert seen == -(-of // STEP), (seen, of)
    return seen, of


def main():
    small = Small()
    ledger = small.ledger()
    assert {r["type"] for r in small.records} == set(MUST), "a type of record is missing"
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "ledger.db")
        small.write(path, ledger)
        parts = os.cpu_count() or 1
        seen, of = run_c(path)
        print(f"{seen} of {of} bits in {len(ledger.rows)} records and what stands beside them: all seen")
        with multiprocessing.Pool(parts) as pool:
            counts = pool.map(python_part, [(path, n, parts) for n in range(parts)])
        print(f"the second verifier: {sum(c[0] for c in counts)} bits, of {counts[0][1]} octets: all seen")
        rest, archive = (os.path.join(folder, name) for name in ("rest.db", "archive"))
        archived(path, rest, archive)
        seen, of = run_c(rest, archive, os.path.join(folder, "scratch"))
        print(f"{seen} of {of} bits of an archive: all seen")
        with multiprocessing.Pool(parts) as pool:
            counts = pool.map(archive_python_part, [(rest, archive, n, parts) for n in range(parts)])
        print(f"the second verifier: {sum(c[0] for c in counts)} bits, of {counts[0][1]} octets: all seen")
    return 0


if __name__ == "__main__":
    sys.exit(main())
