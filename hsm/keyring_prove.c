#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "credential.h"
#include "keyring_pass.h"
#include "log.h"

#define INDEX_FROM    4	   /* so many keys are looked up in an index */
#define LOOK_MS	      50   /* between two looks at the provers */
#define FIRST	      1	   /* each takes as long as all at once */
#define TRIM_FROM     256  /* so many proofs leave memory that nobody needs soon */
#define HUNG_MS	      2500 /* until a self-test that hung is tried again, doubled each time ... */
#define HUNG_MOST     5	   /* ... so often */
#define FIND_SHARE    100  /* looking for absent keys takes one part of so many of the time ... */
#define FIND_LEAST_MS 5000
#define FIND_MOST_MS  30000 /* ... or more, when that is long */
#define MANY_KEYS     256   /* a token of so many takes long to look through: ... */
#define MANY_SHARE    1000
#define MANY_MOST_MS  300000

static _Atomic unsigned hung;

unsigned keyring_hung(void)
{
	return hung;
}

static void pass_unref(struct pass *p)
{
	if (atomic_fetch_sub(&p->users, 1) > 1)
		return;
	token_index_free(p->index);
	keyring_unref(p->ring);
	free(p->key);
	pthread_cond_destroy(&p->ended);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

void pass_trouble(struct pass *p, enum err e, bool stop)
{
	pthread_mutex_lock(&p->lock);
	if (p->err == ERR_OK)
		p->err = e;
	p->stop = p->stop || stop;
	pthread_mutex_unlock(&p->lock);
}

void prover_calls(struct prover *me, struct ring_key *k)
{
	pthread_mutex_lock(&me->pass->lock);
	me->key = k;
	me->since = k != NULL ? monotonic_ms() : 0;
	pthread_mutex_unlock(&me->pass->lock);
}

bool pass_owns(struct pass *p, const struct ring_key *k)
{
	bool yes;

	pthread_mutex_lock(&p->ring->lock);
	yes = k->claim == p->number;
	pthread_mutex_unlock(&p->ring->lock);
	return yes;
}

bool pass_stopped(struct pass *p)
{
	bool stop;

	pthread_mutex_lock(&p->lock);
	stop = p->stop || p->abandoned;
	pthread_mutex_unlock(&p->lock);
	return stop || token_lost(p->token);
}

static int by_wanted(const void *a, const void *b)
{
	const struct ring_key *x = *(struct ring_key *const *)a, *y = *(struct ring_key *const *)b;

	if (x->hung != y->hung) /* nobody else waits behind it */
		return x->hung < y->hung ? -1 : 1;
	if (x->wanted != y->wanted)
		return x->wanted < y->wanted ? 1 : -1;
	return (x > y) - (x < y);
}

size_t pass_take(struct pass *p, struct ring_key **keys, size_t most)
{
	size_t n = 0;

	pthread_mutex_lock(&p->ring->lock);
	if (p->ring->asked) {
		p->ring->asked = false;
		qsort(p->key + p->next, p->count - p->next, sizeof *p->key, by_wanted);
	}
	while (n < most && p->next < p->count && (n == 0 || p->key[p->next]->hung == 0))
		keys[n++] = p->key[p->next++];
	pthread_mutex_unlock(&p->ring->lock);
	return n;
}

const struct token_index *pass_index(struct pass *p)
{
	pthread_mutex_lock(&p->lock);
	while (p->indexing && !p->abandoned)
		pthread_cond_wait(&p->ended, &p->lock);
	pthread_mutex_unlock(&p->lock);
	return p->index;
}

void pass_leave(struct prover *me)
{
	struct pass *p = me->pass;

	pthread_mutex_lock(&p->lock);
	me->active = false;
	if (p->abandoned) {
		p->ring->came_back = true;
		hung--;
	}
	pthread_cond_broadcast(&p->ended);
	pthread_mutex_unlock(&p->lock);
	pass_unref(p);
}

/* A key whose self-tests hang takes a session with each: the others are to keep theirs. */
static bool any_served(struct keyring *ring, int64_t now)
{
	bool any = false;

	pthread_mutex_lock(&ring->lock);
	for (size_t i = 0; !any && i < ring->count; i++)
		any = ring_issuing(&ring->key[i], now) != NULL;
	pthread_mutex_unlock(&ring->lock);
	return any;
}

/* Those that need a look, in the order of their last use. */
static void gather(struct pass *p)
{
	struct keyring *ring = p->ring;
	bool wait = !atomic_exchange(&ring->came_back, false) && any_served(ring, p->now);

	p->absent = monotonic_ms() >= ring->find_again;
	for (size_t i = 0; i < ring->count; i++) {
		struct ring_key *k = &ring->key[i];
		struct refusal why = {.err = ERR_CERT_MALFORMED};

		if (wait && k->hung > 0 && monotonic_ms() < k->hung_until)
			continue;
		if (k->found && next_to_prove(ring, k, p->now, &why) == NULL)
			key_settle(ring, k, p->now, &why);
		else if (k->found || p->absent || k->state == NULL || err_passes(k->state->err))
			p->key[p->count++] = k;
		else
			continue;
		pthread_mutex_lock(&ring->lock);
		k->claim = p->number;
		k->test[0] = '\0';
		pthread_mutex_unlock(&ring->lock);
	}
	qsort(p->key, p->count, sizeof *p->key, by_wanted);
}

/* Those that were settled without the token. */
static enum err tell_all(struct pass *p)
{
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < p->ring->count; i++) {
		struct ring_key *k = &p->ring->key[i];

		if (k->found)
			e = key_tell(p->ring, k, p->ledger, p->now);
	}
	return e;
}

