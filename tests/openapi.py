"""openapi.yaml as a judge of answers: what of an answer it does not describe."""
import os
import re
import sys

try:
    import yaml
except ImportError:
    print("SKIP: python3-yaml is missing")
    sys.exit(77)

SOURCE = os.environ.get("TOP_SRCDIR", ".")
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
        if alternative in schema and "properties" not in schema:
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


def answer_faults(path, method, response, body):
    """Of an answer (http.client) with its body, parsed where it is JSON, to a path of the document."""
    what = "%s %s %d" % (method, path, response.status)
    described = DOCUMENT["paths"][path][method.lower()]["responses"].get(str(response.status))
    if described is None:
        return [what + " is not described"]
    described = resolve(described)
    found = []
    for name, header in described.get("headers", {}).items():
        header = resolve(header)
        value = response.getheader(name)
        if value is None and header.get("required"):
            found.append("%s: no header field %s" % (what, name))
        elif value is not None:
            found += ["%s: %s" % (what, f) for f in faults(
                header["schema"], int(value) if header["schema"].get("type") == "integer" else value, name)]
    if not re.fullmatch("[0-9a-f]{32}", response.getheader("X-Request-Id") or ""):
        found.append(what + ": no X-Request-Id")
    kind = response.getheader("Content-Type")
    if "content" not in described:
        return found + ([what + ": a body"] if body else [])
    if kind not in described["content"]:
        return found + ["%s: %s is not described" % (what, kind)]
    if kind.endswith("json"):
        found += ["%s: %s" % (what, f) for f in faults(described["content"][kind]["schema"], body)]
    return found
