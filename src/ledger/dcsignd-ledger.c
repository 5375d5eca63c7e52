/* The ledger process: one thread, the only one that writes. See PROCESSES.md. */
#include "settings.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "answers.h"
#include "child.h"
#include "gather.h"
#include "heads.h"
#include "holds.h"
#include "log.h"

enum { EXIT_DRAINED = 0, EXIT_BROKEN = 70, EXIT_ABSENT = 75, EXIT_CONFIGURATION = 78 };

#define PEERS	       256
#define OPEN_FILES     (PEERS + 64)
#define SEND_MS	       200 /* a writer that does not take its answers is cut off */
#define FD_CONTROL     0
#define FD_SIGNAL      1
#define FD_PEERS       2
#define FLOOD_WAIT_MAX 60000

/* A neighbour and the channel to it. */
struct peer {
	int fd; /* -1: gone */
	uint8_t role;
	char name[NAME_SIZE];
	struct chain *chain; /* of an hsm process that has said HELLO */
};

struct server {
	struct ledger ledger;
	struct gather gather;
	struct config *config;
	struct child_secrets secrets; /* the lock is held as long as this is open */
	struct peer peer[PEERS];
	size_t peers;
	int signals;
	bool stopping;
	uint8_t octets[MSG_MAX];
};

static int64_t wall(void)
{
	return (int64_t)time(NULL);
}

static int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Ends the process as it is: nothing may be written after a failure whose extent is unknown. */
static void die(int status, const char *event, const char *detail)
{
	LOG(LOG_LEVEL_ERROR, event, LS("detail", detail), LN("exit", status));
	_exit(status);
}

static void broken(const char *who)
{
	die(EXIT_BROKEN, "a neighbour sent a malformed message", who);
}

static void store_failed(struct server *s, enum err e)
{
	const struct refusal *why = &s->ledger.why;
	const char *detail = why->detail[0] ? why->detail : err_text(e);

	die(e == ERR_FORMAT ? EXIT_BROKEN : EXIT_ABSENT, "the ledger can't be written", detail);
}

/* ---- the parent ---- */

static bool differ(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) != 0 : a != b;
}

static enum err config_fits(
	const struct config *now, const struct config *next, struct refusal *why)
{
	const struct store_engine *engine;
	const char *where;
	enum err e = store_engine_of(next->ledger, &engine, &where, why);

	if (!e && now &&
		(strcmp(now->ledger, next->ledger) || strcmp(now->node, next->node) ||
			strcmp(now->origin, next->origin) ||
			differ(now->checkpoint.key, next->checkpoint.key) ||
			differ(now->checkpoint.command, next->checkpoint.command)))
		e = refuse(why, ERR_FORMAT, "ledger",
			"ledger, node, origin and the checkpoint's key and command can't be "
			"changed "
			"while dcsignd runs: restart it");
	return e;
}

static void config_take(struct server *s, uint64_t serial, struct reader *body, int *fds, size_t n)
{
	struct child_secrets secrets = {0};
	struct refusal why = {0};
	struct config *next = NULL;
	enum err e = child_take_config(&next, &secrets, body, fds, n, sha256);

	if (e)
		broken("dcsignd: CONFIG");
	e = config_fits(s->config, next, &why);
	if (!e) {
		ledger_generation(&s->ledger, next);
		config_unref(s->config);
		s->config = config_ref(next);
	}
	config_unref(next);
	child_secrets_close(&secrets);
	if (child_answer_config(serial, &why))
		s->stopping = true;
}

static void peer_close(struct peer *p)
{
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
	p->chain = NULL;
}

