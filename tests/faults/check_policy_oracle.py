"""The C decision and signed octets against policy_oracle.py, on random requests near the limits.

DCSIGN_TESTS=long: 100,000 requests instead of 2,000. DCSIGN_SEED: another seed than the usual one.
"""

import dataclasses
import os
import random
import subprocess
import sys

import policy_oracle as po

I64 = (-(2**63), 2**63 - 1)
NOW = 1_800_000_000
CODES = sorted(po.SCHEMES) + [0x0401, 0x0203, 0x0A0A, 0xFFFF]
# Every verdict that there is; each is to come once among so many requests at least.
REASONS = (
    *po.CERTIFICATE_REASONS, *po.KIND_REASONS, "start_in_the_past", "start_too_far_ahead", "lifetime_too_long",
    "lifetime_too_short", "outlives_certificate", "no_room",
)  # fmt: skip
OPTIONS = ("clock_skew", "max_lifetime", "min_lifetime", "max_start_ahead", "roles", "algorithms")
EXPECTED = ("ok", *("refused " + r for r in REASONS), *("bad-policy " + o for o in OPTIONS))
SELDOM = 200


def in_int64(v):
    return min(max(v, I64[0]), I64[1])


def near(rng, *values):
    """One of the values or a neighbour of it, kept within int64."""
    return in_int64(rng.choice(values) + rng.choice((0, 0, 0, 0, 1, -1, 2, -2, rng.randint(-1000, 1000))))


