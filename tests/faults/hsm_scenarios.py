"""What a module can do wrong while the service works, one scenario after the other over the same
service: every request is answered in time, nothing bad is released (the reconciler looks at that
afterwards), and the service recovers by itself."""

import os
import signal
import sys
import time

from hsm_service import LONG, MARGIN, SOON, Failed, Service, check, statuses, witness

SIGN_TIMEOUT = 2.0
DEADLINE = 4.0
SCENARIOS = []


def scenario(f):
    SCENARIOS.append(f)
    return f


def by_name(f):
    """Only when it is asked for: it needs a service that is configured for it."""
    f.by_name = True
    return scenario(f)


def recovers(s, *rules, requests=3, allowed=(201, 503, 504)):
    """Some requests under the rules, then none of them: how long until all keys issue."""
    s.rules(*rules)
    results = s.load(1, requests)
    check(all(r[0] in allowed for r in results), f"{rules}: {statuses(results)}")
    s.rules()
    return s.healthy(), results


@scenario
def busy_burst(s):
    s.rules("C_Sign rv=0x6 pct=30")
    results = s.load(4, 60)
    count = statuses(results)
    # 97.3 % of them, if three attempts are made; two would be 91 %
    check(count.get(201, 0) > 0.92 * len(results), f"busy in 30 of 100: {count}")
    s.rules("C_SignInit rv=0x90 count=2")
    check(s.issue()[0] == 201, "the third attempt succeeds")
    s.rules("C_Sign rv=0x6")
    before = len(witness("C_Sign"))
    check(s.issue()[0] == 503, "busy for ever")
    check(len(witness("C_Sign")) - before <= 3 + 1, "more than three attempts")
    s.rules()
    return f"{count.get(201, 0)} of {len(results)} at 30 % busy, {s.healthy():.2f} s"


@scenario
def session_invalid_once(s):
    pid = s.child()
    s.rules("C_Sign rv=0xb3 count=1")
    check(s.issue()[0] == 201, "a fresh session cures it")
    s.rules("C_SignInit rv=0xb3 count=1")
    check(s.issue()[0] == 201, "a fresh session cures it")
    check(s.child() == pid, "the process was replaced for nothing")


@scenario
def sessions_dropped(s):
    return f"{recovers(s, 'C_SignInit closeall count=1')[0]:.2f} s"


@scenario
def login_lost(s):
    return f"{recovers(s, 'C_SignInit logout count=1')[0]:.2f} s"


@scenario
def device_errors(s):
    times = []
    for code in ("0x30", "0x32", "0xe0", "0x5", "0x31", "0x80000123"):
        times.append(recovers(s, f"C_Sign rv={code} count=1")[0])
        times.append(recovers(s, f"C_Sign rv={code} count=20", requests=8)[0])
    return f"at most {max(times):.2f} s"


@scenario
def late_error(s):
    took, results = recovers(s, "C_Sign late=0x30 count=1")
    check(201 != results[0][0], "a signature that was reported as failed left")
    return f"{took:.2f} s"


@scenario
def every_bit(s):
    s.rules("C_Sign flip count=512")
    results = s.load(4, 128)
    check(statuses(results).get(201, 0) == 0, f"a damaged signature was used: {statuses(results)}")
    s.rules()
    return f"{len(results)} damaged, none used, {s.healthy():.2f} s"


@scenario
def wrong_signatures(s):
    for rule in ("length=0", "length=1", "length=63", "length=65", "length=512", "replay", "foreign",
                 "zero-r", "zero-s", "big-r", "big-s", "other-octets"):  # fmt: skip
        check(s.issue()[0] == 201, "before")
        s.rules(f"C_Sign {rule} count=1")
        status = s.issue()[0]
        check(status in (503, 504), f"{rule}: {status}")
        s.rules()
        s.healthy()


@scenario
def process_dies(s):
    times = []
    for action in ("crash", "abort", "exit", "exit=75"):
        s.healthy()
        s.rules(f"C_Sign {action} count=1")
        check(s.issue()[0] in (503, 504), action)
        s.rules()
        times.append(s.healthy())
    return f"at most {max(times):.2f} s, after four crashes in a row"


@scenario
def killed(s):
    """kill -9 of the process that holds the keys, after a second's life: born again at once."""
    times = []
    for _ in range(3):
        s.healthy()
        time.sleep(1.2)
        check(s.kill() is not None, "no dcsignd-hsm")
        times.append(s.healthy())
    return ", ".join(f"{t:.2f} s" for t in times)


