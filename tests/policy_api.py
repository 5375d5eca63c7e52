"""The part of e2e_policy.sh that speaks to the running service; WORK, URL and DCSIGN are its."""
import base64
import json
import os
import random
import re
import subprocess
import sys
import time
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from api_client import Client, expect, fail
from openapi import SOURCE, answer_faults

WORK, DCSIGN = os.environ["WORK"], os.environ["DCSIGN"]
OUT = WORK + "/out/"
MLDSA = {"mldsa44": ("30820532300b0609608648016503040311038205210" + "0", 1312, "11"),
         "mldsa65": ("308207b2300b0609608648016503040312038207a10" + "0", 1952, "12"),
         "mldsa87": ("30820a32300b060960864801650304031303820a210" + "0", 2592, "13")}
# a stranger, before anybody else speaks: the first one stands in the ledger with its particulars
response, answer = Client("stranger").ask("GET", "/v1/whoami")
expect("stranger", (response.status, answer["code"]), (403, "unknown_client"))
shown = x509.load_pem_x509_certificate(open(WORK + "/pki/stranger.pem", "rb").read())
with open(OUT + "stranger.json", "w") as f:
    json.dump({"request": response.getheader("X-Request-Id"), "sha256": shown.fingerprint(hashes.SHA256()).hex()}, f)
for _ in range(50):
    expect("again", Client("stranger").ask("GET", "/v1/keys")[0].status, 403)

ALL = {}  # algorithm: (SubjectPublicKeyInfo, csr or None)


def openssl(*arguments, stdin=None):
    return subprocess.run(("openssl",) + arguments, input=stdin, capture_output=True, check=True).stdout


def new_key(name, *options, csr=True):
    path = OUT + name
    openssl("genpkey", "-quiet", *options, "-out", path)
    if csr:
        openssl("req", "-new", "-key", path, "-subj", "/", "-out", path + ".csr")
    return openssl("pkey", "-in", path, "-pubout", "-outform", "DER"), csr and open(path + ".csr").read()


