#include <stdio.h>
#include <string.h>

#include "child.h"
#include "clock.h"
#include "counters.h"
#include "log.h"
#include "service_private.h"

#define RETIRE_MS	10000
#define MESSAGES_A_TURN 32

static _Noreturn void malformed(const char *channel)
{
	LOG(LOG_LEVEL_ERROR, "malformed message", LS("channel", channel));
	_exit(EXIT_MALFORMED);
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
		why.retry_after = s->start->token == NULL && !s->start->absent ? 60 : 1;
		issue_refuse_all(&s->ask, &why, &answer);
		queue_answer(s->api, serial, &answer);
	}
	buf_free(&answer);
	keyring_unref(keys);
}

static void take_state(struct service *s, uint64_t serial, struct reader *body)
{
	struct keyring *keys = keeper_keys(&s->keeper);
	struct buf message = BUF_INIT(MSG_MAX);
	struct token *token = s->start->token;
	struct msg_state ask;
	struct refusal clock; /* an untrusted one stops every key */

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
	keyring_state(
		keys, &ask, clock_estimate(), clock_trusted(&clock) ? NULL : &clock, &s->state);
	msg_begin(&message, MSG_ANSWER(MSG_STATE), serial);
	msg_state_answer_write(&message, &s->state);
	if (message.err == ERR_OK)
		channel_send(s->api->fd, &message, NULL, 0, 0);
	buf_free(&message);
	keyring_unref(keys);
}

/* False: there was none. */
static bool read_one(struct service *s)
{
	struct msg_head head;
	struct reader body;
	size_t len, count = 0;
	enum err e = channel_receive(s->api->fd, s->inbox, sizeof s->inbox, &len, NULL, &count, 0);

	if (e == ERR_TIMEOUT)
		return false;
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
	return true;
}

void read_api(struct service *s)
{
	for (unsigned i = 0; i < MESSAGES_A_TURN && s->api != NULL && read_one(s); i++)
		;
}

static bool same_text(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* Where this process's keys are. */
static bool same_place(const struct config_token *a, const struct config_token *b)
{
	return same_text(a->module, b->module) && same_text(a->module_args, b->module_args) &&
	       same_text(a->uri, b->uri);
}

/* What a running process can't change: the module, the login, the threads. */
static bool same_token(const struct config_token *a, const struct config_token *b)
{
	bool same = same_place(a, b) && same_text(a->pin, b->pin) && a->sessions == b->sessions &&
		    a->workers == b->workers && a->concurrency == b->concurrency &&
		    a->environment_count == b->environment_count;

	for (size_t i = 0; same && i < a->environment_count; i++)
		same = same_text(a->environment[i], b->environment[i]);
	return same;
}

/* Policies and keys are taken over at once, as long as they are keys of this token. */
static void take_config(
	struct service *s, uint64_t serial, struct reader *body, int *fds, size_t count)
{
	struct child_secrets secrets;
	struct config *config;
	struct refusal why = {.err = ERR_OK};
	struct keyring *keys = NULL;
	const struct config_token *was = config_token(s->start->config, s->start->token_name);
	const struct config_token *token;

	if (child_take_config(&config, &secrets, body, fds, count, sha256) != ERR_OK)
		malformed("control");
	child_secrets_close(&secrets);
	token = config_token(config, s->start->token_name);
	if (token == NULL || s->start->token == NULL) {
		service_end(s, EXIT_ABSENT, "the configuration changed: a new process takes it");
	} else if (same_place(token, was) &&
		   keyring_new(&keys, config, s->start->token_name, &why) == ERR_OK) {
		clock_need_sync(config->require_clock_sync);
		keeper_configure(&s->keeper, keys);
	}
	child_answer_config(serial, &why);
	if (token != NULL && why.err == ERR_OK && !same_token(token, was)) {
		s->heir_wanted = false; /* an earlier one may not have come */
		service_want_heir(s, "the token's configuration changed", 0);
	}
	config_unref(config);
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

/* A successor has the token open and the api's new requests: what this one has is answered. */
static void take_heir(struct service *s, struct reader *body)
{
	struct msg_hello hello;

	if (msg_hello_read(&hello, body) != ERR_OK || hello.role != ROLE_HSM)
		malformed("control");
	LOG(LOG_LEVEL_INFO, "followed by another process");
	s->retiring = true;
	s->drain_until = monotonic_ms() + RETIRE_MS;
}

static void take_decision(uint64_t serial, struct reader *body)
{
	struct refusal why = {.err = ERR_OK};
	struct msg_decide m;

	if (msg_decide_read(&m, body) != ERR_OK || m.what != DECIDE_CLOCK)
		malformed("control");
	if (clock_accept(serial, m.uid, m.reason, &why) != ERR_OK)
		child_answer_decision(serial, &why, "");
}

void read_control(struct service *s)
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
	else if (head.type == MSG_STATE && count == 0)
		service_say_ready(s);
	else if (head.type == MSG_DECIDE && count == 0)
		take_decision(head.serial, &body);
	else if (head.type == MSG_HELLO && count == 0)
		take_heir(s, &body);
	else if (head.type == MSG_HELLO && count == 1)
		take_hello(s, &body, fds[0]);
	else
		malformed("control");
}

void read_ledger(struct service *s)
{
	enum err e = ERR_OK;

	for (unsigned i = 0; i < MESSAGES_A_TURN && e == ERR_OK; i++)
		e = append_receive(s->ledger);
	queue_flush(&s->queue);
	if (e == ERR_TIMEOUT)
		return;
	if (e == ERR_FORMAT)
		malformed("ledger");
	if (e != ERR_OK)
		LOG(LOG_LEVEL_WARNING, "the ledger's channel is lost");
}
