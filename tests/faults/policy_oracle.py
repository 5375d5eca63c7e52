"""What an issuer of delegated credentials may grant, and the octets that it signs.

Written from RFC 9345 sections 4 and 7.6 and from the rule that src/policy.h states; shares nothing
with the C code. Times are whole seconds since the epoch, of any size.
"""

import hashlib
from dataclasses import dataclass, field

SEVEN_DAYS = 604800
SKEW_LEAST = 300
VALID_TIME_MOST = 2**32 - 1
SERVER, CLIENT = 0, 1
ROLE_NAMES = ("server", "client")

# TLS SignatureScheme registry: those that may be dc_cert_verify_algorithm (never rsa_pss_rsae_*).
DC_SCHEMES = {
    0x0403: "ecdsa_secp256r1_sha256",
    0x0503: "ecdsa_secp384r1_sha384",
    0x0603: "ecdsa_secp521r1_sha512",
    0x0807: "ed25519",
    0x0808: "ed448",
    0x0809: "rsa_pss_pss_sha256",
    0x080A: "rsa_pss_pss_sha384",
    0x080B: "rsa_pss_pss_sha512",
    0x081A: "ecdsa_brainpoolP256r1tls13_sha256",
    0x081B: "ecdsa_brainpoolP384r1tls13_sha384",
    0x081C: "ecdsa_brainpoolP512r1tls13_sha512",
    0x0904: "mldsa44",
    0x0905: "mldsa65",
    0x0906: "mldsa87",
}
SIGNING_SCHEMES = {0x0804: "rsa_pss_rsae_sha256", 0x0805: "rsa_pss_rsae_sha384", 0x0806: "rsa_pss_rsae_sha512"}
SCHEMES = {**DC_SCHEMES, **SIGNING_SCHEMES}
CODES = {name: code for code, name in SCHEMES.items()}


CERTIFICATE_REASONS = ("certificate_not_yet_valid", "certificate_expired")
KIND_REASONS = ("role_not_allowed", "algorithm_not_allowed", "proof_required")


@dataclass(frozen=True)
class Policy:
    max_lifetime: int
    min_lifetime: int
    clock_skew: int
    max_start_ahead: int
    roles: frozenset
    schemes: frozenset
    possession_required: bool

    def faults(self):
        """The options whose values are impossible."""
        bad = set()
        if not SKEW_LEAST <= self.clock_skew < SEVEN_DAYS:
            bad.add("clock_skew")
        if not 1 <= self.max_lifetime <= SEVEN_DAYS - self.clock_skew:
            bad.add("max_lifetime")
        if not 1 <= self.min_lifetime <= self.max_lifetime:
            bad.add("min_lifetime")
        if not 0 <= self.max_start_ahead <= SEVEN_DAYS:
            bad.add("max_start_ahead")
        if not self.roles or self.roles - {SERVER, CLIENT}:
            bad.add("roles")
        if not self.schemes or self.schemes - set(DC_SCHEMES):
            bad.add("algorithms")
        return bad

    def narrowed(self, other):
        """What both allow."""
        return Policy(
            min(self.max_lifetime, other.max_lifetime),
            max(self.min_lifetime, other.min_lifetime),
            max(self.clock_skew, other.clock_skew),
            min(self.max_start_ahead, other.max_start_ahead),
            self.roles & other.roles,
            self.schemes & other.schemes,
            self.possession_required or other.possession_required,
        )


@dataclass(frozen=True)
class Ask:
    role: int
    scheme: int
    possession: bool
    term: str  # default, lifetime, not_after
    value: int = 0
    not_before: int = None


@dataclass
class Verdict:
    """reasons: (code, field) of every rule that is broken; empty when the request is granted."""

    reasons: set = field(default_factory=set)
    lifetime: int = None
    asked: int = None
    expiry: int = None
    valid_time: int = None
    window_opens: int = None

    def first_reasons(self):
        """Those that a refusal may name: the certificate's state comes first, then what is asked for,
        then for when."""
        for codes in (CERTIFICATE_REASONS, KIND_REASONS):
            if found := {r for r in self.reasons if r[0] in codes}:
                return found
        return self.reasons


