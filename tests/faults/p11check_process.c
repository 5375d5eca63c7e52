/* p11fault.so: what it does to the process that loads it, and what processes share. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "p11checks.h"

#define P rig.p11

static CK_RV answer(void)
{
	CK_SESSION_INFO i;

	return P->C_GetSessionInfo(rig.session, &i);
}

static void info(void)
{
	answer();
}

/* Runs it in a fork; returns the status of waitpid. stderr is silenced: the sanitizers speak. */
static int in_child(void (*run)(void))
{
	int status;
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		struct rlimit no_core = {0, 0};
		setrlimit(RLIMIT_CORE, &no_core);
		signal(SIGSEGV, SIG_DFL);
		signal(SIGABRT, SIG_DFL);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(99);
		run();
		_exit(42);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return status;
}

static int signal_of(int status)
{
	return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

START_TEST(crash_abort_exit)
{
	rules("C_GetSessionInfo crash\n");
	ck_assert_int_eq(signal_of(in_child(info)), SIGSEGV);
	rules("C_GetSessionInfo abort\n");
	ck_assert_int_eq(signal_of(in_child(info)), SIGABRT);
	rules("C_GetSessionInfo exit=7\n");
	ck_assert_int_eq(WEXITSTATUS(in_child(info)), 7);
	rules("C_GetSessionInfo exit\n");
	ck_assert_int_eq(WEXITSTATUS(in_child(info)), 1);
	rules("");
	ck_assert_int_eq(WEXITSTATUS(in_child(info)), 42);
	ck_assert_uint_eq(rig_lines(&rig, " fn=C_GetSessionInfo ", " ev=begin did=crash "), 1);
	ck_assert_uint_eq(rig_lines(&rig, " fn=C_GetSessionInfo ", " ev=begin did=exit "), 2);
}
END_TEST

START_TEST(rules_that_are_wrong_end_the_process)
{
	static const char *const wrong[] = {"C_Singn rv=0x30\n", "C_Sign\n", "C_Sign rv\n",
		"C_Sign rv=\n", "C_Sign rv=0x3g\n", "C_Sign rv=-1\n", "C_Sign explode\n",
		"C_Sign hang=3\n", "C_Login flip=3\n", "C_Sign rv=0x30 often=3\n",
		"C_Sign rv=0x30 count=\n", "C_Sign rv=0x30 count=1 x\n"};

	for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		rules(wrong[i]);
		ck_assert_msg(signal_of(in_child(info)) == SIGABRT, "%s", wrong[i]);
	}
	ck_assert_uint_eq(rig_lines(&rig, " note=rule", ""), 11);
	rules("");
}
END_TEST

static void sign_and_die(void)
{
	CK_BYTE sig[64];
	CK_ULONG len;

	for (int i = 0; i < 25; i++)
		rig_sign(&rig, rig.session, 0x77, sig, &len);
	kill(getpid(), SIGKILL);
}

START_TEST(the_witness_survives_kill)
{
	ck_assert_int_eq(signal_of(in_child(sign_and_die)), SIGKILL);
	ck_assert_uint_eq(rig_lines(&rig, " fn=C_Sign ", " rv=0x0 "), 25);
	ck_assert_uint_eq(rig_lines(&rig, " fn=C_Sign ", " ev=begin "), 25);
	ck_assert_uint_eq(rig_lines(&rig, " fn=C_SignInit ", " rv=0x0 "), 25);
}
END_TEST