/* A fresh channel to a neighbour; the one that was there is the end of a dead one. */
static void peer_take(struct server *s, const struct msg_hello *hello, int fd)
{
	struct peer *p = NULL;

	for (size_t i = 0; i < s->peers && !p; i++) {
		if (s->peer[i].role == hello->role && !strcmp(s->peer[i].name, hello->name))
			p = &s->peer[i];
	}
	if (!p && s->peers == PEERS)
		die(EXIT_BROKEN, "too many neighbours", hello->name);
	if (!p) {
		p = &s->peer[s->peers++];
		p->fd = -1;
	}
	peer_close(p);
	p->fd = fd;
	p->role = hello->role;
	strcpy(p->name, hello->name);
}

static void control_hello(struct server *s, struct reader *body, const int *fds, size_t n)
{
	struct msg_hello hello;

	if (msg_hello_read(&hello, body) || n != 1)
		broken("dcsignd: HELLO");
	if (hello.role != ROLE_API && hello.role != ROLE_HSM)
		broken("dcsignd: HELLO for a neighbour that the ledger does not have");
	peer_take(s, &hello, fds[0]);
}

static void control_read(struct server *s)
{
	int fds[MSG_FDS];
	size_t len, n;
	struct msg_head head;
	struct reader body;
	enum err e = channel_receive(CHILD_CONTROL, s->octets, sizeof(s->octets), &len, fds, &n, 0);

	if (e == ERR_TIMEOUT)
		return;
	if (e == ERR_CLOSED) {
		s->stopping = true;
		return;
	}
	if (e || msg_open(&head, &body, s->octets, len))
		broken("dcsignd");
	if (head.type == MSG_CONFIG)
		config_take(s, head.serial, &body, fds, n);
	else if (head.type == MSG_HELLO)
		control_hello(s, &body, fds, n);
	else
		broken("dcsignd: a message of another channel");
}

/* ---- the neighbours ---- */

static void peer_answer(struct peer *p, const struct buf *out)
{
	if (channel_send(p->fd, out, NULL, 0, SEND_MS))
		peer_close(p);
}

static void hsm_hello(
	struct server *s, struct peer *p, const struct msg_head *head, struct reader *body)
{
	struct msg_hello hello;
	struct msg_hello_answer a = {.err = ERR_OK};
	struct buf out = BUF_INIT(MSG_MAX);

	if (msg_hello_read(&hello, body) || hello.role != ROLE_HSM || p->chain ||
		strcmp(hello.name, p->name) != 0)
		broken(p->name);

	enum err e = ledger_serve(&s->ledger, p->name, wall(), &p->chain);

	if (e == ERR_NO_ROOM) {
		p->chain = NULL;
		a.err = ERR_LEDGER_UNAVAILABLE;
	} else if (e) {
		store_failed(s, e);
	} else {
		const struct store_chain *c = &p->chain->stored;

		strcpy(a.chain, c->chain);
		a.size = c->tree.size;
		a.last_time = c->last_time;
		memcpy(a.root, c->root, SHA256_SIZE);
	}
	msg_begin(&out, MSG_ANSWER(MSG_HELLO), head->serial);
	msg_hello_answer_write(&out, &a);
	peer_answer(p, &out);
	buf_free(&out);
}

static enum err api_read(struct server *s, struct reader *body, struct buf *out)
{
	static struct msg_read_answer a;
	struct msg_read m;

	if (msg_read_read(&m, body))
		broken("api: READ");

	struct buf text = BUF_INIT(0);
	enum err e = answer_read(&s->ledger, &m, wall(), monotonic_ms(), &text, &a);

	msg_read_answer_write(out, &a);
	buf_free(&text);
	return e;
}

static enum err api_hold(
	struct server *s, enum record_type type, struct reader *body, struct buf *out)
{
	struct msg_hold_answer a;
	struct msg_hold m;

	if (msg_hold_read(&m, body))
		broken("api: HOLD or RELEASE");

	enum err e = hold_take(&s->ledger, type, &m, wall(), monotonic_ms(), &a);

	msg_hold_answer_write(out, &a);
	return e;
}

static void api_message(
	struct server *s, struct peer *p, const struct msg_head *head, struct reader *body)
{
	struct buf out = BUF_INIT(MSG_MAX);
	enum err e = ERR_OK;

