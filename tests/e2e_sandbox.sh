#!/bin/bash
# What somebody could do who has taken over a process of the service: each forbidden thing is tried
# from inside (tests/faults/inside.c), by a thread that was there before the door was closed, and
# fails; the service is whole again afterwards. Of a build without sanitizers, which need wider lists.
. "$(dirname "$0")/lib.sh"
e2e_begin
grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h" && skip "the build has sanitizers"
token_and_pki

# Each child is started by a script that preloads inside.so.
tree=$WORK/tree
cp "$TOP_BUILDDIR/tests/faults/inside.so" "$WORK/inside.so"
chmod 755 "$WORK/inside.so"
for p in api/dcsignd-api hsm/dcsignd-hsm src/ledger/dcsignd-ledger; do
	mkdir -p "$tree/${p%/*}"
	printf '#!/bin/sh\nexec env LD_PRELOAD=%s INSIDE=%s %s "$@"\n' "$WORK/inside.so" \
		"$WORK/inside.${p##*-}" "$TOP_BUILDDIR/$p" >"$tree/$p"
	chmod 755 "$tree/$p"
	mkfifo "$WORK/inside.${p##*-}.ask"
	: >"$WORK/inside.${p##*-}.answer"
done
ln -s "$TOP_BUILDDIR/src/ledger/dcsign-ledger" "$tree/src/ledger/"
chmod -R a+rX "$tree"
chmod 666 "$WORK"/inside.*.ask "$WORK"/inside.*.answer
export DCSIGN_LIBEXECDIR=$tree
service_start

# How often a line with this text stands in the log.
logged() {
	grep -c "$1" "$WORK/log"
}

# try CHILD WANT ACTION [PATH]: WANT is an errno, or killed (SIGSYS).
try() {
	local child=$1 want=$2 got='' n deaths serves
	shift 2
	deaths=$(logged "event=ended child=dcsignd-$child .*signal=31")
	serves=$(logged "event=serves child=dcsignd-$child ")
	: >"$WORK/inside.$child.answer"
	timeout 60 bash -c 'echo "$2" >"$1"' - "$WORK/inside.$child.ask" "$*" ||
		fail "$child does not take $*"
	for n in $(seq 600); do
		if [ "$(logged "event=ended child=dcsignd-$child .*signal=31")" != "$deaths" ]; then
			got=killed
			break
		fi
		got=$(sed -n 's/^[a-z]* //p' "$WORK/inside.$child.answer")
		[ -z "$got" ] || break
		sleep 0.1
	done
	[ "$got" = "$want" ] || fail "$child: $*: ${got:-nothing came of it}, not $want"
	note "$child: $*: $got"
	[ "$got" = killed ] || return 0
	for n in $(seq 600); do
		[ "$(logged "event=serves child=dcsignd-$child ")" != "$serves" ] && break
		sleep 0.1
	done
	service_ready || fail "the service is not whole after $child: $*"
}

EPERM=1 EACCES=13
log_secret=$WORK/hsm/pin
try api $EACCES read "$DEMO_MODULE"
try api $EACCES read "$log_secret"
try api $EACCES read "$WORK/state/ledger.db"
try api $EACCES read /etc/passwd
try api $EACCES write "$WORK/out/api"
for action in 'execute /bin/true' fork inet unix ptrace kill memory; do
	try api killed "$action"
done
for action in 'execute /bin/true' fork inet unix ptrace kill memory; do
	try ledger killed $action
done
try ledger 0 main write "$WORK/state/beside-the-ledger"
if [ -n "$SEPARATE" ]; then
	try ledger $EACCES read "$log_secret"
	try hsm $EACCES read "$log_secret"
	try hsm $EACCES read "$WORK/state/ledger.db"
fi
chmod 777 "$WORK/out"
if /usr/bin/python3 -c 'import ctypes, sys; sys.exit(ctypes.CDLL(None).syscall(444, None, 0, 1) < 1)'; then
	try ledger $EACCES main write "$WORK/out/ledger"
else
	note "this kernel has no Landlock: files elsewhere are guarded by the user alone"
fi
try hsm $EPERM execute /bin/true
try hsm $EPERM listen
try hsm $EPERM ptrace
request --key www --new-key ecdsa_secp256r1_sha256 -o "$WORK/out/dc" >"$WORK/out/request" 2>&1 ||
	fail "no credential afterwards: $(cat "$WORK/out/request")"
service_stop
ledger_verify
echo "every forbidden thing failed"
