"""For the tests of dcsignd-api: a PKI, the service around api_parent.c, requests."""
import base64
import concurrent.futures
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
import subprocess
import sys
import tempfile
import threading
import time
import unittest

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError:
    print("SKIP: needs python3-cryptography")
    sys.exit(77)

BUILD = os.environ.get("TOP_BUILDDIR", ".")
SOURCE = os.environ.get("TOP_SRCDIR", ".")
API = os.path.join(BUILD, "api", "dcsignd-api")
PARENT = os.path.join(BUILD, "tests", "api_parent")
NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
ISSUE, READ, HOLD, RELEASE = 1, 2, 4, 8


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def private_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()


def name(cn):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)])


class Authority:
    def __init__(self, cn):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = name(cn)
        self.certificate = self.end(40)

    def end(self, days):
        """Its certificate, which ends in so many days."""
        return (
            x509.CertificateBuilder().subject_name(self.name).issuer_name(self.name)
            .public_key(self.key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(NOW - DAY).not_valid_after(NOW + days * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False),
                           critical=True)
            .sign(self.key, hashes.SHA256()))

    def issue(self, cn, usage=None, names=(), start=-DAY, end=10 * DAY, extra=()):
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            x509.CertificateBuilder().subject_name(name(cn)).issuer_name(self.name)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(NOW + start).not_valid_after(NOW + end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True))
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        for extension in extra:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(self.key, hashes.SHA256()), key

    def crl(self, revoked=(), next_update=5 * DAY):
        builder = (x509.CertificateRevocationListBuilder().issuer_name(self.name)
                   .last_update(NOW - DAY).next_update(NOW + next_update))
        for certificate in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(certificate.serial_number)
                .revocation_date(NOW - DAY).build())
        return pem(builder.sign(self.key, hashes.SHA256()))


CLIENT = [ExtendedKeyUsageOID.CLIENT_AUTH]
SERVER = [ExtendedKeyUsageOID.SERVER_AUTH]


def uri(text):
    return x509.UniformResourceIdentifier(text)


class Pki:
    def __init__(self, folder):
        self.folder = folder
        self.ca = Authority("clients")
        self.other = Authority("clients")  # the same name, another key
        self.certificates = {}
        local = [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        self.save("server", *self.ca.issue("server", SERVER, local))
        self.save("edge", *self.ca.issue("edge", CLIENT, [uri("spiffe://t/edge")]))
        self.save("slow", *self.ca.issue("slow", CLIENT, [uri("spiffe://t/slow")]))
        self.save("batcher", *self.ca.issue("batcher", CLIENT, [uri("spiffe://t/batcher")]))
        self.save("reader", *self.ca.issue("reader", CLIENT, [uri("spiffe://t/reader")]))
        self.save("warden", *self.ca.issue("warden", CLIENT, [uri("spiffe://t/warden")]))
        self.save("throttled", *self.ca.issue("throttled", CLIENT, [uri("spiffe://t/throttled")]))
        self.save("two", *self.ca.issue("edge-cn", CLIENT, [uri("spiffe://t/edge")]))
        self.save("stranger", *self.ca.issue("stranger", CLIENT, [uri("spiffe://t/nobody")]))
        self.save("revoked", *self.ca.issue("revoked", CLIENT, [uri("spiffe://t/edge")]))
        self.save("later", *self.ca.issue("later", CLIENT, [uri("spiffe://t/edge")]))
        self.save("purpose", *self.ca.issue("purpose", SERVER, [uri("spiffe://t/edge")]))
        self.save("expired", *self.ca.issue("expired", CLIENT, [uri("spiffe://t/edge")], -3 * DAY, -DAY))
        self.save("foreign", *self.other.issue("foreign", CLIENT, [uri("spiffe://t/edge")]))
        usage = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.44363.44"), b"\x05\x00")
        self.www, _ = self.ca.issue("www.example", SERVER, extra=[usage])
        old, _ = self.ca.issue("old.example", SERVER, extra=[usage])
        self.write("www.pem", pem(self.www) + pem(self.ca.certificate))
        self.write("old.pem", pem(old))
        self.write("ca.pem", pem(self.ca.certificate))
        self.crl(["revoked"])
        self.clients()

    def save(self, label, certificate, key):
        self.certificates[label] = certificate
        self.write(label + ".pem", pem(certificate))
        self.write(label + ".key", private_pem(key))

    def write(self, file, text):
        """All of it at once: api_parent reads certificates whenever it is asked for a state."""
        path = os.path.join(self.folder, file)
        with open(path + ".new", "w") as f:
            f.write(text)
        os.replace(path + ".new", path)

    def crl(self, revoked, **rest):
        self.write("crl.pem", self.ca.crl([self.certificates[r] for r in revoked], **rest))

    def clients(self, edge=ISSUE):
        lines = ["api-local peer_uid %d %d www 0 0" % (os.getuid(), ISSUE),
                 "batcher uri spiffe://t/batcher %d www 3 60" % ISSUE,
                 "edge uri spiffe://t/edge %d www 0 0" % edge,
                 "other cn edge-cn 1 api 0 0",
                 "reader uri spiffe://t/reader %d api,www 0 0" % READ,
                 "slow uri spiffe://t/slow %d www 3 60" % ISSUE,
                 "throttled uri spiffe://t/throttled %d www 1 3600" % (ISSUE | READ | HOLD | RELEASE),
                 "warden uri spiffe://t/warden %d www 0 0" % (HOLD | RELEASE)]
        self.write("clients", "".join(line + "\n" for line in lines))

    def path(self, file):
        return os.path.join(self.folder, file)


class Service:
    """api_parent with its dcsignd-api. Restarted for each test that asks for it."""

    def __init__(self, pki, *arguments):
        self.pki = pki
        self.stderr = open(pki.path("stderr"), "a+")
        self.process = subprocess.Popen([PARENT, API, pki.folder, *arguments], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.stderr, text=True)
        if arguments:
            return
        try:
            self.begin()
        except BaseException:
            self.close()
            raise

    def begin(self):
        self.port, self.monitor = map(int, self.expect("ports ").split())
        answer = self.expect("config ")
        if answer != "ok":
            raise AssertionError("configuration refused: " + answer)
        self.expect("ready")
        until = time.monotonic() + 60
        while self.readyz()[0] != 200:
            if time.monotonic() > until:
                raise AssertionError("not ready: %r" % (self.readyz(),))
            time.sleep(0.05)

    def expect(self, prefix):
        while True:
            line = self.process.stdout.readline()
            if line == "":
                raise AssertionError("api_parent ended while waiting for " + prefix)
            if line.startswith("exit ") and prefix != "exit ":
                raise AssertionError("dcsignd-api ended: %s\n%s" % (line, self.log()))
            if line.startswith(prefix):
                return line[len(prefix):].strip()

    def tell(self, command, *answers):
        try:
            self.process.stdin.write(command + "\n")
            self.process.stdin.flush()
        except BrokenPipeError as e:
            raise AssertionError("api_parent ended with %s\n%s" % (self.process.wait(60), self.log())) from e
        return [self.expect(answer) for answer in (answers or ("done",))][-1]

    def deadline(self, ms):
        """Of requests from now on; without it none comes because the machine is busy."""
        self.tell("deadline %d" % ms)
        if self.tell("reload", "config ") != "ok":
            raise AssertionError("configuration refused")

    def readyz(self, query=""):
        connection = http.client.HTTPConnection("127.0.0.1", self.monitor, timeout=60)
        connection.request("GET", "/readyz" + query)
        response = connection.getresponse()
        body = json.loads(response.read())
        connection.close()
        return response.status, body

    def log(self):
        with open(self.pki.path("stderr")) as f:
            return f.read()

    def context(self, client="edge"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.pki.path("ca.pem"))
        if client:
            context.load_cert_chain(self.pki.path(client + ".pem"), self.pki.path(client + ".key"))
        return context

    def connect(self, client="edge", timeout=60):
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout,
                                           context=self.context(client))

    def raw(self, client="edge", timeout=60):
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=timeout)
        return self.context(client).wrap_socket(plain, server_hostname="127.0.0.1")

    def plain(self, listener, timeout=60):
        """A connection to the listener that is called so: "unix" or "monitor"."""
        if listener == "monitor":
            return socket.create_connection(("127.0.0.1", self.monitor), timeout=timeout)
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout)
        connection.connect(self.pki.path("api.sock"))
        return connection

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(60)
        self.process.stdout.close()
        self.stderr.close()


