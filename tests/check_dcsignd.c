#include "settings.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "sockets.h"

/* dcsignd with fakes/child as each of its children, in a folder of its own. */
static char folder[64], program[4096], fake[4096];
static pid_t daemon_pid;
static int notify = -1;

static void path_of(char path[256], const char *name)
{
	snprintf(path, 256, "%s/%s", folder, name);
}

static void put(const char *name, const char *text, mode_t mode)
{
	char path[256];
	int fd;

	path_of(path, name);
	unlink(path);
	ck_assert_int_ge(fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, mode), 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static char *get(const char *name)
{
	static char text[1 << 18];
	char path[256];
	ssize_t len = 0;
	int fd;

	path_of(path, name);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
		len = read(fd, text, sizeof text - 1);
		close(fd);
	}
	text[len > 0 ? len : 0] = '\0';
	return text;
}

static void configure(const char *users, const char *state, unsigned max_live, const char *more)
{
	char text[4096];

	snprintf(text, sizeof text,
		"node = n origin = o ledger = 'sqlite:l' monitor = '127.0.0.1:0' state = '%s' %s\n"
		"listen '127.0.0.1:0' { certificate = pem private_key = key client_ca = pem }\n"
		"token east { module = '/bin/sh' uri = 'pkcs11:token=e' pin = 'file:pin' "
		"environment = "
		"{ 'EAST=1' } }\n"
		"token west { module = '/bin/sh' uri = 'pkcs11:token=w' pin = 'file:pin' }\n"
		"policy p { max_live = %u }\n"
		"key k { token = east uri = 'pkcs11:object=k' certificate = pem policy = p }\n"
		"client c { match { cn = c } may = { read } }\n%s",
		state, users, max_live, more);
	put("conf", text, 0600);
}

/* The programs where a build tree has them. */
static void make_programs(void)
{
	static const char *const parts[][2] = {{"api", "api/dcsignd-api"},
		{"hsm", "hsm/dcsignd-hsm"}, {"src", NULL},
		{"src/ledger", "src/ledger/dcsignd-ledger"}};

	for (size_t i = 0; i < 4; i++) {
		char path[256];

		path_of(path, parts[i][0]);
		ck_assert_int_eq(mkdir(path, 0755), 0);
		if (parts[i][1] == NULL)
			continue;
		path_of(path, parts[i][1]);
		ck_assert_int_eq(symlink(fake, path), 0);
	}
}

static void open_notify(void)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	snprintf(un.sun_path, sizeof un.sun_path, "%s/notify", folder);
	ck_assert_int_ge(notify = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), 0);
	ck_assert_int_eq(bind(notify, (struct sockaddr *)&un, sizeof un), 0);
}

static void setup(void)
{
	const char *build = getenv("TOP_BUILDDIR");

	snprintf(program, sizeof program, "%s/src/dcsignd", build != NULL ? build : ".");
	snprintf(fake, sizeof fake, "%s/tests/fakes/child", build != NULL ? build : ".");
	snprintf(folder, sizeof folder, "/tmp/check_dcsignd.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chmod(folder, 0711), 0);
	make_programs();
	put("pem", "PEM", 0644);
	put("key", "KEY", 0600);
	put("pin", "1234", 0600);
	configure("single_user = yes", "state", 1, "");
	open_notify();
	daemon_pid = -1;
}

static void teardown(void)
{
	char command[128];

	if (daemon_pid > 0) {
		kill(daemon_pid, SIGKILL);
		waitpid(daemon_pid, NULL, 0);
	}
	close(notify);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static const char *drain_ms = "60000"; /* NULL: what it is in service */

static void exec_daemon(const char *option, const char *output)
{
	char path[256], conf[256];
	int fd;

	path_of(path, output);
	fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
		_exit(99);
	path_of(path, "notify");
	setenv("NOTIFY_SOCKET", path, 1);
	setenv("DCSIGN_LIBEXECDIR", folder, 1);
	setenv("DCSIGN_TEST_DIR", folder, 1);
	setenv("SURPRISE", "1", 1);
	if (drain_ms != NULL)
		setenv("DCSIGN_DRAIN_MS", drain_ms, 1);
	setenv("TZ", "UTC", 1);
	path_of(conf, "conf");
	execl(program, "dcsignd", "-c", conf, option, NULL);
	_exit(98);
}

static pid_t start(const char *option, const char *output)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0)
		exec_daemon(option, output);
	return pid;
}

