#!/usr/bin/python3
"""Checks a folder written by `dcsign request --new-key` or the agent, octet for octet.

usage: formats.py DIR ROLE FORMAT...

Shares no code with dcsign: each file is put together here anew from credential.json and key.pem, and
must be exactly that. FORMAT is raw, pem, hex, fizz or json; a format that is not named must not be there.
"""

import base64
import json
import os
import re
import stat
import struct
import sys

from cryptography import x509
from cryptography.hazmat.primitives import serialization

FILES = {
    "raw": "credential.dc",
    "pem": "credential.pem",
    "hex": "credential.hex",
    "fizz": "fizz.pem",
}


def block(label, octets, columns):
    text = base64.b64encode(octets).decode()
    lines = [text[i : i + columns] for i in range(0, len(text), columns)]
    return "-----BEGIN %s-----\n%s\n-----END %s-----\n" % (label, "\n".join(lines), label)


def read(folder, name):
    with open(os.path.join(folder, name), "rb") as f:
        return f.read()


def pem_blocks(text):
    found = re.findall(rb"-----BEGIN ([A-Z0-9 ]+)-----\n(.*?)\n-----END \1-----\n", text, re.S)
    return [(label.decode(), base64.b64decode(body, validate=False)) for label, body in found]


def load_as_fizz(text, role):
    """What Fizz's loadDCFromPEM does: cuts the blocks out by their label lines."""

    def cut(label):
        begin, end = "-----BEGIN %s-----\n" % label, "-----END %s-----\n" % label
        return text[text.index(begin) + len(begin) : text.index(end)]

    credential = cut(role + " DELEGATED CREDENTIAL")
    dc = base64.b64decode(credential[:-1], validate=True)
    key = cut(role + " DC PRIVATE KEY")
    key = "-----BEGIN PRIVATE KEY-----\n%s-----END PRIVATE KEY-----\n" % key
    chain = re.findall("-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", text, re.S)
    return dc, serialization.load_pem_private_key(key.encode(), None), chain


def spki_of(dc):
    length = int.from_bytes(dc[6:9], "big")
    (signature,) = struct.unpack_from(">H", dc, 11 + length)
    assert len(dc) == 13 + length + signature, "not one DelegatedCredential"
    return dc[9 : 9 + length]


def public(key):
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def main(folder, role, formats):
    answer = json.loads(read(folder, "credential.json"))
    dc = base64.b64decode(answer["credential"], validate=True)
    chain = answer["chain"]
    [(label, pkcs8)] = pem_blocks(read(folder, "key.pem"))
    assert label == "PRIVATE KEY"
    key = serialization.load_der_private_key(pkcs8, None)
    assert public(key) == spki_of(dc), "key.pem is not the credential's key"
    assert read(folder, "chain.pem").decode() == chain
    x509.load_pem_x509_certificate(chain.encode())
    upper = role.upper()
    expected = {
        "raw": dc,
        "pem": block("DELEGATED CREDENTIAL", dc, 64).encode(),
        "hex": dc.hex().encode() + b"\n",
        "fizz": (
            block(upper + " DELEGATED CREDENTIAL", dc, 1 << 20)
            + block(upper + " DC PRIVATE KEY", pkcs8, 64)
            + chain
        ).encode(),
    }
    for name, file in FILES.items():
        if name not in formats:
            assert not os.path.lexists(os.path.join(folder, file)), file + " was not asked for"
            continue
        assert read(folder, file) == expected[name], file + " is not of its format"
    if "fizz" in formats:
        text = read(folder, "fizz.pem").decode()
        got, got_key, got_chain = load_as_fizz(text, upper)
        assert got == dc and public(got_key) == spki_of(dc) and "".join(got_chain) == chain
        assert "\r" not in text
        assert stat.S_IMODE(os.stat(os.path.join(folder, "fizz.pem")).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.join(folder, "key.pem")).st_mode) == 0o600


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
