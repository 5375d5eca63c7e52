#!/bin/bash
# The service on a module that makes every fault of tests/faults/hsm_scenarios.py. Afterwards the
# module's witness, the ledger and what clients got must agree.
# usage: e2e_faults.sh [SCENARIO...]
. "$(dirname "$0")/lib.sh"
. "$TOP_SRCDIR/tests/faults/lib.sh"
e2e_begin
token_and_pki
faults_prepare
CONF_TOKEN='sessions = 8
	sign_timeout = 2s'
CONF_EXTRA='limits { request_deadline = 4s }'
service_start
faults_run hsm_scenarios.py "$@" || fail "see above"
service_stop
faults_reconcile

# A token with fewer sessions than are configured, and more workers than sessions.
[ $# = 0 ] || exit 0
CONF_TOKEN='sessions = 24
	workers = 48
	sign_timeout = 20s'
CONF_EXTRA='limits { request_deadline = 30s }'
: >"$RULES"
service_start
faults_run hsm_scenarios.py sixteen_sessions || fail "see above"
service_stop
faults_reconcile
