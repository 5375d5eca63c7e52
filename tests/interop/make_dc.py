#!/usr/bin/python3
"""Makes a test CA, a delegation certificate and delegated credentials (RFC 9345), good and bad.

usage: make_dc.py DIR

Shares no code with dcsign: the octets are put together here from the RFC's text. The certificate's
key lies in a file, which is what dcsign exists to avoid: for tests only.

DIR gets ca.pem, cert.pem (the delegation certificate), chain.pem (both), cert.key, and for each
credential NAME.dc (raw octets) and NAME.key (its private key, PKCS#8).
"""

import datetime
import os
import struct
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

DELEGATION_USAGE = ObjectIdentifier("1.3.6.1.4.1.44363.44")
NAME = "dc.example.test"
DAY = 86400
SCHEMES = {
    "p256": (0x0403, ec.SECP256R1(), hashes.SHA256()),
    "p384": (0x0503, ec.SECP384R1(), hashes.SHA384()),
    "p521": (0x0603, ec.SECP521R1(), hashes.SHA512()),
}


def utc(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).replace(tzinfo=None)


def common_name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def key_usage(**wanted):
    names = (
        "digital_signature content_commitment key_encipherment data_encipherment key_agreement "
        "key_cert_sign crl_sign encipher_only decipher_only"
    ).split()
    return x509.KeyUsage(**{n: wanted.get(n, False) for n in names})


def certificate(subject, issuer, public_key, signer, begin, end, extensions):
    builder = (
        x509.CertificateBuilder()
        .subject_name(common_name(subject))
        .issuer_name(common_name(issuer))
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(utc(begin))
        .not_valid_after(utc(end))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def make_ca(now):
    key = ec.generate_private_key(ec.SECP256R1())
    extensions = [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (key_usage(key_cert_sign=True, crl_sign=True), True),
    ]
    name = "dcsign test CA"
    begin, end = now - 30 * DAY, now + 365 * DAY
    return key, certificate(name, name, key.public_key(), key, begin, end, extensions)


def make_delegation_certificate(ca_key, begin, end):
    key = ec.generate_private_key(ec.SECP256R1())
    extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        (x509.SubjectAlternativeName([x509.DNSName(NAME)]), False),
        (x509.UnrecognizedExtension(DELEGATION_USAGE, b"\x05\x00"), False),
    ]
    issuer = "dcsign test CA"
    return key, certificate(NAME, issuer, key.public_key(), ca_key, begin, end, extensions)


def delegated_credential(cert, cert_key, valid_time, kind, role="server", damage=False):
    """Returns the octets of the DelegatedCredential and its private key."""
    code, curve, _ = SCHEMES[kind]
    key = ec.generate_private_key(curve)
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    credential = struct.pack(">IH", valid_time, code) + len(spki).to_bytes(3, "big") + spki
    algorithm = struct.pack(">H", SCHEMES["p256"][0])
    context = b"TLS, %s delegated credentials" % role.encode()
    message = b"\x20" * 64 + context + b"\0" + cert.public_bytes(serialization.Encoding.DER)
    signature = cert_key.sign(message + credential + algorithm, ec.ECDSA(SCHEMES["p256"][2]))
    if damage:
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    return credential + algorithm + struct.pack(">H", len(signature)) + signature, key


def write(folder, name, octets, mode=0o644):
    fd = os.open(os.path.join(folder, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "wb") as f:
        f.write(octets)


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def main(folder):
    os.makedirs(folder, exist_ok=True)
    now = int(datetime.datetime.now(datetime.timezone.utc).timestamp())
    begin, end = now - 10 * DAY, now + 20 * DAY
    ca_key, ca = make_ca(now)
    cert_key, cert = make_delegation_certificate(ca_key, begin, end)
    pem = serialization.Encoding.PEM
    write(folder, "ca.pem", ca.public_bytes(pem))
    write(folder, "cert.pem", cert.public_bytes(pem))
    write(folder, "chain.pem", cert.public_bytes(pem) + ca.public_bytes(pem))
    write(folder, "cert.key", private_pem(cert_key), 0o600)
    credentials = {
        "p256": (now + DAY, "p256", {}),
        "p384": (now + DAY, "p384", {}),
        "p521": (now + DAY, "p521", {}),
        "expired": (now - 60, "p256", {}),
        "over-long": (now + 7 * DAY + 60, "p256", {}),
        "wrong-role": (now + DAY, "p256", {"role": "client"}),
        "bad-signature": (now + DAY, "p256", {"damage": True}),
    }
    for name, (expiry, kind, options) in credentials.items():
        dc, key = delegated_credential(cert, cert_key, expiry - begin, kind, **options)
        write(folder, name + ".dc", dc)
        write(folder, name + ".key", private_pem(key), 0o600)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
