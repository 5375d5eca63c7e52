"""Requests with more than one meaning, hostile TLS and hostile JSON against a real dcsignd-api.

tests/ABUSE.md says which test stands for which kind of abuse.
"""
import base64
import json
import os
import random
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from functools import partial

from api_fixture import (CLIENT, CREDENTIALS, CSR_PEM, DAY, NOW, SPKI, Authority, Case, ask, ec, hashes, main,
                         name, pem, private_pem, read_all, side_by_side, uri, x509)

LONG = os.environ.get("DCSIGN_TESTS") == "long"
BODY = json.dumps({"csr": CSR_PEM}).encode()
GET = b"GET /v1/whoami HTTP/1.1\r\n"
POST = b"POST " + CREDENTIALS.encode() + b" HTTP/1.1\r\n"
HOST = b"Host: x\r\n"
JSON = b"Content-Type: application/json\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CLOSE = b"Connection: close\r\n"


class Strict(Case):
    reach = "tls"  # the listener that is spoken to: "tls", "unix" or "monitor"

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.service.deadline(4000)  # some of these wait for it

    def raw(self):
        return self.service.raw() if self.reach == "tls" else self.service.plain(self.reach)

    def served(self, answer, status):
        """By a route of the API, of which the monitor has none."""
        self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % (404 if self.reach == "monitor" else status)), answer[:300])

    def tearDown(self):
        """Whatever happened, the next client is served."""
        connection = self.service.connect()
        self.assertEqual(ask(connection, "POST", CREDENTIALS, {"csr": CSR_PEM})[0].status, 201)
        connection.close()

    def one(self, octets, pieces=None):
        """Sends octets (or them in pieces), returns all that comes until the connection is closed."""
        with self.raw() as connection:
            try:
                for piece in pieces or [octets]:
                    connection.sendall(piece)
            except (ConnectionError, ssl.SSLError):
                pass  # the service has heard enough
            return read_all(connection)

    def refused(self, octets, status, code="malformed", pieces=None):
        """One answer, of our own making, and then the connection is closed."""
        answer = self.one(octets, pieces)
        self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), (octets[:200], answer[:300]))
        self.assertEqual(len(re.findall(rb"HTTP/1.1 \d\d\d ", answer)), 1, answer)
        head, body = answer.split(b"\r\n\r\n", 1)
        self.assertIn(b"\r\nContent-Type: application/problem+json\r\n", head, answer)
        self.assertIn(b"\r\nConnection: close\r\n", head + b"\r\n", answer)
        problem = json.loads(body)
        self.assertEqual((problem["status"], problem["code"]), (status, code), octets[:200])
        self.assertEqual(problem["request"].encode(), re.search(rb"\r\nX-Request-Id: (\w+)", head)[1])
        self.silent_about_itself(answer)

    def silent_about_itself(self, answer):
        for word in (b"server:", b"microhttpd", b"gnutls", b"dcsignd", b"/usr", b"pkcs", b"ckr_", b"<html",
                     b"0.9.75", self.folder.encode()):
            self.assertNotIn(word, answer.lower())

    def issued(self):
        return int(self.service.tell("issued", "issued "))


