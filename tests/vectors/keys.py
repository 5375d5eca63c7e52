"""Keys for make_vectors.py: all derived from a label, none of them secret, none of use elsewhere."""

import hashlib
import math

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, ed448, padding, rsa

import der

EC_PUBLIC_KEY = "1.2.840.10045.2.1"
CURVES = {
    "P-256": (ec.SECP256R1(), "1.2.840.10045.3.1.7", hashes.SHA256()),
    "P-384": (ec.SECP384R1(), "1.3.132.0.34", hashes.SHA384()),
    "P-521": (ec.SECP521R1(), "1.3.132.0.35", hashes.SHA512()),
    "brainpoolP256r1": (ec.BrainpoolP256R1(), "1.3.36.3.3.2.8.1.1.7", hashes.SHA256()),
    "brainpoolP384r1": (ec.BrainpoolP384R1(), "1.3.36.3.3.2.8.1.1.11", hashes.SHA384()),
    "brainpoolP512r1": (ec.BrainpoolP512R1(), "1.3.36.3.3.2.8.1.1.13", hashes.SHA512()),
}
SMALL_PRIMES = [n for n in range(2, 2000) if all(n % d for d in range(2, math.isqrt(n) + 1))]
DIGEST_OIDS = {
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
HASHES = {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}


def stream(label, n):
    """n octets that follow from the label alone."""
    out = b""
    while len(out) < n:
        out += hashlib.sha512(f"dcsign vectors|{label}|{len(out)}".encode()).digest()
    return out[:n]


def raw(public):
    return public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def point(public):
    return public.public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


def ec_key(curve, label):
    bits = CURVES[curve][0].key_size
    secret = int.from_bytes(stream(label, bits // 8 - 1), "big")
    return ec.derive_private_key(secret, CURVES[curve][0])


def ec_spki(curve, octets):
    return der.seq(
        der.seq(der.oid(EC_PUBLIC_KEY), der.oid(CURVES[curve][1])), der.bits(octets)
    )


def is_prime(n):
    if any(n % p == 0 for p in SMALL_PRIMES):
        return False
    d, s = n - 1, 0
    while d % 2 == 0:
        d, s = d // 2, s + 1
    for base in SMALL_PRIMES[:12]:
        x = pow(base, d, n)
        if x in (1, n - 1):
            continue
        for _ in range(s - 1):
            x = x * x % n
            if x == n - 1:
                break
        else:
            return False
    return True


def prime(label, bits):
    n = int.from_bytes(stream(label, bits // 8), "big") | 3 << (bits - 2) | 1
    while not is_prime(n) or math.gcd(n - 1, 65537) != 1:
        n += 2
    return n


def rsa_key(label, bits=2048, e=65537):
    p, q = prime(label + "|p", bits // 2), prime(label + "|q", bits // 2)
    d = pow(e, -1, (p - 1) * (q - 1))
    return rsa.RSAPrivateNumbers(
        p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), rsa.RSAPublicNumbers(e, p * q)
    ).private_key()


RSA_ENCRYPTION = der.seq(der.oid("1.2.840.113549.1.1.1"), der.NULL)
PSS_OID = der.oid("1.2.840.113549.1.1.10")
MGF1_OID = der.oid("1.2.840.113549.1.1.8")


def digest_id(name, null=True):
    return der.seq(der.oid(DIGEST_OIDS[name]), der.NULL if null else b"")


def pss_id(digest=None, mgf=None, salt=None, null=True, tail=b""):
    """AlgorithmIdentifier id-RSASSA-PSS; without a digest its parameters are absent."""
    if digest is None:
        return der.seq(PSS_OID)
    parts = [
        der.context(0, digest_id(digest, null)),
        der.context(1, der.seq(MGF1_OID, digest_id(mgf or digest, null))),
    ]
    if salt is not None:
        parts.append(der.context(2, der.integer(salt)))
    return der.seq(PSS_OID, der.seq(*parts, tail))


def rsa_spki(algorithm, n, e):
    return der.seq(algorithm, der.bits(der.seq(der.integer(n), der.integer(e))))


def ed25519_spki(octets):
    return der.seq(der.seq(der.oid("1.3.101.112")), der.bits(octets))


def ed448_spki(octets):
    return der.seq(der.seq(der.oid("1.3.101.113")), der.bits(octets))


class Signer:
    """A private key, its SubjectPublicKeyInfo and the SignatureScheme that it signs with."""

    def __init__(self, kind, label, pss=None):
        self.kind = kind
        if kind in CURVES:
            self.key = ec_key(kind, label)
            self.spki = ec_spki(kind, point(self.key.public_key()))
            self.code = {"P-256": 0x0403, "P-384": 0x0503, "P-521": 0x0603}.get(kind, 0)
        elif kind == "Ed25519":
            self.key = ed25519.Ed25519PrivateKey.from_private_bytes(stream(label, 32))
            self.spki = ed25519_spki(raw(self.key.public_key()))
            self.code = 0x0807
        elif kind == "Ed448":
            self.key = ed448.Ed448PrivateKey.from_private_bytes(stream(label, 57))
            self.spki = ed448_spki(raw(self.key.public_key()))
            self.code = 0
        else:
            self.key = rsa_key(label)
            numbers = self.key.public_key().public_numbers()
            algorithm = RSA_ENCRYPTION if kind == "RSA" else pss
            self.spki = rsa_spki(algorithm, numbers.n, numbers.e)
            self.code = 0x0804 if kind == "RSA" else 0x0809
        self.digest = "sha256"

    def _pss(self):
        digest = HASHES[self.digest]
        return padding.PSS(padding.MGF1(digest), digest.digest_size), digest

    def sign(self, message):
        if self.kind in CURVES:
            return self.key.sign(message, ec.ECDSA(CURVES[self.kind][2]))
        if self.kind in ("Ed25519", "Ed448"):
            return self.key.sign(message)
        return self.key.sign(message, *self._pss())

    def verifies(self, message, signature):
        public = self.key.public_key()
        try:
            if self.kind in CURVES:
                public.verify(signature, message, ec.ECDSA(CURVES[self.kind][2]))
            elif self.kind in ("Ed25519", "Ed448"):
                public.verify(signature, message)
            else:
                public.verify(signature, message, *self._pss())
        except Exception:
            return False
        return True
