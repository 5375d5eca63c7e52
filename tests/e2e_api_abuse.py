"""What strangers and clients can do to HTTP and to connections: dcsignd-api refuses or ends it."""
import http.client
import json
import os
import re
import resource
import signal
import socket
import ssl
import threading
import time
from functools import partial

from api_fixture import CREDENTIALS, CSR_PEM, Case, ask, main, read_all, side_by_side

LONG = os.environ.get("DCSIGN_TESTS") == "long"
BODY = json.dumps({"csr": CSR_PEM}).encode()
HEAD = b"POST " + CREDENTIALS.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
WHOAMI = b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)


class Abuse(Case):
    def tearDown(self):
        """Whatever happened, the next client is served."""
        connection = self.service.connect()
        self.assertEqual(ask(connection, "POST", CREDENTIALS, {"csr": CSR_PEM})[0].status, 201)
        connection.close()

    def one(self, octets, client="edge"):
        """Sends octets, returns all that comes until the connection is closed."""
        with self.service.raw(client) as connection:
            try:
                connection.sendall(octets)
            except (ConnectionError, ssl.SSLError):
                pass  # the service has heard enough
            return read_all(connection)

    def refused(self, octets, status, code=None, answered=True):
        """answered False: the answer may be lost, because the service closes while we still send."""
        answer = self.one(octets)
        if answer == b"" and not answered:
            return
        self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), (octets[:200], answer[:300]))
        self.assertEqual(answer.count(b"HTTP/1.1 "), 1, answer)
        if code is not None:
            self.assertIn(b'"code":"%s"' % code.encode(), answer)
            self.assertIn(b"X-Request-Id: ", answer)

    def issued(self):
        return int(self.service.tell("issued", "issued "))


