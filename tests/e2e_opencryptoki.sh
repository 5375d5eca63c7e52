#!/bin/bash
# opencryptoki's software token: it signs with RSA keys, and it locks its PIN after three wrong ones.
# Its daemon, folders and shared memory are those of a mount namespace of this test, so nothing of
# the system is touched; that needs root, and a machine that lets root make one.
if [ -z "${OCK_INSIDE-}" ]; then
	for p in unshare pkcsslotd pkcsconf; do
		PATH=$PATH:/usr/sbin command -v $p >/dev/null && continue
		echo "SKIP: $p is missing (Debian: opencryptoki)"
		exit 77
	done
	if [ "$(id -u)" != 0 ] || ! unshare -m -i -p --fork --mount-proc mount -t tmpfs tmpfs /dev/shm 2>/dev/null; then
		echo "SKIP: no mount namespace can be made here"
		exit 77
	fi
	OCK_INSIDE=yes exec unshare -m -i -p --fork --mount-proc --kill-child bash "$0" "$@"
fi
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/modules.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
PATH=$PATH:/usr/sbin
e2e_begin
module=$(ls /usr/lib/*/pkcs11/libopencryptoki.so 2>/dev/null | head -n 1)
[ -n "$module" ] || skip "libopencryptoki.so is missing (Debian: opencryptoki)"
token_and_pki

# Private folders over those of the system. The hsm process has a name, and is of the group pkcs11.
gid=0
[ -z "$SEPARATE" ] || gid=${E2E_UIDS[1]}
mkdir -p "$WORK"/ock/{etc,lib/swtok/TOK_OBJ,lock/swtok} /run/lock/opencryptoki
sed "s/^pkcs11:.*/pkcs11:x:$gid:root,hsm-of-test/" /etc/group >"$WORK/ock/group"
(cat /etc/passwd && echo "hsm-of-test:x:${E2E_UIDS[1]}:${E2E_UIDS[1]}::/:/bin/false") >"$WORK/ock/passwd"
printf 'version opencryptoki-3.1\nslot 3\n{\nstdll = libpkcs11_sw.so\n}\n' >"$WORK/ock/etc/opencryptoki.conf"
chown -R "0:$gid" "$WORK"/ock/{lib,lock}
chmod -R u=rwX,g=rwX,o= "$WORK"/ock/{lib,lock}
chmod 711 "$WORK/ock"
mount -t tmpfs tmpfs /dev/shm && chmod 1777 /dev/shm && mount --bind "$WORK/ock/group" /etc/group &&
	mount --bind "$WORK/ock/passwd" /etc/passwd &&
	mount --bind "$WORK/ock/etc" /etc/opencryptoki && mount --bind "$WORK/ock/lib" /var/lib/opencryptoki &&
	mount --bind "$WORK/ock/lock" /run/lock/opencryptoki || fail "mount"

test_end() {
	umount -l /run/lock/opencryptoki /var/lib/opencryptoki /etc/opencryptoki /etc/group /etc/passwd
}

pkcsslotd || fail "pkcsslotd"
for n in $(seq 600); do
	pkcsconf -t -c 3 >"$WORK/out/slot" 2>&1 && break
	sleep 0.1
done
pin=13572468
(
	printf '87654321\nock\n' | pkcsconf -I -c 3 && pkcsconf -P -c 3 -S 87654321 -n 11223344 &&
		pkcsconf -u -c 3 -S 11223344 -n $pin
) >"$WORK/out/slot" 2>&1 || fail "pkcsconf: $(cat "$WORK/out/slot")"
(umask 077 && echo $pin >"$WORK/ock/pin")

flags() {
	pkcsconf -t -c 3 | sed -n 's/.*Flags: //p'
}

# The module between them counts the logins.
WITNESS=$WORK/ock/witness
module_token ock "$TOP_BUILDDIR/tests/faults/p11fault.so" pkcs11:token=ock "$WORK/ock/pin" \
	"P11FAULT_MODULE=$module;P11FAULT_LOG=$WITNESS" '' "$module" ''
for type in rsa-2048 rsa-3072 rsa-4096 pss-2048; do
	module_key $type
done
: >"$WITNESS"
[ -z "$SEPARATE" ] || chown "${E2E_UIDS[1]}" "$WITNESS"
chown -R "0:$gid" "$WORK/ock/lib" && chmod -R g=rwX "$WORK/ock/lib"

service_keys=$((2 + $(echo $MODULE_KEYS | wc -w)))
service_start
issues www $MODULE_KEYS
kill -KILL "$(hsm_process ock)" || fail "no process of the token"
issues www >/dev/null
issues_again ock-rsa-2048
service_stop

logins() { # RV: how many C_Login ended so
	grep ' fn=C_Login ' "$WITNESS" | grep -c " rv=$1"
}

# A wrong PIN: the token counts one try, whatever is born again how often.
[[ $(flags) != *USER_PIN_COUNT_LOW* ]] || fail "the count is low already: $(flags)"
: >"$WITNESS"
echo 00000000 >"$WORK/ock/pin"
service_spawn
for round in 1 2 3 4 5 6; do
	for n in $(seq 600); do
		curl -s --max-time 2 "$MONITOR/readyz" | grep -q PIN && p=$(hsm_process ock) && break
		sleep 0.1
	done
	[ -n "${p-}" ] || fail "/readyz does not tell of the PIN: $(curl -s "$MONITOR/readyz")"
	issues www >/dev/null # the other token serves
	kill -KILL "$p"
done
service_stop
[ "$(logins 0xa0)" = 1 ] || fail "$(logins 0xa0) failed C_Login in 7 lives, not 1"
[[ $(flags) = *USER_PIN_COUNT_LOW* ]] || fail "the token does not tell of the wrong PIN: $(flags)"
note "1 failed C_Login in 7 lives: $(flags)"

# With a low count nothing is tried, not even the right PIN, before a person has said so.
echo $pin >"$WORK/ock/pin"
service_keys=2
service_start
wrong_pin_told() {
	curl -s "$MONITOR/readyz" | grep -q 'a wrong PIN was tried'
}
within_60s wrong_pin_told || fail "$(curl -s "$MONITOR/readyz")"
[ "$(grep -c ' fn=C_Login ' "$WITNESS")" = 1 ] || fail "a login was tried with a low count"
service_stop
keys_list() {
	"$DCSIGN" keys list --module "$module" --token ock --pin "file:$WORK/ock/pin" >"$WORK/out/list" 2>&1
}
keys_list || fail "$(cat "$WORK/out/list")"
[[ $(flags) != *USER_PIN_COUNT_LOW* ]] || fail "the right PIN does not clear the count: $(flags)"
service_keys=$((2 + $(echo $MODULE_KEYS | wc -w)))
service_start
issues $MODULE_KEYS >/dev/null
service_stop

# FINAL_TRY and LOCKED: dcsign keys does not try either.
for wrong in 1 2; do
	pkcsconf -p -c 3 -U 9999999$wrong -n 12344321 >/dev/null 2>&1
done
[[ $(flags) = *USER_PIN_FINAL_TRY* ]] || fail "two wrong PINs: $(flags)"
keys_list && fail "a login at the last try"
grep -q 'last try' "$WORK/out/list" || fail "$(cat "$WORK/out/list")"
[[ $(flags) = *USER_PIN_FINAL_TRY* ]] || fail "dcsign keys has tried: $(flags)"
pkcsconf -p -c 3 -U 99999999 -n 12344321 >/dev/null 2>&1
[[ $(flags) = *USER_PIN_LOCKED* ]] || fail "three wrong PINs: $(flags)"
keys_list && fail "a login with a locked PIN"
grep -q 'locked' "$WORK/out/list" || fail "$(cat "$WORK/out/list")"
note "low count, last try, locked: nothing is tried"
ledger_verify
