#include "signer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "limits.h"
#include "signer_private.h"

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
	free(s->births);
	signer_forget_away(s);
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

struct link *signer_find_link(const struct signer *s, const char *token)
{
	for (struct link *l = s->links; l != NULL; l = l->next)
		if (!l->retired &&
			(token == NULL ? l->role == ROLE_LEDGER
				       : l->role == ROLE_HSM && strcmp(l->token, token) == 0))
			return l;
	return NULL;
}

static struct births *find_births(const struct signer *s, uint8_t role, const char *token)
{
	for (size_t i = 0; i < s->birth_count; i++)
		if (s->births[i].role == role && strcmp(s->births[i].token, token) == 0)
			return &s->births[i];
	return NULL;
}

/* For the metrics alone: without memory it is not counted. */
static void count_birth(struct signer *s, uint8_t role, const char *token)
{
	struct births *known = find_births(s, role, token), *more;

	if (known == NULL) {
		more = realloc(s->births, (s->birth_count + 1) * sizeof(*more));
		if (more == NULL)
			return;
		s->births = more;
		known = &more[s->birth_count++];
		*known = (struct births){.role = role};
		snprintf(known->token, sizeof(known->token), "%s", token);
	}
	known->count++;
}

unsigned signer_restarts(struct signer *s, uint8_t role, const char *token)
{
	const struct births *known;
	unsigned n;

	pthread_mutex_lock(&s->lock);
	known = find_births(s, role, token);
	n = known != NULL ? known->count - 1 : 0;
	pthread_mutex_unlock(&s->lock);
	return n;
}

enum err signer_connect(struct signer *s, uint8_t role, const char *token, int fd)
{
	struct signer_call *refused = NULL;
	struct link *l, *old;

	if (role != ROLE_HSM && role != ROLE_LEDGER)
		return ERR_FORMAT;
	l = s->link_count < LINKS_MAX ? link_new(role, role == ROLE_HSM ? token : "", fd) : NULL;
	if (l == NULL)
		return ERR_NOMEM;
	pthread_mutex_lock(&s->lock);
	old = signer_find_link(s, role == ROLE_HSM ? token : NULL);
	if (old != NULL)
		old->retired = true;
	l->next = s->links;
	s->links = l;
	s->link_count++;
	count_birth(s, l->role, l->token);
	if (role == ROLE_HSM)
		refused = signer_back(s, token);
	pthread_mutex_unlock(&s->lock);
	signer_end_all(refused);
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
	m->count = issue->count;
	memcpy(m->item, issue->item, issue->count * sizeof(*issue->item));
	buf_reset(&s->out);
	msg_begin(&s->out, MSG_ISSUE, call->serial);
	msg_issue_write(&s->out, m);
}

/* To this process. ERR_CLOSED: it has gone, and nothing was sent. */
static enum err send_to(
	struct signer *s, struct link *l, struct signer_call *call, struct refusal *why)
{
	int64_t left = call->deadline - monotonic_ms();

	if (left <= 0 || left > UINT32_MAX)
		return refuse(why, ERR_TIMEOUT, "", "the request took too long to arrive");
	if (l->waiting >= s->queue)
		return refuse(why, ERR_OVERLOADED, "", "%u requests wait for this key's token",
			l->waiting);
	call->serial = ++s->serial;
	write_issue(s, &call->issue, call, left);
	if (s->out.err != ERR_OK && call->issue.count > 1)
		return refuse(why, ERR_TOO_LARGE, "requests", "split the batch");
	return send_call(s, l, call, ERR_CLOSED, why);
}

enum err signer_send(struct signer *s, struct signer_call *call, struct refusal *why)
{
	struct link *l = signer_find_link(s, call->token);
	enum err err = ERR_CLOSED;

	if (l != NULL && !l->leaving) {
		err = send_to(s, l, call, why);
		if (err == ERR_CLOSED)
			signer_away(s, call->token);
	}
	if (err != ERR_CLOSED || signer_park(s, call))
		return err == ERR_CLOSED ? ERR_OK : err;
	return refuse(
		why, ERR_KEY_UNAVAILABLE, "", "the process of this key's token is being started");
}

