#include "service.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include "child.h"
#include "clock.h"
#include "counters.h"
#include "keeper.h"
#include "log.h"
#include "pin.h"
#include "queue.h"
#include "resources.h"
#include "watchdog.h"

#define TICK_MS	   20 /* granularity of deadlines */
#define IDLE_MS	   200
#define END_MS	   2000 /* for the module's own end */
#define DRAIN_MS   4000
#define LEAVE_MS   200 /* for those whose calls do come back, when others' don't */
#define AGAIN_MS   30000
#define SELF_MS	   1000 /* between two looks at what this process has taken */
#define BREAKER_MS 2000 /* between two looks whether the PIN breaker was cleared */

struct service {
	const struct service_start *start;
	struct append *ledger;
	struct keeper keeper;
	struct queue queue;
	struct line *api; /* NULL: none */
	int signals;
	int exit_code; /* -1: goes on */
	int64_t drain_until, breaker_look, look_again, self_look;
	struct resources begin;
	bool breaker;	      /* it is set */
	bool leaving;	      /* threads are stuck: it ends without them */
	struct msg_issue ask; /* scratch of the main thread */
	struct msg_state_answer state;
	uint8_t inbox[MSG_MAX];
};

static void end(struct service *s, int code, const char *reason)
{
	if (s->exit_code >= 0)
		return;
	LOG(code == EXIT_DRAINED ? LOG_LEVEL_INFO : LOG_LEVEL_ERROR, "ending", LS("reason", reason),
		LN("exit", code));
	s->exit_code = code;
	s->drain_until = monotonic_ms() + DRAIN_MS;
}

static _Noreturn void malformed(const char *channel)
{
	LOG(LOG_LEVEL_ERROR, "malformed message", LS("channel", channel));
	_exit(EXIT_MALFORMED);
}

static void context_acquire(void *arg, struct issuer *out)
{
	struct service *s = arg;

	*out = (struct issuer){
		.keys = keeper_keys(&s->keeper), .token = s->start->token, .ledger = s->ledger};
}

static void context_release(void *arg, struct issuer *context)
{
	(void)arg;
	keyring_unref(context->keys);
}

static void take_issue(struct service *s, uint64_t serial, struct reader *body, size_t len)
{
	struct keyring *keys = keeper_keys(&s->keeper);
	const struct config *c = keyring_config(keys);
	struct buf answer = BUF_INIT(MSG_MAX);
	struct refusal why = {.err = ERR_OK};
	int64_t ms;

	if (msg_issue_read(&s->ask, body) != ERR_OK)
		malformed("api");
	ms = s->ask.deadline_ms < c->limits.request_deadline_ms ? s->ask.deadline_ms
								: c->limits.request_deadline_ms;
	if (s->start->token == NULL)
		why = s->start->token_why;
	else if (s->exit_code >= 0)
		refuse(&why, ERR_STOPPING, "", "%s", "");
	else
		why.err = queue_put(&s->queue, c->limits.queue, s->api, serial, &s->ask, s->inbox,
			len, monotonic_ms() + ms);
	if (why.err != ERR_OK) {
		why.retry_after = s->start->token == NULL ? 60 : 1;
		issue_refuse_all(&s->ask, &why, &answer);
		queue_answer(s->api, serial, &answer);
	}
	buf_free(&answer);
	keyring_unref(keys);
}

/* An untrusted clock stops every key. */
static void state_clock(struct msg_state_answer *state)
{
	struct refusal why;

	if (clock_trusted(&why))
		return;
	for (uint16_t i = 0; i < state->count; i++) {
		struct msg_state_key *key = &state->key[i];

		if (key->err != ERR_OK)
			continue;
		key->err = ERR_CLOCK;
		snprintf(key->detail, sizeof key->detail, "%.*s", (int)sizeof key->detail - 1,
			why.detail);
	}
}

