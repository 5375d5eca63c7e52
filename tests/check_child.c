#include "settings.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "memory_source.h"

/* child_spawn and the child's side of it, with tests/fakes/child as the program. */
static char folder[64], program[4096];
static char variable[128];
static char *environment[] = {variable, NULL, NULL};
static pid_t pid;
static int control, bundle;

static const char text[] =
	"node = n origin = o ledger = 'sqlite:l' listen '127.0.0.1:0' { certificate = c "
	"private_key = k client_ca = a } token t { module = m uri = 'pkcs11:token=t' pin = "
	"'file:p' } policy p { max_live = 77 } key k { token = t uri = 'pkcs11:object=k' "
	"certificate = c policy = p } client c { match { cn = c } may = { read } }";

static int make_bundle(int seals)
{
	struct buf complaints = BUF_INIT(65536), out = BUF_INIT(CONFIG_BUNDLE_MAX);
	const struct conffile_source source = {
		&complaints, memory_load, memory_secret, memory_there, memory_complain};
	struct config *c;
	int fd = memfd_create("bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	ck_assert_int_ge(fd, 0);
	ck_assert_msg(conffile_parse(&c, "x", text, sizeof text - 1, &source) == ERR_OK, "%s",
		buf_cstr(&complaints));
	ck_assert_int_eq(config_encode(&out, c), ERR_OK);
	ck_assert_int_eq(write(fd, out.octets, out.len), (ssize_t)out.len);
	ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, seals), 0);
	config_unref(c);
	buf_free(&out);
	buf_free(&complaints);
	return fd;
}

