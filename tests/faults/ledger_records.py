"""The records of a ledger, read from its SQLite file or from an export, and their canonical form.

Written from src/ledger/RECORDS.md; shares nothing with the C code.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import sqlite3
import tempfile
from dataclasses import dataclass

TEXT, HEX, ID, BASE64, INT, OBJECT = "text", "SHA-256 in hex", "id", "base64", "integer", "object"
KINDS = {
    "algorithm": TEXT, "attempt": INT, "boot_id": TEXT, "boottime": INT, "by": TEXT,
    "cert_not_before": INT,
    "certificate_sha256": HEX, "certificates": BASE64, "chain": TEXT, "client": TEXT,
    "client_serial": TEXT, "client_sha256": HEX, "config": OBJECT, "count": INT, "dc": BASE64,
    "dc_sha256": HEX, "detail": TEXT, "drift_ms": INT, "expiry": INT, "field": TEXT,
    "generation": HEX, "id": ID, "idempotency": TEXT, "idx": INT, "key": TEXT,
    "latest_expiry": INT, "lifetime_asked": INT, "lifetime_granted": INT, "live": INT,
    "node": TEXT, "note": TEXT, "now": INT, "peer": TEXT, "policy": TEXT, "possession": TEXT,
    "previous": TEXT, "public_key": TEXT, "reason": TEXT, "reference": TEXT, "request": TEXT, "request_sha256": HEX,
    "retry_of": ID, "role": TEXT, "root": HEX, "shared": INT, "signature_algorithm": TEXT,
    "single_user": INT, "size": INT, "spki": BASE64, "spki_sha256": HEX, "tbs_sha256": HEX,
    "time": INT, "token": TEXT, "type": TEXT, "valid_time": INT, "version": TEXT, "weak": TEXT,
    "window_opens": INT,
}  # fmt: skip
# What the ledger process may write of itself; all others its chain's writer sent.
OWN = {"STOP", "CONFIG", "UNKNOWN", "REFUSED", "HELD", "RELEASED", "CHECKPOINT"}
ALWAYS = {"chain", "idx", "time", "type"}
MUST = {
    "START": {"boot_id", "boottime", "generation", "node", "token", "version"},
    "STOP": set(),
    "CONFIG": {"config", "generation"},
    "SELF-TEST": {"certificate_sha256", "generation", "id", "key", "spki", "tbs_sha256", "valid_time"},
    "KEY-PROVED": {"certificate_sha256", "certificates", "generation", "id", "key"},
    "KEY-REFUSED": {"key", "reason"},
    "AUTHORISED": {
        "algorithm", "attempt", "cert_not_before", "certificate_sha256", "client", "client_sha256",
        "expiry", "generation", "id", "key", "lifetime_asked", "lifetime_granted", "now", "peer",
        "policy", "possession", "request", "role", "signature_algorithm", "spki", "spki_sha256",
        "tbs_sha256", "valid_time", "window_opens",
    },
    "ISSUED": {"attempt", "dc", "dc_sha256", "id"},
    "FAILED": {"attempt", "id", "reason"},
    "UNKNOWN": {"id"},
    "LATE": {"attempt", "dc", "dc_sha256", "id"},
    "REFUSED": {"reason"},
    "HELD": {"reason"},
    "RELEASED": {"reason"},
    "CLOCK": {"drift_ms"},
    "CHECKPOINT": {"note", "public_key", "root", "size"},
    "SUCCEEDED": {"previous", "reason", "root", "size"},
}  # fmt: skip


@dataclass
class Row:
    """A record as it is stored. leaf_hash is None in an export."""

    chain: str
    idx: int
    text: bytes
    leaf_hash: bytes = None


@dataclass
class Head:
    size: int
    root: bytes
    edge: bytes = None  # the roots of the perfect subtrees of its tree; None: nobody says
    last_time: int = None  # of the last record that its writer sent; None likewise


@dataclass
class Tables:
    """What the store keeps besides: rows as tuples. credentials: (id, chain, authorised, issued, key, client,
    expiry, time); holds: (key, client), "" = any; attempts: (id, attempt, chain, idx, issued, key, client, spki_sha256,
    expiry, idempotency), a self-test's attempt is 0, issued is -1 without a release; counts: (kind, name) of unpurged
    ones; idempotency: by (client, key, name) (request_sha256, time, id, chain, authorised, issued); notes: by chain;
    nodes: roots of perfect subtrees by (chain, level, idx)."""

    credentials: list
    holds: list
    attempts: list
    counts: dict
    idempotency: dict
    notes: dict
    nodes: dict


class Ledger:
    """rows: of all chains, in the order of the store; heads: by chain, None for an export; tables: None likewise."""

    def __init__(self, rows, heads=None, tables=None):
        self.rows = rows
        self.heads = heads
        self.tables = tables


def load(path):
    """A SQLite file (with its -wal beside it), or an export: one record a line."""
    with open(path, "rb") as f:
        if f.read(16) != b"SQLite format 3\0":
            f.seek(0)
            return from_export(f.read())
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "ledger.db")
        shutil.copyfile(path, copy)
        if os.path.exists(path + "-wal"):
            shutil.copyfile(path + "-wal", copy + "-wal")
        return from_sqlite(copy)


class Pending:
    """What a daemon that was killed had not brought into the tables yet."""

    MEMBERS = {1: "tntnntthnt", 2: "tnn", 3: "tn", 4: "ttthnttnn", 5: "ttnnttnn", 6: "tnnh"}

    def __init__(self):
        self.attempts, self.credentials, self.nodes, self.idempotency = {}, [], {}, {}

    def read(self, octets):
        at = 0

        def take(n):
            nonlocal at
            at += n
            if at > len(octets):
                raise ValueError("the table pending is damaged")
            return octets[at - n : at]

        def member(kind):
            if kind == "n":
                return int.from_bytes(take(8), "big", signed=True)
            return take(32) if kind == "h" else take(int.from_bytes(take(4), "big")).decode()

        while at < len(octets):
            what = take(1)[0]
            self.do(what, [member(kind) for kind in self.MEMBERS[what]])

    def do(self, what, m):
        if what == 1:
            self.attempts[m[0], m[1]] = m
        elif what == 2:
            self.attempts[m[0], m[1]][4] = m[2]
        elif what == 3:
            del self.attempts[m[0], m[1]]
        elif what == 4:
            self.idempotency[tuple(m[:3])] = tuple(m[3:])
        elif what == 5:
            self.credentials.append(tuple(m))
        elif what == 6:
            self.nodes[m[0], m[1], m[2]] = m[3]

    def attempts_rows(self):
        return [tuple(m) for m in self.attempts.values()]

    def counted(self, counts):
        for m in self.attempts.values():
            for name in (("key", m[5]), ("client", m[6])) if m[6] else ():
                counts[name] = counts.get(name, 0) + 1
        return counts


def from_sqlite(path):
    db = sqlite3.connect(path)
    db.text_factory = bytes
    try:
        rows = [
            Row(chain.decode(), idx, record, leaf)
            for chain, idx, record, leaf in db.execute(
                "SELECT chain, idx, record, leaf_hash FROM records ORDER BY chain, idx"
            )
        ]
        heads = {
            chain.decode(): Head(size, root, edge, last_time)
            for chain, size, root, edge, last_time in db.execute("SELECT chain, size, root, edge, last_time FROM chains")
        }
        db.text_factory = lambda octets: octets.decode(errors="replace")
        late = Pending()
        for (done,) in db.execute("SELECT done FROM pending ORDER BY number"):
            late.read(done)
        tables = Tables(
            db.execute("SELECT id, chain, authorised, issued, key, client, expiry, time FROM credentials").fetchall()
            + late.credentials,
            db.execute("SELECT key, client FROM holds").fetchall(),
            db.execute(
                "SELECT id, attempt, chain, idx, issued, key, client, spki_sha256, expiry, idempotency FROM attempts"
            ).fetchall()
            + late.attempts_rows(),
            late.counted({(kind, name): live for kind, name, live in db.execute("SELECT kind, name, live FROM counts")}),
            {
                row[:3]: row[3:]
                for row in db.execute(
                    "SELECT client, key, name, request_sha256, time, id, chain, authorised, issued FROM idempotency"
                )
            }
            | late.idempotency,
            dict(db.execute("SELECT chain, note FROM checkpoints")),
            {(c, level, idx): h for c, level, idx, h in db.execute("SELECT chain, level, idx, hash FROM nodes")}
            | late.nodes,
        )
    finally:
        db.close()
    return Ledger(rows, heads, tables)


def from_export(octets):
    rows = []
    for line in octets.splitlines():
        try:
            members = json.loads(line)
            rows.append(Row(str(members["chain"]), members["idx"], line))
        except (ValueError, KeyError, TypeError):
            rows.append(Row("?", -1, line))
    return Ledger(rows)


def sent_last(records):
    """The time of the last record of a chain that its writer sent, as its head has it."""
    return next((r["time"] for r in reversed(records) if r["type"] not in OWN), 0)


class Malformed(ValueError):
    pass


def canonical(value):
    """The octets of a value in the one form that a record may have."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
    return text.encode()