static int64_t ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int ended(pid_t pid, int64_t within)
{
	int64_t until = ms() + within;
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (ms() > until) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
			ck_abort_msg("does not end: %s", get("err"));
		}
		usleep(10000);
	}
	if (pid == daemon_pid)
		daemon_pid = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* How often a text stands in a file. */
static int times(const char *name, const char *what)
{
	int n = 0;

	for (const char *at = get(name); (at = strstr(at, what)) != NULL; at++)
		n++;
	return n;
}

static void wait_for(const char *name, const char *what, int count)
{
	int64_t until = ms() + 100000;

	while (times(name, what) < count) {
		if (ms() > until)
			ck_abort_msg("%d times '%s' in %s, wanted %d:\n%.2000s\n%.2000s",
				times(name, what), what, name, count, get(name), get("err"));
		usleep(10000);
	}
}

/* What the service manager is told next. */
static char *told(void)
{
	static char text[512];
	struct pollfd p = {.fd = notify, .events = POLLIN};
	ssize_t len;

	ck_assert_msg(poll(&p, 1, 100000) == 1, "%s", get("err"));
	ck_assert_int_gt(len = recv(notify, text, sizeof text - 1, 0), 0);
	text[len] = '\0';
	return text;
}

static void start_daemon(void)
{
	daemon_pid = start(NULL, "err");
	ck_assert_int_eq(strncmp(told(), "READY=1\n", 8), 0);
}

/* The process id of the last birth of this role (and argument). */
static pid_t born(const char *role, const char *argument)
{
	char what[128];
	long pid = 0;

	snprintf(what, sizeof what, "born argument=%s ", argument);
	for (char *line = strtok(get("log"), "\n"); line != NULL; line = strtok(NULL, "\n")) {
		if (strstr(line, what) != NULL && strncmp(line, role, strlen(role)) == 0)
			pid = strtol(line + strlen(role), NULL, 10);
	}
	ck_assert_int_gt(pid, 0);
	return (pid_t)pid;
}

START_TEST(births)
{
	start_daemon();
	wait_for("log", "hello", 10);
	/* Everybody knows everybody of the other roles: 2, 3, 4 are api, hsm, ledger. */
	ck_assert_int_eq(times("log", "unlinked"), 0);
	ck_assert_int_eq(times("log", "hello role=2 name=\n"), 3);
	ck_assert_int_eq(times("log", "hello role=4 name=\n"), 3);
	ck_assert_int_eq(times("log", "hello role=3 name=east\n"), 2);
	ck_assert_int_eq(times("log", "hello role=3 name=west\n"), 2);
	/* What each gets. */
	ck_assert_int_eq(times("log", "pin=1234 labels bundle pin\n"), 2);
	ck_assert_int_eq(times("log", "labels bundle lock\n"), 1);
	ck_assert_int_eq(times("log", "labels bundle listen tls_key monitor\n"), 1);
	ck_assert_int_eq(times("log", "nnp=1 sid=1"), 4);
	ck_assert_int_eq(times("log", "fds=4"), 4);
	/* The environment. */
	ck_assert_int_eq(times("log", " SURPRISE"), 0);
	ck_assert_int_eq(times("log", " HOME"), 0);
	ck_assert_int_eq(times("log", " NOTIFY_SOCKET"), 0);
	ck_assert_int_eq(times("log", " PATH"), 4);
	ck_assert_int_eq(times("log", " TZ"), 4);
	ck_assert_int_eq(times("log", " EAST"), 1);
	/* The ports that 0 became. */
	ck_assert_int_eq(times("err", "event=listening for=listen address=127.0.0.1:"), 1);
	ck_assert_int_eq(times("err", "event=listening for=monitor address=127.0.0.1:"), 1);
	ck_assert_int_eq(times("err", "address=127.0.0.1:0\n"), 0);
	ck_assert_int_eq(access(strcat(strcpy((char[256]){0}, folder), "/state/hsm"), F_OK), 0);
}
END_TEST

