"""The ledger of service.py: a list of records, the tree and the signed notes of vectors/make_log.py.

What can be wrong with it (the control file's "ledger"): "silent": 503 for every question; "garbage";
"old": the last three records are gone; "gone": so is the chain; "rewritten": another first record,
and all proofs are right for the tree that this makes; "without": the last record but one is another,
so that the credential before the newest is not there; "key": signed by another key; "origin": of
another origin; "broken": signatures that are none; "liar": proofs of another tree.
"""

import json
import os
import sys
import urllib.parse

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "vectors"))
import make_log  # noqa: E402

CHAIN = "test/main"
ORIGIN = "fake.example"


class Ledger:
    def __init__(self, folder):
        self.records = [b'{"type":"START"}', b'{"type":"CONFIG"}']
        self.seed = make_log.digest(b"the ledger's key")
        vkey = make_log.note(ORIGIN + "/" + CHAIN, 0, bytes(32), self.seed)[2]
        with open(os.path.join(folder, "ledger.vkey"), "w", encoding="utf-8") as f:
            f.write(vkey)

    def write(self, id):
        self.records.append(json.dumps({"id": id, "type": "AUTHORISED"}).encode())
        record = json.dumps({"id": id, "type": "ISSUED"}).encode()
        self.records.append(record)
        index = len(self.records) - 1
        leaf = make_log.digest(b"\0" + record)
        return {"chain": CHAIN, "index": index, "leaf_hash": leaf.hex(), "checkpoint": None}

    def tree(self, wrong):
        records = list(self.records)
        if wrong == "old":
            records = records[:-6]
        elif wrong == "rewritten":
            records[0] = b'{"type":"ANOTHER"}'
        elif wrong == "without":
            records[-3] = b'{"type":"ANOTHER"}'
        return records

    def note(self, records, wrong):
        origin = ("other.example" if wrong == "origin" else ORIGIN) + "/" + CHAIN
        seed = make_log.digest(b"another key") if wrong == "key" else self.seed
        text = make_log.note(origin, len(records), make_log.mth(records), seed)[1]
        if wrong == "broken":
            text = text[:-12] + "AAAAAAAA" + text[-4:]
        return text

    def proof(self, id, records, wrong):
        for i, record in enumerate(records):
            if json.loads(record) == {"id": id, "type": "ISSUED"}:
                hashes = make_log.path(i, records)
                if wrong == "liar":
                    hashes[0] = bytes(32)
                return {
                    "chain": CHAIN,
                    "index": i,
                    "leaf_hash": make_log.digest(b"\0" + record).hex(),
                    "record": record.decode(),
                    "size": len(records),
                    "proof": [h.hex() for h in hashes],
                    "checkpoint": self.note(records, wrong),
                }
        return None

    def answer(self, path, wrong):
        url = urllib.parse.urlsplit(path)
        query = dict(urllib.parse.parse_qsl(url.query))
        records, found = self.tree(wrong), None
        if wrong == "silent":
            return 503, "the ledger is away", ""
        if wrong == "garbage":
            return 200, b"[1, 2", "application/json"
        if wrong == "gone" or query.get("chain", CHAIN) != CHAIN:
            return 404, "there is no such chain", ""
        if url.path == "/v1/ledger/checkpoint":
            return 200, self.note(records, wrong).encode(), "text/plain; charset=utf-8"
        if url.path == "/v1/ledger/proof":
            found = self.proof(query["id"], records, wrong)
        if url.path == "/v1/ledger/consistency":
            first, last = int(query["from"]), int(query["to"])
            if last <= len(records):
                hashes = make_log.subproof(first, records[:last], True)
                found = {"chain": CHAIN, "from": first, "size": last}
                found["proof"] = [h.hex() for h in hashes]
                found["checkpoint"] = None
        if not found:
            return 404, "not in the ledger", ""
        return 200, json.dumps(found).encode(), "application/json"
