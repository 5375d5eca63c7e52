#!/bin/bash
# The commands of doc/quickstart.md and contrib/pki/README.md work as they are printed, one after the
# other: custodian, authority, operator, server team, auditor, a revoked client, a rollover, cfssl.
# Only paths and ports are others, and systemctl is a stand-in.
. "$(dirname "$0")/lib.sh"
e2e_begin
PORT=$(demo_port)
MONITOR_PORT=$(demo_port)
MONITOR=http://127.0.0.1:$MONITOR_PORT
quickstart=$TOP_SRCDIR/doc/quickstart.md
pki=$TOP_SRCDIR/contrib/pki/README.md

# What the packages and the machine bring.
mkdir "$WORK/bin" "$WORK/agent" "$WORK/desk"
ln -s "$DCSIGN" "$WORK/bin/dcsign"
cat >"$WORK/bin/dcsignd" <<END
#!/bin/sh
exec "$DCSIGND" -c "$WORK/etc/dcsignd.conf" "\$@"
END
cat >"$WORK/bin/systemctl" <<END
#!/bin/sh
case "\$*" in
"enable --now dcsignd")
	CREDENTIALS_DIRECTORY=$WORK/etc setsid "$DCSIGND" -c "$WORK/etc/dcsignd.conf" </dev/null >>"$WORK/log" 2>&1 &
	echo \$! >"$WORK/pid"
	;;
"reload dcsignd") kill -HUP "\$(cat "$WORK/pid")" ;;
"stop dcsignd")
	kill -TERM "\$(cat "$WORK/pid")"
	for n in \$(seq 600); do
		kill -0 "\$(cat "$WORK/pid")" 2>/dev/null || exit 0
		sleep 0.1
	done
	exit 1
	;;
*"reload -- edge.service") echo >>"$WORK/reloaded" ;;
*) echo "systemctl \$*?" >&2; exit 1 ;;
esac
END
chmod +x "$WORK/bin/dcsignd" "$WORK/bin/systemctl"
test_end() {
	[ ! -s "$WORK/pid" ] || kill -KILL "$(cat "$WORK/pid")" 2>/dev/null
}
mkdir "$WORK/tokens"
printf 'directories.tokendir = %s/tokens\nobjectstore.backend = file\nlog.level = ERROR\n' "$WORK" \
	>"$WORK/etc/softhsm2.conf"
export SOFTHSM2_CONF=$WORK/etc/softhsm2.conf PATH=$WORK/bin:$PATH
cp "$TOP_SRCDIR/src/dcsignd.conf.example" "$WORK/etc/dcsignd.conf"
if [ -n "$SEPARATE" ]; then
	echo "users { api = \"${E2E_UIDS[0]}\" hsm = \"${E2E_UIDS[1]}\" ledger = \"${E2E_UIDS[2]}\" }"
else
	echo 'single_user = yes'
fi >>"$WORK/etc/dcsignd.conf"
sed -i -e "s|^#require_clock_sync.*|require_clock_sync = no|; s|^#state .*|state = \"$WORK/state\"|" \
	-e "s|0.0.0.0:8443|127.0.0.1:$PORT|; s|:9464|:$MONITOR_PORT|; s|/var/lib/dcsign/|$WORK/state/|" \
	-e "s|/etc/dcsign/softhsm2.conf|$WORK/etc/softhsm2.conf|; s|/usr/lib/softhsm/libsofthsm2.so|$DEMO_MODULE|" \
	"$WORK/etc/dcsignd.conf"