START_TEST(a_death)
{
	start_daemon();
	wait_for("log", "hello", 10);
	int64_t begin;
	int n = 0;

	do { /* at once, but for a loaded machine */
		begin = ms();
		kill(born("hsm", "east"), SIGKILL);
		wait_for("log", "born argument=east", 2 + n++);
		begin = ms() - begin;
		/* Its neighbours hear of it, the other token's process does not. */
		wait_for("log", "hello", 10 + 4 * n);
	} while (begin >= 1000 && n < 10);
	ck_assert_int_lt(begin, 1000);
	ck_assert_int_eq(times("log", "hello role=3 name=east\n"), 2 + 2 * n);
	ck_assert_int_eq(times("log", "hello role=3 name=west\n"), 2);
	ck_assert_int_eq(times("log", "pin=1234 "), 2 + n);

	kill(born("ledger", ""), SIGKILL);
	wait_for("log", "hello", 16 + 4 * n);
	ck_assert_int_eq(times("log", "hello role=4 name=\n"), 6 + n);
	kill(born("api", ""), SIGKILL);
	wait_for("log", "hello", 22 + 4 * n);
	ck_assert_int_eq(times("log", "unlinked"), 0);
	/* READY=1 is said once. */
	struct pollfd p = {.fd = notify, .events = POLLIN};
	ck_assert_int_eq(poll(&p, 1, 100), 0);
}
END_TEST

/* A loaded machine bears later, never earlier. */
START_TEST(back_off)
{
	start_daemon();
	wait_for("log", "hello", 10);
	put("exit-hsm", "75", 0600);

	int64_t begin = ms();

	kill(born("hsm", "west"), SIGKILL);
	/* After 0, 0.1, 0.3, 0.7, 1.2, 1.7, 2.2, 2.7, 3.2 s; the last after 25.5 s if it doubled on
	 */
	wait_for("log", "born argument=west", 1 + 9);
	ck_assert_int_ge(ms() - begin, 3100);
	ck_assert_int_le(ms() - begin, 24000);
	/* The token is there again. */
	unlink(strcat(strcpy((char[256]){0}, folder), "/exit-hsm"));
	wait_for("log", "hello", 14);
}
END_TEST

START_TEST(crash_back_off)
{
	start_daemon();
	put("exit-ledger", "70", 0600);

	int64_t begin = ms();

	kill(born("ledger", ""), SIGKILL);
	/* The first, then those born after 0, 0.1, 0.3, 0.7, 1.5 s; some may end before they are
	 * told anything. */
	while (times("err", "event=ended child=dcsignd-ledger") +
			times("err", "event=\"can't be born\" child=dcsignd-ledger") <
		1 + 5)
		usleep(10000);
	ck_assert_int_ge(ms() - begin, 1400);
}
END_TEST

/* One that serves each time is no crash at every start: the last births of many wait no longer. On
 * a loaded machine one of three is early. */
START_TEST(who_served_is_soon_back)
{
	int64_t least = INT64_MAX;

	start_daemon();
	wait_for("log", "hello", 10);
	for (int n = 1; n <= 9; n++) {
		int64_t begin = ms();

		kill(born("api", ""), SIGKILL);
		wait_for("err", "event=born child=dcsignd-api", 1 + n);
		if (n > 6 && ms() - begin < least)
			least = ms() - begin;
		wait_for("err", "event=serves child=dcsignd-api", 1 + n);
	}
	ck_assert_int_lt(least, 3000); /* if it doubled on: 3.2 s, 5 s, 5 s */
}
END_TEST