static void take_state(struct service *s, uint64_t serial, struct reader *body)
{
	struct keyring *keys = keeper_keys(&s->keeper);
	struct buf message = BUF_INIT(MSG_MAX);
	struct token *token = s->start->token;
	struct msg_state ask;

	if (msg_state_read(&ask, body) != ERR_OK)
		malformed("api");
	s->state.token_ok = token != NULL && !token_lost(token);
	snprintf(s->state.token_detail, sizeof s->state.token_detail, "%.*s",
		(int)sizeof s->state.token_detail - 1,
		token == NULL ? s->start->token_why.detail : "");
	memcpy(s->state.generation, keyring_config(keys)->generation, SHA256_SIZE);
	counter_set(COUNTER_SESSIONS, token == NULL ? 0 : token_sessions_open(token));
	for (int i = 0; i < COUNTER_COUNT; i++)
		s->state.counter[i] = counter_get((enum msg_counter)i);
	s->state.span_count = SPAN_COUNT;
	spans_read(s->state.span);
	keyring_state(keys, ask.from, clock_estimate(), &s->state);
	state_clock(&s->state);
	msg_begin(&message, MSG_ANSWER(MSG_STATE), serial);
	msg_state_answer_write(&message, &s->state);
	if (message.err == ERR_OK)
		channel_send(s->api->fd, &message, NULL, 0, 0);
	buf_free(&message);
	keyring_unref(keys);
}