ran=0
# play FILE SCENE FOLDER: the tested blocks of this scene, in one shell that goes on where it was.
play() {
	awk -v scene="$2" '/^<!-- tested/ { t = ($0 == "<!-- tested" (scene == "" ? "" : ": " scene) " -->"); next }
		/^```/ { on = !on && t; if (!on) t = 0; next } on' "$1" |
		sed -e "s|/etc/dcsign/|$WORK/etc/|g; s|=/etc/dcsign |=$WORK/etc |g; s|/var/lib/dcsign-agent|$WORK/agent|g" \
			-e "s|/var/lib/dcsign/|$WORK/state/|g; s|:8443|:$PORT|g; s|:9464|:$MONITOR_PORT|g" \
			-e "s|/usr/lib/softhsm/libsofthsm2.so|$DEMO_MODULE|g" >"$WORK/out/commands"
	[ -s "$WORK/out/commands" ] || fail "$1 has no commands for '$2'"
	ran=$((ran + $(wc -l <"$WORK/out/commands")))
	note "$(basename "$(dirname "$1")")/$(basename "$1") $2: $(wc -l <"$WORK/out/commands") lines"
	{
		cat "$WORK/out/keep"
		echo 'set -x'
		cat "$WORK/out/commands"
		echo "{ set +x; } 2>/dev/null; declare -p TOKEN >'$WORK/out/keep'"
	} >"$WORK/out/script"
	(cd "$3" && exec bash -eu "$WORK/out/script") >"$WORK/out/said" 2>&1 ||
		fail "$(tail -n 30 "$WORK/out/said")"
}
echo "TOKEN=" >"$WORK/out/keep"

desk=$WORK/desk
play "$quickstart" custodian "$desk"
[ "$(stat -c %a "$WORK/etc/pin")" = 600 ] || fail "the PIN's mode"
cp "$TOP_SRCDIR/contrib/pki/ca.cnf" "$TOP_SRCDIR/contrib/pki/cfssl.json" "$desk"
mkdir "$desk/ca" && mv "$desk/www.csr" "$desk/ca"
play "$pki" "" "$desk"
# the clock of what is signed next must not be before the certificate's
for cert in www server edge-fra auditor; do
	openssl verify -CAfile "$desk/ca/ca.pem" "$desk/ca/$cert.pem" >/dev/null || fail "$cert.pem does not verify"
done
if [ -n "$SEPARATE" ]; then
	demo_token_close "$WORK" "${E2E_UIDS[1]}"
	chmod 644 "$WORK/etc/softhsm2.conf"
else
	demo_token_close "$WORK"
fi
: >"$WORK/log"
play "$quickstart" operator "$desk/ca"
play "$quickstart" server "$desk/ca"
[ -s "$WORK/reloaded" ] || fail "the server was not reloaded"
[ "$(sed -n 's/^dcsign_agent_ledger_size_records{.*} //p' "$WORK/agent/dcsign-agent.prom")" -gt 0 ] ||
	fail "the agent is no witness"

# asks CLIENT: may it still ask?
asks() {
	curl -s -o /dev/null --max-time 60 --cacert "$desk/ca/ca.pem" --cert "$desk/ca/$1.pem" --key "$desk/ca/$1.key" \
		"https://localhost:$PORT/v1/whoami"
}
cp -a "$desk" "$WORK/kept"
asks auditor || fail "the auditor is refused"
play "$pki" revoke "$desk/ca"
kill -HUP "$(cat "$WORK/pid")"
for _ in $(seq 600); do
	asks auditor || break
	sleep 0.1
done
! asks auditor || fail "the revoked client is let in"
asks edge-fra || fail "the other client is refused"
# the auditor is needed once more: another certificate for the same key
(cd "$desk/ca" && ALT_NAMES=URI:spiffe://example/auditor openssl ca -batch -notext -config ca.cnf \
	-extensions client -in auditor.csr -out auditor.pem 2>/dev/null) || fail "no new certificate for the auditor"

before=$(sed -n 's/.*"certificate_sha256": "\(.*\)".*/\1/p' "$WORK/agent/edge/credential.json")
chmod -R u+w "$WORK/tokens"
export CREDENTIALS_DIRECTORY=$WORK/etc
play "$pki" rollover "$desk/ca"
unset CREDENTIALS_DIRECTORY
[ -z "$SEPARATE" ] || chgrp -R "${E2E_UIDS[1]}" "$WORK/tokens"
chmod -R g=rX,o= "$WORK/tokens"
new=$(openssl x509 -in "$WORK/etc/www-2.pem" -outform DER | sha256sum | cut -d' ' -f1)
for _ in $(seq 120); do
	"$DCSIGN" agent -c "$WORK/etc/agent.conf" --once >"$WORK/out/agent" 2>&1
	after=$(sed -n 's/.*"certificate_sha256": "\(.*\)".*/\1/p' "$WORK/agent/edge/credential.json")
	[ "$after" = "$before" ] || break
	sleep 0.5
done
[ "$after" = "$new" ] && grep -q 'because="the delegation certificate has changed"' "$WORK/out/agent" ||
	fail "the agent does not roll over: $(cat "$WORK/out/agent" "$WORK/out/said")"
play "$quickstart" auditor "$desk/ca"
grep -q '"type":"ISSUED"' "$desk/ca/records.jsonl" || fail "the export has no credential"
: >"$WORK/pid"

if command -v cfssl >/dev/null && command -v cfssljson >/dev/null; then
	mkdir "$WORK/cfssl"
	cp "$TOP_SRCDIR/contrib/pki/ca.cnf" "$TOP_SRCDIR/contrib/pki/cfssl.json" "$desk/ca/www.csr" "$WORK/cfssl"
	play "$pki" cfssl "$WORK/cfssl"
	openssl verify -CAfile "$WORK/cfssl/ca.pem" "$WORK/cfssl/server.pem" "$WORK/cfssl/www.pem" >/dev/null ||
		fail "cfssl's authority"
	openssl x509 -in "$WORK/cfssl/www.pem" -noout -text | grep -q 1.3.6.1.4.1.44363.44 || fail "no DelegationUsage"
	# what the page says of cfssl alone
	cfssl sign -ca "$WORK/cfssl/ca.pem" -ca-key "$WORK/cfssl/ca.key" -config "$WORK/cfssl/cfssl.json" \
		-profile delegation -hostname localhost "$WORK/cfssl/www.csr" 2>/dev/null >"$WORK/out/cfssl"
	member cert "$WORK/out/cfssl" >"$WORK/etc/www-2.pem"
	CREDENTIALS_DIRECTORY=$WORK/etc dcsignd -n >"$WORK/out/said" 2>&1
	grep -q 'has no DelegationUsage' "$WORK/out/said" || fail "a certificate without DelegationUsage: $(cat "$WORK/out/said")"
else
	note "cfssl is not here (Debian: golang-cfssl): its commands were not tried"
fi
for page in README.md doc/quickstart.md contrib/pki/README.md; do
	for to in $(grep -oE '\]\([^)#]+\)' "$TOP_SRCDIR/$page" | sed 's/^](//; s/)$//' | grep -v ^http); do
		[ -e "$TOP_SRCDIR/$(dirname "$page")/$to" ] || fail "$page points to $to, which is not there"
	done
done
[ "$ran" -gt 60 ] || fail "only $ran lines were run"
