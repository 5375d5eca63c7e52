#!/bin/bash
# The benches run, with a few requests each: what they print is a table of their rows and JSON. No time is
# asserted. `make bench` here is that of a user's own module: NSS softokn where it is installed.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/modules.sh"
e2e_begin

own_module() {
	local softokn where
	softokn=$(ls /usr/lib/*/libsoftokn3.so 2>/dev/null | head -n 1)
	[ -n "$softokn" ] && command -v certutil >/dev/null || {
		note "LEFT OUT: NSS softokn (Debian: libnss3, libnss3-tools)"
		return
	}
	mkdir "$WORK/nss"
	chmod 711 "$WORK/nss"
	(umask 077 && echo nss-password-1 >"$WORK/nss/pin")
	certutil -N -d "sql:$WORK/nss" -f "$WORK/nss/pin" || fail "certutil"
	export MODULE=$softokn URI="pkcs11:token=NSS%20Certificate%20DB;object=own" PIN_FILE=$WORK/nss/pin ACCEPT=local
	export MODULE_ARGS="configdir='sql:$WORK/nss' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
	"$DCSIGN" keys generate --module "$MODULE" --module-args "$MODULE_ARGS" --uri "$URI" \
		--pin "file:$PIN_FILE" --type p256 >"$WORK/out/keys" 2>&1 || fail "$(cat "$WORK/out/keys")"
	hsm_owns "$WORK/nss"
	BENCH_ROWS='1 2' BENCH_RUNS=1 BENCH_SECONDS=1 BENCH_WARM_UP=0 BENCH_FLOOR_SECONDS=0.5 BENCH_JSON=$WORK/bench.json \
		bash "$TOP_SRCDIR/tests/bench/bench.sh" >"$WORK/out/bench" 2>&1 || fail "bench: $(cat "$WORK/out/bench")"
	/usr/bin/python3 - "$WORK/bench.json" <<'END' || exit 1
import json, sys
a = json.load(open(sys.argv[1]))
assert [r["id"] for r in a["rows"]] == ["1", "2"], a
assert all(a["floors"][f] > 0 for f in ("F_sign", "F_sign2", "F_verify", "F_sync", "F_http")), a
s = a["stages_us"]
assert all(s["own_" + k] > 0 for k in ("request_duration", "token_request", "token_ledger", "token_sign", "token_verify")), s
END
	note "bench of a module: $(sed -n '/^2 /p' "$WORK/out/bench")"
}

handshakes() {
	BENCH_RUNS=1 BENCH_SECONDS=5 BENCH_COUNT=20 BENCH_CLIENTS=2 BENCH_JSON=$WORK/handshakes.json \
		bash "$TOP_SRCDIR/tests/bench/handshakes.sh" >"$WORK/out/handshakes" 2>&1
	case $? in
	0) ;;
	77)
		note "LEFT OUT: $(tail -n 1 "$WORK/out/handshakes")"
		return
		;;
	*) fail "bench-handshake: $(cat "$WORK/out/handshakes")" ;;
	esac
	/usr/bin/python3 - "$WORK/handshakes.json" <<'END' || exit 1
import json, sys
rows = {r["id"]: r for r in json.load(open(sys.argv[1]))["rows"]}
assert list(rows) == ["a", "b", "c", "d"], rows
assert all(r["rate"] > 0 and r["p50_ms"] > 0 for r in rows.values()), rows
assert [r["token_signatures"] for r in rows.values()] == [0, 0, 1, 1], rows
assert rows["d"]["p50_ms"] >= 20, rows  # the distance is there
END
	note "bench-handshake: $(sed -n '/^b /p' "$WORK/out/handshakes")"
}

handshakes
own_module