START_TEST(garbage)
{
	start_daemon();
	wait_for("log", "hello", 10);
	put("garbage-api", "", 0600);
	wait_for("err", "a message that is none", 1);
	unlink(strcat(strcpy((char[256]){0}, folder), "/garbage-api"));
	wait_for("log", "hello", 16);
}
END_TEST

START_TEST(sighup)
{
	start_daemon();
	wait_for("log", "hello", 10);
	pid_t api_pid = born("api", "");
	put("log", "", 0666);
	configure("single_user = yes", "state", 2, "");
	kill(daemon_pid, SIGHUP);
	ck_assert_int_eq(strncmp(told(), "RELOADING=1\nMONOTONIC_USEC=", 27), 0);
	ck_assert_int_eq(strncmp(told(), "READY=1\n", 8), 0);
	/* Three that check, then each in its turn; nobody is born again. */
	ck_assert_int_eq(times("log", "born argument=-n"), 3);
	ck_assert_int_eq(times("log", "born"), 3);
	ck_assert_int_eq(times("log", "max_live=2"), 7);
	const char *log = get("log"), *ledger = strstr(log, "labels bundle lock"),
		   *hsm = strstr(log, "pin=1234"), *api = strstr(log, "labels bundle listen");
	ck_assert(ledger != NULL && hsm != NULL && api != NULL && ledger < hsm && hsm < api);

	/* What is wrong changes nothing and is said. */
	put("log", "", 0666);
	configure("single_user = yes", "state", 3, "colour = blue");
	kill(daemon_pid, SIGHUP);
	ck_assert_int_eq(strncmp(told(), "RELOADING=1\n", 12), 0);
	ck_assert_ptr_nonnull(strstr(told(), "refused"));
	ck_assert_int_eq(times("log", "max_live"), 0);
	ck_assert_int_eq(times("err", "conf:8: no such option 'colour'"), 1);

	/* So does what a program refuses. */
	configure("single_user = yes", "state", 4, "");
	put("refuse-api", "", 0600);
	kill(daemon_pid, SIGHUP);
	ck_assert_int_eq(strncmp(told(), "RELOADING=1\n", 12), 0);
	ck_assert_ptr_nonnull(strstr(told(), "refused"));
	ck_assert_int_eq(times("log", "max_live=4"), 3);
	ck_assert_int_eq(times("log", "born argument=-n"), 3);
	ck_assert_int_eq(times("err", "dcsignd-api: certificate: the fake refuses"), 1);
	unlink(strcat(strcpy((char[256]){0}, folder), "/refuse-api"));

	/* So does what can't change while it runs. */
	configure("single_user = yes", "elsewhere", 5, "");
	kill(daemon_pid, SIGHUP);
	ck_assert_int_eq(strncmp(told(), "RELOADING=1\n", 12), 0);
	ck_assert_ptr_nonnull(strstr(told(), "refused"));
	ck_assert_int_eq(times("err", "'state' can't be changed while dcsignd runs"), 1);

	/* Who is born later gets what is in force, whatever the file says now. */
	put("log", "", 0666);
	configure("single_user = yes", "state", 6, "");
	kill(api_pid, SIGKILL);
	wait_for("log", "max_live=2 ", 1);
	ck_assert_int_eq(times("log", "max_live"), 1);
}
END_TEST

START_TEST(tokens_come_and_go)
{
	start_daemon();
	wait_for("log", "hello", 10);
	configure("single_user = yes", "state", 1,
		"token north { module = '/bin/sh' uri = 'pkcs11:token=n' pin = 'file:pin' }");
	kill(daemon_pid, SIGHUP);
	wait_for("log", "born argument=north", 1);
	wait_for("log", "hello", 14);
	ck_assert_int_eq(times("log", "hello role=3 name=north\n"), 2);
	ck_assert_int_eq(strncmp(told(), "RELOADING=1\n", 12), 0);
	ck_assert_int_eq(strncmp(told(), "READY=1\n", 8), 0);

	configure("single_user = yes", "state", 1, "");
	kill(daemon_pid, SIGHUP);
	wait_for("log", "drained", 1);
	wait_for("err", "event=ended child=dcsignd-hsm token=north", 1);
	usleep(300 * 1000);
	ck_assert_int_eq(times("log", "born argument=north"), 1);
}
END_TEST