static void read_api(struct service *s)
{
	struct msg_head head;
	struct reader body;
	size_t len, count = 0;
	enum err e = channel_receive(s->api->fd, s->inbox, sizeof s->inbox, &len, NULL, &count, 0);

	if (e == ERR_TIMEOUT)
		return;
	if (e == ERR_FORMAT || (e == ERR_OK && msg_open(&head, &body, s->inbox, len) != ERR_OK))
		malformed("api");
	if (e != ERR_OK) {
		line_unref(s->api);
		s->api = NULL;
	} else if (head.type == MSG_ISSUE) {
		take_issue(s, head.serial, &body, len);
	} else if (head.type == MSG_STATE) {
		take_state(s, head.serial, &body);
	} else {
		malformed("api");
	}
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* What a running process can't change: the module, the login, the threads. */
static bool same_token(const struct config_token *a, const struct config_token *b)
{
	bool same = same_text(a->module, b->module) && same_text(a->module_args, b->module_args) &&
		    same_text(a->uri, b->uri) && same_text(a->pin, b->pin) &&
		    a->sessions == b->sessions && a->workers == b->workers &&
		    a->concurrency == b->concurrency &&
		    a->environment_count == b->environment_count;

	for (size_t i = 0; same && i < a->environment_count; i++)
		same = same_text(a->environment[i], b->environment[i]);
	return same;
}

static void take_config(
	struct service *s, uint64_t serial, struct reader *body, int *fds, size_t count)
{
	struct child_secrets secrets;
	struct config *config;
	struct refusal why = {.err = ERR_OK};
	struct keyring *keys = NULL, *old = keeper_keys(&s->keeper);
	const struct config_token *was = config_token(keyring_config(old), s->start->token_name);
	const struct config_token *token;

	if (child_take_config(&config, &secrets, body, fds, count, sha256) != ERR_OK)
		malformed("control");
	child_secrets_close(&secrets);
	token = config_token(config, s->start->token_name);
	if (token == NULL || s->start->token == NULL || !same_token(token, was))
		end(s, EXIT_ABSENT, "the token's configuration changed: a new process takes it");
	else if (keyring_new(&keys, config, s->start->token_name, &why) == ERR_OK) {
		clock_need_sync(config->require_clock_sync);
		keeper_configure(&s->keeper, keys);
	}
	child_answer_config(serial, &why);
	config_unref(config);
	keyring_unref(old);
}

static void take_hello(struct service *s, struct reader *body, int fd)
{
	struct msg_hello hello;

	if (msg_hello_read(&hello, body) != ERR_OK)
		malformed("control");
	if (hello.role == ROLE_LEDGER) {
		append_attach(s->ledger, fd);
		keeper_wake(&s->keeper);
	} else if (hello.role == ROLE_API) {
		line_unref(s->api);
		s->api = line_new(fd);
	} else {
		malformed("control");
	}
}

static void read_control(struct service *s)
{
	struct msg_head head;
	struct reader body;
	int fds[MSG_FDS];
	size_t len, count = 0;
	enum err e =
		channel_receive(CHILD_CONTROL, s->inbox, sizeof s->inbox, &len, fds, &count, 0);

	if (e == ERR_TIMEOUT)
		return;
	if (e == ERR_CLOSED || e == ERR_SYSTEM)
		_exit(EXIT_DRAINED); /* the parent died */
	if (e != ERR_OK || msg_open(&head, &body, s->inbox, len) != ERR_OK)
		malformed("control");
	if (head.type == MSG_CONFIG)
		take_config(s, head.serial, &body, fds, count);
	else if (head.type == MSG_HELLO && count == 1)
		take_hello(s, &body, fds[0]);
	else
		malformed("control");
}

static void read_ledger(struct service *s)
{
	enum err e = append_receive(s->ledger);

	if (e == ERR_FORMAT)
		malformed("ledger");
	if (e != ERR_OK)
		LOG(LOG_LEVEL_WARNING, "the ledger's channel is lost");
}

/* Without a login: a cleared breaker, or after a while a token that may be in another state, asks
 * for a new process. */
static void look_at_breaker(struct service *s)
{
	int64_t now = monotonic_ms();

	if (now < s->breaker_look)
		return;
	s->breaker_look = now + BREAKER_MS;
	if (s->breaker && !breaker_present(s->start->breaker_folder, s->start->serial))
		end(s, EXIT_ABSENT, "the PIN breaker was cleared");
	else if (!s->breaker && now >= s->look_again)
		end(s, EXIT_ABSENT, "looking at the token again");
}

/* A module that leaks gets a new process before the old one fails. */
static void look_at_self(struct service *s)
{
	int64_t now = monotonic_ms();
	struct resources have;

	if (now < s->self_look)
		return;
	have = resources_now();
	if (s->self_look == 0)
		s->begin = have;
	s->self_look = now + SELF_MS;
	if (resources_leak(&s->begin, &have))
		end(s, EXIT_ABSENT, "memory or descriptors have leaked away");
}

/* Half of the module's threads do not come back: a new process takes over. Those that do may write
 * down what they have. */
static void leave(struct service *s, struct token *token)
{
	struct refusal why = {.err = ERR_OK};

	token_give_up(token);
	end(s, EXIT_ABSENT, "calls of the module do not come back");
	s->leaving = true;
	s->drain_until = monotonic_ms() + LEAVE_MS;
	refuse(&why, ERR_STOPPING, "", "%s", "");
	why.retry_after = 1;
	queue_refuse(&s->queue, &why);
}

/* Reasons to end that no message tells. */
static void look_around(struct service *s)
{
	struct token *token = s->start->token;
	const struct config_token *c;
	struct keyring *keys;

	if (token == NULL) {
		look_at_breaker(s);
		return;
	}
	look_at_self(s);
	if (token_lost(token))
		end(s, EXIT_ABSENT, "the token is lost");
	keys = keeper_keys(&s->keeper);
	c = config_token(keyring_config(keys), s->start->token_name);
	if (!s->leaving && token_stuck(token, c->sign_timeout_ms))
		leave(s, token);
	keyring_unref(keys);
}

/* One round: true while there is something to wait for. */
static bool serve(struct service *s)
{
	struct pollfd p[] = {{.fd = CHILD_CONTROL, .events = POLLIN},
		{.fd = s->api == NULL ? -1 : s->api->fd, .events = POLLIN},
		{.fd = append_fd(s->ledger), .events = POLLIN},
		{.fd = s->signals, .events = POLLIN}};
	unsigned under_way = queue_expire(&s->queue);
	struct signalfd_siginfo info;

	look_around(s);
	if (s->exit_code >= 0 && (under_way == 0 || monotonic_ms() > s->drain_until))
		return false;
	if (poll(p, 4, under_way > 0 || s->exit_code >= 0 ? TICK_MS : IDLE_MS) <= 0)
		return true;
	if (p[2].revents != 0)
		read_ledger(s);
	if (p[1].revents != 0)
		read_api(s);
	if (p[0].revents != 0)
		read_control(s);
	if (p[3].revents != 0 && read(s->signals, &info, sizeof info) == sizeof info)
		end(s, EXIT_DRAINED, "asked to");
	return true;
}

static enum err record_clock(void *arg, const struct clock_event *event)
{
	struct service *s = arg;
	struct buf octets = BUF_INIT(RECORD_MAX);
	struct append_answers *answers = calloc(1, sizeof *answers);
	struct record r;
	char boot[40];
	enum err e;

	record_init(&r, RECORD_CLOCK);
	r.time = event->resumed ? event->at.wall_ms / 1000 : clock_estimate();
	r.drift_ms = event->drift_ms;
	(void)clock_boot_id(boot);
	r.boot_id = octets_text(boot);
	r.boottime = event->at.boot_ms;
	r.detail = octets_text(event->detail);
	e = answers == NULL ? ERR_NOMEM : record_encode(&octets, &r);
	if (e == ERR_OK) {
		struct append_item item = {.record = octets_of(octets.octets, octets.len)};

		if (event->resumed)
			e = append_records(s->ledger, &item, 1, answers, NULL);
		else
			append_post(s->ledger, &item, 1);
		append_answers_free(answers);
	}
	buf_free(&octets);
	free(answers);
	return e;
}

static enum err service_start(struct service *s)
{
	const struct service_start *start = s->start;
	const struct config_token *c = config_token(start->config, start->token_name);
	sigset_t signals;
	enum err e;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	s->exit_code = -1;
	s->look_again = monotonic_ms() + AGAIN_MS;
	s->breaker = start->token == NULL && breaker_present(start->breaker_folder, start->serial);
	s->signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	s->ledger = append_new();
	if (s->signals < 0 || s->ledger == NULL)
		return ERR_SYSTEM;
	if (start->token == NULL)
		keyring_refuse_all(start->keys, &start->token_why);
	e = clock_begin(&(const struct clock_options){.folder = start->breaker_folder,
		.token = start->token_name,
		.need_sync = start->config->require_clock_sync,
		.record = record_clock,
		.arg = s});
	if (e == ERR_OK)
		e = keeper_start(
			&s->keeper, start->token_name, start->token, s->ledger, start->keys);
	s->queue.acquire = context_acquire;
	s->queue.release = context_release;
	s->queue.arg = s;
	s->queue.ledger = s->ledger;
	if (e == ERR_OK)
		e = queue_start(&s->queue, c->workers);
	return e == ERR_OK ? child_ready() : e;
}

int service_run(const struct service_start *start)
{
	struct service *s = calloc(1, sizeof *s);
	int code;

	if (s == NULL)
		return EXIT_ABSENT;
	s->start = start;
	if (service_start(s) != ERR_OK) {
		LOG(LOG_LEVEL_ERROR, "the process can't start its threads");
		_exit(EXIT_ABSENT);
	}
	while (serve(s))
		;
	code = s->exit_code;
	if (queue_expire(&s->queue) > 0 || s->leaving || keyring_hung() > 0)
		_exit(code); /* somebody is stuck; the ledger closes what is open */
	watchdog_begin(END_MS, code);
	queue_stop(&s->queue);
	queue_join(&s->queue);
	append_attach(s->ledger, -1);
	clock_end();
	keeper_stop(&s->keeper);
	append_free(s->ledger);
	line_unref(s->api);
	close(s->signals);
	free(s);
	return code;
}
