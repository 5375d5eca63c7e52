#!/bin/bash
# A token with many delegation keys, one of them refused: how soon they are served after the process
# that holds them was lost and how much work that is, beside what the module alone takes, what memory
# they take, and that the work of a request is the same as with 10 keys.
# 150 keys; 5,000 with DCSIGN_TESTS=long (make check-long), where none of this may cost more than it
# does without a key that is refused.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
count=150
[ "${DCSIGN_TESTS-}" = long ] && count=5000
count=${DCSIGN_SCALE:-$count}
# Thousands of keys are made where nothing waits for a disk.
memory=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d) || fail "no temporary folder"
test_end() {
	rm -rf "$memory"
}
demo_token "$WORK/hsm" demo || fail "softhsm2-util made no token"
demo_ca "$WORK/pki" ca && demo_leaf "$WORK/pki" ca server "$DEMO_SERVER_EXT" &&
	demo_client "$WORK/pki" ca edge && demo_client "$WORK/pki" ca auditor || fail "openssl made no PKI"
make_key www p256
make_key www384 p384
mkdir "$WORK/keys" "$WORK/keys-few"
cp -a "$WORK/hsm" "$WORK/hsm-few" && mv "$WORK/hsm" "$memory/hsm" || fail "the token can't be copied"
use_token() { # FOLDER
	ln -sfn "$1" "$WORK/hsm"
}
use_token hsm-few
"$TOP_BUILDDIR/tests/scale_token" "$WORK/keys-few" 8 "$WORK/hsm/pin" || fail "scale_token"
use_token "$memory/hsm"
"$TOP_BUILDDIR/tests/scale_token" "$WORK/keys" $count "$WORK/hsm/pin" || fail "scale_token"
cp -a "$memory/hsm" "$WORK/hsm-many" && rm -rf "$memory" || fail "the token can't be copied"
use_token hsm-many
FLOORS=$(for n in 1 2; do "$TOP_BUILDDIR/tests/scale_token" - 0 "$WORK/hsm/pin" || exit 1; done) || fail "scale_token"
for n in few many; do
	demo_token_close "$WORK/hsm-$n" ${SEPARATE:+"${E2E_UIDS[1]}"}
done
LEDGER=sqlite:$WORK/state/ledger.db
mkdir "$WORK/got"
SPKI=$(dc_key P-256 "$WORK/out/dc")
RULES=$WORK/out/rules WITNESS=/dev/null
sed -i "0,/object=k0001\"/s//object=nowhere\"/" "$WORK/keys/keys.conf"
CONF_EXTRA=$(cat "$WORK/keys-few/keys.conf")
# Limits hold where nothing slows our side down.
LIMITS=no
[ "${DCSIGN_TESTS-}" = long ] && ! grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h" && LIMITS=yes
export FLOORS LIMITS
service_keys=10
use_token hsm-few
service_start
KEYS=$service_keys faults_run hsm_scale.py few || fail "see above"
service_stop
use_token hsm-many
service_tries=1200
if [ $LIMITS = yes ]; then # beside the same without a key that is refused
	CONF_EXTRA=$(sed "s/object=nowhere\"/object=k0001\"/" "$WORK/keys/keys.conf")
	service_keys=$((count + 2))
	service_start
	KEYS=$service_keys faults_run hsm_scale.py sound || fail "see above"
	service_stop
fi
CONF_EXTRA=$(cat "$WORK/keys/keys.conf")
service_keys=$((count + 1))
service_start
KEYS=$service_keys faults_run hsm_scale.py many || fail "see above"
service_stop