def no_floats(text):
    raise Malformed(f"has a number that is no integer: {text}")


def object_of(pairs):
    members = dict(pairs)
    if len(members) != len(pairs):
        raise Malformed("has a member twice")
    return members


def integer(text):
    v = int(text)
    if not -(2**63) < v < 2**63:
        raise Malformed("has an integer that does not fit 64 bits")
    return v


def decode(row):
    """The record's members: text and integers as they are, base64 and hex as octets, under the name
    of the member. Malformed when it is not a record in canonical form."""
    try:
        members = json.loads(
            row.text.decode(),
            object_pairs_hook=object_of,
            parse_float=no_floats,
            parse_constant=no_floats,
            parse_int=integer,
        )
        same = canonical(members) == row.text
    except (UnicodeError, json.JSONDecodeError, RecursionError) as e:
        raise Malformed(f"is not JSON: {e}") from e
    if not isinstance(members, dict):
        raise Malformed("is not an object")
    if not same:
        raise Malformed("is not in canonical form")
    kind = members.get("type")
    if kind not in MUST:
        raise Malformed(f"has the unknown type {kind!r}")
    if missing := (ALWAYS | MUST[kind]) - set(members):
        raise Malformed(f"lacks {', '.join(sorted(missing))}")
    return {name: value_of(name, value) for name, value in members.items()}


