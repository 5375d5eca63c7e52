#!/bin/bash
# The policy through the API: keys of every type that a policy can name, each refusal with its code,
# field, limit and what would be taken, and a dry run that says what the real call says.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
demo_client "$WORK/pki" ca fourth && demo_client "$WORK/pki" ca narrow && demo_client "$WORK/pki" ca slow ||
	fail "no PKI"
# the same delegation key with a certificate for servers alone, and with one that ends soon
for n in servers short; do cp "$WORK/pki/www.csr" "$WORK/pki/$n.csr"; done
demo_sign "$WORK/pki" ca servers "${DEMO_DELEGATION_EXT/,clientAuth/}" || fail "no certificate"
demo_x509 "$WORK/pki" short "$DEMO_DELEGATION_EXT" -cert "$WORK/pki/ca.pem" -keyfile "$WORK/pki/ca.key" \
	-enddate "$(date -u -d '+2 hours' +%Y%m%d%H%M%SZ)" || fail "no certificate"
all='ecdsa_secp256r1_sha256, ecdsa_secp384r1_sha384, ecdsa_secp521r1_sha512, ed25519, rsa_pss_pss_sha256,
		rsa_pss_pss_sha384, rsa_pss_pss_sha512, mldsa44, mldsa65, mldsa87'
key() {
	printf 'key %s {\n token = main\n uri = "pkcs11:object=www"\n certificate = { "%s" }\n policy = %s\n}\n' \
		"$1" "$WORK/pki/$2.pem" "$3"
}
CONF_TOKEN='sign_timeout = 20s' # on a busy machine
CONF_EXTRA="limits {
	max_lifetime = 20h
	request_deadline = 30s
}
policy wide {
	max_lifetime = 24h
	min_lifetime = 2s
	roles = { server, client }
	algorithms = { $all }
	proof_of_possession = optional
}
policy strict {
	max_lifetime = 12h
	roles = { server }
	algorithms = { ecdsa_secp256r1_sha256, mldsa44 }
	proof_of_possession = required
}
policy few {
	max_live = 2
	proof_of_possession = optional
}
policy tiny {
	max_lifetime = 2h
	max_start_ahead = 1m
	roles = { server, client }
	algorithms = { $all }
	proof_of_possession = optional
}
$(key wide www wide) $(key strict www strict) $(key few www few) $(key servers servers wide) $(key short short wide)
client fourth {
	match { uri = \"spiffe://demo.example/fourth\" }
	may = { issue }
	keys = { wide, www }
	max_live = 3
}
client narrow {
	match { uri = \"spiffe://demo.example/narrow\" }
	may = { issue }
	keys = { wide }
	policy = tiny
}
client slow {
	match { uri = \"spiffe://demo.example/slow\" }
	may = { issue }
	keys = { wide }
	rate = 3/h
}"
CONF_KEYS=', wide, strict, few, servers, short'
service_keys=7
service_start
export WORK URL MONITOR DCSIGN
PYTHONPATH=$TOP_SRCDIR/tests /usr/bin/python3 "$TOP_SRCDIR/tests/policy_api.py" || exit 1
service_stop
ledger_verify
/usr/bin/python3 - "$WORK/out/records" <<'END' || exit 1
import json, sys
records = [json.loads(line) for line in open(sys.argv[1])]
issued = {r["id"] for r in records if r["type"] == "ISSUED"}
algorithms = {r["algorithm"] for r in records if r["type"] == "AUTHORISED" and r["id"] in issued}
wanted = {"ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384", "ecdsa_secp521r1_sha512", "ed25519",
          "rsa_pss_pss_sha256", "rsa_pss_pss_sha384", "rsa_pss_pss_sha512", "mldsa44", "mldsa65", "mldsa87"}
if algorithms != wanted:
    sys.exit("FAIL: in the ledger: %s" % sorted(algorithms))
strangers = [r for r in records if r["type"] == "REFUSED" and r["reason"] == "unknown_client"]
want = json.load(open(sys.argv[1][:-len("records")] + "stranger.json"))
if not any(r["request"] == want["request"] and r["client_sha256"] == want["sha256"] and "CN=stranger" in r["detail"]
           for r in strangers):
    sys.exit("FAIL: the stranger is not in the ledger: %s" % strangers)
if not 2 <= sum(r.get("count", 1) for r in strangers) <= 60 or len(strangers) > 45:
    sys.exit("FAIL: %d records of strangers" % len(strangers))
if any(r.get("request", "").startswith("dry") for r in records):
    sys.exit("FAIL: a dry run is in the ledger")
END
