"""An independent verifier of a ledger: canonical records without a gap, leaf hashes and roots, what
was authorised against what the policy of its time allowed, and every signature anew.

verify_ledger.py [--archive FILE]... [--checkpoint FILE] [--verifier-key KEY]... [--witness-key KEY]... LEDGER [CHAIN:SIZE:ROOT ...]

CHAIN:SIZE:ROOT is an older head, FILE has signed ones: the ledger must extend them. KEY must have signed every
head, of several each those of the node in its name; a witness's must have cosigned those of FILE.

Prints each thing that is wrong, a line each; exit status 1 when there is any, 3 when there is none but records are
archived and no FILE of --archive has them.
"""

import argparse
import collections
import hashlib
import heapq
import sys
from dataclasses import dataclass, field

import policy_oracle as po
import signed_notes
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from ledger_records import OWN, Malformed, decode, leaf_hash, load, tree_edge, tree_root

DELEGATION_USAGE = "1.3.6.1.4.1.44363.44"
DAY = 86400
HASHES = {0x0403: hashes.SHA256, 0x0503: hashes.SHA384, 0x0603: hashes.SHA512, 0x0804: hashes.SHA256,
          0x0809: hashes.SHA256, 0x080A: hashes.SHA384, 0x080B: hashes.SHA512}  # fmt: skip
CURVES = {0x0403: "secp256r1", 0x0503: "secp384r1", 0x0603: "secp521r1"}


class Certificate:
    def __init__(self, der):
        self.der = der
        self.sha256 = hashlib.sha256(der).digest()
        self.x509 = x509.load_der_x509_certificate(der)
        self.begin = seconds(self.x509.not_valid_before)
        self.end = seconds(self.x509.not_valid_after)
        self.key = self.x509.public_key()
        self.extensions = {e.oid.dotted_string: e for e in self.x509.extensions}

    def faults(self):
        """Why it must not sign delegated credentials (RFC 9345 section 4.2)."""
        found = self.extensions
        usage = found.get(DELEGATION_USAGE)
        if usage is None:
            yield "its certificate has no DelegationUsage"
        elif usage.critical or usage.value.value != b"\x05\0":
            yield "its certificate's DelegationUsage is critical or not NULL"
        key_usage = found.get("2.5.29.15")
        if key_usage is None or not key_usage.value.digital_signature:
            yield "its certificate's key usage lacks digitalSignature"
        constraints = found.get("2.5.29.19")
        if constraints is not None and constraints.value.ca:
            yield "its certificate is that of an authority"

    def verifies(self, algorithm, signature, message):
        try:
            if algorithm in CURVES and isinstance(self.key, ec.EllipticCurvePublicKey):
                if self.key.curve.name != CURVES[algorithm]:
                    return False
                self.key.verify(signature, message, ec.ECDSA(HASHES[algorithm]()))
            elif algorithm == 0x0807 and isinstance(self.key, ed25519.Ed25519PublicKey):
                self.key.verify(signature, message)
            elif algorithm in HASHES and isinstance(self.key, rsa.RSAPublicKey):
                h = HASHES[algorithm]()
                self.key.verify(signature, message, padding.PSS(padding.MGF1(h), h.digest_size), h)
            else:
                return False
        except InvalidSignature:
            return False
        return True


def seconds(naive_utc):
    return int((naive_utc - type(naive_utc)(1970, 1, 1)).total_seconds())


@dataclass
class Attempt:
    """A signature that was announced: by AUTHORISED or SELF-TEST."""

    chain: str
    opened: dict
    tbs: bytes = None  # rebuilt; None where that was impossible
    certificate: Certificate = None
    outcomes: list = field(default_factory=list)
    lost: bool = False  # it had no outcome when START or STOP came

    @property
    def name(self):
        number = self.opened.get("attempt")
        return self.opened["id"] + (f" attempt {number}" if number else "")

    @property
    def credential(self):
        return next((o["dc"] for o in self.outcomes if "dc" in o), None)