@scenario
def rude_module(s):
    """Writes to stdout, takes over signals, changes folder, umask and locale."""
    pid = s.child()
    s.rules("* stdout pct=20", "* signals", "* surroundings")
    check(statuses(s.load(2, 20)) == {201: 40}, "a rude module")
    check(s.child() == pid, "the process was lost")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + SOON
    while s.child() == pid and time.monotonic() < deadline:
        time.sleep(0.02)
    check(s.child() != pid, "SIGTERM does not end it any more")
    s.rules()
    return f"{s.healthy():.2f} s"


@scenario
def leaks(s):
    """The probe sees a process that has grown too large, and it is replaced."""
    pid = s.child()
    s.rules("C_Sign leak=20480 count=40")
    results = s.load(4, 15)
    check(set(statuses(results)) <= {201, 503, 504}, f"{statuses(results)}")
    s.rules()
    deadline = time.monotonic() + SOON
    while s.child() == pid and time.monotonic() < deadline:
        time.sleep(0.05)
    check(s.child() != pid, "the process was not replaced")
    return f"800 MB: {statuses(results)}, {s.healthy():.2f} s"


@scenario
def descriptors_leak(s):
    """The same with descriptors."""
    pid = s.child()
    s.rules(*["C_Sign leakfd"] * 60)
    results = s.load(4, 20)
    check(set(statuses(results)) <= {201, 503, 504}, f"{statuses(results)}")
    s.rules()
    deadline = time.monotonic() + SOON
    while s.child() == pid and time.monotonic() < deadline:
        time.sleep(0.05)
    check(s.child() != pid, "the process was not replaced")
    return f"{statuses(results)}, {s.healthy():.2f} s"


@scenario
def operation_left_open(s):
    """C_Sign fails and leaves its operation open: that session signs nothing any more."""
    s.rules("C_Sign stuck=0x6 count=3")
    results = s.load(2, 4)
    check(set(statuses(results)) <= {201, 503} and statuses(results).get(201, 0) >= 6, f"{statuses(results)}")
    s.rules("C_Sign stuck=0x30 count=1")
    check(s.issue()[0] in (503, 504), "a broken device")
    s.rules()
    return f"{s.healthy():.2f} s"


@scenario
def unusual_returns(s):
    """Success without a signature, codes that C_Sign can't have, lengths that no signature has."""
    for rule in ("rv=0", "rv=0x150", "rv=0x200", "rv=0xffffffffffffffff", "rv=0x7fffffff", "rv=0x191",
                 "length=1024", "length=1025", "length=4294967296", "length=18446744073709551615"):  # fmt: skip
        s.rules(f"C_Sign {rule} count=1")
        status = s.issue()[0]
        check(status in (201, 503, 504), f"{rule}: {status}")
        check(status != 201 or rule.startswith("rv=0x"), f"{rule}: {status}")
        s.rules()
        s.healthy()


@scenario
def one_hung(s):
    """One hung C_Sign of many costs its request alone."""
    s.healthy()
    quiet = sorted(r[2] for r in s.load(4, 30))
    pid = s.child()
    s.rules("C_Sign hang count=1")
    results = s.load(8, 20)
    count = statuses(results)
    check(count == {201: 159, 504: 1}, f"one of 160 hangs: {count}")
    lost = next(r for r in results if r[0] == 504)
    check(lost[2] < DEADLINE + MARGIN, f"its answer took {lost[2]:.2f} s")
    others = sorted(r[2] for r in results if r[0] == 201)
    time.sleep(2.5 * SIGN_TIMEOUT)
    check(statuses(s.load(4, 10)) == {201: 40}, "the others go on")
    check(s.child() == pid, "the process was replaced for one call")
    s.rules()
    p99 = [x[int(0.99 * len(x))] * 1000 for x in (quiet, others)]
    return f"504 after {lost[2]:.2f} s; p99 of the others {p99[1]:.0f} ms, {p99[0]:.0f} ms without a hang"


@scenario
def half_hung(s):
    """Half of the sessions hang: the process is replaced while the calls still hang."""
    s.healthy()
    pid = s.child()
    s.rules("C_Sign hang count=4")
    begun = time.monotonic()
    results = s.load(8, 10)
    check(statuses(results).get(504, 0) + statuses(results).get(503, 0) >= 4, f"{statuses(results)}")
    took = s.healthy(within=3 * SIGN_TIMEOUT + SOON)
    replaced = time.monotonic() - begun
    check(s.child() not in (pid, None), "the process was not replaced")
    s.rules()
    return f"served by a new process {replaced:.2f} s after the first call hung; {took:.2f} s"


