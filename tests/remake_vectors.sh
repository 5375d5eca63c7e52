# The committed vectors are what the committed script makes, to the last octet.
set -eu
vectors=$TOP_SRCDIR/tests/vectors
if ! /usr/bin/python3 -c 'import cryptography' 2>/dev/null; then
	echo 'skipped: there is no python3-cryptography here'
	exit 77
fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PYTHONDONTWRITEBYTECODE=1

# With the committed signatures kept, all of it.
mkdir "$scratch/again" "$scratch/new"
/usr/bin/python3 "$vectors/make_vectors.py" "$scratch/again" "$vectors"
for table in spki certificate chain dc csr; do
	cmp "$scratch/again/$table.txt" "$vectors/$table.txt"
done
/usr/bin/python3 "$vectors/make_log.py" | cmp - "$vectors/log.txt"
# Without them, all but what is random: other signatures over the same octets.
/usr/bin/python3 "$vectors/make_vectors.py" "$scratch/new"
for table in again new; do
	grep -E '^(id|tbs_sha256|spki|expiry) = ' "$scratch/$table/dc.txt" >"$scratch/$table.fixed"
done
cmp "$scratch/again.fixed" "$scratch/new.fixed"
if cmp -s "$scratch/again/dc.txt" "$scratch/new/dc.txt"; then
	echo 'two runs made the same ECDSA signatures: they were not made anew'
	exit 1
fi
echo "$(grep -c '^id = ' "$scratch/again.fixed") credentials have the same signed octets"
