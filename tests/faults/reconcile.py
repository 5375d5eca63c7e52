"""Holds the accounts of a run against each other: what the PKCS#11 module was asked (the witness of
p11fault.so), what the ledger says, what clients got, and which configurations were written.

reconcile.py --ledger LEDGER [--witness FILE ...] [--clients FOLDER] [--logins N] [--running]
    [--certificate PEM ...] [--configuration FILE...]

LEDGER: a SQLite file or an export. FOLDER: credentials as raw octets (*.dc) or answers of the
service (JSON). --logins: how many failed C_Login are all right (1). --running: the ledger was not
stopped, so that attempts may be open. --certificate: delegation certificates that no KEY-PROVED
record shows, for self-tests that failed. --configuration: every dcsignd.conf that there was. Prints every violation, a line each; exit status 1 when there
is any.
"""

import argparse
import base64
import collections
import hashlib
import json
import os
import sys

import policy_oracle as po
import written
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from ledger_records import Malformed, decode, load
from verify_ledger import Certificate, Verifier

# What a process that issues needs of a token. Nothing else may ever be called.
ALLOWED = {
    "C_GetFunctionList", "C_Initialize", "C_Finalize", "C_GetInfo", "C_GetSlotList", "C_GetSlotInfo",
    "C_GetTokenInfo", "C_GetMechanismList", "C_GetMechanismInfo", "C_OpenSession", "C_CloseSession",
    "C_CloseAllSessions", "C_GetSessionInfo", "C_Login", "C_Logout", "C_FindObjectsInit",
    "C_FindObjects", "C_FindObjectsFinal", "C_GetAttributeValue", "C_SignInit", "C_Sign",
}  # fmt: skip
ECDSA, EDDSA, PSS = 0x1041, 0x1057, 0x000D
PSS_OF_MESSAGE = {0x0043: "sha256", 0x0044: "sha384", 0x0045: "sha512"}
DIGESTS = {0x0403: "sha256", 0x0503: "sha384", 0x0603: "sha512", 0x0804: "sha256",
           0x0809: "sha256", 0x080A: "sha384", 0x080B: "sha512"}  # fmt: skip
HALVES = {0x0403: 32, 0x0503: 48, 0x0603: 66}
PIN_ERRORS = {0xA0, 0xA1, 0xA2, 0xA3, 0xA4}


# What the verifier of the ledger says, by the invariant that it breaks.
OF_LEDGER = (
    ("policy does not allow", "I5"),
    ("unexpired credentials", "I5"),
    ("on hold", "I5"),
    ("may not issue", "I5"),
    ("no CONFIG record", "I15"),
    ("does not verify", "I6"),
    ("outcome", "I3"),
    ("announced", "I3"),
)


class Sign:
    """One C_Sign: begun, and perhaps ended."""

    def __init__(self, line, life):
        self.line = line
        self.life = life  # which process of this pid: numbers come again
        self.input = bytes.fromhex(line.get("in", ""))
        self.rv = None
        self.sig = None

    @property
    def where(self):
        return f"pid {self.line['pid']} at {self.line['t']}"


class Witness:
    def __init__(self):
        self.signs = []
        self.calls = collections.Counter()
        self.mechanisms = collections.Counter()
        self.failed_logins = 0
        self.lives = collections.Counter()
        self.problems = []

    def read(self, path):
        begun = {}
        with open(path, encoding="utf-8", errors="replace") as f:
            for number, text in enumerate(f, 1):
                line = dict(w.split("=", 1) for w in text.split() if "=" in w)
                if not text.endswith("\n") or "t" not in line or ("fn" not in line and "note" not in line):
                    self.problems.append(f"witness: line {number} of {path} can't be read")
                elif "note" in line:
                    self.problems.append(f"witness: {line['note'].replace('_', ' ')}")
                else:
                    self.take(line, begun)

    def take(self, line, begun):
        fn, thread = line["fn"], (line["pid"], line["tid"])
        if fn == "C_Sign" and "query" not in line:
            if line.get("ev") == "begin":
                begun[thread] = Sign(line, self.lives[line["pid"]])
                self.signs.append(begun[thread])
                self.calls[fn] += 1
                return
            sign = begun.pop(thread, None)
            if sign is None:
                self.problems.append(f"witness: a C_Sign of pid {line['pid']} ended that never began")
                return
            sign.rv, sign.sig = int(line["rv"], 16), line.get("sig")
        elif line.get("ev") != "begin":
            self.calls[fn] += 1
            self.lives[line["pid"]] += fn == "C_Initialize"
            if fn == "C_SignInit":
                self.mechanisms[int(line["mech"], 16)] += 1
            if fn == "C_Login" and int(line["rv"], 16) in PIN_ERRORS:
                self.failed_logins += 1


def sha256(octets):
    return hashlib.sha256(octets).digest()


