# The unit tests of this build under valgrind's memcheck: no error, nothing definitely lost.
# With arguments: these programs alone. In `make check-long`; `make check-valgrind` runs it by itself.
set -u
[ "${DCSIGN_TESTS-}" = long ] || {
	echo "skipped: in make check-long and make check-valgrind"
	exit 77
}
command -v valgrind >/dev/null || {
	echo "skipped: there is no valgrind here"
	exit 77
}
grep -q '^#define DCSIGN_SANITIZED 1' "$TOP_BUILDDIR/settings.h" && {
	echo "skipped: the build has sanitizers"
	exit 77
}
work=$(mktemp -d "${TMPDIR:-/tmp}/dcsign-valgrind.XXXXXX") || exit 99
trap 'rm -rf "$work"' EXIT
chmod 1777 "$work" # tests that change their user write there, too
export CK_DEFAULT_TIMEOUT=240 CK_TIMEOUT_MULTIPLIER=15 # the latter for those that set one of their own, too
failed=0
[ $# != 0 ] || [ -n "${UNIT_PROGRAMS-}" ] || {
	echo "FAIL: UNIT_PROGRAMS names no program"
	exit 99
}
for t in "${@:-$UNIT_PROGRAMS}"; do
	for p in $t; do
		name=${p##*/}
		case $name in
		*.py) continue ;; # no program of ours
		check_powercut | check_syscalls | check_hsm_syscalls | check_disk | check_p11fault | check_age | check_rate | \
			check_sandbox | check_limits)
			continue ;; # they watch processes, which valgrind does not follow, measure, or set limits that it needs
		esac
		begun=$SECONDS
		DCSIGN_TESTS= valgrind -q --error-exitcode=99 --leak-check=full --show-leak-kinds=definite \
			--errors-for-leak-kinds=definite --num-callers=24 --child-silent-after-fork=no \
			--suppressions="$TOP_SRCDIR/tests/valgrind.supp" --log-file="$work/$name.%p" \
			"$TOP_BUILDDIR/tests/$name" >"$work/out" 2>&1 </dev/null
		status=$?
		reports=$(cat "$work/$name".* 2>/dev/null | grep -c '^==[0-9]*== .*\(Invalid\|Conditional\|uninitialised\|definitely lost\|Mismatched\|overlap\)')
		if [ "$status" = 77 ]; then
			echo "$name: skipped"
		elif [ "$status" = 0 ] && [ "$reports" = 0 ]; then
			echo "$name: clean, $((SECONDS - begun)) s"
		else
			echo "$name: exit status $status, $reports reports"
			cat "$work/$name".* | head -n 80
			grep -v '^$' "$work/out" | tail -n 8
			failed=1
		fi
		rm -f "$work/$name".*
	done
done
exit $failed