enum err signer_issue(struct signer *s, const char *token, const struct signer_issue *issue,
	struct signer_call *call, struct refusal *why)
{
	enum err err;

	call->signs = !issue->dry_run;
	call->holds = false;
	call->issue = *issue;
	snprintf(call->token, sizeof(call->token), "%s", token);
	pthread_mutex_lock(&s->lock);
	err = signer_send(s, call, why);
	pthread_mutex_unlock(&s->lock);
	return err;
}

/* Sends the question to the ledger that write() puts into s->out. */
static enum err ask_ledger(struct signer *s, uint16_t type,
	void (*write)(struct buf *out, const void *m), const void *m, struct signer_call *call,
	struct refusal *why)
{
	struct link *l;
	enum err err;

	if (call->deadline <= monotonic_ms())
		return refuse(why, ERR_TIMEOUT, "", "%s", err_text(ERR_TIMEOUT));
	call->signs = false;
	pthread_mutex_lock(&s->lock);
	l = signer_find_link(s, NULL);
	if (l == NULL) {
		err = refuse(why, ERR_LEDGER_UNAVAILABLE, "", "the ledger is being started");
	} else if (l->waiting >= s->queue) {
		err = refuse(
			why, ERR_OVERLOADED, "", "%u questions wait for the ledger", l->waiting);
	} else {
		call->serial = ++s->serial;
		buf_reset(&s->out);
		msg_begin(&s->out, type, call->serial);
		write(&s->out, m);
		err = send_call(s, l, call, ERR_LEDGER_UNAVAILABLE, why);
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

static void write_read(struct buf *out, const void *m)
{
	msg_read_write(out, m);
}

static void write_hold(struct buf *out, const void *m)
{
	msg_hold_write(out, m);
}

enum err signer_read(struct signer *s, const struct msg_read *read, struct signer_call *call,
	struct refusal *why)
{
	call->holds = false;
	return ask_ledger(s, MSG_READ, write_read, read, call, why);
}

enum err signer_live(struct signer *s, const char *key, const char *client,
	struct signer_call *call, struct refusal *why)
{
	struct msg_read m = {.kind = READ_LIVE};

	snprintf(m.key, sizeof(m.key), "%s", key);
	snprintf(m.client, sizeof(m.client), "%s", client);
	return signer_read(s, &m, call, why);
}

enum err signer_hold(struct signer *s, bool release, const struct msg_hold *hold,
	struct signer_call *call, struct refusal *why)
{
	call->holds = true;
	return ask_ledger(s, release ? MSG_RELEASE : MSG_HOLD, write_hold, hold, call, why);
}

void signer_stranger(
	struct signer *s, const char *request, const struct peer *peer, uint64_t left_out)
{
	const struct x509 *x = &peer->x509;
	const uint8_t *subject = (const uint8_t *)x->subject;
	struct msg_stranger m = {.left_out = left_out};
	const struct link *l;

	snprintf(m.request, sizeof(m.request), "%s", request);
	memcpy(m.peer, peer->address, sizeof(m.peer));
	if (peer->has_certificate) {
		m.has_certificate = 1;
		memcpy(m.sha256, x->sha256, SHA256_SIZE);
		memcpy(m.serial, x->serial, sizeof(m.serial));
		if (utf8_valid(subject, strlen(x->subject)))
			m.subject = (struct octets){subject, strlen(x->subject)};
	}
	pthread_mutex_lock(&s->lock);
	l = signer_find_link(s, NULL);
	if (l != NULL) {
		buf_reset(&s->out);
		msg_begin(&s->out, MSG_STRANGER, ++s->serial);
		msg_stranger_write(&s->out, &m);
		(void)channel_send(l->fd, &s->out, NULL, 0, 0);
	}
	pthread_mutex_unlock(&s->lock);
}

unsigned signer_waiting(struct signer *s)
{
	unsigned n;

	pthread_mutex_lock(&s->lock);
	n = s->waiting;
	pthread_mutex_unlock(&s->lock);
	return n;
}
