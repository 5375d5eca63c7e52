# The load, SIGHUP and kill tests on a build with ThreadSanitizer: no report. Of the libraries only
# malloc, locks and system calls are watched, which is enough here: none of them needs a suppression.
# With arguments: these tests alone. In `make check-long`.
set -u
[ "${DCSIGN_TESTS-}" = long ] || {
	echo "skipped: in make check-long"
	exit 77
}
command -v clang >/dev/null || {
	echo "skipped: there is no clang here"
	exit 77
}
build=$TOP_BUILDDIR/build-threads
reports=$build/reports
e2e="e2e_issue e2e_sighup e2e_sighup_load e2e_kill e2e_kill_cycles e2e_replace e2e_heir e2e_holds
	e2e_idempotency e2e_faults e2e_drain e2e_overload"
unit="check_append check_queue check_gate check_limits check_ledgerd check_signer"
[ $# = 0 ] || {
	e2e=$* unit=
}

mkdir -p "$build" && cd "$build" || exit 99
rm -rf "$reports" && mkdir "$reports" && chmod 1777 "$reports" || exit 99
"$TOP_SRCDIR/configure" -q --enable-test-hooks --enable-sanitizers=thread CC=clang CFLAGS='-g -O1' || exit 99
programs=
for t in $unit; do
	programs="$programs tests/$t"
done
# One after the other: all is made by a make of its own, and both would compile the same files at once.
{ make -s -j2 all && make -s -j2 tests/faults/p11fault.so $programs; } >make.log 2>&1 || {
	tail -n 20 make.log
	exit 99
}

# A process that is to crash does so as any other; every other report is one too many.
export TSAN_OPTIONS="log_path=$reports/report:handle_segv=0:handle_abort=0:handle_sigbus=0"
export TOP_BUILDDIR=$build DCSIGN_TESTS=
cat >race.c <<'C'
#include <pthread.h>
static int count;
static void *add(void *arg)
{
	count++;
	return arg;
}
int main(void)
{
	pthread_t other;
	pthread_create(&other, 0, add, 0);
	count++;
	return pthread_join(other, 0);
}
C
clang -g -fsanitize=thread race.c -o race || exit 99
./race
cat "$reports"/report.* 2>/dev/null | grep -q 'data race' || {
	echo "FAIL: a race that is there is not reported"
	exit 1
}
rm -f "$reports"/report.*

failed=0
for t in $unit $e2e; do
	case $t in
	e2e_*) bash "$TOP_SRCDIR/tests/$t.sh" >"$t.log" 2>&1 </dev/null ;;
	*) CK_DEFAULT_TIMEOUT=300 "./tests/$t" >"$t.log" 2>&1 </dev/null ;;
	esac
	status=$?
	echo "$t: exit status $status, $(cat "$reports"/report.* 2>/dev/null | grep -c 'WARNING: ThreadSanitizer') reports so far"
	if [ "$status" != 0 ] && [ "$status" != 77 ]; then
		tail -n 40 "$t.log"
		failed=1
	fi
done

# Where it is: the processes themselves may not start anything that would tell.
for r in "$reports"/report.*; do
	[ -e "$r" ] || continue
	failed=1
	grep -v '^\(=\|$\)' "$r" | head -n 60
	grep -o '([a-z-]*+0x[0-9a-f]*)' "$r" | tr -d '()' | sort -u | while IFS=+ read -r program at; do
		found=$(find src hsm api -name "$program" -type f | head -n 1)
		[ -z "$found" ] || echo "$program+$at: $(addr2line -s -f -p -e "$found" "$at")"
	done
done
exit $failed