/* What does not come back is written down as UNKNOWN and left to another pass. */
static void abandon(struct pass *p, unsigned threads)
{
	struct keyring *ring = p->ring;
	struct attempt test = {.number = 0};
	struct refusal why;

	refuse(&why, ERR_TOKEN, "token", "a call of the token for this key does not come back");
	LOG(LOG_LEVEL_ERROR, "self-tests do not come back from the token", LN("threads", threads));
	p->abandoned = true;
	hung += threads;
	pthread_mutex_lock(&ring->lock);
	for (size_t i = 0; i < p->next; i++) {
		struct ring_key *k = p->key[i];

		if (k->claim != p->number || k->test[0] == '\0')
			continue;
		memcpy(test.id, k->test, sizeof test.id);
		evidence_abandoned(p->ledger, &test);
	}
	for (unsigned i = 0; i < p->threads; i++) {
		struct ring_key *k = p->prover[i].key;

		if (!p->prover[i].active || k == NULL || k->claim != p->number)
			continue;
		k->hung += k->hung < HUNG_MOST;
		k->hung_until = monotonic_ms() + (HUNG_MS << k->hung);
		ring_refuse(&k->state, &why);
	}
	for (size_t i = 0; i < p->count; i++)
		p->key[i]->claim = 0;
	pthread_mutex_unlock(&ring->lock);
}

/* How many are at work; *calls: all of them are in calls of the token that began before `before`.
 * The ledger may take as long as it takes. */
static unsigned provers_active(const struct pass *p, int64_t before, bool *calls)
{
	unsigned n = 0;

	*calls = true;
	for (unsigned i = 0; i < p->threads; i++) {
		const struct prover *one = &p->prover[i];

		if (!one->active)
			continue;
		n++;
		*calls = *calls && one->since != 0 && one->since < before;
	}
	return n;
}

/* Until all provers have ended, or no call of the token comes back for `limit`. */
static void wait_for_provers(struct pass *p, int64_t limit)
{
	unsigned active;
	bool calls;

	pthread_mutex_lock(&p->lock);
	while ((active = provers_active(p, monotonic_ms() - limit, &calls)) > 0) {
		int64_t look = monotonic_ms() + LOOK_MS;
		struct timespec at = {look / 1000, look % 1000 * 1000000};

		if (calls) {
			abandon(p, active);
			break;
		}
		pthread_cond_timedwait(&p->ended, &p->lock, &at);
	}
	pthread_mutex_unlock(&p->lock);
}