class Framing(Abuse):
    def test_lengths_and_codings(self):
        before = self.issued()
        for fields in (LENGTH + b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding: chunked\r\n",
                       b"Transfer-Encoding: xchunked\r\n" + LENGTH, b"Transfer-Encoding: identity\r\n",
                       LENGTH + LENGTH, LENGTH + b"Content-Length: 3\r\n", LENGTH + b"Host: y\r\n",
                       LENGTH + b"Idempotency-Key: a\r\nIdempotency-Key: b\r\n",
                       LENGTH + b"Content-Type: application/json\r\n"):
            self.refused(HEAD + fields + b"\r\n" + BODY, 400, "malformed")
        for length in b"-1", b"+3", b"3, 3", b"0x10", b"3 3", b"":
            answer = self.one(HEAD + b"Content-Length: " + length + b"\r\n\r\n" + BODY)
            self.assertTrue(answer.startswith(b"HTTP/1.1 400 "), answer[:200])
        self.assertEqual(self.issued(), before)

    def test_hosts(self):
        without = (HEAD + LENGTH + b"\r\n" + BODY).replace(b"Host: x\r\n", b"")
        self.refused(without, 400, "malformed")
        self.refused(without.replace(b"HTTP/1.1", b"HTTP/1.0"), 400, "malformed")

    def test_fields(self):
        self.refused(HEAD + LENGTH + b"X-A: a\x01b\r\n\r\n" + BODY, 400, "malformed")
        self.refused(HEAD + LENGTH + b"X(A: a\r\n\r\n" + BODY, 400, "malformed")

    def test_large_bodies(self):
        for length in 16385, 1 << 20, 1 << 40, 999999999999999999:
            self.refused(HEAD + b"Content-Length: %d\r\n\r\n" % length, 413, "body_too_large")
        self.refused(HEAD + b"Content-Length: 1000000\r\n\r\n" + b"x" * 1000000, 413,
                     answered=False)
        octets = BODY + b" " * (16384 - len(BODY))
        whole = HEAD + b"Content-Length: 16384\r\nConnection: close\r\n\r\n" + octets
        self.assertTrue(self.one(whole).startswith(b"HTTP/1.1 201 "))

    def test_large_headers(self):
        self.refused(HEAD + LENGTH + b"X-A: y\r\n" * 70 + b"\r\n" + BODY, 431, "headers_too_large")
        self.refused(HEAD + LENGTH + b"X-A: " + b"y" * 17000 + b"\r\n\r\n" + BODY, 431,
                     "headers_too_large")
        self.refused(HEAD + LENGTH + b"X-A: " + b"y" * 60000 + b"\r\n\r\n" + BODY, 431,
                     answered=False)
        self.refused(b"GET /" + b"a" * 60000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, answered=False)

    def test_expectations(self):
        self.refused(HEAD + LENGTH + b"Expect: 200-ok\r\n\r\n", 417, "expectation_failed")
        with self.service.raw() as connection:
            connection.sendall(HEAD + LENGTH + b"Expect: 100-continue\r\nConnection: close\r\n\r\n")
            self.assertTrue(connection.recv(1000).startswith(b"HTTP/1.1 100 "))
            connection.sendall(BODY)
            self.assertTrue(read_all(connection).startswith(b"HTTP/1.1 201 "))
        answer = self.one(HEAD + b"Content-Length: 99999\r\nExpect: 100-continue\r\n\r\n")
        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer[:200])

    def test_body_of_a_get(self):
        self.refused(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc", 400,
                     "malformed")

    def test_versions(self):
        for version in b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9.9", b"HTP/1.1":
            answer = self.one(b"GET /v1/whoami " + version + b"\r\nHost: x\r\nConnection: close\r\n\r\n")
            self.assertFalse(answer.startswith(b"HTTP/1.1 200"), version)

    def test_pipelining(self):
        before = self.issued()
        last = HEAD + LENGTH + b"Connection: close\r\n\r\n" + BODY
        answer = self.one((HEAD + LENGTH + b"\r\n" + BODY) * 9 + last)
        self.assertEqual(answer.count(b"HTTP/1.1 201 "), 10)
        numbers = [int(n, 16) for n in re.findall(rb'"id":"([0-9a-f]{32})"', answer)]
        self.assertEqual(numbers, list(range(before + 1, before + 11)))

    def test_error_answers_tell_nothing(self):
        answer = self.one(b"GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").lower()
        for word in b"server:", b"libmicrohttpd", b"gnutls", b"dcsign/", b"/usr", b"pkcs":
            self.assertNotIn(word, answer)


