"""Edwards curves for make_vectors.py, from RFC 8032 by the group law: points of low order and
encodings that are none."""


class Edwards:
    def __init__(self, p, a, d, order, octets):
        self.p, self.a, self.d, self.order, self.octets = p, a, d, order, octets

    def add(self, P, Q):
        (x1, y1), (x2, y2), p = P, Q, self.p
        t = self.d * x1 * x2 * y1 * y2 % p
        x = (x1 * y2 + x2 * y1) * pow(1 + t, -1, p) % p
        y = (y1 * y2 - self.a * x1 * x2) * pow(1 - t, -1, p) % p
        return x, y

    def mul(self, k, P):
        R = (0, 1)
        while k:
            if k & 1:
                R = self.add(R, P)
            P = self.add(P, P)
            k >>= 1
        return R

    def on_curve(self, P):
        x, y = P
        return (self.a * x * x + y * y - 1 - self.d * x * x * y * y) % self.p == 0

    def encode(self, P):
        return self.encode_raw(P[1], P[0] & 1)

    def encode_raw(self, y, sign):
        out = bytearray(y.to_bytes(self.octets, "little"))
        out[-1] |= sign << 7
        return bytes(out)

    def x_of(self, y):
        """An x for this y, or None."""
        p = self.p
        x2 = (1 - y * y) * pow(self.a - self.d * y * y, -1, p) % p
        if p % 4 == 3:
            x = pow(x2, (p + 1) // 4, p)
        else:
            x = pow(x2, (p + 3) // 8, p)
            if x * x % p != x2:
                x = x * pow(2, (p - 1) // 4, p) % p
        return x if x * x % p == x2 else None

    def torsion(self):
        """All points of low order: what is left of any point times the large prime order."""
        y, points = 2, set()
        while len(points) < (8 if self.octets == 32 else 4):
            x = self.x_of(y)
            if x is not None:
                T = self.mul(self.order, (x, y))
                for k in range(8):
                    points.add(self.mul(k, T))
            y += 1
        return sorted(points)


P25519 = 2**255 - 19
ED25519 = Edwards(
    P25519,
    P25519 - 1,
    -121665 * pow(121666, -1, P25519) % P25519,
    2**252 + 27742317777372353535851937790883648493,
    32,
)
P448 = 2**448 - 2**224 - 1
ED448 = Edwards(
    P448,
    1,
    P448 - 39081,
    2**446 - 13818066809895115352007386748515426880336692474882178609894547503885,
    57,
)
