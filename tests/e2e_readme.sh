#!/bin/bash
# The commands that README.md prints for the API work as they are printed.
. "$(dirname "$0")/lib.sh"
e2e_begin
token_and_pki
service_start
# the block that follows the line <!-- tested -->
awk '/^<!-- tested -->/ { t = 1; next } t && /^```/ { if (c++) exit; next } t && c { print }' \
	"$TOP_SRCDIR/README.md" >"$WORK/out/commands"
grep -q 'curl ' "$WORK/out/commands" || fail "README.md has no tested block with curl"
cat >"$WORK/env" <<END
DCSIGN_URL='$URL'
DCSIGN_CA='$WORK/pki/ca.pem'
DCSIGN_CERT='$WORK/pki/edge.pem'
DCSIGN_KEY='$WORK/pki/edge.key'
DCSIGN_DELEGATION_KEY='www'
export DCSIGN_URL DCSIGN_CA DCSIGN_CERT DCSIGN_KEY DCSIGN_DELEGATION_KEY
END
mkdir "$WORK/there"
(cd "$WORK/there" && . "$WORK/env" && sh -eu "$WORK/out/commands") >"$WORK/out/answer" 2>"$WORK/out/said" ||
	fail "$(cat "$WORK/out/said" "$WORK/out/answer")"
member credential "$WORK/out/answer" | base64 -d >"$WORK/out/dc" || fail "$(cat "$WORK/out/answer")"
"$DCSIGN" verify --certificate "$WORK/pki/www.pem" "$WORK/out/dc" || fail "the credential does not verify"
service_stop
ledger_verify
