# For tests that run the service on p11fault.so: sourced after tests/lib.sh (bash).

# The module wrapped by p11fault.so, rules in spy/rules, its witness spy/witness, answers in got/.
faults_prepare() {
	/usr/bin/python3 -c 'import cryptography' 2>/dev/null || skip "python3-cryptography is missing"
	mkdir "$WORK/spy" "$WORK/got"
	: >"$WORK/spy/rules"
	[ -z "$SEPARATE" ] || chown -R "${E2E_UIDS[1]}" "$WORK/spy"
	CONF_MODULE=$TOP_BUILDDIR/tests/faults/p11fault.so
	CONF_ENVIRONMENT=", \"P11FAULT_MODULE=$DEMO_MODULE\", \"P11FAULT_LOG=$WORK/spy/witness\", \"P11FAULT_CONTROL=$WORK/spy/rules\""
	SPKI=$(dc_key P-256 "$WORK/out/dc")
	RULES=$WORK/spy/rules WITNESS=$WORK/spy/witness
}

# faults_run SCRIPT ARGUMENT...: against the running service.
faults_run() {
	WORK=$WORK URL=$URL MONITOR=$MONITOR PID=$PID SPKI=$SPKI RULES=$RULES WITNESS=$WITNESS \
		/usr/bin/python3 "$TOP_SRCDIR/tests/faults/$1" "${@:2}"
}

# Ledger, witness, what clients got and what configurations there were agree. Of the stopped service.
faults_reconcile() { # [OPTION...]
	ledger_verify
	/usr/bin/python3 "$TOP_SRCDIR/tests/faults/reconcile.py" --ledger "$WORK/out/records" \
		--witness "$WITNESS" --clients "$WORK/got" --certificate "$WORK/pki/www.pem" \
		--certificate "$WORK/pki/www384.pem" --configuration "$WORK"/etc/written-* "$@" >"$WORK/out/reconciled" ||
		fail "$(cat "$WORK/out/reconciled")"
	note "$(cat "$WORK/out/reconciled")"
}
