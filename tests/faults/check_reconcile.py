"""reconcile.py on a consistent run, and on it with every kind of violation planted."""

import os
import subprocess
import sys
import tempfile

import synthetic
import written
from check_verify_ledger import GOOD, authorised, broken_records, change_dc, damage, forge, outcome, too_long
from reconcile import Reconciler, Witness
from synthetic import KEYS, hex256, write_sqlite

FAULTS = []
# What synthetic.configuration has, as a file.
CONFIGURATION = (
    """
# defaults are not said
limits { request_deadline = 3s queue = 12 }
listen "127.0.0.1:443" { certificate = "/server.pem" }
token main { module = "/m.so" uri = "pkcs11:token=x" pin = "file:/pin" environment = { "A=b c", "D={,}" } }
token other { module = "/m.so" uri = "pkcs11:token=y" pin = "file:/pin" }
policy default {
	max_lifetime = 1d
	max_live = 1000
	algorithms = { ecdsa_secp256r1_sha256 }
}
key elsewhere { token = other uri = "pkcs11:object=z" certificate = { "/z.pem" } policy = default }
client stranger { match { uri = "spiffe://x" } may = { issue } keys = { elsewhere } rate = 5/m }
client edge { may = { issue } keys = { """
    + ", ".join(k.name for k in KEYS)
    + " } }\n"
    + "".join(
        f'key {k.name} {{ token = main uri = "pkcs11:object={k.name}" certificate = {{ "/{k.name}.pem" }} policy = default }}\n'
        for k in KEYS
    )
)


def fault(words):
    def add(change):
        FAULTS.append((words, change))
        return change

    return add


def lines_of(s, record):
    """Where the witness has the C_Sign of an attempt: begin and end."""
    key = next(k for k in KEYS if k.name == record["key"])
    tbs = bytes.fromhex(record["tbs_sha256"])
    if key.code == 0x0403:
        return [i for i, line in enumerate(s.witness) if f"in={tbs.hex()} " in line]
    raise ValueError("only for P-256")


# ---- what the key may do ----


@fault("I2: C_Decrypt was called 1 times; nothing may ever call it")
def decrypted(s):
    s.call("C_Decrypt", "s=1")


@fault("I2: C_DecryptInit was called")
def decryption_was_tried(s):
    s.witness.append("t=1800000900.0 pid=100 tid=100 fn=C_DecryptInit s=1 rv=0x68")


for forbidden in ("C_UnwrapKey", "C_DeriveKey", "C_WrapKey", "C_SignRecover", "C_SignUpdate", "C_CopyObject",
                  "C_SetAttributeValue", "C_GenerateKeyPair", "C_CreateObject", "C_DestroyObject"):  # fmt: skip

    @fault(f"I2: {forbidden} was called")
    def forbidden_call(s, name=forbidden):
        s.call(name, "s=1")


@fault("I2: C_SignInit with mechanism 0x3, 1 times")
def raw_rsa(s):
    s.call("C_SignInit", "s=1 mech=0x3 key=8")


def sign(s, octets, key=KEYS[0], mechanism=None):
    mechanism = mechanism or synthetic.MECHANISMS[key.code]
    who = f"pid=100 tid=100 fn=C_Sign s=1 mech=0x{mechanism:x} key={key.handle} in={octets.hex()}"
    s.witness.append(f"t=1800000900.0 {who} ev=begin")
    s.witness.append(f"t=1800000900.1 {who} rv=0x0 len=64 sig={'ab' * 32}")


@fault("I2: C_Sign over octets that no record announces: 1 times")
def signed_in_secret(s):
    sign(s, b"x" * 32)


@fault("I2: C_Sign over octets that no record announces: 1 times")
def signed_in_secret_and_killed(s):
    sign(s, b"x" * 32)
    s.witness.pop()


@fault("not hashed: 1 times")
def signed_without_hashing(s):
    key = KEYS[0]
    tbs = synthetic.po.tbs(0, key.der, 0, 0x0403, synthetic.DC_KEYS[-1], key.code)
    sign(s, tbs, key)


@fault("I2: C_Sign with mechanism 0x1057 over the octets of")
def signed_with_another_mechanism(s):
    octets = bytes.fromhex(authorised(s)["tbs_sha256"])
    sign(s, octets, KEYS[0], 0x1057)