def extreme(rng):
    return near(rng, *I64, 0, 2**31, 2**32, -(2**31), 2**53, I64[1] // 2, I64[0] // 2)


def make_policy(rng):
    skew = rng.choice((300, 301, 3600, 3600, 86400, po.SEVEN_DAYS - 1, rng.randint(300, 20000)))
    most = rng.choice((86400, 3600, po.SEVEN_DAYS - skew, rng.randint(1, po.SEVEN_DAYS - skew)))
    most = min(most, po.SEVEN_DAYS - skew)
    p = po.Policy(
        most,
        min(most, rng.choice((1, 300, 300, most, rng.randint(1, most)))),
        skew,
        rng.choice((0, 300, 300, po.SEVEN_DAYS, rng.randint(0, 86400))),
        frozenset(rng.choice(((0,), (1,), (0, 1), (0, 1)))),
        frozenset(rng.sample(sorted(po.DC_SCHEMES), rng.choice((1, 3, 8, 14, 14)))),
        rng.random() < 0.3,
    )
    return broken(rng, p) if rng.random() < 0.15 else p


def broken(rng, p):
    """The policy with one option at or beyond the end of its range."""
    option, value = rng.choice(
        (
            ("clock_skew", rng.choice((299, 300, po.SEVEN_DAYS - 1, po.SEVEN_DAYS, extreme(rng)))),
            ("max_lifetime", rng.choice((0, po.SEVEN_DAYS - p.clock_skew + 1, extreme(rng)))),
            ("min_lifetime", rng.choice((0, p.max_lifetime + 1, extreme(rng)))),
            ("max_start_ahead", rng.choice((-1, po.SEVEN_DAYS + 1, extreme(rng)))),
            ("roles", frozenset(rng.choice(((), (0, 2), (3,))))),
            ("schemes", frozenset(rng.choice(((), (0x0403, 0x0804), (0x0806,))))),
        )
    )
    return dataclasses.replace(p, **{option: value})


def make_time(rng, now, p):
    """not_before and not_after of a certificate, with now somewhere near or between them."""
    far = now - po.VALID_TIME_MOST + rng.choice((po.longest(p), p.min_lifetime, 0))
    begin = rng.choice((now - 1_000_000,) * 6 + (near(rng, now), near(rng, far), extreme(rng)))
    end = rng.choice(
        (now + 10_000_000,) * 6
        + (near(rng, now, now + po.longest(p), now + p.min_lifetime), extreme(rng))
    )
    return in_int64(begin), in_int64(end)


def make_ask(rng, p, now, end):
    start = None
    if rng.random() < 0.4:
        start = near(rng, now, now, now - p.clock_skew, now + p.max_start_ahead, now - 60, now + 60)
    if rng.random() < 0.03:
        start = extreme(rng)
    base = now if start is None else start
    most, least = po.longest(p), p.min_lifetime
    middle = (most + least) // 2
    lifetimes = (middle, middle, most, least, most - (base - now), least - (base - now), end - base)
    term = rng.choice(("default", "lifetime", "not_after"))
    value = extreme(rng) if rng.random() < 0.05 else near(rng, *lifetimes)
    if term == "not_after" and rng.random() < 0.95:
        value = in_int64(base + value)
    return po.Ask(
        rng.choice((0, 0, 0, 1, 1, 2) if rng.random() < 0.3 else sorted(p.roles) or (0,)),
        rng.choice(CODES if rng.random() < 0.1 else sorted(p.schemes) or CODES),
        rng.random() < (0.9 if p.possession_required else 0.5),
        term,
        value,
        start,
    )


def make_request(rng):
    mine, theirs = make_policy(rng), make_policy(rng)
    if rng.random() < 0.6:
        theirs = mine
    now = extreme(rng) if rng.random() < 0.02 else near(rng, NOW, rng.randint(0, 2**33))
    both = mine.narrowed(theirs)
    begin, end = make_time(rng, now, both)
    ask = make_ask(rng, both, now, end)
    if rng.random() < 0.1:  # at the ends of what valid_time can count, and of the certificate
        expiry = po.decide(both, ask, begin, end, now).expiry
        begin = in_int64(expiry - po.VALID_TIME_MOST + rng.choice((-1, 0, 1)))
        end = rng.choice((end, in_int64(expiry + rng.choice((0, 1)))))
    octets = [rng.randbytes(rng.choice(lengths)) for lengths in ((1, 400, 900, 3000), (1, 44, 91, 2614), (1, 71, 256))]
    return mine, theirs, ask, begin, end, now, *octets, rng.choice(CODES)


def line_of(request):
    mine, theirs, ask, begin, end, now, cert, spki, signature, algorithm = request
    words = []
    for p in (mine, theirs):
        codes = ",".join(f"{c:04x}" for c in sorted(p.schemes)) or "-"
        roles = sum(1 << r for r in p.roles)
        words += [p.max_lifetime, p.min_lifetime, p.clock_skew, p.max_start_ahead, roles, codes]
        words.append(int(p.possession_required))
    words += [ask.role, f"{ask.scheme:04x}", int(ask.possession), ask.term, ask.value]
    words += ["-" if ask.not_before is None else ask.not_before, begin, end, now]
    words += [cert.hex(), spki.hex(), f"{algorithm:04x}", signature.hex()]
    return " ".join(map(str, words))


def differences(request, answer):
    """What of the C's answer is not as it should be; "" = nothing."""
    mine, theirs, ask, begin, end, now, cert, spki, signature, algorithm = request
    kind, *words = answer.split()
    faults = mine.faults() or theirs.faults()
    if faults or kind == "bad-policy":
        return "" if kind == "bad-policy" and words[0] in faults else f"the policy's faults: {faults or 'none'}"
    both = mine.narrowed(theirs)
    v = po.decide(both, ask, begin, end, now)
    if v.reasons:
        first = v.first_reasons()
        right = kind == "refused" and (words[0], words[1].replace("-", "")) in first
        return "" if right else f"to be refused for one of {sorted(first)}"
    octets = po.tbs(ask.role, cert, v.valid_time, ask.scheme, spki, algorithm)
    whole = po.delegated_credential(v.valid_time, ask.scheme, spki, algorithm, signature)
    want = [v.lifetime, v.asked, v.expiry, v.valid_time, v.window_opens, po.sha256(octets), po.sha256(whole)]
    if kind != "ok" or words != list(map(str, want)):
        return f"to be granted: {want}"
    for clock in (now, now - both.clock_skew):  # a client whose clock is slow takes it all the same
        if clock >= begin and not po.accepted(v.expiry, begin, end, clock):
            return f"a verifier at {clock} refuses it"
    return ""


def main():
    driver = os.path.join(os.environ["TOP_BUILDDIR"], "tests/faults/decide")
    seed = int(os.environ.get("DCSIGN_SEED", "9345"))
    count = 100_000 if os.environ.get("DCSIGN_TESTS") == "long" else 2_000
    print(f"{count} requests, seed {seed}")
    rng = random.Random(seed)
    wrong, kinds = 0, {}
    for _ in range(0, count, 1000):
        requests = [make_request(rng) for _ in range(1000)]
        text = "".join(line_of(r) + "\n" for r in requests)
        answers = subprocess.run([driver], input=text, capture_output=True, text=True, check=True).stdout.splitlines()
        assert len(answers) == len(requests)
        for request, answer in zip(requests, answers):
            kind = " ".join(answer.split()[: 1 if answer.startswith("ok") else 2])
            kinds[kind] = kinds.get(kind, 0) + 1
            difference = differences(request, answer)
            if difference and (wrong := wrong + 1) <= 5:
                print(f"request: {line_of(request)[:600]}\nC: {answer}\noracle: {difference}")
    for kind in sorted(kinds, key=kinds.get, reverse=True):
        print(f"{kinds[kind]:8d} {kind}")
    missing = [kind for kind in EXPECTED if kinds.get(kind, 0) < max(1, count // SELDOM)]
    if missing or kinds["ok"] < count // 10:
        print(f"the requests do not reach everything: {missing}")
        return 1
    print(f"{wrong} differences")
    return 1 if wrong else 0


sys.exit(main())
