#!/bin/bash
# The systemd units: systemd-analyze finds nothing wrong and little exposed, what they start is what
# is installed, and dcsignd works with the rights that its unit leaves it. The sample configuration
# passes dcsignd -n with the files that it names.
. "$(dirname "$0")/lib.sh"
e2e_begin
command -v systemd-analyze >/dev/null || skip "systemd-analyze is missing (Debian: systemd)"
units=$WORK/units
mkdir "$units"
cp "$TOP_BUILDDIR"/src/dcsignd.service "$TOP_BUILDDIR"/src/client/dcsign-agent.service \
	"$TOP_BUILDDIR"/src/client/dcsign-agent-once.service "$TOP_SRCDIR"/src/client/dcsign-agent-once.timer \
	"$units" || fail "no units in $TOP_BUILDDIR"
# The programs stand in the build folder, not yet where the units find them.
sed -i -e "s|^ExecStart=[^ ]*/dcsignd |ExecStart=$DCSIGND |" \
	-e "s|^ExecStart=[^ ]*/dcsign |ExecStart=$DCSIGN |" "$units"/*.service
[ "$(grep -c "^ExecStart=$TOP_BUILDDIR/" "$units"/*.service | grep -c ':1$')" = 3 ] ||
	fail "a unit does not start one of our programs"
systemd-analyze verify --man=no --recursive-errors=no "$units"/* >"$WORK/out/verify" 2>&1 ||
	fail "systemd-analyze verify: $(cat "$WORK/out/verify")"
if grep -F "$units" "$WORK/out/verify" | grep -v 'kernel system call list'; then
	fail "systemd-analyze verify has something to say"
fi
for unit in dcsignd dcsign-agent dcsign-agent-once; do
	systemd-analyze security --offline=yes --threshold=25 --no-pager "$units/$unit.service" \
		>"$WORK/out/security" 2>&1 ||
		fail "$unit.service is exposed more than 2.5: $(grep -a -e ✗ -e Overall "$WORK/out/security")"
	note "$(tail -n 1 "$WORK/out/security" | sed 's/[^ -~]//g')"
	# It forbids to ask whether the clock is synchronised.
	! grep -q '^ProtectClock=yes' "$units/$unit.service" || fail "$unit.service has ProtectClock=yes"
done

note "what the package needs to be built"
needed=$(sed -n "/^build=/,/'$/p" "$TOP_SRCDIR/contrib/packages.sh" | tr -d "'" | sed 's/^build=//')
[ "$(wc -w <<<"$needed")" -gt 10 ] || fail "contrib/packages.sh names no packages"
for p in $needed; do
	case "$p" in
	gcc | libc6-dev | make | autoconf | automake) continue ;; # build-essential and debhelper bring them
	esac
	grep -qE "^ $p,$" "$TOP_SRCDIR/debian/control" || fail "debian/control does not name $p"
done

note "the sample configuration"
token_and_pki
sample=$WORK/etc/dcsignd.conf
cp "$TOP_SRCDIR/src/dcsignd.conf.example" "$sample"
cp "$WORK/pki/server.pem" "$WORK/pki/server.key" "$WORK/pki/www.pem" "$WORK/etc"
cp "$WORK/pki/ca.pem" "$WORK/etc/clients-ca.pem"
sed -i "s|^\tmodule .*|\tmodule = \"$DEMO_MODULE\"|" "$sample"
if [ -n "$SEPARATE" ]; then
	echo "users { api = \"${E2E_UIDS[0]}\" hsm = \"${E2E_UIDS[1]}\" ledger = \"${E2E_UIDS[2]}\" }" >>"$sample"
else
	echo 'single_user = yes' >>"$sample"
fi
CREDENTIALS_DIRECTORY=$WORK/hsm "$DCSIGND" -n -c "$sample" >"$WORK/out/said" 2>&1 ||
	fail "the sample does not pass: $(cat "$WORK/out/said")"
mv "$WORK/etc/www.pem" "$WORK/etc/www.old"
! CREDENTIALS_DIRECTORY=$WORK/hsm "$DCSIGND" -n -c "$sample" >"$WORK/out/said" 2>&1 ||
	fail "the sample passes without its certificate"
# What stands there in comments is right too.
mv "$WORK/etc/www.old" "$WORK/etc/www.pem"
cp "$WORK/pki/ca.pem" "$WORK/etc/internal-ca.pem"
sed -i -e '/client_crl\|^#checkpoint/d' -e '/^#	file /,/^#}/d' -e 's/^#\([a-z\t]\)/\1/' \
	-e '/^Those\|^are left\|^`dcsignd/d' "$sample"
grep -q '^limits {' "$sample" && grep -q '^	clock_skew' "$sample" || fail "nothing is taken out of comments"
CREDENTIALS_DIRECTORY=$WORK/hsm "$DCSIGND" -n -c "$sample" >"$WORK/out/said" 2>&1 ||
	fail "the sample's comments do not pass: $(cat "$WORK/out/said")"

note "with the unit's capabilities"
[ -n "$SEPARATE" ] || skip "only root can take capabilities away, in a folder that all can enter"
mkdir -m 711 "$WORK/state" && mkdir -m 700 "$WORK/state/hsm" "$WORK/state/control"
: >"$WORK/state/lock"
chmod 600 "$WORK/state/lock"
chown "${E2E_UIDS[2]}:${E2E_UIDS[2]}" "$WORK/state"
chown "${E2E_UIDS[1]}:${E2E_UIDS[1]}" "$WORK/state/hsm"
kept=$(sed -n 's/^CapabilityBoundingSet=//p' "$units/dcsignd.service" | sed 's/CAP_/+/g; s/ /,/g' | tr A-Z a-z)
[ "$kept" = +setuid,+setgid,+kill ] || fail "the unit keeps $kept"
CONF_EXTRA= service_start setpriv --no-new-privs --bounding-set "-all,$kept" --inh-caps "-all"
grep -q '^CapBnd:	0*e0$' "/proc/$PID/status" || fail "the bounding set is $(grep CapBnd "/proc/$PID/status")"
request --key www --new-key P-256 -o "$WORK/out/set" >/dev/null || fail "nothing is issued"
[ -S "$WORK/state/control/socket" ] || fail "no socket for root: $(cat "$WORK/log")"
kill -HUP "$PID"
for _ in $(seq 600); do
	grep -q 'configuration taken' "$WORK/log" && break
	sleep 0.1
done
grep -q 'configuration taken' "$WORK/log" || fail "no reload"
service_stop
ledger_verify
[ "$(stat -c %u "$WORK/state/ledger.db")" = "${E2E_UIDS[2]}" ] || fail "the ledger is not its user's"
