/* The ledger process: one thread, the only one that writes. See PROCESSES.md. */
#include "settings.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "confine.h"
#include "heads.h"
#include "log.h"
#include "memory.h"
#include "server.h"

#define OPEN_FILES     (PEERS + 64)
#define FD_CONTROL     0
#define FD_SIGNAL      1
#define FD_PEERS       2
#define FLOOD_WAIT_MAX 60000
#define DRAIN_TRIES    10 /* to get a lost store back before the end */
#define DRAIN_PAUSE_MS 100

int64_t server_wall(void)
{
	return (int64_t)time(NULL);
}

int64_t server_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void server_die(int status, const char *event, const char *detail)
{
	LOG(LOG_LEVEL_ERROR, event, LS("detail", detail), LN("exit", status));
	_exit(status);
}

void server_broken(const char *who)
{
	server_die(EXIT_BROKEN, "a neighbour sent a malformed message", who);
}

void server_store_failed(struct server *s, enum err e)
{
	const struct refusal *why = &s->ledger.why;
	const char *detail = why->detail[0] ? why->detail : err_text(e);

	server_die(
		e == ERR_FORMAT ? EXIT_BROKEN : EXIT_ABSENT, "the ledger can't be written", detail);
}

static void group_commit(struct server *s)
{
	int lost[GATHER_ITEMS];
	size_t lost_count;
	bool reserve = s->ledger.reserve, was_lost = s->ledger.lost;
	enum err e = gather_commit(
		&s->gather, &s->ledger, server_wall(), server_ms(), SEND_MS, lost, &lost_count);

	if (e == ERR_CLOSED && !was_lost && s->ledger.unsure) {
		struct gather empty = s->held;

		s->held = s->gather;
		s->gather = empty;
	} else if (e == ERR_CLOSED) {
		gather_unavailable(&s->gather, SEND_MS, lost, &lost_count);
	} else if (e) {
		server_store_failed(s, e);
	}
	peers_lost(s, lost, lost_count);
	if (s->ledger.lost)
		return;
	if (reserve && !s->ledger.reserve)
		LOG(LOG_LEVEL_ERROR, "the disk of the ledger is full: no credentials are issued");
	if (!reserve && s->ledger.reserve)
		LOG(LOG_LEVEL_INFO, "the ledger has room again");
	e = heads_take(&s->ledger, false, server_wall(), server_ms());
	if (e && e != ERR_CLOSED)
		server_store_failed(s, e);
	e = s->ledger.store->engine->tidy(s->ledger.store);
	if (e)
		server_store_failed(s, e);
}

/* What was under way when the store was lost. */
static void held_settle(struct server *s, bool durable)
{
	int lost[GATHER_ITEMS];
	size_t count;
	enum err e = ERR_OK;

	if (durable)
		gather_answer(&s->held, SEND_MS, lost, &count);
	else
		gather_unavailable(&s->held, SEND_MS, lost, &count);
	peers_lost(s, lost, count);
	if (!s->held.message_count)
		return;
	e = gather_commit(&s->held, &s->ledger, server_wall(), server_ms(), SEND_MS, lost, &count);
	if (e && e != ERR_CLOSED)
		server_store_failed(s, e);
	peers_lost(s, lost, count);
}

static void store_resume(struct server *s)
{
	bool durable;
	enum err e;

	if (!s->ledger.lost || server_ms() < s->ledger.retry_ms)
		return;
	e = ledger_resume(&s->ledger, server_ms(), &durable);
	if (e && e != ERR_CLOSED)
		server_store_failed(s, e);
	if (!e && s->succeeded)
		server_die(EXIT_ABSENT, "the ledger begins anew, with the chain that goes on", "");
	if (!e)
		held_settle(s, durable);
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
	int64_t flood = flood_wait(&s->ledger.flood, server_ms());
	int64_t head = heads_wait(&s->ledger, server_ms());

	if (s->ledger.lost) {
		int64_t left = s->ledger.retry_ms - server_ms();

		return left > 0 ? left : 0;
	}
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
			server_die(EXIT_BROKEN, "poll failed", strerror(errno));
		if (p[FD_SIGNAL].revents)
			s->stopping = true;
		if (p[FD_CONTROL].revents)
			parent_read(s);
		store_resume(s);
		peers_read(s);
		if (s->gather.count || work_wait(s) == 0)
			group_commit(s);
	}
}

static int drain(struct server *s)
{
	bool more = true;

	for (int n = 0; s->ledger.lost && n < DRAIN_TRIES; n++) {
		poll(NULL, 0, DRAIN_PAUSE_MS);
		store_resume(s);
	}
	while (more && !s->ledger.lost) {
		peers_read(s);
		more = s->gather.count > 0;
		group_commit(s);
	}
	if (s->ledger.lost)
		server_die(EXIT_ABSENT, "the ledger was not stopped in order",
			"the database is lost; the next start closes what is open");

	enum err e = ledger_stop(&s->ledger, server_wall(), server_ms());
	if (e)
		server_die(EXIT_ABSENT, "the ledger was not stopped in order", err_text(e));
	LOG(LOG_LEVEL_INFO, "the ledger is stopped");
	peers_close(s);
	gather_free(&s->gather);
	gather_free(&s->held);
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
	enum err e = parent_config_fits(NULL, s->config, &why);

	if (e || check) {
		child_answer_config(serial, &why);
		return e ? EXIT_CONFIGURATION : EXIT_DRAINED;
	}
	if (!signals_open(s) || gather_init(&s->gather) || gather_init(&s->held))
		server_die(EXIT_BROKEN, "the process can't be set up", strerror(errno));
	e = ledger_open(&s->ledger, s->config->ledger, s->config->node, server_wall(), &why);
	if (!e)
		e = heads_open(&s->ledger, s->config, server_ms(), &why);
	if (e)
		return open_failed(serial, e, &why);
	ledger_generation(&s->ledger, s->config);
	if (sandbox_limits(OPEN_FILES, 0, 1) || confine(s->config))
		server_die(EXIT_BROKEN, "the process can't be set up", strerror(errno));
	if (child_answer_config(serial, NULL) || child_ready())
		return EXIT_ABSENT;
	LOG(LOG_LEVEL_INFO, "the ledger serves", LS("ledger", s->config->ledger));
	serve(s);
	return drain(s);
}

const int memory_exit = EXIT_ABSENT;

int main(int argc, char **argv)
{
	static struct server s;
	uint64_t serial;

	log_open("dcsignd-ledger", LOG_LEVEL_INFO, false);

	enum err e = child_start(&s.config, &s.secrets, &serial, sha256);

	if (e)
		server_die(EXIT_BROKEN, "dcsignd gave no configuration", err_text(e));
	log_open("dcsignd-ledger", (enum log_level)s.config->log.level, s.config->log.json);
	return start(&s, serial, argc > 1 && strcmp(argv[1], "-n") == 0);
}
