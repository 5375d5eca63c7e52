#!/bin/bash
# tpm2-pkcs11 with a TPM that swtpm plays: the keys of a TPM 2.0 issue credentials that verify. Its
# daemons and its bus are those of this test. Only in make check-long.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/modules.sh"
PATH=$PATH:/usr/sbin
for p in swtpm tpm2-abrmd dbus-daemon; do
	command -v $p >/dev/null || skip "$p is missing (Debian: swtpm, tpm2-abrmd, libtss2-tcti-tabrmd0, dbus)"
done
e2e_begin
SEPARATE= # a bus serves the processes of its own user
module=$(ls /usr/lib/*/pkcs11/libtpm2_pkcs11.so 2>/dev/null | head -n 1)
[ -n "$module" ] || skip "libtpm2_pkcs11.so is missing (Debian: libtpm2-pkcs11-1)"
command -v pkcs11-tool >/dev/null || skip "pkcs11-tool is missing (Debian: opensc)"
token_and_pki
DAEMONS=()

test_end() {
	local p
	for p in "${DAEMONS[@]}"; do
		kill "$p" 2>/dev/null
	done
}

mkdir "$WORK/tpm" "$WORK/bus"
export DBUS_SESSION_BUS_ADDRESS=unix:path=$WORK/bus/socket
dbus-daemon --session --nofork --address="$DBUS_SESSION_BUS_ADDRESS" >"$WORK/out/bus" 2>&1 &
DAEMONS+=($!)
mkdir "$WORK/bus/tpm"
port=$(demo_port)
swtpm socket --tpm2 --tpmstate "dir=$WORK/bus/tpm" --server "type=tcp,port=$port,bindaddr=127.0.0.1" \
	--ctrl "type=tcp,port=$((port + 1)),bindaddr=127.0.0.1" --flags not-need-init,startup-clear >"$WORK/out/swtpm" 2>&1 &
DAEMONS+=($!)
sleep 1
tpm2-abrmd --session --allow-root "--tcti=swtpm:host=127.0.0.1,port=$port" >"$WORK/out/abrmd" 2>&1 &
DAEMONS+=($!)
for n in $(seq 100); do
	[ -n "$(dbus-send --session --dest=org.freedesktop.DBus --print-reply /org/freedesktop/DBus \
		org.freedesktop.DBus.ListNames 2>/dev/null | grep Tabrmd)" ] && break
	sleep 0.1
done
environment="TPM2_PKCS11_TCTI=tabrmd:bus_type=session;TPM2_PKCS11_STORE=$WORK/tpm;TSS2_LOG=all+none;DBUS_SESSION_BUS_ADDRESS=$DBUS_SESSION_BUS_ADDRESS"
T_ENV=$environment
pin=13572468
(umask 077 && echo $pin >"$WORK/tpm/pin")
for step in "--init-token --slot-index 0 --label tpm --so-pin 87654321" \
	"--init-pin --login --login-type so --so-pin 87654321 --new-pin $pin --pin $pin --token-label tpm"; do
	module_env pkcs11-tool --module "$module" $step >"$WORK/out/init" 2>&1 || fail "$(cat "$WORK/out/init" "$WORK/out/abrmd")"
done
module_token tpm "$module" pkcs11:token=tpm "$WORK/tpm/pin" "$environment" ''
for type in p-256 p-384; do
	module_key $type
done
# Whether it offers RSA-PSS depends on the TPM: then it issues, else no such key is made.
if module_env "$DCSIGN" keys generate "${T_WHERE[@]}" --uri "$T_URI;object=try" --type RSA-2048 >"$WORK/out/try" 2>&1; then
	module_key rsa-2048
else
	grep -q 'does not sign with the mechanism 0xd' "$WORK/out/try" || fail "$(cat "$WORK/out/try")"
	note "tpm: no RSA-PSS: $(cat "$WORK/out/try")"
fi

service_keys=$((2 + $(echo $MODULE_KEYS | wc -w)))
service_start
issues www $MODULE_KEYS
kill -KILL "$(hsm_process tpm)" || fail "no process of the token"
issues www >/dev/null
issues_again tpm-p-256 30
service_stop
ledger_verify
