#!/usr/bin/python3
"""Makes the project's own test vectors, with python3-cryptography and nothing of the C code.

    make_vectors.py DIR [OLD]

writes spki.txt, certificate.txt, chain.txt, dc.txt and csr.txt to DIR. Keys and times are fixed. Signatures of
ECDSA and RSASSA-PSS are different each time, so those that stand in OLD are kept as long as they
verify over the octets made now: with OLD, every octet must come out as it was.

Each file is a list of blocks of `name = value`, a block ends with an empty line, octets are hex.
"""

import hashlib
import math
import struct
import sys
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding

import certs
import curves
import der
import keys

EC_SCHEMES = {
    "P-256": "ecdsa_secp256r1_sha256",
    "P-384": "ecdsa_secp384r1_sha384",
    "P-521": "ecdsa_secp521r1_sha512",
    "brainpoolP256r1": "ecdsa_brainpoolP256r1tls13_sha256",
    "brainpoolP384r1": "ecdsa_brainpoolP384r1tls13_sha384",
    "brainpoolP512r1": "ecdsa_brainpoolP512r1tls13_sha512",
}
PSS_SCHEMES = ["rsa_pss_pss_sha256", "rsa_pss_pss_sha384", "rsa_pss_pss_sha512"]
UNKNOWN, FORBIDDEN, WEAK, INVALID = (
    "public_key_unknown",
    "public_key_forbidden",
    "public_key_weak",
    "public_key_invalid",
)


class Table:
    def __init__(self, title):
        self.lines = [f"# {title}", "# Made by make_vectors.py: change that, not this.", ""]
        self.ids = set()

    def add(self, ident, **values):
        assert ident not in self.ids, ident
        self.ids.add(ident)
        self.lines.append(f"id = {ident}")
        for field, value in values.items():
            if isinstance(value, bytes):
                value = value.hex()
            self.lines.append(f"{field} = {value}")
        self.lines.append("")

    def write(self, path):
        path.write_text("\n".join(self.lines) + "\n")


def read_table(path):
    """The blocks of a table that was written before, by id."""
    blocks, block = {}, {}
    for line in path.read_text().splitlines() if path.exists() else []:
        if line.startswith("#"):
            continue
        if not line:
            if block:
                blocks[block["id"]] = block
            block = {}
            continue
        field, _, value = line.partition(" = ")
        block[field] = value
    return blocks


def spki_good(table, ident, spki, key, matches, check="ok"):
    table.add(ident, spki=spki, recognise="ok", key=key, matches=" ".join(matches), check=check)


def spki_bad(table, ident, spki, why=UNKNOWN):
    table.add(ident, spki=spki, recognise=why)


def long_length(value):
    """The same value with the length of its outermost tag in a longer form than DER's."""
    assert value[1] < 0x80
    return value[:1] + b"\x81" + value[1:]


def explicit_p256(octets):
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    b = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
    g = keys.point(ec.derive_private_key(1, ec.SECP256R1()).public_key())
    n = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    params = der.seq(
        der.integer(1),
        der.seq(der.oid("1.2.840.10045.1.1"), der.integer(p)),
        der.seq(der.octets((p - 3).to_bytes(32, "big")), der.octets(b.to_bytes(32, "big"))),
        der.octets(g),
        der.integer(n),
        der.integer(1),
    )
    return der.seq(der.seq(der.oid(keys.EC_PUBLIC_KEY), params), der.bits(octets))


