"""The examples of src/ledger/RECORDS.md: one of each type, canonical, in words; and that the octets of each
credential in them follow from its record and the certificate alone."""

import hashlib
import os
import re
import sys

import ledger_records
import policy_oracle as po
import signed_notes
from verify_ledger import Certificate

TOP = os.environ.get("TOP_SRCDIR", os.path.join(os.path.dirname(os.path.abspath(__file__)), "../.."))


def main():
    with open(os.path.join(TOP, "src/ledger/RECORDS.md"), encoding="utf-8") as f:
        parts = re.findall(r"^## ([A-Z-]+)\n(.*?)^```json\n(.*?)\n```$", f.read(), re.M | re.S)
    examples = {}
    for heading, words, text in parts:
        r = ledger_records.decode(ledger_records.Row("", 0, text.encode()))
        assert r["type"] == heading and heading not in examples, heading
        examples[heading] = r
        assert len(words.strip()) > 20, heading
    assert set(examples) == set(ledger_records.MUST), set(examples) ^ set(ledger_records.MUST)

    shown = examples["KEY-PROVED"]["certificates"]
    cert = Certificate(shown[3 : 3 + int.from_bytes(shown[:3], "big")])
    assert cert.sha256 == examples["KEY-PROVED"]["certificate_sha256"] and not list(cert.faults())
    tbs = {}
    for kind in ("SELF-TEST", "AUTHORISED"):
        r = examples[kind]
        assert r["certificate_sha256"] == cert.sha256 and r["cert_not_before"] == cert.begin
        role, scheme, signs = po.ROLE_NAMES.index(r["role"]), po.CODES[r["algorithm"]], po.CODES[r["signature_algorithm"]]
        tbs[kind] = po.tbs(role, cert.der, r["valid_time"], scheme, r["spki"], signs)
        assert hashlib.sha256(tbs[kind]).digest() == r["tbs_sha256"], kind
    for kind, of in (("KEY-PROVED", "SELF-TEST"), ("ISSUED", "AUTHORISED"), ("LATE", "AUTHORISED")):
        r = examples[kind]
        assert (r["id"], hashlib.sha256(r["dc"]).digest()) == (examples[of]["id"], r["dc_sha256"]), kind
        dc = po.parse(r["dc"])
        # what is not the signature is what was authorised
        assert po.delegated_credential(dc.valid_time, dc.scheme, dc.spki, dc.algorithm, dc.signature) == r["dc"]
        assert dc.valid_time == examples[of]["valid_time"] and dc.spki == examples[of]["spki"], kind
        assert cert.verifies(dc.algorithm, dc.signature, tbs[of]), kind
        assert not cert.verifies(dc.algorithm, dc.signature, tbs[of] + b"\0"), kind
    r = examples["CHECKPOINT"]
    note, (name, kind, public) = signed_notes.parse(r["note"]), signed_notes.read_vkey(r["public_key"])
    assert note.good(name, kind, public) and (note.size, note.root) == (r["size"], r["root"])
    print(f"{len(examples)} examples")


if __name__ == "__main__":
    sys.exit(main())
