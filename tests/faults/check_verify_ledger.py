"""verify_ledger.py on a consistent ledger, and on it broken in every way that it must see."""

import base64
import copy
import hashlib
import os
import subprocess
import sys
import tempfile

import ledger_records
import policy_oracle as po
import synthetic
from synthetic import CHAIN, KEYS, b64, hex256, write_sqlite
from verify_ledger import Verifier

FAULTS = []
GOOD = synthetic.Set()


def fault(words):
    """A fault of the records, which are sealed afterwards: hashes and heads fit."""

    def add(change):
        FAULTS.append((words, change.__name__, lambda s: broken_records(s, change)))
        return change

    return add


def tamper(words, sealed=True):
    """A fault of the stored rows; sealed: leaf hashes and heads fit."""

    def add(change):
        FAULTS.append((words, change.__name__, lambda s: broken_rows(s, change, sealed)))
        return change

    return add


def broken_records(s, change):
    change(s)
    s.renumber()
    return s.ledger()


def broken_rows(s, change, sealed):
    ledger = s.ledger()
    change(ledger)
    return synthetic.seal(ledger) if sealed else ledger


def replace(ledger, old, new):
    row = next(r for r in ledger.rows if old in r.text)
    row.text = row.text.replace(old, new, 1)


# ---- form and places ----


@tamper("is not in canonical form")
def a_space(ledger):
    replace(ledger, b'"attempt":1', b'"attempt": 1')


@tamper("is not in canonical form")
def members_out_of_order(ledger):
    replace(ledger, b'"node":"sign1","time"', b'"time"')
    row = next(r for r in ledger.rows if b'"boot_id"' in r.text)
    row.text = row.text[:-1] + b',"node":"sign1"}'


@tamper("is not in canonical form")
def an_escape_that_is_not_needed(ledger):
    replace(ledger, b'"edge"', b'"\\u0065dge"')


@tamper("has a member twice")
def a_member_twice(ledger):
    replace(ledger, b'"attempt":1,', b'"attempt":1,"attempt":1,')


@tamper("has a number that is no integer")
def a_float(ledger):
    replace(ledger, b'"attempt":1,', b'"attempt":1.0,')


@tamper("is not JSON")
def bad_utf8(ledger):
    replace(ledger, b'"edge"', b'"edg\xff"')


@tamper("has the unknown member")
def an_unknown_member(ledger):
    replace(ledger, b'"attempt":1,', b'"attemp":1,"attempt":1,')


@tamper("has a tbs_sha256 that is no")
def hex_in_capitals(ledger):
    replace(ledger, b'"tbs_sha256":"', b'"tbs_sha256":"A')


@tamper("lacks tbs_sha256")
def a_member_is_missing(ledger):
    row = next(r for r in ledger.rows if b'"AUTHORISED"' in r.text)
    at = row.text.index(b'"tbs_sha256"')
    row.text = row.text[:at] + row.text[at + 80 :]


@tamper("has the unknown type")
def a_type_of_its_own(ledger):
    replace(ledger, b'"type":"REFUSED"', b'"type":"REFUTED"')


@tamper("the stored leaf hash is not that of the record", sealed=False)
def a_record_is_changed(ledger):
    replace(ledger, b'"client":"edge"', b'"client":"edgf"')


@tamper("its root is not that of its records", sealed=False)
def a_record_and_its_hash_are_changed(ledger):
    row = next(r for r in ledger.rows if b'"REFUSED"' in r.text)
    row.text = row.text.replace(b"edge", b"edgf")
    row.leaf_hash = ledger_records.leaf_hash(row.text)


@tamper("stands where")
def a_record_is_taken_out(ledger):
    del ledger.rows[7]


@tamper("it says 54 records, there are 53", sealed=False)
def the_last_record_is_cut_off(ledger):
    del ledger.rows[-1]


@tamper("stands where")
def a_record_stands_twice(ledger):
    ledger.rows.insert(9, copy.copy(ledger.rows[9]))


@tamper("names another place than its own")
def two_records_change_places(ledger):
    a, b = ledger.rows[5], ledger.rows[6]
    a.text, b.text = b.text, a.text


@tamper("names another place than its own")
def a_record_of_another_chain(ledger):
    replace(ledger, b'"chain":"sign1/main"', b'"chain":"sign2/main"')


@tamper("it has records and no head", sealed=False)
def no_head(ledger):
    del ledger.heads[CHAIN]


@fault("the chain begins with CONFIG")
def no_start(s):
    del s.records[0]


# ---- attempts and outcomes ----


@fault("has no outcome before STOP")
def an_outcome_is_missing(s):
    s.records.remove(s.first("FAILED"))


