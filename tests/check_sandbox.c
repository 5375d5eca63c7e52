#include "settings.h"

#include <check.h>
#include <errno.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"

/* What is given up is given up in a process of its own: Check forks for each test. */
START_TEST(users)
{
	struct sandbox_user u;

	ck_assert_int_eq(sandbox_user_find(&u, "root"), ERR_OK);
	ck_assert_uint_eq(u.uid, 0);
	ck_assert_uint_eq(u.gid, 0);
	ck_assert_int_eq(sandbox_user_find(&u, "60001"), ERR_OK);
	ck_assert_uint_eq(u.uid, 60001);
	ck_assert_uint_eq(u.gid, 60001);
	ck_assert_int_eq(sandbox_user_find(&u, "4294967294"), ERR_OK);
	ck_assert_uint_eq(u.uid, 4294967294);
	/* -1 means "leave it" to the kernel. */
	ck_assert_int_eq(sandbox_user_find(&u, "4294967295"), ERR_NOT_FOUND);
	ck_assert_int_eq(sandbox_user_find(&u, "4294967296"), ERR_NOT_FOUND);
	ck_assert_int_eq(sandbox_user_find(&u, "99999999999999999999"), ERR_NOT_FOUND);
	ck_assert_int_eq(sandbox_user_find(&u, "-1"), ERR_NOT_FOUND);
	ck_assert_int_eq(sandbox_user_find(&u, ""), ERR_NOT_FOUND);
	ck_assert_int_eq(sandbox_user_find(&u, "no-such-user"), ERR_NOT_FOUND);
}
END_TEST

START_TEST(become)
{
	const struct sandbox_user u = {60001, 60002};
	const gid_t groups[] = {60003, 0};
	uid_t r, e, s;
	gid_t rg, eg, sg;

	if (geteuid() != 0) {
		ck_assert_int_eq(sandbox_become(&u), ERR_SYSTEM);
		ck_assert_int_eq(errno, EPERM);
		return;
	}
	ck_assert_int_eq(setgroups(2, groups), 0);
	ck_assert_int_eq(sandbox_become(&u), ERR_OK);
	ck_assert_int_eq(getresuid(&r, &e, &s), 0);
	ck_assert_int_eq(getresgid(&rg, &eg, &sg), 0);
	ck_assert(r == 60001 && e == 60001 && s == 60001);
	ck_assert(rg == 60002 && eg == 60002 && sg == 60002);
	ck_assert_int_eq(getgroups(0, NULL), 0);
	ck_assert_int_ne(setuid(0), 0);
	ck_assert_int_ne(seteuid(0), 0);
	ck_assert_int_ne(setgid(0), 0);
	ck_assert_int_ne(setgroups(2, groups), 0);
}
END_TEST

static void expect_status(const char *line)
{
	char text[8192];
	FILE *f = fopen("/proc/self/status", "r");
	size_t len;

	ck_assert_ptr_nonnull(f);
	len = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[len] = '\0';
	ck_assert_msg(strstr(text, line) != NULL, "no '%s' in\n%s", line, text);
}

START_TEST(capabilities)
{
	if (geteuid() != 0) {
		ck_assert_int_ne(sandbox_parent_capabilities(), ERR_OK);
		return;
	}
	ck_assert_int_eq(sandbox_parent_capabilities(), ERR_OK);
	expect_status("CapPrm:\t00000000000000e0\n");
	expect_status("CapEff:\t00000000000000e0\n");
	expect_status("CapBnd:\t00000000000000e0\n");
	expect_status("CapAmb:\t0000000000000000\n");
	ck_assert_int_ne(chroot("/"), 0);
	ck_assert_int_eq(errno, EPERM);
	/* What is kept works, and again is no error. */
	ck_assert_int_eq(sandbox_parent_capabilities(), ERR_OK);
	ck_assert_int_eq(sandbox_become(&(struct sandbox_user){60001, 60001}), ERR_OK);
	expect_status("CapEff:\t0000000000000000\n");
}
END_TEST