def pss(digest, bits=2048):
    return ("-algorithm", "RSA-PSS", "-pkeyopt", "rsa_keygen_bits:%d" % bits, "-pkeyopt", "rsa_pss_keygen_md:" + digest,
            "-pkeyopt", "rsa_pss_keygen_mgf1_md:" + digest, "-pkeyopt",
            "rsa_pss_keygen_saltlen:%d" % (int(digest[3:]) // 8))


def curve(name):
    return "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:" + name


for scheme, options in (("ecdsa_secp256r1_sha256", curve("P-256")), ("ecdsa_secp384r1_sha384", curve("P-384")),
                        ("ecdsa_secp521r1_sha512", curve("P-521")), ("ed25519", ("-algorithm", "ed25519")),
                        ("rsa_pss_pss_sha256", pss("sha256")), ("rsa_pss_pss_sha384", pss("sha384")),
                        ("rsa_pss_pss_sha512", pss("sha512"))):
    ALL[scheme] = new_key(scheme, *options)
for scheme, (prefix, length, _) in MLDSA.items():
    ALL[scheme] = bytes.fromhex(prefix) + os.urandom(length), None


def b64(octets):
    return base64.b64encode(octets).decode()


def public(scheme, **rest):
    return dict(public_key=b64(ALL[scheme][0]), **rest)


def mldsa_csr():
    def tlv(tag, *parts):
        body = b"".join(parts)
        size = bytes([len(body)]) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
        return bytes([tag]) + size + body
    oid = bytes.fromhex("0609608648016503040311")
    info = tlv(0x30, b"\2\1\0", tlv(0x30), ALL["mldsa44"][0], tlv(0xa0))
    der = tlv(0x30, info, tlv(0x30, oid), tlv(3, b"\0" + os.urandom(2420)))
    lines = b64(der)
    return "-----BEGIN CERTIFICATE REQUEST-----\n" + "".join(
        lines[i:i + 64] + "\n" for i in range(0, len(lines), 64)) + "-----END CERTIFICATE REQUEST-----\n"


edge, fourth, narrow, slow = Client("edge"), Client("fourth"), Client("narrow"), Client("slow")
auditor, stranger = Client("auditor"), Client("stranger")
CODES = {"ecdsa_secp256r1_sha256": 0x0403, "ecdsa_secp384r1_sha384": 0x0503, "ecdsa_secp521r1_sha512": 0x0603,
         "ed25519": 0x0807, "rsa_pss_pss_sha256": 0x0809, "rsa_pss_pss_sha384": 0x080a, "rsa_pss_pss_sha512": 0x080b,
         "mldsa44": 0x0904, "mldsa65": 0x0905, "mldsa87": 0x0906}
certificate = x509.load_pem_x509_certificate(open(WORK + "/pki/www.pem", "rb").read())


def post(client, key, body, query="", path="credentials", **headers):
    response, answer = client.ask("POST", "/v1/keys/%s/%s%s" % (key, path, query), body, **headers)
    if path == "credentials":
        found = answer_faults("/v1/keys/{key}/credentials", "POST", response, answer)
        if found:
            fail("%s: %s" % (body, found))
    return response, answer


def check_credential(scheme, answer):
    """As RFC 9345 section 4 has it: its octets, and its signature under the delegation certificate."""
    spki, dc = ALL[scheme][0], base64.b64decode(answer["credential"])
    expect("scheme", (answer["algorithm"], int.from_bytes(dc[4:6], "big")), (scheme, CODES[scheme]))
    expect("public key", (int.from_bytes(dc[6:9], "big"), dc[9:9 + len(spki)]), (len(spki), spki))
    at = 9 + len(spki)
    role = {"server": b"server", "client": b"client"}[answer["role"]]
    signed = (b" " * 64 + b"TLS, " + role + b" delegated credentials\0" +
              certificate.public_bytes(__import__("cryptography.hazmat.primitives.serialization", fromlist=["x"])
                                       .Encoding.DER) + dc[:at + 2])
    certificate.public_key().verify(dc[at + 4:], signed, ec.ECDSA(hashes.SHA256()))
    with open(OUT + "credential.dc", "wb") as f:
        f.write(dc)
    for program in (("verify", "--certificate", WORK + "/pki/www.pem", "--role", answer["role"]),
                    ("inspect", "--certificate", WORK + "/pki/www.pem")):
        done = subprocess.run((DCSIGN,) + program + (OUT + "credential.dc",), capture_output=True, text=True)
        if done.returncode != 0 or (program[0] == "inspect" and scheme not in done.stdout):
            fail("dcsign %s: %d %s%s" % (program[0], done.returncode, done.stdout, done.stderr))


print("-- every algorithm, issued and refused")
WARNINGS = {"ecdsa_secp256r1_sha256": set(), "ecdsa_secp384r1_sha384": {"FIZZ-KEY-TYPES"},
            "ed25519": {"NSS-KEY", "FIZZ-KEY-TYPES"}}
OTHERS = {"NSS-KEY", "FIZZ-KEY", "FIZZ-KEY-TYPES", "BORINGSSL-KEY", "CLOUDFLARE-GO-KEY"}
for scheme, (spki, csr) in ALL.items():
    named = {} if CODES[scheme] < 0x0804 or CODES[scheme] == 0x0807 else {"algorithm": scheme}
    for body in [public(scheme, **named)] + ([dict(csr=csr, **named)] if csr else []):
        response, answer = post(edge, "wide", body)
        expect("%s: %s" % (scheme, answer if response.status != 201 else ""), response.status, 201)
        check_credential(scheme, answer)
        got = {w.split(":")[0] for w in answer["warnings"]}
        wanted = WARNINGS["ecdsa_secp384r1_sha384"] if scheme == "ecdsa_secp521r1_sha512" else WARNINGS.get(scheme, OTHERS)
        expect("warnings of " + scheme, got, wanted)
    response, answer = post(edge, "wide", public(scheme, role="client", **named))
    check_credential(scheme, answer)
    got = {w.split(":")[0] for w in answer["warnings"]}
    expect("client's warnings of " + scheme, got - wanted, {"NSS-ROLE", "BORINGSSL-ROLE", "TLSLITE-NG-ROLE"})
    if scheme not in ("ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512"):
        response, answer = post(edge, "few", public(scheme, **named))
        expect(scheme, (response.status, answer["code"], answer["field"]), (422, "algorithm_not_allowed", "algorithm"))
        if "ecdsa_secp256r1_sha256" not in answer["detail"]:
            fail("does not say what is allowed: %s" % answer["detail"])
    for wrong in spki[:-1], spki + b"\0":
        response, answer = post(edge, "wide", dict(public_key=b64(wrong), **named))
        expect("%s of a wrong length" % scheme, (response.status, answer["code"]), (422, "public_key_unknown"))


print("-- each refusal: code, field, limit")
P256 = public("ecdsa_secp256r1_sha256")
stamp = lambda s: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + s))
off_curve = bytearray(ALL["ecdsa_secp256r1_sha256"][0])
off_curve[-1] ^= 1
bad_csr = bytearray(base64.b64decode("".join(ALL["ecdsa_secp256r1_sha256"][1].split("\n")[1:-2])))
bad_csr[-1] ^= 1
bad_csr = "-----BEGIN CERTIFICATE REQUEST-----\n" + "".join(
    b64(bytes(bad_csr))[i:i + 64] + "\n" for i in range(0, len(b64(bytes(bad_csr))), 64)) + "-----END CERTIFICATE REQUEST-----\n"


