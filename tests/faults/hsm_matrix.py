"""Every PKCS#11 function that is called x return codes x {once, 3 times, always}. Under the fault and
after it every request is answered in time; once and 3 times heal by themselves, always heals when the
fault ends. `short`: a slice of it. What was signed and released the reconciler looks at afterwards."""

import os
import subprocess
import sys
import time

from hsm_service import Failed, Service, check, witness

CODES = {
    "DEVICE_ERROR": 0x30, "DEVICE_REMOVED": 0x32, "TOKEN_NOT_PRESENT": 0xE0,
    "SESSION_HANDLE_INVALID": 0xB3, "USER_NOT_LOGGED_IN": 0x101, "OBJECT_HANDLE_INVALID": 0x82,
    "OPERATION_ACTIVE": 0x90, "FUNCTION_FAILED": 0x6, "GENERAL_ERROR": 0x5, "HOST_MEMORY": 0x2,
    "vendor": 0x80000123,
}  # fmt: skip
# Called while the process serves, and while it starts and ends.
SERVING = ("C_OpenSession", "C_CloseSession", "C_SignInit", "C_Sign", "C_GetTokenInfo", "C_GetSessionInfo")
STARTING = (
    "C_Initialize", "C_GetInfo", "C_GetSlotList", "C_GetSlotInfo", "C_GetTokenInfo", "C_OpenSession",
    "C_Login", "C_FindObjectsInit", "C_FindObjects", "C_FindObjectsFinal", "C_GetAttributeValue",
    "C_SignInit", "C_Sign", "C_CloseSession", "C_CloseAllSessions", "C_Finalize",
)  # fmt: skip
TIMES = {"once": " count=1", "3 times": " count=3", "always": ""}
# A code that does not say that the PIN was not looked at: the login is repeated once, then a person
# has to say that the PIN is right (dcsign keys reset-pin-breaker).
PIN_IN_DOUBT = {"SESSION_HANDLE_INVALID": False, "FUNCTION_FAILED": True, "GENERAL_ERROR": True,
                "vendor": True}  # fmt: skip
DEADLINE = 2.0


def reset_breaker(s):
    subprocess.run(
        [os.environ["DCSIGN"], "keys", "reset-pin-breaker", "--state", os.environ["STATE"]],
        check=True, stdout=subprocess.DEVNULL)  # fmt: skip


def request(s):
    status, _, seconds = s.issue()
    check(status in (201, 503, 504), f"answered with {status}")
    check(seconds < DEADLINE + 1, f"an answer took {seconds:.2f} s")
    return status


def cell(s, fn, code, times, restart):
    s.rules(f"{fn} rv={CODES[code]:#x}{TIMES[times]}")
    if restart:
        s.kill()
    for _ in range(3):
        request(s)
    in_doubt = fn == "C_Login" and PIN_IN_DOUBT.get(code) and times != "once"
    if in_doubt:
        before = len(witness("C_Login"))
        time.sleep(1.2)
        check(len(witness("C_Login")) - before <= 2, "the PIN was tried more than twice")
        check(request(s) != 201, "served without a login")
    if times == "always":
        if not in_doubt:
            time.sleep(0.1)
            for _ in range(3):
                request(s)
        s.rules()
    if in_doubt:
        s.rules()
        reset_breaker(s)
        return s.healthy(within=8)
    return s.healthy(within=8)


def cells(short):
    n = 0
    for restart, functions in ((False, SERVING), (True, STARTING)):
        for fn in functions:
            for code in CODES:
                for times in TIMES:
                    n += 1
                    # A prime step takes every function, code and time in turn.
                    if not short or n % 23 == 3:
                        yield fn, code, times, restart


def main():
    short = sys.argv[1:] != ["all"]
    s = Service()
    s.healthy()
    failed, count, worst = 0, 0, (0, "")
    begun = time.monotonic()
    for fn, code, times, restart in cells(short):
        name = f"{fn} {code} {times}{' at start' if restart else ''}"
        count += 1
        try:
            took = cell(s, fn, code, times, restart)
            worst = max(worst, (took, name))
        except Failed as e:
            failed += 1
            print(f"FAIL {name}: {e}", flush=True)
            s.rules()
            reset_breaker(s)
            s.healthy(within=20)
    s.rules()
    print(f"{count} cells in {time.monotonic() - begun:.0f} s, {failed} failed; "
          f"the longest recovery {worst[0]:.2f} s ({worst[1]})")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
