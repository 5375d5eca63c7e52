/*
 * A taken-over api: started by dcsignd in the place of dcsignd-api it gets that one's channels, and
 * says on them what hostile.h makes up. In $DCSIGN_TEST_HOSTILE, a folder, it leaves the
 * credentials that it got as ID.dc, and in `tally` a line for each turn. $DCSIGN_TEST_SEED and the
 * number of its birth (file `life`) decide what it does; $DCSIGN_TEST_SPKI is the DC key, base64.
 */
#include "settings.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "child.h"
#include "hostile.h"

#define ANSWER_MS 30000 /* so long a right question may wait on a busy machine */
#define ABSENT_MS 6000	/* so long we wait for a neighbour to be born before we die ourselves */
#define QUESTIONS 64
#define OF_AGE_MS 1200 /* who served for a second is born again at once */

static struct lane {
	uint8_t role;
	const char *name;
	int fd;
	int64_t since; /* it has this channel, or is without one */
	unsigned open; /* right questions without an answer: these */
	uint64_t question[QUESTIONS];
	const char *wild; /* the last bent message, "" when there was none */
	unsigned answers, granted, closed;
} lanes[2] = {{.role = ROLE_HSM, .name = "hsm", .fd = -1, .wild = ""},
	{.role = ROLE_LEDGER, .name = "ledger", .fd = -1, .wild = ""}};
static const char *folder;
static uint64_t serial;
static uint8_t octets[HOSTILE_MAX];

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void leave(const char *name, int flags, const void *what, size_t len)
{
	char path[4096];
	int fd;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | flags, 0644);
	if (fd < 0 || write(fd, what, len) != (ssize_t)len)
		_exit(99);
	close(fd);
}

