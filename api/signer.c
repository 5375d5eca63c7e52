#include "signer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limits.h"
#include "link.h"
#include "log.h"

#define BUCKETS		1024 /* power of two */
#define LINKS_MAX	512
#define MESSAGES_A_TURN 256

struct signer {
	pthread_mutex_t lock;
	struct link *links;
	unsigned link_count;
	struct signer_call *calls[BUCKETS]; /* by serial */
	unsigned waiting;
	unsigned queue;
	uint64_t serial;
	struct buf out;		 /* scratch, under the lock */
	struct msg_issue *issue; /* scratch, under the lock */

	/* the thread's own */
	uint8_t *in;
	struct msg_issue_answer *answer;
	struct msg_state_answer *state;
	struct msg_read_answer *read;
	struct pollfd *polled;
	struct link **polled_link;
};

struct signer *signer_new(void)
{
	struct signer *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return NULL;
	pthread_mutex_init(&s->lock, NULL);
	s->queue = 1;
	s->out = (struct buf)BUF_INIT(MSG_MAX);
	s->issue = calloc(1, sizeof(*s->issue));
	s->in = malloc(MSG_MAX);
	s->answer = calloc(1, sizeof(*s->answer));
	s->state = calloc(1, sizeof(*s->state));
	s->read = calloc(1, sizeof(*s->read));
	s->polled = calloc(LINKS_MAX + 16, sizeof(*s->polled));
	s->polled_link = calloc(LINKS_MAX, sizeof(struct link *));
	if (s->issue == NULL || s->in == NULL || s->answer == NULL || s->state == NULL ||
		s->read == NULL || s->polled == NULL || s->polled_link == NULL) {
		signer_free(s);
		return NULL;
	}
	return s;
}

