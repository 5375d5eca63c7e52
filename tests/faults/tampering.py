"""A ledger that the service made, tampered with in every way; both verifiers must see each.

tampering.py LEDGER KEPT VERIFIER-KEY LEDGER-KEY OLDER OTHER-NODE   (KEPT: a file of its signed heads; OLDER: a copy
from before; OTHER-NODE: a ledger of another node). Some bits are flipped; check_flips.py flips every one of a small ledger.
"""

import contextlib
import io
import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile

import ledger_records
import signed_notes
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from ledger_records import canonical, leaf_hash, sent_last, tree_edge, tree_root
from synthetic import write_tables
from verify_ledger import Verifier

PROGRAM = os.path.join(os.environ.get("TOP_BUILDDIR", "."), "src/ledger/dcsign-ledger")
LEDGER, KEPT, VERIFIER_KEY, LEDGER_KEY, OLDER, OTHER = sys.argv[1:7]
CASES = []


def case(words, kept=False):
    """words: what the program says; kept: a kept head shows it, and nothing else does."""

    def add(change):
        CASES.append((words, kept, change))
        return change

    return add


class Copy:
    """The ledger's file, to be changed."""

    def __init__(self, path, of):
        self.path = path
        shutil.copyfile(of, path)
        self.db = sqlite3.connect(path)
        self.db.text_factory = bytes
        self.chain = self.one("SELECT chain FROM chains")[0].decode()

    def one(self, sql, *values):
        return self.db.execute(sql, values).fetchone()

    def run(self, sql, *values):
        self.db.execute(sql, values)

    def rows(self):
        return self.db.execute("SELECT record, leaf_hash FROM records WHERE chain = ? ORDER BY idx", (self.chain,)).fetchall()

    def index(self, kind):
        return next(i for i, (text, _) in enumerate(self.rows()) if json.loads(text)["type"] == kind)

    def put(self, idx, text):
        self.run("UPDATE records SET record = CAST(? AS TEXT) WHERE chain = ? AND idx = ?", text, self.chain, idx)

    def rewrite(self, records, key=None):
        """Another history in its place, everything about it consistent. CHECKPOINT: signed by the ledger's key, or this one."""
        for table in ("records", "chains", "nodes", "checkpoints", "credentials", "attempts", "counts", "holds", "idempotency"):
            self.run(f"DELETE FROM {table}")
        leaves = []
        for idx, r in enumerate(records):
            r["idx"] = idx
            if r["type"] == "CHECKPOINT":
                root = tree_root(leaves)
                origin = r["note"].split("\n")[0]
                r.update(size=idx, root=root.hex(), note=signed_notes.sign(origin, idx, root, key or KEY))
                self.run("INSERT OR REPLACE INTO checkpoints VALUES (?,?)", self.chain, r["note"])
            text = canonical(r)
            leaves.append(leaf_hash(text))
            self.run("INSERT INTO records VALUES (?,?,?,?)", self.chain, idx, text.decode(), leaves[-1])
        self.run("INSERT INTO chains VALUES (?,?,?,?,?)", self.chain, len(leaves), tree_edge(leaves), tree_root(leaves), sent_last(records))
        for level in range(4, len(leaves).bit_length(), 4):
            for n in range(len(leaves) >> level):
                root = tree_root(leaves[n << level : (n + 1) << level])
                self.run("INSERT INTO nodes VALUES (?,?,?,?)", self.chain, level, n, root)
        write_tables(self.db, [ledger_records.Row(self.chain, i, canonical(r)) for i, r in enumerate(records)])

    def parsed(self):
        return [json.loads(text) for text, _ in self.rows()]