KEY = ec.generate_private_key(ec.SECP256R1())
SPKI = KEY.public_key().public_bytes(serialization.Encoding.DER,
                                     serialization.PublicFormat.SubjectPublicKeyInfo)
CSR = x509.CertificateSigningRequestBuilder().subject_name(name("x")).sign(KEY, hashes.SHA256())
CSR_PEM = CSR.public_bytes(serialization.Encoding.PEM).decode()
CREDENTIALS = "/v1/keys/www/credentials"


def ask(connection, method, target, body=None, **headers):
    if isinstance(body, dict):
        body = json.dumps(body)
    fields = {k.replace("_", "-"): v for k, v in headers.items()}
    if body is not None:
        fields.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, target, body, fields)
    except (ConnectionError, ssl.SSLEOFError):
        pass  # refused by its head alone, and answered before the body was sent
    response = connection.getresponse()
    octets = response.read()
    if (response.getheader("Content-Type") or "").endswith("json"):
        return response, json.loads(octets)
    return response, octets


def read_all(sock):
    octets = b""
    try:
        while True:
            more = sock.recv(65536)
            if not more:
                return octets
            octets += more
    except (ConnectionError, ssl.SSLError):
        return octets


def side_by_side(*calls, workers=None):
    """Makes all the calls, so many at once (all of them, if not said). Raises what one of them raised."""
    with concurrent.futures.ThreadPoolExecutor(workers or len(calls)) as pool:
        for call in [pool.submit(call) for call in calls]:
            call.result()


def wait_until(condition, words="it does not come"):
    """As long as a busy machine takes."""
    until = time.monotonic() + 60
    while not condition():
        if time.monotonic() > until:
            raise AssertionError(words)
        time.sleep(0.05)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp()
        cls.pki = Pki(cls.folder)
        cls.service = Service(cls.pki)

    @classmethod
    def tearDownClass(cls):
        cls.service.close()
        text = cls.service.log()
        shutil.rmtree(cls.folder)
        if "Sanitizer" in text or "runtime error" in text:
            sys.stderr.write(text)
            raise AssertionError("a sanitizer spoke")

    def problem(self, answer, status, code, field=None):
        response, body = answer
        self.assertEqual((response.status, body["code"]), (status, code), body)
        self.assertEqual(response.getheader("Content-Type"), "application/problem+json")
        self.assertEqual(body["status"], status)
        self.assertEqual(body["request"], response.getheader("X-Request-Id"))
        self.assertTrue(body["title"] and body["detail"])
        if field is not None:
            self.assertEqual(body.get("field"), field)
        return body


def main():
    for program in API, PARENT:
        if not os.path.exists(program):
            print("SKIP: %s is not built" % program)
            sys.exit(77)
    unittest.main(verbosity=1)
