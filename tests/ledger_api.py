"""The part of e2e_ledger_api.sh that speaks to the running service; WORK and URL are its."""
import base64
import hashlib
import json
import os
import time
import urllib.parse

import api_client
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from api_client import expect, fail
from openapi import answer_faults

WORK = os.environ["WORK"]
WWW = "/v1/keys/www/credentials"


class Client(api_client.Client):
    def get(self, path, status=200, code=None, field=None, **query):
        """path: as openapi.yaml has it, with {id} from the query."""
        target = path.replace("{id}", query.pop("_id", ""))
        if query:
            target += "?" + urllib.parse.urlencode(query, safe=":")
        response, body = self.ask("GET", target)
        found = answer_faults(path, "GET", response, body)
        if found:
            fail("\n".join(found))
        if response.status != status or (code and (body["code"], body.get("field")) != (code, field)):
            fail("GET %s: %d %r, not %s %s" % (target, response.status, body, status, (code, field)))
        return body

    def issue(self, name, **rest):
        with open("%s/out/%s.spki" % (WORK, name)) as f:
            response, body = self.ask("POST", WWW, dict(public_key=f.read().strip(), **rest))
        found = answer_faults("/v1/keys/{key}/credentials", "POST", response, body)
        if found or response.status != 201:
            fail("%d %s %s" % (response.status, body, found))
        return body


# --- RFC 9162 section 2.1, as a client of the log has it ---

def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of_inclusion(index, size, leaf, proof):
    if index >= size:
        fail("index %d in a tree of %d" % (index, size))
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if sn == 0:
            fail("the proof is too long")
        if fn & 1 or fn == sn:
            r = node(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node(r, p)
        fn, sn = fn >> 1, sn >> 1
    expect("the end of the proof", sn, 0)
    return r


def consistent(first, second, first_root, second_root, proof):
    if first == second:
        return not proof and first_root == second_root
    path = list(proof)
    if first & (first - 1) == 0:
        path.insert(0, first_root)
    fn, sn = first - 1, second - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node(c, fr), node(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == first_root and sr == second_root


def read_note(note, chain, key):
    """(size, root) of a note that verifies with the key."""
    text, _, signatures = note.partition("\n\n")
    origin, size, root = text.split("\n")
    expect("origin", origin, "test.dcsign.example/" + chain)
    line = signatures.strip().split(" ")
    expect("signature line", (line[0], line[1]), ("—", origin))
    octets = base64.b64decode(line[2])
    key_id = hashlib.sha256(origin.encode() + b"\n\1" + key).digest()[:4]
    expect("key id", octets[:4], key_id)
    Ed25519PublicKey.from_public_bytes(key).verify(octets[4:], (text + "\n").encode())
    return int(size), base64.b64decode(root)


edge, auditor, fourth = Client("edge"), Client("auditor"), Client("fourth")
mine = [edge.issue("a", lifetime=600 + i, reference="T-%d" % i) for i in range(5)]
theirs = fourth.issue("b", lifetime=3600)
chain = mine[0]["ledger"]["chain"]
expect("chain", (chain, theirs["ledger"]["chain"]), ("test/main", "test/main"))

# --- credentials ---
one = "/v1/credentials/{id}"
shown = edge.get(one, _id=mine[1]["id"])
for member in ("id", "key", "role", "algorithm", "signature_algorithm", "credential", "not_before",
               "not_after", "valid_time", "public_key_sha256", "certificate_sha256"):
    expect(member, shown[member], mine[1][member])
for member in "chain", "index", "leaf_hash":
    expect(member, shown["ledger"][member], mine[1]["ledger"][member])
expect("reference", (shown["client"], shown["reference"], shown["possession"]), ("edge", "T-1", "none"))
expect("any", auditor.get(one, _id=mine[1]["id"])["credential"], mine[1]["credential"])
fourth.get(one, 404, "not_found", "id", _id=mine[1]["id"])
edge.get(one, 404, "not_found", "id", _id="0" * 32)
auditor.get(one, 404, "not_found", "id", _id="0" * 32)
edge.get(one, 404, "not_found", _id="x")

many = "/v1/credentials"


def ids(who, **query):
    found, pages, after = [], 0, None
    while True:
        page = who.get(many, **dict(query, **({} if after is None else {"after": after})))
        found += [c["id"] for c in page["credentials"]]
        pages, after = pages + 1, page["next"]
        if after is None:
            return found, pages


all_of = [c["id"] for c in mine] + [theirs["id"]]
expect("all", ids(auditor)[0], all_of)
expect("own", ids(edge)[0], all_of[:5])
expect("own by name", ids(edge, client="edge", key="www")[0], all_of[:5])
expect("another key", ids(edge, key="www384")[0], [])
expect("by client", ids(auditor, client="fourth")[0], [theirs["id"]])
expect("pages", ids(auditor, limit=4), (all_of, 2))
now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
expect("live", ids(auditor, live_at=now)[0], all_of)
expect("live later", ids(auditor, live_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1800)))[0],
       [theirs["id"]])
edge.get(many, 403, "missing_right", "client", client="fourth")
for field, value in (("limit", 0), ("limit", 65), ("limit", "1e1"), ("live_at", "now"), ("after", -1),
                     ("key", "WWW"), ("client", "a/b")):
    auditor.get(many, 400, "malformed", field, **{field: value})
