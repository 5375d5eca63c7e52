"""A consistent set of ledger, witness and clients, made here and not by the service, for the tests
of the verifier and the reconciler to break."""

import base64
import copy
import datetime
import hashlib
import json
import sqlite3
import sys

try:
    import cryptography  # noqa: F401
except ImportError:
    print("skipped: python3-cryptography is missing")
    sys.exit(77)
import policy_oracle as po
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from ledger_records import Head, Ledger, Row, canonical, leaf_hash, sent_last, tree_edge, tree_root

NOW = 1_800_000_000
BEGIN, END = NOW - 86400, NOW + 30 * 86400
CHAIN = "sign1/main"
GENERATION, GENERATION2 = "47" * 32, "48" * 32
MECHANISMS = {0x0403: 0x1041, 0x0503: 0x1041, 0x0804: 0x0D, 0x0807: 0x1057}
DIGESTS = {0x0403: hashes.SHA256, 0x0503: hashes.SHA384, 0x0804: hashes.SHA256}


def b64(octets):
    return base64.b64encode(octets).decode()


def hex256(octets):
    return hashlib.sha256(octets).hexdigest()


def utc(t):
    return datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=t)


def spki_of(private):
    return private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Key:
    """A delegation key with its certificate."""

    def __init__(self, name, code, handle, private):
        self.name, self.code, self.handle, self.private = name, code, handle, private
        self.der = self.certificate()

    def certificate(self, usage=b"\x05\0", critical=False):
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, self.name)])
        bits = [True] + [False] * 8
        usage = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.44363.44"), usage)
        builder = x509.CertificateBuilder(subject, subject, self.private.public_key(), 7, utc(BEGIN), utc(END))
        builder = builder.add_extension(x509.KeyUsage(*bits), True).add_extension(usage, critical)
        algorithm = None if self.code == 0x0807 else hashes.SHA256()
        return builder.sign(self.private, algorithm).public_bytes(Encoding.DER)

    def signed(self, tbs):
        """What C_Sign gets, its raw signature, and the signature of the credential."""
        if self.code == 0x0807:
            sig = self.private.sign(tbs)
            return tbs, sig, sig
        digest = hashes.Hash(DIGESTS[self.code]())
        digest.update(tbs)
        digest = digest.finalize()
        if self.code == 0x0804:
            sig = self.private.sign(tbs, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
            return digest, sig, sig
        sig = self.private.sign(tbs, ec.ECDSA(DIGESTS[self.code]()))
        r, s = decode_dss_signature(sig)
        half = self.private.key_size // 8
        return digest, r.to_bytes(half, "big") + s.to_bytes(half, "big"), sig


KEYS = [
    Key("www", 0x0403, 2, ec.generate_private_key(ec.SECP256R1())),
    Key("p384", 0x0503, 4, ec.generate_private_key(ec.SECP384R1())),
    Key("ed", 0x0807, 6, ed25519.Ed25519PrivateKey.generate()),
    Key("rsa", 0x0804, 8, rsa.generate_private_key(65537, 2048)),
]
DC_KEYS = [spki_of(ec.generate_private_key(ec.SECP256R1())) for _ in range(24)]


def configuration():
    policy = {
        "algorithms": ["ecdsa_secp256r1_sha256"], "clock_skew": 3600, "max_lifetime": 86400,
        "max_live": 1000, "max_start_ahead": 300, "min_lifetime": 300, "name": "default",
        "proof_of_possession": "required", "roles": ["server"],
    }  # fmt: skip
    client = {
        "keys": [k.name for k in KEYS], "match": [], "max_live": 0, "may": ["issue"], "name": "edge",
        "policy": "", "rate_count": 0, "rate_seconds": 0,
    }  # fmt: skip
    return {
        "clients": [client],
        "keys": [
            {"accept_weak_key": [], "certificate": [f"/{k.name}.pem"], "issuer_ca": "", "name": k.name,
             "policy": "default", "uri": f"pkcs11:object={k.name}"}
            for k in KEYS
        ],
        "max_lifetime": 604800,
        "policies": [policy],
    }


class Set:
    """records: JSON objects in order; witness: lines; clients: (path, id, octets)."""

    def __init__(self):
        self.records, self.witness, self.clients = [], [], []
        self.at, self.serial, self.pid = NOW, 0, 100
        self.spkis = list(DC_KEYS)
        self.start(GENERATION)
        for key in KEYS:
            self.self_test(key, "KEY-PROVED")
        for key in KEYS:
            self.issue(key, "ISSUED")
        www = KEYS[0]
        twice = self.authorise(www)
        self.call_sign(www, twice["tbs"], rv=0x30)
        self.end(twice, "FAILED", reason="token_unavailable")
        self.issue(www, "ISSUED", again=twice)
        self.end(self.authorise(www), "UNKNOWN")
        late = self.issue(www, "UNKNOWN")
        self.end(late, "LATE", dc=late["made"])
        self.issue(KEYS[2], "LATE")
        same = self.authorise(www)
        self.issue(www, "ISSUED", twin=same)
        self.conclude(same, "ISSUED")
        self.issue(www, "ISSUED", idempotency="deploy-42", request_sha256="02" * 32)
        self.add("REFUSED", client="edge", key="www", reason="lifetime_too_long")
        self.add("HELD", key="p384", reason="a ceremony")
        self.issue(www, "ISSUED")
        self.add("RELEASED", key="p384", reason="it is over")
        self.issue(KEYS[1], "ISSUED")
        self.self_test(KEYS[1], "UNKNOWN")
        self.add("STOP")
        self.pid = 200
        self.start(GENERATION2)
        self.self_test(www, "KEY-REFUSED")
        self.self_test(www, "KEY-PROVED")
        self.issue(www, "ISSUED", generation=GENERATION2)
        self.add("STOP")

    # ---- the three accounts ----

    def add(self, kind, **members):
        record = {"chain": CHAIN, "idx": len(self.records), "time": self.at, "type": kind, **members}
        self.records.append(record)
        return record

    def call(self, fn, rest=""):
        self.at += 1
        self.witness.append(f"t={self.at}.000000001 pid={self.pid} tid={self.pid} fn={fn} {rest} rv=0x0".replace("  ", " "))

    def start(self, generation):
        self.add("START", boot_id="b", boottime=1, generation=generation, node="sign1", token="main", version="0")
        self.add("CONFIG", generation=generation, config=configuration())
        for fn in ("C_Initialize", "C_GetSlotList", "C_OpenSession slot=1", "C_Login s=1"):
            self.call(*fn.split(" ", 1))

    def call_sign(self, key, tbs, rv=0, ended=True):
        """C_SignInit and C_Sign; gives the signature of the credential."""
        octets, raw, sig = key.signed(tbs)
        self.call("C_SignInit", f"s=1 mech=0x{MECHANISMS[key.code]:x} key={key.handle}")
        who = f"pid={self.pid} tid={self.pid} fn=C_Sign s=1 mech=0x{MECHANISMS[key.code]:x} key={key.handle} in={octets.hex()}"
        self.witness.append(f"t={self.at}.5 {who} ev=begin")
        if ended:
            made = f" len={len(raw)} sig={hex256(raw)}" if rv == 0 else " did=rv"
            self.witness.append(f"t={self.at}.6 {who} rv=0x{rv:x}{made}")
        return sig

    def new_id(self):
        self.serial += 1
        return f"{self.serial:032x}"

    def self_test(self, key, outcome):
        self.at += 1
        spki, scheme = DC_KEYS[-1], 0x0403
        tbs = po.tbs(po.SERVER, key.der, 0, scheme, spki, key.code)
        same = {
            "certificate_sha256": hex256(key.der), "generation": self.records[-1].get("generation", GENERATION),
            "id": self.new_id(), "key": key.name, "signature_algorithm": po.SCHEMES[key.code],
            "spki_sha256": hex256(spki),
        }  # fmt: skip
        self.add("SELF-TEST", **same, role="server", algorithm=po.SCHEMES[scheme], spki=b64(spki),
                 tbs_sha256=hex256(tbs), now=self.at, cert_not_before=BEGIN, valid_time=0, expiry=BEGIN)  # fmt: skip
        sig = self.call_sign(key, tbs, ended=outcome == "KEY-PROVED", rv=0)
        if outcome == "UNKNOWN":
            self.add("UNKNOWN", id=same["id"], reason="outcome_unknown")
        elif outcome == "KEY-REFUSED":
            self.add("KEY-REFUSED", **same, reason="key_unproved")
        else:
            dc = po.delegated_credential(0, scheme, spki, key.code, sig)
            chain = len(key.der).to_bytes(3, "big") + key.der
            self.add("KEY-PROVED", **same, certificates=b64(chain), dc=b64(dc), dc_sha256=hex256(dc))

    def authorise(self, key, again=None, twin=None, generation=GENERATION, lifetime=3600, **more):
        if twin is None:
            self.at += 1
        spki = (again or twin or {}).get("spki") or self.spkis.pop(0)
        now = again["record"]["now"] if again else twin["record"]["now"] if twin else self.at
        valid = now + lifetime - BEGIN
        tbs = po.tbs(po.SERVER, key.der, valid, 0x0403, spki, key.code)
        number = again["record"]["attempt"] + 1 if again else 1
        record = self.add(
            "AUTHORISED", algorithm=po.SCHEMES[0x0403], attempt=number, cert_not_before=BEGIN,
            certificate_sha256=hex256(key.der), client="edge", client_sha256="47" * 32,
            expiry=now + lifetime, generation=generation, id=again["record"]["id"] if again else self.new_id(),
            key=key.name, lifetime_asked=lifetime, lifetime_granted=lifetime, now=now, peer="192.0.2.7:1",
            policy="default", possession="csr", request="5b" * 16, role="server",
            signature_algorithm=po.SCHEMES[key.code], spki=b64(spki), spki_sha256=hex256(spki),
            tbs_sha256=hex256(tbs), valid_time=valid, window_opens=max(BEGIN, now + lifetime - 604800), **more,
        )  # fmt: skip
        return {"key": key, "record": record, "tbs": tbs, "spki": spki, "valid": valid}

    def end(self, attempt, kind, dc=None, **more):
        r = attempt["record"]
        if dc is not None:
            more = {**more, "dc": b64(dc), "dc_sha256": hex256(dc)}
        self.add(kind, id=r["id"], attempt=r["attempt"], **more)
        if kind == "ISSUED":
            self.clients.append((f"client/{r['id']}", r["id"], dc))

    def conclude(self, attempt, outcome):
        key = attempt["key"]
        sig = self.call_sign(key, attempt["tbs"])
        dc = po.delegated_credential(attempt["valid"], 0x0403, attempt["spki"], key.code, sig)
        attempt["made"] = dc
        self.end(attempt, outcome, dc=None if outcome == "UNKNOWN" else dc)

    def issue(self, key, outcome, **how):
        attempt = self.authorise(key, **how)
        self.conclude(attempt, outcome)
        return attempt

    # ---- as the programs read them ----

    def copy(self):
        return copy.deepcopy(self)

    def first(self, kind, **members):
        return next(r for r in self.records if r["type"] == kind and members.items() <= r.items())

    def renumber(self):
        for idx, record in enumerate(self.records):
            record["idx"] = idx

    def ledger(self):
        rows = []
        for record in self.records:
            text = canonical(record)
            rows.append(Row(record["chain"], record["idx"], text, leaf_hash(text)))
        chains = {}
        for row in rows:
            chains.setdefault(row.chain, []).append(row.leaf_hash)
        return Ledger(rows, {c: Head(len(leaves), tree_root(leaves)) for c, leaves in chains.items()})


def seal(ledger):
    """Leaf hashes and heads that fit rows that were changed."""
    for row in ledger.rows:
        row.leaf_hash = leaf_hash(row.text)
    for chain, head in ledger.heads.items():
        leaves = [r.leaf_hash for r in ledger.rows if r.chain == chain]
        head.size, head.root = len(leaves), tree_root(leaves)
    return ledger


SCHEMA = """
CREATE TABLE chains (chain TEXT PRIMARY KEY, size INTEGER, edge BLOB, root BLOB, last_time INTEGER);
CREATE TABLE records (chain TEXT, idx INTEGER, record TEXT, leaf_hash BLOB, PRIMARY KEY (chain, idx));
CREATE TABLE attempts (id TEXT, attempt INTEGER, chain TEXT, idx INTEGER, issued INTEGER, key TEXT, client TEXT,
    spki_sha256 BLOB, expiry INTEGER, idempotency TEXT, PRIMARY KEY (id, attempt));
CREATE INDEX attempts_open ON attempts (chain, idx) WHERE issued < 0;
CREATE TABLE counts (kind TEXT, name TEXT, live INTEGER, PRIMARY KEY (kind, name));
CREATE TABLE idempotency (client TEXT, key TEXT, name TEXT, request_sha256 BLOB, time INTEGER, id TEXT, chain TEXT,
    authorised INTEGER, issued INTEGER, PRIMARY KEY (client, key, name));
CREATE TABLE holds (key TEXT, client TEXT, reason TEXT, PRIMARY KEY (key, client));
CREATE TABLE nodes (chain TEXT, level INTEGER, idx INTEGER, hash BLOB, PRIMARY KEY (chain, level, idx));
CREATE TABLE checkpoints (chain TEXT PRIMARY KEY, note TEXT);
CREATE TABLE credentials (number INTEGER PRIMARY KEY, id TEXT, chain TEXT, authorised INTEGER, issued INTEGER,
    key TEXT, client TEXT, expiry INTEGER, time INTEGER);
CREATE TABLE pending (number INTEGER PRIMARY KEY, done BLOB);
PRAGMA user_version = 3;
"""


def write_tables(db, rows):
    """What follows from the records; a record that can't be read gives nothing."""
    attempts, holds, keys = {}, {}, {}
    for row in rows:
        try:
            r = json.loads(row.text)
            kind, name = r["type"], (r.get("id"), r.get("attempt", 0))
            if kind in ("AUTHORISED", "SELF-TEST"):
                attempts[name] = {"issued": -1, **r}
                if "idempotency" in r:
                    of = (r["client"], r["key"], r["idempotency"])
                    keys[of] = [bytes.fromhex(r["request_sha256"]), r["now"], r["id"], r["chain"], r["idx"], -1]
            elif kind in ("FAILED", "UNKNOWN", "LATE", "KEY-PROVED", "KEY-REFUSED"):
                attempts.pop(name, None)
            elif kind == "ISSUED":
                a = attempts[name]
                a["issued"] = r["idx"]
                values = (r["id"], r["chain"], a["idx"], r["idx"], a["key"], a["client"], a["expiry"], r["time"])
                db.execute("INSERT INTO credentials VALUES (NULL,?,?,?,?,?,?,?,?)", values)
                if "idempotency" in a:
                    keys[a["client"], a["key"], a["idempotency"]][2:] = [r["id"], r["chain"], a["idx"], r["idx"]]
            elif kind in ("HELD", "RELEASED"):
                holds[r.get("key", ""), r.get("client", "")] = kind == "HELD"
        except (ValueError, KeyError, TypeError):
            pass
    for (name, number), a in attempts.items():
        values = (name, number, a["chain"], a["idx"], a["issued"], a["key"], a.get("client", ""))
        values += (bytes.fromhex(a.get("spki_sha256", "00" * 32)), a.get("expiry", 0), a.get("idempotency", ""))
        db.execute("INSERT INTO attempts VALUES (?,?,?,?,?,?,?,?,?,?)", values)
        for kind in ("key", "client") if "client" in a else ():
            db.execute("INSERT INTO counts VALUES (?,?,1) ON CONFLICT DO UPDATE SET live = live + 1", (kind, a[kind]))
    db.executemany("INSERT INTO holds VALUES (?,?,'')", [h for h, held in holds.items() if held])
    for of, row in keys.items():
        db.execute("INSERT INTO idempotency VALUES (?,?,?,?,?,?,?,?,?)", (*of, *row))


def readable(ledger, chain):
    for row in ledger.rows:
        try:
            r = json.loads(row.text)
            if row.chain == chain and isinstance(r["time"], int) and r["type"]:
                yield r
        except (ValueError, KeyError, TypeError):
            pass


def write_sqlite(path, ledger):
    """A file as the service keeps it. A record that is no UTF-8 or stands twice can't be in one: ValueError."""
    db = sqlite3.connect(path)
    try:
        db.execute("PRAGMA synchronous = OFF")
        db.executescript(SCHEMA)
        for row in ledger.rows:
            db.execute("INSERT INTO records VALUES (?,?,?,?)", (row.chain, row.idx, row.text.decode(), row.leaf_hash))
        for chain, head in ledger.heads.items():
            leaves = [r.leaf_hash for r in ledger.rows if r.chain == chain]
            leaves += [bytes(32)] * (head.size - len(leaves))
            values = (chain, head.size, tree_edge(leaves[: head.size]), head.root, sent_last(list(readable(ledger, chain))))
            db.execute("INSERT INTO chains VALUES (?,?,?,?,?)", values)
            for level in range(4, head.size.bit_length(), 4):
                for n in range(head.size >> level):
                    root = tree_root(leaves[n << level : (n + 1) << level])
                    db.execute("INSERT INTO nodes VALUES (?,?,?,?)", (chain, level, n, root))
        write_tables(db, ledger.rows)
        db.commit()
    except sqlite3.IntegrityError as e:
        raise ValueError(str(e)) from e
    finally:
        db.close()