def both(path, *arguments):
    """What each verifier says; they must agree on whether all is well."""
    done = subprocess.run([PROGRAM, "verify", "--ledger", path, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done
    keys = [signed_notes.read_vkey(arguments[i + 1]) for i, a in enumerate(arguments) if a == "--verifier-key"]
    notes = []
    if "--checkpoint" in arguments:
        with open(arguments[arguments.index("--checkpoint") + 1], encoding="utf-8") as f:
            notes = signed_notes.split(f.read())
    witnesses = [signed_notes.read_vkey(arguments[i + 1]) for i, a in enumerate(arguments) if a == "--witness-key"]
    with contextlib.redirect_stdout(io.StringIO()):
        problems = Verifier(ledger_records.load(path), keys=keys).run((), notes, witnesses)
    assert (done.returncode == 1) == bool(problems), (path, done.stdout + done.stderr, problems)
    return done.returncode == 1, done.stdout + done.stderr


# ---- one record ----


@case("is missing before it")
def dropped(c):
    c.run("DELETE FROM records WHERE idx = ?", c.index("ISSUED"))


@case("records, its head says")
def the_last_one_dropped(c):
    c.run("DELETE FROM records WHERE idx = (SELECT max(idx) FROM records)")


@case("names another place than its own")
def dropped_and_closed_up(c):
    at = c.index("AUTHORISED")
    c.run("DELETE FROM records WHERE idx = ?", at)
    for idx in range(at + 1, len(c.rows()) + 1):
        c.run("UPDATE records SET idx = ? WHERE idx = ?", idx - 1, idx)


@case("names another place than its own")
def reordered(c):
    at = c.index("ISSUED")
    c.run("UPDATE records SET idx = -1 WHERE idx = ?", at)
    c.run("UPDATE records SET idx = ? WHERE idx = ?", at, at - 1)
    c.run("UPDATE records SET idx = ? WHERE idx = -1", at - 1)


@case("stands behind the end of its chain")
def duplicated_at_the_end(c):
    n = len(c.rows())
    c.run("INSERT INTO records SELECT chain, ?, record, leaf_hash FROM records WHERE idx = ?", n, c.index("ISSUED"))


@case("names another place than its own")
def duplicated_in_place(c):
    text, leaf = c.rows()[c.index("ISSUED")]
    c.run("UPDATE records SET record = CAST(? AS TEXT), leaf_hash = ? WHERE idx = ?", text, leaf, c.index("AUTHORISED"))


@case("its root is not that of its records")
def changed_with_its_leaf_hash(c):
    at = c.index("ISSUED")
    r = c.parsed()[at]
    r["time"] += 1
    c.put(at, canonical(r))
    c.run("UPDATE records SET leaf_hash = ? WHERE idx = ?", leaf_hash(canonical(r)), at)


@case("names another place than its own")
def spliced_from_another_node(c):
    other = sqlite3.connect(OTHER)
    text, leaf = other.execute("SELECT record, leaf_hash FROM records WHERE record LIKE '%\"type\":\"ISSUED\"%'").fetchone()
    other.close()
    c.run("UPDATE records SET record = ?, leaf_hash = ? WHERE idx = ?", text, leaf, c.index("ISSUED"))


# ---- what the store keeps besides ----


@case("its root is not that of its records")
def the_chains_root(c):
    c.run("UPDATE chains SET root = zeroblob(32)")


@case("its last_time is not that of its writer's last record")
def the_chains_time(c):
    c.run("UPDATE chains SET last_time = last_time - 86400")


@case("an inner node that is kept for proofs")
def an_inner_node(c):
    c.run("UPDATE nodes SET hash = zeroblob(32) WHERE level = 4 AND idx = 0")


@case("the signed head that the store keeps is not the newest")
def an_older_signed_head(c):
    note = next(r["note"] for r in c.parsed() if r["type"] == "CHECKPOINT")
    c.run("UPDATE checkpoints SET note = ?", note)


@case("the table of credentials")
def a_credential_that_is_not_listed(c):
    c.run("DELETE FROM credentials WHERE number = 2")


@case("the table of credentials")
def a_credential_listed_with_another_expiry(c):
    c.run("UPDATE credentials SET expiry = expiry - 3600 WHERE number = 1")


@case("the table of holds lacks one")
def a_hold_that_was_taken_away(c):
    c.run("DELETE FROM holds")


@case("the table of holds has one")
def a_hold_of_nobody(c):
    c.run("INSERT INTO holds VALUES ('www', '', 'x')")


@case("unexpired credentials by the records")
def a_live_credential_forgotten(c):
    c.run("DELETE FROM attempts WHERE issued >= 0 AND client <> '' AND id = (SELECT id FROM credentials WHERE number = 3)")
    c.run("UPDATE counts SET live = live - 1")


@case("unexpired credentials by the records")
def a_client_counted_too_low(c):
    c.run("UPDATE counts SET live = live - 1 WHERE kind = 'client'")


@case("the table of attempts has one that is not what its records say")
def another_dc_key_in_the_table_of_attempts(c):
    c.run("UPDATE attempts SET spki_sha256 = zeroblob(32) WHERE id = (SELECT id FROM credentials WHERE number = 2)")


@case("the table of attempts has one that is not what its records say")
def an_attempt_with_anothers_outcome(c):
    c.run("UPDATE attempts SET issued = (SELECT max(issued) FROM credentials) WHERE id = (SELECT id FROM credentials WHERE number = 1)")


@case("without an outcome")
def a_credential_shown_as_open(c):
    c.run("UPDATE attempts SET issued = -1 WHERE id = (SELECT id FROM credentials WHERE number = 1)")


@case("the table of Idempotency-Keys has one less")
def a_forgotten_idempotency_key(c):
    c.run("DELETE FROM idempotency")


@case("the table of Idempotency-Keys has one more")
def an_idempotency_key_that_nobody_used(c):
    c.run("INSERT INTO idempotency SELECT client, key, 'another', request_sha256, time, id, chain, authorised, issued FROM idempotency LIMIT 1")


@case("the table of Idempotency-Keys has another request")
def another_request_under_an_idempotency_key(c):
    c.run("UPDATE idempotency SET request_sha256 = zeroblob(32)")


@case("the table of Idempotency-Keys has another credential, or none")
def a_released_credential_that_would_be_asked_for_again(c):
    c.run("UPDATE idempotency SET issued = -1")


@case("the table of Idempotency-Keys has another attempt")
def another_clients_credential_under_an_idempotency_key(c):
    c.run("UPDATE idempotency SET authorised = (SELECT authorised FROM credentials WHERE number = 1), id = (SELECT id FROM credentials WHERE number = 1)")


@case("the table of Idempotency-Keys has another time")
def an_idempotency_key_that_is_forgotten_later(c):
    c.run("UPDATE idempotency SET time = time + 3600")


# ---- everything anew, hashes and heads made to fit: a second history ----


def clock(r):
    """A record that says next to nothing, in the place of this one."""
    return {"chain": r["chain"], "idx": 0, "time": r["time"], "type": "CLOCK", "drift_ms": 1}


def without_one(records):
    """The first credential was never issued: something else stands in its two places."""
    name = next(r["id"] for r in records if r["type"] == "ISSUED")
    return [clock(r) if r.get("id") == name else r for r in records]


@case("was signed with another key")
def inserted_and_signed_with_another_key(c):
    key = signed_notes.seed(bytes(32))
    records = c.parsed()
    for r in records:
        if r["type"] == "CHECKPOINT":
            r["public_key"] = signed_notes.vkey(r["note"].split("\n")[0], 1, signed_notes.public_of(key))
    at = next(i for i, r in enumerate(records) if r["type"] == "ISSUED")
    records.insert(at + 1, clock(records[at]))
    c.rewrite(records, key)


@case("a kept checkpoint of", kept=True)
def inserted(c):
    records = c.parsed()
    at = next(i for i, r in enumerate(records) if r["type"] == "ISSUED")
    records.insert(at + 1, clock(records[at]))
    c.rewrite(records)


@case("the records were rewritten", kept=True)
def rewritten_by_one_who_has_the_ledgers_key(c):
    c.rewrite(without_one(c.parsed()))


@case("the records were rewritten", kept=True)
def rewritten_without_signed_heads(c):
    c.rewrite([clock(r) if r["type"] == "CHECKPOINT" else r for r in without_one(c.parsed())])


@case("records are missing at its end", kept=True)
def cut_at_a_record(c):
    records = c.parsed()
    ends = [i for i, r in enumerate(records) if r["type"] == "STOP"]
    c.rewrite(records[: ends[0] + 1])


@case("records are missing at its end", kept=True)
def an_older_copy_as_a_whole(c):
    c.db.close()
    shutil.copyfile(OLDER, c.path)
    c.db = sqlite3.connect(c.path)


def flip_bits(folder):
    """The same bit of each record at once: each one must be named, by both."""
    path = os.path.join(folder, "bits.db")
    bits = 8 * max(len(text) for text, _ in Copy(path, LEDGER).rows())
    seen = 0
    for bit in sorted(random.Random(9345).sample(range(bits), 20)):
        c = Copy(path, LEDGER)
        rows = c.rows()
        for idx, (text, _) in enumerate(rows):
            octets, at = bytearray(text), bit % (8 * len(text))
            octets[at // 8] ^= 1 << (at % 8)
            c.put(idx, bytes(octets))
        c.db.commit()
        c.db.close()
        wrong, said = both(path)
        assert wrong
        for idx in range(len(rows)):
            assert f", record {idx}: the stored leaf hash is not that of the record" in said, (bit, idx, said)
        seen += len(rows)
    return seen


def cosigned(folder):
    """Kept heads with cosignatures: taken with the witness's key, refused without it or with a bad one."""
    with open(KEPT, encoding="utf-8") as f:
        note = f.read()
    witness, other = signed_notes.seed(b"w" * 32), signed_notes.seed(b"x" * 32)
    name = "witness.example/w1"
    key = signed_notes.vkey(name, signed_notes.COSIGNATURE, signed_notes.public_of(witness))
    good = signed_notes.cosign(note, name, witness, 1_800_000_123)
    forged = signed_notes.cosign(note, name, other, 1_800_000_123)
    # its id, over another text
    line = signed_notes.cosign(signed_notes.sign("a.example/sign1/main", 3, bytes(32), KEY), name, witness, 5).splitlines()[-1]
    for text, wrong in ((good, False), (note, True), (forged, True), (note + line + "\n", True), (good + line + "\n", True)):
        path = os.path.join(folder, "cosigned")
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        found, said = both(LEDGER, "--checkpoint", path, "--verifier-key", VERIFIER_KEY, "--witness-key", key)
        assert found == wrong, (text, said)
        assert not wrong or f"no good cosignature of {name}" in said, said


def resumed(folder):
    """Of an older state first, then on from there: what was rewritten meanwhile is seen by the tree."""
    rewritten = Copy(os.path.join(folder, "rewritten"), LEDGER)
    rewritten_by_one_who_has_the_ledgers_key(rewritten)
    rewritten.db.commit()
    rewritten.db.close()
    for path, arguments, words in (
        (LEDGER, (), "all as they must be"),
        (LEDGER, ("--checkpoint", KEPT, "--verifier-key", VERIFIER_KEY), "all as they must be"),
        (rewritten.path, (), "its root is not that of its records"),
        (OLDER, (), "all as they must be"),
    ):
        state = os.path.join(folder, "state")
        for of in (OLDER, path):
            done = subprocess.run(
                [PROGRAM, "verify", "--ledger", of, "--resume", state, *(arguments if of == path else ())],
                capture_output=True, text=True, check=False)  # fmt: skip
        assert words in done.stdout and (done.returncode == 1) == ("not" in words), (path, arguments, done)
        if of == LEDGER:
            done = subprocess.run([PROGRAM, "verify", "--ledger", OLDER, "--resume", state], capture_output=True, text=True, check=False)
            assert done.returncode == 1 and "fewer records than were verified before" in done.stdout, done
        os.unlink(state)


def main():
    global KEY
    with open(LEDGER_KEY, "rb") as f:
        KEY = load_pem_private_key(f.read(), None)
    kept = ("--checkpoint", KEPT, "--verifier-key", VERIFIER_KEY)
    for arguments in ((), kept):
        wrong, said = both(LEDGER, *arguments)
        assert not wrong, said
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for words, needs_kept, change in CASES:
            c = Copy(os.path.join(folder, change.__name__), LEDGER)
            change(c)
            c.db.commit()
            c.db.close()
            without, _ = both(c.path)
            wrong, said = both(c.path, *kept)
            if not wrong or words not in said or (needs_kept and without):
                print(f"FAIL: {change.__name__}: no {words!r} ({without}) in {said}")
                failed += 1
        cosigned(folder)
        resumed(folder)
        flipped = flip_bits(folder)
    print(f"{len(CASES)} ways of tampering, {failed} not seen; {flipped} records with a flipped bit, all seen")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