#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static void setup(void)
{
	const char *build = getenv("TOP_BUILDDIR"), *asan = getenv("ASAN_OPTIONS");
	static char options[1024];

	snprintf(folder, sizeof folder, "/tmp/check_child.XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(program, sizeof program, "%s/tests/fakes/child", build != NULL ? build : ".");
	snprintf(variable, sizeof variable, "DCSIGN_TEST_DIR=%s", folder);
	if (asan != NULL) {
		snprintf(options, sizeof options, "ASAN_OPTIONS=%s", asan);
		environment[1] = options;
	}
	bundle = make_bundle(ALL_SEALS);
	pid = -1;
	control = -1;
}

static void teardown(void)
{
	char command[128];

	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	if (control >= 0)
		close(control);
	close(bundle);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static void bear(const char *argument)
{
	const struct child_spec spec = {program, argument, NULL, environment};

	ck_assert_msg(
		child_spawn(&spec, &pid, &control) == ERR_OK, "%s: %s", program, strerror(errno));
	ck_assert_int_eq(fcntl(control, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
}

static void send_config(const int *fds, size_t count, const char *const *labels)
{
	struct msg_config m = {.count = (uint16_t)count};
	struct buf out = BUF_INIT(MSG_MAX);

	for (size_t i = 0; i < count; i++)
		snprintf(m.label[i], LABEL_SIZE, "%s", labels[i]);
	msg_begin(&out, MSG_CONFIG, 42);
	msg_config_write(&out, &m);
	ck_assert_int_eq(channel_send(control, &out, fds, count, 1000), ERR_OK);
	buf_free(&out);
}

static uint8_t octets[MSG_MAX];

static void hear(struct msg_head *head, struct reader *body)
{
	size_t len;

	ck_assert_int_eq(
		channel_receive(control, octets, sizeof octets, &len, NULL, NULL, 20000), ERR_OK);
	ck_assert_int_eq(msg_open(head, body, octets, len), ERR_OK);
}

static int ended(void)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	pid = -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static char *read_log(void)
{
	static char said[65536];
	char path[128];
	ssize_t len;
	int fd;

	snprintf(path, sizeof path, "%s/log", folder);
	ck_assert_int_ge(fd = open(path, O_RDONLY | O_CLOEXEC), 0);
	ck_assert_int_ge(len = read(fd, said, sizeof said - 1), 0);
	said[len] = '\0';
	close(fd);
	return said;
}

static void has(const char *what)
{
	const char *log = read_log();

	ck_assert_msg(strstr(log, what) != NULL, "no '%s' in:\n%s", what, log);
}

START_TEST(birth)
{
	struct msg_config_answer answer;
	struct msg_head head;
	struct reader body;
	char own[64];
	int pin = memfd_create("pin", MFD_CLOEXEC), fds[2] = {bundle, pin};
	static const char *const labels[] = {"bundle", "pin"};

	ck_assert_int_eq(write(pin, "1234", 4), 4);
	lseek(pin, 0, SEEK_SET);
	/* Descriptors that must not go over, with and without close-on-exec. */
	int leak = open("/dev/null", O_RDONLY), high = fcntl(leak, F_DUPFD, 700);
	ck_assert_int_ge(high, 700);
	signal(SIGPIPE, SIG_IGN);
	sigset_t blocked;
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGTERM);
	sigprocmask(SIG_BLOCK, &blocked, NULL);

	bear("main");
	send_config(fds, 2, labels);
	hear(&head, &body);
	ck_assert_uint_eq(head.type, MSG_ANSWER(MSG_CONFIG));
	ck_assert_uint_eq(head.serial, 42);
	ck_assert_int_eq(msg_config_answer_read(&answer, &body), ERR_OK);
	ck_assert_int_eq(answer.err, ERR_OK);
	ck_assert_str_eq(answer.text, "");
	hear(&head, &body);
	ck_assert_uint_eq(head.type, MSG_STATE);
	ck_assert(reader_done(&body));

	snprintf(own, sizeof own, "ppid=%ld ", (long)getpid());
	has("born argument=main");
	has(own);
	has("fds=4 nnp=1 sid=1");
	has("environment DCSIGN_TEST_DIR");
	has("config node=n max_live=77 pin=1234 labels bundle pin\n");
	/* SIGTERM is not blocked there. */
	kill(pid, SIGTERM);
	ck_assert_int_eq(ended(), 0);
	close(leak);
	close(high);
	close(pin);
}
END_TEST

START_TEST(no_argument)
{
	bear(NULL);
	close(control); /* and no CONFIG comes */
	control = -1;
	ck_assert_int_eq(ended(), 70);
	has("born argument= ppid");
}
END_TEST

START_TEST(check_only_refused)
{
	static const char *const labels[] = {"bundle"};
	struct msg_config_answer answer;
	struct msg_head head;
	struct reader body;
	char path[128];
	int fd;

	snprintf(path, sizeof path, "%s/refuse-child", folder);
	ck_assert_int_ge(fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600), 0);
	close(fd);
	/* The fake's role is what follows the last '-' of its name; here the whole path. */
	snprintf(path, sizeof path, "%s/dcsignd-child", folder);
	ck_assert_int_eq(symlink(program, path), 0);
	snprintf(program, sizeof program, "%s", path);
	bear("-n");
	send_config(&bundle, 1, labels);
	hear(&head, &body);
	ck_assert_int_eq(msg_config_answer_read(&answer, &body), ERR_OK);
	ck_assert_int_eq(answer.err, ERR_CERT_MALFORMED);
	ck_assert_str_eq(answer.text, "certificate: the fake refuses");
	ck_assert_int_eq(ended(), 78);
}
END_TEST

/* A bundle that somebody could still write to is not taken, nor one that has no label. */
START_TEST(bad_bundles)
{
	static const char *const good[] = {"bundle"}, *const other[] = {"bundel"};
	int writable = make_bundle(F_SEAL_SHRINK | F_SEAL_GROW),
	    shrinks = make_bundle(F_SEAL_WRITE | F_SEAL_GROW), plain;
	char path[128];

	snprintf(path, sizeof path, "%s/plain", folder);
	ck_assert_int_ge(plain = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600), 0);
	const int bad[] = {writable, shrinks, plain};
	for (size_t i = 0; i < 4; i++) {
		bear("main");
		send_config(i < 3 ? &bad[i] : &bundle, 1, i < 3 ? good : other);
		ck_assert_int_eq(ended(), 70);
		close(control);
		control = -1;
	}
	close(writable);
	close(shrinks);
	close(plain);
}
END_TEST

START_TEST(no_such_program)
{
	const struct child_spec spec = {"/nonexistent/program", NULL, NULL, environment};

	ck_assert_int_eq(child_spawn(&spec, &pid, &control), ERR_SYSTEM);
	ck_assert_int_eq(errno, ENOENT);
	ck_assert_int_eq(pid, -1);
	ck_assert_int_eq(control, -1);
	ck_assert_int_eq(waitpid(-1, NULL, WNOHANG), -1);
	ck_assert_int_eq(errno, ECHILD);
}
END_TEST

START_TEST(another_user)
{
	const struct sandbox_user nobody = {65534, 65534};
	const struct child_spec spec = {program, "main", &nobody, environment};

	if (geteuid() != 0) {
		ck_assert_int_eq(child_spawn(&spec, &pid, &control), ERR_SYSTEM);
		ck_assert_int_eq(errno, EPERM);
		return;
	}
	ck_assert_int_eq(chown(folder, 65534, 65534), 0);
	if (child_spawn(&spec, &pid, &control) != ERR_OK && errno == EACCES)
		return; /* the build folder is closed to others */
	for (int i = 0; i < 3000 && access(folder, F_OK) == 0; i++) {
		char path[128];

		snprintf(path, sizeof path, "%s/log", folder);
		if (access(path, F_OK) == 0)
			break;
		usleep(20000);
	}
	has("uid=65534 gid=65534");
}
END_TEST

/* The death of the parent takes the child along, whatever the child does. */
START_TEST(dies_with_its_parent)
{
	int channel[2];
	pid_t parent, child = 0;

	ck_assert_int_eq(pipe(channel), 0);
	parent = fork();
	ck_assert_int_ge(parent, 0);
	if (parent == 0) {
		const struct child_spec spec = {program, "main", NULL, environment};
		pid_t born;
		int c;

		if (child_spawn(&spec, &born, &c) != ERR_OK ||
			write(channel[1], &born, sizeof born) != sizeof born)
			_exit(1);
		for (;;)
			pause();
	}
	ck_assert_int_eq(read(channel[0], &child, sizeof child), sizeof child);
	ck_assert_int_eq(kill(child, 0), 0);
	/* A second holder of its control channel would not matter: it is the kernel that kills. */
	kill(parent, SIGKILL);
	ck_assert_int_eq(waitpid(parent, NULL, 0), parent);
	for (int i = 0; i < 6000; i++) {
		char path[64], state[512] = "";
		int fd;

		snprintf(path, sizeof path, "/proc/%ld/stat", (long)child);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			return;
		ssize_t len = read(fd, state, sizeof state - 1);
		close(fd);
		if (len <= 0 || strstr(state, ") Z ") != NULL)
			return;
		usleep(10000);
	}
	ck_abort_msg("it lives on");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("child");
	TCase *t = tcase_create("child");
	SRunner *runner = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, birth);
	tcase_add_test(t, no_argument);
	tcase_add_test(t, check_only_refused);
	tcase_add_test(t, bad_bundles);
	tcase_add_test(t, no_such_program);
	tcase_add_test(t, another_user);
	tcase_add_test(t, dies_with_its_parent);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
