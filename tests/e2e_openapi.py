"""openapi.yaml against what the service answers: every path and method, statuses, headers, members."""
import json
import os
import re
import sys

from api_fixture import CREDENTIALS, CSR_PEM, SOURCE, Case, ask, main

try:
    import yaml
except ImportError:
    print("SKIP: python3-yaml is missing")
    sys.exit(77)

with open(os.path.join(SOURCE, "api", "openapi.yaml"), encoding="utf-8") as f:
    DOCUMENT = yaml.safe_load(f)
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "null": type(None)}


def resolve(schema):
    while "$ref" in schema:
        node = DOCUMENT
        for part in schema["$ref"][2:].split("/"):
            node = node[part]
        schema = node
    return schema


def faults(schema, value, where="body"):
    """What of the value the schema does not say; members that it does not name too."""
    schema = resolve(schema)
    found = []
    for alternative in "oneOf", "anyOf":
        if alternative in schema:
            each = [faults(s, value, where) for s in schema[alternative]]
            fits = sum(not e for e in each)
            if fits == 0 or (alternative == "oneOf" and fits > 1):
                return ["%s fits %d of %s: %s" % (where, fits, alternative, each)]
    for part in schema.get("allOf", ()):
        found += faults(part, value, where)
    if "const" in schema and value != schema["const"]:
        found.append("%s is %r, not %r" % (where, value, schema["const"]))
    if "enum" in schema and value not in schema["enum"]:
        found.append("%s is %r" % (where, value))
    names = schema.get("type", [])
    names = [names] if isinstance(names, str) else names
    if names and not any(isinstance(value, TYPES[n]) and (n == "boolean") == isinstance(value, bool)
                         for n in names):
        return found + ["%s is %r, not %s" % (where, value, names)]
    if isinstance(value, str) and "pattern" in schema and not re.search(schema["pattern"], value):
        found.append("%s does not match %s" % (where, schema["pattern"]))
    if isinstance(value, list) and "items" in schema:
        for i, item in enumerate(value):
            found += faults(schema["items"], item, "%s[%d]" % (where, i))
    if isinstance(value, dict) and "properties" in schema:
        found += ["%s.%s is missing" % (where, n) for n in schema.get("required", ()) if n not in value]
        for name, member in value.items():
            if name not in schema["properties"]:
                found.append("%s.%s is not described" % (where, name))
            else:
                found += faults(schema["properties"][name], member, where + "." + name)
    return found


class Openapi(Case):
    def check(self, path, method, answer):
        response, body = answer
        responses = DOCUMENT["paths"][path][method.lower()]["responses"]
        described = responses.get(str(response.status), responses.get("default"))
        self.assertIsNotNone(described, "%s %s: %d is not described" % (method, path, response.status))
        described = resolve(described)
        self.assertRegex(response.getheader("X-Request-Id"), "^[0-9a-f]{32}$")
        kind = response.getheader("Content-Type")
        if response.status == 304:
            return
        self.assertIn(kind, described["content"], "%s %s %d" % (method, path, response.status))
        if "json" in kind:
            self.assertEqual(faults(described["content"][kind]["schema"], body), [],
                             "%s %s %d" % (method, path, response.status))
        self.seen.add((path, method, response.status))

    def test_answers(self):
        self.seen = set()
        edge, reader = self.service.connect("edge"), self.service.connect("reader")
        stranger = self.service.connect("stranger")
        credential = {"csr": CSR_PEM, "lifetime": 3600}
        one, batch = "/v1/keys/{key}/credentials", "/v1/keys/{key}/credentials/batch"

        def post(path, body, client=edge, query="", key="www", **headers):
            target = path.replace("{key}", key) + query
            self.check(path, "POST", ask(client, "POST", target, body, **headers))

        for body in credential, {"csr": CSR_PEM, "ttl": 1}, {"csr": CSR_PEM, "role": "x"}:
            post(one, body)
            post(one, body, query="?dry_run=true")
            post(batch, {"requests": [body, credential]})
            post(batch, {"requests": [body, credential]}, query="?dry_run=true")
        post(one, credential, Accept="application/octet-stream")
        post(one, credential, Idempotency_Key="x")
        post(batch, {"requests": []})
        for path in one, batch:
            post(path, credential, client=reader)
            post(path, credential, client=stranger)
            post(path, credential, key="none")
            post(path, json.dumps(credential), Content_Type="text/plain")
            edge.close()
        for code, status in (("held", 409), ("quota_exceeded", 429), ("key_unavailable", 503),
                             ("outcome_unknown", 504)):
            self.service.tell("refusal " + code)
            self.service.tell("mode refuse")
            post(one, credential)
            post(one, credential, query="?dry_run=true")
            self.assertIn((one, "POST", status), self.seen)
        self.service.tell("mode answer")
        for path in "/v1/keys", "/v1/keys/{key}", "/v1/keys/{key}/certificate", "/v1/whoami", "/openapi.yaml":
            for client in edge, stranger:
                self.check(path, "GET", ask(client, "GET", path.replace("{key}", "www")))
        for path in DOCUMENT["paths"]:
            if path.endswith(("/hold", "/release")):
                target = path.replace("{key}", "www").replace("{client}", "edge")
                self.check(path, "POST", ask(edge, "POST", target, {"reason": "x"}))
        for client in edge, reader, stranger:
            client.close()
        self.assertEqual({p for p, _, _ in self.seen}, set(DOCUMENT["paths"]), "paths without an answer")

    def test_routes(self):
        """The document names every path of the service, and no other."""
        with open(os.path.join(SOURCE, "api", "routes.c"), encoding="utf-8") as f:
            routes = re.findall(r'\{"(/[^"]*)", "([A-Z]+)", false', f.read())
        named = {(re.sub(r"\{\w+\}", "*", path), method.upper())
                 for path, item in DOCUMENT["paths"].items() for method in item if method != "parameters"}
        self.assertEqual(set(routes), named)


if __name__ == "__main__":
    main()