class OneMeaning(Strict):
    def test_line_ends(self):
        before = self.issued()
        for octets in (POST.replace(b"\r", b"") + HOST + JSON + LENGTH + b"\r\n" + BODY,
                       (POST + HOST + JSON + LENGTH + b"\r\n").replace(b"\r", b"") + BODY,
                       POST + HOST + JSON + LENGTH + b"\n" + BODY,
                       POST + HOST + JSON.replace(b"\r\n", b"\r") + LENGTH + b"\r\n" + BODY,
                       POST + HOST + JSON.replace(b"\r", b"\r\r") + LENGTH + b"\r\n" + BODY,
                       b"\r\n" + POST + HOST + JSON + LENGTH + b"\r\n" + BODY,
                       b"\n" + POST + HOST + JSON + LENGTH + b"\r\n" + BODY):
            self.refused(octets, 400)
        self.assertEqual(self.issued(), before)

    def test_fields(self):
        for field in (b"X-A: a\r\n folded\r\n", b"X-A: a\r\n\tfolded\r\n", b" X-A: a\r\n", b"X-A : a\r\n",
                      b"X-A\t: a\r\n", b"X-A\r\n", b": a\r\n", b"X A: a\r\n", b"X(A: a\r\n", b"X\xc3\xbc: a\r\n",
                      b"X-A: a\0b\r\n", b"X\0A: a\r\n", b"X-A: \x01\r\n", b"X-A: a\x0bb\r\n", b"X-A: a\x7f\r\n",
                      b"X-A: a\x1b[31m\r\n"):
            self.refused(POST + HOST + JSON + field + LENGTH + b"\r\n" + BODY, 400)
        good = POST + HOST + JSON + b"X-A: \t \xc3\xbc b\t\r\nX-B:\r\n" + LENGTH + CLOSE + b"\r\n" + BODY
        self.served(self.one(good), 201)

    def test_request_lines(self):
        for line in (b"GET  /v1/whoami HTTP/1.1", b"GET /v1/whoami  HTTP/1.1", b" GET /v1/whoami HTTP/1.1",
                     b"GET\t/v1/whoami HTTP/1.1", b"GET /v1/whoami HTTP/1.1 ", b"GET /v1/who ami HTTP/1.1",
                     b"GET /v1/whoami", b"GET", b"/v1/whoami", b"GET /v1/whoami HTTP/1.1 x", b"GET /v1/whoami http/1.1",
                     b"GET /v1/whoami\0 HTTP/1.1", b"GET /v1/whoami\x80 HTTP/1.1", b"GET /v1/\xc0\xafwhoami HTTP/1.1",
                     b"G(T /v1/whoami HTTP/1.1", b"\x80 /v1/whoami HTTP/1.1", b"GET /v1/whoami HTTP/1.11",
                     b"GET /v1/whoami HTTP/11", b"GET /v1/whoami HTP/1.1", b"X" * 33 + b" /v1/whoami HTTP/1.1"):
            self.refused(line + b"\r\n" + HOST + b"\r\n", 400)
        for version in b"HTTP/0.9", b"HTTP/1.2", b"HTTP/2.0", b"HTTP/3.0", b"HTTP/9.9":
            self.refused(b"GET /v1/whoami " + version + b"\r\n" + HOST + b"\r\n", 505, "http_version")
        self.refused(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "http_version")
        self.refused(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + GET + HOST + b"\r\n", 400)
        self.refused(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + b"x" * 12, 400)
        self.refused(b"\x16\x03\x01\x02\0\x01\0", 400)

    def test_hosts(self):
        for fields in b"", HOST + HOST, HOST + b"host: y\r\n":
            self.refused(GET + fields + b"\r\n", 400)
        self.refused(b"GET /v1/whoami HTTP/1.0\r\n\r\n", 400)
        answer = self.one(b"GET /v1/whoami HTTP/1.0\r\n" + HOST + b"\r\n")
        self.served(answer, 200)

    def test_framing(self):
        before = self.issued()
        chunked = b"Transfer-Encoding: chunked\r\n"
        chunks = b"%x\r\n%s\r\n0\r\n" % (len(BODY), BODY)
        for fields in (LENGTH + chunked, chunked + LENGTH, chunked, b"Transfer-Encoding: xchunked\r\n",
                       b"Transfer-Encoding: identity\r\n" + LENGTH, b"Transfer-Encoding: gzip, chunked\r\n",
                       b"Transfer-Encoding:\r\n" + LENGTH, b"transfer-encoding: \x09chunked\r\n",
                       chunked + b"TE: trailers\r\nTrailer: X-A\r\n", LENGTH + LENGTH,
                       LENGTH + b"Content-Length: 3\r\n", b"Content-Length: %d, %d\r\n" % (len(BODY), len(BODY))):
            bodies = BODY, chunks + b"\r\n", chunks + b"X-Trailer: a\r\n\r\n", chunks.replace(b"\r\n", b";x=y\r\n", 1)
            side_by_side(*(partial(self.refused, POST + HOST + JSON + fields + b"\r\n" + body, 400) for body in bodies))
        # an endless chunk, and one whose length overflows, are refused before they come
        for size in b"ffffffffffffffff", b"1" * 400, b"7fffffffffffffff;" + b"x" * 5000:
            self.refused(POST + HOST + JSON + chunked + b"\r\n" + size + b"\r\n" + b"x" * 20000, 400)
        for length in (b"-1", b"+3", b"3,3", b"0x10", b"3 3", b"", b"1e2", b"3.0", b"\xd9\xa3", b"9" * 19, b"1" + b"0" * 30,
                       b"18446744073709551615", b"9223372036854775808", b"\x003"):
            self.refused(POST + HOST + JSON + b"Content-Length: " + length + b"\r\n\r\n" + BODY, 400)
        self.refused(GET + HOST + b"Content-Length: 3\r\n\r\nabc", 400)
        self.assertEqual(self.issued(), before)

    def test_smuggling(self):
        """What stands after a refused head is never read as a request."""
        before = self.issued()
        second = POST + HOST + JSON + LENGTH + b"\r\n" + BODY
        for first in (POST + HOST + JSON + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                      GET + HOST + b"Content-Length: 0\nX: y\r\n\r\n", GET + HOST + b"X : y\r\n\r\n"):
            self.refused(first + second, 400)
        self.assertEqual(self.issued(), before)
        # one octet more than Content-Length says belongs to the next request, and spoils it
        answer = self.one(POST + HOST + JSON + LENGTH + b"\r\n" + BODY + b"\n" + second)
        self.assertEqual(re.findall(rb"HTTP/1.1 (\d+) ", answer), [b"404"] if self.reach == "monitor" else [b"201", b"400"])
        self.assertEqual(self.issued(), before + (self.reach != "monitor"))

    def test_lengths(self):
        for length in 16385, 196609, 1 << 31, 1 << 40, 999999999999999999:
            self.refused(POST + HOST + JSON + b"Content-Length: %d\r\n\r\n" % length, 413, "body_too_large")
        batch = POST.replace(b" HTTP", b"/batch HTTP") + HOST + JSON
        self.refused(batch + b"Content-Length: 196609\r\n\r\n", 413, "body_too_large")
        items = json.dumps({"requests": [{"csr": CSR_PEM}]}).encode()
        for octets in items, items + b" " * (196608 - len(items)):
            answer = self.one(batch + b"Content-Length: %d\r\n" % len(octets) + CLOSE + b"\r\n" + octets)
            self.served(answer, 200)
        whole = BODY + b" " * (16384 - len(BODY))
        answer = self.one(POST + HOST + JSON + b"Content-Length: 16384\r\n" + CLOSE + b"\r\n" + whole)
        self.served(answer, 201)

    def test_large_heads(self):
        head = GET + HOST + CLOSE + b"X-A: "
        room = 16384 - len(head) - 4
        self.served(self.one(head + b"y" * room + b"\r\n\r\n"), 200)
        for octets in (head + b"y" * (room + 1) + b"\r\n\r\n", head + b"y" * 65536 + b"\r\n\r\n", head + b"y" * 1000000,
                       GET + HOST + b"X: y\r\n" * 70 + b"\r\n", GET + HOST + b"X: y\r\n" * 2000 + b"\r\n"):
            self.refused(octets, 431, "headers_too_large")
        for octets in b"GET /" + b"a" * 65536 + b" HTTP/1.1\r\n" + HOST + b"\r\n", b"GET /" + b"a" * 300000:
            self.refused(octets, 414, "target_too_long")
        self.refused(b"GET /" + b"a" * 600 + b" HTTP/1.1\r\nHost: x\r\n" + HOST + b"\r\n", 400)

    def test_routes(self):
        """The target as it came, octet by octet: nothing is decoded, joined or cut."""
        known = [b"/v1/whoami", b"/v1/keys", b"/v1/keys/www", b"/v1/keys/www/certificate", b"/openapi.yaml"]
        for target in known:
            self.assertTrue(self.one(b"GET " + target + b" HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
                            .startswith(b"HTTP/1.1 200 "), target)

        def not_known(target):
            middle = target.rindex(b"/")
            for other in (target + b"/", target + b"?", target + b"%00", target + b";x", target + b"#x", target + b"%20",
                          target + b"?a=b", b"/" + target, target.replace(b"/", b"//"), target.replace(b"/", b"\\"),
                          target[:middle] + b"/." + target[middle:], target[:middle] + b"/x/.." + target[middle:],
                          target[:middle] + b"/%2e%2e" + target[middle:], target.replace(b"w", b"%77"), target.upper(),
                          target.replace(b"/v1", b"/%761"), b"http://x" + target, b"https://x" + target, target[1:],
                          target.replace(b"/", b"%2f"), target + b"%c0%80", b"/v1/.." + target):
                if other in known:
                    continue
                answer = self.one(b"GET " + other + b" HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
                self.assertTrue(answer.startswith(b"HTTP/1.1 404 "), (other, answer[:200]))
                self.silent_about_itself(answer)

        side_by_side(*(partial(not_known, target) for target in known))
        for target in b"*", b"x:443":
            answer = self.one(b"OPTIONS " + target + b" HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 404 "), answer[:200])

    def test_key_names(self):
        connection = self.service.connect()
        for key in ("../x", "a/b", "", "%2e", "%00", "www%00", "WWW", "w.w", "w*", "www$", "a" * 64, "a" * 65, "a" * 1000,
                    "w\\u0077w", "'", "www'--", "$(id)", "..", "."):
            for method, end in ("GET", ""), ("GET", "/certificate"), ("POST", "/credentials"), ("POST", "/hold"):
                answer = ask(connection, method, "/v1/keys/%s%s" % (key, end), {"csr": CSR_PEM} if method == "POST" else None)
                if key == "" and end == "":
                    self.assertEqual(answer[0].status, 404)
                self.assertIn(answer[0].status, (404, 405) if key in ("", ".") else (404,), (key, end))
                if answer[0].getheader("Connection") == "close":
                    connection.close()
        connection.close()

    def test_methods(self):
        for method in b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH", b"get", b"Get", b"BREW", b"M-SEARCH":
            answer = self.one(method + b" /v1/whoami HTTP/1.1\r\n" + HOST + CLOSE + b"\r\n")
            self.assertTrue(answer.startswith(b"HTTP/1.1 405 "), (method, answer[:200]))
            self.assertIn(b"\r\nAllow: GET\r\n", answer)
            self.silent_about_itself(answer)

    def test_cut_into_records(self):
        """However a request is cut, it is the same request; and so is one that is refused."""
        whole = POST + HOST + JSON + LENGTH + CLOSE + b"\r\n" + BODY
        for size in 1, 7, len(whole) - 1:
            pieces = [whole[i:i + size] for i in range(0, len(whole), size)]
            self.served(self.one(b"", pieces), 201)
        bad = (POST + HOST + b"X-A: a\r\n b\r\n" + LENGTH + b"\r\n")
        self.refused(bad, 400, pieces=[bad[i:i + 1] for i in range(len(bad))])

    def test_pipelining(self):
        """In order, each with its own answer; a bad one among them is the last."""
        before = self.issued()
        single = POST + HOST + JSON + LENGTH + b"\r\n" + BODY
        count = 1000 if LONG else 200
        answers = []
        with self.raw() as connection:
            reader = threading.Thread(target=lambda: answers.append(read_all(connection)))
            reader.start()
            for _ in range(count // 20):
                connection.sendall(single * 20)
            connection.sendall(GET + HOST + b"\r\n" + GET + HOST + b"X : y\r\n\r\n" + single)
            reader.join(200)
        answer = answers[0]
        self.assertEqual(re.findall(rb"HTTP/1.1 (\d+) ", answer), [b"201"] * count + [b"200", b"400"])
        numbers = [int(n, 16) for n in re.findall(rb'"id":"([0-9a-f]{32})"', answer)]
        self.assertEqual(numbers, list(range(before + 1, before + count + 1)))
        self.assertEqual(len(set(re.findall(rb"X-Request-Id: (\w+)", answer))), count + 2)

    def test_ends(self):
        """A reset or a half close in the middle of a request."""
        for stop in 10, len(POST), len(POST + HOST + JSON + LENGTH) + 20:
            connection = self.raw()
            connection.sendall((POST + HOST + JSON + LENGTH + b"\r\n" + BODY)[:stop])
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            half = self.raw()
            half.sendall((POST + HOST + JSON + LENGTH + b"\r\n" + BODY)[:stop])
            half.shutdown(socket.SHUT_WR)
            self.assertNotIn(b" 201 ", read_all(half))
            half.close()

    def test_identity_is_not_in_headers(self):
        fields = b"".join(b"%s: reader\r\n" % n for n in (
            b"X-SSL-Client-Cert", b"X-SSL-Client-S-DN", b"X-Client-Cert", b"X-Client-Id", b"X-Forwarded-For", b"Forwarded",
            b"X-Real-IP", b"X-Forwarded-Client-Cert", b"Client-Cert", b"Authorization", b"Remote-User", b"X-Original-URL",
            b"X-HTTP-Method-Override"))
        answer = self.one(GET + HOST + fields + CLOSE + b"\r\n")
        body = json.loads(answer.split(b"\r\n\r\n", 1)[1])
        self.assertEqual(body["client"], "api-local" if self.reach == "unix" else "edge")
        self.assertRegex(body["peer"], r"^unix$" if self.reach == "unix" else r"^127\.0\.0\.1:\d+$")


class OneMeaningUnix(OneMeaning):
    """The same where there is no TLS."""
    reach = "unix"
    test_key_names = None


class OneMeaningMonitor(OneMeaning):
    """The same, but for what only routes of the API can answer."""
    reach = "monitor"
    test_key_names = test_lengths = test_routes = test_methods = test_pipelining = None
    test_identity_is_not_in_headers = None

    def test_pages_in_a_row(self):
        """In order, though they come in one piece and a bad one is the last."""
        with self.raw() as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\n" + HOST + b"\r\n")
            time.sleep(0.1)
            connection.sendall((b"GET /healthz HTTP/1.1\r\n" + HOST + b"X-A: " + b"y" * 3000 + b"\r\n\r\n") * 100 +
                               GET + HOST + b"X : y\r\n\r\n" + GET)
            answer = read_all(connection)
        self.assertEqual(re.findall(rb"HTTP/1.1 (\d+) ", answer), [b"200"] * 101 + [b"400"])


class Json(Strict):
    """Bodies of one meaning: strict JSON, plain integers, one form of base64."""

    def bodies(self, cases, status=400, code="malformed"):
        connection = self.service.connect()
        for body in cases:
            answer = ask(connection, "POST", CREDENTIALS, body if isinstance(body, bytes) else body.encode())
            self.problem(answer, status, code)
        connection.close()

    def test_structures(self):
        csr = '"csr":%s' % json.dumps(CSR_PEM)
        before = self.issued()
        self.bodies(["[" * 8000, '{"a":' * 3000, "[" * 8000 + "]" * 8000, "{%s,\"x\":%s}" % (csr, "[" * 5000 + "]" * 5000),
                     "{%s}{%s}" % (csr, csr), "{%s}\0" % csr, "{%s}," % csr, "{%s,}" % csr, "{%s /* */}" % csr, "{%s,'role':1}" % csr,
                     "{" + ",".join('"m%d":0' % i for i in range(1500)) + "}", '{%s,"\\u0063sr":""}' % csr, '{%s,"CSR":""}' % csr,
                     '{%s,"__proto__":{}}' % csr, '{%s,"":1}' % csr, '{"csr":[%s]}' % json.dumps(CSR_PEM), '{"csr":{}}', '"x"', "true",
                     '{%s,"reference":"\\ud800"}' % csr, '{%s,"reference":"\\udc00\\ud800"}' % csr, '{%s,"reference":"a\tb"}' % csr,
                     b'{"reference":"\xc0\xaf"}', b'{"reference":"\xed\xa0\x80"}', b'{"reference":"\xf4\x90\x80\x80"}',
                     b'{"csr":"' + b"A" * 16000 + b'"}', b"\xff\xfe{\0}\0", b"\xef\xbb\xbf{}"])
        self.assertEqual(self.issued(), before)

    def test_numbers(self):
        csr = '"csr":%s' % json.dumps(CSR_PEM)
        before = self.issued()
        self.bodies(['{%s,"lifetime":%s}' % (csr, n) for n in (
            "3600.0", "36e2", "-0", "-1", "0", "01", '"3600"', "true", "null", "9223372036854775808", "1e999", "NaN", "Infinity",
            "+1", "0x10", "1.", ".5", "3600e0", "-9223372036854775808", "18446744073709551616", "[3600]", "{}", "00", "-0.0")])
        self.assertEqual(self.issued(), before)
        connection = self.service.connect()
        for n in 1, 3600, (1 << 31) - 1, 1 << 31, 1 << 32, (1 << 63) - 1:
            self.assertEqual(ask(connection, "POST", CREDENTIALS, '{%s,"lifetime":%d}' % (csr, n))[0].status, 201)
            self.assertIn(" value=%d " % n, self.service.tell("last", "last "))  # policy is the hsm's
        connection.close()

    def test_base64_and_pem(self):
        good = base64.b64encode(SPKI).decode()
        self.assertTrue(good.endswith("="), "the test needs a padded form")
        flipped = good.rstrip("=")[:-1] + {"A": "B"}.get(good.rstrip("=")[-1], "B") + "=" * (len(good) - len(good.rstrip("=")))
        cases = [good.rstrip("="), good + "=", good + "\n", " " + good, good[:20] + "\n" + good[20:], good + "AAAA=", "====",
                 good.replace("+", "-").replace("/", "_") if "+" in good or "/" in good else good[:-4] + "-_==", flipped[:-1]]
        self.bodies([json.dumps({"public_key": c}) for c in cases])
        lines = CSR_PEM.splitlines()
        self.bodies([json.dumps({"csr": c}) for c in (
            "\n".join(lines[:-1]), CSR_PEM + CSR_PEM, "x\n" + CSR_PEM, CSR_PEM + "x", CSR_PEM.replace("\n", ""),
            CSR_PEM.replace("REQUEST", "REQUESTS"), CSR_PEM.replace("\n", "\r\n", 2), CSR_PEM.replace("CERTIFICATE", "PUBLIC KEY"))])


def signed(authority, builder, algorithm=None):
    return builder.sign(authority.key, algorithm or hashes.SHA256())


class Tls(Strict):
    """Who is let in, and what TLS itself may cost."""

    def certificate(self, label, key=None, issuer=None, usage=CLIENT, names=(uri("spiffe://t/edge"),), start=-DAY, end=DAY,
                    algorithm=None, authority=False):
        issuer = issuer or self.pki.ca
        key = key or ec.generate_private_key(ec.SECP256R1())
        builder = (x509.CertificateBuilder().subject_name(name(label)).issuer_name(issuer.name).public_key(key.public_key())
                   .serial_number(x509.random_serial_number()).not_valid_before(NOW + start).not_valid_after(NOW + end)
                   .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True))
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        self.pki.save(label, builder.sign(issuer.key, algorithm or hashes.SHA256()), key)

    def outside(self, label, chain=()):
        """Refused in the handshake, or at the latest before anything is answered but 403."""
        if chain:
            self.pki.write(label + ".pem", "".join([pem(self.pki.certificates[label])] + [pem(c) for c in chain]))
        try:
            with self.service.raw(label) as connection:
                connection.sendall(GET + HOST + CLOSE + b"\r\n")
                answer = read_all(connection)
        except (ssl.SSLError, ConnectionError):
            return
        self.assertTrue(answer == b"" or answer.startswith(b"HTTP/1.1 403 "), (label, answer[:200]))

    def test_certificates(self):
        from cryptography.hazmat.primitives.asymmetric import rsa
        before = self.issued()
        alone = Authority("edge")
        self.certificate("self-signed", issuer=alone, key=alone.key)
        self.outside("self-signed")
        self.certificate("tomorrow", start=DAY, end=2 * DAY)
        self.outside("tomorrow")
        self.certificate("server-only", usage=[x509.oid.ExtendedKeyUsageOID.SERVER_AUTH])
        self.outside("server-only")
        self.certificate("short-rsa", key=rsa.generate_private_key(65537, 1024))
        try:
            self.outside("short-rsa")
        except ssl.SSLError:
            pass  # not even our own library takes it
        try:
            self.certificate("sha1", algorithm=hashes.SHA1())
            self.outside("sha1")
        except Exception as e:  # a library that can't sign so any more
            self.assertIn("SHA1", str(e).upper().replace("-", ""))
        self.pki.save("the-ca", self.pki.ca.certificate, self.pki.ca.key)
        self.outside("the-ca")
        # signed by an authority that the client CA did not make one: a chain over a leaf
        edge = Authority("edge-as-ca")
        self.certificate("edge-as-ca", key=edge.key, authority=False)
        self.certificate("below", issuer=edge)
        self.outside("below", [self.pki.certificates["edge-as-ca"]])
        self.assertEqual(self.issued(), before)

    def test_sizes(self):
        """Chains and names without end: refused, and the service lives."""
        self.certificate("many-names", names=[x509.DNSName("n%05d.example" % i) for i in range(10000)])
        self.outside("many-names")
        above, chain = self.pki.ca, []
        for i in range(100):
            below = Authority("ca %d" % i)
            builder = (x509.CertificateBuilder().subject_name(below.name).issuer_name(above.name)
                       .public_key(below.key.public_key()).serial_number(i + 1).not_valid_before(NOW - DAY)
                       .not_valid_after(NOW + DAY).add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True))
            chain.insert(0, signed(above, builder))
            above = below
        self.certificate("deep", issuer=above)
        self.outside("deep", chain)

    def test_old_protocols(self):
        def hello(version, rest=b""):
            body = version + os.urandom(32) + b"\0" + b"\0\x04\xc0\x2f\0\x2f" + b"\x01\0" + rest
            body = b"\x01" + struct.pack(">I", len(body))[1:] + body
            return b"\x16\x03\x01" + struct.pack(">H", len(body)) + body

        for octets in (hello(b"\x03\0"), hello(b"\x03\x01"), hello(b"\x03\x02"), hello(b"\x03\x03"),
                       b"\x80\x2e\x01\0\x02\0\x15\0\0\0\x10" + b"\x07\0\xc0" * 7 + os.urandom(16),
                       b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + hello(b"\x03\x03"), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
                       b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 100, b"SSH-2.0-x\r\n"):
            with socket.create_connection(("127.0.0.1", self.service.port), timeout=60) as plain:
                plain.sendall(octets)
                answer = read_all(plain)
            self.assertNotIn(b"HTTP", answer)
            self.assertTrue(answer == b"" or answer[0] == 21, answer[:50])  # nothing but an alert

    def test_mutated_handshakes(self):
        """A ClientHello with octets changed at random: never an answer, never a crash."""
        context = self.service.context()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        with self.assertRaises(ssl.SSLWantReadError):
            client.do_handshake()
        hello = outgoing.read()
        dice = random.Random(1)
        for _ in range(5000 if LONG else 150):
            octets = bytearray(hello)
            for _ in range(dice.randrange(1, 4)):
                octets[dice.randrange(5, len(octets))] = dice.randrange(256)
            if dice.random() < 0.2:
                del octets[dice.randrange(len(octets)):]
            with socket.create_connection(("127.0.0.1", self.service.port), timeout=60) as plain:
                plain.sendall(octets)
                plain.shutdown(socket.SHUT_WR)
                self.assertNotIn(b"HTTP", read_all(plain))

    def test_small_and_empty_records(self):
        with self.service.raw() as connection:
            for octet in GET + HOST + CLOSE + b"\r\n":
                connection.send(bytes([octet]))
            self.assertTrue(read_all(connection).startswith(b"HTTP/1.1 200 "))

    def test_key_updates(self):
        """A flood of KeyUpdate messages ends the connection, or is slow work for who sends it."""
        if shutil.which("openssl") is None:
            self.skipTest("openssl is missing")
        process = subprocess.Popen(
            ["openssl", "s_client", "-connect", "127.0.0.1:%d" % self.service.port, "-cert", self.pki.path("edge.pem"), "-key",
             self.pki.path("edge.key"), "-tls1_3"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        sent = 0
        try:
            time.sleep(0.5)
            for sent in range(6000):  # the library counts them by the second
                process.stdin.write(b"K\n")
                process.stdin.flush()
                time.sleep(0.005)
                if process.poll() is not None:
                    break
            process.wait(60)
        except BrokenPipeError:
            pass
        finally:
            process.kill()
            process.wait()
            try:
                process.stdin.close()
            except BrokenPipeError:
                pass
        self.assertLess(sent, 5999, "6000 KeyUpdates in a row were taken")

    def test_no_tickets_no_early_data(self):
        if shutil.which("openssl") is None:
            self.skipTest("openssl is missing")
        text = subprocess.run(
            ["openssl", "s_client", "-connect", "127.0.0.1:%d" % self.service.port, "-cert", self.pki.path("edge.pem"), "-key",
             self.pki.path("edge.key"), "-tls1_3", "-ign_eof", "-sess_out", self.pki.path("session")],
            input=(GET + HOST + CLOSE + b"\r\n"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60).stdout
        self.assertIn(b"HTTP/1.1 200", text)
        self.assertNotIn(b"New Session Ticket arrived", text)
        self.assertNotIn(b"Max Early Data: 1", text)
        self.assertFalse(os.path.exists(self.pki.path("session")), "a session could be kept")


if __name__ == "__main__":
    main()