@fault("has the outcome ISSUED already")
def two_outcomes(s):
    at = s.records.index(s.first("ISSUED"))
    s.records.insert(at + 1, dict(s.records[at]))


@fault("has the outcome ISSUED already")
def late_after_issued(s):
    at = s.records.index(s.first("ISSUED"))
    s.records.insert(at + 1, {**s.records[at], "type": "LATE"})


def late_after(s, kind):
    at = s.records.index(s.first(kind))
    made = next(r for r in s.records if r["type"] == "ISSUED" and r["id"] == s.records[at]["id"])
    late = {name: made[name] for name in ("chain", "idx", "dc", "dc_sha256", "time")}
    s.records.insert(at + 1, {**late, "type": "LATE", "id": made["id"], "attempt": s.records[at]["attempt"]})


@fault("its attempt is FAILED, which says that there is no signature")
def late_after_failed(s):
    late_after(s, "FAILED")


@fault("nothing was announced under its id and attempt")
def an_outcome_of_nothing(s):
    s.first("FAILED")["id"] = "f" * 32


@fault("its id and attempt were used before")
def an_id_twice(s):
    at = s.records.index(s.first("ISSUED"))
    s.records.insert(at + 1, dict(s.first("AUTHORISED")))


@fault("there was no attempt 1 before it")
def a_second_attempt_first(s):
    for r in s.records:
        if r.get("attempt") == 1 and r["id"] == s.first("FAILED")["id"]:
            r["id"] = "e" * 32


@fault("attempt 1 had not failed")
def a_second_attempt_after_success(s):
    s.first("FAILED")["type"] = "LATE"
    late = s.first("LATE")
    dc = s.first("ISSUED")
    late.update(dc=dc["dc"], dc_sha256=dc["dc_sha256"])


@fault("a self-test's credential was issued")
def a_self_test_is_issued(s):
    proved = s.first("KEY-PROVED")
    s.first("SELF-TEST")["attempt"] = 1
    proved.update(type="ISSUED", attempt=1)
    for name in ("certificate_sha256", "certificates", "generation", "key", "signature_algorithm", "spki_sha256"):
        del proved[name]


@fault("that is no base64")
def base64_beyond_ascii(s):
    r = s.first("ISSUED")
    r["dc"] = "\u00e9" + r["dc"][1:]


