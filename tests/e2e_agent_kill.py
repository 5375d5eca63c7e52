#!/usr/bin/python3
"""Kills dcsign agent at every moment.

First at each system call that changes a file or talks to the service, one after the other (strace
delivers SIGKILL there), for a first credential and for a renewal: what is in place afterwards must be
whole, and one more run must finish the renewal with the one credential that the service released
for it. Then at random moments while it rotates credentials of two seconds, with a reader that must
never see anything but a whole set.
"""

import base64
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

try:
    from cryptography.hazmat.primitives import serialization
except ImportError:
    print("skipped: /usr/bin/python3 has no cryptography (Debian: python3-cryptography)")
    sys.exit(77)

BUILD = os.environ.get("TOP_BUILDDIR", os.getcwd())
SOURCE = os.environ.get("TOP_SRCDIR", os.path.join(os.path.dirname(__file__), ".."))
DCSIGN = os.path.join(BUILD, "src", "client", "dcsign")
CALLS = (
    "write fsync rename renameat symlinkat mkdirat unlinkat flock sendto connect "
    "vfork clone clone3 wait4"
).split()
KILLS = int(os.environ.get("DCSIGN_KILLS", "60"))


class Fake:
    """fakes/service.py in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        script = os.path.join(SOURCE, "tests", "fakes", "service.py")
        self.process = subprocess.Popen(
            ["/usr/bin/python3", script, folder], stdout=subprocess.PIPE, text=True
        )
        self.url = "https://localhost:" + self.process.stdout.readline().split()[1]

    def released(self):
        try:
            with open(os.path.join(self.folder, "released"), encoding="utf-8") as f:
                return f.read().splitlines()
        except FileNotFoundError:
            return []

    def stop(self):
        self.process.kill()
        self.process.wait()


def configure(fake, lifetime, reload=True):
    with open(os.path.join(fake.folder, "agent.conf"), "w", encoding="utf-8") as f:
        f.write(
            """service main { url = { "%s" }
                ca = ca.pem
                certificate = client.pem
                private_key = client.key }
            credential edge { service = main
                key = www
                output = dc
                formats = { raw, fizz }
                lifetime = %s
                %s }
            """
            % (
                fake.url,
                lifetime,
                'reload_command = { /bin/sh, "-c", "cat dc/credential.dc >told" }'
                if reload
                else "",
            )
        )


def read_set(folder):
    """What a careful server does: opens .current once and the files below it. None: no set."""
    try:
        fd = os.open(os.path.join(folder, "dc", ".current"), os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        files = {}
        for name in ("credential.dc", "key.pem", "chain.pem", "fizz.pem", "credential.json"):
            with open(os.open(name, os.O_RDONLY, dir_fd=fd), "rb") as f:
                files[name] = f.read()
        return files
    finally:
        os.close(fd)


def public(pem):
    return (
        serialization.load_pem_private_key(pem, None)
        .public_key()
        .public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )


def must_be_whole(files):
    dc = files["credential.dc"]
    answer = json.loads(files["credential.json"])
    length = int.from_bytes(dc[6:9], "big")
    assert base64.b64decode(answer["credential"]) == dc, "credential.dc is of another set"
    assert answer["chain"].encode() == files["chain.pem"], "chain.pem is of another set"
    assert public(files["key.pem"]) == dc[9 : 9 + length], "key.pem is of another set"
    assert base64.b64encode(dc) in files["fizz.pem"], "fizz.pem is of another set"


def run(fake, *before):
    environment = dict(os.environ)
    if before:  # the leak checker does not work under ptrace
        environment["ASAN_OPTIONS"] = environment.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    return subprocess.run(
        [*before, DCSIGN, "agent", "-c", "agent.conf", "--once"],
        cwd=fake.folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def make_due(fake):
    path = os.path.join(fake.folder, "dc", ".current", "agent.json")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    with open(path, "w", encoding="utf-8") as f:
        f.write(re.sub(r'"renew_at": \d+', '"renew_at": 1', text))


def strace_works():
    if not shutil.which("strace"):
        return "strace is missing (Debian: strace)"
    tried = subprocess.run(
        ["strace", "-qq", "-o", "/dev/null", "/bin/true"], capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else "strace may not trace here"


def kill_at(fake, call, number, first):
    """Kills a run at its number-th call of this name. False: it has no so many."""
    where = "%s %d" % (call, number)
    if first:
        shutil.rmtree(os.path.join(fake.folder, "dc"), ignore_errors=True)
    else:
        make_due(fake)
    before = read_set(fake.folder)
    released = len(fake.released())
    inject = "inject=%s:signal=KILL:when=%d" % (call, number)
    killed = run(fake, "strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=" + call, "-e", inject)
    files = read_set(fake.folder)
    assert files is not None or before is None, where + ": the set is gone"
    if files is not None:
        must_be_whole(files)
    if killed.returncode == 0:
        return False
    # the reload command may be what was killed: then the agent says so
    agent_killed = killed.returncode == -signal.SIGKILL
    assert agent_killed or "was not told" in killed.stdout, (where, killed.stdout)
    again = run(fake)
    assert again.returncode == 0, "%s: %s" % (where, again.stdout)
    files = read_set(fake.folder)
    must_be_whole(files)
    assert before is None or files["key.pem"] != before["key.pem"], where + ": not renewed"
    count = len(fake.released()) - released
    assert count == 1, "%s: %d credentials were released for one renewal" % (where, count)
    with open(os.path.join(fake.folder, "told"), "rb") as f:
        assert f.read() == files["credential.dc"], where + ": the server was not told"
    for name, octets in files.items():
        with open(os.path.join(fake.folder, "dc", name), "rb") as f:
            assert f.read() == octets, "%s: the link %s" % (where, name)
    left = set(os.listdir(os.path.join(fake.folder, "dc")))
    assert ".reload" not in left and ".pending" not in left, (where, left)
    sets = [name for name in left if name.startswith(".set-")]
    assert len(sets) <= 2, (where, sets)
    return True


def kill_at_each_call(fake, first):
    """Returns how many moments there were."""
    moments = 0
    for call in CALLS:
        number = 1
        while kill_at(fake, call, number, first):
            number += 1
        moments += number - 1
    return moments


def kill_at_random(fake, count, seed):
    """Returns (sets seen by the reader, reads)."""
    chance = random.Random(seed)
    end = threading.Event()
    seen, wrong, reads = set(), [], [0]

    def watch():
        while not end.is_set():
            try:
                files = read_set(fake.folder)
                if files is not None:
                    must_be_whole(files)
                    seen.add(files["key.pem"])
                    reads[0] += 1
            except Exception as e:  # pylint: disable=broad-except
                wrong.append(repr(e))
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    longest = 0.6
    kills = 0
    while kills < count or (len(seen) < 3 and longest < 60):
        if kills >= count:
            longest *= 2  # a busy machine: an agent's life was too short for a renewal
        agent = subprocess.Popen(
            [DCSIGN, "agent", "-c", "agent.conf"],
            cwd=fake.folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(chance.uniform(0.02, longest))
        agent.kill()
        agent.wait()
        kills += 1
    end.set()
    watcher.join()
    assert not wrong, "%d of the reads went wrong: %s" % (len(wrong), wrong[:3])
    return len(seen), reads[0]


def main():
    folder = tempfile.mkdtemp()
    fake = Fake(folder)
    try:
        why = strace_works()
        if why:
            print("the kill at each system call is skipped:", why)
        else:
            configure(fake, "1000s")
            for first in (True, False):
                moments = kill_at_each_call(fake, first)
                assert moments > 20, "only %d moments: does strace see the calls?" % moments
                what = "the first credential" if first else "a renewal"
                print("%s: killed at each of %d calls" % (what, moments), flush=True)
        configure(fake, "2s", reload=False)
        seed = int(os.environ.get("DCSIGN_SEED", str(random.randrange(1 << 32))))
        print("random kills, DCSIGN_SEED=%d" % seed, flush=True)
        sets, reads = kill_at_random(fake, KILLS, seed)
        assert sets >= 3, "the agent rotated only %d sets" % sets
        print("%d kills, %d sets, %d reads: every one whole" % (KILLS, sets, reads))
        keys = [line.split()[0] for line in fake.released()]
        assert len(keys) == len(set(keys)), "one Idempotency-Key, two credentials"
    finally:
        fake.stop()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