START_TEST(drain)
{
	start_daemon();
	wait_for("log", "hello", 10);
	kill(daemon_pid, SIGTERM);
	ck_assert_int_eq(strncmp(told(), "STOPPING=1\n", 11), 0);
	ck_assert_int_eq(ended(daemon_pid, 60000), 0);
	char order[5][16] = {""};
	int n = 0;
	for (char *line = strtok(get("log"), "\n"); line != NULL; line = strtok(NULL, "\n"))
		if (strstr(line, "drained") != NULL && n < 5)
			snprintf(order[n++], 16, "%.*s", (int)strcspn(line, " "), line);
	ck_assert_int_eq(n, 4);
	ck_assert_str_eq(order[0], "api");
	ck_assert_str_eq(order[1], "hsm");
	ck_assert_str_eq(order[2], "hsm");
	ck_assert_str_eq(order[3], "ledger");
}
END_TEST

static void expect_gone(pid_t pid)
{
	char path[64], state[512];

	snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
	for (int i = 0; i < 6000; i++) {
		int fd = open(path, O_RDONLY | O_CLOEXEC);

		if (fd < 0)
			return;
		ssize_t len = read(fd, state, sizeof state - 1);
		close(fd);
		state[len > 0 ? len : 0] = '\0';
		if (len <= 0 || strstr(state, ") Z ") != NULL)
			return;
		usleep(10000);
	}
	ck_abort_msg("process %ld lives on", (long)pid);
}

START_TEST(drain_takes_too_long)
{
	drain_ms = _i == 1 ? "60000" : NULL;
	start_daemon();
	wait_for("log", "hello", 10);
	put("deaf-hsm", "", 0600);
	pid_t deaf = born("hsm", "west");
	int64_t begin = ms();
	kill(daemon_pid, SIGTERM);
	if (_i == 1) { /* a second SIGTERM does not wait */
		wait_for("log", "drained", 1);
		kill(daemon_pid, SIGTERM);
	}
	ck_assert_int_eq(ended(daemon_pid, 60000), 70);
	if (_i == 1)
		ck_assert_int_lt(ms() - begin, 50000);
	else
		ck_assert_int_ge(ms() - begin, 5000);
	expect_gone(deaf);
}
END_TEST

START_TEST(the_parent_is_killed)
{
	start_daemon();
	wait_for("log", "hello", 10);
	pid_t api = born("api", ""), hsm = born("hsm", "east"), ledger = born("ledger", "");
	kill(daemon_pid, SIGKILL);
	ck_assert_int_eq(ended(daemon_pid, 60000), -SIGKILL);
	expect_gone(api);
	expect_gone(hsm);
	expect_gone(ledger);
	/* The next one can start at once, on the same lock. */
	start_daemon();
}
END_TEST

START_TEST(a_second_one)
{
	start_daemon();
	pid_t second = start(NULL, "second");
	ck_assert_int_eq(ended(second, 60000), 75);
	ck_assert_ptr_nonnull(strstr(get("second"), "another dcsignd already runs on this state"));
}
END_TEST

START_TEST(refused_at_the_start)
{
	put("refuse-hsm", "", 0600);
	pid_t pid = start(_i == 0 ? NULL : "-n", "err");
	ck_assert_int_eq(ended(pid, 60000), 78);
	ck_assert_int_ge(times("err", "conf: dcsignd-hsm: certificate: the fake refuses"), 1);
	if (_i == 1)
		ck_assert_int_eq(times("log", "born argument=-n"), 3);
}
END_TEST

