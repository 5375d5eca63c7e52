#!/bin/bash
# Two tokens in two processes: while one hangs, crashes, leaks or is lost, the other serves every
# request. With DCSIGN_TESTS=long its p99 is held against that of a quiet neighbour, too. Afterwards both
# modules' witnesses, the ledger and what clients got must agree.
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/modules.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
token_and_pki
mkdir "$WORK/second"
chmod 711 "$WORK/second"
(demo_token "$WORK/second" second) || fail "softhsm2-util made no second token"
softhsm=SOFTHSM2_CONF=$WORK/second/softhsm2.conf
module_token second "$TOP_BUILDDIR/tests/faults/p11fault.so" pkcs11:token=second "$WORK/second/pin" \
	"$softhsm;P11FAULT_MODULE=$DEMO_MODULE;P11FAULT_LOG=$WORK/spy/second" '' "$DEMO_MODULE" "$softhsm"
module_key p-256
if [ -n "$SEPARATE" ]; then
	demo_token_close "$WORK/second" "${E2E_UIDS[1]}"
else
	demo_token_close "$WORK/second"
fi
faults_prepare
CONF_TOKEN='sessions = 4
	sign_timeout = 1s'
CONF_EXTRA="$CONF_EXTRA
limits { request_deadline = 6s }"
service_keys=3
service_start
faults_run hsm_neighbours.py || fail "see above"
service_stop
faults_reconcile --witness "$WORK/spy/second" --certificate "$WORK/pki/second-p-256.pem"
