#include "queue_private.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "counters.h"
#include "credential.h"
#include "log.h"
#include "token.h"

#define SEND_MS 200

void queue_answer(struct line *api, uint64_t serial, const struct buf *body)
{
	struct buf message = BUF_INIT(MSG_MAX);

	msg_begin(&message, MSG_ANSWER(MSG_ISSUE), serial);
	if (body->err == ERR_OK)
		buf_put(&message, body->octets, body->len);
	else
		message.err = body->err;
	if (message.err != ERR_OK)
		LOG(LOG_LEVEL_ERROR, "an answer could not be written",
			LS("reason", err_name(message.err)));
	else if (channel_send(api->fd, &message, NULL, 0, SEND_MS) != ERR_OK)
		LOG(LOG_LEVEL_WARNING, "an answer was lost: the api is gone or does not read");
	buf_free(&message);
}

void job_free(struct job *j)
{
	line_unref(j->api);
	deadline_destroy(&j->deadline);
	free(j->ask);
	free(j->octets);
	free(j);
}

void job_remove(struct queue *q, struct job *j)
{
	*(j->previous == NULL ? &q->first : &j->previous->next) = j->next;
	*(j->next == NULL ? &q->last : &j->next->previous) = j->previous;
	if (j->taken)
		q->busy--;
	else
		q->waiting--;
	counter_set(COUNTER_QUEUE, q->waiting);
	counter_set(COUNTER_WORKERS_BUSY, q->busy);
}

void job_expire(struct queue *q, struct job *j, const struct refusal *why)
{
	struct msg_issue_answer *a = calloc(1, sizeof *a);
	struct buf body = BUF_INIT(MSG_MAX);
	struct attempt attempt;

	if (a == NULL)
		return;
	memcpy(a->request, j->request, sizeof a->request);
	a->count = j->count;
	for (uint16_t i = 0; i < j->count; i++) {
		a->grant[i].refusal.err = deadline_said(&j->deadline, i);
		if (why != NULL)
			a->grant[i].refusal = *why;
		if (deadline_unanswered(&j->deadline, i, &attempt))
			evidence_abandoned(q->ledger, &attempt);
	}
	msg_issue_answer_write(&body, a);
	queue_answer(j->api, j->serial, &body);
	buf_free(&body);
	free(a);
}

static struct job *job_new(struct line *api, uint64_t serial, const struct msg_issue *ask,
	const uint8_t *octets, size_t len, int64_t deadline)
{
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL)
		return NULL;
	j->octets = malloc(len);
	j->ask = malloc(offsetof(struct msg_issue, item) + ask->count * sizeof *ask->item);
	if (j->octets == NULL || j->ask == NULL) {
		free(j->octets);
		free(j->ask);
		free(j);
		return NULL;
	}
	memcpy(j->octets, octets, len);
	memcpy(j->request, ask->request, sizeof j->request);
	j->len = len;
	j->api = line_ref(api);
	j->serial = serial;
	j->arrived = monotonic_us();
	j->count = ask->count;
	deadline_init(&j->deadline, deadline);
	return j;
}

enum err queue_put(struct queue *q, unsigned limit, struct line *api, uint64_t serial,
	const struct msg_issue *ask, const uint8_t *octets, size_t len, int64_t deadline)
{
	struct job *j = job_new(api, serial, ask, octets, len, deadline);
	enum err e = j == NULL ? ERR_NOMEM : ERR_OK;
	struct worker *call = NULL;

	if (e != ERR_OK)
		return e;
	j->queue = q;
	j->since = monotonic_ms();
	j->ready = q->pending == NULL || !q->pending(q->arg, ask);
	pthread_mutex_lock(&q->lock);
	if (q->stopping)
		e = ERR_STOPPING;
	else if (q->waiting >= limit)
		e = ERR_OVERLOADED;
	if (e == ERR_OK) {
		j->previous = q->last;
		*(q->last == NULL ? &q->first : &q->last->next) = j;
		q->last = j;
		q->waiting++;
		counter_set(COUNTER_QUEUE, q->waiting);
		call = queue_calls(q);
	}
	pthread_mutex_unlock(&q->lock);
	queue_wake(call);
	if (e != ERR_OK)
		job_free(j);
	return e;
}

/* Is what it waited for there, or does it take too long? */
static bool settled(struct queue *q, const struct job *j)
{
	struct msg_head head;
	struct reader body;

	if (monotonic_us() - j->arrived > PENDING_MS * 1000)
		return true;
	if (msg_open(&head, &body, j->octets, j->len) != ERR_OK ||
		msg_issue_read(q->scratch, &body) != ERR_OK)
		return true;
	return !q->pending(q->arg, q->scratch);
}

unsigned queue_unanswered(struct queue *q)
{
	unsigned n = 0;

	pthread_mutex_lock(&q->lock);
	for (struct job *j = q->first; j != NULL; j = j->next)
		n += !deadline_answered(&j->deadline);
	pthread_mutex_unlock(&q->lock);
	return n;
}

unsigned queue_expire(struct queue *q)
{
	int64_t now = monotonic_ms();
	struct worker *call;
	unsigned n;

	pthread_mutex_lock(&q->lock);
	for (struct job *j = q->first, *next; j != NULL; j = next) {
		next = j->next;
		if (!j->ready && settled(q, j)) {
			j->ready = true;
			j->since = now;
		}
		if (now < j->deadline.at || !deadline_claim(&j->deadline))
			continue;
		job_expire(q, j, NULL);
		if (!j->taken) {
			job_remove(q, j);
			job_free(j);
		}
	}
	n = q->waiting + q->busy;
	call = queue_calls(q);
	if (call == NULL)
		call = queue_stale(q);
	pthread_mutex_unlock(&q->lock);
	queue_wake(call);
	append_flush(q->ledger);
	return n;
}

void queue_refuse(struct queue *q, const struct refusal *why)
{
	pthread_mutex_lock(&q->lock);
	for (struct job *j = q->first, *next; j != NULL; j = next) {
		next = j->next;
		if (j->taken || !deadline_claim(&j->deadline))
			continue;
		job_expire(q, j, why);
		job_remove(q, j);
		job_free(j);
	}
	pthread_mutex_unlock(&q->lock);
}

void queue_stop(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->stopping = true;
	for (unsigned i = 0; i < q->workers; i++)
		pthread_cond_signal(&q->worker[i].called);
	pthread_mutex_unlock(&q->lock);
}

void queue_join(struct queue *q)
{
	for (unsigned i = 0; i < q->workers; i++) {
		pthread_join(q->worker[i].thread, NULL);
		pthread_cond_destroy(&q->worker[i].called);
	}
	free(q->worker);
	free(q->scratch);
	pthread_mutex_destroy(&q->lock);
}
