"""DER for make_vectors.py, written for it alone: octets go out exactly as the caller says, so that
malformed values can be made too."""


def length(n):
    if n < 0x80:
        return bytes([n])
    octets = n.to_bytes((n.bit_length() + 7) // 8, "big")
    return bytes([0x80 | len(octets)]) + octets


def tlv(tag, *parts):
    value = b"".join(parts)
    return bytes([tag]) + length(len(value)) + value


def seq(*parts):
    return tlv(0x30, *parts)


def set_of(*parts):
    return tlv(0x31, *parts)


def integer(n):
    return tlv(0x02, n.to_bytes(n.bit_length() // 8 + 1, "big", signed=True))


def oid(text):
    arcs = [int(a) for a in text.split(".")]
    out = []
    for arc in [arcs[0] * 40 + arcs[1]] + arcs[2:]:
        group = [arc & 0x7F]
        while arc := arc >> 7:
            group.insert(0, 0x80 | arc & 0x7F)
        out += group
    return tlv(0x06, bytes(out))


def bits(octets, unused=0):
    return tlv(0x03, bytes([unused]), octets)


def octets(value):
    return tlv(0x04, value)


def context(n, *parts):
    return tlv(0xA0 | n, *parts)


NULL = tlv(0x05)
TRUE = tlv(0x01, b"\xff")