def spki_of(name):
    return b64(openssl("pkey", "-pubin", "-outform", "DER",
                       stdin=openssl("x509", "-in", "%s/pki/%s.pem" % (WORK, name), "-pubkey", "-noout")))


WORDS = {"own": "make a new one", "wide": "at most 72000 s"}
REFUSED = [  # client, key, body, status, code, field, what the detail says
    (edge, "wide", dict(P256, lifetime=72001), 422, "lifetime_too_long", "lifetime", "at most 72000 s"),
    (edge, "strict", dict(csr=ALL["ecdsa_secp256r1_sha256"][1], lifetime=43201), 422, "lifetime_too_long", "lifetime",
     "at most 43200 s"),
    (narrow, "wide", dict(P256, lifetime=7201), 422, "lifetime_too_long", "lifetime", "at most 7200 s"),
    (edge, "wide", dict(P256, not_after=stamp(80000)), 422, "lifetime_too_long", "not_after", "no end after 20"),
    (edge, "wide", dict(P256, lifetime=1), 422, "lifetime_too_short", "lifetime", "at least 2 s"),
    (narrow, "wide", dict(P256, lifetime=100), 422, "lifetime_too_short", "lifetime", "at least 300 s"),
    (edge, "wide", dict(P256, lifetime=600, not_before=stamp(1000)), 422, "start_too_far_ahead", "not_before",
     "leave it out"),
    (narrow, "wide", dict(P256, lifetime=600, not_before=stamp(100)), 422, "start_too_far_ahead", "not_before",
     "leave it out"),
    (edge, "wide", dict(P256, lifetime=600, not_before=stamp(-90000)), 422, "start_in_the_past", "not_before",
     "leave it out"),
    (edge, "short", dict(P256, lifetime=10000), 422, "outlives_certificate", "lifetime", "ask for at most"),
    (edge, "strict", dict(csr=ALL["ecdsa_secp256r1_sha256"][1], role="client"), 422, "role_not_allowed", "role",
     "allows: server"),
    (edge, "servers", dict(P256, role="client"), 422, "certificate_purpose", "role", "clientAuth"),
    (edge, "wide", dict(P256, role="both"), 422, "role_not_allowed", "role", '"server" or "client"'),
    (edge, "few", public("ed25519"), 422, "algorithm_not_allowed", "algorithm", "allows: ecdsa_secp256r1_sha256"),
    (edge, "wide", dict(P256, algorithm="ecdsa"), 422, "algorithm_not_allowed", "algorithm", "GET the key"),
    (edge, "wide", public("rsa_pss_pss_sha256", algorithm="rsa_pss_pss_sha384"), 422, "public_key_mismatch",
     "algorithm", "does not fit"),
    (edge, "wide", dict(P256, algorithm="ed25519"), 422, "public_key_mismatch", "algorithm", "does not fit"),
    (edge, "strict", P256, 422, "proof_required", "csr", "PKCS#10"),
    (edge, "wide", {"csr": bad_csr}, 422, "proof_invalid", "csr", "sign"),
    (edge, "strict", {"csr": mldsa_csr(), "algorithm": "mldsa44"}, 422, "proof_unsupported", "csr", "bare public key"),
    (edge, "strict", public("mldsa44", algorithm="mldsa44"), 422, "proof_unsupported", "public_key", "proof of possession"),
    (edge, "wide", {"public_key": b64(b"\x30\x03\2\1\0")}, 422, "public_key_unknown", "public_key", "ecdsa_secp256r1_sha256"),
    (edge, "wide", {"public_key": b64(bytes(off_curve))}, 422, "public_key_invalid", "public_key", "make a new"),
    (edge, "wide", {"public_key": b64(new_key("rsa", "-algorithm", "RSA", csr=False)[0])}, 422,
     "public_key_forbidden", "public_key", "ecdsa_secp256r1_sha256"),
    (edge, "wide", {"public_key": b64(new_key("weak", *pss("sha256", 1024), csr=False)[0]),
                    "algorithm": "rsa_pss_pss_sha256"}, 422, "public_key_weak", "public_key", "make a new"),
    (edge, "wide", {"public_key": spki_of("www")}, 422, "public_key_reused", "public_key", "make a new one"),
    (edge, "wide", {"public_key": spki_of("edge")}, 422, "public_key_reused", "public_key", "make a new one"),
    (edge, "wide", {"public_key": spki_of("server")}, 422, "public_key_reused", "public_key", "make a new one"),
    (fourth, "wide", P256, 409, "key_shared", "public_key", "csr"),
    (edge, "wide", dict(P256, ttl=1), 400, "malformed", "ttl", "lifetime"),
    (edge, "wide", {}, 400, "malformed", "csr", "missing"),
    (edge, "nokey", P256, 404, "no_such_key", None, ""),
    (fourth, "few", P256, 404, "no_such_key", None, ""),
    (auditor, "www", P256, 403, "missing_right", None, "issue"),
    (stranger, "www", P256, 403, "unknown_client", None, ""),
]


