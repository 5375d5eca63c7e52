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
demo_token "$WORK/hsm" demo || fail "softhsm2-util made no token"
demo_ca "$WORK/pki" ca && demo_leaf "$WORK/pki" ca server "$DEMO_SERVER_EXT" &&
	demo_client "$WORK/pki" ca edge && demo_client "$WORK/pki" ca auditor || fail "openssl made no PKI"
make_key www p256
make_key www384 p384
mkdir "$WORK/keys"
"$TOP_BUILDDIR/tests/scale_token" "$WORK/keys" $count "$WORK/hsm/pin" || fail "scale_token"
FLOORS=$(for n in 1 2; do "$TOP_BUILDDIR/tests/scale_token" - 0 "$WORK/hsm/pin" || exit 1; done) || fail "scale_token"
if [ -n "$SEPARATE" ]; then
	demo_token_close "$WORK/hsm" "${E2E_UIDS[1]}"
else
	demo_token_close "$WORK/hsm"
fi
LEDGER=sqlite:$WORK/state/ledger.db
mkdir "$WORK/got"
SPKI=$(dc_key P-256 "$WORK/out/dc")
RULES=$WORK/out/rules WITNESS=/dev/null
sed -i "0,/object=k0001\"/s//object=nowhere\"/" "$WORK/keys/keys.conf"
CONF_EXTRA=$(head -n $((6 * 8)) "$WORK/keys/keys.conf")
# Limits hold where nothing slows our side down.
LIMITS=no
[ "${DCSIGN_TESTS-}" = long ] && ! grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h" && LIMITS=yes
export FLOORS LIMITS
service_keys=9 # 10, of which one is refused
service_start
KEYS=$service_keys faults_run hsm_scale.py few || fail "see above"
service_stop
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
