"""What a dcsignd.conf says of keys, clients and policies, in the form of a CONFIG record.

Written from dcsignd.conf(5), for the files that tests write; shares nothing with the C code.
"""

import re

WORD = re.compile(r'\s+|#[^\n]*|"([^"]*)"|([{}=,]|[^\s{}=,"#]+)')
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# What holds where a policy does not say it.
POLICY = {
    "algorithms": ["ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512"],
    "clock_skew": "1h", "max_lifetime": "24h", "max_live": "100000", "max_start_ahead": "300s",
    "min_lifetime": "300s", "proof_of_possession": "required", "roles": ["server"],
}  # fmt: skip
DURATIONS = ("clock_skew", "max_lifetime", "max_start_ahead", "min_lifetime")
SETS = ("accept_weak_key", "algorithms", "keys", "may", "roles")


class Section:
    def __init__(self, title=""):
        self.title = title
        self.options = {}
        self.sections = []  # (name, Section)

    def named(self, name):
        return [s for n, s in self.sections if n == name]


def words(text):
    """(word, whether it stood in quotes)"""
    at = 0
    while at < len(text):
        m = WORD.match(text, at)
        if m is None:
            raise ValueError(f"not a configuration: {text[at : at + 40]!r}")
        at = m.end()
        if m[1] is not None:
            yield m[1], True
        elif m[2] is not None:
            yield m[2], False


def parse(text):
    left = list(words(text))
    return inside(left, Section(), False)


def inside(left, section, closed):
    while left:
        name, quoted = left.pop(0)
        if name == "}" and not quoted and closed:
            return section
        after = left.pop(0)
        if after == ("=", False):
            section.options[name] = value(left)
            continue
        title = ""
        if after != ("{", False):
            title, after = after[0], left.pop(0)
        if after != ("{", False):
            raise ValueError(f"not a section: {name}")
        section.sections.append((name, inside(left, Section(title), True)))
    if closed:
        raise ValueError("a section does not end")
    return section


def value(left):
    first = left.pop(0)
    if first != ("{", False):
        return first[0]
    found = []
    while (word := left.pop(0)) != ("}", False):
        if word != (",", False):
            found.append(word[0])
    return found


def seconds(text):
    return int(text[:-1]) * UNITS[text[-1]]


def policy_of(p):
    said = {**POLICY, **p.options}
    return {
        "algorithms": sorted(said["algorithms"]),
        "max_live": int(said["max_live"]),
        "name": p.title,
        "proof_of_possession": said["proof_of_possession"],
        "roles": sorted(said["roles"]),
        **{name: seconds(said[name]) for name in DURATIONS},
    }


def key_of(k):
    said = k.options
    return {
        "accept_weak_key": said.get("accept_weak_key", []),
        "certificate": said["certificate"],
        "issuer_ca": said.get("issuer_ca", ""),
        "name": k.title,
        "policy": said["policy"],
        "uri": said["uri"],
    }


def client_of(c):
    said = c.options
    count, _, per = said.get("rate", "0/").partition("/")
    return {
        "keys": said.get("keys", []),
        "match": [{kind: text} for m in c.named("match") for kind, text in m.options.items()],
        "max_live": int(said.get("max_live", 0)),
        "may": sorted(said["may"]),
        "name": c.title,
        "policy": said.get("policy", ""),
        "rate_count": int(count),
        "rate_seconds": UNITS.get(per, 0),
    }


def configuration(file, token):
    """What the chain of this token must say of the file."""
    keys = [key_of(k) for k in file.named("key") if k.options["token"] == token]
    here = {k["name"] for k in keys}
    clients = [c for c in map(client_of, file.named("client")) if here & set(c["keys"])]
    limits = {name: text for s in file.named("limits") for name, text in s.options.items()}
    return tidy({
        "clients": clients,
        "keys": keys,
        "max_lifetime": seconds(limits.get("max_lifetime", "7d")),
        "policies": [policy_of(p) for p in file.named("policy")],
    })  # fmt: skip


def tidy(config):
    """In one order, for a comparison."""
    same = dict(config)
    for name in ("clients", "keys", "policies"):
        same[name] = sorted(map(sets, config[name]), key=lambda one: one["name"])
    return same


def sets(one):
    return {name: sorted(v) if name in SETS else v for name, v in one.items()}