def inputs_of(attempt):
    """SHA-256 of what C_Sign may get for this attempt, by mechanism. Where the octets to be signed
    could not be rebuilt (a self-test that proved nothing), by their SHA-256 in the record."""
    code, tbs = po.CODES.get(attempt.opened.get("signature_algorithm")), attempt.tbs
    message = attempt.opened["tbs_sha256"] if tbs is None else sha256(tbs)
    if code == 0x0807:
        return {EDDSA: message}
    if code not in DIGESTS or (tbs is None and DIGESTS[code] != "sha256"):
        return {}
    digest = message if tbs is None else hashlib.new(DIGESTS[code], tbs).digest()
    if code in HALVES:
        return {ECDSA: sha256(digest)}
    of_message = next(m for m, name in PSS_OF_MESSAGE.items() if name == DIGESTS[code])
    return {PSS: sha256(digest), of_message: message}


def raw_signature_hash(credential):
    """SHA-256 of the signature as PKCS#11 gives it."""
    dc = po.parse(credential)
    if dc.algorithm not in HALVES:
        return hashlib.sha256(dc.signature).hexdigest()
    half = HALVES[dc.algorithm]
    r, s = decode_dss_signature(dc.signature)
    return hashlib.sha256(r.to_bytes(half, "big") + s.to_bytes(half, "big")).hexdigest()


class Reconciler:
    def __init__(self, ledger, witness=None, running=False, logins=1, certificates=(), configurations=None):
        self.witness = witness
        self.configurations = configurations  # as written.parse gives them; None: nobody kept them
        self.running = running
        self.logins = logins
        self.verifier = Verifier(ledger, certificates)
        self.violations = []
        self.clients = 0

    def wrong(self, invariant, words):
        self.violations.append(f"{invariant}: {words}")

    def run(self, client_files=None):
        for problem in self.verifier.run():
            self.wrong(next((i for words, i in OF_LEDGER if words in problem), "I4"), problem)
        self.check_outcomes()
        if self.witness:
            self.check_calls()
            self.check_signatures()
        if self.configurations is not None:
            self.check_configurations()
        if client_files is not None:
            self.check_clients(client_files)
        return self.violations

    def check_outcomes(self):
        for a in self.verifier.attempts:
            if not a.outcomes and not a.lost and not self.running:
                self.wrong("I3", f"{a.opened['type']} {a.name} has no outcome")

    def check_configurations(self):
        for row in self.verifier.ledger.rows:
            try:
                r = decode(row) if b'"type":"CONFIG"' in row.text else None
            except Malformed:  # the verifier says so
                r = None
            if r is None or r["type"] != "CONFIG":
                continue
            token, said = row.chain.rpartition("/")[2], written.tidy(r["config"])
            if not any(written.configuration(c, token) == said for c in self.configurations):
                self.wrong("I15", f"{row.chain} {row.idx}: a configuration that nobody wrote")

    # ---- the module's account ----

    def check_calls(self):
        w = self.witness
        for problem in w.problems:
            self.wrong("I2", problem)
        for fn in sorted(set(w.calls) - ALLOWED):
            self.wrong("I2", f"{fn} was called {w.calls[fn]} times; nothing may ever call it")
        for m in sorted(w.mechanisms):
            if m not in (ECDSA, EDDSA, PSS) and m not in PSS_OF_MESSAGE:
                self.wrong("I2", f"C_SignInit with mechanism 0x{m:x}, {w.mechanisms[m]} times")
        if w.failed_logins > self.logins:
            self.wrong("I11", f"{w.failed_logins} failed C_Login, {self.logins} allowed")

    def check_signatures(self):
        """C_Sign and announced attempts, one to one. Attempts over the same octets are as good as
        each other, so they are matched as a group."""
        groups, signs = collections.defaultdict(list), collections.defaultdict(list)
        for a in self.verifier.attempts:
            for kind in inputs_of(a).items():
                groups[kind].append(a)
        for s in self.witness.signs:
            signs[int(s.line["mech"], 16), sha256(s.input)].append(s)
        for kind, found in signs.items():
            announced = groups.get(kind)
            if announced is None:
                self.unannounced(kind, found)
            elif len(found) > len(announced):
                names = ", ".join(sorted({a.name for a in announced}))
                self.wrong("I3", f"{len(found)} C_Sign over the octets of {names}, announced {len(announced)} times")
            else:
                self.check_time(found, announced)
        self.check_handles(signs, groups)
        self.check_credentials(signs)

    def unannounced(self, kind, found):
        mechanism, digest = kind
        where = f"{len(found)} times, first by {found[0].where}"
        for a in self.verifier.attempts:
            if digest in inputs_of(a).values():
                self.wrong("I2", f"C_Sign with mechanism 0x{mechanism:x} over the octets of {a.name}: {where}")
                return
            if a.tbs is not None and digest == sha256(a.tbs):
                self.wrong("I2", f"C_Sign over the octets of {a.name} as they are, not hashed: {where}")
                return
        self.wrong("I2", f"C_Sign over octets that no record announces: {where}")

    def check_time(self, found, announced):
        times = sorted(float(s.line["t"]) for s in found)
        earliest = sorted(a.opened.get("now", a.opened["time"]) for a in announced)
        for t, now in zip(times, earliest):
            if t < now:
                self.wrong("I1", f"C_Sign at {t} before {announced[0].name} was decided at {now}")

    def check_handles(self, signs, groups):
        """Within a process one handle is one key."""
        keys = collections.defaultdict(set)
        for name, found in signs.items():
            for s in found:
                for a in groups.get(name, ()):
                    keys[s.line["pid"], s.life, s.line["key"]].add(a.opened["key"])
        for (pid, _, handle), names in sorted(keys.items()):
            if len(names) > 1:
                self.wrong("I17", f"handle {handle} of pid {pid} signed for {' and '.join(sorted(names))}")

    def check_credentials(self, signs):
        """Every credential in the ledger came out of a C_Sign over its own octets."""
        for a in self.verifier.attempts:
            if a.credential is None:
                continue
            found = [s for kind in inputs_of(a).items() for s in signs.get(kind, ())]
            if not found:
                self.wrong("I3", f"{a.name} has a credential, and there was no C_Sign for it")
                continue
            try:
                want = raw_signature_hash(a.credential)
            except (ValueError, OverflowError) as e:
                self.wrong("I6", f"the credential of {a.name} has no signature that PKCS#11 could give: {e}")
                continue
            if not any(s.sig == want and s.rv == 0 for s in found):
                self.wrong("I6", f"the signature of {a.name} is none that C_Sign gave for it")

    # ---- the clients' account ----

    def check_clients(self, files):
        issued, late = {}, set()
        for a in self.verifier.attempts:
            for o in a.outcomes:
                if o["type"] == "ISSUED":
                    issued[o["dc"]] = a
                elif "dc" in o:
                    late.add(o["dc"])
        for path, given, octets in files:
            self.clients += 1
            a = issued.get(octets)
            if a is None:
                kind = "LATE or of a self-test" if octets in late else "in no record"
                self.wrong("I1", f"{path}: a client got a credential that is {kind}")
            elif given is not None and given != a.opened["id"]:
                self.wrong("I1", f"{path}: the client was told the id {given}, the ledger says {a.opened['id']}")
        if issued and self.clients == 0:
            self.wrong("I1", f"clients kept none of {len(issued)} credentials: there is nothing to compare")