class Verifier:
    """certificates: others than those that the ledger shows, for what it could not prove."""

    def __init__(self, ledger, certificates=(), keys=(), archives=None):
        self.ledger = ledger
        self.archives = archives  # (chain, idx) -> text; None: none was given
        self.archived = set()  # (chain, idx) of what is archived and nowhere to be read
        self.keys = list(keys)  # (name, kind, public), of the heads
        self.certificates = {c.sha256: c for c in certificates}
        self.problems = []
        self.notes = []  # gaps between a chain and the one that goes on for it
        self.leaves = {}  # of each chain
        self.attempts = []
        self.records = 0
        self.open = 0  # attempts without an outcome at the end of a chain that was not stopped

    def wrong(self, chain, idx, words):
        self.problems.append(f"{chain} {'head' if idx is None else idx}: {words}")

    def trusted(self, origin):
        """The keys that may sign heads of it; None: any."""
        node = origin.rpartition("/")[0]
        own = [public for name, _, public in self.keys if name.rpartition("/")[0] == node]
        return own or [public for _, _, public in self.keys] or None

    def older(self, notes, witnesses):
        """(chain, size, root) of signed heads that were kept elsewhere."""
        for note in notes:
            chain = "/".join(note.origin.split("/")[-2:])
            trusted = self.trusted(note.origin)
            if trusted is not None and not any(note.good(note.origin, signed_notes.ED25519, k) for k in trusted):
                self.wrong(chain, None, f"a kept checkpoint of {note.size} records is not signed with the key given")
            for name, kind, public in witnesses:
                if not note.good(name, kind, public):
                    self.wrong(chain, None, f"a kept checkpoint of {note.size} records is not cosigned by {name}")
            yield chain, note.size, note.root

    def run(self, older_heads=(), notes=(), witnesses=()):
        chains, walks = {}, []
        older_heads = list(older_heads) + list(self.older(notes, witnesses))
        for row in self.ledger.rows:
            chains.setdefault(row.chain, []).append(row)
        for chain in list(self.ledger.heads or ()):
            chains.setdefault(chain, [])
        for chain, rows in chains.items():
            self.fetch(rows)
            self.leaves[chain] = leaves = [leaf_hash(row.text) if row.text else row.leaf_hash for row in rows]
            self.check_places(chain, rows, leaves)
            for old_chain, size, root in older_heads:
                if old_chain == chain and (size > len(leaves) or tree_root(leaves[:size]) != root):
                    self.wrong(chain, None, f"it does not extend the older head of size {size}")
            walk = Walk(self, chain)
            walk.leaves = leaves
            walk.run(rows)
            walks.append(walk)
            self.records += len(rows)
        for walk in walks:
            walk.rebuild_the_rest()
        if self.ledger.tables is not None:
            self.check_tables(walks)
        for old_chain, size, _ in older_heads:
            if old_chain not in chains:
                self.wrong(old_chain, None, f"the chain is gone, and its head of size {size} is known")
        return self.problems

    def fetch(self, rows):
        for row in rows:
            if row.text:
                continue
            row.text = (self.archives or {}).get((row.chain, row.idx), b"")
            if not row.text:
                self.archived.add((row.chain, row.idx))
                if self.archives is not None:
                    self.wrong(row.chain, row.idx, "is archived, and no archive that was given has it")

    def check_tables(self, walks):
        """What the store keeps to decide fast is what the records say."""
        tables = self.ledger.tables
        issued = sorted(c for w in walks for c in w.issued)
        if sorted(c for c in tables.credentials if (c[1], c[3]) not in self.archived) != issued:
            self.wrong("ledger", None, "the table of credentials is not what the records say")
        holds = {}
        for name, said in sorted((h for w in walks for h in w.holds.items()), key=lambda h: h[1][0]):
            holds[name] = said[1]
        if sorted(tables.holds) != sorted(h for h, held in holds.items() if held):
            self.wrong("ledger", None, "the table of holds is not what the records say")
        nodes = {}
        for w in walks:
            for level in range(4, len(w.leaves).bit_length(), 4):
                for n in range(len(w.leaves) >> level):
                    nodes[w.chain, level, n] = tree_root(w.leaves[n << level : (n + 1) << level])
        if tables.nodes != nodes:
            self.wrong("ledger", None, "the inner nodes that are kept for proofs are not those of the records")
        if tables.notes != {w.chain: w.note for w in walks if w.note}:
            self.wrong("ledger", None, "the signed heads that the store keeps are not the newest of the records")
        now = max((w.newest for w in walks), default=0)
        self.check_attempts(walks, now)
        self.check_idempotency(walks, now)

    def check_attempts(self, walks, now):
        """Open ones and unexpired credentials are there; others may be."""
        tables = self.ledger.tables
        by_records = {row[:2]: row for w in walks for row in w.begun()}
        rows = {row[:2]: row for row in tables.attempts if (row[2], row[3]) not in self.archived}
        for name, row in rows.items():
            if by_records.get(name) != row:
                self.wrong("ledger", None, f"the table of attempts has one that is not what its records say: {name}")
        for name, row in by_records.items():
            if name not in rows and (row[4] < 0 or row[8] > now):
                self.wrong("ledger", None, f"the table of attempts lacks one: {name}")
        counts = {}
        for row in tables.attempts:
            for kind, name in (("key", row[5]), ("client", row[6])) if row[6] else ():
                counts[kind, name] = counts.get((kind, name), 0) + 1
        if {name: n for name, n in tables.counts.items() if n} != counts:
            self.wrong("ledger", None, "the counts of attempts are not those of the table")

    def check_idempotency(self, walks, now):
        """What was asked under a key in the last day, and what was released."""
        asked, released = {}, {}
        for w in walks:
            for a in w.attempts.values():
                r = a.opened
                if r["type"] != "AUTHORISED" or "idempotency" not in r or r["now"] <= now - DAY:
                    continue
                name = (r["client"], r["key"], r["idempotency"])
                asked.setdefault(name, []).append((r["request_sha256"], r["now"], r["id"], w.chain, r["idx"]))
                for o in a.outcomes:
                    if o["type"] == "ISSUED":
                        released[name] = (r["request_sha256"], r["id"], w.chain, r["idx"], o["idx"])
        rows = self.ledger.tables.idempotency
        for name, row in rows.items():
            if name not in asked:
                wrong = row[1] > now - DAY
            else:
                several = len({c for _, _, _, c, _ in asked[name]}) > 1
                last = max(asked[name], key=lambda r: r[4])
                if name in released:
                    wrong = (row[0], *row[2:]) != released[name] or (not several and row[1] != last[1])
                else:
                    wrong = row[5] != -1 or (row[:5] not in asked[name] if several else row[:5] != last)
            if wrong:
                self.wrong("ledger", None, f"the table of Idempotency-Keys is not what the records say: {name}")
        for name, asks in asked.items():
            if name not in rows and max(r[1] for r in asks) > now - DAY + 600:
                self.wrong("ledger", None, f"the table of Idempotency-Keys lacks one: {name}")

    def check_places(self, chain, rows, leaves):
        expected = 0
        for row, leaf in zip(rows, leaves):
            if row.idx != expected:
                self.wrong(chain, row.idx, f"stands where {expected} should")
            expected = row.idx + 1
            if row.leaf_hash is not None and row.leaf_hash != leaf:
                self.wrong(chain, row.idx, "the stored leaf hash is not that of the record")
        if self.ledger.heads is None:
            return
        head = self.ledger.heads.get(chain)
        if head is None:
            self.wrong(chain, None, "it has records and no head")
        elif head.size != len(rows):
            self.wrong(chain, None, f"it says {head.size} records, there are {len(rows)}")
        else:
            if head.root != tree_root(leaves):
                self.wrong(chain, None, "its root is not that of its records")
            if head.edge not in (None, tree_edge(leaves)):
                self.wrong(chain, None, "the edge of its tree is not that of its records")