START_TEST(checks)
{
	pid_t pid = start("-n", "err");
	ck_assert_int_eq(ended(pid, 60000), 0);
	ck_assert_str_eq(get("err"), "");
	ck_assert_int_eq(times("log", "born argument=-n"), 3);
	/* It opens no port and makes no folder. */
	ck_assert_int_eq(times("log", "listen"), 0);
	ck_assert_int_eq(access(strcat(strcpy((char[256]){0}, folder), "/state"), F_OK), -1);
	put("pin", "1234", 0644);
	ck_assert_int_eq(ended(start("-n", "err"), 60000), 78);
	ck_assert_int_eq(times("err", "/pin: mode 0644 lets others than its owner in"), 2);
	ck_assert_int_eq(ended(start("--nonsense", "err"), 60000), 64);
	ck_assert_int_eq(ended(start("--version", "err"), 60000), 0);
	ck_assert_int_eq(ended(start("--help", "err"), 60000), 0);
}
END_TEST

START_TEST(dies_before_it_answers)
{
	put("exit-ledger", "9", 0600);
	ck_assert_int_eq(ended(start(NULL, "err"), 60000), 70);
	/* before it could be sent, or before it was answered; it may be seen in both places */
	ck_assert_int_ge(
		times("err", "dcsignd-ledger ended before it took its configuration (exit 9") +
			times("err", "dcsignd-ledger does not take its configuration: "),
		1);
}
END_TEST

START_TEST(the_port_is_taken)
{
	char bound[ADDRESS_TEXT], more[256];
	int fd;

	ck_assert_int_eq(address_listen(&fd, "127.0.0.1:0", bound), 0);
	snprintf(more, sizeof more,
		"listen '%s' { certificate = pem private_key = key client_ca = pem }", bound);
	configure("single_user = yes", "state", 1, more);
	ck_assert_int_eq(ended(start(NULL, "err"), 60000), 75);
	ck_assert_int_eq(times("err", "Address already in use"), 1);
	close(fd);
}
END_TEST

static int run_as(uid_t uid)
{
	pid_t pid = fork();

	ck_assert_int_ge(pid, 0);
	if (pid == 0) {
		char path[256];

		path_of(path, "conf");
		if ((uid != geteuid() &&
			    (setgroups(0, NULL) != 0 || setresgid(uid, uid, uid) != 0 ||
				    setresuid(uid, uid, uid) != 0)) ||
			access(program, X_OK) != 0)
			_exit(97);
		exec_daemon(NULL, "user-err");
	}
	return ended(pid, 60000);
}

START_TEST(one_user_must_be_wanted)
{
	uid_t uid = geteuid() == 0 ? 65534 : geteuid();

	configure("", "state", 1, "");
	ck_assert_int_eq(chmod(folder, 0777), 0);
	if (geteuid() == 0) {
		char command[256];

		snprintf(command, sizeof command, "chown -R 65534:65534 %s", folder);
		ck_assert_int_eq(system(command), 0);
	}
	int code = run_as(uid);
	if (code == 97)
		return; /* the build folder is closed to others */
	ck_assert_int_eq(code, 78);
	ck_assert_int_eq(times("user-err", "that needs single_user = yes"), 1);
}
END_TEST

static void has_status(pid_t pid, const char *line)
{
	char path[64], text[8192];
	ssize_t len;
	int fd;

	snprintf(path, sizeof path, "/proc/%ld/status", (long)pid);
	ck_assert_int_ge(fd = open(path, O_RDONLY | O_CLOEXEC), 0);
	ck_assert_int_gt(len = read(fd, text, sizeof text - 1), 0);
	close(fd);
	text[len] = '\0';
	ck_assert_msg(strstr(text, line) != NULL, "no '%s' in\n%s", line, text);
}