@scenario
def all_hung(s):
    """Whenever the fault ends, every key is served soon after."""
    worst, took = 0, []
    for wait in (0, 0.5, 1, 1.5, 2, 2.5) if LONG else (1,):
        s.healthy()
        s.rules("C_Sign hang")
        results = s.load(8, 2)
        check(set(statuses(results)) <= {503, 504}, f"{statuses(results)}")
        worst = max(worst, *(r[2] for r in results))
        check(worst < DEADLINE + MARGIN, f"an answer took {worst:.2f} s")
        time.sleep(wait)
        s.rules()
        took.append(s.healthy(within=1 if LONG else SOON))
    return f"answers within {worst:.2f} s; serving at most {max(took):.2f} s after the end"


@scenario
def one_key_hangs(s):
    """Every self-test of one key hangs, in all lives of the process: the other key is served."""
    s.healthy()
    s.rules("C_Sign hang octets=32")
    s.kill()
    begun = time.monotonic()  # nobody asks for it, and it comes after the one that hangs
    while s.ready_keys() != {"www": False, "www384": True}:
        check(time.monotonic() - begun < 2 * SIGN_TIMEOUT + SOON, f"/readyz: {s.ready_keys()}")
        time.sleep(0.05)
    took = time.monotonic() - begun
    begun = time.monotonic()
    while time.monotonic() - begun < (30 if LONG else 5) * SIGN_TIMEOUT:
        status, said, _ = s.issue("www384")
        check(status == 201, f"the other key: {status} {said}")
        check(s.issue()[0] in (503, 504), "the key that hangs")
        time.sleep(0.05)
    s.rules()
    return f"the other is served after {took:.2f} s, this one {s.healthy():.2f} s after the end"


@scenario
def hangs_elsewhere(s):
    """In the probe, at start and in looking for keys."""
    times = []
    for fn in ("C_GetTokenInfo", "C_Initialize", "C_FindObjects", "C_GetAttributeValue", "C_Login",
               "C_CloseSession"):  # fmt: skip
        s.rules(f"{fn} hang")
        s.kill()
        time.sleep(0.3)
        status, _, seconds = s.issue()
        check(status in (503, 504) or fn == "C_CloseSession", f"{fn} hangs: {status}")
        check(seconds < DEADLINE + MARGIN, f"{fn} hangs: an answer took {seconds:.2f} s")
        s.rules()
        times.append(s.healthy())
    return f"at most {max(times):.2f} s"


@scenario
def no_more_sessions(s):
    """The token has room for 4 sessions, 8 are configured: nobody is refused."""
    s.rules("C_OpenSession sessions=4", "C_Sign delay=5")
    s.kill()
    s.healthy()
    results = s.load(8, 10)
    check(statuses(results) == {201: 80}, f"{statuses(results)}")
    s.rules()
    s.kill()
    return f"{s.healthy():.2f} s"


@by_name
def sixteen_sessions(s):
    """The token has room for 16 sessions, 24 are configured, with 48 workers: nobody is refused."""
    s.rules("C_OpenSession sessions=16", "C_Sign delay=20")
    s.kill()
    s.healthy()
    before = len([line for line in witness("C_OpenSession") if "rv=0xb1" in line])
    results = s.load(48, 10)
    check(statuses(results) == {201: 480}, f"{statuses(results)}")
    refused = len([line for line in witness("C_OpenSession") if "rv=0xb1" in line]) - before
    check(0 < refused < 48, f"C_OpenSession was refused {refused} times")
    s.kill()  # sessions of the dead process are no one's
    return f"480 requests, {refused} C_OpenSession refused, again {s.healthy():.2f} s after a kill"


@scenario
def probe_tells(s):
    """The health probe sees a token that went away, without any request."""
    s.healthy()
    deadline = time.monotonic() + SOON
    while s.ready()[0] != 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    check(s.ready()[0] == 200, "/readyz does not say that the keys are served")
    s.rules("C_GetTokenInfo rv=0xe0")
    deadline = time.monotonic() + SOON
    while s.ready()[0] == 200 and time.monotonic() < deadline:
        time.sleep(0.05)
    status, body = s.ready()
    check(status == 503, f"/readyz says {status} {body} and the token is gone")
    s.rules()
    return f"{s.healthy():.2f} s"


def main():
    s = Service()
    names = sys.argv[1:]
    failed = 0
    s.healthy()
    for f in SCENARIOS:
        if f.__name__ not in names and (names or hasattr(f, "by_name")):
            continue
        begun = time.monotonic()
        try:
            said = f(s)
            print(f"ok   {f.__name__}: {said or ''} [{time.monotonic() - begun:.1f} s]", flush=True)
        except Failed as e:
            failed += 1
            print(f"FAIL {f.__name__}: {e}", flush=True)
            s.rules()
            try:
                s.healthy()
            except Failed as again:
                print(f"     and afterwards: {again}", flush=True)
    s.rules()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