class Walk:
    """One chain, record by record."""

    def __init__(self, verifier, chain):
        self.v = verifier
        self.chain = chain
        self.idx = None
        self.attempts = {}  # (id, attempt) -> Attempt
        self.certificates = {}  # (key, sha256) -> Certificate
        self.configs = {}  # generation -> config
        self.held = set()  # (key or None, client or None)
        self.released = {}  # idempotency -> [(time, id)]
        self.live = []  # a heap of (expiry, key, client) of what was issued
        self.live_of = collections.Counter()  # the same, of ("key", ID) and ("client", NAME)
        self.issued = []  # as the table of credentials has them
        self.holds = {}  # (key, client): (time, held), as the chain has it in the end
        self.newest = 0
        self.origin = None  # of the heads
        self.note = None  # the newest
        self.covered = 0  # by it
        self.leaves = []
        self.stopped = False
        self.sent = None  # times of the last record that the writer sent: of it and of those after it that may be that

    def wrong(self, words):
        self.v.wrong(self.chain, self.idx, words)

    def run(self, rows):
        blank = None
        for row in rows:
            self.idx = row.idx
            if not row.text:
                blank = row.idx
                continue
            try:
                r = decode(row)
            except Malformed as e:
                self.wrong(str(e))
                continue
            if r["idx"] != row.idx or r["chain"] != self.chain:
                self.wrong("names another place than its own")
                continue
            if row is rows[0] and r["type"] not in ("START", "SUCCEEDED"):
                self.wrong(f"the chain begins with {r['type']}")
            self.stopped = r["type"] == "STOP" or (self.stopped and r["type"] == "CHECKPOINT")
            self.newest = max(self.newest, r["time"])
            if r["type"] not in OWN:
                self.sent = {r["time"]}
            elif self.sent:
                self.sent.add(r["time"])
            take = getattr(self, "take_" + r["type"].replace("-", "_").lower(), None)
            if take:
                self.taken(take, r)
        if blank is not None and blank >= self.covered:
            self.idx = blank
            self.wrong("has no text, and no signed head covers it")
        last_time = getattr((self.v.ledger.heads or {}).get(self.chain), "last_time", None)
        if last_time is not None and self.sent and last_time not in self.sent:
            self.v.wrong(self.chain, None, "its last_time is not that of its writer's last record")
        if not self.stopped:
            self.v.open += sum(not a.outcomes for a in self.attempts.values())

    def taken(self, take, r):
        """A configuration or a certificate in it may be anything."""
        try:
            take(r)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
            self.wrong(f"says what nothing can be made of, or refers to such a record: {e!r}")

    # ---- what is announced ----

    def announce(self, r, number):
        attempt = Attempt(self.chain, r)
        name = (r["id"], number)
        if name in self.attempts:
            self.wrong("its id and attempt were used before")
        self.attempts[name] = attempt
        self.v.attempts.append(attempt)
        return attempt

    def rebuild(self, attempt, role, algorithm):
        r, cert = attempt.opened, attempt.certificate
        scheme, signs = po.CODES.get(algorithm), po.CODES.get(r["signature_algorithm"])
        if role not in po.ROLE_NAMES or scheme is None or signs is None or not 0 <= r["valid_time"] < 2**32:
            self.wrong("its role, algorithms or valid_time are none")
            return
        attempt.tbs = po.tbs(po.ROLE_NAMES.index(role), cert.der, r["valid_time"], scheme, r["spki"], signs)
        if hashlib.sha256(attempt.tbs).digest() != r["tbs_sha256"]:
            self.wrong("tbs_sha256 is not that of the octets that its fields make")
        if "spki_sha256" in r and hashlib.sha256(r["spki"]).digest() != r["spki_sha256"]:
            self.wrong("spki_sha256 is not that of spki")

    def take_self_test(self, r):
        attempt = self.announce(r, r.get("attempt"))
        if r["valid_time"] != 0:
            self.wrong("a self-test's valid_time is not 0")
        if r.get("now", 0) <= r.get("cert_not_before", -1):
            self.wrong("a self-test of a certificate that is not valid yet: its credential has not expired")
        return attempt  # its certificate comes with KEY-PROVED, if it comes

    def rebuild_the_rest(self):
        """Self-tests that proved nothing: their certificate may be known from elsewhere."""
        for attempt in self.attempts.values():
            r = attempt.opened
            if attempt.tbs is None and r["type"] == "SELF-TEST" and {"role", "algorithm", "signature_algorithm"} <= set(r):
                attempt.certificate = self.v.certificates.get(r["certificate_sha256"])
                if attempt.certificate:
                    self.idx = r["idx"]
                    self.rebuild(attempt, r["role"], r["algorithm"])

    def take_authorised(self, r):
        attempt = self.announce(r, r["attempt"])
        self.check_order_of_attempts(r)
        attempt.certificate = self.certificates.get((r["key"], r["certificate_sha256"]))
        if attempt.certificate is None:
            self.wrong("no KEY-PROVED record shows its certificate for its key")
        else:
            self.rebuild(attempt, r["role"], r["algorithm"])
        config = self.configs.get(r["generation"])
        if config is None:
            self.wrong("no CONFIG record announced its generation")
        elif attempt.certificate is not None:
            self.check_policy(r, attempt.certificate, config)
        for key, client in self.held:
            if key in (None, r["key"]) and client in (None, r["client"]):
                self.wrong("it was authorised while issuance was on hold")

    def check_order_of_attempts(self, r):
        number = r["attempt"]
        if not 1 <= number <= 3:
            self.wrong(f"attempt {number} is none of 1 to 3")
        for before in range(1, number):
            earlier = self.attempts.get((r["id"], before))
            if earlier is None:
                self.wrong(f"there was no attempt {before} before it")
            elif not earlier.outcomes or earlier.outcomes[-1]["type"] not in ("FAILED", "UNKNOWN"):
                self.wrong(f"attempt {before} had not failed")

    # ---- the policy of its time ----

    def check_policy(self, r, cert, config):
        key = named(config["keys"], r["key"])
        client = named(config["clients"], r["client"])
        if key is None or client is None:
            self.wrong("its key or client is not in the configuration")
            return
        if "issue" not in client["may"] or r["key"] not in client["keys"]:
            self.wrong("its client may not issue with its key")
        mine = policy_of(named(config["policies"], key["policy"]))
        theirs = policy_of(named(config["policies"], client["policy"])) if client["policy"] else mine
        policy = mine.narrowed(theirs)
        if config.get("max_lifetime", policy.max_lifetime) < policy.max_lifetime:
            policy = po.Policy(config["max_lifetime"], *(getattr(policy, n) for n in POLICY_FIELDS))
        ask = po.Ask(
            po.ROLE_NAMES.index(r["role"]) if r["role"] in po.ROLE_NAMES else None,
            po.CODES.get(r["algorithm"]),
            r["possession"] == "csr",
            "lifetime",
            r["lifetime_asked"],
            r["expiry"] - r["lifetime_asked"],
        )
        if r["cert_not_before"] != cert.begin:
            self.wrong("cert_not_before is not that of its certificate")
        verdict = po.decide(policy, ask, cert.begin, cert.end, r["now"])
        for code, _ in sorted(verdict.reasons):
            self.wrong(f"its policy does not allow it: {code}")
        for name, value in (
            ("valid_time", verdict.valid_time),
            ("expiry", verdict.expiry),
            ("window_opens", verdict.window_opens),
            ("lifetime_granted", verdict.lifetime),
        ):
            if r[name] != value:
                self.wrong(f"{name} is {r[name]}, not {value}")

    def check_live(self, r):
        """ISSUED: no more unexpired ones than the configuration allows."""
        config = self.configs.get(r["generation"])
        if config is None:
            return
        while self.live and self.live[0][0] <= r["now"]:
            _, gone_key, gone_client = heapq.heappop(self.live)
            self.live_of.subtract([("key", gone_key), ("client", gone_client)])
        heapq.heappush(self.live, (r["expiry"], r["key"], r["client"]))
        self.live_of.update([("key", r["key"]), ("client", r["client"])])
        key, client = named(config["keys"], r["key"]), named(config["clients"], r["client"])
        if key is None or client is None:
            return
        policies = {key["policy"], client["policy"]} - {""}
        most = min(named(config["policies"], p)["max_live"] for p in policies)
        if self.live_of["key", r["key"]] > most:
            self.wrong(f"more than {most} unexpired credentials of its key")
        if 0 < client["max_live"] < self.live_of["client", r["client"]]:
            self.wrong(f"more than {client['max_live']} unexpired credentials of its client")

    # ---- outcomes ----

    def end(self, r):
        attempt = self.attempts.get((r["id"], r.get("attempt")))
        if attempt is None:
            self.wrong("nothing was announced under its id and attempt")
            return None
        types = [o["type"] for o in attempt.outcomes]
        if r["type"] == "LATE" and types == ["FAILED"]:
            self.wrong("its attempt is FAILED, which says that there is no signature")
        elif types and not (r["type"] == "LATE" and types == ["UNKNOWN"]):
            self.wrong(f"its attempt has the outcome {types[-1]} already")
        attempt.outcomes.append(r)
        return attempt

    def check_credential(self, r, attempt):
        if hashlib.sha256(r["dc"]).digest() != r["dc_sha256"]:
            self.wrong("dc_sha256 is not that of dc")
        try:
            dc = po.parse(r["dc"])
        except ValueError as e:
            self.wrong(f"its dc is none: {e}")
            return
        if attempt.tbs is None:
            return
        tail = po.credential(dc.valid_time, dc.scheme, dc.spki) + dc.algorithm.to_bytes(2, "big")
        if not attempt.tbs.endswith(tail) or len(attempt.tbs) != 98 + len(attempt.certificate.der) + len(tail):
            self.wrong("its credential is not the one that was announced")
        elif not attempt.certificate.verifies(dc.algorithm, dc.signature, attempt.tbs):
            self.wrong("its signature does not verify under the certificate's key")

    def take_issued(self, r):
        attempt = self.end(r)
        if attempt is None:
            return
        opened = attempt.opened
        if opened["type"] != "AUTHORISED":
            self.wrong("a self-test's credential was issued")
            return
        self.check_credential(r, attempt)
        self.check_live(opened)
        self.issued.append(
            (r["id"], self.chain, opened["idx"], r["idx"], opened["key"], opened["client"], opened["expiry"], r["time"])
        )
        if "idempotency" in opened:
            name = (opened["client"], opened["key"], opened["idempotency"])
            for time, before in self.released.get(name, ()):
                if opened["time"] - time < DAY and before != opened["id"]:
                    self.wrong("its Idempotency-Key released a credential before")
            self.released.setdefault(name, []).append((opened["time"], opened["id"]))

    def take_late(self, r):
        if (attempt := self.end(r)) is not None:
            self.check_credential(r, attempt)

    def take_failed(self, r):
        self.end(r)

    take_unknown = take_failed

    def take_key_refused(self, r):
        if "id" in r:
            self.end(r)

    def take_key_proved(self, r):
        attempt = self.end(r)
        der = r["certificates"][3 : 3 + int.from_bytes(r["certificates"][:3], "big")]
        try:
            cert = Certificate(der)
        except Exception as e:  # the library has many words for octets that are no certificate
            self.wrong(f"its certificate can't be read: {e}")
            return
        if cert.sha256 != r["certificate_sha256"]:
            self.wrong("its certificate does not have the SHA-256 that it names")
        for fault in cert.faults():
            self.wrong(fault)
        self.certificates[r["key"], cert.sha256] = cert
        self.v.certificates[cert.sha256] = cert
        if attempt is None:
            return
        opened = attempt.opened
        if opened["type"] != "SELF-TEST" or opened["certificate_sha256"] != cert.sha256 or opened["key"] != r["key"]:
            self.wrong("its SELF-TEST is of another key or certificate")
            return
        attempt.certificate = cert
        if {"role", "algorithm", "signature_algorithm"} <= set(opened):
            self.rebuild(attempt, opened["role"], opened["algorithm"])
        if "dc" not in r:
            self.wrong("it shows no credential of its self-test")
        else:
            self.check_credential(r, attempt)

    # ---- the rest ----

    def take_checkpoint(self, r):
        try:
            name, kind, public = signed_notes.read_vkey(r["public_key"])
            note = signed_notes.parse(r["note"])
        except ValueError:
            self.wrong("its note or key can't be read")
            return
        trusted = self.v.trusted(note.origin)
        if trusted is not None and public not in trusted:
            self.wrong("was signed with another key than the one given")
        if kind != signed_notes.ED25519 or not note.good(note.origin, kind, public):
            self.wrong("has a note that its key did not sign")
        if name != note.origin or not note.origin.endswith("/" + self.chain) or self.origin not in (None, note.origin):
            self.wrong("has a note of another origin")
        self.origin = note.origin
        self.note = r["note"]
        self.covered = note.size
        root = tree_root(self.leaves[: r["idx"]])
        if (note.size, r["size"]) != (r["idx"], r["idx"]) or note.root != root or r["root"] != root:
            self.wrong("has a head that is not that of the records before it")

    def take_succeeded(self, r):
        """What is missing between this chain and the one that it goes on for."""
        if self.idx != 0 or r["previous"] == self.chain:
            self.wrong("SUCCEEDED is not the first record, or names its own chain")
            return
        leaves = self.v.leaves.get(r["previous"], [])
        if len(leaves) < r["size"]:
            missing = f"{r['size'] - len(leaves)} of them, from {len(leaves)} on, are missing for ever"
            self.v.notes.append(f"{self.chain} goes on for {r['previous']}, of which {r['size']} records were known: {missing}")
            return
        self.v.notes.append(f"{self.chain} goes on for {r['previous']} after its {r['size']} records")
        if len(leaves) > r["size"]:
            self.wrong("the chain that it goes on for has more records than were known")
        elif r["size"] and tree_root(leaves) != r["root"]:
            self.wrong("the chain that it goes on for has another root than was known")

    def take_config(self, r):
        self.configs[r["generation"]] = r["config"]

    def begun(self):
        """What was released and what is under way, as the table of attempts has it."""
        for a in self.attempts.values():
            r, issued = a.opened, a.outcomes[0]["idx"] if a.outcomes else -1
            if a.outcomes and a.outcomes[0]["type"] != "ISSUED":
                continue
            if r["type"] == "SELF-TEST":
                yield r["id"], 0, self.chain, r["idx"], issued, r["key"], "", r.get("spki_sha256", bytes(32)), 0, ""
            else:
                spki = r["spki_sha256"]
                yield (r["id"], r["attempt"], self.chain, r["idx"], issued, r["key"], r["client"], spki, r["expiry"],
                       r.get("idempotency", ""))  # fmt: skip

    def take_held(self, r):
        self.holds[r.get("key", ""), r.get("client", "")] = (r["time"], True)
        self.held.add((r.get("key"), r.get("client")))

    def take_released(self, r):
        self.holds[r.get("key", ""), r.get("client", "")] = (r["time"], False)
        self.held.discard((r.get("key"), r.get("client")))

    def take_start(self, r):
        for attempt in self.attempts.values():
            if not attempt.outcomes and not attempt.lost:
                self.wrong(f"{attempt.name} has no outcome before {r['type']}")
                attempt.lost = True

    take_stop = take_start


