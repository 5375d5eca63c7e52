# shellcheck shell=bash
# To be sourced by tests in bash: starts fakes/service.py. Needs $src.
#
# fake_service: makes the folder $FAKE, starts the stand-in there, sets DCSIGN_URL and the other
# variables of dcsign(1). 77 when Python's cryptography is missing. fake_service_stop ends it and
# removes the folder.
FAKE=
fake_pid=

fake_service_stop()
{
	if [ -n "$fake_pid" ]; then
		kill "$fake_pid" 2>/dev/null
		wait "$fake_pid" 2>/dev/null
	fi
	[ -z "$FAKE" ] || rm -rf "$FAKE"
}

fake_service()
{
	local port=
	/usr/bin/python3 -c 'import cryptography' 2>/dev/null || {
		echo "skipped: /usr/bin/python3 has no cryptography (Debian: python3-cryptography)"
		return 77
	}
	FAKE=$(mktemp -d) || return 1
	/usr/bin/python3 "$src/tests/fakes/service.py" "$FAKE" >"$FAKE/said" 2>&1 &
	fake_pid=$!
	for _ in $(seq 1200); do
		port=$(sed -n 's/^port //p' "$FAKE/said")
		[ -n "$port" ] && break
		sleep 0.05
	done
	[ -n "$port" ] || {
		cat "$FAKE/said" >&2
		return 1
	}
	export DCSIGN_URL=https://localhost:$port DCSIGN_CA=$FAKE/ca.pem DCSIGN_CERT=$FAKE/client.pem
	export DCSIGN_KEY=$FAKE/client.key DCSIGN_DELEGATION_KEY=www
}
