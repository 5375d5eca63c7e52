#!/usr/bin/python3
"""Makes a test CA, a delegation certificate and delegated credentials (RFC 9345), good and bad.

usage: make_dc.py DIR

Shares no code with dcsign: the octets are put together here from the RFC's text. The certificate's
key is in this program's memory, which is what dcsign exists to avoid: for tests only.

DIR gets ca.pem, chain.pem (the delegation certificate, then the CA), and for each credential
NAME.dc (raw octets) and NAME.key (its private key, PKCS#8). plain.dc stands under plain-chain.pem, whose
certificate has no DelegationUsage.
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
    "p256": (0x0403, ec.SECP256R1()),
    "p384": (0x0503, ec.SECP384R1()),
    "p521": (0x0603, ec.SECP521R1()),
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


def make_ca(now, name="dcsign test CA"):
    key = ec.generate_private_key(ec.SECP256R1())
    extensions = [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        (key_usage(key_cert_sign=True, crl_sign=True), True),
    ]
    begin, end = now - 30 * DAY, now + 365 * DAY
    return key, certificate(name, name, key.public_key(), key, begin, end, extensions)


def make_delegation_certificate(ca_key, begin, end, delegation=True, client=False):
    key = ec.generate_private_key(ec.SECP256R1())
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH]
    if client:
        purposes.append(ExtendedKeyUsageOID.CLIENT_AUTH)
    extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(digital_signature=True), True),
        (x509.ExtendedKeyUsage(purposes), False),
        (x509.SubjectAlternativeName([x509.DNSName(NAME)]), False),
    ]
    if delegation:
        extensions.append((x509.UnrecognizedExtension(DELEGATION_USAGE, b"\x05\x00"), False))
    issuer = "dcsign test CA"
    return key, certificate(NAME, issuer, key.public_key(), ca_key, begin, end, extensions)


def spki_of(key):
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def delegated_credential(cert, cert_key, valid_time, code, spki, role="server", damage=False):
    """Returns the octets of a DelegatedCredential that a P-256 certificate key has signed."""
    credential = struct.pack(">IH", valid_time, code) + len(spki).to_bytes(3, "big") + spki
    algorithm = struct.pack(">H", SCHEMES["p256"][0])
    context = b"TLS, %s delegated credentials" % role.encode()
    message = b"\x20" * 64 + context + b"\0" + cert.public_bytes(serialization.Encoding.DER)
    signature = cert_key.sign(message + credential + algorithm, ec.ECDSA(hashes.SHA256()))
    if damage:
        signature = signature[:-1] + bytes([signature[-1] ^ 1])
    return credential + algorithm + struct.pack(">H", len(signature)) + signature


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
    pem = serialization.Encoding.PEM
    ca_key, ca = make_ca(now)
    chains = {
        "": make_delegation_certificate(ca_key, begin, end),
        "plain-": make_delegation_certificate(ca_key, begin, end, delegation=False),
    }
    write(folder, "ca.pem", ca.public_bytes(pem))
    for prefix, (_, cert) in chains.items():
        write(folder, prefix + "chain.pem", cert.public_bytes(pem) + ca.public_bytes(pem))
    credentials = {
        "p256": (now + DAY, "p256", "", {}),
        "p384": (now + DAY, "p384", "", {}),
        "p521": (now + DAY, "p521", "", {}),
        "expired": (now - 60, "p256", "", {}),
        "over-long": (now + 7 * DAY + 3600, "p256", "", {}),
        "wrong-role": (now + DAY, "p256", "", {"role": "client"}),
        "bad-signature": (now + DAY, "p256", "", {"damage": True}),
        "plain": (now + DAY, "p256", "plain-", {}),
    }
    for name, (expiry, kind, prefix, options) in credentials.items():
        cert_key, cert = chains[prefix]
        code, curve = SCHEMES[kind]
        key = ec.generate_private_key(curve)
        dc = delegated_credential(cert, cert_key, expiry - begin, code, spki_of(key), **options)
        write(folder, name + ".dc", dc)
        write(folder, name + ".key", private_pem(key), 0o600)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