START_TEST(common)
{
	struct rlimit core;

	umask(0);
	ck_assert_int_eq(sandbox_common(), ERR_OK);
	expect_status("NoNewPrivs:\t1\n");
	ck_assert_int_eq(getrlimit(RLIMIT_CORE, &core), 0);
	ck_assert(core.rlim_cur == 0 && core.rlim_max == 0);
	ck_assert_uint_eq(umask(0), 077);
#ifdef DCSIGN_SANITIZED
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 1);
#else
	ck_assert_int_eq(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0), 0);
#endif
}
END_TEST

static void *nothing(void *arg)
{
	return arg;
}

START_TEST(limits)
{
	struct rlimit l;
	pthread_t thread;

	ck_assert_int_eq(sandbox_limits(64, 0, 0), ERR_OK);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	ck_assert(l.rlim_cur == 64 && l.rlim_max == 64);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
	ck_assert(l.rlim_max == RLIM_INFINITY || l.rlim_max > 5);

	ck_assert_int_eq(sandbox_limits(32, 4096, 0), ERR_OK);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
	ck_assert(l.rlim_cur == 4096 && l.rlim_max == 4096);
	/* A looser limit than the one in force stays the one in force. */
	ck_assert_int_eq(sandbox_limits(1000, 8192, 0), ERR_OK);
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &l), 0);
	ck_assert(l.rlim_cur == 32 && l.rlim_max == 32);
	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &l), 0);
	ck_assert_uint_eq(l.rlim_max, 4096);

	if (geteuid() == 0) /* root is not bound by the number of processes */
		ck_assert_int_eq(sandbox_become(&(struct sandbox_user){60001, 60001}), ERR_OK);
	ck_assert_int_eq(sandbox_limits(32, 0, 1), ERR_OK);
#ifdef DCSIGN_SANITIZED
	ck_assert_int_eq(pthread_create(&thread, NULL, nothing, NULL), 0);
	ck_assert_int_eq(pthread_join(thread, NULL), 0);
#else
	ck_assert_int_lt(fork(), 0);
	ck_assert_int_eq(errno, EAGAIN);
	ck_assert_int_eq(pthread_create(&thread, NULL, nothing, NULL), EAGAIN);
#endif
}
END_TEST

/* A container whose filter does not know Landlock, and one that has something else against it. */
static void landlock_fails(unsigned error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_landlock_create_ruleset, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {sizeof(code) / sizeof(code[0]), code};

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0), 0);
}

START_TEST(without_landlock)
{
	static const struct {
		unsigned error;
		enum err says;
	} cases[] = {{ENOSYS, ERR_OK}, {EOPNOTSUPP, ERR_OK}, {EPERM, ERR_OK}, {ENOMEM, ERR_SYSTEM}};

	landlock_fails(cases[_i].error);
	ck_assert_int_eq(sandbox_files(SANDBOX_API, NULL), cases[_i].says);
}
END_TEST

#ifndef DCSIGN_SANITIZED /* whose lists are wider */
enum { ENDS = -SIGSYS, THE_KERNEL = 256 };

/* What comes of a call, for api, hsm, ledger, ledger with a database: the process ends, an error
 * of the filter, or what the kernel says. All arguments are -1, which it takes for no call. */
