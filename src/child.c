#include "settings.h"

#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONTROL_TIMEOUT_MS 5000
#define ARENAS		   2
#define LARGE		   (1 << 20) /* octets: above any message and what it is read into */

/* In the new process: descriptors 0 to 3, and nothing else after exec. */
static bool set_descriptors(int control)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0)
		return false;
	if (control == CHILD_CONTROL) {
		if (fcntl(control, F_SETFD, 0) != 0)
			return false;
	} else if (dup2(control, CHILD_CONTROL) < 0) {
		return false;
	}
	return close_range(CHILD_CONTROL + 1, ~0u, CLOSE_RANGE_CLOEXEC) == 0;
}

static bool reset_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	return signal(SIGPIPE, SIG_DFL) != SIG_ERR && sigprocmask(SIG_SETMASK, &none, NULL) == 0;
}

/* The user first: changing it forgets the signal that comes with the parent's death. */
static bool give_up(const struct sandbox_user *user, pid_t parent)
{
	if (user != NULL && sandbox_become(user) != ERR_OK)
		return false;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
		return false;
	if (getppid() != parent)
		_exit(0);
	return true;
}

static void become_program(const struct child_spec *spec, int control, int report, pid_t parent)
{
	char program[4096], argument[NAME_SIZE];
	char *argv[] = {program, spec->argument != NULL ? argument : NULL, NULL};
	int e;

	snprintf(program, sizeof program, "%s", spec->program);
	snprintf(argument, sizeof argument, "%s", spec->argument != NULL ? spec->argument : "");
	errno = 0;
	if (setsid() >= 0 && reset_signals() && set_descriptors(control) &&
		give_up(spec->user, parent))
		execve(program, argv, spec->environment);
	e = errno != 0 ? errno : EPERM;
	_exit(write(report, &e, sizeof e) == sizeof e ? 71 : 72);
}

/* A descriptor above those that the child is born with. */
static int lift(int fd)
{
	int high = fcntl(fd, F_DUPFD_CLOEXEC, CHILD_CONTROL + 1);

	close(fd);
	return high;
}

/* What exec said: errno, or 0 when the pipe closed with it. */
static int exec_result(int fd)
{
	int e = 0;
	ssize_t n;

	do
		n = read(fd, &e, sizeof e);
	while (n < 0 && errno == EINTR);
	return n == sizeof e ? e : n == 0 ? 0 : EIO;
}

enum err child_spawn(const struct child_spec *spec, pid_t *pid, int *control)
{
	int ends[2] = {-1, -1}, report[2] = {-1, -1}, e;
	pid_t me = getpid();

	*pid = -1;
	*control = -1;
	if (channel_pair(ends) != ERR_OK)
		return ERR_SYSTEM;
	if (pipe2(report, O_CLOEXEC) != 0 || (report[1] = lift(report[1])) < 0)
		goto failed;
	if ((*pid = fork()) < 0)
		goto failed;
	if (*pid == 0)
		become_program(spec, ends[1], report[1], me);
	close(report[1]);
	report[1] = -1;
	if ((e = exec_result(report[0])) != 0) {
		waitpid(*pid, NULL, 0);
		*pid = -1;
		errno = e;
		goto failed;
	}
	close(report[0]);
	close(ends[1]);
	*control = ends[0];
	return ERR_OK;
failed:
	e = errno;
	for (int i = 0; i < 2; i++) {
		close(ends[i]);
		if (report[i] >= 0)
			close(report[i]);
	}
	errno = e;
	return ERR_SYSTEM;
}

void child_secrets_close(struct child_secrets *secrets)
{
	for (size_t i = 0; i < secrets->count; i++)
		close(secrets->fd[i]);
	secrets->count = 0;
}

int child_secret(const struct child_secrets *secrets, const char *label, size_t n)
{
	for (size_t i = 0; i < secrets->count; i++)
		if (strcmp(secrets->label[i], label) == 0 && n-- == 0)
			return secrets->fd[i];
	return -1;
}

