#!/usr/bin/python3
"""A stand-in for the service in tests of dcsign request: HTTPS on 127.0.0.1, client certificate
required, answers right and wrong ones. The name of the delegation key says which.

usage: service.py DIR

Makes ca.pem, server.pem, client.pem, client.key, stranger.pem, stranger.key (of another CA,
stranger-ca.pem) in DIR, prints `port N`, and serves until it is killed. Appends each request's
target, Idempotency-Key and body to DIR/requests, and each credential's Idempotency-Key and the
SHA-256 of its public key to DIR/released.

DIR/control may hold a JSON object: "skew": seconds by which the clock of this service is ahead;
"certificate": a number, each stands for another delegation certificate; "problem": a status, which
every call gets, with "code"; "ledger": what is wrong with the ledger, see ledger.py; "drop": true, and calls get no answer; "lose": true, and credentials are issued but
the answer is lost.
"""

import base64
import datetime
import hashlib
import http.server
import json
import os
import ssl
import sys
import threading
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "interop"))
import make_dc  # noqa: E402
import ledger  # noqa: E402

from cryptography import x509  # noqa: E402
from cryptography.hazmat.primitives import hashes, serialization  # noqa: E402
from cryptography.hazmat.primitives.asymmetric import ec  # noqa: E402
from cryptography.x509.oid import ExtendedKeyUsageOID  # noqa: E402

PEM = serialization.Encoding.PEM
SCHEMES = {0x0403: "ecdsa_secp256r1_sha256", 0x0503: "ecdsa_secp384r1_sha384"}
SCHEMES.update({0x0603: "ecdsa_secp521r1_sha512", 0x0807: "ed25519"})
DAY = 86400


