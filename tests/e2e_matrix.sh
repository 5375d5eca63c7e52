#!/bin/bash
# Return codes of every PKCS#11 function that is called: see tests/faults/hsm_matrix.py. A slice of
# it; all of it with DCSIGN_TESTS=long (make check-long).
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
token_and_pki
faults_prepare
CONF_TOKEN='sessions = 4
	sign_timeout = 1s'
CONF_EXTRA='limits { request_deadline = 2s }'
service_start
slice=short
[ "${DCSIGN_TESTS-}" = long ] && slice=all
DCSIGN=$DCSIGN STATE=$WORK/state faults_run hsm_matrix.py $slice || fail "see above"
service_stop
faults_reconcile