def ec_vectors(table):
    for curve, scheme in EC_SCHEMES.items():
        key = keys.ec_key(curve, "dc " + curve)
        point = keys.point(key.public_key())
        size = (len(point) - 1) // 2
        spki = keys.ec_spki(curve, point)
        last = bytes([point[-1] ^ 1])
        spki_good(table, f"{curve}", spki, curve, [scheme])
        spki_good(table, f"{curve}-off-curve", spki[:-1] + last, curve, [scheme], INVALID)
        zero = keys.ec_spki(curve, b"\x04" + bytes(2 * size))
        spki_good(table, f"{curve}-zero-point", zero, curve, [scheme], INVALID)
        over = keys.ec_spki(curve, b"\x04" + b"\xff" * (2 * size))
        spki_good(table, f"{curve}-coordinates-over-p", over, curve, [scheme], INVALID)
        compressed = bytes([2 + point[-1] % 2]) + point[1 : 1 + size]
        spki_bad(table, f"{curve}-compressed", keys.ec_spki(curve, compressed))
        hybrid = bytes([6 + point[-1] % 2]) + point[1:]
        spki_bad(table, f"{curve}-hybrid", keys.ec_spki(curve, hybrid))
        spki_bad(table, f"{curve}-infinity", keys.ec_spki(curve, b"\0"))
        spki_bad(table, f"{curve}-trailing", spki + b"\0")
        spki_bad(table, f"{curve}-cut", spki[:-1])

    point = keys.point(keys.ec_key("P-256", "dc P-256").public_key())
    good = keys.ec_spki("P-256", point)
    ids = der.seq(der.oid(keys.EC_PUBLIC_KEY), der.oid(keys.CURVES["P-256"][1]))
    spki_bad(table, "P-256-long-length", long_length(good))
    spki_bad(table, "P-256-indefinite", b"\x30\x80" + good[2:] + b"\0\0")
    spki_bad(table, "P-256-unused-bits", der.seq(ids, der.bits(point, 1)))
    spki_bad(table, "P-256-explicit-parameters", explicit_p256(point))
    null = der.seq(der.oid(keys.EC_PUBLIC_KEY), der.NULL)
    spki_bad(table, "P-256-null-parameters", der.seq(null, der.bits(point)))
    spki_bad(table, "P-256-point-on-P-384-oid", keys.ec_spki("P-384", point))
    spki_bad(table, "P-256-inside-trailing", der.seq(ids, der.bits(point), der.NULL))
    secp256k1 = der.seq(der.oid(keys.EC_PUBLIC_KEY), der.oid("1.3.132.0.10"))
    spki_bad(table, "secp256k1", der.seq(secp256k1, der.bits(point)))
    spki_bad(table, "empty", b"")
    spki_bad(table, "one-octet", b"\x30")
    spki_bad(table, "zeros", bytes(91))


def edwards_vectors(table):
    for label, scheme, curve, wrap in (
        ("Ed25519", "ed25519", curves.ED25519, keys.ed25519_spki),
        ("Ed448", "ed448", curves.ED448, keys.ed448_spki),
    ):
        signer = keys.Signer(label, "dc " + label)
        spki_good(table, label, signer.spki, label, [scheme])
        spki_bad(table, f"{label}-trailing", signer.spki + b"\0")
        spki_bad(table, f"{label}-cut", signer.spki[:-1])
        spki_bad(table, f"{label}-short-key", wrap(bytes(curve.octets - 1)))
        arc = "1.3.101.112" if label == "Ed25519" else "1.3.101.113"
        null = der.seq(der.seq(der.oid(arc), der.NULL), der.bits(signer.spki[-curve.octets :]))
        spki_bad(table, f"{label}-null-parameters", null)

        torsion = curve.torsion()
        for i, point in enumerate(torsion):
            bad = wrap(curve.encode(point))
            spki_good(table, f"{label}-low-order-{i}", bad, label, [scheme], INVALID)
        for sign in (0, 1):
            for y, what in ((1, "one"), (curve.p - 1, "minus-one")):
                bad = wrap(curve.encode_raw(y, sign))
                ident = f"{label}-x-zero-{what}-sign-{sign}"
                spki_good(table, ident, bad, label, [scheme], INVALID)
            # beyond p: another name of a small y; and the largest that fits
            for y in (curve.p, curve.p + 1, curve.p + 3, 2 ** (curve.p.bit_length()) - 1):
                bad = wrap(curve.encode_raw(y, sign))
                ident = f"{label}-not-reduced-{y - curve.p}-sign-{sign}"
                spki_good(table, ident, bad, label, [scheme], INVALID)
        y, found = 2, 0
        while found < 3:
            if curve.x_of(y) is None:
                bad = wrap(curve.encode_raw(y, 0))
                spki_good(table, f"{label}-no-point-{y}", bad, label, [scheme], INVALID)
                found += 1
            y += 1
        for y in range(2, 12):
            if curve.x_of(y) is not None:
                good = wrap(curve.encode_raw(y, y & 1))
                spki_good(table, f"{label}-point-{y}", good, label, [scheme])

    null_bits = keys.ed448_spki(bytes(56) + b"\x01")
    spki_good(table, "Ed448-spare-bits", null_bits, "Ed448", ["ed448"], INVALID)


def rough(n):
    """The next number without a factor below 752: all that is checked of a modulus."""
    n |= 1
    while any(n % p == 0 for p in keys.SMALL_PRIMES if p < 752):
        n += 2
    return n


