#!/usr/bin/python3
"""Seeded bugs: each patch of tests/faults/mutants is put into a copy of the tree, one at a time, and
the checks that it names must fail then. They must pass without it, so that what fails is the bug.

    mutants.py [--list] [--work FOLDER] [NAME...]

--work keeps the copy and its build in FOLDER: another run there builds only what has changed.
Exit 1 when a bug is not caught, a patch does not apply or does not build, or a check fails anyhow.

The head of a patch, before its first "---" line:

    Bug: one sentence
    Breaks: I2 (tests/INVARIANTS.md)
    Caught by: tests/check_dc [PART]    a case or class of the check; may stand several times
    Needs: other targets of make that the check runs
"""
import argparse
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

TREE = pathlib.Path(os.environ.get("TOP_SRCDIR", pathlib.Path(__file__).resolve().parents[2]))
LEFT_OUT = {".git", ".deps", ".libs", "autom4te.cache", "config.status", "config.log", "settings.h"}
BUILT = (".o", ".a", ".so", ".log", ".trs", ".gcda", ".gcno", ".pyc")
CHECK_SECONDS = 600  # one that hangs has caught the bug, too
TWICE_SECONDS = 20


class Mutant:
    def __init__(self, path):
        self.path, self.name = path, path.stem
        head = path.read_text().split("\n--- ", 1)[0]
        said = re.findall(r"^(Bug|Breaks|Caught by|Needs): (.+)$", head, re.M)
        self.bug = " ".join(text for name, text in said if name == "Bug")
        self.breaks = [i for name, text in said if name == "Breaks" for i in text.split()]
        self.checks = [tuple(text.split()) for name, text in said if name == "Caught by"]
        self.needs = [t for name, text in said if name == "Needs" for t in text.split()]
        if not (self.bug and self.breaks and self.checks):
            sys.exit(f"{path}: needs Bug, Breaks and Caught by")


def mutants(names=()):
    all_of_them = [Mutant(p) for p in sorted((TREE / "tests/faults/mutants").glob("*.patch"))]
    unknown = set(names) - {m.name for m in all_of_them}
    if unknown:
        sys.exit("there is no " + ", ".join(sorted(unknown)))
    return [m for m in all_of_them if not names or m.name in names]


def copy_tree(to):
    """What is the same stays as it is, with its time."""
    for folder, folders, files in os.walk(TREE):
        at = pathlib.Path(folder)
        folders[:] = [f for f in folders if f not in LEFT_OUT and not (at / f / "config.status").exists()]
        (to / at.relative_to(TREE)).mkdir(parents=True, exist_ok=True)
        for name in files:
            if name in LEFT_OUT or name.endswith(BUILT):
                continue
            source, target = at / name, to / at.relative_to(TREE) / name
            if not target.exists() or target.read_bytes() != source.read_bytes():
                shutil.copy2(source, target)
                os.utime(target)


