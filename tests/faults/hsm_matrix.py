"""Every PKCS#11 function that is called x return codes x {once, 3 times, always}. Under the fault and
after it every request is answered in time; once and 3 times heal by themselves, always heals when the
fault ends. A cell whose fault never struck is a failure of the test. What was signed and released the
reconciler looks at afterwards; out/cells tells which cell was when.

hsm_matrix.py SLICE: `short` takes a cell here and there, N/M each M-th cell from the N-th.
hsm_matrix.py FUNCTION [CODE [TIMES]]: these cells alone.
"""

import os
import signal
import subprocess
import sys
import time

from hsm_service import MARGIN, WORK, Failed, Service, check

CODES = {
    "DEVICE_ERROR": 0x30, "DEVICE_REMOVED": 0x32, "TOKEN_NOT_PRESENT": 0xE0,
    "SESSION_HANDLE_INVALID": 0xB3, "USER_NOT_LOGGED_IN": 0x101, "OBJECT_HANDLE_INVALID": 0x82,
    "OPERATION_ACTIVE": 0x90, "FUNCTION_FAILED": 0x6, "GENERAL_ERROR": 0x5, "HOST_MEMORY": 0x2,
    "vendor": 0x80000123,
}  # fmt: skip
TIMES = {"once": 1, "3 times": 3, "always": None}
# When the functions are called: while the process serves, when it starts, when it ends. What a
# serving process does by itself every 5 s takes that long to strike.
SERVING = ("C_OpenSession", "C_CloseSession", "C_SignInit", "C_Sign", "C_GetTokenInfo", "C_GetSessionInfo")
STARTING = (
    "C_GetFunctionList", "C_Initialize", "C_GetInfo", "C_GetSlotList", "C_GetSlotInfo", "C_GetTokenInfo",
    "C_OpenSession", "C_Login", "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal",
    "C_GetAttributeValue", "C_SignInit", "C_Sign",
)  # fmt: skip
ENDING = ("C_CloseSession", "C_CloseAllSessions", "C_Finalize")
PHASES = {"serving": SERVING, "starting": STARTING, "ending": ENDING}
# Sessions are opened and closed when one of them fails.
PROVOKED = {"C_OpenSession": "C_SignInit rv=0xb3 count=1", "C_CloseSession": "C_SignInit rv=0xb3 count=1"}
# A code that does not say that the PIN was not looked at: the login is repeated once, then a person
# has to say that the PIN is right (dcsign keys reset-pin-breaker).
PIN_IN_DOUBT = ("FUNCTION_FAILED", "GENERAL_ERROR", "vendor")
DEADLINE = 2.0
PROBE = 5.0


class Lines:
    """What the witness says, from where it was read last."""

    def __init__(self):
        self.file = open(os.environ["WITNESS"], encoding="utf-8", errors="replace")
        self.rest = ""
        self.called = set()
        self.logins = self.struck = 0

    def skip(self):
        self.look(None)
        self.logins = self.struck = 0

    def look(self, fn):
        text = self.rest + self.file.read()
        *lines, self.rest = text.split("\n")
        for line in lines:
            words = dict(w.split("=", 1) for w in line.split() if "=" in w)
            if "fn" not in words or words.get("ev") == "begin":
                continue
            self.called.add(words["fn"])
            self.logins += words["fn"] == "C_Login"
            self.struck += words["fn"] == fn and "rv" in words.get("did", "").split(",")
        return self.struck


def reset_breaker():
    subprocess.run(
        [os.environ["DCSIGN"], "keys", "reset-pin-breaker", "--state", os.environ["STATE"]],
        check=True, stdout=subprocess.DEVNULL)  # fmt: skip


def request(s):
    status, _, seconds = s.issue()
    check(status in (201, 503, 504), f"answered with {status}")
    check(seconds < DEADLINE + MARGIN, f"an answer took {seconds:.2f} s")
    return status


def strike(s, lines, fn, phase, wanted):
    """Requests until the fault struck so often; a fault that ends the process is followed by another
    process. Returns how often it struck."""
    pid = s.child()
    if phase == "starting":
        s.kill()
    elif phase == "ending":
        os.kill(pid, signal.SIGTERM)
    begun = time.monotonic()
    patience = PROBE + 3 if phase == "serving" else 3
    served = 0
    struck = 0
    # a busy machine takes longer to come to the fault, or to an end
    while time.monotonic() - begun < (60 if struck == 0 or (phase == "ending" and s.child() == pid) else patience):
        served = served + 1 if request(s) == 201 else 0
        struck = lines.look(fn)
        if phase == "ending" and s.child() == pid:
            time.sleep(0.02)
            continue
        if struck >= wanted or (struck > 0 and served >= 3):
            break
        time.sleep(0.02 if struck == 0 else 0.1)
    check(phase != "ending" or s.child() != pid, "it does not end")
    return lines.look(fn)


def cell(s, lines, fn, code, times, phase):
    rules = [PROVOKED[fn]] if phase == "serving" and fn in PROVOKED else []
    count = "" if TIMES[times] is None else f" count={TIMES[times]}"
    lines.skip()
    s.rules(*rules, f"{fn} rv={CODES[code]:#x}{count}")
    for _ in range(3):
        request(s)
    strike(s, lines, fn, phase, TIMES[times] or 3)
    if fn == "C_Login" and code in PIN_IN_DOUBT and times != "once":
        time.sleep(1.2)
        lines.look(fn)
        check(lines.logins <= 2, f"the PIN was tried {lines.logins} times")
        check(request(s) != 201, "served without a login")
        s.rules()
        reset_breaker()
    elif times == "always":
        s.rules()
    took = s.healthy()
    check(lines.look(fn) > 0, "the fault never struck")
    return took


def cells(wanted):
    """(function, code, times, phase) of the cells that are wanted."""
    every = [
        (fn, code, times, phase)
        for phase, functions in PHASES.items()
        for fn in functions
        for code in CODES
        for times in TIMES
    ]
    if wanted == ["short"]:
        # A prime step takes every function, code and time in turn.
        return every[3::37]
    if "/" in wanted[0]:
        n, m = map(int, wanted[0].split("/"))
        return every[n - 1 :: m]
    return [c for c in every if set(wanted) <= set(c)]


def main():
    s = Service()
    lines = Lines()
    s.healthy()
    failed, count, worst = 0, 0, (0, "")
    log = open(f"{WORK}/out/cells", "w", encoding="ascii")
    begun = time.monotonic()
    for fn, code, times, phase in cells(sys.argv[1:] or ["short"]):
        name = f"{fn} {code} {times}, {phase}"
        count += 1
        at = time.monotonic()
        log.write(f"{time.time():.3f} {name}\n")
        log.flush()
        try:
            took = cell(s, lines, fn, code, times, phase)
            worst = max(worst, (took, name))
        except Failed as e:
            failed += 1
            print(f"FAIL {name}: {e}", flush=True)
            s.rules()
            reset_breaker()
            s.healthy()
        if os.environ.get("CELLS"):
            print(f"{name}: struck {lines.struck}, {time.monotonic() - at:.2f} s", flush=True)
    s.rules()
    unknown = lines.called - {fn for functions in PHASES.values() for fn in functions}
    if unknown:
        failed += 1
        print(f"FAIL called, and not in the matrix: {', '.join(sorted(unknown))}")
    print(f"{count} cells in {time.monotonic() - begun:.0f} s, {failed} failed; "
          f"the longest recovery {worst[0]:.2f} s ({worst[1]})")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
