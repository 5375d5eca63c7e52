#!/usr/bin/python3
"""What the built programs are made of, as CycloneDX 1.5 JSON: each program, the libraries that it loads
(its own and theirs), and the Debian packages that these are from, with version and licences. Two runs over
the same programs and packages give the same octets. `make sbom` calls it.

usage: sbom.py VERSION PROGRAM... >FILE

The date is SOURCE_DATE_EPOCH, or none."""

import datetime
import hashlib
import json
import os
import re
import subprocess
import sys
import uuid

NAMESPACE = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")  # RFC 4122: URLs


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"}).stdout


def sha256(path):
    with open(path, "rb") as f:
        return [{"alg": "SHA-256", "content": hashlib.sha256(f.read()).hexdigest()}]


def needed(path):
    """Names of the libraries that this file itself asks for."""
    return sorted(re.findall(r"\(NEEDED\).*\[(.*)\]", run("readelf", "-d", path)))


def loaded(program):
    """{name: file} of all that the dynamic linker loads for this program."""
    lines = run("ldd", program)
    files = dict(re.findall(r"^\s*(\S+) => (/\S+) \(", lines, re.M))
    files.update({os.path.basename(f): f for f in re.findall(r"^\s*(/\S+) \(", lines, re.M)})
    return files


def packages_of(paths):
    """{file: (package, version, architecture, source)}; dpkg may know a file by its name without the link /lib."""
    names = {}
    for path in paths:
        real = os.path.realpath(path)
        names.update({real: path, real.removeprefix("/usr"): path})
    found = subprocess.run(("dpkg-query", "-S", *names), capture_output=True, text=True, check=False).stdout
    package = {names[line.split(": ", 1)[1]]: line.split(": ")[0] for line in found.splitlines()}
    missing = sorted(set(paths) - set(package))
    if missing:
        sys.exit(f"sbom: no package has {', '.join(missing)}")
    fields = run("dpkg-query", "-W", "-f", "${binary:Package} ${Package} ${Version} ${Architecture} ${source:Package}\n",
                 *sorted(set(package.values())))  # fmt: skip
    known = {line.split()[0].split(":")[0]: line.split()[1:] for line in fields.splitlines()}
    return {path: known[name.split(":")[0]] for path, name in package.items()}


def licences(package):
    """As debian/copyright names them: those of `Files: *`, else all; a text that is no form is named."""
    path = f"/usr/share/doc/{package}/copyright"
    with open(path, encoding="utf-8", errors="replace") as f:
        text = f.read()
    parts = re.split(r"\n\s*\n", text)
    names = [re.search(r"^License:\s*(\S.*)$", p, re.M) for p in parts if re.search(r"^Files:\s*\*\s*$", p, re.M)]
    names = [m[1].strip() for m in names if m] or re.findall(r"^License:\s*(\S.*)$", text, re.M)
    if "Format:" not in parts[0] or not names:
        names = [f"see {path}"]
    return [{"license": {"name": n}} for n in sorted(set(names))]


class Bom:
    def __init__(self, version, programs):
        self.version = version
        self.components, self.edges = {}, {}
        files = {p: loaded(p) for p in programs}
        libraries = {name: f for found in files.values() for name, f in found.items()}
        self.packages = packages_of(libraries.values())
        for path in programs:
            self.program(path)
        for name, path in libraries.items():
            self.library(name, path)

    def library(self, name, path):
        package, version, architecture, source = self.packages[path]
        self.components[name] = {
            "type": "library",
            "bom-ref": name,
            "name": name,
            "version": version,
            "purl": f"pkg:deb/debian/{package}@{version.replace('+', '%2B').replace(':', '%3A')}?arch={architecture}",
            "licenses": licences(package),
            "hashes": sha256(path),
            "properties": [{"name": "debian:package", "value": package}, {"name": "debian:source", "value": source}],
        }
        self.edges[name] = needed(path)

    def program(self, path):
        name = os.path.basename(path)
        self.components[name] = {
            "type": "application",
            "bom-ref": name,
            "name": name,
            "version": self.version,
            "licenses": [{"license": {"id": "Apache-2.0"}}],
            "hashes": sha256(path),
        }
        self.edges[name] = needed(path)

    def document(self, programs):
        product = {
            "type": "application",
            "bom-ref": "dcsign-all",
            "name": "dcsign",
            "version": self.version,
            "licenses": [{"license": {"id": "Apache-2.0"}}],
        }
        metadata = {"component": product}
        if os.environ.get("SOURCE_DATE_EPOCH"):
            at = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)
            metadata["timestamp"] = at.strftime("%Y-%m-%dT%H:%M:%SZ")
        edges = {"dcsign-all": sorted(os.path.basename(p) for p in programs), **self.edges}
        body = {
            "metadata": metadata,
            "components": [self.components[n] for n in sorted(self.components)],
            "dependencies": [{"ref": n, "dependsOn": edges[n]} for n in sorted(edges)],
        }
        number = uuid.uuid5(NAMESPACE, json.dumps(body, sort_keys=True))
        head = {"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": f"urn:uuid:{number}", "version": 1}
        return {**head, **body}


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    bom = Bom(sys.argv[1], sys.argv[2:])
    json.dump(bom.document(sys.argv[2:]), sys.stdout, indent=1)
    print()


main()
