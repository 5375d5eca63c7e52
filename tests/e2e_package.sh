#!/bin/bash
# The Debian packages: built with dpkg-buildpackage from `make dist`, clean for lintian, installed
# into a clean Debian 12, where dcsignd.service's ExecStart runs under a stand-in for the service
# manager and, where systemd-nspawn can boot that system, under systemd itself.
. "$(dirname "$0")/lib.sh"
[ "${DCSIGN_TESTS-}" = long ] || skip "only with DCSIGN_TESTS=long: make check-long"
[ "$(id -u)" = 0 ] || skip "only root can make a clean Debian"
for p in dpkg-buildpackage dh lintian mmdebstrap unshare setpriv; do
	command -v "$p" >/dev/null || skip "$p is missing (contrib/packages.sh long installs it)"
done
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
	awk '$1 == "deb" && $2 ~ "^http" { print $2; exit } $1 == "URIs:" { print $2; exit }')
mirror=${mirror:-http://deb.debian.org/debian}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/dcsign-package.XXXXXX") || fail "no temporary folder"
chmod 755 "$WORK"
root=$WORK/root
manager=
test_end() {
	[ -z "$manager" ] || kill "$manager" 2>/dev/null
	! mountpoint -q "$root/proc" || umount "$root/proc"
}
trap e2e_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
umask 022

note "dpkg-buildpackage"
mkdir "$WORK/dist" "$WORK/out"
(cd "$WORK/dist" && "$TOP_SRCDIR/configure" -q && make -s dist && tar xf dcsign-*.tar.xz -C "$WORK") \
	>"$WORK/log" 2>&1 || fail "make dist"
source=$(echo "$WORK"/dcsign-*)
(cd "$source" && DEB_BUILD_OPTIONS="nocheck parallel=${JOBS:-2}" dpkg-buildpackage -us -uc) \
	>"$WORK/log" 2>&1 || fail "dpkg-buildpackage"
changes=$(echo "$WORK"/dcsign_*.changes)
lintian --allow-root --fail-on error,warning "$changes" >"$WORK/out/lintian" 2>&1 ||
	fail "lintian: $(cat "$WORK/out/lintian")"
debs=("$WORK"/dcsign_*.deb "$WORK"/dcsignd_*.deb)
for deb in "${debs[@]}"; do
	# what needs --enable-test-hooks is never packaged
	mkdir "$WORK/x" && dpkg-deb -x "$deb" "$WORK/x"
	! grep -rlE 'LD_PRELOAD|DCSIGN_LIBEXECDIR' "$WORK/x" || fail "$deb has test hooks"
	for f in $(find "$WORK/x" -type f -perm -1 ! -name '*.sh'); do
		readelf -h "$f" | grep -q 'DYN' || fail "$f is not position independent"
		readelf -d "$f" | grep -q 'BIND_NOW\|NOW' || fail "$f is not linked with -z now"
	done
	rm -r "$WORK/x"
done

note "a clean Debian 12 (from $mirror)"
mmdebstrap --quiet --variant=minbase --include=systemd,openssl,softhsm2,python3-minimal,curl,iproute2 \
	--customize-hook='mkdir -p "$1/root/debs"' \
	--customize-hook="copy-in ${debs[*]} /root/debs" \
	--customize-hook='chroot "$1" sh -c "apt-get -qq -y --no-install-recommends install /root/debs/*.deb"' \
	bookworm "$root" "$mirror" >"$WORK/log" 2>&1 || fail "mmdebstrap"

# inside COMMAND...: in that system, with /proc and processes of its own.
inside() {
	unshare --mount --pid --fork --kill-child --mount-proc="$root/proc" \
		env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive \
		chroot "$root" "$@" </dev/null
}

note "users and folders"
for user in _dcsign-api _dcsign-hsm _dcsign-ledger; do
	grep -q "^$user:x:[0-9]*:[0-9]*:.*:/usr/sbin/nologin$" "$root/etc/passwd" || fail "no user $user"
done
modes=$(inside stat -c '%n %a %U:%G' /var/lib/dcsign /var/lib/dcsign/hsm /var/lib/dcsign/lock /var/lib/dcsign/control /etc/dcsign/dcsignd.conf)
[ "$modes" = "/var/lib/dcsign 711 _dcsign-ledger:_dcsign-ledger
/var/lib/dcsign/hsm 700 _dcsign-hsm:_dcsign-hsm
/var/lib/dcsign/lock 600 root:root
/var/lib/dcsign/control 700 root:root
/etc/dcsign/dcsignd.conf 644 root:root" ] || fail "the folders are: $modes"
inside systemd-tmpfiles --create dcsignd.conf || fail "tmpfiles.d does not pass twice"
[ -L "$root/etc/systemd/system/multi-user.target.wants/dcsignd.service" ] || fail "dcsignd is not enabled"
! ls "$root"/etc/systemd/system/*.wants/dcsign-agent* 2>/dev/null || fail "the agent is enabled"
inside systemd-analyze verify --man=no dcsignd.service dcsign-agent.service dcsign-agent-once.timer \
	>"$WORK/out/verify" 2>&1 || fail "systemd-analyze verify: $(cat "$WORK/out/verify")"
! grep dcsign "$WORK/out/verify" || fail "systemd-analyze verify has something to say"
inside sh -c 'dcsign --version && dcsignd --version && man -w dcsign 2>/dev/null; test -e /usr/share/bash-completion/completions/dcsign' >/dev/null ||
	fail "the commands do not start"

note "what its administrator does"
cp "$TOP_SRCDIR/contrib/demo.sh" "$root/root/"
cat >"$root/root/administrate" <<'END'
set -eu
. /root/demo.sh
mkdir /root/pki /etc/dcsign/hsm
demo_token /etc/dcsign/hsm dcsign
mv /etc/dcsign/hsm/pin /etc/dcsign/pin
key='--module /usr/lib/softhsm/libsofthsm2.so --uri pkcs11:token=dcsign;object=www --pin file:/etc/dcsign/pin'
dcsign keys generate $key --type p256
dcsign keys csr $key --subject CN=localhost -o /root/pki/www.csr
demo_token_close /etc/dcsign/hsm _dcsign-hsm
cd /root/pki
demo_ca . ca
demo_leaf . ca server "$DEMO_SERVER_EXT"
demo_sign . ca www "$DEMO_DELEGATION_EXT"
demo_leaf . ca edge "$DEMO_LEAF_EXT
extendedKeyUsage=clientAuth
subjectAltName=URI:spiffe://example/edge/fra"
cp server.pem server.key www.pem /etc/dcsign
cp ca.pem /etc/dcsign/clients-ca.pem
chmod 600 /etc/dcsign/server.key
cat ca.pem >/etc/dcsign/service-ca.pem
cp edge.pem /etc/dcsign/client.pem
cp edge.key /etc/dcsign/client.key
END
inside sh /root/administrate >"$WORK/log" 2>&1 || fail "the token and the PKI can't be made"
conf=$root/etc/dcsign/dcsignd.conf
cp "$conf" "$WORK/out/as-packaged"
# The sample is right as it is but for SoftHSM's own file, of which an HSM has no need, and a clock
# that a container can't see.
sed -i -e 's|^#	environment |	environment |; s|/etc/dcsign/softhsm2.conf|/etc/dcsign/hsm/softhsm2.conf|' \
	-e 's|^#require_clock_sync = yes|require_clock_sync = no|' "$conf"
inside env CREDENTIALS_DIRECTORY=/etc/dcsign dcsignd -n >"$WORK/out/said" 2>&1 ||
	fail "the sample does not pass: $(cat "$WORK/out/said")"

note "an upgrade keeps what was edited"
dpkg-deb -R "${debs[1]}" "$WORK/newer"
sed -i 's/^Version: .*/&+1/' "$WORK/newer/DEBIAN/control"
echo '# a newer sample' >>"$WORK/newer/etc/dcsign/dcsignd.conf"
dpkg-deb -b "$WORK/newer" "$root/root/newer.deb" >/dev/null
cp "$conf" "$WORK/out/edited"
inside dpkg --force-confdef --force-confold -i /root/newer.deb >"$WORK/log" 2>&1 || fail "the upgrade"
cmp -s "$conf" "$WORK/out/edited" || fail "the upgrade overwrote dcsignd.conf"
grep -q 'a newer sample' "$conf.dpkg-dist" || fail "the upgrade does not leave its own dcsignd.conf"

note "ExecStart under a stand-in for the service manager"
unit=$root/lib/systemd/system/dcsignd.service
option() {
	sed -n "s/^$1=//p" "$unit"
}
[ "$(option Type)" = notify ] && [ "$(option ExecReload)" = '/bin/kill -HUP $MAINPID' ] || fail "the unit"
[ "$(option LoadCredential)" = pin:/etc/dcsign/pin ] || fail "the unit loads no PIN"
caps=$(option CapabilityBoundingSet | sed 's/CAP_/+/g; s/ /,/g' | tr A-Z a-z)
mkdir -p "$root/run/manager" "$root/run/credentials"
(umask 077 && cp "$root/etc/dcsign/pin" "$root/run/credentials/pin")
# What the unit makes read-only is that, but for what it names.
cat >"$WORK/manager" <<'END'
set -eu
mount --bind "$1" "$1"
mount -t proc proc "$1/proc"
for d in $4 run/manager; do
	mount --bind "$1/${d#/}" "$1/${d#/}"
done
mount -o remount,bind,ro "$1"
mount -t tmpfs tmpfs "$1/tmp"
exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin NOTIFY_SOCKET=/run/manager/notify \
	CREDENTIALS_DIRECTORY=/run/credentials setpriv --no-new-privs --bounding-set "-all,$2" \
	--inh-caps=-all $3
END
/usr/bin/python3 -c '
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
while True:
    print(s.recv(4096).decode(), flush=True)' "$root/run/manager/notify" >"$WORK/out/told" 2>&1 &
manager=$!
for n in $(seq 300); do # what is told before somebody listens is lost
	[ -S "$root/run/manager/notify" ] && break
	sleep 0.1
done
unshare --mount --propagation private sh "$WORK/manager" "$root" "$caps" "$(option ExecStart)" \
	"$(option ReadWritePaths)" </dev/null >"$WORK/log" 2>&1 &
PID=$!
# told TEXT COUNT
told() {
	local n
	for n in $(seq 600); do
		[ "$(grep -c "^$1" "$WORK/out/told")" -ge "$2" ] && return
		alive "$PID" || break
		sleep 0.1
	done
	fail "the service manager was not told $1 ($2): $(cat "$WORK/out/told")"
}
told READY=1 1
told "MAINPID=" 1
issue_inside() {
	inside sh -c "rm -rf /root/$1; dcsign request --url https://localhost:8443 --ca /root/pki/ca.pem \
		--cert /root/pki/edge.pem --tls-key /root/pki/edge.key --key www --new-key P-256 \
		-o /root/$1" >"$WORK/out/said" 2>&1 ||
		fail "no credential: $(cat "$WORK/out/said")"
}
issue_inside one
users=$(for p in $(cat "/proc/$PID/task/$PID/children"); do stat -c %u "/proc/$p"; done | sort -u | wc -l)
[ "$users" = 3 ] || fail "the children have $users users"
kill -HUP "$PID"
told RELOADING=1 1
told READY=1 2
issue_inside two
kill -TERM "$PID"
status=0
wait "$PID" || status=$?
[ "$status" = 0 ] || fail "dcsignd ended with $status after SIGTERM"
PID=
grep -q '^STOPPING=1' "$WORK/out/told" || fail "the manager was not told of the end"
ledger_inside() {
	inside sh -c 'setpriv --reuid _dcsign-ledger --regid _dcsign-ledger --clear-groups \
		dcsign ledger verify --ledger sqlite:/var/lib/dcsign/ledger.db' >"$WORK/out/said" 2>&1 ||
		fail "the ledger does not verify: $(cat "$WORK/out/said")"
}
ledger_inside

note "under systemd"
boot=
if command -v systemd-nspawn >/dev/null; then
	cat >"$root/root/try" <<'END'
exec >/root/result 2>&1
set -x
systemctl start dcsignd || { journalctl --no-pager -u dcsignd -n 50; echo DID NOT START; }
systemctl is-active dcsignd && echo STARTED
request="dcsign request --url https://localhost:8443 --ca /root/pki/ca.pem --cert /root/pki/edge.pem
--tls-key /root/pki/edge.key --key www --new-key P-256"
$request -o /root/three && echo ISSUED
systemctl reload dcsignd && sleep 2 && $request -o /root/four && echo RELOADED
main=$(systemctl show -P MainPID dcsignd)
grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/$main/status
kill -KILL "$main"
for n in $(seq 100); do
	[ "$(systemctl show -P MainPID dcsignd)" = "$main" ] || ! systemctl -q is-active dcsignd || break
	sleep 0.2
done
for n in $(seq 100); do
	systemctl -q is-active dcsignd && break
	sleep 0.2
done
$request -o /root/five && echo RESTARTED
sed -i -e 's|"https://sign1[^}]*|"https://localhost:8443" |' -e 's/^	reload_unit.*/	reload_unit = "told.service"/' \
	-e 's/^	#owner .*/	owner = nobody/' /etc/dcsign/agent.conf
systemctl start dcsign-agent-once && cat /var/lib/dcsign-agent/edge/credential.json && echo RENEWED
ls -lL /var/lib/dcsign-agent/edge
[ "$(stat -L -c %U /var/lib/dcsign-agent/edge/key.pem)" = nobody ] && [ -e /run/told ] && echo RELOADED BY AGENT
journalctl --no-pager -u dcsign-agent-once
systemctl stop dcsignd && [ "$(systemctl show -P Result dcsignd)" = success ] && echo STOPPED
journalctl --no-pager -u dcsignd -n 60
END
	cat >"$root/etc/systemd/system/told.service" <<'END'
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecReload=/bin/touch /run/told
END
	cat >"$root/etc/systemd/system/try.service" <<'END'
[Unit]
After=multi-user.target
Wants=told.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/bin/sh /root/try
TimeoutStartSec=180
[Install]
WantedBy=multi-user.target
END
	inside systemctl enable try.service >/dev/null 2>&1
	# a network of its own, in which 127.0.0.1 is
	timeout 240 systemd-nspawn --quiet --boot --register=no --keep-unit --private-network \
		--directory="$root" </dev/null >"$WORK/out/boot" 2>&1
	[ -s "$root/root/result" ] && boot=yes
fi
if [ -n "$boot" ]; then
	for word in STARTED ISSUED RELOADED RESTARTED RENEWED 'RELOADED BY AGENT' STOPPED; do
		grep -qx "$word" "$root/root/result" || fail "not $word: $(cat "$root/root/result")"
	done
	grep -q '^CapBnd:	0*e0$' "$root/root/result" || fail "$(grep CapBnd "$root/root/result")"
	grep -q '^Seccomp:	2$' "$root/root/result" || fail "no system call filter"
	ledger_inside
else
	note "systemd-nspawn can't boot here: only the stand-in was tried"
fi

note "the ledger outlives the package"
inside dpkg --purge dcsignd >"$WORK/log" 2>&1 || fail "dpkg --purge"
[ -s "$root/var/lib/dcsign/ledger.db" ] || fail "the ledger went with the package"
[ ! -e "$root/etc/dcsign/dcsignd.conf" ] || fail "dcsignd.conf is left"
