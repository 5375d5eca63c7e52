"""Looks for a secret in what other processes have: their memory, their environment and arguments, and
files. scan_memory.py SECRET-FILE PID|FILE...: prints where it is, a line each, and how much was looked
at; exit status 1 when it was found anywhere, 2 when something could not be looked at."""

import os
import sys

STEP = 1 << 20
NOTHING = bytes(STEP)  # most of the sanitizers' memory
SKIP = 1 << 32  # the shadow memory of the sanitizers: reserved, not used


def variants(secret):
    """The secret as it is, in hexadecimal, and with two or four octets a character."""
    text = secret.decode("ascii")
    return {secret, text.encode("utf-16-le"), text.encode("utf-32-le"), secret.hex().encode(),
            secret.hex().upper().encode()}  # fmt: skip


def found(read, wanted, end=None):
    """Whether one of them is in what read(offset, length) gives, looked at in steps that overlap;
    and how many octets that were."""
    overlap = max(map(len, wanted)) - 1
    at, tail = 0, b""
    while end is None or at < end:
        octets = read(at, STEP if end is None else min(STEP, end - at))
        if not octets:
            break
        block = tail + octets
        if octets != NOTHING and any(w in block for w in wanted):
            return True, at
        tail = octets[-overlap:]
        at += len(octets)
    return False, at


def process(pid, wanted):
    places, total = [], 0
    for part in ("environ", "cmdline"):
        with open(f"/proc/{pid}/{part}", "rb") as f:
            text = f.read()
            if any(w in text for w in wanted):
                places.append(part)
    with open(f"/proc/{pid}/maps", encoding="utf-8") as f:
        maps = f.read().splitlines()
    memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY)
    for line in maps:
        span, mode, *rest = line.split(None, 5)
        begin, end = (int(x, 16) for x in span.split("-"))
        if mode[0] != "r" or end - begin > SKIP or rest[-1:] in (["[vvar]"], ["[vsyscall]"]):
            continue

        def read(offset, length):
            try:
                return os.pread(memory, length, begin + offset)
            except OSError:
                return b""  # it is gone meanwhile, or a device

        is_there, size = found(read, wanted, end - begin)
        total += size
        if is_there:
            places.append(line)
    os.close(memory)
    return places, total


def file(path, wanted):
    with open(path, "rb") as f:
        is_there, size = found(lambda _, length: f.read(length), wanted)
    return [path] if is_there else [], size


def main():
    with open(sys.argv[1], "rb") as f:
        wanted = variants(f.read().rstrip(b"\n"))
    status = 0
    for what in sys.argv[2:]:
        try:
            places, size = process(what, wanted) if what.isdigit() else file(what, wanted)
        except OSError as e:
            print(f"{what}: {e}")
            status = 2
            continue
        print(f"{what}: {size >> 10} KB", *places, sep="\n  ")
        if size == 0 and what.isdigit():
            print("  nothing could be read")
            status = 2
        status = status or (1 if places else 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