def longest(policy):
    return min(policy.max_lifetime, SEVEN_DAYS - policy.clock_skew)


def decide(policy, ask, cert_begin, cert_end, now):
    v = Verdict()

    def unless(good, code, member=""):
        if not good:
            v.reasons.add((code, member))

    term = "not_after" if ask.term == "not_after" else "lifetime"
    most = longest(policy)
    start = now if ask.not_before is None else ask.not_before
    unless(cert_begin <= now, "certificate_not_yet_valid")
    unless(now < cert_end, "certificate_expired")
    unless(ask.role in policy.roles, "role_not_allowed", "role")
    unless(ask.scheme in policy.schemes and ask.scheme in DC_SCHEMES, "algorithm_not_allowed", "algorithm")
    unless(ask.possession or not policy.possession_required, "proof_required", "csr")
    unless(start >= now - policy.clock_skew, "start_in_the_past", "not_before")
    unless(start <= now + policy.max_start_ahead, "start_too_far_ahead", "not_before")
    if ask.term == "lifetime":
        v.asked = ask.value
    elif ask.term == "not_after":
        v.asked = ask.value - start
    else:
        v.asked = most - max(start - now, 0)
    v.expiry = start + v.asked
    unless(v.asked <= most and v.expiry <= now + most, "lifetime_too_long", term)
    unless(
        v.asked >= policy.min_lifetime and v.expiry >= now + policy.min_lifetime,
        "lifetime_too_short",
        term,
    )
    unless(v.expiry < cert_end, "outlives_certificate", term)
    v.valid_time = v.expiry - cert_begin
    unless(1 <= v.valid_time <= VALID_TIME_MOST, "no_room")
    v.lifetime = v.expiry - now
    v.window_opens = max(cert_begin, v.expiry - SEVEN_DAYS)
    return v


def accepted(expiry, cert_begin, cert_end, at):
    """Whether a verifier whose clock shows `at` takes it (RFC 9345 section 4.1.3)."""
    return cert_begin <= at <= cert_end and at <= expiry and expiry - at <= SEVEN_DAYS and expiry < cert_end


def credential(valid_time, scheme, spki):
    return valid_time.to_bytes(4, "big") + scheme.to_bytes(2, "big") + len(spki).to_bytes(3, "big") + spki


def tbs(role, cert, valid_time, scheme, spki, algorithm):
    """The octets that the delegation key signs (RFC 9345 section 4)."""
    context = f"TLS, {ROLE_NAMES[role]} delegated credentials".encode()
    return b" " * 64 + context + b"\0" + cert + credential(valid_time, scheme, spki) + algorithm.to_bytes(2, "big")


def delegated_credential(valid_time, scheme, spki, algorithm, signature):
    return (
        credential(valid_time, scheme, spki)
        + algorithm.to_bytes(2, "big")
        + len(signature).to_bytes(2, "big")
        + signature
    )


@dataclass(frozen=True)
class Parsed:
    valid_time: int
    scheme: int
    spki: bytes
    algorithm: int
    signature: bytes


def parse(octets):
    """The fields of a DelegatedCredential; ValueError when the octets are not exactly one."""
    at = 0

    def take(n):
        nonlocal at
        if at + n > len(octets):
            raise ValueError("the delegated credential is cut short")
        at += n
        return octets[at - n : at]

    def number(n):
        return int.from_bytes(take(n), "big")

    dc = Parsed(number(4), number(2), take(number(3)), number(2), take(number(2)))
    if at != len(octets):
        raise ValueError("octets follow the delegated credential")
    if not dc.spki or not dc.signature:
        raise ValueError("the delegated credential has an empty field")
    return dc


def sha256(octets):
    return hashlib.sha256(octets).hexdigest()