static size_t slurp(int fd, char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while (len < size - 1 && (n = read(fd, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return len;
}

START_TEST(stdout_is_written_to)
{
	char text[512];
	int out[2];
	unsigned n = 0;

	rules("C_GetSessionInfo stdout\n");
	ck_assert_int_eq(pipe(out), 0);
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		dup2(out[1], 1);
		dup2(out[1], 2);
		info();
		_exit(0);
	}
	close(out[1]);
	slurp(out[0], text, sizeof text);
	close(out[0]);
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	for (const char *at = text; (at = strstr(at, "should not write")) != NULL; at++)
		n++;
	ck_assert_uint_eq(n, 2);
}
END_TEST

static void see_signals(void)
{
	struct sigaction term, usr1, chld;

	info();
	sigaction(SIGTERM, NULL, &term);
	sigaction(SIGCHLD, NULL, &chld);
	sigaction(SIGUSR1, NULL, &usr1);
	_exit(term.sa_handler == SIG_IGN && chld.sa_handler == SIG_IGN && usr1.sa_handler != SIG_DFL
			? 3
			: 4);
}

static void see_surroundings(void)
{
	char dir[64];

	info();
	_exit(getcwd(dir, sizeof dir) != NULL && strcmp(dir, "/") == 0 && umask(0) == 0 ? 3 : 4);
}

START_TEST(signals_and_surroundings_are_changed)
{
	rules("C_GetSessionInfo signals\n");
	ck_assert_int_eq(WEXITSTATUS(in_child(see_signals)), 3);
	rules("C_GetSessionInfo surroundings\n");
	ck_assert_int_eq(WEXITSTATUS(in_child(see_surroundings)), 3);
	rules("");
	ck_assert_int_eq(WEXITSTATUS(in_child(see_signals)), 4);
}
END_TEST

static long resident_kb(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	ck_assert_ptr_nonnull(f);
	ck_assert_int_eq(fscanf(f, "%*d %ld", &pages), 1);
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static unsigned open_files(void)
{
	unsigned n = 0;
	DIR *d = opendir("/proc/self/fd");

	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

START_TEST(memory_and_descriptors_leak)
{
	rules("");
	info(); /* the first look at the rules keeps a descriptor */

	long before = resident_kb();
	unsigned files = open_files();

	rules("C_GetSessionInfo leak=256\nC_GetSessionInfo leakfd\n");
	for (int i = 0; i < 40; i++)
		info();
	/* some of it may have been resident and free before */
	ck_assert_int_ge(resident_kb() - before, 40 * 256 / 2);
	ck_assert_uint_eq(open_files(), files + 40);
}
END_TEST

/* The limit is low so that few descriptors do it; the rest of the test must still find some. */
START_TEST(new_rules_are_read_without_descriptors)
{
	struct rlimit limit, low;
	unsigned files = open_files();

	rules("C_GetSessionInfo leakfd\n");
	info();
	ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
	low = limit;
	low.rlim_cur = files + 20;
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (int i = 0; i < 60; i++)
		info();
	ck_assert_int_eq(open("/dev/null", O_RDONLY), -1);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	rules("C_GetSessionInfo rv=0x6\n");
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (int i = 0; i < 3; i++)
		ck_assert_uint_eq(answer(), CKR_FUNCTION_FAILED);
	ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
	ck_assert_ptr_null(strstr(rig_witness(&rig), "note"));
}
END_TEST

static CK_RV login(const char *pin)
{
	CK_UTF8CHAR copy[64];

	memcpy(copy, pin, strlen(pin));
	return P->C_Login(rig.session, CKU_USER, copy, strlen(pin));
}

static CK_FLAGS pin_flags(void)
{
	CK_TOKEN_INFO i;

	ck_assert_uint_eq(P->C_GetTokenInfo(rig.slot, &i), CKR_OK);
	return i.flags & (CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY | CKF_USER_PIN_LOCKED);
}

static void one_wrong_login(void)
{
	_exit(login("0000") == CKR_PIN_INCORRECT ? 3 : 4);
}

START_TEST(pin_locks_after_three_over_processes)
{
	ck_assert_uint_eq(P->C_Logout(rig.session), CKR_OK);
	rules("* locked\n");
	ck_assert_uint_eq(pin_flags(), 0);
	ck_assert_int_eq(WEXITSTATUS(in_child(one_wrong_login)), 3);
	ck_assert_uint_eq(pin_flags(), CKF_USER_PIN_COUNT_LOW);
	ck_assert_int_eq(WEXITSTATUS(in_child(one_wrong_login)), 3);
	ck_assert_uint_eq(pin_flags(), CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY);
	ck_assert_uint_eq(login(RIG_PIN), CKR_OK); /* forgives */
	ck_assert_uint_eq(P->C_Logout(rig.session), CKR_OK);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(WEXITSTATUS(in_child(one_wrong_login)), 3);
	ck_assert_uint_eq(pin_flags(), CKF_USER_PIN_LOCKED);
	rules("C_GetInfo rv=5\n* locked\n"); /* other rules do not unlock it */
	ck_assert_uint_eq(login(RIG_PIN), CKR_PIN_LOCKED);
	ck_assert_uint_eq(login("0000"), CKR_PIN_LOCKED);
	rules("");
	ck_assert_uint_eq(login(RIG_PIN), CKR_OK);
}
END_TEST

static void count_failures(void)
{
	int failures = 0;
	CK_SESSION_INFO i;

	for (int j = 0; j < 3; j++)
		failures += P->C_GetSessionInfo(rig.session, &i) != CKR_OK;
	_exit(failures);
}

START_TEST(count_holds_over_processes)
{
	rules("C_GetSessionInfo rv=0x30 skip=1 count=4\n");
	ck_assert_int_eq(WEXITSTATUS(in_child(count_failures)), 2);
	ck_assert_int_eq(WEXITSTATUS(in_child(count_failures)), 2);
	ck_assert_int_eq(WEXITSTATUS(in_child(count_failures)), 0);
}
END_TEST

static void *info_in_thread(void *unused)
{
	info();
	return unused;
}

static void two_threads_one_session(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, info_in_thread, NULL);
	while (rig_lines(&rig, " fn=C_GetSessionInfo ", " ev=begin did=delay ") == 0)
		;
	info();
	pthread_join(thread, NULL);
}

START_TEST(one_thread_at_a_time)
{
	rules("C_GetSessionInfo delay=200 count=1\n* one-thread\n");
	ck_assert_int_eq(signal_of(in_child(two_threads_one_session)), SIGABRT);
	ck_assert_uint_eq(rig_lines(&rig, " note=C_GetSessionInfo:_session_", ""), 1);
	rules("* one-thread\n");
	ck_assert_int_eq(WEXITSTATUS(in_child(info)), 42);
}
END_TEST

START_TEST(one_process_at_a_time)
{
	rules("* one-process\n");
	info();
	ck_assert_int_eq(signal_of(in_child(info)), SIGABRT);
	info();
}
END_TEST

START_TEST(without_witness_or_module_it_does_not_start)
{
	struct rig r;

	rig_prepare(&r);
	setenv("P11FAULT_LOG", "/nowhere/witness", 1);
	ck_assert_uint_eq(rig_list(&r.p11), CKR_GENERAL_ERROR);
	rig_remove(&r);
	rig_prepare(&r);
	setenv("P11FAULT_MODULE", "/nowhere/module.so", 1);
	ck_assert_uint_eq(rig_list(&r.p11), CKR_GENERAL_ERROR);
	rig_remove(&r);
	rig_prepare(&r);
	setenv("P11FAULT_CONTROL", "/nowhere/rules", 1);
	ck_assert_uint_eq(rig_list(&r.p11), CKR_GENERAL_ERROR);
	rig_remove(&r);
	rig_prepare(&r);
	ck_assert_uint_eq(rig_list(&r.p11), CKR_OK);
	rig_remove(&r);
}
END_TEST

TCase *checks_of_loading(void)
{
	TCase *t = tcase_create("loading");

	tcase_add_test(t, without_witness_or_module_it_does_not_start);
	return t;
}

TCase *checks_of_processes(void)
{
	TCase *t = tcase_create("processes");

	tcase_add_checked_fixture(t, rig_set_up, rig_tear_down);
	tcase_add_test(t, crash_abort_exit);
	tcase_add_test(t, rules_that_are_wrong_end_the_process);
	tcase_add_test(t, the_witness_survives_kill);
	tcase_add_test(t, stdout_is_written_to);
	tcase_add_test(t, signals_and_surroundings_are_changed);
	tcase_add_test(t, memory_and_descriptors_leak);
	tcase_add_test(t, new_rules_are_read_without_descriptors);
	tcase_add_test(t, pin_locks_after_three_over_processes);
	tcase_add_test(t, count_holds_over_processes);
	tcase_add_test(t, one_thread_at_a_time);
	tcase_add_test(t, one_process_at_a_time);
	return t;
}