auditor.get(many, 400, "malformed", None, order="x")
auditor.get(many, 400, "malformed", None, chain=chain)

# --- heads and proofs ---
heads = edge.get("/v1/ledger/heads")["heads"]
expect("heads", [h["chain"] for h in heads], [chain])
note = edge.get("/v1/ledger/checkpoint", chain=chain).decode()
records = auditor.get("/v1/ledger/records", chain=chain).decode()
lines = records.splitlines()
listed = [json.loads(line) for line in lines]
vkey = [r for r in listed if r["type"] == "CHECKPOINT"][-1]["public_key"]
key = base64.b64decode(vkey.split("+", 2)[2])[1:]
size, root = read_note(note, chain, key)
if size <= mine[4]["ledger"]["index"]:
    fail("the head of %d does not cover record %d" % (size, mine[4]["ledger"]["index"]))
for credential, client in [(c, edge) for c in mine] + [(theirs, auditor)]:
    proof = client.get("/v1/ledger/proof", id=credential["id"])
    leaf = hashlib.sha256(b"\0" + proof["record"].encode()).digest()
    expect("leaf hash", (leaf.hex(), proof["leaf_hash"]), (credential["ledger"]["leaf_hash"],) * 2)
    expect("record", json.loads(proof["record"])["dc"], credential["credential"])
    at, under = read_note(proof["checkpoint"], chain, key)
    expect("size", proof["size"], at)
    expect("inclusion", root_of_inclusion(proof["index"], at, leaf, [bytes.fromhex(h) for h in proof["proof"]]), under)
fourth.get("/v1/ledger/proof", 404, "not_found", "id", id=mine[0]["id"])
edge.get("/v1/ledger/proof", 400, "malformed", "id", id="xyz")
edge.get("/v1/ledger/proof", 400, "malformed", "id")
edge.issue("a", lifetime=700)
later = edge.get("/v1/ledger/consistency", chain=chain, **{"from": size})
at, under = read_note(later["checkpoint"], chain, key)
expect("later", (at > size, later["size"]), (True, at))
hashes = [bytes.fromhex(h) for h in later["proof"]]
if not consistent(size, at, root, under, hashes) or consistent(size, at, under, root, hashes):
    fail("the proof of consistency does not verify")
fixed = edge.get("/v1/ledger/consistency", chain=chain, **{"from": size, "to": size})
expect("of itself", (fixed["proof"], fixed["checkpoint"], fixed["size"]), ([], None, size))
for client in edge, auditor:
    client.get("/v1/ledger/consistency", 404, "not_found", chain=chain, **{"from": 10**9})
    client.get("/v1/ledger/consistency", 404, "not_found", chain="test/none", **{"from": 1})
    client.get("/v1/ledger/consistency", 400, "malformed", "to", chain=chain, **{"from": 5, "to": 4})
    client.get("/v1/ledger/consistency", 400, "malformed", "from", chain=chain, **{"from": 0})
    client.get("/v1/ledger/consistency", 400, "malformed", "chain", **{"from": 1})
    client.get("/v1/ledger/checkpoint", 404, "not_found", "chain", chain="test/none#2")

# --- records ---
for i, (line, record) in enumerate(zip(lines, listed)):
    expect("line %d" % i, (record["idx"], record["chain"]), (i, chain))
if hashlib.sha256(b"\0" + lines[mine[0]["ledger"]["index"]].encode()).hexdigest() != mine[0]["ledger"]["leaf_hash"]:
    fail("a record is not of its leaf hash")
paged, at = [], 0
while True:
    page = auditor.get("/v1/ledger/records", chain=chain, limit=7, **{"from": at}).decode().splitlines()
    if not page:
        break
    if len(page) > 7:
        fail("%d records, not 7" % len(page))
    paged, at = paged + page, at + len(page)
expect("pages of records", paged[:len(lines)], lines)
auditor.get("/v1/ledger/records", 404, "not_found", "chain", chain=chain, **{"from": at + 1000})
auditor.get("/v1/ledger/records", 400, "malformed", "limit", chain=chain, limit=1001)
edge.get("/v1/ledger/records", 403, "missing_right", chain=chain)

# --- the newest note comes with each credential ---
until = time.monotonic() + 60
while edge.issue("a", lifetime=800)["ledger"]["checkpoint"] is None:
    if time.monotonic() > until:
        fail("no note in the answers")
    time.sleep(0.2)
read_note(edge.issue("a", lifetime=800)["ledger"]["checkpoint"], chain, key)
response, body = edge.ask("POST", WWW + "/batch", {"requests": [{"public_key": open(WORK + "/out/a.spki").read().strip()}] * 2})
expect("batch", answer_faults("/v1/keys/{key}/credentials/batch", "POST", response, body), [])
for result in body["results"]:
    read_note(result["ledger"]["checkpoint"], chain, key)

# --- questions to the ledger count as requests ---
statuses = {fourth.ask("GET", "/v1/ledger/heads")[0].status for _ in range(60)}
expect("rate", statuses, {200, 429})

proof = edge.get("/v1/ledger/proof", id=mine[2]["id"])
for name, text in (("id", mine[2]["id"]), ("note", proof["checkpoint"]), ("proof.json", json.dumps(proof)),
                   ("records.jsonl", records)):
    with open("%s/out/%s" % (WORK, name), "w", encoding="utf-8") as f:
        f.write(text)
print("-- %d records, proofs under a head of %d" % (len(lines), proof["size"]))