static const struct {
	const char *call;
	int want[4];
} calls[] = {
	{"accept4", {THE_KERNEL, EPERM, ENDS, ENDS}},
	{"accept", {THE_KERNEL, EPERM, ENDS, ENDS}},
	{"listen", {ENDS, EPERM, ENDS, ENDS}},
	{"bind", {ENDS, THE_KERNEL, ENDS, THE_KERNEL}},
	{"socket", {ENDS, THE_KERNEL, ENDS, THE_KERNEL}},
	{"connect", {ENDS, THE_KERNEL, ENDS, THE_KERNEL}},
	{"socketpair", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"io_uring_setup", {ENDS, EPERM, ENDS, ENDS}},
	{"io_uring_enter", {ENDS, EPERM, ENDS, ENDS}},
	{"io_uring_register", {ENDS, EPERM, ENDS, ENDS}},
	{"execve", {ENDS, EPERM, ENDS, ENDS}},
	{"execveat", {ENDS, EPERM, ENDS, ENDS}},
	{"fork", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"clone", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"clone3", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"kill", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"ptrace", {ENDS, EPERM, ENDS, ENDS}},
	{"process_vm_readv", {ENDS, EPERM, ENDS, ENDS}},
	{"process_vm_writev", {ENDS, EPERM, ENDS, ENDS}},
	{"pidfd_getfd", {ENDS, EPERM, ENDS, ENDS}},
	{"kcmp", {ENDS, EPERM, ENDS, ENDS}},
	{"prctl", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"personality", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"mmap", {ENDS, THE_KERNEL, ENDS, ENDS}}, /* executable */
	{"mprotect", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"pkey_mprotect", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"shmat", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"open", {EACCES, THE_KERNEL, THE_KERNEL, THE_KERNEL}},
	{"openat", {EACCES, THE_KERNEL, THE_KERNEL, THE_KERNEL}},
	{"openat2", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"open_by_handle_at", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"readlink", {EACCES, THE_KERNEL, THE_KERNEL, THE_KERNEL}},
	{"unlink", {ENDS, THE_KERNEL, THE_KERNEL, THE_KERNEL}},
	{"rename", {ENDS, THE_KERNEL, THE_KERNEL, THE_KERNEL}},
	{"link", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"symlink", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"mknod", {ENDS, THE_KERNEL, ENDS, ENDS}},
	{"mount", {ENDS, EPERM, ENDS, ENDS}},
	{"chroot", {ENDS, EPERM, ENDS, ENDS}},
	{"setns", {ENDS, EPERM, ENDS, ENDS}},
	{"unshare", {ENDS, EPERM, ENDS, ENDS}},
	{"bpf", {ENDS, EPERM, ENDS, ENDS}},
	{"perf_event_open", {ENDS, EPERM, ENDS, ENDS}},
	{"userfaultfd", {ENDS, EPERM, ENDS, ENDS}},
	{"clock_settime", {ENDS, EPERM, ENDS, ENDS}},
	{"setuid", {ENDS, THE_KERNEL, ENDS, ENDS}},
};

static int outcome(enum sandbox_role role, int number)
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		if (sandbox_common() != ERR_OK || sandbox_calls(role) != ERR_OK)
			_exit(255);
		_exit(syscall(number, -1L, -1L, -1L, -1L, -1L, -1L) == -1 ? errno : 0);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

START_TEST(forbidden_calls)
{
	static const enum sandbox_role roles[] = {
		SANDBOX_API, SANDBOX_HSM, SANDBOX_LEDGER, SANDBOX_LEDGER_REMOTE};
	unsigned tried = 0;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int number = seccomp_syscall_resolve_name(calls[i].call), want = calls[i].want[_i];
		int got = number < 0 ? want : outcome(roles[_i], number);

		ck_assert_int_ne(got, 255);
		ck_assert_msg(got == want || (want == THE_KERNEL && got >= 0), "%s: %d, not %d",
			calls[i].call, got, want);
		tried += number >= 0;
	}
	ck_assert_uint_gt(tried, 35); /* a machine may not have all of them */
}
END_TEST
#endif

int main(void)
{
	Suite *s = suite_create("sandbox");
	TCase *t = tcase_create("sandbox");
	SRunner *runner = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_test(t, users);
	tcase_add_test(t, become);
	tcase_add_test(t, capabilities);
	tcase_add_test(t, common);
	tcase_add_test(t, limits);
	tcase_add_loop_test(t, without_landlock, 0, 4);
#ifndef DCSIGN_SANITIZED
	tcase_add_loop_test(t, forbidden_calls, 0, 4);
#endif
	srunner_set_fork_status(runner, CK_FORK);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
