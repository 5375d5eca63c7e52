"""dcsign ledger report, list, export and live on a ledger made here, with names that attack a page or a
spreadsheet: every figure against one counted here from the records. With DCSIGN_TESTS=long the page is
also shown by a headless Chromium (skipped loudly where there is none)."""

import base64
import csv
import datetime
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections import Counter
from html.parser import HTMLParser

import check_flips
import signed_notes
import synthetic
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from synthetic import BEGIN, END, KEYS, NOW, hex256, write_sqlite

EVIL = '</td><script>alert("1")</script><img src=x onerror=alert(2)>\u202egnp.\x01'
FORMULA = '=HYPERLINK("http://192.0.2.1/","a")'
VOID = {"meta", "line", "rect", "path", "br", "img"}
PROGRAM = os.path.join(os.environ.get("TOP_BUILDDIR", "."), "src/ledger/dcsign-ledger")


def tool(*arguments, status=0):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == status, (arguments, done.returncode, done.stdout[:2000], done.stderr)
    return done.stdout


def iso(t):
    return datetime.datetime.fromtimestamp(t, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def town():
    """Three days of issuance by three clients, refusals, a hold."""
    s = synthetic.Set()
    s.records.pop()
    for r in s.records:
        if r["type"] == "CONFIG":
            first = r["config"]["clients"][0]
            r["config"]["clients"] += [{**first, "name": "berlin"}, {**first, "name": "fra"}]
    for n in range(60):
        s.at += 3600 + 700 * (n % 5)
        s.spkis.append(synthetic.DC_KEYS[n % 20])
        more = {"reference": EVIL if n % 2 else FORMULA} if n % 3 == 0 else {}
        a = s.authorise(KEYS[n % 4], generation=synthetic.GENERATION2, lifetime=(600, 7200, 43200, 86400)[n % 4], **more)
        a["record"]["client"] = ("edge", "berlin", "fra")[n % 3]
        s.conclude(a, "ISSUED")
    s.add("REFUSED", client=EVIL, key="www", reason="lifetime_too_long", detail=EVIL, count=17)
    s.add("REFUSED", client="edge", key="www", reason=EVIL, field="lifetime")
    s.add("REFUSED", client="fra", reason="quota")
    s.add("HELD", client="berlin", reason="broken into")
    s.add("STOP")
    return s


class Page(HTMLParser):
    """Tables by id, texts by id, tags and attributes; every tag must be closed in its order."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.tables, self.texts, self.table, self.ids = [], Counter(), {}, {}, None, []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        attributes = dict(attrs)
        for name, value in attributes.items():
            assert not name.startswith("on") and name not in ("src", "href", "xlink:href", "action"), (tag, name, value)
            assert "url(" not in (value or "") and "javascript:" not in (value or ""), (tag, name, value)
        if tag not in VOID:
            self.open.append(tag)
            self.ids.append(attributes.get("id"))
        if tag == "table":
            self.table = self.tables.setdefault(attributes["id"], [])
        elif tag == "tr":
            self.table.append([])
        elif tag in ("td", "th"):
            self.table[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.open and self.open[-1] == tag, (tag, self.open)
        self.open.pop()
        self.ids.pop()

    def handle_data(self, data):
        if "td" in self.open or "th" in self.open:
            self.table[-1][-1] += data
        for name in filter(None, self.ids):
            self.texts[name] = self.texts.get(name, "") + data

    def rows(self, name):
        return [dict(zip(self.tables[name][0], row)) for row in self.tables[name][1:]]


def shown(text):
    """What is left of a text on the page, within its 255 octets."""
    return "".join("\ufffd" if c < " " or c == "\u202e" else c for c in text)


class Truth:
    """Counted from the records, in another way than the program does."""

    def __init__(self, s, now):
        self.records = s.records
        opened = {(r["id"], r["attempt"]): r for r in s.records if r["type"] == "AUTHORISED"}
        self.issued = [(r, opened[r["id"], r["attempt"]]) for r in s.records if r["type"] == "ISSUED"]
        self.live = [(i, a) for i, a in self.issued if i["time"] <= now < a["expiry"]]
        self.refused = [r for r in s.records if r["type"] == "REFUSED"]
        self.types = Counter(r["type"] for r in s.records)

    def holds(self, now):
        found = {}
        for r in self.records:
            name = ", ".join(f"{what} {r[what]}" for what in ("key", "client") if what in r)
            if r["type"] in ("HELD", "RELEASED") and r["time"] <= now:
                found[name] = iso(r["time"]) if r["type"] == "HELD" else None
        return {name: since for name, since in found.items() if since}

    def by(self, member):
        names = {a[member] for _, a in self.issued} | {r[member] for r in self.refused if member in r}
        for name in names:
            live = [a["expiry"] for _, a in self.live if a[member] == name]
            times = [i["time"] for i, a in self.issued if a[member] == name]
            yield shown(name), {
                "Issued": str(len(times)),
                "Refused": str(sum(r.get("count", 1) for r in self.refused if r.get(member) == name)),
                "Newest": iso(max(times)) if times else "",
                "Unexpired": str(len(live)),
                "Until": iso(max(live)) if live else "",
            }


def check_page(text, s, now):
    page, truth = Page(), Truth(s, now)
    page.feed(text)
    page.close()
    assert not page.open, page.open
    assert not {"script", "img", "iframe", "link", "object", "embed", "form", "a", "base"} & set(page.tags), page.tags
    assert "http://" not in text and "https://" not in text and "\u202e" not in text and "\x01" not in text
    assert "default-src 'none'" in text
    for what, member in (("Client", "client"), ("Key", "key")):
        found = {r.pop(what): r for r in page.rows("by-" + member)}
        for r in found.values():
            del r[""]
        assert found == dict(truth.by(member)), (found, dict(truth.by(member)))
    reasons = Counter()
    for r in truth.refused:
        reasons[shown(r["reason"])] += r.get("count", 1)
    assert {r["Reason"]: int(r["Number"]) for r in page.rows("refusals")} == reasons
    assert {r["Type"]: int(r["Number"]) for r in page.rows("types")} == truth.types
    ends = {"to 1 h": 3600, "to 6 h": 21600, "to 12 h": 43200, "to 24 h": 86400, "to 2 d": 172800, "to 4 d": 345600,
            "to 7 d": 604800, "longer": 1 << 62}  # fmt: skip
    left, lifetimes = [a["lifetime_granted"] for _, a in truth.issued], {}
    for name, end in ends.items():
        lifetimes[name] = sum(n <= end for n in left)
        left = [n for n in left if n > end]
    assert {r["Lifetime"]: int(r["Number"]) for r in page.rows("lifetimes")} == lifetimes
    times = [r["time"] for r in s.records]
    assert (page.texts["first"], page.texts["last"]) == (iso(min(times)), iso(max(times)))
    assert int(page.texts["live-count"]) == len(truth.live)
    if truth.live:
        assert page.texts["live-until"] == iso(max(a["expiry"] for _, a in truth.live))
    certificates = {(r["Key"], r["Valid from"], r["Valid to"], r["SHA-256"]) for r in page.rows("certificates")}
    assert certificates == {(k.name, iso(BEGIN), iso(END), hex256(k.der)) for k in KEYS}, certificates
    holds = page.rows("holds") if "holds" in page.tables else []
    assert {r["What is stopped"]: r["Since"] for r in holds} == truth.holds(now) and len(holds) == len(truth.holds(now))
    for name, value in (("records", len(s.records)), ("credentials", len(truth.issued)), ("chains", 1)):
        assert page.texts[name] == str(value), (name, page.texts[name])
    return page


def check_notes(folder):
    """What is not wrong and must be known: a gap between two chains, archived records; what was compared."""
    small = check_flips.Small()
    small.records[-1]["size"] += 5  # more were known than there are
    where, kept, lines = (os.path.join(folder, n) for n in ("small.db", "kept", "archive"))
    small.write(where, small.ledger())
    with open(kept, "w", encoding="utf-8") as f:
        f.write(small.note)
    with open(lines, "w", encoding="utf-8") as f:
        f.write(tool("export", "--ledger", where))
    public = small.first("CHECKPOINT")["public_key"]
    name, kind, key = signed_notes.read_vkey(public)
    other = signed_notes.vkey(name.replace("sign1", "sign2"), kind, key)
    trust = ("--checkpoint", kept, "--verifier-key", public, "--verifier-key", other)

    def report(*arguments, status=0):
        page = Page()
        page.feed(tool("report", "--ledger", where, "--html", "-", *arguments, status=status))
        assert "All is as it must be" in page.texts["verdict"], page.texts["verdict"]
        assert "5 of them, from" in page.texts["notes"] and "are missing for ever" in page.texts["notes"], page.texts
        return page.texts

    assert "kept" not in report()
    texts = report(*trust)
    assert (texts["kept"], texts["trusted"], texts["witnesses"]) == ("1", "2", "0"), texts
    db = sqlite3.connect(where)
    db.execute("UPDATE records SET record = '' WHERE chain = ? AND idx = ?", (small.first("REFUSED")["chain"], small.first("REFUSED")["idx"]))
    db.commit()
    db.close()
    texts = report(*trust, status=3)
    assert texts["archived"] == "1" and "are archived" in texts["notes"], texts
    assert "archived" not in report("--archive", lines)


def check_export(where, s):
    lines = tool("export", "--ledger", where).splitlines()
    assert [json.loads(x) for x in lines] == s.records
    opened = {(r["id"], r.get("attempt")): r for r in s.records if r["type"] in ("AUTHORISED", "SELF-TEST")}
    tests = {r["id"]: r for r in s.records if r["type"] == "SELF-TEST"}

    def of(r, member):
        a = opened.get((r.get("id"), r.get("attempt"))) or tests.get(r.get("id")) or {}
        return r[member] if member in r else a.get(member)

    middle = s.records[len(s.records) // 2]["time"]
    one = next(r["id"] for r in s.records if r["type"] == "FAILED")
    for arguments, wanted in (
        (("--type", "ISSUED"), lambda r: r["type"] == "ISSUED"),
        (("--id", one), lambda r: r.get("id") == one),
        (("--client", "fra"), lambda r: of(r, "client") == "fra"),
        (("--key", "p384", "--type", "LATE"), lambda r: r["type"] == "LATE" and of(r, "key") == "p384"),
        (("--key", "ed"), lambda r: of(r, "key") == "ed"),
        (("--from", iso(middle)), lambda r: r["time"] >= middle),
        (("--to", iso(middle), "--type", "REFUSED"), lambda r: r["time"] < middle and r["type"] == "REFUSED"),
    ):
        found = [json.loads(x) for x in tool("export", "--ledger", where, *arguments).splitlines()]
        assert found == [r for r in s.records if wanted(r)], arguments
        rows = list(csv.DictReader(io.StringIO(tool("export", "--ledger", where, "--csv", *arguments)), strict=True))
        assert [int(r["record"]) for r in rows] == [r["idx"] for r in found], arguments
    rows = list(csv.DictReader(io.StringIO(tool("export", "--ledger", where, "--csv"), newline=""), strict=True))
    for row, r in zip(rows, s.records, strict=True):
        assert row["type"] == r["type"] and row["time"] == iso(r["time"]) and row["client"] == r.get("client", "")
        reference = r.get("reference", "")
        assert row["reference"] == ("'" + reference if reference.startswith("=") else reference), row
    tool("export", "--ledger", where, "--type", "NONE", status=2)


def check_live(where, s, now, folder):
    live = Truth(s, now).live
    key = KEYS[3]
    files = {n: os.path.join(folder, n) for n in ("certificate.der", "dc.pem")}
    with open(files["certificate.der"], "wb") as f:
        f.write(key.der)
    some = base64.b64decode(live[0][1]["spki"])
    with open(files["dc.pem"], "wb") as f:
        f.write(load_der_public_key(some).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    for arguments, wanted in (
        ((), lambda a: True),
        (("--key", "rsa"), lambda a: a["key"] == "rsa"),
        (("--client", "edge"), lambda a: a["client"] == "edge"),
        (("--certificate", files["certificate.der"]), lambda a: a["certificate_sha256"] == hex256(key.der)),
        (("--public-key", files["dc.pem"]), lambda a: a["spki_sha256"] == hex256(some)),
        (("--spki-sha256", hex256(some)), lambda a: a["spki_sha256"] == hex256(some)),
    ):
        truth = [(i["id"], a["expiry"]) for i, a in live if wanted(a)]
        assert truth, arguments
        found = [json.loads(x) for x in tool("live", "--ledger", where, "--at", iso(now), "--json", *arguments).splitlines()]
        assert [(r["id"], r["expiry"]) for r in found] == truth, arguments
        words = tool("live", "--ledger", where, "--at", iso(now), *arguments).splitlines()[-1]
        last = iso(max(expiry for _, expiry in truth))
        assert words == f"{len(truth)} unexpired credentials, the last one until {last}", words
    tool("live", "--ledger", where, "--public-key", "/dev/null", status=2)


def show(page, folder):
    """A picture of the page, as Chromium draws it."""
    browser = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))), None)
    if browser is None:
        print("SKIP: NO CHROMIUM HERE: the page was not shown in a browser")
        return False
    picture = os.path.join(folder, "report.png")
    done = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--hide-scrollbars",
         "--window-size=1100,3600", f"--screenshot={picture}", "file://" + page],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with open(picture, "rb") as f:
        octets = f.read()
    assert octets[:8] == b"\x89PNG\r\n\x1a\n" and octets[16:24] == (1100).to_bytes(4, "big") + (3600).to_bytes(4, "big")
    assert len(octets) > 50000, "the picture is nearly empty"
    dom = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--dump-dom", "file://" + page],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert "<script" not in dom.stdout and "by-client" in dom.stdout
    if keep := os.environ.get("DCSIGN_REPORT_PNG"):
        shutil.copyfile(picture, keep)
    return True


def main():
    s = town()
    s.renumber()
    now = NOW + 40 * 3600
    with tempfile.TemporaryDirectory() as folder:
        where = os.path.join(folder, "ledger.db")
        write_sqlite(where, s.ledger())
        tool("verify", "--ledger", where)
        page = os.path.join(folder, "report.html")
        held = s.first("HELD")["time"]
        for at in (held - 1, held, now, s.at - 3600, s.at, s.at + 86400 * 9):
            tool("report", "--ledger", where, "--html", page, "--at", iso(at))
            with open(page, encoding="utf-8") as f:
                assert "All is as it must be" in check_page(f.read(), s, at).texts["verdict"]
        tool("report", "--ledger", where, "--html", page, "--at", iso(s.at - 3600))
        shown_by = show(page, folder) if os.environ.get("DCSIGN_TESTS") == "long" else None
        check_export(where, s)
        check_live(where, s, s.at - 3600, folder)
        check_notes(folder)
        bad = os.path.join(folder, "bad.db")
        broken = s.copy()
        broken.first("ISSUED")["dc_sha256"] = "11" * 32
        write_sqlite(bad, broken.ledger())
        text = tool("report", "--ledger", bad, "--html", "-", status=1)
        assert "NOT as it must be" in text and "dc_sha256 is not that of dc" in text
        tool("report", "--ledger", where, status=2)
    print(f"{len(s.records)} records; shown in a browser: {shown_by}")
    return 77 if shown_by is False else 0


if __name__ == "__main__":
    sys.exit(main())