@fault("its certificate can't be read")
def a_certificate_of_no_version(s):
    proved = s.first("KEY-PROVED")
    octets = base64.b64decode(proved["certificates"])
    assert b"\xa0\x03\x02\x01\x02" in octets
    proved["certificates"] = base64.b64encode(octets.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x06", 1)).decode()


@fault("its Idempotency-Key released a credential before")
def idempotency_releases_twice(s):
    for r in s.records:
        if r["type"] == "AUTHORISED" and r["id"] == s.first("ISSUED")["id"]:
            r.update(idempotency="deploy-42", request_sha256="02" * 32)


# ---- what was authorised ----


def authorised(s, outcome="ISSUED", key="www"):
    ids = [r["id"] for r in s.records if r["type"] == outcome]
    return next(r for r in s.records if r["type"] == "AUTHORISED" and r["id"] in ids and r["key"] == key)


def forge(s, r, **members):
    """Another request, everything about it consistent: octets, signature, credential."""
    r.update(members)
    key = next(k for k in KEYS if k.name == r["key"])
    r["valid_time"] = r["expiry"] - r["cert_not_before"]
    r["window_opens"] = max(synthetic.BEGIN, r["expiry"] - po.SEVEN_DAYS)
    r["lifetime_granted"] = r["expiry"] - r["now"]
    scheme, spki = po.CODES[r["algorithm"]], base64.b64decode(r["spki"])
    tbs = po.tbs(po.ROLE_NAMES.index(r["role"]), key.der, r["valid_time"], scheme, spki, key.code)
    r["tbs_sha256"] = hex256(tbs)
    issued = next(o for o in s.records if o["type"] == "ISSUED" and o["id"] == r["id"])
    dc = po.delegated_credential(r["valid_time"], scheme, spki, key.code, key.signed(tbs)[2])
    issued.update(dc=b64(dc), dc_sha256=hex256(dc))


@fault("its policy does not allow it: lifetime_too_long")
def too_long(s):
    r = authorised(s)
    forge(s, r, expiry=r["now"] + 86401, lifetime_asked=86401)


@fault("its policy does not allow it: lifetime_too_short")
def too_short(s):
    r = authorised(s)
    forge(s, r, expiry=r["now"] + 299, lifetime_asked=299)


@fault("its policy does not allow it: start_too_far_ahead")
def too_far_ahead(s):
    r = authorised(s)
    forge(s, r, expiry=r["now"] + 301 + 600, lifetime_asked=600)


@fault("its policy does not allow it: role_not_allowed")
def a_role_that_is_not_allowed(s):
    forge(s, authorised(s), role="client")


@fault("its policy does not allow it: algorithm_not_allowed")
def an_algorithm_that_is_not_allowed(s):
    forge(s, authorised(s), algorithm="ecdsa_secp384r1_sha384")


@fault("its policy does not allow it: proof_required")
def no_proof(s):
    authorised(s)["possession"] = "none"


@fault("its policy does not allow it: certificate_expired")
def after_the_certificate(s):
    r = authorised(s)
    forge(s, r, now=synthetic.END + 1, expiry=synthetic.END + 3601)


@fault("its policy does not allow it: lifetime_too_long")
def the_service_as_a_whole_allows_less(s):
    for r in s.records:
        if r["type"] == "CONFIG":
            r["config"]["max_lifetime"] = 3599


@fault("its policy does not allow it: lifetime_too_long")
def the_clients_policy_narrows(s):
    for r in s.records:
        if r["type"] == "CONFIG":
            r["config"]["policies"].append({**r["config"]["policies"][0], "name": "short", "max_lifetime": 3599})
            r["config"]["clients"][0]["policy"] = "short"


@fault("its client may not issue with its key")
def without_the_right(s):
    s.first("CONFIG")["config"]["clients"][0]["may"] = ["read"]


@fault("its client may not issue with its key")
def anothers_key(s):
    s.first("CONFIG")["config"]["clients"][0]["keys"] = ["www", "rsa", "p384"]


@fault("its key or client is not in the configuration")
def an_unknown_client(s):
    authorised(s)["client"] = "stranger"


@fault("more than 2 unexpired credentials of its key")
def too_many_live(s):
    s.first("CONFIG")["config"]["policies"][0]["max_live"] = 2


@fault("more than 3 unexpired credentials of its client")
def too_many_live_of_a_client(s):
    s.first("CONFIG")["config"]["clients"][0]["max_live"] = 3


@fault("it was authorised while issuance was on hold")
def issued_on_hold(s):
    s.first("HELD")["key"] = "www"


@fault("no CONFIG record announced its generation")
def another_generation(s):
    authorised(s)["generation"] = "99" * 32


@fault("no KEY-PROVED record shows its certificate for its key")
def a_key_that_was_not_proved(s):
    proved = s.first("KEY-PROVED")
    del s.records[proved["idx"] - 1 : proved["idx"] + 1]


@fault("cert_not_before is not that of its certificate")
def another_begin(s):
    r = authorised(s)
    r["cert_not_before"] += 1


@fault("window_opens is")
def another_window(s):
    authorised(s)["window_opens"] += 1


@fault("lifetime_granted is")
def another_lifetime(s):
    authorised(s)["lifetime_granted"] += 1


@fault("tbs_sha256 is not that of the octets that its fields make")
def other_octets(s):
    authorised(s)["tbs_sha256"] = "11" * 32


@fault("spki_sha256 is not that of spki")
def another_spki(s):
    authorised(s)["spki_sha256"] = "11" * 32


@fault("tbs_sha256 is not that of the octets that its fields make")
def another_role_than_was_signed(s):
    authorised(s)["role"] = "client"


# ---- credentials ----


def outcome(s, kind="ISSUED", key="www"):
    r = authorised(s, kind, key)
    return next(o for o in s.records if o["type"] == kind and o["id"] == r["id"])


def change_dc(record, change):
    dc = bytearray(base64.b64decode(record["dc"]))
    change(dc)
    record.update(dc=b64(bytes(dc)), dc_sha256=hex256(bytes(dc)))


@fault("dc_sha256 is not that of dc")
def another_dc_digest(s):
    outcome(s)["dc_sha256"] = "11" * 32


@fault("its dc is none")
def a_cut_dc(s):
    change_dc(outcome(s), lambda dc: dc.pop())


@fault("its dc is none")
def octets_after_the_dc(s):
    change_dc(outcome(s), lambda dc: dc.append(0))


@fault("its credential is not the one that was announced")
def another_valid_time(s):
    def later(dc):
        dc[3] ^= 1

    change_dc(outcome(s), later)


def damage(dc):
    dc[-1] ^= 1


for key in KEYS:

    @fault("its signature does not verify under the certificate's key")
    def a_damaged_signature(s, name=key.name):
        change_dc(outcome(s, key=name), damage)


@fault("its signature does not verify under the certificate's key")
def a_damaged_late_signature(s):
    change_dc(outcome(s, "LATE"), damage)


@fault("its signature does not verify under the certificate's key")
def a_damaged_self_test(s):
    change_dc(s.first("KEY-PROVED"), damage)


@fault("it shows no credential of its self-test")
def a_self_test_without_credential(s):
    del s.first("KEY-PROVED")["dc"]


@fault("its SELF-TEST is of another key or certificate")
def proved_by_anothers_test(s):
    s.first("KEY-PROVED")["key"] = "p384"


@fault("a self-test's valid_time is not 0")
def a_self_test_that_is_valid(s):
    s.first("SELF-TEST")["valid_time"] = 90000


@fault("a self-test's valid_time is not 0")
def a_credential_called_self_test(s):
    """All of it fits; it is a good credential all the same."""
    test, proved, key = s.first("SELF-TEST"), s.first("KEY-PROVED"), KEYS[0]
    spki = base64.b64decode(test["spki"])
    test.update(valid_time=90000, expiry=synthetic.BEGIN + 90000)
    tbs = po.tbs(po.SERVER, key.der, 90000, 0x0403, spki, key.code)
    dc = po.delegated_credential(90000, 0x0403, spki, key.code, key.signed(tbs)[2])
    test["tbs_sha256"] = hex256(tbs)
    proved.update(dc=b64(dc), dc_sha256=hex256(dc))


@fault("its credential has not expired")
def a_self_test_too_early(s):
    s.first("SELF-TEST")["now"] = synthetic.BEGIN


def other_certificate(s, **how):
    key = KEYS[0]
    der = key.certificate(**how)
    for r in s.records:
        if r.get("certificate_sha256") == hex256(key.der):
            r["certificate_sha256"] = hex256(der)
            if "certificates" in r:
                r["certificates"] = b64(len(der).to_bytes(3, "big") + der)


@fault("DelegationUsage is critical or not NULL")
def a_critical_extension(s):
    other_certificate(s, critical=True)


@fault("DelegationUsage is critical or not NULL")
def an_extension_of_2018(s):
    other_certificate(s, usage=b"")


@fault("its certificate does not have the SHA-256 that it names")
def another_certificate(s):
    proved = s.first("KEY-PROVED")
    proved["certificates"] = b64(len(KEYS[1].der).to_bytes(3, "big") + KEYS[1].der)


def check_older_heads(good):
    leaves = [r.leaf_hash for r in good.rows]
    root = ledger_records.tree_root
    assert not Verifier(good).run([(CHAIN, n, root(leaves[:n])) for n in range(len(leaves) + 1)])
    for head, words in (
        ((CHAIN, 20, root(leaves[:21])), "does not extend"),
        ((CHAIN, len(leaves) + 1, root(leaves)), "does not extend"),
        (("sign9/main", 3, b""), "the chain is gone"),
    ):
        assert any(words in p for p in Verifier(good).run([head])), words


def check_tree():
    """Against the recursive definition of RFC 9162 section 2.1.1."""

    def mth(d):
        if len(d) == 1:
            return d[0]
        k = 1
        while k * 2 < len(d):
            k *= 2
        return hashlib.sha256(b"\1" + mth(d[:k]) + mth(d[k:])).digest()

    leaves = [ledger_records.leaf_hash(bytes([i])) for i in range(70)]
    for n in range(1, 71):
        assert ledger_records.tree_root(leaves[:n]) == mth(leaves[:n]), n
    assert ledger_records.tree_root([]) == hashlib.sha256(b"").digest()


def check_files(good):
    """The program itself, on a SQLite file and on an export."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "verify_ledger.py")
    bad = broken_rows(GOOD.copy(), a_record_is_changed, False)
    with tempfile.TemporaryDirectory() as folder:
        for name, ledger, status in (("good", good, 0), ("bad", bad, 1)):
            path = os.path.join(folder, name)
            write_sqlite(path + ".db", ledger)
            with open(path + ".jsonl", "wb") as f:
                f.write(b"".join(r.text + b"\n" for r in ledger.rows))
            for file in (path + ".db", path + ".jsonl"):
                done = subprocess.run([sys.executable, program, file], capture_output=True, text=True, check=False)
                assert done.returncode == status, (file, done.stdout, done.stderr)
                assert "54 records, 22 attempts, 0 open" in done.stdout, done.stdout


def main():
    good = GOOD.ledger()
    problems = Verifier(good).run()
    assert not problems, problems
    failed = 0
    for words, name, broken in FAULTS:
        problems = Verifier(broken(GOOD.copy())).run()
        if not any(words in p for p in problems):
            print(f"FAIL: {name}: no {words!r} among {problems}")
            failed += 1
    check_older_heads(good)
    check_tree()
    check_files(good)
    print(f"{len(FAULTS)} faults, {failed} not seen")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