static void tally(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void tally(const char *fmt, ...)
{
	char line[256];
	va_list args;
	int len;

	va_start(args, fmt);
	len = vsnprintf(line, sizeof line, fmt, args);
	va_end(args);
	leave("tally", O_APPEND, line, (size_t)len);
}

static unsigned next_life(void)
{
	char path[4096], text[16] = "0";
	unsigned life;
	int fd;

	snprintf(path, sizeof path, "%s/life", folder);
	if ((fd = open(path, O_RDONLY | O_CLOEXEC)) >= 0) {
		if (read(fd, text, sizeof text - 1) < 0)
			_exit(99);
		close(fd);
	}
	life = (unsigned)atoi(text) + 1;
	leave("life", O_TRUNC, text, (size_t)snprintf(text, sizeof text, "%u\n", life));
	return life;
}

static void lost(struct lane *l)
{
	tally("closed %s %s\n", l->name, l->wild);
	close(l->fd);
	l->fd = -1;
	l->closed++;
	l->open = 0;
	l->since = now_ms();
}

/* From the parent. */
static void take_control(void)
{
	struct msg_head head;
	struct reader body;
	struct msg_hello hello;
	int fds[MSG_FDS];
	size_t len, count;
	enum err e = channel_receive(CHILD_CONTROL, octets, sizeof octets, &len, fds, &count, 0);

	if (e == ERR_TIMEOUT)
		return;
	if (e != ERR_OK || msg_open(&head, &body, octets, len) != ERR_OK)
		_exit(0);
	if (head.type == MSG_CONFIG) {
		while (count > 0)
			close(fds[--count]);
		if (child_answer_config(head.serial, NULL) != ERR_OK)
			_exit(0);
	} else if (head.type == MSG_HELLO && count == 1 &&
		   msg_hello_read(&hello, &body) == ERR_OK) {
		struct lane *l = &lanes[hello.role == ROLE_LEDGER];

		if (l->fd >= 0)
			lost(l);
		*l = (struct lane){.role = l->role,
			.name = l->name,
			.fd = fds[0],
			.since = now_ms(),
			.wild = ""};
	}
}

/* From a neighbour. A credential is left behind as a client would have it. */
static void take_grants(struct lane *l, struct reader *body)
{
	static struct msg_issue_answer a;

	if (msg_issue_answer_read(&a, body) != ERR_OK) {
		tally("FAIL an answer to ISSUE is malformed\n");
		return;
	}
	for (uint16_t i = 0; i < a.count; i++) {
		const struct msg_grant *g = &a.grant[i];
		char name[4096], part[4096];

		if (g->refusal.err != ERR_OK || g->dc.len == 0)
			continue;
		leave("part", O_TRUNC, g->dc.at,
			g->dc.len); /* whole or not at all: we may be ended */
		snprintf(part, sizeof part, "%s/part", folder);
		snprintf(name, sizeof name, "%s/%s.dc", folder, g->id);
		if (rename(part, name) != 0)
			_exit(99);
		l->granted++;
	}
}

static void take(struct lane *l)
{
	struct msg_head head;
	struct reader body;
	size_t len;
	enum err e = channel_receive(l->fd, octets, sizeof octets, &len, NULL, NULL, 0);

	if (e == ERR_TIMEOUT)
		return;
	if (e == ERR_FORMAT || (e == ERR_OK && msg_open(&head, &body, octets, len) != ERR_OK))
		tally("FAIL %s sent a malformed message\n", l->name);
	if (e != ERR_OK) {
		lost(l);
		return;
	}
	l->answers++;
	for (unsigned i = 0; i < l->open; i++)
		if (l->question[i] == head.serial) {
			l->question[i] = l->question[--l->open];
			break;
		}
	if (head.type == MSG_ANSWER(MSG_ISSUE))
		take_grants(l, &body);
}

/* True: it went out. */
static bool send_it(struct lane *l, size_t len, bool descriptor)
{
	union {
		struct cmsghdr head;
		char octets[CMSG_SPACE(sizeof(int))];
	} control = {.head = {.cmsg_len = CMSG_LEN(sizeof(int)),
			     .cmsg_level = SOL_SOCKET,
			     .cmsg_type = SCM_RIGHTS}};
	struct iovec part = {.iov_base = octets, .iov_len = len};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};

	if (descriptor) {
		memcpy(CMSG_DATA(&control.head), &l->fd, sizeof l->fd);
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
	}
	for (;;) {
		struct pollfd p = {.fd = l->fd, .events = POLLOUT};

		if (sendmsg(l->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0)
			return true;
		if (errno != EAGAIN || poll(&p, 1, 100) < 0)
			return false;
		if ((p.revents & POLLOUT) == 0)
			take(l);
		if (l->fd < 0)
			return false;
	}
}

/* Never in order, now and then at the limits. */
static uint64_t next_serial(void)
{
	uint64_t number = ++serial ^ 3;

	return hostile_random(50) == 0 ? UINT64_MAX - number : number;
}

static void say(struct lane *l, bool wild)
{
	const char *what;
	bool descriptor = wild && hostile_random(10) == 0;
	size_t len = hostile_message(octets, l->role, next_serial(), wild && !descriptor, &what);
	bool asked = !wild && octets[3] != MSG_STRANGER;
	uint64_t number;

	memcpy(&number, octets + 4, sizeof number);

	if (wild) {
		l->wild = descriptor ? "descriptor" : what;
		tally("sent %s %s\n", l->name, l->wild);
	}
	if (send_it(l, len, descriptor) && asked)
		l->question[l->open++] = be64toh(number);
}

static void listen_for(int ms)
{
	struct pollfd p[3] = {{.fd = CHILD_CONTROL, .events = POLLIN},
		{.fd = lanes[0].fd, .events = POLLIN}, {.fd = lanes[1].fd, .events = POLLIN}};

	if (poll(p, 3, ms) <= 0)
		return;
	for (int i = 0; i < 2; i++)
		if (p[i + 1].revents != 0)
			take(&lanes[i]);
	if (p[0].revents != 0)
		take_control();
}

static void turn(void)
{
	int64_t until = now_ms() + ANSWER_MS;

	for (int i = 0; i < 2; i++) {
		struct lane *l = &lanes[i];

		for (uint64_t n = hostile_random(8); n > 0 && l->fd >= 0; n--)
			say(l, false);
		if (l->fd >= 0 && now_ms() - l->since > OF_AGE_MS)
			say(l, true);
	}
	/* a bent message may have been right all the same, and have an answer of its own */
	while (lanes[0].open + lanes[1].open > 0 && now_ms() < until)
		listen_for(1000);
	for (int i = 0; i < 2; i++) {
		struct lane *l = &lanes[i];

		if (l->open > 0)
			tally("FAIL %s does not answer question %llu\n", l->name,
				(unsigned long long)l->question[0]);
		tally("%s answers %u granted %u\n", l->name, l->answers, l->granted);
		l->open = l->answers = l->granted = 0;
	}
	listen_for(20);
}

/* Now and then the end is an abrupt one: questions are left without anybody who takes the answers.
 */
static void live(void)
{
	int64_t until = now_ms() + 3000 + (int64_t)hostile_random(8000);

	while (now_ms() < until) {
		turn();
		for (int i = 0; i < 2; i++)
			if (lanes[i].fd < 0 && now_ms() - lanes[i].since > ABSENT_MS)
				return;
	}
	for (int i = 0; i < 2; i++)
		for (int n = 0; n < 20 && lanes[i].fd >= 0 && hostile_random(20) > 0; n++)
			say(&lanes[i], false);
	if (lanes[0].fd >= 0 && hostile_random(2)) /* an empty one: the end of the stream */
		send_it(&lanes[0], 0, false);
}

static void on_term(int number)
{
	(void)number;
	_exit(0);
}

int main(int argc, char **argv)
{
	const char *seed = getenv("DCSIGN_TEST_SEED"), *key = getenv("DCSIGN_TEST_SPKI");
	struct buf spki = BUF_INIT(8192);
	struct child_secrets secrets;
	struct config *config;
	uint64_t asked;

	folder = getenv("DCSIGN_TEST_HOSTILE");
	if (folder == NULL || seed == NULL || key == NULL ||
		base64_decode(&spki, key, strlen(key)) != ERR_OK ||
		child_start(&config, &secrets, &asked, sha256) != ERR_OK ||
		child_answer_config(asked, NULL) != ERR_OK)
		return 99;
	child_secrets_close(&secrets);
	if (argc > 1 && strcmp(argv[1], "-n") == 0)
		return 0;
	signal(SIGTERM, on_term);
	if (child_ready() != ERR_OK)
		return 0;
	hostile_begin(strtoull(seed, NULL, 10) * 1000 + next_life(), spki.octets, spki.len);
	lanes[0].since = lanes[1].since = now_ms();
	live();
	_exit(0); /* the leaks are ours */
}
