#!/bin/sh
# The document itself: api/openapi.yaml is valid OpenAPI 3.1 to a validator from npm, and the
# validator sees what is not. Part of make check-long: it fetches the validator.
VALIDATOR=@seriousme/openapi-schema-validator@2.4.1
TOP_SRCDIR=${TOP_SRCDIR:-.}
command -v npm >/dev/null || {
	echo "SKIP: npm is missing, so openapi.yaml was NOT validated"
	exit 77
}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT INT TERM
npm install --silent --no-audit --no-fund --prefix "$work" "$VALIDATOR" >"$work/log" 2>&1 || {
	cat "$work/log"
	echo "SKIP: npm could not install $VALIDATOR, so openapi.yaml was NOT validated"
	exit 77
}
validate() {
	"$work/node_modules/.bin/validate-api" "$1" >"$work/out" 2>&1 && grep -q '"valid": true' "$work/out"
}
validate "$TOP_SRCDIR/api/openapi.yaml" || {
	cat "$work/out"
	echo "FAIL: openapi.yaml is not valid"
	exit 1
}
for mistake in 's/^openapi: 3.1.0/openapi: 3.1/' 's/in: query/in: question/' 's/description: Issued$/descripton: Issued/'; do
	sed "$mistake" "$TOP_SRCDIR/api/openapi.yaml" >"$work/wrong.yaml"
	if cmp -s "$work/wrong.yaml" "$TOP_SRCDIR/api/openapi.yaml" || validate "$work/wrong.yaml"; then
		echo "FAIL: the validator does not see $mistake"
		exit 1
	fi
done
