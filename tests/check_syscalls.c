/*
 * Every system call of a short life of the real dcsignd-ledger (start, request, batch, hold, signed
 * head, SIGHUP, stop) fails once, with EIO, ENOSPC or EINTR, or the process is killed there (strace
 * injects it); and so do those of a start after such a death. Afterwards the ledger starts without
 * help, has what was acknowledged, leaves nothing open, and verifies. A sample of the calls; all of
 * them with DCSIGN_TESTS=long.
 */
#include "settings.h"

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ledgerd_rig.h"
#include "syscalls_life.h"

#define NAMES 200

static const char *const faults[] = {"error=EIO", "error=ENOSPC", "error=EINTR", "signal=SIGKILL"};
#define FAULTS (sizeof(faults) / sizeof(faults[0]))

struct call {
	char name[32];
	unsigned before; /* of the loader */
	unsigned count;	 /* of the program */
};
static struct call call[NAMES];
static size_t calls;

static char wrap[96], trace[96];

/* ---- strace ---- */

static void wrapper_write(const char *options)
{
	const char *top = getenv("TOP_BUILDDIR");
	FILE *f = fopen(wrap, "w");

	fprintf(f,
		"#!/bin/sh\nexec /usr/bin/strace -D -qq -o %s %s %s/src/ledger/dcsignd-ledger "
		"\"$@\"\n",
		trace, options, top ? top : ".");
	fclose(f);
	ck_assert_int_eq(chmod(wrap, 0700), 0);
}

static void life(const char *options, bool recovery)
{
	life_make();
	snprintf(wrap, sizeof(wrap), "%s/wrap", rig.folder);
	snprintf(trace, sizeof(trace), "%s.strace", rig.folder);
	wrapper_write(options);
	if (recovery)
		life_cut();
	rig.program = wrap;
	rig_spawn(NULL);

	enum err e = recovery ? life_start() : life_whole();

	ck_assert_msg(!e || options[0], "nothing failed, and yet: %s", err_text(e));
	life_end(e == ERR_OK);
	life_check(options);
	life_remove();
}

/* Calls that only the loader, the allocator and the sanitizers make, and those that never fail. */
static bool left_out(const char *name)
{
	static const char *const names[] = {"execve", "exit_group", "exit", "brk", "mmap", "munmap",
		"mprotect", "mremap", "madvise", "arch_prctl", "set_tid_address", "set_robust_list",
		"rseq", "rt_sigreturn", "sigaltstack", "clone", "clone3", "getpid", "gettid"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(names[i], name) == 0)
			return true;
	}
	return false;
}

static void calls_count(void)
{
	FILE *f = fopen(trace, "r");
	char line[4096];
	bool begun = false;

	ck_assert_ptr_nonnull(f);
	while (fgets(line, sizeof(line), f)) {
		begun = begun || strstr(line, "PR_SET_NO_NEW_PRIVS"); /* main's first */

		size_t len = strspn(line, "abcdefghijklmnopqrstuvwxyz0123456789_"), i = 0;

		if (len == 0 || len >= sizeof(call[0].name) || line[len] != '(')
			continue;
		line[len] = '\0';
		while (i < calls && strcmp(call[i].name, line) != 0)
			i++;
		if (left_out(line) || i == NAMES)
			continue;
		if (i == calls)
			strcpy(call[calls++].name, line);
		call[i].count += begun;
		call[i].before += !begun;
	}
	fclose(f);
}

/* Did the call fail that was to? */
static bool made(void)
{
	FILE *f = fopen(trace, "r");
	char line[4096];
	bool found = false;

	ck_assert_ptr_nonnull(f);
	while (!found && fgets(line, sizeof(line), f))
		found = strstr(line, "(INJECTED)") != NULL;
	fclose(f);
	return found;
}

/* at_most: lives in make check. */
static void every_call(const char *name, bool recovery, unsigned at_most)
{
	const char *tests = getenv("DCSIGN_TESTS");
	bool is_long = tests && strcmp(tests, "long") == 0;
	unsigned all = 0, step, n = 0, done = 0, errors = 0, failed = 0;
	char options[128];

	calls = 0;
	memset(call, 0, sizeof(call));
	life("", recovery);
	calls_count();
	ck_assert_uint_gt(calls, 15);
	for (size_t i = 0; i < calls; i++)
		all += call[i].count * (unsigned)FAULTS;
	step = is_long ? 1 : all / at_most + 1;
	step += !is_long && step % FAULTS == 0; /* or it would always be the same fault */
	for (size_t i = 0; i < calls; i++) {
		for (unsigned k = 0; k < call[i].count * FAULTS; k++, n++) {
			if (n % step)
				continue;
			snprintf(options, sizeof(options), "-e inject=%.31s:%s:when=%u",
				call[i].name, faults[k % FAULTS],
				call[i].before + k / (unsigned)FAULTS + 1);
			unlink(trace);
			life(options, recovery);
			done++;
			if (faults[k % FAULTS][0] == 'e') {
				errors++;
				failed += made();
			}
		}
	}
	unlink(trace);
	printf("syscalls: %s: %zu kinds, %u faults possible, %u made; %u of %u errors came\n", name,
		calls, all, done, failed, errors);
	ck_assert_uint_ge(done, at_most / 2);
	ck_assert_uint_ge(failed, errors / 2);
}

START_TEST(what_was_acknowledged_outlives_every_failing_call)
{
	every_call("a life", false, 44);
}
END_TEST

/* It dies with attempts under way, and its recovery fails or dies at any call, too. */
START_TEST(a_recovery_that_fails_can_be_repeated)
{
	every_call("a recovery", true, 24);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("syscalls");
	TCase *c = tcase_create("syscalls");

	if (access("/usr/bin/strace", X_OK) != 0) {
		puts("skipped: strace is missing");
		return 77;
	}
	tcase_set_timeout(c, 7200);
	tcase_add_test(c, what_was_acknowledged_outlives_every_failing_call);
	tcase_add_test(c, a_recovery_that_fails_can_be_repeated);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
