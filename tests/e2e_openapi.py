"""openapi.yaml against what the service answers: every path, method, status, header field and member
that the document has is seen, and nothing is answered that it has not."""
import json
import os
import re
import time
from functools import partial

from api_fixture import CSR_PEM, SOURCE, Case, ask, main, side_by_side
from openapi import DOCUMENT, answer_faults, faults, resolve

ID = "00112233445566778899aabbccddeeff"
QUERIES = {"/v1/ledger/checkpoint": "?chain=test/main", "/v1/ledger/proof": "?id=" + ID,
           "/v1/ledger/consistency": "?chain=test/main&from=1", "/v1/ledger/records": "?chain=test/main"}
OPERATIONS = [(path, method.upper()) for path, item in DOCUMENT["paths"].items()
              for method in item if method != "parameters"]


def body_of(path):
    """A good one."""
    if path.endswith("/batch"):
        return {"requests": [{"csr": CSR_PEM}]}
    return {"csr": CSR_PEM} if path.endswith("/credentials") else {"reason": "x"}


def right_client(path):
    if path.startswith("/v1/ledger") or path.startswith("/v1/credentials"):
        return "reader"
    return "warden" if path.endswith(("/hold", "/release")) else "edge"


def target_of(path, missing=False):
    target = path.replace("{key}", "none" if missing else "www").replace(
        "{client}", "none" if missing else "edge").replace("{id}", "0" * 32 if missing else ID)
    query = QUERIES.get(path, "")
    if missing:
        query = query.replace("test/main", "none/none").replace(ID, "0" * 32)
    if missing and target == path and not query:
        query = "?"  # a target that is not written exactly so
        if "parameters" in DOCUMENT["paths"][path].get("get", {}):
            return target + "/"
    return target + query