def value_of(name, value):
    kind = KINDS.get(name)
    if kind is None:
        raise Malformed(f"has the unknown member {name}")
    if kind == INT:
        good = isinstance(value, int) and not isinstance(value, bool)
    elif kind == OBJECT:
        good = isinstance(value, dict)
    else:
        good = isinstance(value, str) and value != "" and "\0" not in value
    if good and kind in (HEX, ID):
        good = re.fullmatch("[0-9a-f]{64}" if kind == HEX else "[0-9a-f]{32}", value)
    if not good:
        raise Malformed(f"has a {name} that is no {kind}")
    if kind == HEX:
        return bytes.fromhex(value)
    if kind != BASE64:
        return value
    try:
        octets = base64.b64decode(value, validate=True)
    except ValueError as e:
        raise Malformed(f"has a {name} that is no base64") from e
    if base64.b64encode(octets).decode() != value:
        raise Malformed(f"has a {name} that is no base64 in its one form")
    return octets


# ---- RFC 9162 section 2.1 ----


def leaf_hash(record):
    return hashlib.sha256(b"\0" + record).digest()


def tree_edge(leaves):
    """The roots of the perfect subtrees that the tree is made of, largest first."""
    roots = b""
    while leaves:
        size = 1 << (len(leaves).bit_length() - 1)
        roots += tree_root(leaves[:size])
        leaves = leaves[size:]
    return roots


def tree_root(leaves):
    """Level by level: pairs are joined, one that is left over goes up as it is."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    level = list(leaves)
    while len(level) > 1:
        pairs = [hashlib.sha256(b"\1" + a + b).digest() for a, b in zip(level[::2], level[1::2])]
        level = pairs + level[len(pairs) * 2 :]
    return level[0]
