#include <stdlib.h>

#include "counters.h"
#include "queue_private.h"
#include "token.h"

#define SHARE	 2  /* transactions at most, unless there is nothing else to do */
#define STALE_MS 20 /* a worker that asks the token is not back: another one asks */

static void put_last(struct jobs *list, struct job *j)
{
	j->after = NULL;
	*(list->first == NULL ? &list->first : &list->last->after) = j;
	list->last = j;
}

static struct job *take_first(struct jobs *list)
{
	struct job *j = list->first;

	if (j != NULL)
		list->first = j->after;
	return j;
}

/* May one more worker ask the token? Where threads work inside, few at a time. */
static bool may_sign(const struct queue *q)
{
	const struct job *j = q->signers.first;
	unsigned turn;

	if (j == NULL)
		return false;
	turn = token_turn(j->context.token);
	return turn == 1 || q->signing < token_width(j->context.token) + q->crowd / turn ||
	       monotonic_ms() - j->since > STALE_MS;
}

/* The oldest that can be begun. */
static struct job *waiting(const struct queue *q)
{
	struct job *j = q->waiting > 0 && q->busy < q->workers ? q->first : NULL;

	while (j != NULL && (j->taken || !j->ready))
		j = j->next;
	return j;
}

static struct job *take_signer(struct queue *q)
{
	struct job *j = may_sign(q) ? take_first(&q->signers) : NULL;

	if (j != NULL) {
		q->crowd -= j->count;
		token_crowd(j->context.token, q->signers.first != NULL);
	}
	return j;
}

static struct job *take_waiting(struct queue *q)
{
	struct job *j = waiting(q);

	if (j != NULL) {
		j->taken = true;
		q->waiting--;
		q->busy++;
		counter_set(COUNTER_QUEUE, q->waiting);
		counter_set(COUNTER_WORKERS_BUSY, q->busy);
	}
	return j;
}

/* Signatures come first. Short ones one after the other: module and libcrypto are in the
 * processor's caches then; a distant token is to be busy, which takes no work. */
static struct job *take(struct queue *q)
{
	struct job *j = take_signer(q);

	if (j == NULL)
		j = take_first(&q->others);
	return j == NULL ? take_waiting(q) : j;
}

static bool work_there(const struct queue *q)
{
	return q->others.first != NULL || waiting(q) != NULL || may_sign(q);
}

/* The one that slept last: what it needs is still in the processor's caches. */
static struct worker *call(struct queue *q)
{
	struct worker *w = q->idle;

	q->idle = w->next;
	q->idles--;
	w->asleep = false;
	return w;
}

struct worker *queue_calls(struct queue *q)
{
	unsigned seeing = q->workers - q->idles - q->away;
	const struct job *j = q->signers.first;

	if (q->idle == NULL || !work_there(q))
		return NULL;
	if (j != NULL && token_turn(j->context.token) == 1 && may_sign(q))
		return call(q);
	if (seeing > 0 && (j == NULL || q->crowd < seeing * token_turn(j->context.token)))
		return NULL;
	return call(q);
}

struct worker *queue_stale(struct queue *q)
{
	const struct job *j = q->others.first;
	int64_t before = monotonic_ms() - STALE_MS;

	if (j == NULL || j->since >= before)
		j = waiting(q);
	if (j == NULL || j->since >= before)
		j = may_sign(q) ? q->signers.first : NULL;
	if (q->idle == NULL || j == NULL || j->since >= before)
		return NULL;
	return call(q);
}

void queue_wake(struct worker *w)
{
	if (w != NULL)
		pthread_cond_signal(&w->called);
}

/* The ledger has answered. */
static void job_ready(void *arg)
{
	struct job *j = arg;
	struct queue *q = j->queue;
	struct worker *next;

	pthread_mutex_lock(&q->lock);
	j->since = monotonic_ms();
	if (issue_signs(j->batch)) {
		put_last(&q->signers, j);
		q->crowd += j->count;
	} else {
		put_last(&q->others, j);
	}
	next = queue_calls(q);
	pthread_mutex_unlock(&q->lock);
	queue_wake(next);
}

/* The configuration may have changed since it was ready: then it waits again. */
static bool waits_again(struct queue *q, struct job *j)
{
	if (q->pending == NULL || monotonic_us() - j->arrived > PENDING_MS * 1000 ||
		!q->pending(q->arg, j->ask))
		return false;
	q->release(q->arg, &j->context);
	pthread_mutex_lock(&q->lock);
	j->taken = j->ready = false;
	q->busy--;
	q->waiting++;
	pthread_mutex_unlock(&q->lock);
	return true;
}

static void job_end(struct queue *q, struct job *j)
{
	pthread_mutex_lock(&q->lock);
	job_remove(q, j);
	pthread_mutex_unlock(&q->lock);
	job_free(j);
}