def verdict(answer, status):
    return status, answer.get("code"), answer.get("field"), re.sub(r"[0-9]+", "#", answer.get("detail", ""))


def both(client, key, body, **headers):
    """A dry run, then the real call: they must say the same."""
    dry_response, dry = post(client, key, body, "?dry_run=true", **headers)
    response, real = post(client, key, body, **headers)
    if dry_response.status == 200:
        if dry["allowed"]:
            if response.status != 201:
                fail("a dry run allows %s, and the real call: %d %s" % (body, response.status, real))
            for member in "role", "algorithm", "signature_algorithm", "public_key_sha256", "certificate_sha256", "warnings":
                expect("%s of %s" % (member, body), dry[member], real[member])
            expect("replayed", dry["replayed"], response.getheader("Idempotency-Replayed") == "true")
            at = [time.strptime(a["not_after"], "%Y-%m-%dT%H:%M:%SZ") for a in (dry, real)]
            if not 0 <= time.mktime(at[1]) - time.mktime(at[0]) <= 30:
                fail("not_after: %s and %s" % (dry["not_after"], real["not_after"]))
            return response, real
        expect("%s: %s" % (body, real), verdict(real, response.status), verdict(dry, dry["status"]))
        expect("the last rule", [r["passed"] for r in dry["rules"]], [True] * (len(dry["rules"]) - 1) + [False])
    else:
        expect("%s" % body, verdict(real, response.status), verdict(dry, dry_response.status))
    return response, real


seen = set()
for client, key, body, status, code, field, words in REFUSED:
    response, answer = both(client, key, body)
    if verdict(answer, response.status)[:3] != (status, code, field) or words not in answer["detail"]:
        fail("%s: %d %s, not %s" % (str(body)[:200], response.status, answer, (status, code, field, words)))
    seen.add(code)

# --- what depends on what was before ---
for _ in range(2):
    expect("few", both(edge, "few", P256)[0].status, 201)
response, answer = both(edge, "few", P256)
expect("max_live of a key", (response.status, answer["code"]), (429, "quota_exceeded"))
if "its max_live is 2" not in answer["detail"]:
    fail(answer["detail"])
for _ in range(3):
    expect("three", both(fourth, "wide", {"csr": ALL["ecdsa_secp384r1_sha384"][1]})[0].status, 201)
response, answer = both(fourth, "wide", {"csr": ALL["ecdsa_secp384r1_sha384"][1]})
expect("max_live of a client", (response.status, answer["code"]), (429, "quota_exceeded"))
if "its max_live is 3" not in answer["detail"]:
    fail(answer["detail"])
seen.add("quota_exceeded")
statuses = [post(slow, "wide", public("ecdsa_secp521r1_sha512", lifetime=0)) for _ in range(4)]
expect("rate", [r.status for r, _ in statuses], [400, 400, 400, 429])
response, answer = statuses[3]
expect("rate", (answer["code"], 0 < int(response.getheader("Retry-After")) <= 1200), ("rate_limited", True))
seen.add("rate_limited")
both(edge, "wide", dict(P256, lifetime=600), Idempotency_Key="one")
expect("replay", both(edge, "wide", dict(P256, lifetime=600), Idempotency_Key="one")[0].getheader("Idempotency-Replayed"),
       "true")
expect("mismatch", verdict(both(edge, "wide", dict(P256, lifetime=601), Idempotency_Key="one")[1], 409)[1:3],
       ("idempotency_mismatch", "Idempotency-Key"))
