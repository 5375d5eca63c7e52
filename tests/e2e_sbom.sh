#!/bin/bash
# `make sbom` (contrib/sbom.py): the fields that CycloneDX 1.5 requires, each library that the dynamic linker
# loads for each program, with package, version and hash; the same octets when it is made again.
set -u
src=${TOP_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
cd "${TOP_BUILDDIR:-$PWD}" || exit 99
command -v dpkg-query >/dev/null && command -v readelf >/dev/null || {
	echo "skipped: no dpkg-query or readelf here"
	exit 77
}
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
programs=(src/dcsignd src/client/dcsign src/ledger/dcsignd-ledger src/ledger/dcsign-ledger hsm/dcsignd-hsm
	hsm/dcsign-keys api/dcsignd-api)
export SOURCE_DATE_EPOCH=1795262400
for n in 1 2; do
	/usr/bin/python3 "$src/contrib/sbom.py" 0.1.0 "${programs[@]}" >"$folder/$n" || exit 1
done
cmp "$folder/1" "$folder/2" || exit 1
for p in "${programs[@]}"; do
	ldd "$p" | awk '$2 == "=>" { print $3 } NF == 2 && $1 ~ "^/" { print $1 }' |
		xargs sha256sum | sed "s|^|${p##*/} |"
done >"$folder/loaded"
/usr/bin/python3 - "$folder/1" "$folder/loaded" "${programs[@]##*/}" <<'END'
import json, re, sys
bom = json.load(open(sys.argv[1]))
assert bom["bomFormat"] == "CycloneDX" and bom["specVersion"] == "1.5" and bom["version"] == 1, bom
assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bom["serialNumber"])
assert bom["metadata"]["timestamp"] == "2026-11-21T12:00:00Z", bom["metadata"]
components = {c["bom-ref"]: c for c in bom["components"]}
assert len(components) == len(bom["components"]), "a bom-ref twice"
for ref, c in components.items():
    assert c["type"] in ("application", "library") and c["name"] and c["version"], c
    assert c["licenses"] and all(("id" in l["license"]) != ("name" in l["license"]) for l in c["licenses"]), c
    assert [h["alg"] for h in c["hashes"]] == ["SHA-256"] and re.fullmatch("[0-9a-f]{64}", c["hashes"][0]["content"]), c
    assert c["type"] == "application" or re.fullmatch(r"pkg:deb/debian/[^@ ]+@[^ ]+\?arch=\w+", c["purl"]), c
edges = {d["ref"]: d["dependsOn"] for d in bom["dependencies"]}
root = bom["metadata"]["component"]["bom-ref"]
assert set(edges) == set(components) | {root}, "dependencies are not of all components"
assert all(to in components for e in edges.values() for to in e), "a dependency that is no component"
assert set(edges[root]) == set(sys.argv[3:]), edges[root]
def reach(ref, seen):
    for to in edges[ref]:
        if to not in seen:
            seen.add(to)
            reach(to, seen)
    return seen
for line in open(sys.argv[2]):
    program, digest, path = line.split()
    name = path.rsplit("/", 1)[1]
    assert name in reach(program, set()), f"{program} loads {name}, which the SBOM does not say"
    assert components[name]["hashes"][0]["content"] == digest, name
print(f"-- {len(edges[root])} programs, {len(components) - len(edges[root])} libraries")
END