class Slowness(Abuse):
    """The request's deadline is 1.5 s here, on every listener."""

    def reach(self, listener):
        """A connection that a request can be sent on."""
        return self.service.raw() if listener == "tls" else self.service.plain(listener)

    def test_slowness(self):
        """Nobody waits for the others, neither here nor in the service."""
        self.service.deadline(1500)
        self.addCleanup(self.service.deadline, 10000)
        drips = [partial(drip, listener) for listener in ("tls", "unix", "monitor")
                 for drip in (self.dripped_header, self.dripped_request_line, self.dripped_after_an_answer)]
        drips += [partial(self.dripped_body, "tls"), partial(self.dripped_body, "unix")]
        side_by_side(self.silent_connection, self.dripped_handshake, self.dripped_requests_do_not_add_up,
                     self.monitor_is_slow_to_nobody, self.answers_never_read, *drips)

    def ends(self, connection, drip=None):
        """The service closes the connection, though something may drip into it for ever; the seconds until then."""
        begin = time.monotonic()
        connection.settimeout(0.2)
        while True:
            self.assertLess(time.monotonic() - begin, 60)
            try:
                if drip:
                    connection.sendall(drip)
                if connection.recv(1) == b"":
                    break
            except (TimeoutError, ssl.SSLWantReadError):
                continue
            except (ConnectionError, ssl.SSLError):
                break
        connection.close()
        return time.monotonic() - begin

    def silent_connection(self):
        plain = socket.create_connection(("127.0.0.1", self.service.port))
        self.assertGreater(self.ends(plain), 4)

    def dripped_handshake(self):
        plain = socket.create_connection(("127.0.0.1", self.service.port))
        plain.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        self.ends(plain, b"\x00")

    def dripped_header(self, listener):
        connection = self.reach(listener)
        connection.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nX-A: ")
        self.assertGreater(self.ends(connection, b"a"), 1)

    def dripped_body(self, listener):
        connection = self.reach(listener)
        connection.sendall(HEAD + b"Content-Length: 9000\r\n\r\n")
        self.assertGreater(self.ends(connection, b" "), 1)

    def dripped_request_line(self, listener):
        connection = self.reach(listener)
        connection.sendall(b"GET /")
        self.assertGreater(self.ends(connection, b"a"), 1)

    def dripped_after_an_answer(self, listener):
        """The next request has a deadline of its own from its first octet on, pipelined or not."""
        target, last = (b"/healthz", b"\n") if listener == "monitor" else (b"/v1/whoami", b"}")

        def drip(end):
            connection = self.reach(listener)
            connection.sendall(b"GET " + target + b" HTTP/1.1\r\nHost: x\r\n\r\n" + end)
            answer = b""
            while not answer.endswith(last) or b"\r\n\r\n" not in answer[:-1]:
                answer += connection.recv(65536)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
            self.assertGreater(self.ends(connection, b"G"), 1)

        side_by_side(partial(drip, b""), partial(drip, b"G"))

    def dripped_requests_do_not_add_up(self):
        """A slow but honest client that takes less than the deadline for each request is served."""
        connection = self.service.raw()
        for _ in range(3):
            for piece in b"GET /v1/whoami HTTP/1.1\r\n", b"Host: x\r\n", b"\r\n":
                time.sleep(0.2)
                connection.sendall(piece)
            answer = b""
            while not answer.endswith(b"}"):
                answer += connection.recv(65536)
            self.assertTrue(answer.startswith(b"HTTP/1.1 200 "), answer)
        connection.close()

    def monitor_is_slow_to_nobody(self):
        """Headers and bodies that drip into the monitor, answers that nobody reads: it answers others."""
        crowd = [socket.create_connection(("127.0.0.1", self.service.monitor)) for _ in range(20)]
        for i, plain in enumerate(crowd):
            plain.sendall([b"GET /metrics HTTP/1.1\r\nX: ", b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n",
                           b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 5, b""][i % 4])
        begin = time.monotonic()
        self.assertIn(self.service.readyz()[0], (200, 503))  # a truth, and soon
        self.assertLess(time.monotonic() - begin, 30)
        self.ends(crowd[0], b"a")
        for plain in crowd:
            plain.close()

    def answers_never_read(self):
        connection = self.service.raw()
        connection.settimeout(1)
        begin = time.monotonic()
        with self.assertRaises((ConnectionError, ssl.SSLError, TimeoutError)):
            while time.monotonic() - begin < 60:
                try:
                    connection.sendall(b"GET /openapi.yaml HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
                except TimeoutError:
                    time.sleep(0.2)
        self.assertLess(time.monotonic() - begin, 60)
        connection.close()

    def test_answers_read_late(self):
        """More small answers than the socket takes: each comes whole, and none twice."""
        plain = socket.socket()
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)  # a small buffer over there
        plain.settimeout(40)
        plain.connect(("127.0.0.1", self.service.port))
        connection = self.service.context("edge").wrap_socket(plain, server_hostname="127.0.0.1")
        count = 1500
        asker = threading.Thread(target=connection.sendall, args=(WHOAMI * count,))
        asker.start()
        time.sleep(1)
        answers, ids = connection.makefile("rb"), set()
        for _ in range(count):
            self.assertEqual(answers.readline(), b"HTTP/1.1 200 OK\r\n")
            head = {}
            while (line := answers.readline().strip()) != b"":
                name, value = line.split(b": ", 1)
                head[name.lower()] = value
            ids.add(head[b"x-request-id"])
            body = json.loads(answers.read(int(head[b"content-length"])))
            self.assertIn("client", body)
        self.assertEqual(len(ids), count)
        asker.join()
        connection.close()

    def test_closed_early(self):
        self.service.tell("mode silent")
        for _ in range(20):
            connection = self.service.raw()
            connection.sendall(HEAD + LENGTH + b"\r\n" + BODY)
            connection.close()
        self.service.tell("mode answer")