enum err child_take_config(struct config **config, struct child_secrets *secrets,
	struct reader *body, int *fds, size_t fd_count,
	void (*digest)(const void *, size_t, uint8_t[SHA256_SIZE]))
{
	struct msg_config m;
	enum err e = msg_config_read(&m, body);
	int bundle;

	*config = NULL;
	secrets->count = fd_count;
	memcpy(secrets->fd, fds, fd_count * sizeof *fds);
	if (e == ERR_OK && m.count != fd_count)
		e = ERR_FORMAT;
	if (e == ERR_OK) {
		memcpy(secrets->label, m.label, sizeof m.label[0] * m.count);
		bundle = child_secret(secrets, "bundle", 0);
		e = bundle < 0 ? ERR_FORMAT : config_from_fd(config, bundle, digest);
	}
	if (e != ERR_OK)
		child_secrets_close(secrets);
	return e;
}

static enum err first_config(struct config **config, struct child_secrets *secrets,
	uint64_t *serial, uint8_t *octets,
	void (*digest)(const void *, size_t, uint8_t[SHA256_SIZE]))
{
	struct msg_head head;
	struct reader body;
	int fds[MSG_FDS];
	size_t len, count;
	enum err e = channel_receive(CHILD_CONTROL, octets, MSG_MAX, &len, fds, &count, -1);

	if (e != ERR_OK)
		return e;
	if (msg_open(&head, &body, octets, len) != ERR_OK || head.type != MSG_CONFIG) {
		while (count > 0)
			close(fds[--count]);
		return ERR_FORMAT;
	}
	*serial = head.serial;
	return child_take_config(config, secrets, &body, fds, count, digest);
}

enum err child_start(struct config **config, struct child_secrets *secrets, uint64_t *serial,
	void (*digest)(const void *, size_t, uint8_t[SHA256_SIZE]))
{
	uint8_t *octets;
	enum err e;

	*config = NULL;
	secrets->count = 0;
	/* Each of many threads would keep a heap of its own, and each large block would be mapped
	 * and unmapped. */
	mallopt(M_ARENA_MAX, ARENAS);
	mallopt(M_MMAP_THRESHOLD, LARGE);
	mallopt(M_TRIM_THRESHOLD, LARGE);
	if ((e = sandbox_common()) != ERR_OK)
		return e;
	if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0 ||
		fcntl(CHILD_CONTROL, F_SETFD, FD_CLOEXEC) != 0)
		return ERR_SYSTEM;
	if ((octets = malloc(MSG_MAX)) == NULL)
		return ERR_NOMEM;
	e = first_config(config, secrets, serial, octets, digest);
	free(octets);
	return e;
}

enum err child_answer_config(uint64_t serial, const struct refusal *why)
{
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_config_answer m = {.err = why != NULL ? why->err : ERR_OK};
	enum err e;

	if (m.err != ERR_OK)
		snprintf(m.text, sizeof m.text, "%s%s%s", why->field,
			why->field[0] != '\0' ? ": " : "",
			why->detail[0] != '\0' ? why->detail : err_text(why->err));
	msg_begin(&out, MSG_ANSWER(MSG_CONFIG), serial);
	msg_config_answer_write(&out, &m);
	e = channel_send(CHILD_CONTROL, &out, NULL, 0, CONTROL_TIMEOUT_MS);
	buf_free(&out);
	return e;
}

static enum err say(const struct buf *out)
{
	return channel_send(CHILD_CONTROL, out, NULL, 0, CONTROL_TIMEOUT_MS);
}

static enum err say_state(uint64_t serial)
{
	struct buf out = BUF_INIT(64);
	enum err e;

	msg_begin(&out, MSG_STATE, serial);
	e = say(&out);
	buf_free(&out);
	return e;
}

enum err child_ready(void)
{
	return say_state(0);
}

enum err child_ready_without(uint32_t reason)
{
	return say_state(reason);
}

enum err child_answer_decision(uint64_t serial, const struct refusal *why, const char *text)
{
	struct msg_decide_answer m = {.err = why != NULL ? why->err : ERR_OK};
	struct buf out = BUF_INIT(1024);
	enum err e;

	snprintf(m.text, sizeof m.text, "%s", m.err != ERR_OK ? why->detail : text);
	msg_begin(&out, MSG_ANSWER(MSG_DECIDE), serial);
	msg_decide_answer_write(&out, &m);
	e = say(&out);
	buf_free(&out);
	return e;
}

enum err child_wants_heir(void)
{
	struct msg_hello m = {.role = ROLE_HSM};
	struct buf out = BUF_INIT(256);
	enum err e;

	msg_begin(&out, MSG_HELLO, 0);
	msg_hello_write(&out, &m);
	e = say(&out);
	buf_free(&out);
	return e;
}
