#!/bin/bash
# The whole way: dcsign agent gets short-lived credentials from the service, puts each set in place
# and tells two servers, one on BoringSSL and one on NSS, while NSS's tstclnt -B connects in a loop
# and one connection to each server stays open from the first rotation to the last. No handshake may
# fail, and each must be made with a delegated credential. On the way the delegation certificate is
# replaced and the process that signs is killed.
. "$(dirname "$0")/lib.sh"

ROTATIONS=${DCSIGN_ROTATIONS:-20}
HELPERS=()

test_end() {
	local p
	for p in "${HELPERS[@]}"; do
		end_process "$p"
	done
}

for program in tstclnt certutil; do
	command -v "$program" >/dev/null || skip "$program is missing (Debian: libnss3-tools)"
done
servers=()
for server in dc nss; do
	if [ -x "$TOP_BUILDDIR/tests/interop/${server}_server" ]; then
		servers+=("$server")
	else
		note "there is no ${server}_server: its library was missing when this was configured"
	fi
done
[ ${#servers[@]} -gt 0 ] || skip "no test server (Debian: android-libboringssl-dev, libnss3-dev)"

e2e_begin
CONF_POLICY='min_lifetime = 2s'
token_and_pki
service_start

mkdir "$WORK/nss"
certutil -N -d "sql:$WORK/nss" --empty-password &&
	certutil -A -d "sql:$WORK/nss" -n ca -t C,, -i "$WORK/pki/ca.pem" || fail "NSS refuses the CA"

{
	cat <<END
metrics = "$WORK/out/agent.prom"
check_interval = 2s
service main {
	url = { "https://localhost:1", "$URL" }
	ca = "$WORK/pki/ca.pem"
	certificate = "$WORK/pki/edge.pem"
	private_key = "$WORK/pki/edge.key"
}
END
	for server in "${servers[@]}"; do
		cat <<END
credential $server {
	service = main
	key = www
	output = "$WORK/$server"
	lifetime = 16s
	issuer_ca = "$WORK/pki/ca.pem"
	reload_pid_file = "$WORK/$server.pid"
}
END
	done
} >"$WORK/etc/agent.conf"
for server in "${servers[@]}"; do # nobody to be told yet
	sleep 600 &
	HELPERS+=($!)
	echo $! >"$WORK/$server.pid"
done
"$DCSIGN" agent -c "$WORK/etc/agent.conf" --once >"$WORK/out/once" 2>&1 ||
	fail "the first credentials: $(cat "$WORK/out/once")"

declare -A port
for server in "${servers[@]}"; do
	"$TOP_BUILDDIR/tests/interop/${server}_server" --set "$WORK/$server" >"$WORK/out/$server" 2>&1 &
	HELPERS+=($!)
	echo $! >"$WORK/$server.pid"
	for _ in $(seq 1200); do
		port[$server]=$(sed -n 's/^port //p' "$WORK/out/$server")
		[ -n "${port[$server]}" ] && break
		sleep 0.05
	done
	[ -n "${port[$server]}" ] || fail "${server}_server does not start: $(cat "$WORK/out/$server")"
done
"$DCSIGN" agent -c "$WORK/etc/agent.conf" >"$WORK/out/agent" 2>&1 &
AGENT=$!
HELPERS+=("$AGENT")

# connect SERVER OUTPUT SECONDS: a connection with what comes on standard input, until it says bye.
# tstclnt spins when a pipe there ends, and writes a line each time: so it gets a file or a pipe that
# stays, a time and a size.
connect() {
	(
		ulimit -f 2048
		exec timeout "$3" tstclnt -h 127.0.0.1 -p "${port[$1]}" -a localhost \
			-d "sql:$WORK/nss" -B -V tls1.3:tls1.3 -v >"$2" 2>&1
	)
}
echo bye >"$WORK/bye"

# Connections that stay open.
for server in "${servers[@]}"; do
	mkfifo "$WORK/$server.fifo"
	connect "$server" "$WORK/out/$server.long" 600 <"$WORK/$server.fifo" &
	HELPERS+=($!)
	exec {fd}>"$WORK/$server.fifo"
	declare "fd_$server=$fd"
done

rotations() { # of the server that has had the fewest
	local server n least=
	for server in "${servers[@]}"; do
		n=$(($(grep '^loaded' "$WORK/out/$server" | sort -u | wc -l) - 1))
		[ -n "$least" ] && [ "$least" -le "$n" ] || least=$n
	done
	echo "$least"
}

handshakes=0
killed='' rolled=''
began=$SECONDS
while [ "$(rotations)" -lt "$ROTATIONS" ]; do
	[ $((SECONDS - began)) -lt $((ROTATIONS * 60)) ] || fail "only $(rotations) rotations: $(tail -n 5 "$WORK/out/agent")"
	alive $AGENT || fail "the agent has ended: $(cat "$WORK/out/agent")"
	for server in "${servers[@]}"; do
		connect "$server" "$WORK/out/client" 60 <"$WORK/bye" && grep -q '^Received a Delegated Credential' "$WORK/out/client" ||
			fail "handshake $handshakes with $server after $(rotations) rotations:
$(tail -n 20 "$WORK/out/client")
$(tail -n 3 "$WORK/out/$server")
$(tail -n 3 "$WORK/out/agent")"
		handshakes=$((handshakes + 1))
	done
	if [ -z "$killed" ] && [ "$(rotations)" -ge 5 ]; then
		note "the process that signs is killed"
		kill -KILL "$(child hsm)"
		killed=yes
	fi
	if [ -z "$rolled" ] && [ "$(rotations)" -ge 10 ]; then
		note "the delegation certificate is replaced"
		old=$(openssl x509 -in "$WORK/pki/www.pem" -outform DER | sha256sum | cut -d' ' -f1)
		"$DCSIGN" keys csr --module "$DEMO_MODULE" --uri "pkcs11:token=demo;object=www" \
			--pin "file:$WORK/hsm/pin" --subject CN=localhost -o "$WORK/pki/www.csr" --while-running >"$WORK/out/csr" 2>&1 ||
			fail "dcsign keys csr: $(cat "$WORK/out/csr")"
		demo_sign "$WORK/pki" ca www "$DEMO_DELEGATION_EXT" || fail "no new certificate"
		kill -HUP "$PID"
		rolled=yes
	fi
done
duration=$((SECONDS - began))

echo "== the connections from before the first rotation"
for server in "${servers[@]}"; do
	fd=fd_$server
	echo "still here" >&"${!fd}"
	for _ in $(seq 1200); do
		grep -q "still here" "$WORK/out/$server.long" && break
		sleep 0.05
	done
	grep -q "still here" "$WORK/out/$server.long" || fail "$server dropped a connection: $(tail -n 5 "$WORK/out/$server.long")"
	grep -q '^Received a Delegated Credential' "$WORK/out/$server.long" || fail "$server: no credential"
	echo bye >&"${!fd}"
	for _ in $(seq 1200); do
		grep -q '^connection 1:' "$WORK/out/$server" && break
		sleep 0.05
	done
	grep -q '^connection 1:' "$WORK/out/$server" || fail "$server: the long connection is not over"
done
end_process $AGENT

if grep -E 'handshake failed|refused|NOT used' "$WORK"/out/{dc,nss} 2>/dev/null; then
	fail "a server saw a failed handshake"
fi
grep -q 'delegation certificate has changed' "$WORK/out/agent" || fail "the new certificate made no renewal"
new=$(openssl x509 -in "$WORK/pki/www.pem" -outform DER | sha256sum | cut -d' ' -f1)
[ "$new" != "$old" ] || fail "the certificate is the old one"
for server in "${servers[@]}"; do
	[ "$(openssl x509 -in "$WORK/$server/chain.pem" -outform DER | sha256sum | cut -d' ' -f1)" = "$new" ] ||
		fail "$server still serves with the old certificate"
done
grep -c 'credential renewed' "$WORK/out/agent" >"$WORK/out/renewed"
service_stop
ledger_verify
issued=$(records ISSUED)
installed=$(($(cat "$WORK/out/renewed") + ${#servers[@]}))
[ "$issued" -ge "$installed" ] || fail "$issued records for $installed credentials"
echo "${servers[*]}: $ROTATIONS rotations each in $duration s, $handshakes handshakes, none failed, each with a delegated credential; $issued issued, $installed installed"