class Copy:
    def __init__(self, work):
        self.tree, self.build = work / "tree", work / "build"
        self.passed = {}
        self.log = open(work / "log", "a")

    def run(self, command, seconds=None, **env):
        """The exit code; a signal or a hang is not 0."""
        p = subprocess.Popen(command, cwd=self.build, env={**os.environ, **env}, stdin=subprocess.DEVNULL,
                             stdout=self.log, stderr=self.log, start_new_session=True)
        try:
            return p.wait(seconds)
        except subprocess.TimeoutExpired:
            return -1
        finally:
            try:
                os.killpg(p.pid, signal.SIGKILL)  # what a check that ended badly left behind
            except ProcessLookupError:
                pass
            p.wait()

    def prepare(self):
        self.build.mkdir(parents=True, exist_ok=True)
        copy_tree(self.tree)
        if not (self.tree / "configure").exists() and self.run(["sh", "-c", f"cd {self.tree} && ./autogen.sh"]):
            sys.exit("autogen.sh fails: see the log")
        if not (self.build / "Makefile").exists() and self.run(
                [str(self.tree / "configure"), "-q", "--enable-test-hooks", "CFLAGS=-O1 -g"]):
            sys.exit("configure fails: see the log")

    def patch(self, mutant, *options):
        return self.run(["patch", "-s", "-p1", "-F0", "-r", "-", "--no-backup-if-mismatch", "-d", str(self.tree), "-i", str(mutant.path), *options])

    def make(self, mutant):
        programs = [c[0] for c in mutant.checks if not c[0].endswith((".sh", ".py"))]
        return self.run(["make", "-s", f"-j{os.cpu_count()}", *programs, *mutant.needs])

    def check(self, check):
        """0: passes."""
        interpreter = {".sh": ["bash"], ".py": ["/usr/bin/python3"]}.get(pathlib.Path(check[0]).suffix)
        command = [*interpreter, str(self.tree / check[0]), *check[1:]] if interpreter else ["./" + check[0]]
        env = {"TOP_SRCDIR": str(self.tree), "TOP_BUILDDIR": str(self.build), "CK_DEFAULT_TIMEOUT": "60"}
        if len(check) > 1:
            env["CK_RUN_CASE"] = check[1]
        return self.run(command, CHECK_SECONDS, **env)

    def survives(self, check):
        """A quick check has to fail twice: what fails by chance has caught nothing."""
        begun = time.monotonic()
        return self.check(check) == 0 or (time.monotonic() - begun < TWICE_SECONDS and self.check(check) == 0)

    def touch(self, mutant):
        """A file that was put back is as new as the one with the bug: make must see that."""
        for name in re.findall(r"^\+\+\+ b/(\S+)", mutant.path.read_text(), re.M):
            os.utime(self.tree / name)

    def judge(self, m):
        """(what became of it, is that good)"""
        if self.make(m):
            return "the tree does not build", False
        for c in m.checks:
            if c not in self.passed:
                self.passed[c] = self.check(c) and self.check(c)  # on a busy machine one may be late
            if self.passed[c] == 77:
                return "skipped: its check can't run here", True
            if self.passed[c]:
                return f"{c[0]} fails without the bug", False
        if self.patch(m, "--dry-run") or self.patch(m):
            return "does not apply", False
        try:
            self.touch(m)
            if self.make(m):
                return "does not build", False
            survived = [c[0] for c in m.checks if self.survives(c)]
            return ("SURVIVED " + " ".join(survived), False) if survived else ("caught", True)
        finally:
            self.patch(m, "-R")
            self.touch(m)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--list", action="store_true", help="only say what there is")
    p.add_argument("--work", type=pathlib.Path)
    p.add_argument("name", nargs="*")
    options = p.parse_args()
    chosen = mutants(options.name)
    if options.list:
        for m in chosen:
            print(f"{m.name}: {m.bug} ({' '.join(m.breaks)}; {', '.join(' '.join(c) for c in m.checks)})")
        return 0
    work = (options.work or pathlib.Path(tempfile.mkdtemp(prefix="dcsign-mutants."))).resolve()
    work.mkdir(parents=True, exist_ok=True)
    copy = Copy(work)
    copy.prepare()
    results = []
    print(f"{'seeded bug':<32} {'breaks':<8} {'check':<30} {'seconds':>7}  result", flush=True)
    for m in chosen:
        begun = time.monotonic()
        said, good = copy.judge(m)
        results.append((said, good))
        print(f"{m.name:<32} {' '.join(m.breaks):<8} {' '.join(m.checks[0]):<30} "
              f"{time.monotonic() - begun:7.1f}  {said}", flush=True)
    caught = sum(said == "caught" for said, _ in results)
    print(f"{caught} of {len(results)} caught")
    if not options.work:
        if all(good for _, good in results):
            shutil.rmtree(work)
        else:
            print(f"the log is {work}/log")
    return 0 if all(good for _, good in results) else 1


sys.exit(main())
