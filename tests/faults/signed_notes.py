"""Heads as C2SP tlog-checkpoint in signed-note, with Ed25519 signatures and tlog-cosignature, by the words
of those specifications and without any code of the program."""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

DASH = "\u2014 "
ED25519, COSIGNATURE = 1, 4


def key_id(name, kind, public):
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public).digest()[:4]


def vkey(name, kind, public):
    encoded = base64.b64encode(bytes([kind]) + public).decode()
    return f"{name}+{key_id(name, kind, public).hex()}+{encoded}"


def read_vkey(text):
    """(name, kind, public key); ValueError."""
    name, number, encoded = text.split("+", 2)
    octets = base64.b64decode(encoded, validate=True)
    kind, public = octets[0], octets[1:]
    if len(public) != 32 or key_id(name, kind, public).hex() != number:
        raise ValueError("no verifier key")
    return name, kind, public


def public_of(private):
    return private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


@dataclass
class Note:
    origin: str
    size: int
    root: bytes
    text: str  # what is signed
    signatures: list = field(default_factory=list)  # (name, octets)

    def good(self, name, kind, public):
        """Exactly one signature of this key, and that one is good."""
        ours = [s for n, s in self.signatures if n == name and s[:4] == key_id(name, kind, public)]
        if len(ours) != 1:
            return False
        message, signature = self.text.encode(), ours[0][4:]
        if kind == COSIGNATURE:
            time = int.from_bytes(signature[:8], "big")
            message = f"cosignature/v1\ntime {time}\n".encode() + message
            signature = signature[8:]
        try:
            Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
        except InvalidSignature:
            return False
        return True


def parse(text):
    """One note; ValueError."""
    body, found, rest = text.partition("\n\n")
    lines = body.split("\n")
    if not found or len(lines) != 3 or not rest.endswith("\n") or not lines[1].isdecimal():
        raise ValueError("no signed note")
    note = Note(lines[0], int(lines[1]), base64.b64decode(lines[2], validate=True), body + "\n")
    for line in rest[:-1].split("\n"):
        if not line.startswith(DASH):
            raise ValueError("no signed note")
        name, _, octets = line[len(DASH) :].partition(" ")
        try:
            note.signatures.append((name, base64.b64decode(octets, validate=True)))
        except binascii.Error as e:
            raise ValueError("no signed note") from e
    return note


def split(text):
    """The notes of a file, one after the other."""
    notes, lines = [], text.splitlines(keepends=True)
    while lines:
        n = lines.index("\n") + 1
        while n < len(lines) and lines[n].startswith(DASH):
            n += 1
        notes.append(parse("".join(lines[:n])))
        lines = lines[n:]
    return notes


def sign(origin, size, root, private):
    text = f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n"
    octets = key_id(origin, ED25519, public_of(private)) + private.sign(text.encode())
    return f"{text}\n{DASH}{origin} {base64.b64encode(octets).decode()}\n"


def cosign(note, name, private, time):
    """The note's text with one more line."""
    message = f"cosignature/v1\ntime {time}\n" + parse(note).text
    octets = key_id(name, COSIGNATURE, public_of(private)) + time.to_bytes(8, "big") + private.sign(message.encode())
    return f"{note}{DASH}{name} {base64.b64encode(octets).decode()}\n"


def seed(octets):
    return Ed25519PrivateKey.from_private_bytes(octets)