def credentials_in(folder):
    """(path, id or None, octets) of each credential that clients got."""
    for base, _, names in os.walk(folder):
        for name in sorted(names):
            path = os.path.join(base, name)
            with open(path, "rb") as f:
                octets = f.read()
            if name.endswith(".dc"):
                yield path, None, octets
                continue
            try:
                answer = json.loads(octets)
            except ValueError:
                if name.endswith(".json"):
                    yield path, None, b""  # cut, or no answer of ours
                continue
            for one in answer.get("results", [answer]) if isinstance(answer, dict) else ():
                if "credential" in one:
                    yield path, one.get("id"), base64.b64decode(one["credential"])


def certificate_in(path):
    with open(path, "rb") as f:
        return Certificate(load_pem_x509_certificate(f.read()).public_bytes(Encoding.DER))


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--ledger", required=True)
    p.add_argument("--witness", action="append", default=[])
    p.add_argument("--clients")
    p.add_argument("--logins", type=int, default=1)
    p.add_argument("--running", action="store_true")
    p.add_argument("--certificate", action="append", default=[])
    p.add_argument("--configuration", nargs="+")
    args = p.parse_args()
    certificates = [certificate_in(path) for path in args.certificate]
    witness = Witness() if args.witness else None
    for path in args.witness:
        witness.read(path)
    configurations = None
    if args.configuration:
        configurations = []
        for path in args.configuration:
            with open(path, encoding="utf-8") as f:
                configurations.append(written.parse(f.read()))
    r = Reconciler(load(args.ledger), witness, args.running, args.logins, certificates, configurations)
    for violation in r.run(credentials_in(args.clients) if args.clients else None):
        print(violation)
    signs = len(witness.signs) if witness else "no"
    outcomes = collections.Counter(o["type"] for a in r.verifier.attempts for o in a.outcomes)
    counts = ", ".join(f"{n} {t}" for t, n in sorted(outcomes.items()))
    print(f"{len(r.verifier.attempts)} attempts ({counts}), {signs} C_Sign, {r.clients} at clients: "
          f"{len(r.violations)} violations")  # fmt: skip
    return 1 if r.violations else 0


if __name__ == "__main__":
    sys.exit(main())