void signer_free(struct signer *s)
{
	struct link *next;

	if (s == NULL)
		return;
	for (struct link *l = s->links; l != NULL; l = next) {
		next = l->next;
		link_free(l);
	}
	buf_free(&s->out);
	free(s->issue);
	free(s->in);
	free(s->answer);
	free(s->state);
	free(s->read);
	free(s->polled);
	free(s->polled_link);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

/* The channel to ask: of a token, or (token NULL) of the ledger. */
static struct link *find_link(const struct signer *s, const char *token)
{
	for (struct link *l = s->links; l != NULL; l = l->next)
		if (!l->retired &&
			(token == NULL ? l->role == ROLE_LEDGER
				       : l->role == ROLE_HSM && strcmp(l->token, token) == 0))
			return l;
	return NULL;
}

enum err signer_connect(struct signer *s, uint8_t role, const char *token, int fd)
{
	struct link *l, *old;

	if (role != ROLE_HSM && role != ROLE_LEDGER)
		return ERR_FORMAT;
	l = s->link_count < LINKS_MAX ? link_new(role, role == ROLE_HSM ? token : "", fd) : NULL;
	if (l == NULL)
		return ERR_NOMEM;
	pthread_mutex_lock(&s->lock);
	old = find_link(s, role == ROLE_HSM ? token : NULL);
	if (old != NULL)
		old->retired = true;
	l->next = s->links;
	s->links = l;
	s->link_count++;
	pthread_mutex_unlock(&s->lock);
	return ERR_OK;
}

void signer_queue(struct signer *s, unsigned queue)
{
	pthread_mutex_lock(&s->lock);
	s->queue = queue;
	pthread_mutex_unlock(&s->lock);
}

static void add_call(struct signer *s, struct signer_call *call, struct link *l)
{
	struct signer_call **bucket = &s->calls[call->serial % BUCKETS];

	call->link = l;
	call->next = *bucket;
	*bucket = call;
	l->waiting++;
	s->waiting++;
}

/* Takes the call at *at out of the table. */
static struct signer_call *unlink_call(struct signer *s, struct signer_call **at)
{
	struct signer_call *call = *at;

	*at = call->next;
	call->next = NULL;
	call->link->waiting--;
	s->waiting--;
	return call;
}

static struct signer_call *take_call(struct signer *s, const struct link *l, uint64_t serial)
{
	struct signer_call **at = &s->calls[serial % BUCKETS];

	for (; *at != NULL; at = &(*at)->next)
		if ((*at)->serial == serial && (*at)->link == l)
			return unlink_call(s, at);
	return NULL;
}

/*
 * Sends s->out as this call's question, under the lock: the signer's thread can't see an answer
 * before the call is in the table.
 */
static enum err send_call(struct signer *s, struct link *l, struct signer_call *call, enum err gone,
	struct refusal *why)
{
	enum err err;

	err = channel_send(l->fd, &s->out, NULL, 0, 0);
	if (err == ERR_OK) {
		add_call(s, call, l);
		return ERR_OK;
	}
	if (err == ERR_TIMEOUT)
		return refuse(why, ERR_OVERLOADED, "", "%s", err_text(ERR_OVERLOADED));
	if (err == ERR_CLOSED)
		return refuse(why, gone, "", "its process has gone and is being started again");
	return refuse(why, err, "", "%s", err_text(err));
}

static void write_issue(struct signer *s, const struct signer_issue *issue,
	const struct signer_call *call, int64_t left)
{
	struct msg_issue *m = s->issue;
	const struct x509 *x = &issue->peer->x509;

	snprintf(m->request, sizeof(m->request), "%s", issue->request);
	snprintf(m->client, sizeof(m->client), "%s", issue->client);
	memcpy(m->client_sha256, x->sha256, SHA256_SIZE);
	memcpy(m->client_spki_sha256, x->spki_sha256, SHA256_SIZE);
	memcpy(m->client_serial, x->serial, sizeof(m->client_serial));
	memcpy(m->peer, issue->peer->address, sizeof(m->peer));
	m->deadline_ms = (uint32_t)left;
	m->dry_run = issue->dry_run;
	m->count = 1;
	m->item[0] = *issue->item;
	buf_reset(&s->out);
	msg_begin(&s->out, MSG_ISSUE, call->serial);
	msg_issue_write(&s->out, m);
}

enum err signer_issue(struct signer *s, const char *token, const struct signer_issue *issue,
	struct signer_call *call, struct refusal *why)
{
	int64_t left = call->deadline - monotonic_ms();
	struct link *l;
	enum err err;

	if (left <= 0 || left > UINT32_MAX)
		return refuse(why, ERR_TIMEOUT, "", "the request took too long to arrive");
	call->signs = !issue->dry_run;
	snprintf(call->request, sizeof(call->request), "%s", issue->request);
	pthread_mutex_lock(&s->lock);
	l = find_link(s, token);
	if (l == NULL) {
		err = refuse(why, ERR_KEY_UNAVAILABLE, "",
			"the process of this key's token is being started");
	} else if (l->waiting >= s->queue) {
		err = refuse(why, ERR_OVERLOADED, "", "%u requests wait for this key's token",
			l->waiting);
	} else {
		call->serial = ++s->serial;
		write_issue(s, issue, call, left);
		err = send_call(s, l, call, ERR_KEY_UNAVAILABLE, why);
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

enum err signer_live(struct signer *s, const char *key, const char *client,
	struct signer_call *call, struct refusal *why)
{
	struct msg_read m = {.kind = READ_LIVE};
	struct link *l;
	enum err err;

	if (call->deadline <= monotonic_ms())
		return refuse(why, ERR_TIMEOUT, "", "%s", err_text(ERR_TIMEOUT));
	snprintf(m.key, sizeof(m.key), "%s", key);
	snprintf(m.client, sizeof(m.client), "%s", client);
	call->signs = false;
	pthread_mutex_lock(&s->lock);
	l = find_link(s, NULL);
	if (l == NULL) {
		err = refuse(why, ERR_LEDGER_UNAVAILABLE, "", "the ledger is being started");
	} else if (l->waiting >= s->queue) {
		err = refuse(
			why, ERR_OVERLOADED, "", "%u questions wait for the ledger", l->waiting);
	} else {
		call->serial = ++s->serial;
		buf_reset(&s->out);
		msg_begin(&s->out, MSG_READ, call->serial);
		msg_read_write(&s->out, &m);
		err = send_call(s, l, call, ERR_LEDGER_UNAVAILABLE, why);
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

unsigned signer_waiting(struct signer *s)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->waiting;
	pthread_mutex_unlock(&s->lock);
	return n;
}

static void end_call(struct signer_call *call)
{
	call->done(call);
}

/* No answer came, and none is waited for any more. */
static void give_up(struct signer_call *call, bool lost)
{
	if (call->signs)
		(void)refuse(&call->refusal, ERR_OUTCOME_UNKNOWN, "",
			lost ? "the signing process was lost: ask the ledger, or repeat the "
			       "request "
			       "with the same Idempotency-Key"
			     : "not answered within the request's deadline: ask the ledger, or "
			       "repeat "
			       "the request with the same Idempotency-Key");
	else if (lost)
		(void)refuse(&call->refusal,
			call->link->role == ROLE_LEDGER ? ERR_LEDGER_UNAVAILABLE
							: ERR_KEY_UNAVAILABLE,
			"", "its process was lost; nothing was signed");
	else
		(void)refuse(&call->refusal, ERR_TIMEOUT, "",
			"not answered within the request's deadline; nothing was signed");
}

/* Takes out the calls of a lost link, or (l NULL) those over their deadline, as one list. */
static struct signer_call *take_ended(struct signer *s, const struct link *l, int64_t now)
{
	struct signer_call *ended = NULL, *call, **at;

	for (size_t i = 0; i < BUCKETS && s->waiting != 0; i++)
		for (at = &s->calls[i]; *at != NULL;) {
			if (l != NULL ? (*at)->link != l : (*at)->deadline > now) {
				at = &(*at)->next;
				continue;
			}
			call = unlink_call(s, at);
			give_up(call, l != NULL);
			call->next = ended;
			ended = call;
		}
	return ended;
}

static void end_all(struct signer_call *ended)
{
	struct signer_call *next;

	for (; ended != NULL; ended = next) {
		next = ended->next;
		end_call(ended);
	}
}

static void remove_link(struct signer *s, struct link *l)
{
	struct signer_call *ended;
	struct link **at;

	pthread_mutex_lock(&s->lock);
	for (at = &s->links; *at != l; at = &(*at)->next)
		;
	*at = l->next;
	s->link_count--;
	ended = take_ended(s, l, 0);
	pthread_mutex_unlock(&s->lock);
	LOG(l->retired ? LOG_LEVEL_INFO : LOG_LEVEL_WARNING, "channel closed",
		LS("neighbour", l->role == ROLE_HSM ? "hsm" : "ledger"), LS("token", l->token));
	end_all(ended);
	link_free(l);
}

static enum err take_issue_answer(
	struct signer *s, struct link *l, uint64_t serial, struct reader *body)
{
	struct msg_issue_answer *a = s->answer;
	struct signer_call *call;

	if (msg_issue_answer_read(a, body) != ERR_OK)
		return ERR_FORMAT;
	pthread_mutex_lock(&s->lock);
	call = take_call(s, l, serial);
	pthread_mutex_unlock(&s->lock);
	if (call == NULL)
		return ERR_OK; /* it came after the deadline */
	if (a->count != 1 || strcmp(a->request, call->request) != 0) {
		give_up(call, true);
		end_call(call);
		return ERR_FORMAT;
	}
	memset(&call->refusal, 0, sizeof(call->refusal));
	call->grant = &a->grant[0];
	end_call(call);
	return ERR_OK;
}

static enum err take_state_answer(
	struct signer *s, struct link *l, uint64_t serial, struct reader *body)
{
	enum err err = ERR_FORMAT;

	if (msg_state_answer_read(s->state, body) != ERR_OK)
		return ERR_FORMAT;
	pthread_mutex_lock(&s->lock);
	if (serial == l->poll_serial)
		err = link_state(l, s->state, &s->serial, &s->out);
	pthread_mutex_unlock(&s->lock);
	return err;
}

static enum err take_read_answer(
	struct signer *s, struct link *l, uint64_t serial, struct reader *body)
{
	struct signer_call *call = NULL;
	bool heads;

	if (msg_read_answer_read(s->read, body) != ERR_OK)
		return ERR_FORMAT;
	pthread_mutex_lock(&s->lock);
	heads = serial == l->poll_serial;
	if (heads)
		link_heads(l, s->read);
	else
		call = take_call(s, l, serial);
	pthread_mutex_unlock(&s->lock);
	if (call == NULL)
		return ERR_OK;
	memset(&call->refusal, 0, sizeof(call->refusal));
	if (s->read->err != ERR_OK)
		(void)refuse(&call->refusal, s->read->err, "", "%s", err_text(s->read->err));
	call->read = s->read;
	end_call(call);
	return ERR_OK;
}

static const struct {
	uint16_t type;
	uint8_t role; /* who may send it */
	enum err (*take)(struct signer *s, struct link *l, uint64_t serial, struct reader *body);
} answers[] = {
	{MSG_ISSUE + 1, ROLE_HSM, take_issue_answer},
	{MSG_STATE + 1, ROLE_HSM, take_state_answer},
	{MSG_READ + 1, ROLE_LEDGER, take_read_answer},
};

static enum err take_message(struct signer *s, struct link *l, size_t len)
{
	struct msg_head head;
	struct reader body;

	if (msg_open(&head, &body, s->in, len) != ERR_OK)
		return ERR_FORMAT;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (answers[i].type == head.type && answers[i].role == l->role)
			return answers[i].take(s, l, head.serial, &body);
	return ERR_FORMAT;
}

static enum err read_link(struct signer *s, struct link *l)
{
	size_t len;
	enum err err = ERR_OK;

	for (unsigned i = 0; i < MESSAGES_A_TURN && err == ERR_OK; i++) {
		err = channel_receive(l->fd, s->in, MSG_MAX, &len, NULL, NULL, 0);
		if (err == ERR_OK)
			err = take_message(s, l, len);
	}
	if (err == ERR_FORMAT) {
		LOG(LOG_LEVEL_ERROR, "malformed message",
			LS("neighbour", l->role == ROLE_HSM ? "hsm" : "ledger"),
			LS("token", l->token));
		return err;
	}
	if (err == ERR_CLOSED || err == ERR_SYSTEM)
		remove_link(s, l);
	return ERR_OK;
}

/* The end of a turn: deadlines, retired channels, questions for states. */
static void tidy(struct signer *s)
{
	int64_t now = monotonic_ms();
	struct signer_call *ended;
	struct link *spent = NULL;

	pthread_mutex_lock(&s->lock);
	ended = take_ended(s, NULL, now);
	for (struct link *l = s->links; l != NULL; l = l->next) {
		if (l->retired && l->waiting == 0)
			spent = l;
		link_poll(l, now, &s->serial, &s->out);
	}
	pthread_mutex_unlock(&s->lock);
	end_all(ended);
	if (spent != NULL)
		remove_link(s, spent);
}

enum err signer_turn(struct signer *s, struct pollfd *own, size_t own_count, int timeout_ms)
{
	size_t n = 0;
	int ready;
	enum err err = ERR_OK;

	if (own_count > 16)
		return ERR_INTERNAL;
	if (own_count > 0)
		memcpy(s->polled, own, own_count * sizeof(*own));
	for (struct link *l = s->links; l != NULL; l = l->next) {
		s->polled[own_count + n] = (struct pollfd){.fd = l->fd, .events = POLLIN};
		s->polled_link[n++] = l;
	}
	ready = poll(s->polled, own_count + n, timeout_ms);
	for (size_t i = 0; i < own_count; i++)
		own[i].revents = ready > 0 ? s->polled[i].revents : 0;
	for (size_t i = 0; ready > 0 && i < n && err == ERR_OK; i++)
		if (s->polled[own_count + i].revents != 0)
			err = read_link(s, s->polled_link[i]);
	tidy(s);
	return err;
}

void signer_key(struct signer *s, const char *token, const char *key, struct signer_key *out)
{
	static const uint8_t none[SHA256_SIZE];
	const struct msg_state_key *state;
	const struct link *l;

	memset(out, 0, sizeof(*out));
	out->err = ERR_KEY_UNAVAILABLE;
	pthread_mutex_lock(&s->lock);
	l = find_link(s, token);
	state = l != NULL && link_fresh(l, monotonic_ms()) ? link_key(l, key) : NULL;
	if (state != NULL) {
		out->err = state->err;
		memcpy(out->detail, state->detail, sizeof(out->detail));
		memcpy(out->weak, state->weak, sizeof(out->weak));
		out->has_certificate = memcmp(state->certificate_sha256, none, SHA256_SIZE) != 0;
		memcpy(out->certificate_sha256, state->certificate_sha256, SHA256_SIZE);
		out->certificate_not_after = state->certificate_not_after;
		out->algorithm = state->algorithm;
	} else {
		snprintf(out->detail, sizeof(out->detail), "%s",
			l == NULL  ? "the token's process is being started"
			: l->known ? "the token's process does not answer"
				   : "the token's process has not told its state yet");
	}
	pthread_mutex_unlock(&s->lock);
}

void signer_token(struct signer *s, const char *token, struct signer_token *out)
{
	const struct link *l;

	memset(out, 0, sizeof(*out));
	pthread_mutex_lock(&s->lock);
	l = find_link(s, token);
	if (l == NULL) {
		snprintf(out->detail, sizeof(out->detail), "its process is being started");
	} else if (!link_fresh(l, monotonic_ms())) {
		snprintf(out->detail, sizeof(out->detail), "its process does not answer");
	} else {
		out->ready = l->token_ok;
		memcpy(out->detail, l->token_detail, sizeof(out->detail));
	}
	if (l != NULL) {
		out->waiting = l->waiting;
		memcpy(out->counter, l->counter, sizeof(out->counter));
		memcpy(out->generation, l->generation, sizeof(out->generation));
	}
	pthread_mutex_unlock(&s->lock);
}

bool signer_ledger(struct signer *s, struct msg_read_answer *heads)
{
	const struct link *l;
	bool ready = false;

	memset(heads, 0, sizeof(*heads));
	pthread_mutex_lock(&s->lock);
	l = find_link(s, NULL);
	if (l != NULL && link_fresh(l, monotonic_ms())) {
		*heads = l->heads;
		ready = heads->err == ERR_OK;
	}
	pthread_mutex_unlock(&s->lock);
	return ready;
}