	msg_begin(&out, MSG_ANSWER(head->type), head->serial);
	if (head->type == MSG_READ)
		e = api_read(s, body, &out);
	else if (head->type == MSG_HOLD)
		e = api_hold(s, RECORD_HELD, body, &out);
	else if (head->type == MSG_RELEASE)
		e = api_hold(s, RECORD_RELEASED, body, &out);
	else
		broken("api: a message of another channel");
	if (e)
		store_failed(s, e);
	peer_answer(p, &out);
	buf_free(&out);
}

/* One message, if there is one. False: nothing more from this neighbour now. */
static bool peer_read(struct server *s, struct peer *p)
{
	struct msg_head head;
	struct reader body;
	size_t len;

	if (p->fd < 0)
		return false;

	enum err e = channel_receive(p->fd, s->octets, sizeof(s->octets), &len, NULL, NULL, 0);

	if (e == ERR_TIMEOUT)
		return false;
	if (e == ERR_CLOSED) {
		peer_close(p);
		return false;
	}
	if (e || msg_open(&head, &body, s->octets, len))
		broken(p->name);
	if (p->role == ROLE_API) {
		api_message(s, p, &head, &body);
	} else if (head.type == MSG_HELLO) {
		hsm_hello(s, p, &head, &body);
	} else {
		e = p->chain ? gather_add(&s->gather, p->fd, p->chain, s->octets, len) : ERR_FORMAT;
		if (e == ERR_NOMEM)
			die(EXIT_ABSENT, "out of memory", "");
		if (e)
			broken(p->name);
	}
	return p->fd >= 0;
}

/* A message of each neighbour in turn, until there is none or the group is full. */
static void peers_read(struct server *s)
{
	bool more = true;

	while (more && !gather_full(&s->gather)) {
		more = false;
		for (size_t i = 0; i < s->peers && !gather_full(&s->gather); i++)
			more |= peer_read(s, &s->peer[i]);
	}
}

static void lost_close(struct server *s, const int *lost, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		for (size_t k = 0; k < s->peers; k++) {
			if (s->peer[k].fd == lost[i])
				peer_close(&s->peer[k]);
		}
	}
}

static void group_commit(struct server *s)
{
	int lost[GATHER_ITEMS];
	size_t lost_count;
	bool reserve = s->ledger.reserve;
	enum err e = gather_commit(
		&s->gather, &s->ledger, wall(), monotonic_ms(), SEND_MS, lost, &lost_count);

	if (e)
		store_failed(s, e);
	lost_close(s, lost, lost_count);
	if (reserve && !s->ledger.reserve)
		LOG(LOG_LEVEL_ERROR, "the disk of the ledger is full: no credentials are issued");
	if (!reserve && s->ledger.reserve)
		LOG(LOG_LEVEL_INFO, "the ledger has room again");
	e = heads_take(&s->ledger, false, wall(), monotonic_ms());
	if (e)
		store_failed(s, e);
	e = s->ledger.store->engine->tidy(s->ledger.store);
	if (e)
		store_failed(s, e);
}

/* ---- the loop ---- */

static nfds_t poll_fill(const struct server *s, struct pollfd *p)
{
	nfds_t n = FD_PEERS;

	p[FD_CONTROL] = (struct pollfd){.fd = CHILD_CONTROL, .events = POLLIN};
	p[FD_SIGNAL] = (struct pollfd){.fd = s->signals, .events = POLLIN};
	for (size_t i = 0; i < s->peers; i++)
		p[n++] = (struct pollfd){.fd = s->peer[i].fd, .events = POLLIN};
	return n;
}

/* Milliseconds until something is to be written that nobody asks for; -1: nothing is. */
static int64_t work_wait(const struct server *s)
{
	int64_t flood = flood_wait(&s->ledger.flood, monotonic_ms());
	int64_t head = heads_wait(&s->ledger, monotonic_ms());

	return flood < 0 || (head >= 0 && head < flood) ? head : flood;
}