/* False: there is nothing to go on with now. */
static bool begin(struct queue *q, struct job *j, struct buf *answer)
{
	struct refusal why = {.err = ERR_OK};
	struct msg_head head;
	struct reader body;

	if (deadline_passed(&j->deadline)) {
		if (deadline_claim(&j->deadline)) /* else queue_expire has answered */
			job_expire(q, j, NULL);
		job_end(q, j);
		return false;
	}
	if (msg_open(&head, &body, j->octets, j->len) != ERR_OK ||
		msg_issue_read(j->ask, &body) != ERR_OK) { /* was read once before */
		job_end(q, j);
		return false;
	}
	q->acquire(q->arg, &j->context);
	if (waits_again(q, j))
		return false;
	span_end(SPAN_QUEUE, j->arrived);
	j->batch = issue_begin(&j->context, j->ask, &j->deadline, job_ready, j, &why);
	if (j->batch == NULL)
		issue_refuse_all(j->ask, &why, answer);
	return true;
}

/* False: the ledger is asked, and it is not this thread's any more. */
static bool job_do(struct queue *q, struct job *j)
{
	struct buf answer = BUF_INIT(MSG_MAX);

	if (j->batch == NULL && !begin(q, j, &answer))
		return true;
	if (j->batch != NULL && !issue_go_on(j->batch, &answer))
		return false;
	if (deadline_claim(&j->deadline))
		queue_answer(j->api, j->serial, &answer);
	span_end(SPAN_TOTAL, j->arrived);
	buf_free(&answer);
	if (j->batch != NULL)
		issue_end(j->batch);
	q->release(q->arg, &j->context);
	job_end(q, j);
	return true;
}

/* Sends what is asked, without the lock. */
static void flush(struct queue *q)
{
	q->asked = false;
	pthread_mutex_unlock(&q->lock);
	append_flush(q->ledger);
	pthread_mutex_lock(&q->lock);
}

/* A transaction costs the ledger as much as many records, so a small one waits for more. Yet while
 * some requests are with the ledger, others are to be with the token. */
static bool enough(const struct queue *q)
{
	size_t ready = append_ready(q->ledger), all = q->busy + q->waiting;

	return ready > 0 && SHARE * ready >= (all < q->workers ? all : q->workers);
}

void queue_flush(struct queue *q)
{
	bool now;

	pthread_mutex_lock(&q->lock);
	now = q->workers == q->idles + q->away || enough(q);
	q->asked = q->asked || !now;
	pthread_mutex_unlock(&q->lock);
	if (now)
		append_flush(q->ledger);
}

/* Until it is called, or the queue stops. */
static void sleep_once(struct queue *q, struct worker *w)
{
	w->asleep = true;
	w->next = q->idle;
	q->idle = w;
	q->idles++;
	while (w->asleep && !q->stopping)
		pthread_cond_wait(&w->called, &q->lock);
}

static struct job *wait_for_work(struct queue *q, struct worker *w)
{
	struct job *j;

	while ((j = take(q)) == NULL && !q->stopping) {
		if (q->asked)
			flush(q);
		else
			sleep_once(q, w);
	}
	return j;
}

static void *work(void *worker)
{
	struct worker *w = worker;
	struct queue *q = w->queue;
	struct job *j;

	pthread_mutex_lock(&q->lock);
	while ((j = wait_for_work(q, w)) != NULL) {
		bool signs = j->batch != NULL && issue_signs(j->batch);
		bool far = signs && (j->count > 1 || token_turn(j->context.token) == 1);
		struct worker *next;
		bool asks;

		q->signing += signs;
		q->away += far;
		if (far && q->asked)
			flush(q);
		next = queue_calls(q);
		pthread_mutex_unlock(&q->lock);
		queue_wake(next);
		asks = !job_do(q, j);
		pthread_mutex_lock(&q->lock);
		q->signing -= signs;
		q->away -= far;
		q->asked = q->asked || asks;
		if (asks && enough(q))
			flush(q);
	}
	pthread_mutex_unlock(&q->lock);
	return NULL;
}

enum err queue_start(struct queue *q, unsigned workers)
{
	enum err e = ERR_OK;

	pthread_mutex_init(&q->lock, NULL);
	q->worker = calloc(workers, sizeof *q->worker);
	q->scratch = calloc(1, sizeof *q->scratch);
	if (q->worker == NULL || q->scratch == NULL)
		return ERR_NOMEM;
	pthread_mutex_lock(&q->lock);
	for (; e == ERR_OK && q->workers < workers; q->workers += e == ERR_OK) {
		struct worker *w = &q->worker[q->workers];

		w->queue = q;
		pthread_cond_init(&w->called, NULL);
		if (pthread_create(&w->thread, NULL, work, w) != 0)
			e = ERR_SYSTEM;
	}
	pthread_mutex_unlock(&q->lock);
	return e;
}