class Openapi(Case):
    seen = set()
    members = set()

    def note(self, where, value):
        """Which members were ever there."""
        if isinstance(value, dict):
            for name, member in value.items():
                self.members.add((where, name))
                self.note("%s.%s" % (where, name), member)
        elif isinstance(value, list):
            for member in value:
                self.note(where, member)

    def check(self, path, method, answer, status=None):
        response, body = answer
        self.assertEqual(answer_faults(path, method, response, body), [])
        if status is not None:
            self.assertEqual(response.status, status, "%s %s: %s" % (method, path, body))
        self.seen.add((path, method, response.status))
        if "json" in (response.getheader("Content-Type") or ""):
            self.note("problem" if "problem" in response.getheader("Content-Type") else
                      "%s %s" % (method, path), body)

    def ask(self, path, method, status, client=None, target=None, body=None, **headers):
        connection = self.service.connect(client or right_client(path))
        if method == "POST" and body is None:
            body = body_of(path)
        self.check(path, method, ask(connection, method, target or target_of(path), body, **headers), status)
        connection.close()

    def test_1_every_operation(self):
        """What any operation can answer, provoked at each."""
        def every_answer(path, method):
            good = {("/v1/keys/{key}/credentials", "POST"): 201}.get((path, method), 200)
            self.ask(path, method, good)
            self.ask(path, method, 400, Transfer_Encoding="identity", body={} if method == "POST" else None)
            self.ask(path, method, 403, client="stranger")
            self.ask(path, method, 404, target=target_of(path, missing=True))
            self.ask(path, method, 414, target=target_of(path) + "a" * 9000)
            self.ask(path, method, 417, Expect="200-ok")
            self.other_version(path, method)
            self.ask(path, method, 431, **{"X_%d" % i: "x" for i in range(70)})
            if method == "POST":
                self.ask(path, method, 413, body=" ", Content_Length="200000")
                self.ask(path, method, 415, Content_Type="text/plain")

        side_by_side(*(partial(every_answer, path, method) for path, method in OPERATIONS), workers=4)
        for path, method in OPERATIONS:  # its one request an hour is soon spent
            if "429" in DOCUMENT["paths"][path][method.lower()]["responses"]:
                connection = self.service.connect("throttled")
                ask(connection, "GET", "/v1/ledger/heads")
                connection.close()
                self.ask(path, method, 429, client="throttled")

    def other_version(self, path, method):
        connection = self.service.connect(right_client(path))
        connection._http_vsn_str = "HTTP/1.2"
        self.check(path, method, ask(connection, method, target_of(path), body_of(path) if method == "POST" else None), 505)
        connection.close()

    def test_1_other_methods(self):
        """No operation of the document: 405, with those that are."""
        for path, item in DOCUMENT["paths"].items():
            methods = [m.upper() for m in item if m != "parameters"]
            for method in {"GET", "POST", "PUT", "DELETE"} - set(methods):
                connection = self.service.connect(right_client(path))
                response, body = answer = ask(connection, method, target_of(path))
                connection.close()
                self.problem(answer, 405, "method_not_allowed")
                self.assertEqual(response.getheader("Allow").split(", "), methods)
                self.assertEqual(faults({"$ref": "#/components/schemas/Problem"}, body), [])

    def test_codes(self):
        """The document names every code of the service, and no other."""
        with open(os.path.join(SOURCE, "src", "err.h"), encoding="utf-8") as f:
            codes = re.findall(r'X\([A-Z_0-9]+, "(\w+)", \d+,', f.read())
        self.assertEqual(codes[0], "ok")
        self.assertEqual(DOCUMENT["components"]["schemas"]["Code"]["enum"], codes[1:])

    def test_2_credentials(self):
        credential = {"csr": CSR_PEM, "lifetime": 3600}
        one, batch = "/v1/keys/{key}/credentials", "/v1/keys/{key}/credentials/batch"
        for body in credential, {"csr": CSR_PEM, "ttl": 1}, {"csr": CSR_PEM, "role": "x"}:
            for query in "", "?dry_run=true":
                self.ask(one, "POST", None, target=target_of(one) + query, body=body)
                self.ask(batch, "POST", 200, target=target_of(batch) + query,
                         body={"requests": [body, credential]})
        self.ask(one, "POST", 201, Accept="application/octet-stream")
        self.ask(one, "POST", 201, Idempotency_Key="x")
        self.ask(one, "POST", 400, target=target_of(one) + "?dry_run=1")
        self.ask(batch, "POST", 400, body={"requests": []})
        self.ask(one, "POST", 403, client="reader")
        # one that the hsm process refuses, and one of another certificate than the others
        self.service.tell("refusal held")
        self.ask(batch, "POST", 200, body={"requests": [credential, dict(credential, reference="refuse"),
                                                        dict(credential, reference="old")]})
        self.service.tell("refusal overloaded")
        self.ask(batch, "POST", 200, body={"requests": [dict(credential, reference="refuse")]})
        for code, status in (("held", 409), ("quota_exceeded", 429), ("lifetime_too_long", 422),
                             ("key_unavailable", 503), ("outcome_unknown", 504)):
            self.service.tell("refusal " + code)
            self.service.tell("mode refuse")
            self.ask(one, "POST", status)
            self.ask(one, "POST", status if status > 500 else 200, target=target_of(one) + "?dry_run=true")
        self.service.tell("mode silent")
        self.service.deadline(1500)
        self.ask(one, "POST", 504)
        self.ask(batch, "POST", 504)
        self.service.deadline(10000)
        self.service.tell("mode answer")
        self.service.tell("hsm_close")
        self.service.tell("hsm_open")
        self.wait(lambda: self.service.readyz()[0] == 200)

    def test_3_the_rest(self):
        keys = "/v1/keys/{key}"
        certificate = keys + "/certificate"
        connection = self.service.connect()
        etag = ask(connection, "GET", target_of(certificate))[0].getheader("ETag")
        connection.close()
        self.ask(certificate, "GET", 304, If_None_Match=etag)
        self.ask("/v1/ledger/consistency", "GET", 200, target=target_of("/v1/ledger/consistency") + "&to=9")
        for path in "/v1/credentials", "/v1/credentials/{id}", "/v1/ledger/proof":
            self.ask(path, "GET", 200, client="edge")
            self.service.tell("ledger_damaged 1")
            self.ask(path, "GET", 500)
            self.service.tell("ledger_damaged 0")
        self.ask("/v1/credentials", "GET", 403, target="/v1/credentials?client=reader", client="edge")
        self.ask("/v1/whoami", "GET", 200, client="slow")
        self.service.tell("ledger_silent 1")
        self.service.deadline(1500)
        for path, method in OPERATIONS:
            if path.startswith(("/v1/ledger", "/v1/credentials")) or path.endswith(("/hold", "/release")):
                self.ask(path, method, 504)
        self.ask(keys, "GET", 200)
        self.service.deadline(10000)
        self.service.tell("ledger_silent 0")
        self.service.tell("ledger_again")
        self.wait(lambda: self.service.readyz()[0] == 200)
        self.service.tell("served 0")
        self.wait(lambda: self.service.readyz()[0] == 503)
        for path in "/v1/keys", keys:
            self.ask(path, "GET", 200)
        self.service.tell("served 1")
        self.wait(lambda: self.service.readyz()[0] == 200)
        self.service.tell("ledger_holds 1")
        connection = self.service.connect()
        self.wait(lambda: ask(connection, "GET", "/v1/whoami")[1]["hold"] is not None)
        connection.close()
        for path in "/v1/keys", keys, "/v1/whoami":
            self.ask(path, "GET", 200)
        self.service.tell("ledger_holds 0")

    def wait(self, condition):
        until = time.monotonic() + 60
        while not condition():
            self.assertLess(time.monotonic(), until)
            time.sleep(0.05)

    def test_4_stopping(self):
        """While a request is under way the service refuses new ones on open connections."""
        connections = {}
        for path, method in OPERATIONS:
            connections[path, method] = self.service.connect(right_client(path))
            self.assertEqual(ask(connections[path, method], "GET", "/v1/whoami")[0].status, 200)
        self.service.tell("mode silent")
        self.service.tell("deadline 20000")
        self.service.tell("reload", "config ok")
        waiting = self.service.connect()
        waiting.request("POST", "/v1/keys/www/credentials", json.dumps({"csr": CSR_PEM}),
                        {"Content-Type": "application/json", "Idempotency-Key": "the-last"})
        self.wait(lambda: "idempotency=the-last" in self.service.tell("last", "last "))
        self.service.tell("term")
        self.wait(lambda: "event=stopping" in self.service.log())
        for (path, method), connection in connections.items():
            body = body_of(path) if method == "POST" else None
            self.check(path, method, ask(connection, method, target_of(path), body), 503)
            connection.close()
        waiting.close()

    def test_5_all_seen(self):
        described = {(path, method, int(status)) for path, method in OPERATIONS
                     for status in DOCUMENT["paths"][path][method.lower()]["responses"]}
        self.assertEqual(described - self.seen, set(), "described and not seen")
        for path, method in OPERATIONS:
            for status, response in DOCUMENT["paths"][path][method.lower()]["responses"].items():
                content = resolve(response).get("content", {}).get("application/json")
                if content is not None:
                    self.all_members("%s %s" % (method, path), content["schema"])
        self.all_members("problem", {"$ref": "#/components/schemas/Problem"})

    def all_members(self, where, schema):
        schema = resolve(schema)
        for alternative in schema.get("oneOf", []) + schema.get("anyOf", []) + schema.get("allOf", []):
            self.all_members(where, alternative)
        if "items" in schema:
            self.all_members(where, schema["items"])
        for name, member in schema.get("properties", {}).items():
            self.assertTrue((where, name) in self.members, "no answer had %s.%s" % (where, name))
            self.all_members("%s.%s" % (where, name), member)

    def test_routes(self):
        """The document names every path of the service, and no other."""
        with open(os.path.join(SOURCE, "api", "routes.c"), encoding="utf-8") as f:
            routes = re.findall(r'\{"(/[^"]*)", "([A-Z]+)", false', f.read())
        named = {(re.sub(r"\{\w+\}", "*", path), method) for path, method in OPERATIONS}
        self.assertEqual(set(routes), named)


if __name__ == "__main__":
    main()