both(edge, "wide", dict(P256, lifetime=2), Idempotency_Key="brief")
until = time.monotonic() + 60
while post(edge, "wide", dict(P256, lifetime=2), "?dry_run=true", Idempotency_Key="brief")[1]["allowed"]:
    if time.monotonic() > until:
        fail("a credential of 2 s does not expire")
    time.sleep(0.2)
expect("expired", verdict(both(edge, "wide", dict(P256, lifetime=2), Idempotency_Key="brief")[1], 409)[1:3],
       ("idempotency_expired", "Idempotency-Key"))
expect("hold", post(auditor, "www", {"reason": "INC-9"}, path="hold")[0].status, 200)
response, answer = both(edge, "www", P256)
expect("held", (response.status, answer["code"], "INC-9" in answer["detail"]), (409, "held", True))
expect("release", post(auditor, "www", {"reason": "INC-9"}, path="release")[0].status, 200)
seen |= {"idempotency_mismatch", "idempotency_expired", "held"}

print("-- random requests, dry and real")
rng = random.Random(9345)
outcomes = {}
for n in range(int(os.environ.get("POLICY_REQUESTS", "150"))):
    scheme = rng.choice(list(ALL))
    body = {"csr": ALL[scheme][1]} if rng.random() < 0.4 and ALL[scheme][1] else public(scheme)
    if rng.random() < 0.8:
        body["algorithm"] = scheme
    if rng.random() < 0.1:
        body = {"public_key": rng.choice([spki_of("www"), b64(bytes(off_curve)), b64(b"\x30\0")])}
    for chance, member, values in ((0.1, "algorithm", list(ALL)), (0.3, "role", ["server", "client"]),
                                   (0.5, "lifetime", [1, 100, 301, 7000, 7300, 40000, 72000, 80000]),
                                   (0.2, "not_before", [stamp(-90000), stamp(-30), stamp(30), stamp(200), stamp(1000)])):
        if rng.random() < chance:
            body[member] = rng.choice(values)
    if "lifetime" not in body and rng.random() < 0.2:
        body["not_after"] = rng.choice([stamp(-5), stamp(1000), stamp(60000), stamp(90000)])
    headers = {"Idempotency_Key": "random-%d" % rng.randrange(8)} if rng.random() < 0.2 else {}
    client, key = rng.choice([(edge, "wide"), (edge, "strict"), (edge, "few"), (edge, "servers"), (edge, "short"),
                              (edge, "www"), (narrow, "wide"), (fourth, "wide"), (fourth, "www")])
    code = both(client, key, body, **headers)[1].get("code", "issued")
    outcomes[code] = outcomes.get(code, 0) + 1
print("-- %s" % outcomes)
if len(outcomes) < 8 or outcomes.get("issued", 0) < 5:
    fail("too few kinds of outcomes: %s" % outcomes)

# --- every code of the API has a test that gets it over HTTP; those that are not here, and where ---
ELSEWHERE = {
    "malformed": "e2e_api.py", "not_found": "e2e_api.py", "method_not_allowed": "e2e_api.py",
    "body_too_large": "e2e_api.py", "unsupported_media_type": "e2e_api.py", "expectation_failed": "e2e_api_abuse.py",
    "headers_too_large": "e2e_api_abuse.py", "overloaded": "e2e_api.py", "stopping": "e2e_api.py",
    "key_unavailable": "e2e_api.py", "ledger_unavailable": "e2e_api.py", "clock_untrusted": "e2e_clock.sh",
    "outcome_unknown": "e2e_api.py", "pin_refused": "e2e_pin.sh", "http_version": "e2e_api_strict.py", "target_too_long": "e2e_api_strict.py",
}
with open(SOURCE + "/src/err.h", encoding="utf-8") as f:
    text = f.read()
listed = set(re.findall(r'X\(\w+, "(\w+)"', text[text.index("/* the request: HTTP and JSON */"):text.index("/* the token */")]))
listed |= set(re.findall(r'X\(SPKI_\w+, "(\w+)"', text)) | {"certificate_purpose", "pin_refused"}
for code, file in ELSEWHERE.items():
    with open("%s/tests/%s" % (SOURCE, file), encoding="utf-8") as f:
        if '%s' % code not in f.read():
            fail("%s does not speak of %s" % (file, code))
missing = listed - seen - set(ELSEWHERE)
if missing:
    fail("codes without a test: %s" % sorted(missing))