POLICY_FIELDS = ("min_lifetime", "clock_skew", "max_start_ahead", "roles", "schemes", "possession_required")


def named(things, name):
    return next((t for t in things if t["name"] == name), None)


def policy_of(p):
    return po.Policy(
        p["max_lifetime"],
        p["min_lifetime"],
        p["clock_skew"],
        p["max_start_ahead"],
        frozenset(po.ROLE_NAMES.index(r) for r in p["roles"]),
        frozenset(po.CODES[a] for a in p["algorithms"]),
        p["proof_of_possession"] == "required",
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--archive", action="append")
    parser.add_argument("--checkpoint")
    parser.add_argument("--verifier-key", type=signed_notes.read_vkey, action="append", default=[])
    parser.add_argument("--witness-key", type=signed_notes.read_vkey, action="append", default=[])
    parser.add_argument("ledger")
    parser.add_argument("heads", nargs="*")
    o = parser.parse_args()
    heads, notes = [], []
    for text in o.heads:
        chain, size, root = text.rsplit(":", 2)
        heads.append((chain, int(size), bytes.fromhex(root)))
    if o.checkpoint:
        with open(o.checkpoint, encoding="utf-8") as f:
            notes = signed_notes.split(f.read())
    archives = None
    if o.archive:
        archives = {(row.chain, row.idx): row.text for path in o.archive for row in load(path).rows}
    v = Verifier(load(o.ledger), keys=o.verifier_key, archives=archives)
    for problem in v.run(heads, notes, o.witness_key):
        print(problem)
    for note in v.notes:
        print(note)
    print(f"{v.records} records, {len(v.attempts)} attempts, {v.open} open, {len(v.problems)} problems")
    if v.archived:
        print(f"{len(v.archived)} records are archived")
    return 1 if v.problems else 3 if v.archived else 0


if __name__ == "__main__":
    sys.exit(main())