class Crowds(Abuse):
    def test_one_address(self):
        self.service.tell("per_address 8")
        self.assertEqual(self.service.tell("reload", "config "), "ok")
        crowd = [socket.create_connection(("127.0.0.1", self.service.port)) for _ in range(8)]
        begin = time.monotonic()
        with self.assertRaises((ConnectionError, ssl.SSLError)):
            self.service.raw()
        self.assertLess(time.monotonic() - begin, 4.5)  # not when the others are at their deadline
        self.service.tell("per_address 0")
        self.assertEqual(self.service.tell("reload", "config "), "ok")
        for plain in crowd:
            plain.close()

    def test_idle_strangers_cost_nothing(self):
        crowd = [socket.create_connection(("127.0.0.1", self.service.port)) for _ in range(100)]
        for plain in crowd[:50]:
            plain.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
        before = self.cpu()
        begin = time.monotonic()
        connection = self.service.connect()
        self.assertEqual(ask(connection, "GET", "/v1/whoami")[0].status, 200)
        connection.close()
        self.assertLess(time.monotonic() - begin, 4.5)  # not when the others are at their deadline
        self.assertLess(self.running(), 10)
        self.assertLess(self.cpu() - before, 0.5)
        for plain in crowd:
            plain.close()

    def test_all_ask_at_once(self):
        """As many connections as libmicrohttpd looks at in one go: it waits for no further one."""
        crowd = [self.service.raw() for _ in range(128)]
        for connection in crowd:
            self.assertEqual(self.whoami(connection), 200)
        os.kill(self.api(), signal.SIGSTOP)
        try:
            for connection in crowd:
                connection.sendall(WHOAMI)
        finally:
            os.kill(self.api(), signal.SIGCONT)
        for connection in crowd:
            self.assertEqual(self.whoami(connection, asked=True), 200)
            connection.close()

    @staticmethod
    def whoami(connection, asked=False):
        """The status of an answer on a connection that is kept."""
        if not asked:
            connection.sendall(WHOAMI)
        connection.settimeout(40)
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        answer.read()
        return answer.status

    def api(self):
        """dcsignd-api is the child of api_parent."""
        parent = self.service.process.pid
        with open("/proc/%d/task/%d/children" % (parent, parent)) as f:
            return int(f.read().split()[0])

    def cpu(self):
        """Seconds of CPU that dcsignd-api has used."""
        child = self.api()
        with open("/proc/%d/stat" % child) as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def running(self):
        """In how many of 20 moments a thread of dcsignd-api ran, or wanted to."""
        folder = "/proc/%d/task" % self.api()
        moments = 0
        for _ in range(20):
            time.sleep(0.1)
            states = []
            for thread in os.listdir(folder):
                with open(f"{folder}/{thread}/stat") as f:
                    states.append(f.read().rsplit(")", 1)[1].split()[0])
            moments += "R" in states
        return moments

    @staticmethod
    def is_closed(connection):
        connection.setblocking(False)
        try:
            return connection.recv(1) == b""
        except BlockingIOError:
            return False
        except ConnectionError:
            return True

    def test_no_descriptors(self):
        """Without a free descriptor connections are closed; nothing spins, and it passes."""
        for held in 0, 1:
            keep = [self.service.raw() for _ in range(held)]
            time.sleep(3)  # refused connections linger for half a second
            child = self.api()
            before = resource.prlimit(child, resource.RLIMIT_NOFILE)
            used = max(int(fd) for fd in os.listdir("/proc/%d/fd" % child))
            resource.prlimit(child, resource.RLIMIT_NOFILE, (used + 1, before[1]))
            free = used + 1 - len(os.listdir("/proc/%d/fd" % child))
            lines = len(self.service.log().splitlines())
            cpu, begin = self.cpu(), time.monotonic()
            crowd = [socket.create_connection(("127.0.0.1", self.service.port)) for _ in range(free + 100)]
            time.sleep(2)
            took, share = time.monotonic() - begin, self.cpu() - cpu
            self.assertLess(share, 0.05 * took + 0.1, "%.2f s of CPU in %.1f s" % (share, took))
            self.assertLess(len(self.service.log().splitlines()) - lines, 3 * took + 5)
            self.assertIn("no descriptor is free", self.service.log())
            closed = 0
            until = time.monotonic() + 60
            while closed < 100 and time.monotonic() < until:  # turned away at once, the rest at its deadline
                closed = sum(map(self.is_closed, crowd))
                time.sleep(0.05)
            self.assertGreaterEqual(closed, 100)
            for plain in crowd:
                plain.close()
            for connection in keep:
                connection.sendall(b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                self.assertTrue(read_all(connection).startswith(b"HTTP/1.1 200 "))
                connection.close()
            resource.prlimit(child, resource.RLIMIT_NOFILE, before)
            begin = time.monotonic()
            connection = self.service.connect()
            self.assertEqual(ask(connection, "GET", "/v1/whoami")[0].status, 200)
            connection.close()
            self.assertLess(time.monotonic() - begin, 30)
            monitor = http.client.HTTPConnection("127.0.0.1", self.service.monitor, timeout=60)
            page = ask(monitor, "GET", "/metrics")[1].decode()
            monitor.close()
            shed = int(re.search(r"(?m)^dcsign_connections_shed_total (\d+)$", page).group(1))
            self.assertGreaterEqual(shed, 100 * (held + 1))

    def test_storm_of_connections(self):
        """Connections that come and go without a word as fast as they can: a good client is served."""
        stop = threading.Event()

        def storm():
            while not stop.is_set():
                try:
                    socket.create_connection(("127.0.0.1", self.service.port), timeout=5).close()
                except OSError:
                    pass

        threads = [threading.Thread(target=storm) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            until = time.monotonic() + (30 if LONG else 2)
            while time.monotonic() < until:
                connection = self.service.connect(timeout=60)
                self.assertEqual(ask(connection, "GET", "/v1/whoami")[0].status, 200)
                connection.close()
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def test_many_bad_requests(self):
        """A flood of refusals leaves few lines in the log."""
        before = len(self.service.log().splitlines())

        def flood():
            connection = self.service.connect("stranger")
            for _ in range(200 if LONG else 60):
                self.assertEqual(ask(connection, "GET", "/v1/keys")[0].status, 403)
            connection.close()

        threads = [threading.Thread(target=flood) for _ in range(4)]
        begin = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        lines = [line for line in self.service.log().splitlines()[before:] if "unknown client" in line]
        self.assertLessEqual(len(lines), time.monotonic() - begin + 2)
        self.assertGreaterEqual(len(lines), 1)

    def test_connection_per_request(self):
        for _ in range(60):
            connection = self.service.connect()
            self.assertEqual(ask(connection, "GET", "/v1/whoami")[0].status, 200)
            connection.close()
        until = time.monotonic() + 60
        while True:
            monitor = http.client.HTTPConnection("127.0.0.1", self.service.monitor, timeout=60)
            page = ask(monitor, "GET", "/metrics")[1].decode()
            monitor.close()
            open_now = int(re.search(r"(?m)^dcsign_connections (\d+)$", page).group(1))
            if open_now <= 2:
                break
            self.assertLess(time.monotonic(), until, "%d connections stay open" % open_now)
            time.sleep(0.1)


if __name__ == "__main__":
    main()