def roca(label, bits):
    """A number that carries the fingerprint of CVE-2017-15361; nobody knows its factors."""
    primes = [p for p in keys.SMALL_PRIMES if p <= 167]
    modulus = math.prod(primes)
    residue = pow(65537, int.from_bytes(keys.stream(label, 16), "big"), modulus)
    n = int.from_bytes(keys.stream(label + "|n", bits // 8), "big") | 1 << (bits - 1)
    n += (residue - n) % modulus
    while n % 2 == 0 or any(n % p == 0 for p in keys.SMALL_PRIMES if p < 752):
        n += modulus
    return n


def pss_vectors(table):
    n = keys.rsa_key("dc RSA").public_key().public_numbers().n
    for i, digest in enumerate(("sha256", "sha384", "sha512")):
        size = (32, 48, 64)[i]
        for what, ident in (
            ("salt-digest", keys.pss_id(digest, salt=size)),
            ("salt-0", keys.pss_id(digest, salt=0)),
            ("salt-default", keys.pss_id(digest)),
        ):
            spki = keys.rsa_spki(ident, n, 65537)
            spki_good(table, f"pss-{digest}-{what}", spki, "RSASSA-PSS", [PSS_SCHEMES[i]])
        spki_bad(
            table,
            f"pss-{digest}-salt-too-long",
            keys.rsa_spki(keys.pss_id(digest, salt=size + 1), n, 65537),
        )
    absent = keys.rsa_spki(keys.pss_id(), n, 65537)
    spki_good(table, "pss-no-parameters", absent, "RSASSA-PSS", PSS_SCHEMES)

    pss = keys.pss_id
    sha1 = der.seq(der.oid("1.3.14.3.2.26"), der.NULL)
    sha1_id = der.seq(
        keys.PSS_OID,
        der.seq(der.context(0, sha1), der.context(1, der.seq(keys.MGF1_OID, sha1))),
    )
    only_hash = der.seq(keys.PSS_OID, der.seq(der.context(0, keys.digest_id("sha256"))))
    for what, ident in (
        ("mgf-differs", pss("sha256", mgf="sha384", salt=32)),
        ("no-null", pss("sha256", salt=32, null=False)),
        ("salt-20-written", pss("sha256", salt=20)),
        ("salt-negative", pss("sha256", salt=-1)),
        ("trailer-written", pss("sha256", salt=32, tail=der.context(3, der.integer(1)))),
        ("trailing-in-parameters", pss("sha256", salt=32, tail=der.NULL)),
        ("sha1", sha1_id),
        ("empty-parameters", der.seq(keys.PSS_OID, der.seq())),
        ("null-parameters", der.seq(keys.PSS_OID, der.NULL)),
        ("hash-alone", only_hash),
    ):
        spki_bad(table, f"pss-{what}", keys.rsa_spki(ident, n, 65537))


def rsa_vectors(table):
    n = keys.rsa_key("dc RSA").public_key().public_numbers().n
    pss = keys.pss_id()
    plain = keys.rsa_spki(keys.RSA_ENCRYPTION, n, 65537)
    spki_bad(table, "rsaEncryption", plain, FORBIDDEN)
    spki_bad(table, "rsaEncryption-trailing", plain + b"\0")
    no_null = der.seq(der.oid("1.2.840.113549.1.1.1"))
    spki_bad(table, "rsaEncryption-no-null", keys.rsa_spki(no_null, n, 65537))
    sha256_rsa = der.seq(der.oid("1.2.840.113549.1.1.11"), der.NULL)
    spki_bad(table, "sha256WithRSAEncryption", keys.rsa_spki(sha256_rsa, n, 65537))
    for e in (0, 1, 2, 3, 17, 65535, 65536, 65538, 2**32, 2**32 + 1, 2**64 + 1, 2**70 + 1):
        spki_bad(table, f"rsa-e-{e}", keys.rsa_spki(pss, n, e), WEAK)
    for e in (65537, 65539, 2**32 - 1):
        spki = keys.rsa_spki(pss, n, e)
        spki_good(table, f"rsa-e-{e}", spki, "RSASSA-PSS", PSS_SCHEMES)
    spki_bad(table, "rsa-e-negative", keys.rsa_spki(pss, n, -3))
    spki_bad(table, "rsa-n-negative", keys.rsa_spki(pss, n - 2**2048, 65537))
    spki_bad(table, "rsa-n-zero", keys.rsa_spki(pss, 0, 65537), WEAK)
    spki_bad(table, "rsa-2047", keys.rsa_spki(pss, n >> 1 | 1, 65537), WEAK)
    spki_bad(table, "rsa-8193", keys.rsa_spki(pss, 1 << 8192 | 1, 65537), WEAK)
    for bits in (3072, 8192):
        wide = rough(int.from_bytes(keys.stream(f"wide {bits}", bits // 8), "big") | 1 << (bits - 1))
        spki = keys.rsa_spki(pss, wide, 65537)
        spki_good(table, f"rsa-{bits}", spki, "RSASSA-PSS", PSS_SCHEMES)
    padded = der.tlv(0x02, b"\0\0" + n.to_bytes(256, "big"))
    long_n = der.seq(pss, der.bits(der.seq(padded, der.integer(65537))))
    spki_bad(table, "rsa-n-padded", long_n)
    key = der.seq(der.integer(n), der.integer(65537))
    spki_bad(table, "rsa-trailing-in-key", der.seq(pss, der.bits(key + b"\0")))
    wide = b"\x02\x83\0\x01\x01\0" + n.to_bytes(256, "big")
    spki_bad(table, "rsa-n-three-length-octets", der.seq(pss, der.bits(der.seq(wide))))
    e = b"\x02\x81\x03\x01\0\x01"
    spki_bad(table, "rsa-e-long-length-81", der.seq(pss, der.bits(der.seq(der.integer(n), e))))
    e = b"\x02\x82\0\x03\x01\0\x01"
    spki_bad(table, "rsa-e-long-length-82", der.seq(pss, der.bits(der.seq(der.integer(n), e))))
    three = der.seq(der.integer(n), der.integer(65537), der.integer(1))
    spki_bad(table, "rsa-third-integer", der.seq(pss, der.bits(three)))
    spki_bad(table, "rsa-unused-bits", der.seq(pss, der.bits(key, 1)))
    for factor in (2, 3, 5, 701, 743, 751):
        # stays at 2048 bits: the factor takes what the quotient loses
        bad = rough((int.from_bytes(keys.stream("times", 256), "big") | 1 << 2047) // factor)
        spki = keys.rsa_spki(pss, bad * factor, 65537)
        spki_good(table, f"rsa-factor-{factor}", spki, "RSASSA-PSS", PSS_SCHEMES, WEAK)
    fingerprint = keys.rsa_spki(pss, roca("roca", 2048), 65537)
    spki_good(table, "rsa-roca", fingerprint, "RSASSA-PSS", PSS_SCHEMES, WEAK)


def mldsa_vectors(table):
    for arc, label, size, scheme in (
        (17, "ML-DSA-44", 1312, "mldsa44"),
        (18, "ML-DSA-65", 1952, "mldsa65"),
        (19, "ML-DSA-87", 2592, "mldsa87"),
    ):
        ident = der.seq(der.oid(f"2.16.840.1.101.3.4.3.{arc}"))
        octets = keys.stream(label, size)
        spki = der.seq(ident, der.bits(octets))
        spki_good(table, label, spki, label, [scheme])
        spki_bad(table, f"{label}-trailing", spki + b"\0")
        spki_bad(table, f"{label}-short-key", der.seq(ident, der.bits(octets[1:])))


def make_spki():
    table = Table("SubjectPublicKeyInfo: is it recognised, what is it, is the key sound")
    ec_vectors(table)
    edwards_vectors(table)
    pss_vectors(table)
    rsa_vectors(table)
    mldsa_vectors(table)
    return table


SIGNERS = {
    "p256": lambda: keys.Signer("P-256", "cert p256"),
    "p384": lambda: keys.Signer("P-384", "cert p384"),
    "p521": lambda: keys.Signer("P-521", "cert p521"),
    "ed25519": lambda: keys.Signer("Ed25519", "cert ed25519"),
    "rsa": lambda: keys.Signer("RSA", "cert rsa"),
    "pss": lambda: keys.Signer("RSASSA-PSS", "cert pss", keys.pss_id("sha256", salt=32)),
    "pss-absent": lambda: keys.Signer("RSASSA-PSS", "cert pss", keys.pss_id()),
}
MALFORMED = "certificate_malformed"


def fact(table, ident, cert, signer, begin=certs.NB, end=certs.NA, **expected):
    values = {"issuer": "ok", "verifier": "ok", "server": "ok", "client": "ok"} | expected
    table.add(
        ident,
        der=cert,
        read="ok",
        sha256=hashlib.sha256(cert).hexdigest(),
        not_before=begin,
        not_after=end,
        key=signer.kind,
        spki_sha256=hashlib.sha256(signer.spki).hexdigest(),
        algorithm=f"{signer.code:04x}",
        **values,
    )


def rule_vectors(table, ca, signer):
    """Certificates that break one rule of RFC 9345 section 4.2 or of the issuer each."""
    basic, usage, use = certs.GOOD
    eku, ext = certs.eku, certs.key_usage
    no_delegation = {
        "issuer": "certificate_no_delegation_usage",
        "verifier": "certificate_no_delegation_usage",
    }
    no_usage = {"issuer": "certificate_key_usage", "verifier": "certificate_key_usage"}
    bad_value = {"issuer": "certificate_delegation_usage_value"}
    is_ca = {"issuer": "certificate_is_ca"}
    for ident, extensions, expected in (
        ("no-delegation", (basic, usage), no_delegation),
        ("no-extensions", (), no_delegation),
        (
            "delegation-critical",
            (basic, usage, certs.delegation(critical=True)),
            {"issuer": "certificate_delegation_usage_critical"},
        ),
        ("delegation-empty", (basic, usage, certs.delegation(b"")), bad_value),
        ("delegation-0400", (basic, usage, certs.delegation(der.octets(b""))), bad_value),
        ("delegation-long-null", (basic, usage, certs.delegation(b"\x05\x81\0")), bad_value),
        ("delegation-twice", (basic, usage, use, use), {"issuer": "certificate_duplicate_extension"}),
        (
            "eku-twice",
            (*certs.GOOD, eku(certs.SERVER_AUTH), eku(certs.CLIENT_AUTH)),
            {"issuer": "certificate_duplicate_extension", "client": "certificate_purpose"},
        ),
        ("no-key-usage", (basic, use), no_usage),
        ("no-digital-signature", (basic, ext(1), use), no_usage),
        ("key-encipherment", (basic, ext(0, 2), use), {"issuer": "certificate_key_encipherment"}),
        ("ca", (certs.constraints(True), usage, use), is_ca),
        ("cert-sign", (basic, ext(0, 5), use), is_ca),
        ("no-basic-constraints", (usage, use), {}),
        ("eku-server", (*certs.GOOD, eku(certs.SERVER_AUTH)), {"client": "certificate_purpose"}),
        ("eku-client", (*certs.GOOD, eku(certs.CLIENT_AUTH)), {"server": "certificate_purpose"}),
        ("eku-both", (*certs.GOOD, eku(certs.SERVER_AUTH, certs.CLIENT_AUTH)), {}),
        (
            "eku-any",
            (*certs.GOOD, eku("2.5.29.37.0")),
            {"server": "certificate_purpose", "client": "certificate_purpose"},
        ),
    ):
        fact(table, ident, ca.issue(signer.spki, ident, extensions), signer, **expected)


def time_vectors(table, ca, signer):
    late = 2713910400  # 2056-01-01: GeneralizedTime
    cert = ca.issue(signer.spki, "generalized", end=certs.generalized(late))
    fact(table, "generalized-2056", cert, signer, end=late)
    cert = ca.issue(signer.spki, "y9999", end=certs.generalized(253402300799))
    fact(table, "generalized-9999", cert, signer, end=253402300799)
    early = -631152000  # 1950-01-01, the first UTCTime
    cert = ca.issue(signer.spki, "y1950", begin=der.tlv(0x17, b"500101000000Z"))
    fact(table, "utc-1950", cert, signer, begin=early)
    cert = ca.issue(signer.spki, "y2049", end=der.tlv(0x17, b"491231235959Z"))
    fact(table, "utc-2049", cert, signer, end=2524607999)
    cert = ca.issue(signer.spki, "expired", end=certs.utc(certs.NB + 1))
    fact(table, "one-second", cert, signer, end=certs.NB + 1)
    for what, begin in (
        ("no-seconds", der.tlv(0x17, b"2601010000Z")),
        ("offset", der.tlv(0x17, b"260101000000+0000")),
        ("fraction", der.tlv(0x18, b"20260101000000.5Z")),
        ("february-30", der.tlv(0x17, b"260230000000Z")),
        ("hour-24", der.tlv(0x17, b"260101240000Z")),
        ("second-60", der.tlv(0x17, b"260101000060Z")),
        ("local", der.tlv(0x18, b"20260101000000")),
    ):
        table.add(f"time-{what}", der=ca.issue(signer.spki, what, begin=begin), read=MALFORMED)


def malformed_certificates(table, ca, signer):
    good = ca.issue(signer.spki, "p256")
    head = 4  # of a SEQUENCE with two length octets
    table.add("trailing", der=good + b"\0", read=MALFORMED)
    table.add("cut", der=good[:-1], read=MALFORMED)
    table.add("empty", der=b"", read=MALFORMED)
    table.add("long-length", der=b"\x30\x83\0" + good[2:], read=MALFORMED)
    table.add("indefinite", der=b"\x30\x80" + good[head:] + b"\0\0", read=MALFORMED)
    other = ca.issue(signer.spki, "outer", outer=certs.RSA_SHA1)
    table.add("signature-algorithms-differ", der=other, read=MALFORMED)
    cert = ca.issue(signer.spki, "serial", serial=2**200)
    table.add("serial-26-octets", der=cert, read=MALFORMED)
    basic, usage, use = certs.GOOD
    broken = certs.extension("2.5.29.15", der.octets(b"\x80"), True)
    cert = ca.issue(signer.spki, "usage", (basic, broken, use))
    table.add("key-usage-not-bits", der=cert, read=MALFORMED)


def make_certificates():
    table = Table("Certificates: facts, and what issuer and verifier say of them")
    ca = certs.Authority()
    signers = {label: make() for label, make in SIGNERS.items()}
    made = {}
    for label, signer in signers.items():
        made[label] = ca.issue(signer.spki, label)
        fact(table, label, made[label], signer)
    p256 = signers["p256"]
    pss384 = keys.Signer("RSASSA-PSS", "cert pss", keys.pss_id("sha384", salt=48))
    pss384.code = 0x080A
    fact(table, "pss-sha384", ca.issue(pss384.spki, "pss-sha384"), pss384)
    cert = ca.issue(p256.spki, "sha1", algorithm=certs.RSA_SHA1)
    fact(table, "sha1", cert, p256, issuer="certificate_weak")
    fact(
        table,
        "ed448",
        ca.issue(keys.Signer("Ed448", "cert ed448").spki, "ed448"),
        keys.Signer("Ed448", "cert ed448"),
        issuer="certificate_key_unsupported",
    )
    fact(table, "serial-negative", ca.issue(p256.spki, "negative", serial=-5), p256)
    rule_vectors(table, ca, p256)
    time_vectors(table, ca, p256)
    malformed_certificates(table, ca, p256)
    return table, made, signers


def make_chains():
    """A leaf, what stands behind it, the trusted one, and whether it verifies at that time."""
    table = Table("Chains: certificates from the leaf on, the anchor, the time, the verdict")
    root, other = certs.Authority(), certs.Authority("Other CA", "other authority")
    middle = certs.Authority("Middle CA", "middle authority")
    leaf = keys.Signer("P-256", "cert p256")
    direct, below = root.issue(leaf.spki, "direct"), middle.issue(leaf.spki, "below")
    plain = middle.issue(leaf.spki, "plain", certs.GOOD)
    no_ca = root.issue(middle.signer.spki, "Middle CA", certs.GOOD)
    weak = root.issue(leaf.spki, "weak", algorithm=certs.RSA_SHA1)
    short = middle.own(root, end=certs.utc(certs.NB + 100))
    forged = direct[:-1] + bytes([direct[-1] ^ 1])
    bad, now = "certificate_chain", certs.NB + 1000
    for ident, chain, anchor, at, verify in (
        ("direct", [direct], root.own(), now, "ok"),
        ("with-root", [direct, root.own()], root.own(), now, "ok"),
        ("intermediate", [below, middle.own(root)], root.own(), now, "ok"),
        ("all-three", [below, middle.own(root), root.own()], root.own(), now, "ok"),
        ("intermediate-trusted", [below], middle.own(root), now, "ok"),
        ("first-second", [direct], root.own(), certs.NB, "ok"),
        ("before", [direct], root.own(), certs.NB - 1, bad),
        ("after", [direct], root.own(), certs.NA + 1, bad),
        ("intermediate-missing", [below], root.own(), now, bad),
        ("intermediate-expired", [below, short], root.own(), now, bad),
        ("intermediate-no-ca", [plain, no_ca], root.own(), now, bad),
        ("wrong-order", [below, root.own(), middle.own(root)], root.own(), now, bad),
        ("stranger-between", [direct, other.own()], root.own(), now, bad),
        ("another-anchor", [direct], other.own(), now, bad),
        ("same-name-other-key", [direct], certs.Authority(signer="false").own(), now, bad),
        ("forged-signature", [forged], root.own(), now, bad),
        ("sha1", [weak], root.own(), now, bad),
    ):
        links = {f"chain{i}": cert for i, cert in enumerate(chain)}
        table.add(ident, **links, anchor=anchor, now=at, verify=verify)
    return table


CONTEXTS = {
    "server": b"TLS, server delegated credentials",
    "client": b"TLS, client delegated credentials",
}


class Credentials:
    def __init__(self, table, old):
        self.table, self.old = table, old

    def signature(self, ident, signer, tbs):
        """The one of last time if it is still one, else a new one."""
        kept = bytes.fromhex(self.old.get(ident, {}).get("signature", ""))
        return kept if kept and signer.verifies(tbs, kept) else signer.sign(tbs)

    def add(self, ident, cert_id, cert, signer, role, code, spki, valid_time, spoil=None, **more):
        algorithm = more.pop("algorithm", signer.code)
        signed_role = more.pop("signed_role", role)
        fields = struct.pack(">IH", valid_time, code) + len(spki).to_bytes(3, "big") + spki
        fields += struct.pack(">H", algorithm)
        tbs = b" " * 64 + CONTEXTS[role] + b"\0" + cert + fields
        signed = b" " * 64 + CONTEXTS[signed_role] + b"\0" + cert + fields
        signature = self.signature(ident, signer, signed)
        sent = spoil(signature) if spoil else signature
        self.table.add(
            ident,
            certificate=cert_id,
            role=role,
            dc=fields + struct.pack(">H", len(sent)) + sent,
            parse="ok",
            valid_time=valid_time,
            scheme=f"{code:04x}",
            spki=spki,
            algorithm=f"{algorithm:04x}",
            signature=signature,
            tbs_len=len(tbs),
            tbs_sha256=hashlib.sha256(tbs).hexdigest(),
            expiry=certs.NB + valid_time,
            window_opens=max(certs.NB, certs.NB + valid_time - 604800),
            verify=more.pop("verify", "ok"),
        )
        return fields, signature


def flip(at):
    return lambda s: s[:at] + bytes([s[at] ^ 1]) + s[at + 1 :]


def good_credentials(out, made, signers):
    ec_keys = {
        0x0403: keys.Signer("P-256", "dc P-256").spki,
        0x0503: keys.Signer("P-384", "dc P-384").spki,
        0x0603: keys.Signer("P-521", "dc P-521").spki,
        0x0807: keys.Signer("Ed25519", "dc Ed25519").spki,
    }
    for label, signer in signers.items():
        for code, spki in ec_keys.items():
            for role in CONTEXTS:
                ident = f"{label}-{code:04x}-{role}"
                out.add(ident, label, made[label], signer, role, code, spki, 86400 * 30)


def bad_credentials(out, made, signers):
    p256, cert = signers["p256"], made["p256"]
    spki = keys.Signer("P-256", "dc P-256").spki
    bad = "dc_bad_signature"
    args = ("p256", cert, p256, "server", 0x0403, spki)
    out.add("bad-first-octet", *args, 3600, flip(0), verify=bad)
    out.add("bad-last-octet", *args, 3601, flip(60), verify=bad)
    out.add("bad-truncated", *args, 3602, lambda s: s[:-1], verify=bad)
    out.add("bad-trailing", *args, 3603, lambda s: s + b"\0", verify=bad)
    out.add("bad-raw-form", *args, 3604, lambda s: keys.stream("raw", 64), verify=bad)
    out.add("wrong-role-server", *args, 3605, signed_role="client", verify=bad)
    wrong = ("p256", cert, p256, "client", 0x0403, spki)
    out.add("wrong-role-client", *wrong, 3606, signed_role="server", verify=bad)
    out.add("wrong-algorithm", *args, 3607, algorithm=0x0503, verify="dc_bad_algorithm")
    out.add("unknown-algorithm", *args, 3608, algorithm=0x0401, verify="dc_bad_algorithm")
    other = keys.Signer("P-256", "somebody else")
    args = ("p256", cert, other, "server", 0x0403, spki)
    out.add("other-key", *args, 3609, verify=bad)
    rsa, rsa_cert = signers["rsa"], made["rsa"]
    args = ("rsa", rsa_cert, rsa, "server", 0x0403, spki)
    out.add("rsa-flipped", *args, 3610, flip(100), verify=bad)
    out.add("rsa-as-pss-key", *args, 3611, algorithm=0x0809, verify="dc_bad_algorithm")
    args = ("ed25519", made["ed25519"], signers["ed25519"], "server", 0x0403, spki)
    out.add("ed25519-flipped", *args, 3612, flip(5), verify=bad)
    args = ("p256", cert, p256, "server", 0x0403, spki)
    for valid_time in (0, 1, 604799, 604800, 604801, 2**32 - 1):
        out.add(f"valid-time-{valid_time}", *args, valid_time)


def malformed_credentials(out):
    good = struct.pack(">IH", 1, 0x0403) + (3).to_bytes(3, "big") + b"abc"
    good += struct.pack(">HH", 0x0403, 2) + b"xy"
    short, length, trailing = "truncated", "bad_length", "trailing_octets"
    for ident, octets, why in (
        ("smallest", struct.pack(">IH", 0, 0) + b"\0\0\1x" + struct.pack(">HH", 0, 1) + b"y", "ok"),
        ("empty", b"", short),
        ("trailing", good + b"\0", trailing),
        ("no-spki", good[:6] + b"\0\0\0" + good[12:], length),
        ("no-signature", good[:-4] + b"\0\0", length),
        ("spki-longer-than-all", good[:6] + b"\xff\xff\xff" + good[9:], short),
        ("signature-longer-than-all", good[:-4] + b"\xff\xff" + good[-2:], short),
        ("spki-takes-signature", good[:6] + b"\0\0\x05" + good[9:], short),
    ):
        out.table.add(f"form-{ident}", dc=octets, parse=why)
    for n in range(len(good)):
        out.table.add(f"form-cut-{n}", dc=good[:n], parse=short)


def make_credentials(made, signers, old):
    table = Table("Delegated credentials: parsed, signed octets, signature, times")
    out = Credentials(table, old)
    good_credentials(out, made, signers)
    bad_credentials(out, made, signers)
    malformed_credentials(out)
    return table


def request_info(spki, version=0, attributes=b""):
    return der.seq(
        der.integer(version), certs.name("request"), spki, der.context(0, attributes)
    )


ECDSA_IDS = {
    "P-256": der.seq(der.oid("1.2.840.10045.4.3.2")),
    "P-384": der.seq(der.oid("1.2.840.10045.4.3.3")),
    "P-521": der.seq(der.oid("1.2.840.10045.4.3.4")),
    "Ed25519": der.seq(der.oid("1.3.101.112")),
    "RSASSA-PSS": keys.pss_id("sha256", salt=32),
}


class Requests:
    def __init__(self, table, old):
        self.table, self.old = table, old

    def add(self, ident, signer, info, verify="ok", algorithm=None, sign=None, spoil=None):
        """sign: another way to sign, with one result for one input."""
        algorithm = algorithm or ECDSA_IDS[signer.kind]
        kept = bytes.fromhex(self.old.get(ident, {}).get("signature", ""))
        if sign:
            signature = sign(info)
        else:
            signature = kept if kept and signer.verifies(info, kept) else signer.sign(info)
        csr = der.seq(info, algorithm, der.bits(signature))
        csr = spoil(csr) if spoil else csr
        more = {"spki": signer.spki} if verify == "ok" else {}
        self.table.add(ident, csr=csr, verify=verify, signature=signature, **more)


def make_requests(old):
    table = Table("PKCS#10 requests: do they prove possession, and of which key")
    out = Requests(table, old)
    for kind in ("P-256", "P-384", "P-521", "Ed25519"):
        signer = keys.Signer(kind, "dc " + kind)
        out.add(kind, signer, request_info(signer.spki))
    pss = keys.Signer("RSASSA-PSS", "dc RSA", keys.pss_id("sha256", salt=32))
    out.add("RSASSA-PSS", pss, request_info(pss.spki))
    p256 = keys.Signer("P-256", "dc P-256")
    info = request_info(p256.spki)
    attribute = der.seq(
        der.oid("1.2.840.113549.1.9.14"), der.set_of(der.seq(certs.delegation()))
    )
    out.add("attribute", p256, request_info(p256.spki, attributes=attribute))
    bad = "proof_invalid"
    challenge = der.tlv(0x0C, b"secret")
    other = der.seq(der.oid("1.2.840.113549.1.9.7"), der.set_of(challenge))
    both = sorted((attribute, other))
    out.add("attributes", p256, request_info(p256.spki, attributes=both[0] + both[1]))
    unsorted = request_info(p256.spki, attributes=both[1] + both[0])
    out.add("attributes-unsorted", p256, unsorted, bad)
    swap = lambda c: c.replace(both[0] + both[1], both[1] + both[0])
    signed = request_info(p256.spki, attributes=both[0] + both[1])
    out.add("attributes-swapped", p256, signed, bad, spoil=swap)
    out.add("trailing", p256, info, bad, spoil=lambda c: c + b"\0")
    out.add("cut", p256, info, bad, spoil=lambda c: c[:-1])
    out.add("flipped-signature", p256, info, bad, spoil=lambda c: c[:-1] + bytes([c[-1] ^ 1]))
    other = lambda c: c.replace(b"request", b"REQUEST")
    out.add("changed-subject", p256, info, bad, spoil=other)
    out.add("version-1", p256, request_info(p256.spki, version=1), bad)
    out.add("long-length", p256, info, bad, spoil=lambda c: b"\x30\x82\0" + c[2:])
    wide = info[:1] + b"\x82\0" + info[2:]
    out.add("long-length-signed", p256, wide, bad)
    sha1 = lambda i: keys.rsa_key("dc RSA").sign(i, padding.PKCS1v15(), hashes.SHA1())
    sha256 = lambda i: keys.rsa_key("dc RSA").sign(i, padding.PKCS1v15(), hashes.SHA256())
    rsa = keys.Signer("RSA", "dc RSA")
    info = request_info(rsa.spki)
    out.add("rsa-sha256", rsa, info, algorithm=certs.RSA_SHA256, sign=sha256)
    out.add("rsa-sha1", rsa, info, bad, algorithm=certs.RSA_SHA1, sign=sha1)
    mldsa = der.seq(
        der.seq(der.oid("2.16.840.1.101.3.4.3.17")), der.bits(keys.stream("ML-DSA-44", 1312))
    )
    ident = der.seq(der.oid("2.16.840.1.101.3.4.3.17"))
    fake = lambda i: keys.stream("fake", 2420)
    info = request_info(mldsa)
    out.add("mldsa44", p256, info, "proof_unsupported", algorithm=ident, sign=fake)
    off = p256.spki[:-1] + bytes([p256.spki[-1] ^ 1])
    out.add("off-curve", p256, request_info(off), bad)
    table.add("empty", csr=b"", verify=bad)
    table.add("8193-octets", csr=der.seq(bytes(8189)), verify=bad)
    return table


def main():
    target = Path(sys.argv[1])
    old = Path(sys.argv[2] if len(sys.argv) > 2 else sys.argv[1])
    credentials = read_table(old / "dc.txt")
    requests = read_table(old / "csr.txt")
    make_spki().write(target / "spki.txt")
    table, made, signers = make_certificates()
    table.write(target / "certificate.txt")
    make_chains().write(target / "chain.txt")
    make_credentials(made, signers, credentials).write(target / "dc.txt")
    make_requests(requests).write(target / "csr.txt")


main()