static void provers_start(struct pass *p, unsigned threads)
{
	for (unsigned i = 0; i < threads && i < PROVERS_MOST && 2 * i < p->count; i++) {
		struct prover *one = &p->prover[p->threads];

		pthread_mutex_lock(&p->lock);
		*one = (struct prover){.pass = p, .active = true};
		p->users++;
		if (pthread_create(&one->thread, NULL, prover, one) == 0) {
			p->threads++;
		} else {
			p->users--;
			p->err = ERR_NOMEM;
		}
		pthread_mutex_unlock(&p->lock);
	}
}

static void provers_end(struct pass *p)
{
	for (unsigned i = 0; i < p->threads; i++)
		if (p->abandoned)
			pthread_detach(p->prover[i].thread);
		else
			pthread_join(p->prover[i].thread, NULL);
}

static struct pass *pass_new(struct keyring *ring, struct token *token, struct append *ledger)
{
	struct pass *p = calloc(1, sizeof *p);
	pthread_condattr_t monotonic;

	if (p == NULL)
		return NULL;
	p->users = 1;
	p->ring = keyring_ref(ring);
	p->token = token;
	p->ledger = ledger;
	p->number = ++ring->pass;
	p->begun = monotonic_ms();
	pthread_mutex_init(&p->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&p->ended, &monotonic);
	pthread_condattr_destroy(&monotonic);
	p->key = calloc(ring->count + 1, sizeof(struct ring_key *));
	if (p->key != NULL)
		return p;
	pass_unref(p);
	return NULL;
}

/* Until absent keys are looked for again; the caller's own rhythm does for a quick token. */
static int64_t find_pause(const struct keyring *ring, int64_t cost)
{
	bool many = ring->count >= MANY_KEYS;
	int64_t pause = cost * (many ? MANY_SHARE : FIND_SHARE);
	int64_t most = many ? MANY_MOST_MS : FIND_MOST_MS;

	return pause < FIND_LEAST_MS ? 0 : pause < most ? pause : most;
}

/* Many keys are looked up in an index, which takes long to make: a few, those that were asked for
 * last, are found without it and proved meanwhile. */
static enum err index_make(struct pass *p, unsigned threads)
{
	struct token_index *index = NULL;
	struct refusal why = {.err = ERR_OK};
	enum err e;

	for (size_t i = 0; i < p->count && i < FIRST; i++)
		if (!p->key[i]->found)
			(void)key_look(p, p->key[i], &why);
	p->indexing = true;
	provers_start(p, threads);
	e = token_index_make(p->token, &index, NULL);
	pthread_mutex_lock(&p->lock);
	p->index = index;
	p->indexing = false;
	pthread_cond_broadcast(&p->ended);
	pthread_mutex_unlock(&p->lock);
	return e;
}

enum err keyring_prove(struct keyring *ring, struct token *token, struct append *ledger,
	unsigned threads, int64_t limit_ms)
{
	struct pass *p = pass_new(ring, token, ledger);
	size_t absent = 0;
	int64_t find_ms = 0;
	enum err e = p == NULL ? ERR_NOMEM : clock_now(&p->now, NULL);

	ring_read_end(ring);
	if (e == ERR_OK) {
		gather(p);
		e = tell_all(p);
	}
	for (size_t i = 0; e == ERR_OK && i < p->count; i++)
		absent += !p->key[i]->found;
	if (e == ERR_OK && absent > INDEX_FROM) {
		enum err made = index_make(p, threads);

		if (made != ERR_OK)
			pass_trouble(p, made, true);
	} else if (e == ERR_OK) {
		provers_start(p, threads);
	}
	if (p != NULL)
		find_ms = monotonic_ms() - p->begun;
	if (e == ERR_OK) {
		wait_for_provers(p, limit_ms);
		provers_end(p);
		pthread_mutex_lock(&p->lock);
		e = p->abandoned ? ERR_TIMEOUT : p->err;
		pthread_mutex_unlock(&p->lock);
		if (p->index == NULL)
			find_ms = monotonic_ms() - p->begun;
		if (p->absent) /* else nothing is learned of what it costs */
			ring->find_again = monotonic_ms() + find_pause(ring, find_ms);
		if (p->count > TRIM_FROM)
			malloc_trim(0);
	}
	if (p != NULL)
		pass_unref(p);
	return e;
}