@fault("I2: C_Sign over octets that no record announces")
def sixty_three_spaces(s):
    r = authorised(s)
    key = KEYS[0]
    tbs = synthetic.po.tbs(0, key.der, r["valid_time"], 0x0403, synthetic.base64.b64decode(r["spki"]), key.code)
    for i in lines_of(s, r):
        s.witness[i] = s.witness[i].replace(r["tbs_sha256"], hex256(tbs[1:]))


@fault("I17: handle 2 of pid 100 signed for p384 and www")
def one_handle_for_two_keys(s):
    s.witness = [line.replace("key=4", "key=2") for line in s.witness]


def number_again(s):
    """No fault: the second process gets the number of the first, and other handles."""
    s.witness = [line.replace("key=2", "key=4") if "pid=200" in line else line for line in s.witness]
    s.witness = [line.replace("pid=200", "pid=100").replace("tid=200", "tid=100") for line in s.witness]


# ---- one to one ----


@fault("I3: 2 C_Sign over the octets of")
def signed_twice(s):
    for i in lines_of(s, authorised(s)):
        s.witness.append(s.witness[i])


@fault("I3: 3 C_Sign over the octets of")
def twins_signed_three_times(s):
    digests = [r["tbs_sha256"] for r in s.records if r["type"] == "AUTHORISED" and r["attempt"] == 1]
    twin = next(d for d in digests if digests.count(d) == 2)
    s.witness += [line for line in s.witness if f"in={twin} " in line][:2]


@fault("has a credential, and there was no C_Sign for it")
def not_signed(s):
    for i in reversed(lines_of(s, authorised(s))):
        del s.witness[i]


@fault("I2: C_Sign over octets that no record announces")
def not_authorised(s):
    r = authorised(s)
    s.records = [x for x in s.records if x.get("id") != r["id"]]


@fault("I2: C_Sign over octets that no record announces")
def a_self_test_without_record(s):
    test = s.first("SELF-TEST", key="rsa")
    s.records = [x for x in s.records if x.get("id") != test["id"]]


@fault("I3: AUTHORISED")
def left_open(s):
    assert [r["type"] for r in s.records[-3:]] == ["AUTHORISED", "ISSUED", "STOP"]
    del s.records[-2:]


@fault("has the outcome ISSUED already")
def two_outcomes(s):
    issued = outcome(s)
    s.records.insert(issued["idx"] + 1, {k: issued[k] for k in ("chain", "time", "id", "attempt")}
                     | {"type": "FAILED", "reason": "timeout"})  # fmt: skip


@fault("I1: C_Sign at")
def signed_before_it_was_decided(s):
    for i in lines_of(s, authorised(s)):
        s.witness[i] = "t=1700000000.0 " + s.witness[i].split(" ", 1)[1]


# ---- what was released ----


@fault("I6: the signature of")
def another_signature_than_the_modules(s):
    for i in lines_of(s, authorised(s)):
        s.witness[i] = s.witness[i].split(" sig=")[0] + (" sig=" + "ab" * 32 if " rv=" in s.witness[i] else "")


@fault("I6: the signature of")
def issued_though_c_sign_failed(s):
    for i in lines_of(s, authorised(s)):
        s.witness[i] = s.witness[i].replace("rv=0x0", "rv=0x30")


@fault("its signature does not verify")
def a_bad_signature_was_issued(s):
    change_dc(outcome(s), damage)


@fault("I1: client/forged: a client got a credential that is in no record")
def a_client_has_what_nobody_issued(s):
    octets = s.clients[0][2]
    s.clients.append(("client/forged", None, octets[:-1] + bytes([octets[-1] ^ 1])))


@fault("in no record")
def released_without_outcome(s):
    issued = outcome(s)
    issued.update(type="UNKNOWN")
    del issued["dc"], issued["dc_sha256"]


@fault("I1: client/late: a client got a credential that is LATE or of a self-test")
def a_late_one_was_released(s):
    s.clients.append(("client/late", None, synthetic.base64.b64decode(s.first("LATE")["dc"])))


@fault("a client got a credential that is LATE or of a self-test")
def a_self_test_was_released(s):
    s.clients.append(("client/test", None, synthetic.base64.b64decode(s.first("KEY-PROVED")["dc"])))


@fault("the client was told the id")
def another_id_was_told(s):
    path, _, octets = s.clients[0]
    s.clients[0] = (path, s.clients[1][1], octets)


# ---- policy, generation, PIN, witness ----

FAULTS.append(("I5: sign1/main", too_long))


@fault("I5: sign1/main")
def issued_on_hold(s):
    s.first("HELD")["key"] = "www"