START_TEST(users_of_their_own)
{
	char path[256];
	struct stat st;

	if (geteuid() != 0)
		return;
	configure("users { api = 60001 hsm = 60002 ledger = 60003 }", "state", 1, "");
	ck_assert_int_eq(chmod(folder, 0777), 0);
	put("log", "", 0666);
	path_of(path, "log");
	ck_assert_int_eq(chmod(path, 0666), 0);
	daemon_pid = start(NULL, "err");
	struct pollfd p = {.fd = notify, .events = POLLIN};
	while (poll(&p, 1, 100) == 0)
		if (times("err", "Permission denied") > 0)
			return; /* the build folder is closed to others */
	wait_for("log", "hello", 10);
	ck_assert_int_eq(times("log", "uid=60001 gid=60001"), 1);
	ck_assert_int_eq(times("log", "uid=60002 gid=60002"), 2);
	ck_assert_int_eq(times("log", "uid=60003 gid=60003"), 1);
	has_status(born("hsm", "east"), "CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n");
	has_status(born("hsm", "east"), "Groups:\t \n");
	/* CAP_KILL, CAP_SETGID, CAP_SETUID */
	has_status(daemon_pid, "CapPrm:\t00000000000000e0\nCapEff:\t00000000000000e0\nCapBnd:\t"
			       "00000000000000e0\n");
	path_of(path, "state");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_uid, 60003);
	ck_assert_uint_eq(st.st_mode & 07777, 0711);
	path_of(path, "state/hsm");
	ck_assert_int_eq(stat(path, &st), 0);
	ck_assert_uint_eq(st.st_uid, 60002);
	ck_assert_uint_eq(st.st_mode & 07777, 0700);
	/* It can still end them. */
	kill(daemon_pid, SIGTERM);
	ck_assert_int_eq(ended(daemon_pid, 60000), 0);
}
END_TEST

START_TEST(bad_users)
{
	static const struct {
		const char *users, *says;
	} cases[] = {
		{"users { api = nobody-of-this-name hsm = 2 ledger = 3 }",
			"there is no user 'nobody-of-this-name' for dcsignd-api. Make it with: "
			"useradd"},
		{"users { api = 1 hsm = 0 ledger = 3 }", "'0' is root"},
		{"users { api = 1 hsm = 2 ledger = 1 }", "'1' is given to two kinds"}};

	if (geteuid() != 0)
		return;
	configure(cases[_i].users, "state", 1, "");
	ck_assert_int_eq(ended(start(NULL, "err"), 60000), 78);
	ck_assert_int_eq(times("err", cases[_i].says), 1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("dcsignd");
	TCase *t = tcase_create("dcsignd"), *b = tcase_create("births");
	SRunner *runner = srunner_create(s);
	int failed;

#ifndef DCSIGN_TEST_HOOKS
	puts("skipped: dcsignd finds no other programs than its own without --enable-test-hooks");
	srunner_free(runner);
	return 77;
#endif
	suite_add_tcase(s, b);
	tcase_add_checked_fixture(b, setup, teardown);
	tcase_set_timeout(b, 240);
	tcase_add_test(b, births);
	tcase_add_test(b, a_death);
	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 240);
	tcase_add_test(t, back_off);
	tcase_add_test(t, crash_back_off);
	tcase_add_test(t, who_served_is_soon_back);
	tcase_add_test(t, garbage);
	tcase_add_test(t, sighup);
	tcase_add_test(t, tokens_come_and_go);
	tcase_add_test(t, drain);
	tcase_add_loop_test(t, drain_takes_too_long, 0, 2);
	tcase_add_test(t, the_parent_is_killed);
	tcase_add_test(t, a_second_one);
	tcase_add_loop_test(t, refused_at_the_start, 0, 2);
	tcase_add_test(t, checks);
	tcase_add_test(t, dies_before_it_answers);
	tcase_add_test(t, the_port_is_taken);
	tcase_add_test(t, one_user_must_be_wanted);
	tcase_add_test(t, users_of_their_own);
	tcase_add_loop_test(t, bad_users, 0, 3);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
