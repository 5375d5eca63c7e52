#!/bin/bash
# Every fuzz target under libFuzzer with ASan and UBSan, in a build of its own: 1,000,000 inputs in all
# with DCSIGN_TESTS=long, 10,000,000 with DCSIGN_TESTS=soak. Fails when one finds anything, and when the
# time does not suffice for so many. What they learn goes to fuzz-corpus/ of the build folder and is begun
# with the next time.
# usage: [DCSIGN_FUZZ_SECONDS=N] fuzz_long.sh [TOTAL]
set -u
TOP_SRCDIR=${TOP_SRCDIR:-$(cd "$(dirname "$0")/.." && pwd)}
TOP_BUILDDIR=${TOP_BUILDDIR:-$PWD}
fail() {
	echo "FAIL: $*" >&2
	exit 1
}
case "${DCSIGN_TESTS-}" in
soak) total=10000000 seconds=14400 ;;
long) total=1000000 seconds=1200 ;;
*) total=${1:-} seconds=1200 ;;
esac
seconds=${DCSIGN_FUZZ_SECONDS:-$seconds}
[ -n "$total" ] || {
	echo "SKIP: with DCSIGN_TESTS=long or soak, or a number of inputs"
	exit 77
}
command -v clang >/dev/null || {
	echo "SKIP: clang is missing"
	exit 77
}
build=$TOP_BUILDDIR/fuzz-build found=$TOP_BUILDDIR/fuzz-corpus
targets=$(sed -n 's/^FUZZ_TARGETS += //p' "$TOP_SRCDIR/tests/fuzz.mk")
mkdir -p "$build" "$found"
(
	cd "$build" || exit 1
	[ -e config.status ] || CC=clang CFLAGS='-g -O2' "$(cd "$TOP_SRCDIR" && pwd)/configure" -q \
		--enable-fuzzing --enable-sanitizers --enable-test-hooks || exit 1
	# shellcheck disable=SC2086
	make -s -j2 $targets
) >"$found/build" 2>&1 || {
	tail -n 30 "$found/build"
	fail "the targets can't be built"
}

declare -A done_by spent
begun=$SECONDS
sum=0
# run TARGET INPUTS SECONDS
run() {
	local t=${1#tests/fuzz_} at=$SECONDS n status=0
	mkdir -p "$found/$t"
	TOP_SRCDIR=$TOP_SRCDIR "$build/$1" -runs="$2" -max_total_time="$3" -print_final_stats=1 -timeout=60 \
		-artifact_prefix="$found/crash-$t-" "$found/$t" "$TOP_SRCDIR/tests/corpus/$t" >"$found/log-$t" 2>&1 ||
		status=$?
	if [ $status != 0 ]; then
		grep -vE '^(INFO|#)' "$found/log-$t" | tail -n 40
		fail "$t: what it broke on is $found/crash-$t-*"
	fi
	n=$(sed -n 's/^stat::number_of_executed_units: *//p' "$found/log-$t")
	done_by[$1]=$((${done_by[$1]:-0} + n))
	spent[$1]=$((${spent[$1]:-0} + SECONDS - at))
	sum=$((sum + n))
}
set -- $targets
# The same number for each, as far as its share of the time goes; the rest by those that are fast.
for t; do
	run "$t" $((total / $# + 1)) $((seconds / $# / 2 + 1))
done
while [ $sum -lt "$total" ] && [ $((SECONDS - begun)) -lt $seconds ]; do
	for t; do
		[ $sum -lt "$total" ] || break
		[ $((${done_by[$t]} / (${spent[$t]} + 1))) -ge $((sum / (SECONDS - begun + 1))) ] || continue
		run "$t" $((total - sum)) $((seconds / $# / 4 + 1))
	done
done
for t; do
	printf '%-14s %10d inputs in %5d s, %d files learned\n' "${t#tests/fuzz_}" "${done_by[$t]}" "${spent[$t]}" \
		"$(ls "$found/${t#tests/fuzz_}" | wc -l)"
done
echo "-- $sum inputs in $((SECONDS - begun)) s, nothing found"
[ $sum -ge "$total" ] || fail "$total were to be tried"