def rfc3339(t):
    return datetime.datetime.fromtimestamp(t, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def scheme_of(key):
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {256: 0x0403, 384: 0x0503, 521: 0x0603}[key.key_size]
    return 0x0807


class World:
    """The keys, the certificates, and what is issued with them."""

    def __init__(self, folder):
        self.folder = folder
        self.now = int(time.time())
        self.begin = self.now - 10 * DAY
        self.ca_key, self.ca = make_dc.make_ca(self.now)
        self.certificates = {}
        self.released = {}
        self.ledger = ledger.Ledger(folder)
        self.lock = threading.Lock()
        self.choose(0)
        make_dc.write(folder, "ca.pem", self.ca.public_bytes(PEM))
        self.tls("server", self.ca, self.ca_key, ExtendedKeyUsageOID.SERVER_AUTH)
        self.tls("client", self.ca, self.ca_key, ExtendedKeyUsageOID.CLIENT_AUTH)
        stranger_key, stranger = make_dc.make_ca(self.now, "stranger CA")
        make_dc.write(folder, "stranger-ca.pem", stranger.public_bytes(PEM))
        self.tls("stranger", stranger, stranger_key, ExtendedKeyUsageOID.CLIENT_AUTH)
        self.control()

    def choose(self, number):
        """The delegation certificate that issues from now on."""
        if number not in self.certificates:
            self.certificates[number] = make_dc.make_delegation_certificate(
                self.ca_key, self.begin + number, self.now + 20 * DAY, client=True
            )
        self.key, self.cert = self.certificates[number]
        self.not_before = self.begin + number

    def control(self):
        try:
            with open(os.path.join(self.folder, "control"), encoding="utf-8") as f:
                control = json.load(f)
        except FileNotFoundError:
            control = {}
        self.choose(control.get("certificate", 0))
        self.skew = control.get("skew", 0)
        return control

    def time(self):
        return int(time.time()) + self.skew

    def chain(self):
        return self.cert.public_bytes(PEM) + self.ca.public_bytes(PEM)

    def tls(self, name, ca, signer, purpose):
        key = ec.generate_private_key(ec.SECP256R1())
        extensions = [
            (x509.SubjectAlternativeName([x509.DNSName("localhost")]), False),
            (x509.ExtendedKeyUsage([purpose]), False),
        ]
        issuer = ca.subject.rfc4514_string()[len("CN=") :]
        begin, end = self.now - DAY, self.now + DAY
        cert = make_dc.certificate(name, issuer, key.public_key(), signer, begin, end, extensions)
        make_dc.write(self.folder, name + ".pem", cert.public_bytes(PEM))
        make_dc.write(self.folder, name + ".key", make_dc.private_pem(key), 0o600)

    def issue(self, name, body):
        role = body.get("role", "server")
        if "csr" in body:
            csr = x509.load_pem_x509_csr(body["csr"].encode())
            assert csr.is_signature_valid
            public = csr.public_key()
        else:
            public = serialization.load_der_public_key(base64.b64decode(body["public_key"]))
        if name == "other-key":
            public = ec.generate_private_key(ec.SECP256R1()).public_key()
        spki = public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        expiry = self.time() + body.get("lifetime", DAY)
        if "not_after" in body:
            at = datetime.datetime.strptime(body["not_after"], "%Y-%m-%dT%H:%M:%SZ")
            expiry = int(at.replace(tzinfo=datetime.timezone.utc).timestamp())
        if name == "over-long":
            expiry = self.time() + 8 * DAY
        code = scheme_of(public)
        dc = make_dc.delegated_credential(
            self.cert,
            self.key,
            expiry - self.not_before,
            code,
            spki,
            role="client" if name == "wrong-role" else role,
            damage=name == "bad-signature",
        )
        der = self.cert.public_bytes(serialization.Encoding.DER)
        id = os.urandom(16).hex()
        answer = {
            "id": id,
            "key": name,
            "role": role,
            "algorithm": SCHEMES[code],
            "signature_algorithm": SCHEMES[0x0403],
            "credential": base64.b64encode(dc).decode(),
            "not_before": rfc3339(max(self.not_before, expiry - 7 * DAY)),
            "not_after": rfc3339(expiry + (1 if name == "lies" else 0)),
            "valid_time": expiry - self.not_before,
            "public_key_sha256": hashlib.sha256(spki).hexdigest(),
            "certificate_sha256": hashlib.sha256(der).hexdigest(),
            "chain": self.chain().decode(),
            "warnings": ["KEY-SHARED"] if name == "shared" else [],
            "ledger": self.ledger.write(id),
        }
        return json.dumps(answer).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, media="application/json", **headers):
        self.send_response(status)
        self.send_header("Content-Type", media)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def problem(self, status, code, field, detail, **headers):
        body = {"type": "about:blank", "title": code, "status": status, "code": code}
        body.update({"field": field, "detail": detail})
        self.answer(status, json.dumps(body).encode(), "application/problem+json", **headers)

    def date_time_string(self, timestamp=None):
        return super().date_time_string(self.server.world.time())

    def note(self, file, *words):
        with open(os.path.join(self.server.world.folder, file), "a", encoding="utf-8") as f:
            print(*words, file=f)

    def out_of_order(self, control):
        """Whether the control file has it that there is no good answer."""
        if control.get("drop"):
            self.close_connection = True
        elif "problem" in control:
            code = control.get("code", "test_problem")
            self.problem(control["problem"], code, "", "as the test asks")
        return "drop" in control or "problem" in control

    def do_GET(self):
        world = self.server.world
        with world.lock:
            control = world.control()
            etag, chain = '"%s"' % world.cert.fingerprint(hashes.SHA256()).hex(), world.chain()
        self.note("requests", self.path, self.headers.get("If-None-Match", "-"), "")
        if self.out_of_order(control):
            return
        if self.path.startswith("/v1/ledger/"):
            with world.lock:
                status, body, media = world.ledger.answer(self.path, control.get("ledger"))
            if status == 200:
                self.answer(200, body, media)
            else:
                self.problem(status, "not_found" if status == 404 else "busy", "", body)
        elif not self.path.endswith("/certificate"):
            self.problem(404, "not_found", "", "there is nothing here")
        elif self.headers.get("If-None-Match") == etag:
            self.send_response(304)
            self.send_header("ETag", etag)
            self.end_headers()
        else:
            self.answer(200, chain, "application/pem-certificate-chain", ETag=etag)

    def do_POST(self):
        raw = self.rfile.read(int(self.headers["Content-Length"]))
        world, name = self.server.world, self.path.split("/")[3]
        self.note("requests", self.path, self.headers.get("Idempotency-Key", "-"), raw.decode())
        with world.lock:
            control = world.control()
        if self.out_of_order(control):
            return
        odd = getattr(self, "odd_" + name.replace("-", "_"), None)
        if odd:
            odd()
        elif self.path.endswith("?dry_run=true"):
            self.answer(200, b'{"decision":"would be issued","lifetime":86400}')
        else:
            self.issue(name, raw)

    def issue(self, name, raw):
        world, key = self.server.world, self.headers.get("Idempotency-Key")
        with world.lock:
            control = world.control()
            body, answer = world.released.get(key, (raw, None))
            replayed = {"Idempotency_Replayed": "true"} if answer else {}
            if not answer:
                answer = world.issue(name, json.loads(raw))
                self.note("released", key or "-", json.loads(answer)["public_key_sha256"])
            if key:
                world.released[key] = body, answer
        if body != raw:
            self.problem(409, "idempotency_mismatch", "", "used with another request")
        elif control.get("lose"):
            self.close_connection = True
        else:
            self.answer(201, answer, **replayed)

    def odd_refuse(self):
        self.problem(422, "lifetime_too_long", "lifetime", "3 d is over the maximum of 24 h")

    def odd_busy(self):
        self.problem(503, "overloaded", "", "too many requests", Retry_After="7")

    def odd_broken(self):
        self.problem(500, "internal_error", "", "an invariant of the service does not hold")

    def odd_html(self):
        self.answer(502, b"<html>bad gateway</html>", "text/html")

    def odd_redirect(self):
        self.answer(302, b"", Location="/v1/keys/www/credentials")

    def odd_not_json(self):
        self.answer(201, b"[1, 2")

    def odd_huge(self):
        self.answer(201, b'{"a":"' + b"x" * (2 << 20) + b'"}')

    def odd_endless(self):
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        try:
            for _ in range(64):
                self.wfile.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def odd_silent(self):
        time.sleep(60)


class Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_):
        pass


def main(folder):
    world = World(folder)
    server = Server(("127.0.0.1", 0), Handler)
    server.world = world
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(os.path.join(folder, "server.pem"), os.path.join(folder, "server.key"))
    context.load_verify_locations(os.path.join(folder, "ca.pem"))
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    print("port", server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
