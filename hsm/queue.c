#include "queue.h"

#include <stdlib.h>
#include <string.h>

#include "channel.h"
#include "counters.h"
#include "credential.h"
#include "log.h"
#include "token.h"

#define SEND_MS	   200
#define PENDING_MS 2500 /* a request waits so long for its keys, if its deadline allows it */

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

static void job_free(struct job *j)
{
	line_unref(j->api);
	deadline_destroy(&j->deadline);
	free(j->octets);
	free(j);
}

/* With the lock held. */
static void job_remove(struct queue *q, struct job *j)
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

static struct job *job_take(struct queue *q)
{
	struct job *j;

	pthread_mutex_lock(&q->lock);
	for (;;) {
		for (j = q->waiting > 0 ? q->first : NULL; j != NULL && (j->taken || !j->ready);
			j = j->next)
			;
		if (j != NULL || q->stopping)
			break;
		pthread_cond_wait(&q->work, &q->lock);
	}
	if (j != NULL) {
		j->taken = true;
		q->waiting--;
		q->busy++;
		counter_set(COUNTER_QUEUE, q->waiting);
		counter_set(COUNTER_WORKERS_BUSY, q->busy);
	}
	pthread_mutex_unlock(&q->lock);
	return j;
}

/* The configuration may have changed since it was ready: then it waits again. */
static bool waits_again(struct queue *q, struct job *j, const struct msg_issue *ask)
{
	if (q->pending == NULL || monotonic_us() - j->arrived > PENDING_MS * 1000 ||
		!q->pending(q->arg, ask))
		return false;
	pthread_mutex_lock(&q->lock);
	j->taken = j->ready = false;
	q->busy--;
	q->waiting++;
	pthread_mutex_unlock(&q->lock);
	return true;
}

/* The answer of somebody whose time is over; or why nothing is begun. */
static void expire(struct queue *q, struct job *j, const struct refusal *why)
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

/* False: it is not done, and stays in the queue. */
static bool job_do(struct queue *q, struct job *j, struct msg_issue *ask)
{
	struct buf answer = BUF_INIT(MSG_MAX);
	struct issuer context;
	struct msg_head head;
	struct reader body;

	if (deadline_passed(&j->deadline)) {
		if (deadline_claim(&j->deadline)) /* else queue_expire has answered */
			expire(q, j, NULL);
		return true;
	}
	if (msg_open(&head, &body, j->octets, j->len) != ERR_OK ||
		msg_issue_read(ask, &body) != ERR_OK)
		return true; /* was read once before */
	q->acquire(q->arg, &context);
	if (waits_again(q, j, ask)) {
		q->release(q->arg, &context);
		return false;
	}
	span_end(SPAN_QUEUE, j->arrived);
	issue(&context, ask, &j->deadline, &answer);
	if (deadline_claim(&j->deadline))
		queue_answer(j->api, j->serial, &answer);
	span_end(SPAN_TOTAL, j->arrived);
	q->release(q->arg, &context);
	buf_free(&answer);
	return true;
}

static void *worker(void *arg)
{
	struct queue *q = arg;
	struct msg_issue *ask = malloc(sizeof *ask);
	struct job *j;

	while (ask != NULL && (j = job_take(q)) != NULL) {
		if (!job_do(q, j, ask))
			continue;
		pthread_mutex_lock(&q->lock);
		job_remove(q, j);
		pthread_mutex_unlock(&q->lock);
		job_free(j);
	}
	free(ask);
	return NULL;
}

enum err queue_start(struct queue *q, unsigned workers)
{
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->work, NULL);
	q->thread = calloc(workers, sizeof *q->thread);
	q->scratch = calloc(1, sizeof *q->scratch);
	if (q->thread == NULL || q->scratch == NULL)
		return ERR_NOMEM;
	for (; q->workers < workers; q->workers++)
		if (pthread_create(&q->thread[q->workers], NULL, worker, q) != 0)
			return ERR_SYSTEM;
	return ERR_OK;
}

static struct job *job_new(struct line *api, uint64_t serial, const struct msg_issue *ask,
	const uint8_t *octets, size_t len, int64_t deadline)
{
	struct job *j = calloc(1, sizeof *j);

	if (j == NULL)
		return NULL;
	j->octets = malloc(len);
	if (j->octets == NULL) {
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

	if (e != ERR_OK)
		return e;
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
	}
	pthread_mutex_unlock(&q->lock);
	if (e == ERR_OK)
		pthread_cond_signal(&q->work);
	else
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
	unsigned n;

	pthread_mutex_lock(&q->lock);
	for (struct job *j = q->first, *next; j != NULL; j = next) {
		next = j->next;
		if (!j->ready && settled(q, j)) {
			j->ready = true;
			pthread_cond_signal(&q->work);
		}
		if (now < j->deadline.at || !deadline_claim(&j->deadline))
			continue;
		expire(q, j, NULL);
		if (!j->taken) {
			job_remove(q, j);
			job_free(j);
		}
	}
	n = q->waiting + q->busy;
	pthread_mutex_unlock(&q->lock);
	return n;
}

void queue_refuse(struct queue *q, const struct refusal *why)
{
	pthread_mutex_lock(&q->lock);
	for (struct job *j = q->first, *next; j != NULL; j = next) {
		next = j->next;
		if (j->taken || !deadline_claim(&j->deadline))
			continue;
		expire(q, j, why);
		job_remove(q, j);
		job_free(j);
	}
	pthread_mutex_unlock(&q->lock);
}

void queue_stop(struct queue *q)
{
	pthread_mutex_lock(&q->lock);
	q->stopping = true;
	pthread_cond_broadcast(&q->work);
	pthread_mutex_unlock(&q->lock);
}

void queue_join(struct queue *q)
{
	for (unsigned i = 0; i < q->workers; i++)
		pthread_join(q->thread[i], NULL);
	free(q->thread);
	free(q->scratch);
	pthread_cond_destroy(&q->work);
	pthread_mutex_destroy(&q->lock);
}
