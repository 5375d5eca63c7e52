#!/bin/bash
# Two builds are the same (contrib/reproducible.sh), packages included where dpkg-buildpackage is installed. In
# make check-long.
. "$(dirname "$0")/lib.sh"
[ "${DCSIGN_TESTS-}" = long ] || skip "in make check-long"
WORK=$(mktemp -d "${TMPDIR:-/tmp}/dcsign-e2e.XXXXXX") || fail "no temporary folder"
trap e2e_end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
deb=()
if command -v dpkg-buildpackage >/dev/null && command -v dh >/dev/null; then
	deb=(--deb)
else
	note "LEFT OUT: the packages (contrib/packages.sh long installs dpkg-dev and debhelper)"
fi
mkdir "$WORK/dist"
(cd "$WORK/dist" && "$TOP_SRCDIR/configure" -q && make -s dist) >"$WORK/log" 2>&1 || fail "make dist"
TMPDIR=$WORK sh "$TOP_SRCDIR/contrib/reproducible.sh" "${deb[@]}" "$WORK"/dist/dcsign-*.tar.xz || fail "see above"
