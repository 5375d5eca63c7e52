"""FOLDER/bodies and FOLDER/batches: requests for many P-256 public keys, one a line (bench.sh).
usage: bodies.py FOLDER"""

import base64
import json
import sys

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

KEYS, BATCH = 4096, 256


def spki():
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    return base64.b64encode(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def write(name, lines):
    with open(name, "w", encoding="ascii") as f:
        f.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def main():
    one = [{"public_key": spki(), "lifetime": 3600 + i % 64} for i in range(KEYS)]
    write(f"{sys.argv[1]}/bodies", one)
    write(f"{sys.argv[1]}/batches",
          ({"requests": one[i : i + BATCH]} for i in range(0, KEYS, BATCH)))  # fmt: skip


main()