static void serve(struct server *s)
{
	struct pollfd p[FD_PEERS + PEERS];

	while (!s->stopping) {
		int64_t wait = work_wait(s);
		nfds_t n = poll_fill(s, p);

		if (poll(p, n, wait > FLOOD_WAIT_MAX ? FLOOD_WAIT_MAX : (int)wait) < 0 &&
			errno != EINTR)
			die(EXIT_BROKEN, "poll failed", strerror(errno));
		if (p[FD_SIGNAL].revents)
			s->stopping = true;
		if (p[FD_CONTROL].revents)
			control_read(s);
		peers_read(s);
		if (s->gather.count || work_wait(s) == 0)
			group_commit(s);
	}
}

static int drain(struct server *s)
{
	bool more = true;

	while (more) {
		peers_read(s);
		more = s->gather.count > 0;
		group_commit(s);
	}

	enum err e = ledger_stop(&s->ledger, wall(), monotonic_ms());
	if (e)
		die(EXIT_ABSENT, "the ledger was not stopped in order", err_text(e));
	LOG(LOG_LEVEL_INFO, "the ledger is stopped");
	for (size_t i = 0; i < s->peers; i++)
		peer_close(&s->peer[i]);
	gather_free(&s->gather);
	config_unref(s->config);
	child_secrets_close(&s->secrets);
	return EXIT_DRAINED;
}

/* ---- birth ---- */

static bool signals_open(struct server *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	signal(SIGXFSZ, SIG_IGN); /* a file at its limit is a full disk */
	if (sigprocmask(SIG_BLOCK, &set, NULL) != 0)
		return false;
	s->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signals >= 0;
}

/* What a person must mend is a matter of the configuration; the rest may pass. */
static int open_failed(uint64_t serial, enum err e, const struct refusal *why)
{
	if (e == ERR_FORMAT || e == ERR_NOT_FOUND) {
		LOG(LOG_LEVEL_ERROR, "the ledger can't be opened", LS("detail", why->detail));
		child_answer_config(serial, why);
		return EXIT_CONFIGURATION;
	}
	LOG(LOG_LEVEL_ERROR, "the ledger can't be opened now", LS("detail", why->detail));
	return EXIT_ABSENT;
}

static int start(struct server *s, uint64_t serial, bool check)
{
	struct refusal why = {0};
	enum err e = config_fits(NULL, s->config, &why);

	if (e || check) {
		child_answer_config(serial, &why);
		return e ? EXIT_CONFIGURATION : EXIT_DRAINED;
	}
	if (!signals_open(s) || gather_init(&s->gather))
		die(EXIT_BROKEN, "the process can't be set up", strerror(errno));
	e = ledger_open(&s->ledger, s->config->ledger, s->config->node, wall(), &why);
	if (!e)
		e = heads_open(&s->ledger, s->config, monotonic_ms(), &why);
	if (e)
		return open_failed(serial, e, &why);
	ledger_generation(&s->ledger, s->config);
	if (sandbox_limits(OPEN_FILES, 0, 1))
		die(EXIT_BROKEN, "the process can't be set up", strerror(errno));
	if (child_answer_config(serial, NULL) || child_ready())
		return EXIT_ABSENT;
	LOG(LOG_LEVEL_INFO, "the ledger serves", LS("ledger", s->config->ledger));
	serve(s);
	return drain(s);
}

int main(int argc, char **argv)
{
	static struct server s;
	uint64_t serial;

	log_open("dcsignd-ledger", LOG_LEVEL_INFO, false);

	enum err e = child_start(&s.config, &s.secrets, &serial, sha256);

	if (e)
		die(EXIT_BROKEN, "dcsignd gave no configuration", err_text(e));
	log_open("dcsignd-ledger", (enum log_level)s.config->log.level, s.config->log.json);
	return start(&s, serial, argc > 1 && strcmp(argv[1], "-n") == 0);
}