@fault("I15: sign1/main 1: a configuration that nobody wrote")
def a_limit_of_its_own(s):
    s.first("CONFIG")["config"]["policies"][0]["max_live"] = 1001


@fault("a configuration that nobody wrote")
def a_right_of_its_own(s):
    s.first("CONFIG", generation=synthetic.GENERATION2)["config"]["clients"][0]["may"].append("release")


@fault("a configuration that nobody wrote")
def a_client_is_missing(s):
    s.first("CONFIG")["config"]["clients"].clear()


@fault("I1: clients kept none of")
def nothing_of_the_clients(s):
    s.clients.clear()


@fault("I15: ")
def another_generation(s):
    authorised(s)["generation"] = "99" * 32


@fault("I5: sign1/main")
def at_the_end_of_the_certificate(s):
    r = authorised(s)
    forge(s, r, now=synthetic.END - 3600, expiry=synthetic.END)


@fault("I11: 2 failed C_Login, 1 allowed")
def the_wrong_pin_twice(s):
    s.witness += [f"t=1800000900.{n} pid=100 tid=100 fn=C_Login s=1 rv=0xa0" for n in (1, 2)]


@fault("I2: witness: C Sign: session 5 is used by thread 7")
def the_module_complained(s):
    s.witness.append("t=1800000900.0 pid=1 tid=1 note=C_Sign:_session_5_is_used_by_thread_7")


@fault("I2: witness: line")
def a_torn_line(s):
    s.witness[-1] = "t=1800000900.0 pid=1 tid=1 f"


@fault("I2: witness: a C_Sign of pid 100 ended that never began")
def an_end_without_a_beginning(s):
    del s.witness[lines_of(s, authorised(s))[0]]


def witness_of(s, folder):
    path = os.path.join(folder, "witness")
    with open(path, "w") as f:
        f.write("".join(line + "\n" for line in s.witness))
    witness = Witness()
    witness.read(path)
    return witness


def violations(s, folder, ledger=None):
    configurations = [written.parse(CONFIGURATION)]
    return Reconciler(ledger or s.ledger(), witness_of(s, folder), configurations=configurations).run(s.clients)


def check_program(folder):
    """The program itself, with files, as a test calls it."""
    program = os.path.join(os.path.dirname(os.path.abspath(__file__)), "reconcile.py")
    bad = GOOD.copy()
    signed_in_secret(bad)
    for case, s, torn, changed in (
        ("good", GOOD, "", ""),
        ("bad", bad, "", ""),
        ("torn", GOOD, '{"id":"x","cred', ""),
        ("changed", GOOD, "", "policy more { }"),
    ):
        path = os.path.join(folder, case)
        os.makedirs(path + "/clients")
        witness_of(s, path)
        write_sqlite(path + "/ledger.db", s.ledger())
        for n, (_, name, octets) in enumerate(s.clients):
            with open(f"{path}/clients/{n}.dc", "wb") as f:
                f.write(octets)
            with open(f"{path}/clients/{n}.json", "w") as f:
                f.write(f'{{"id":"{name}","credential":"{synthetic.b64(octets)}"}}')
        if torn:
            with open(path + "/clients/torn.json", "w") as f:
                f.write(torn)
        with open(path + "/conf", "w") as f:
            f.write(CONFIGURATION + changed)
        args = ["--ledger", path + "/ledger.db", "--witness", path + "/witness", "--clients", path + "/clients"]
        args += ["--configuration", path + "/conf"]
        done = subprocess.run([sys.executable, program, *args], capture_output=True, text=True, check=False)
        assert done.returncode == (case != "good"), (done.stdout, done.stderr)
        violations = {"good": 0, "changed": 2}.get(case, 1)  # changed: each CONFIG record
        want = f"{2 * len(s.clients) + bool(torn)} at clients: {violations} violations"
        assert want in done.stdout, done.stdout


def main():
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        found = violations(GOOD, folder)
        assert not found, found
        reborn = GOOD.copy()
        number_again(reborn)
        found = violations(reborn, folder)
        assert not found, found
        for words, change in FAULTS:
            s = GOOD.copy()
            ledger = broken_records(s, change)
            found = violations(s, folder, ledger)
            if not any(words in v for v in found):
                print(f"FAIL: {change.__name__}: no {words!r} among {found}")
                failed += 1
        check_program(folder)
    print(f"{len(FAULTS)} violations planted, {failed} not seen")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
