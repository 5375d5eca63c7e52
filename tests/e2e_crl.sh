#!/bin/bash
# A revocation list that changes on disk is taken within 60 s, without a signal: from then on the
# revoked client is refused, on connections that were open before, too; others are not disturbed.
# The look at the file comes each second here, with DCSIGN_TESTS=long as seldom as it does in service.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
eval "$(declare -f config_write | sed '1s/config_write/config_write_plain/')"
config_write() {
	config_write_plain
	sed -i "s|^	client_ca = .*|&\n	client_crl = { \"$WORK/pki/crl.pem\" }|" "$WORK/etc/dcsignd.conf"
}
/usr/bin/python3 -c 'import cryptography' 2>/dev/null || skip "needs python3-cryptography"
# crl [NAME...]: the list has the certificates of these clients.
crl() {
	crl_prepare "$@"
	mv "$WORK/pki/crl.new" "$WORK/pki/crl.pem"
}
crl_prepare() {
	/usr/bin/python3 - "$WORK/pki" "$@" <<'END' || fail "no revocation list"
import datetime, os, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
folder = sys.argv[1]
def load(name):
    return x509.load_pem_x509_certificate(open(f"{folder}/{name}.pem", "rb").read())
key = serialization.load_pem_private_key(open(f"{folder}/ca.key", "rb").read(), None)
now, day = datetime.datetime.utcnow(), datetime.timedelta(days=1)
builder = x509.CertificateRevocationListBuilder().issuer_name(load("ca").subject).last_update(now - day).next_update(now + day)
for name in sys.argv[2:]:
    builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder().serial_number(
        load(name).serial_number).revocation_date(now - day).build())
with open(f"{folder}/crl.new", "wb") as f:
    f.write(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
END
}
crl
if [ "${DCSIGN_TESTS-}" = long ]; then
	service_start
else
	service_start DCSIGN_WATCH_MS=1000
fi

mkfifo "$WORK/out/say"
/usr/bin/python3 - "$WORK" "$PORT" "$(dc_key P-256 "$WORK/out/dc")" >"$WORK/out/watch" 2>&1 <<'END' &
import http.client, json, os, ssl, sys, time
work, port, spki = sys.argv[1], int(sys.argv[2]), sys.argv[3]

def connect(client):
    context = ssl.create_default_context(cafile=f"{work}/pki/ca.pem")
    context.load_cert_chain(f"{work}/pki/{client}.pem", f"{work}/pki/{client}.key")
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=30, context=context)

def whoami(connection):
    connection.request("GET", "/v1/whoami")
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())

def issue(connection):
    connection.request("POST", "/v1/keys/www/credentials", json.dumps({"public_key": spki}), {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())

open_ones = [connect("edge") for _ in range(6)]
other = connect("auditor")
for connection in open_ones + [other]:
    connection.auto_open = 1
    assert whoami(connection)[0] == 200
    connection.auto_open = 0  # from here on it is this connection or none
assert issue(open_ones[0])[0] == 201
open(f"{work}/out/say", "w").write("open\n")
while not os.path.exists(f"{work}/out/revoked"):
    time.sleep(0.02)
begin = os.stat(f"{work}/pki/crl.pem").st_mtime
asked = 0
while True:
    status, body = whoami(open_ones[0])
    took = time.time() - begin
    asked += 1
    if status != 200:
        break
    assert took < 60, f"{took:.1f} s after the list changed the client is still served"
    time.sleep(0.05)
assert (status, body["code"]) == (403, "unknown_client"), (status, body)
for n, connection in enumerate(open_ones[1:]):
    status, body = issue(connection) if n % 2 else whoami(connection)
    assert (status, body["code"]) == (403, "unknown_client"), (n, status, body)
try:
    status = whoami(connect("edge"))[0]
    raise SystemExit(f"a new connection of the revoked client: {status}")
except (ssl.SSLError, ConnectionError, http.client.BadStatusLine):
    pass
assert whoami(other)[0] == 200, "the other client's connection"
print(f"taken {took:.1f} s after the change, {asked} requests before")
END
watcher=$!
read -r -t 60 word <"$WORK/out/say" || fail "$(cat "$WORK/out/watch")"
crl edge
touch "$WORK/out/revoked"
wait $watcher || fail "$(cat "$WORK/out/watch")"
note "$(cat "$WORK/out/watch")"
[ "$(grep -c 'event="*configuration taken' "$WORK/log")" -ge 1 ] || fail "the log does not say that it was taken"

# Back, and to and fro, while the configuration is being taken for another reason: a list that changes
# after it was read is seen, too.
json="{\"public_key\":\"$(sed '/-/d' "$WORK/out/dc.pub" | tr -d '\n')\"}"
becomes() { # STATUS OF AN ISSUE, 000: refused in the handshake
	local n status
	for n in $(seq 600); do
		status=$(issue edge www "$json")
		[ "$status" = "$1" ] && return
		sleep 0.2
	done
	fail "not $1 60 s after the list has changed, but $status"
}
crl
becomes 201
for late in 0.03 0.15 0.3; do
	crl_prepare edge
	kill -HUP "$PID"
	sleep $late
	mv "$WORK/pki/crl.new" "$WORK/pki/crl.pem"
	becomes 000
	crl_prepare
	kill -HUP "$PID"
	sleep $late
	mv "$WORK/pki/crl.new" "$WORK/pki/crl.pem"
	becomes 201
done
service_stop
ledger_verify
