"""A real dcsignd-api between strangers and a stand-in for the other processes (api_parent.c)."""
import base64
import datetime
import hashlib
import http.client
import ipaddress
import json
import os
import re
import shutil
import socket
import ssl
import tempfile
import threading
import time
import unittest

from api_fixture import (CLIENT, CREDENTIALS, CSR, CSR_PEM, DAY, NOW, READ, SOURCE, SPKI, Authority, Case, Pki,
                         Service, ask, hashes, main, pem, read_all, serialization, uri, wait_until, x509)


class Answers(Case):
    """What the service says to a client that it knows."""

    def setUp(self):
        self.connection = self.service.connect()
        self.addCleanup(self.connection.close)

    def test_credential(self):
        response, body = ask(self.connection, "POST", CREDENTIALS,
                             {"csr": CSR_PEM, "lifetime": 3600, "reference": "T-1 ü"})
        self.assertEqual(response.status, 201, body)
        self.assertEqual(set(body), {
            "id", "key", "role", "algorithm", "signature_algorithm", "credential", "not_before",
            "not_after", "valid_time", "public_key_sha256", "certificate_sha256", "chain", "warnings",
            "ledger"})
        self.assertEqual(set(body["ledger"]), {"chain", "index", "leaf_hash", "checkpoint"})
        self.assertEqual(base64.b64decode(body["credential"]), b"not really a credential")
        self.assertEqual((body["key"], body["role"], body["algorithm"], body["signature_algorithm"]),
                         ("www", "server", "ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384"))
        self.assertEqual(body["not_before"], "2030-03-17T17:46:40Z")
        self.assertEqual(body["chain"], pem(self.pki.www) + pem(self.pki.ca.certificate))
        self.assertEqual(body["certificate_sha256"],
                         self.pki.www.fingerprint(hashes.SHA256()).hex())
        self.assertRegex(response.getheader("X-Request-Id"), "^[0-9a-f]{32}$")
        self.assertIsNone(response.getheader("Server"))
        self.assertIsNone(response.getheader("Idempotency-Replayed"))
        self.assertEqual(response.getheader("Cache-Control"), "no-store")

        told = dict(re.findall(r"(\w+)=(\S*)", self.service.tell("last", "last ")))
        edge = self.pki.certificates["edge"]
        spki = edge.public_key().public_bytes(serialization.Encoding.DER,
                                              serialization.PublicFormat.SubjectPublicKeyInfo)
        self.assertEqual(told["client"], "edge")
        self.assertEqual(told["sha256"], edge.fingerprint(hashes.SHA256()).hex())
        self.assertEqual(told["spki"], hashlib.sha256(spki).hexdigest())
        self.assertEqual(int(told["serial"], 16), edge.serial_number)
        self.assertEqual(told["peer"], "127.0.0.1:%d" % self.connection.sock.getsockname()[1])
        self.assertEqual((told["key"], told["proof"], told["term"], told["value"]),
                         ("www", "1", "1", "3600"))
        self.assertEqual(int(told["spki_len"]),
                         len(CSR.public_bytes(serialization.Encoding.DER)))
        self.assertEqual(told["request"], response.getheader("X-Request-Id"))
        self.assertTrue(0 < int(told["deadline"]) <= 10000)

    def test_raw_and_replayed(self):
        response, body = ask(self.connection, "POST", CREDENTIALS,
                             {"public_key": base64.b64encode(SPKI).decode(), "role": "client"},
                             Accept="application/octet-stream", Idempotency_Key="abc-1")
        self.assertEqual((response.status, body), (201, b"not really a credential"))
        self.assertEqual(response.getheader("Content-Type"), "application/octet-stream")
        self.assertEqual(response.getheader("Idempotency-Replayed"), "true")
        told = self.service.tell("last", "last ")
        self.assertIn("idempotency=abc-1", told)
        self.assertIn("role=1 ", told)
        self.assertIn("proof=0 spki_len=%d" % len(SPKI), told)

    def test_dry_run(self):
        response, body = ask(self.connection, "POST", CREDENTIALS + "?dry_run=true", {"csr": CSR_PEM})
        self.assertEqual((response.status, body["allowed"], body["dry_run"]), (200, True, True))
        self.assertNotIn("credential", body)
        self.assertEqual([r["rule"] for r in body["rules"] if r["passed"]],
                         ["client", "key", "public_key", "algorithm", "own_key", "certificate", "role",
                          "proof_of_possession", "not_before", "lifetime", "certificate_end", "hold",
                          "idempotency", "key_shared", "max_live"])
        self.assertIn("86400 s", body["rules"][9]["detail"])
        self.assertIn("dry=1 ", self.service.tell("last", "last "))

    def test_batch(self):
        good = {"csr": CSR_PEM, "lifetime": 3600}
        items = [good, {"csr": CSR_PEM, "ttl": 1}, dict(good, reference="refuse"), good, "x"]
        self.service.tell("refusal lifetime_too_long")
        response, body = ask(self.connection, "POST", CREDENTIALS + "/batch", {"requests": items},
                             Idempotency_Key="b")
        self.assertEqual((response.status, set(body)), (200, {"results", "chain"}))
        self.assertEqual([r.get("code") for r in body["results"]],
                         [None, "malformed", "lifetime_too_long", None, "malformed"])
        self.assertEqual(body["chain"], pem(self.pki.www) + pem(self.pki.ca.certificate))
        self.assertNotIn("chain", body["results"][0])
        self.assertNotEqual(body["results"][0]["id"], body["results"][3]["id"])
        told = self.service.tell("last", "last ")
        self.assertIn("count=3 ", told)
        self.assertIn("idempotency=b/0 ", told)
        response, body = ask(self.connection, "POST", CREDENTIALS + "/batch?dry_run=true",
                             {"requests": items})
        self.assertEqual([r.get("allowed") for r in body["results"]], [True, None, False, True, None])
        self.assertEqual(ask(self.connection, "POST", CREDENTIALS + "/batch",
                             {"requests": ["x"]})[1]["results"][0]["code"], "malformed")
        full = ask(self.connection, "POST", CREDENTIALS + "/batch", {"requests": [good] * 256})
        self.assertEqual((full[0].status, len({r["id"] for r in full[1]["results"]})), (200, 256))
        for bad in {}, {"requests": []}, {"requests": [good] * 257}, {"requests": [good], "x": 1}:
            self.problem(ask(self.connection, "POST", CREDENTIALS + "/batch", bad), 400, "malformed",
                         "requests")
        # the head alone is refused: what follows may not be taken from us any more
        self.problem(ask(self.connection, "POST", CREDENTIALS + "/batch", " ",
                         Content_Length="196609"), 413, "body_too_large")
        self.connection.close()
        self.problem(ask(self.connection, "POST", CREDENTIALS, " " * 16385), 413, "body_too_large")
        self.connection.close()
        # each takes one of the client's 3 a minute
        slow = self.service.connect("batcher")
        response, body = ask(slow, "POST", CREDENTIALS + "/batch", {"requests": [good] * 5})
        self.assertEqual([r.get("status") for r in body["results"]], [None, None, None, 429, 429])
        self.assertIn(body["results"][3]["retry_after"], range(10, 21))
        self.problem(ask(slow, "POST", CREDENTIALS, good), 429, "rate_limited")
        slow.close()

    def test_refused_by_hsm(self):
        self.service.tell("refusal lifetime_too_long")
        self.service.tell("mode refuse")
        self.addCleanup(self.service.tell, "mode answer")
        body = self.problem(ask(self.connection, "POST", CREDENTIALS, {"csr": CSR_PEM}), 422,
                            "lifetime_too_long", "lifetime")
        self.assertEqual(body["detail"], "as the test asked for")
        response, body = ask(self.connection, "POST", CREDENTIALS + "?dry_run=true", {"csr": CSR_PEM})
        self.assertEqual((response.status, body["allowed"], body["code"], body["field"]),
                         (200, False, "lifetime_too_long", "lifetime"))
        self.service.tell("refusal ledger_unavailable")
        for query in "", "?dry_run=true":
            answer = ask(self.connection, "POST", CREDENTIALS + query, {"csr": CSR_PEM})
            self.problem(answer, 503, "ledger_unavailable")
            self.assertEqual(answer[0].getheader("Retry-After"), "1")

    def test_keys(self):
        response, body = ask(self.connection, "GET", "/v1/keys")
        self.assertEqual(response.status, 200)
        self.assertEqual([k["key"] for k in body["keys"]], ["www"])
        response, key = ask(self.connection, "GET", "/v1/keys/www")
        self.assertEqual(key, body["keys"][0])
        self.assertEqual(set(key), {"key", "health", "signature_algorithm", "certificate", "policy",
                                    "live", "hold"})
        self.assertEqual(key["health"], {"served": True})
        self.assertEqual(key["live"], 7)
        self.assertEqual(key["policy"]["max_lifetime"], 86400)
        self.assertEqual(key["certificate"]["sha256"],
                         self.pki.www.fingerprint(hashes.SHA256()).hex())
        self.assertEqual(int(key["certificate"]["serial"], 16), self.pki.www.serial_number)
        self.assertEqual(key["certificate"]["subject"], "CN=www.example")

    def test_certificate(self):
        response, body = ask(self.connection, "GET", "/v1/keys/www/certificate")
        self.assertEqual(response.status, 200)
        self.assertEqual(body.decode(), pem(self.pki.www) + pem(self.pki.ca.certificate))
        self.assertEqual(response.getheader("Content-Type"), "application/pem-certificate-chain")
        etag = response.getheader("ETag")
        self.assertEqual(etag, '"%s"' % hashlib.sha256(body).hexdigest())
        response, body = ask(self.connection, "GET", "/v1/keys/www/certificate", If_None_Match=etag)
        self.assertEqual((response.status, body, response.getheader("ETag")), (304, b"", etag))
        response, body = ask(self.connection, "GET", "/v1/keys/www/certificate",
                             If_None_Match='"0"')
        self.assertEqual(response.status, 200)

    def test_whoami(self):
        response, body = ask(self.connection, "GET", "/v1/whoami")
        self.assertEqual((response.status, body["client"], body["rights"], body["keys"]),
                         (200, "edge", ["issue"], ["www"]))
        self.assertEqual(body["limits"], {"rate": None, "max_live": None, "live": 3})
        self.assertEqual(body["certificate"]["sha256"],
                         self.pki.certificates["edge"].fingerprint(hashes.SHA256()).hex())

    def test_openapi(self):
        response, body = ask(self.connection, "GET", "/openapi.yaml")
        with open(os.path.join(SOURCE, "api", "openapi.yaml"), "rb") as f:
            self.assertEqual(body, f.read())
        self.assertEqual(response.getheader("Content-Type"), "application/yaml")

    def test_not_found(self):
        for target in ("/", "/v1", "/v1/", "/v1/keys/", "/v1/keys/www/", "/v1//keys", "/v1/keys/www%2f",
                       "/v1/keys/www/credentials/", "/v1/keys/../keys", "/v1/keys?x=1", "/V1/keys",
                       "/v1/keys/www%00", "/v1/keys/www;a", "/v1/keys/WWW", "/v1/keys/" + "a" * 600,
                       "/healthz", "/metrics", "/v1/whoami?"):
            answer = ask(self.connection, "GET", target)
            self.assertIn(answer[1]["code"], ("not_found", "no_such_key"), target)
            self.assertEqual(answer[0].status, 404, target)
        for target in (CREDENTIALS + "?dry_run=1", CREDENTIALS + "?", CREDENTIALS + "?dry_run=true&x=1"):
            self.problem(ask(self.connection, "POST", target, {"csr": CSR_PEM}), 400, "malformed")
            self.connection.close()
        for target in ("/v1/keys/api", "/v1/keys/api/certificate", "/v1/keys/none"):
            self.problem(ask(self.connection, "GET", target), 404, "no_such_key")
        self.problem(ask(self.connection, "POST", "/v1/keys/api/credentials", {"csr": CSR_PEM}), 404,
                     "no_such_key")

    def test_methods(self):
        for method, target, allow in (("GET", CREDENTIALS, "POST"), ("POST", "/v1/keys", "GET"),
                                      ("DELETE", "/v1/keys/www", "GET"), ("PUT", "/v1/whoami", "GET"),
                                      ("get", "/v1/keys", "GET"), ("TRACE", "/v1/keys", "GET")):
            answer = ask(self.connection, method, target)
            self.problem(answer, 405, "method_not_allowed")
            self.assertEqual(answer[0].getheader("Allow"), allow)
            self.connection.close()
        self.connection.request("HEAD", "/v1/keys")
        self.assertEqual(self.connection.getresponse().status, 405)

    def test_media_type(self):
        for fields in ({"Content_Type": "text/plain"}, {"Content_Type": "application/json;charset=x"},
                       {"Content_Encoding": "gzip"}):
            self.problem(ask(self.connection, "POST", CREDENTIALS, '{"csr":""}', **fields), 415,
                         "unsupported_media_type")
            self.connection.close()

    def test_bodies(self):
        good = '"csr":%s' % json.dumps(CSR_PEM)
        for body, field in (
                ("", None), ("[]", None), ("1", None), ("null", None), ("{}", "csr"), ("{%s" % good, None),
                ("{%s}x" % good, None), ("{%s,%s}" % (good, good), None), ("\ufeff{%s}" % good, None),
                ('{%s,"lifetime":1,"\\u006cifetime":2}' % good, None), ('{%s,"ttl":1}' % good, "ttl"),
                ('{%s,"lifetime":3600.0}' % good, "lifetime"), ('{%s,"lifetime":36e2}' % good, "lifetime"),
                ('{%s,"lifetime":-0}' % good, None), ('{%s,"lifetime":0}' % good, "lifetime"),
                ('{%s,"lifetime":"3600"}' % good, "lifetime"), ('{%s,"lifetime":true}' % good, "lifetime"),
                ('{%s,"not_after":"2030-01-01"}' % good, "not_after"),
                ('{%s,"not_before":5}' % good, "not_before"),
                ('{%s,"lifetime":5,"not_after":"2030-01-01T00:00:00Z"}' % good, "not_after"),
                ('{%s,"reference":"%s"}' % (good, "x" * 257), "reference"),
                ('{%s,"public_key":"AA=="}' % good, "public_key"), ('{"public_key":"AA"}', "public_key"),
                ('{"csr":"AAAA"}', "csr"), ('{"csr":7}', "csr"), ('{%s,"role":7}' % good, "role"),
                ('{%s,"algorithm":7}' % good, "algorithm")):
            self.problem(ask(self.connection, "POST", CREDENTIALS, body.encode()), 400, "malformed", field)
        for octets in (b'{"reference":"\xff"}', b'{"reference":"\x00"}', b'{"reference":"\\u0000"}'):
            self.problem(ask(self.connection, "POST", CREDENTIALS, octets), 400, "malformed")
        self.problem(ask(self.connection, "POST", CREDENTIALS, "{%s}" % good, Idempotency_Key="a b"),
                     400, "malformed", "Idempotency-Key")
        self.problem(ask(self.connection, "POST", CREDENTIALS, '{%s,"role":"x"}' % good), 422,
                     "role_not_allowed", "role")
        self.problem(ask(self.connection, "POST", CREDENTIALS, '{%s,"algorithm":"x"}' % good), 422,
                     "algorithm_not_allowed", "algorithm")
        self.assertEqual(ask(self.connection, "POST", CREDENTIALS, "{%s}" % good)[0].status, 201)

    def test_forged_identity(self):
        response, body = ask(self.connection, "GET", "/v1/whoami", X_Client="reader",
                             X_SSL_Client_Cert="x", X_Forwarded_For="10.0.0.1", Forwarded="for=10.0.0.1")
        self.assertEqual(body["client"], "edge")
        self.assertTrue(body["peer"].startswith("127.0.0.1:"))

    def test_rights_and_rates(self):
        reader = self.service.connect("reader")
        self.problem(ask(reader, "POST", CREDENTIALS, {"csr": CSR_PEM}), 403, "missing_right")
        reader.close()
        slow = self.service.connect("slow")
        self.assertEqual(ask(slow, "GET", "/v1/whoami")[1]["limits"]["rate"],
                         {"requests": 3, "seconds": 60, "left": 3})
        for _ in range(3):
            self.assertEqual(ask(slow, "POST", CREDENTIALS, {"csr": CSR_PEM})[0].status, 201)
        answer = ask(slow, "POST", CREDENTIALS, {"csr": CSR_PEM})
        self.problem(answer, 429, "rate_limited")
        self.assertIn(int(answer[0].getheader("Retry-After")), range(10, 21))
        slow.close()
        self.assertEqual(ask(self.connection, "POST", CREDENTIALS, {"csr": CSR_PEM})[0].status, 201)

    def test_unknown_clients(self):
        for label in "stranger", "two":
            connection = self.service.connect(label)
            for target in "/v1/whoami", "/nothing":
                self.problem(ask(connection, "GET", target), 403, "unknown_client")
            connection.close()
        self.assertIn("unknown client", self.service.log())

    def test_unix_socket(self):
        plain = socket.socket(socket.AF_UNIX)
        plain.connect(self.pki.path("api.sock"))
        plain.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        head, body = read_all(plain).split(b"\r\n\r\n", 1)
        plain.close()
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "), head)
        body = json.loads(body)
        self.assertEqual((body["client"], body["peer"], body["certificate"]),
                         ("api-local", "unix", None))

    def test_parallel(self):
        """50 requests at once, answered in the reverse order: each gets its own answer."""
        self.service.tell("swarm 50")
        self.addCleanup(self.service.tell, "swarm 0")
        results = []
        connected = threading.Barrier(50, timeout=60)  # no deadline runs while others shake hands

        def one():
            connection = self.service.connect()
            connection.connect()
            connected.wait()
            response, body = ask(connection, "POST", CREDENTIALS, {"csr": CSR_PEM})
            results.append((response.status, body.get("id")))
            connection.close()

        threads = [threading.Thread(target=one) for _ in range(50)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual({status for status, _ in results}, {201})
        self.assertEqual(len({number for _, number in results}), 50)

    def test_monitor(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.service.monitor, timeout=60)
        self.assertEqual(ask(connection, "GET", "/healthz")[0].status, 200)
        status, body = self.service.readyz()
        self.assertEqual((status, body["ready"], body["node"], body["single_user"]),
                         (200, True, "test", True))
        self.assertEqual([(k["key"], k["ready"]) for k in body["keys"]], [("api", True), ("www", True)])
        self.assertEqual((body["ledger"], body["tokens"][0]["token"]), ({"ready": True}, "main"))
        self.assertEqual(self.service.readyz("?key=www")[0], 200)
        self.assertEqual(self.service.readyz("?key=none")[0], 404)
        self.assertEqual(ask(connection, "GET", "/v1/keys")[0].status, 404)
        ask(self.connection, "POST", CREDENTIALS, {"csr": CSR_PEM})
        response, page = ask(connection, "GET", "/metrics")
        self.assertEqual(response.getheader("Content-Type"),
                         "text/plain; version=0.0.4; charset=utf-8")
        page = page.decode()
        self.assertRegex(page, r'(?m)^dcsign_requests_total\{key="www",client="edge",code="201"\} [1-9]')
        self.assertIn('dcsign_key_served{key="www",token="main"} 1\n', page)
        self.assertIn('dcsign_ledger_records{chain="test/main"} 42\n', page)
        self.assertRegex(page, r'(?m)^dcsign_credentials_total\{key="www",client="edge",outcome="issued"\} [1-9]')
        self.assertIn('dcsign_token_sign_seconds_bucket{token="main",le="0.0005"} 0\n', page)
        self.assertIn('dcsign_token_sign_seconds_bucket{token="main",le="0.001"} 2\n', page)
        self.assertIn('dcsign_token_sign_seconds_sum{token="main"} 1.5\n', page)
        self.assertIn('dcsign_token_sign_seconds_count{token="main"} 3\n', page)
        self.assertRegex(page, r'(?m)^dcsign_request_duration_seconds_bucket\{le="\+Inf"\} [1-9]')
        # of this test: server and keys end in 10 days, the CA in 40
        soon = {(a["certificate"], a["within_days"]) for a in body["alarms"]}
        self.assertEqual(soon, {("delegation", 30), ("server", 30)}, body)
        for kind, days in soon:
            self.assertRegex(page, 'dcsign_certificate_ends_soon\\{certificate="%s",of="[^"]+",within_days="%d"\\} 1' % (kind, days))
            self.assertRegex(self.service.log(), 'a certificate ends soon.*certificate=%s .*within_days=%d' % (kind, days))
        for line in page.splitlines():
            self.assertRegex(line, r'^(# (HELP|TYPE) \w+ .+|[a-z_]+(\{\w+="[^"]*"(,\w+="[^"]*")*\})? [0-9.e+-]+)$')
        connection.close()


class Users(Case):
    """The Unix socket: the kernel says which user is there, and no header or certificate does."""

    def ask(self):
        plain = socket.socket(socket.AF_UNIX)
        plain.connect(self.pki.path("api.sock"))
        plain.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nX-Peer-Uid: 0\r\nConnection: close\r\n\r\n")
        head, body = read_all(plain).split(b"\r\n\r\n", 1)
        plain.close()
        return int(head.split()[1]), json.loads(body)

    def test_uids(self):
        self.assertEqual((self.ask()[0], self.ask()[1]["client"]), (200, "api-local"))
        self.addCleanup(lambda: (self.pki.clients(), self.service.tell("reload", "config ")))
        self.pki.write("clients", "edge uri spiffe://t/edge 1 www 0 0\n"
                       "local peer_uid %d 15 www 0 0\n" % (os.getuid() + 1))
        self.assertEqual(self.service.tell("reload", "config "), "ok")
        status, body = self.ask()
        self.assertEqual((status, body["code"]), (403, "unknown_client"))
        self.assertRegex(self.service.log(), 'event="unknown client" peer=unix')
        # nor is a user a client where a certificate is asked for, or a name of a certificate one here
        self.pki.write("clients", "edge uri spiffe://t/edge 1 www 0 0\n"
                       "local peer_uid %d 15 www 0 0\n" % os.getuid())
        self.assertEqual(self.service.tell("reload", "config "), "ok")
        self.assertEqual(self.ask()[1]["client"], "local")
        connection = self.service.connect()
        self.assertEqual(ask(connection, "GET", "/v1/whoami")[1]["client"], "edge")
        connection.close()
        self.problem(ask(self.service.connect("stranger"), "GET", "/v1/whoami"), 403, "unknown_client")


class Alarms(unittest.TestCase):
    """Certificates that end within 30 and within 7 days: in /readyz, in the metrics, in the log."""

    def test_days(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        pki = Pki(folder)
        local = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        usage = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.44363.44"), b"\x05\x00")

        def days(ca, server, delegation):
            """Sets the certificates, returns {certificate: within_days} in the three places."""
            pki.ca.certificate = pki.ca.end(ca)
            pki.write("ca.pem", pem(pki.ca.certificate))
            pki.save("server", *pki.ca.issue("server", [x509.oid.ExtendedKeyUsageOID.SERVER_AUTH], local, end=server * DAY))
            for file in "www.pem", "old.pem":
                certificate, _ = pki.ca.issue("www.example", extra=[usage], end=delegation * DAY)
                pki.write(file, pem(certificate) + (pem(pki.ca.certificate) if file == "www.pem" else ""))

        def seen(mark):
            ready = {(a["certificate"], a["within_days"]) for a in service.readyz()[1]["alarms"]}
            connection = http.client.HTTPConnection("127.0.0.1", service.monitor, timeout=60)
            page = ask(connection, "GET", "/metrics")[1].decode()
            connection.close()
            metric = {(k, int(d)) for k, d in re.findall(
                r'(?m)^dcsign_certificate_ends_soon\{certificate="(\w+)",of="[^"]+",within_days="(\d+)"\} 1$', page)}
            log = {(k, int(d)) for k, d in re.findall(
                r'event="a certificate ends soon" certificate=(\w+) .*within_days=(\d+)', service.log()[mark:])}
            return ready, log, ready <= metric

        days(40, 31, 40)
        service = Service(pki)
        self.addCleanup(service.close)
        wait_until(lambda: seen(0) == (set(), set(), True))
        for ca, server, delegation, wanted in (
                (40, 29, 40, {("server", 30)}), (40, 6, 40, {("server", 7)}),
                (29, 29, 29, {("client_ca", 30), ("server", 30), ("delegation", 30)}),
                (6, 5, 6, {("client_ca", 7), ("server", 7), ("delegation", 7)}), (40, 31, 40, set())):
            mark = len(service.log())
            days(ca, server, delegation)
            self.assertEqual(service.tell("reload", "config "), "ok")
            wait_until(lambda: seen(mark) == (wanted, wanted, True), (wanted, seen(mark)))


class Handshakes(Case):
    """Who does not get in, and in the log why."""

    def refused(self, client, reason, alert="ALERT_BAD_CERTIFICATE"):
        with self.assertRaisesRegex(ssl.SSLError, alert):
            with self.service.raw(client) as connection:
                connection.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n")
                time.sleep(0.1)  # were the connection closed at once, a reset would beat the alert
                self.assertEqual(connection.recv(100), b"", "answered")
        wait_until(lambda: re.search(reason, self.service.log()[self.mark:]), self.service.log()[self.mark:])

    def setUp(self):
        time.sleep(1.05)  # the log takes one such line a second
        self.mark = len(self.service.log())

    def test_no_certificate(self):
        self.refused(None, "no client certificate", "ALERT_CERTIFICATE_REQUIRED")

    def test_other_authority(self):
        self.refused("foreign", "handshake refused.*(not trusted|issuer|signature)")

    def test_purpose(self):
        self.refused("purpose", "handshake refused.*purpose")

    def test_expired(self):
        self.refused("expired", "handshake refused.*expired")

    def test_revoked(self):
        self.refused("revoked", "handshake refused.*revoked")

    def test_old_tls(self):
        context = self.service.context()
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        plain = socket.create_connection(("127.0.0.1", self.service.port))
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            context.wrap_socket(plain, server_hostname="127.0.0.1")
        plain.close()

    def test_no_resumption(self):
        connection = self.service.raw()
        connection.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        read_all(connection)
        self.assertTrue(connection.session is None or not connection.session.has_ticket)
        connection.close()

    def test_cut_off(self):
        """A client that ends inside a record is closed then, not when its deadline comes."""
        def reaped():
            monitor = http.client.HTTPConnection("127.0.0.1", self.service.monitor, timeout=60)
            page = ask(monitor, "GET", "/metrics")[1].decode()
            monitor.close()
            return re.search(r"(?m)^dcsign_connections_reaped_total (\d+)$", page).group(1)

        before = reaped()
        for flags in 0, socket.MSG_MORE:  # the end comes with the octets then
            plain = socket.create_connection(("127.0.0.1", self.service.port))
            time.sleep(0.3)
            plain.sendall(b"\x16\x03\x01\x02\x00\x01\x00", flags)
            plain.shutdown(socket.SHUT_WR)
            read_all(plain)
        self.assertEqual(reaped(), before)

    def test_plain_http(self):
        plain = socket.create_connection(("127.0.0.1", self.service.port))
        plain.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertNotIn(b"HTTP/", read_all(plain))
        plain.close()


class Reloads(Case):
    """Identity belongs to the connection, rights to the current configuration."""

    def setUp(self):
        self.addCleanup(self.restore)
        self.connection = self.service.connect("later")
        self.assertEqual(ask(self.connection, "GET", "/v1/whoami")[0].status, 200)

    def restore(self):
        self.connection.close()
        self.pki.crl(["revoked"])
        self.pki.clients()
        self.pki.write("ca.pem", pem(self.pki.ca.certificate))
        self.assertEqual(self.service.tell("reload", "config "), "ok")

    def test_revoked_while_connected(self):
        self.pki.crl(["revoked", "later"])
        self.assertEqual(self.service.tell("reload", "config "), "ok")
        body = self.problem(ask(self.connection, "GET", "/v1/whoami"), 403, "unknown_client")
        self.assertIn("revoked", body["detail"])

    def test_every_kind_of_match(self):
        """One client by each of its marks; a certificate that could be two clients is nobody."""
        dns = x509.DNSName("edge.example")
        self.pki.save("named", *self.pki.ca.issue("named-cn", CLIENT, [dns, uri("spiffe://t/named")]))
        named = self.pki.certificates["named"]
        spki = named.public_key().public_bytes(serialization.Encoding.DER,
                                               serialization.PublicFormat.SubjectPublicKeyInfo)
        marks = {"uri": "spiffe://t/named", "dns": "edge.example", "cn": "named-cn",
                 "sha256": named.fingerprint(hashes.SHA256()).hex(), "spki_sha256": hashlib.sha256(spki).hexdigest()}
        for kind, value in marks.items():
            self.pki.write("clients", "who %s %s 1 www 0 0\n" % (kind, value))
            self.assertEqual(self.service.tell("reload", "config "), "ok")
            mine, other = self.service.connect("named"), self.service.connect("reader")
            self.assertEqual(ask(mine, "GET", "/v1/whoami")[1].get("client"), "who", kind)
            self.problem(ask(other, "GET", "/v1/whoami"), 403, "unknown_client")
            self.pki.write("clients", "also cn named-cn 1 www 0 0\nwho %s %s 1 www 0 0\n" % (kind, value))
            self.assertEqual(self.service.tell("reload", "config "), "ok")
            body = self.problem(ask(mine, "GET", "/v1/whoami"), 403, "unknown_client")
            self.assertIn("several", body["detail"])
            mine.close()
            other.close()

    def test_removed_while_connected(self):
        self.pki.write("clients", "edge uri spiffe://t/someone-else 1 www 0 0\n")
        self.assertEqual(self.service.tell("reload", "config "), "ok")
        self.problem(ask(self.connection, "GET", "/v1/whoami"), 403, "unknown_client")

    def test_right_removed_while_connected(self):
        self.pki.clients(edge=READ)
        self.assertEqual(self.service.tell("reload", "config "), "ok")
        self.problem(ask(self.connection, "POST", CREDENTIALS, {"csr": CSR_PEM}), 403, "missing_right")

    def test_bad_configuration_changes_nothing(self):
        self.pki.crl(["later"], next_update=-DAY / 2)
        answer = self.service.tell("reload", "config ")
        self.assertRegex(answer, "crl.pem: .*nextUpdate")
        self.assertEqual(ask(self.connection, "GET", "/v1/whoami")[0].status, 200)

    def test_crl_of_another_authority(self):
        self.pki.write("crl.pem", self.pki.other.crl())
        self.assertRegex(self.service.tell("reload", "config "), "crl.pem: .*not signed")

    def test_crl_missing_for_one(self):
        self.pki.write("ca.pem", pem(self.pki.ca.certificate) + pem(Authority("second").certificate))
        self.assertRegex(self.service.tell("reload", "config "), "ca.pem: .*no revocation list")

    def test_crl_runs_out(self):
        self.pki.crl([], next_update=datetime.datetime.now(datetime.timezone.utc) - NOW
                     + datetime.timedelta(seconds=10))
        self.assertEqual(self.service.tell("reload", "config "), "ok")
        self.assertEqual(ask(self.connection, "GET", "/v1/whoami")[0].status, 200)
        answers = [None]

        def refused():
            answers[0] = ask(self.connection, "GET", "/v1/whoami")
            return answers[0][0].status != 200

        wait_until(refused)
        self.problem(answers[0], 403, "unknown_client")
        with self.assertRaises((ssl.SSLError, ConnectionError)):
            connection = self.service.connect()
            ask(connection, "GET", "/v1/whoami")
        listeners = self.service.readyz()[1]["listeners"]  # the other one is the Unix socket
        self.assertEqual([listener["ready"] for listener in listeners], [False, True])


class Failures(Case):
    """The other processes are slow, lost, or broken."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.service.deadline(1500)

    def setUp(self):
        self.connection = self.service.connect()
        self.addCleanup(self.connection.close)

    def test_deadline(self):
        self.service.tell("mode silent")
        self.addCleanup(self.service.tell, "mode answer")
        begin = time.monotonic()
        self.problem(ask(self.connection, "POST", CREDENTIALS, {"csr": CSR_PEM}), 504, "outcome_unknown")
        self.assertTrue(1.4 < time.monotonic() - begin < 30, time.monotonic() - begin)
        self.problem(ask(self.connection, "POST", CREDENTIALS + "?dry_run=true", {"csr": CSR_PEM}), 504,
                     "timeout")
        wait_until(lambda: self.service.readyz()[0] == 503)
        status, body = self.service.readyz()
        self.assertEqual((status, body["keys"][0]["ready"], body["ledger"]["ready"]), (503, False, True))

    def test_hsm_lost(self):
        self.service.tell("mode silent")
        self.addCleanup(self.service.tell, "mode answer")
        answers = []

        def one():
            connection = self.service.connect()
            answers.append(ask(connection, "POST", CREDENTIALS, {"csr": CSR_PEM}, Idempotency_Key="lost"))
            connection.close()

        thread = threading.Thread(target=one)
        thread.start()
        wait_until(lambda: "idempotency=lost " in self.service.tell("last", "last "))
        self.service.tell("hsm_close")
        thread.join()
        self.problem(answers[0], 504, "outcome_unknown")
        answer = ask(self.connection, "POST", CREDENTIALS, {"csr": CSR_PEM})
        self.problem(answer, 503, "key_unavailable")
        self.assertEqual(answer[0].getheader("Retry-After"), "1")
        self.assertEqual(self.service.readyz()[0], 503)
        self.service.tell("mode answer")
        self.service.tell("hsm_open")
        wait_until(lambda: ask(self.connection, "POST", CREDENTIALS, {"csr": CSR_PEM})[0].status == 201)

    def test_key_not_served(self):
        self.service.tell("served 0")
        wait_until(lambda: self.service.readyz("?key=www")[0] == 503)
        status, body = self.service.readyz("?key=www")
        self.assertEqual((status, body["keys"][0]["code"], body["keys"][0]["detail"]),
                         (503, "key_missing", "no such object"))
        self.service.tell("served 1")
        wait_until(lambda: self.service.readyz("?key=www")[0] == 200)

    def test_ledger_silent(self):
        self.service.tell("ledger_silent 1")
        response, body = ask(self.connection, "GET", "/v1/keys/www")
        self.assertEqual((response.status, body["live"]), (200, None))
        wait_until(lambda: (self.service.readyz()[0], self.service.readyz()[1]["ledger"]["ready"]) == (503, False))
        self.service.tell("ledger_silent 0")

    def test_queue(self):
        self.service.deadline(10000)  # all ten ask before the first is at its end
        self.addCleanup(self.service.deadline, 1500)
        self.service.tell("queue 4")
        self.service.tell("reload", "config ")
        self.service.tell("mode silent")
        statuses = []

        def one():
            connection = self.service.connect()
            response, body = ask(connection, "POST", CREDENTIALS, {"csr": CSR_PEM})
            statuses.append((response.status, body["code"]))
            connection.close()

        threads = [threading.Thread(target=one) for _ in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.service.tell("mode answer")
        self.service.tell("queue 1024")
        self.service.tell("reload", "config ")
        self.assertEqual(sorted(statuses), [(503, "overloaded")] * 6 + [(504, "outcome_unknown")] * 4)

    def test_come_later(self):
        """Who is told to come later and asks again at once waits for each further answer, on TLS and without."""
        self.service.tell("refusal overloaded")
        self.service.tell("mode refuse")
        request = ("POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %%d\r\n\r\n%%s"
                   % CREDENTIALS)
        body = json.dumps({"csr": CSR_PEM})
        request = (request % (len(body), body)).encode()

        def answer(stream):
            stream.readline()
            head = http.client.parse_headers(stream)
            self.assertEqual(head["Retry-After"], "1")
            self.assertEqual(json.loads(stream.read(int(head["Content-Length"])))["code"], "overloaded")

        for connection in self.service.raw(), self.service.plain("unix"):
            with connection, connection.makefile("rb") as stream:
                begin = time.monotonic()
                connection.sendall(request + request)  # the second is there before the first is refused
                answer(stream)
                answer(stream)
                connection.sendall(request[:-9])  # the third comes in pieces
                connection.sendall(request[-9:])
                answer(stream)
                self.assertGreaterEqual(time.monotonic() - begin, 0.5)
                connection.sendall(request)  # it ends while its request waits
        self.service.tell("mode answer")
        self.assertEqual(ask(self.connection, "POST", CREDENTIALS, {"csr": CSR_PEM})[0].status, 201)


class Ends(unittest.TestCase):
    """Each with a service of its own."""

    def setUp(self):
        self.folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.folder)
        self.pki = Pki(self.folder)

    def start(self, *arguments):
        service = Service(self.pki, *arguments)
        self.addCleanup(service.close)
        return service

    def test_drain(self):
        service = self.start()
        service.deadline(6000)
        service.tell("mode silent")
        statuses = []

        def one():
            connection = service.connect()
            statuses.append(ask(connection, "POST", CREDENTIALS, {"csr": CSR_PEM}, Idempotency_Key="last")[0].status)
            connection.close()

        idle = service.connect()
        self.assertEqual(ask(idle, "GET", "/v1/whoami")[0].status, 200)
        thread = threading.Thread(target=one)
        thread.start()
        wait_until(lambda: "idempotency=last " in service.tell("last", "last "))
        service.tell("term")
        wait_until(lambda: "event=stopping" in service.log())
        response, body = ask(idle, "GET", "/v1/whoami")
        self.assertEqual((response.status, body["code"]), (503, "stopping"))
        idle.close()
        status, body = service.readyz()
        self.assertEqual((status, body["ready"], body["stopping"]), (503, False, True))
        self.assertTrue(body["keys"][0]["ready"] and body["ledger"]["ready"], body)  # nothing else is wrong
        self.assertEqual(service.expect("exit "), "0")
        thread.join()
        self.assertEqual(statuses, [504])

    def test_end_while_one_waits(self):
        """A connection that was told to come later asks again, and its answer comes before the end."""
        service = self.start()
        service.tell("refusal overloaded")
        service.tell("mode refuse")
        connection = service.connect()
        self.assertEqual(ask(connection, "POST", CREDENTIALS, {"csr": CSR_PEM})[0].status, 503)
        connection.request("POST", CREDENTIALS, json.dumps({"csr": CSR_PEM}), {"Content-Type": "application/json"})
        service.tell("term")
        self.assertEqual(connection.getresponse().status, 503)
        connection.close()
        self.assertEqual(service.expect("exit "), "0")

    def test_garbage(self):
        service = self.start()
        service.tell("hsm_garbage", "done")
        self.assertEqual(service.expect("exit "), "70")

    def test_confused_hsm(self):
        service = self.start()
        service.tell("mode confuse")
        connection = service.connect()
        try:
            self.assertEqual(ask(connection, "POST", CREDENTIALS, {"csr": CSR_PEM})[0].status, 504)
        except (ConnectionError, http.client.HTTPException, ssl.SSLError):
            pass  # the process may be gone before its last answer is out
        connection.close()
        self.assertEqual(service.expect("exit "), "70")

    def test_check(self):
        def checked():
            service = self.start("-n")
            result = service.expect("config "), service.expect("exit ")
            service.close()
            return result

        self.assertEqual(checked(), ("ok", "0"))
        shutil.copy(self.pki.path("edge.key"), self.pki.path("server.key"))
        text, code = checked()
        self.assertEqual(code, "78")
        self.assertRegex(text, "server.key with .*server.pem")
        self.pki.write("ca.pem", "nonsense")
        self.assertEqual(checked()[1], "78")


if __name__ == "__main__":
    main()
