"""X.509 certificates for make_vectors.py, put together octet by octet so that bad ones can be made."""

import calendar
import time

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

import der
import keys

DELEGATION_USAGE = "1.3.6.1.4.1.44363.44"
SERVER_AUTH, CLIENT_AUTH = "1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"
RSA_SHA256 = der.seq(der.oid("1.2.840.113549.1.1.11"), der.NULL)
RSA_SHA1 = der.seq(der.oid("1.2.840.113549.1.1.5"), der.NULL)
NB = calendar.timegm((2026, 1, 1, 0, 0, 0))
NA = calendar.timegm((2026, 4, 1, 0, 0, 0))


def utc(t):
    return der.tlv(0x17, time.strftime("%y%m%d%H%M%SZ", time.gmtime(t)).encode())


def generalized(t):
    return der.tlv(0x18, time.strftime("%Y%m%d%H%M%SZ", time.gmtime(t)).encode())


def name(text):
    return der.seq(der.set_of(der.seq(der.oid("2.5.4.3"), der.tlv(0x0C, text.encode()))))


def extension(oid, value, critical=False):
    return der.seq(der.oid(oid), der.TRUE if critical else b"", der.octets(value))


def key_usage(*bits):
    """KeyUsage as named bits: no trailing zero bits."""
    octet = sum(0x80 >> b for b in bits)
    unused = (octet & -octet).bit_length() - 1
    return extension("2.5.29.15", der.bits(bytes([octet]), unused), True)


def eku(*purposes):
    return extension("2.5.29.37", der.seq(*[der.oid(p) for p in purposes]))


def constraints(ca):
    return extension("2.5.29.19", der.seq(der.TRUE if ca else b""), True)


def delegation(value=der.NULL, critical=False):
    return extension(DELEGATION_USAGE, value, critical)


GOOD = (constraints(False), key_usage(0), delegation())


CA = (constraints(True), key_usage(5, 6))


class Authority:
    """Signs with RSASSA-PKCS1-v1_5, so that the same certificate comes out each time."""

    def __init__(self, label="Vectors CA", signer="authority"):
        self.signer = keys.Signer("RSA", signer)
        self.label = label
        self.name = name(label)

    def own(self, issuer=None, **more):
        """The certificate of this authority, by itself or by another one."""
        return (issuer or self).issue(self.signer.spki, self.label, CA, **more)

    def issue(
        self,
        spki,
        subject,
        extensions=GOOD,
        begin=None,
        end=None,
        serial=0x1001,
        algorithm=RSA_SHA256,
        outer=None,
    ):
        tbs = der.seq(
            der.context(0, der.integer(2)),
            der.integer(serial),
            algorithm,
            self.name,
            der.seq(begin or utc(NB), end or utc(NA)),
            name(subject),
            spki,
            der.context(3, der.seq(*extensions)) if extensions else b"",
        )
        digest = hashes.SHA1() if algorithm == RSA_SHA1 else hashes.SHA256()
        signature = self.signer.key.sign(tbs, padding.PKCS1v15(), digest)
        return der.seq(tbs, outer or algorithm, der.bits(signature))
