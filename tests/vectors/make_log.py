"""Makes log.txt: Merkle trees by the words of RFC 9162 section 2.1 and signed notes by those of C2SP,
without any code of the program. usage: make_log.py > log.txt"""
import base64
import hashlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

SIZES = 70


def digest(octets):
    return hashlib.sha256(octets).digest()


def below(n):
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def mth(leaves):
    if len(leaves) == 0:
        return digest(b"")
    if len(leaves) == 1:
        return digest(b"\0" + leaves[0])
    k = below(len(leaves))
    return digest(b"\1" + mth(leaves[:k]) + mth(leaves[k:]))


def path(m, leaves):
    if len(leaves) == 1:
        return []
    k = below(len(leaves))
    if m < k:
        return path(m, leaves[:k]) + [mth(leaves[k:])]
    return path(m - k, leaves[k:]) + [mth(leaves[:k])]


def subproof(m, leaves, whole):
    if m == len(leaves):
        return [] if whole else [mth(leaves)]
    k = below(len(leaves))
    if m <= k:
        return subproof(m, leaves[:k], whole) + [mth(leaves[k:])]
    return subproof(m - k, leaves[k:], False) + [mth(leaves[:k])]


def framed(proof):
    return bytes([len(proof)]) + b"".join(proof)


def key_id(name, public):
    return digest(name.encode() + b"\n\x01" + public)[:4]


def note(name, size, root, seed):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    public = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    text = "%s\n%d\n%s\n" % (name, size, base64.b64encode(root).decode())
    signature = base64.b64encode(key_id(name, public) + key.sign(text.encode())).decode()
    signed = "%s\n\u2014 %s %s\n" % (text, name, signature)
    vkey = "%s+%s+%s" % (name, key_id(name, public).hex(),
                         base64.b64encode(b"\x01" + public).decode())
    return public, signed, vkey


def main():
    leaves = [b"record %d" % i for i in range(SIZES)]
    print("# Made by make_log.py. Leaf i of a tree is the text `record i`.")
    for size in range(1, SIZES + 1):
        tree = leaves[:size]
        inclusion = b"".join(framed(path(i, tree)) for i in range(size))
        consistency = b"".join(framed(subproof(i, tree, True)) for i in range(1, size + 1))
        print("id = size-%d\nsize = %d\nroot = %s" % (size, size, mth(tree).hex()))
        print("inclusion_sha256 = %s" % digest(inclusion).hex())
        print("consistency_sha256 = %s\n" % digest(consistency).hex())
    for i, name in enumerate(["dcsign.corp.example/sign1/main", "a", "\u00e9t\u00e9.example/x"]):
        seed, root = digest(b"seed %d" % i), digest(b"root %d" % i)
        public, signed, vkey = note(name, i * 1234567, root, seed)
        print("id = note-%d\norigin = %s\nsize = %d\nroot = %s" % (i, name, i * 1234567, root.hex()))
        print("seed = %s\npublic = %s\nvkey = %s" % (seed.hex(), public.hex(), vkey))
        print("note = %s\n" % signed.encode().hex())


if __name__ == "__main__":
    main()
