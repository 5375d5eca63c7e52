/*
 * A child of dcsignd that does nothing: it takes its configuration and its neighbours, says so in
 * $DCSIGN_TEST_DIR/log, and ends as it is told. Its role is the name that it is started by. Files
 * in that folder steer it, ROLE as in "hsm": refuse-ROLE      refuses CONFIG exit-ROLE        ends
 * at once with the code that the file holds deaf-ROLE        does not end on SIGTERM garbage-ROLE
 * sends its parent a message that is none mute-ROLE        does not say any more that it serves
 */
#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "child.h"

extern char **environ;

static const char *role, *folder, *argument = "";
static volatile sig_atomic_t term;

static void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *fmt, ...)
{
	char text[4096], path[4096];
	va_list args;
	int fd, len = snprintf(text, sizeof text, "%s %ld ", role, (long)getpid());

	va_start(args, fmt);
	len += vsnprintf(text + len, sizeof text - (size_t)len - 1, fmt, args);
	va_end(args);
	text[len++] = '\n';
	snprintf(path, sizeof path, "%s/log", folder);
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
	if (fd < 0 || write(fd, text, (size_t)len) != len)
		_exit(99);
	close(fd);
}

/* The file that steers us, or -1. */
static int told(const char *what)
{
	char path[4096], text[16] = "0";
	int fd;

	snprintf(path, sizeof path, "%s/%s-%s", folder, what, role);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		return -1;
	if (read(fd, text, sizeof text - 1) < 0)
		_exit(99);
	close(fd);
	return atoi(text);
}

static void on_term(int signal_number)
{
	(void)signal_number;
	term = 1;
}

static void note_birth(void)
{
	struct buf names = BUF_INIT(65536);
	int fds = 0;

	for (int fd = 0; fd < 1024; fd++)
		fds += fcntl(fd, F_GETFD) >= 0;
	for (char **e = environ; *e != NULL; e++)
		buf_printf(&names, " %.*s", (int)strcspn(*e, "="), *e);
	note("born argument=%s ppid=%ld uid=%ld gid=%ld fds=%d nnp=%d sid=%d", argument,
		(long)getppid(), (long)geteuid(), (long)getegid(), fds,
		prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), getsid(0) == getpid());
	note("environment%s", buf_cstr(&names));
	buf_free(&names);
}

static void no_digest(const void *octets, size_t len, uint8_t out[SHA256_SIZE])
{
	(void)octets;
	memset(out, (int)(len & 0xff), SHA256_SIZE);
}

/* The first octets of what came along, to see that each has an offset of its own. */
static void note_config(const struct config *c, const struct child_secrets *secrets)
{
	struct buf text = BUF_INIT(65536);
	int pin = child_secret(secrets, "pin", 0);
	char start[8] = "";

	for (size_t i = 0; i < secrets->count; i++)
		buf_printf(&text, " %s", secrets->label[i]);
	if (pin >= 0 && read(pin, start, sizeof start - 1) < 0)
		_exit(99);
	note("config node=%s max_live=%llu pin=%s labels%s", c->node,
		(unsigned long long)c->policy[0].max_live, start, buf_cstr(&text));
	buf_free(&text);
}

static void take(struct config *c, struct child_secrets *secrets, uint64_t serial)
{
	struct refusal why = {.err = ERR_OK};

	note_config(c, secrets);
	if (told("refuse") >= 0)
		refuse(&why, ERR_CERT_MALFORMED, "certificate", "the fake refuses");
	child_secrets_close(secrets);
	config_unref(c);
	if (child_answer_config(serial, &why) != ERR_OK)
		_exit(70);
	if (why.err != ERR_OK && argument[0] == '-')
		_exit(78);
}

/* One message over the new channel shows that it leads to somebody. */
static void meet(struct reader *body, int fd)
{
	struct msg_hello hello;
	uint8_t octets[64];
	struct buf out = BUF_INIT(64);
	size_t len;

	if (msg_hello_read(&hello, body) != ERR_OK)
		_exit(70);
	msg_begin(&out, MSG_STATE, 1);
	if (channel_send(fd, &out, NULL, 0, 1000) != ERR_OK ||
		channel_receive(fd, octets, sizeof octets, &len, NULL, NULL, 60000) != ERR_OK)
		note("unlinked role=%d", hello.role);
	else
		note("hello role=%d name=%s", hello.role, hello.name);
	buf_free(&out);
	/* The channel stays open as long as we live. */
}

static void garbage(void)
{
	struct buf out = BUF_INIT(64);

	msg_begin(&out, MSG_ISSUE, 1);
	(void)channel_send(CHILD_CONTROL, &out, NULL, 0, 1000);
	buf_free(&out);
}

static void hear(void)
{
	static uint8_t octets[MSG_MAX];
	struct child_secrets secrets;
	struct config *c;
	struct msg_head head;
	struct reader body;
	int fds[MSG_FDS];
	size_t len, count;
	enum err e = channel_receive(CHILD_CONTROL, octets, MSG_MAX, &len, fds, &count, 0);

	if (e == ERR_TIMEOUT)
		return;
	if (e != ERR_OK || msg_open(&head, &body, octets, len) != ERR_OK)
		_exit(70);
	if (head.type == MSG_HELLO && count == 1) {
		meet(&body, fds[0]);
	} else if (head.type == MSG_HELLO && count == 0) {
		note("followed");
	} else if (head.type == MSG_STATE && told("mute") < 0) {
		if (child_ready() != ERR_OK)
			_exit(70);
	} else if (head.type == MSG_STATE) {
		return;
	} else if (head.type == MSG_CONFIG) {
		if (child_take_config(&c, &secrets, &body, fds, count, no_digest) != ERR_OK)
			_exit(70);
		take(c, &secrets, head.serial);
	} else {
		_exit(70);
	}
}

static void serve(void)
{
	struct pollfd p = {.fd = CHILD_CONTROL, .events = POLLIN};

	while (!term || told("deaf") >= 0) {
		if (told("garbage") >= 0)
			garbage();
		if (poll(&p, 1, 20) > 0)
			hear();
	}
	note("drained");
}

int main(int argc, char **argv)
{
	struct child_secrets secrets;
	struct config *c;
	uint64_t serial;
	int code;

	role = strrchr(argv[0], '-') != NULL ? strrchr(argv[0], '-') + 1 : argv[0];
	folder = getenv("DCSIGN_TEST_DIR");
	if (argc > 1)
		argument = argv[1];
	if (folder == NULL)
		return 99;
	note_birth();
	if (argument[0] != '-' && (code = told("exit")) >= 0)
		return code;
	if (child_start(&c, &secrets, &serial, no_digest) != ERR_OK)
		return 70;
	take(c, &secrets, serial);
	if (argument[0] == '-')
		return 0;
	signal(SIGTERM, on_term);
	if (child_ready() != ERR_OK)
		return 70;
	serve();
	return 0;
}
