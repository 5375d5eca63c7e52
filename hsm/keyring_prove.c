#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "credential.h"
#include "keyring_private.h"
#include "log.h"

#define PROVERS_MOST  16
#define BATCH	      32    /* keys that a prover takes at a time */
#define SESSION_MS    10000 /* wait for a session */
#define CHAIN_SECONDS 60    /* between two looks at a certificate's chain */
#define INDEX_FROM    4	    /* so many keys are looked up in an index */
#define AGAIN_MS      5000  /* after a bad signature, doubled each time ... */
#define AGAIN_MOST_MS 600000
#define FIND_SHARE    100 /* looking for absent keys takes one part of so many of the time ... */
#define FIND_LEAST_MS 5000
#define FIND_MOST_MS  30000 /* ... or more, when that is long */

/* One look at all keys, shared by the provers: threads that take keys from the list in batches. */
struct pass {
	_Atomic unsigned users;
	struct keyring *ring;
	struct token *token;
	struct append *ledger;
	struct token_index *index; /* NULL: none */
	uint64_t number;
	int64_t now, begun; /* begun: monotonic_ms */
	struct ring_key **key;
	size_t count, next;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t moved;
	unsigned active, steps, threads;
	pthread_t thread[PROVERS_MOST];
	enum err err; /* the first that stops the pass, or asks for another soon */
	bool stop, abandoned;
};

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
	pthread_cond_destroy(&p->moved);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static void trouble(struct pass *p, enum err e, bool stop)
{
	pthread_mutex_lock(&p->lock);
	if (p->err == ERR_OK)
		p->err = e;
	p->stop = p->stop || stop;
	pthread_mutex_unlock(&p->lock);
}

/* Something came back from token or ledger. */
static void moved(struct pass *p)
{
	pthread_mutex_lock(&p->lock);
	p->steps++;
	pthread_cond_signal(&p->moved);
	pthread_mutex_unlock(&p->lock);
}

static void log_refused(const struct ring_key *k, const struct refusal *why)
{
	LOG(LOG_LEVEL_WARNING, "key is refused", LS("key", k->config->name),
		LS("reason", err_name(why->err)), LS("detail", why->detail));
}

/* Is the key still this pass's? Else it took too long and somebody else looks at it. */
static bool ours(struct pass *p, const struct ring_key *k)
{
	bool yes;

	pthread_mutex_lock(&p->ring->lock);
	yes = k->claim == p->number;
	pthread_mutex_unlock(&p->ring->lock);
	return yes;
}

/* ---- what needs a look ---- */

/* An error of token or ledger, not of the key: it may be another the next time. */
static bool passes(enum err e)
{
	return e == ERR_TOKEN || e == ERR_TIMEOUT || e == ERR_NOMEM;
}

static bool chain_holds(
	struct ring_key *k, struct ring_certificate *c, int64_t now, struct refusal *why)
{
	const struct config_file *ca = &k->config->issuer_ca;
	struct certificate chain[CERT_CHAIN_MAX];
	size_t count;
	enum err e;

	if (ca->octets == NULL || (c->chain_looked != 0 && now - c->chain_looked < CHAIN_SECONDS))
		return true;
	e = certificate_read_pem(chain, CERT_CHAIN_MAX, &count, c->file->octets, c->file->len);
	if (e != ERR_OK) {
		refuse(why, e, "certificate", "%s", "");
		return false;
	}
	e = certificate_chain_verify(chain, count, ca->octets, ca->len, now, why);
	while (count > 0)
		certificate_free(&chain[--count]);
	c->chain_looked = e == ERR_OK ? now : 0;
	return e == ERR_OK;
}

/* A certificate that can be proved now: valid, and since more than a moment, so that the self-test
 * DC has expired. *why: of the last one that can't. */
static bool to_prove(struct keyring *ring, struct ring_key *k, struct ring_certificate *c,
	int64_t now, struct refusal *why)
{
	enum err e = certificate_valid_at(&c->leaf, now);

	if (c->proof == PROOF_BAD && (c->again == 0 || monotonic_ms() < c->again)) {
		*why = *c->unfit;
		return false;
	}
	if (e != ERR_OK || now <= c->leaf.not_before) {
		refuse(why, e != ERR_OK ? e : ERR_CERT_NOT_YET, "certificate", "%s", "");
		return false;
	}
	if (!chain_holds(k, c, now, why)) {
		pthread_mutex_lock(&ring->lock);
		c->proof = PROOF_UNTRIED;
		pthread_mutex_unlock(&ring->lock);
		return false;
	}
	return c->proof != PROOF_GOOD;
}

static struct ring_certificate *next_to_prove(
	struct keyring *ring, struct ring_key *k, int64_t now, struct refusal *why)
{
	for (size_t i = 0; i < k->certificate_count; i++)
		if (to_prove(ring, k, &k->certificate[i], now, why))
			return &k->certificate[i];
	return NULL;
}

/* ---- what becomes of a key ---- */

static enum err append_one(struct append *ledger, const struct record *r)
{
	struct buf octets = BUF_INIT(RECORD_MAX);
	struct append_answers *answers = calloc(1, sizeof *answers);
	enum err e = answers == NULL ? ERR_NOMEM : record_encode(&octets, r);

	if (e == ERR_OK) {
		struct append_item item = {.record = octets_of(octets.octets, octets.len)};

		e = append_records(ledger, &item, 1, answers, NULL);
	}
	if (e == ERR_OK)
		e = answers->item[0].refusal.err;
	if (answers != NULL)
		append_answers_free(answers);
	free(answers);
	buf_free(&octets);
	return e;
}

/* Log and ledger hear of each change once. */
static enum err key_tell(
	struct keyring *ring, struct ring_key *k, struct append *ledger, int64_t now)
{
	const struct refusal *why = k->state;
	enum err e = why == NULL ? ERR_OK : why->err;
	struct record r;

	if (k->told == e)
		return ERR_OK;
	if (why == NULL) {
		LOG(LOG_LEVEL_INFO, "key is served", LS("key", k->config->name),
			LS("weak", k->weak == NULL ? "" : k->weak));
		k->told = ERR_OK;
		return ERR_OK;
	}
	log_refused(k, why);
	record_init(&r, RECORD_KEY_REFUSED);
	r.time = now;
	r.key = octets_text(k->config->name);
	r.reason = octets_text(err_name(why->err));
	r.field = octets_text(why->field);
	r.detail = octets_text(why->detail);
	r.weak = octets_text(k->weak);
	r.generation = octets_of(ring->config->generation, SHA256_SIZE);
	e = append_one(ledger, &r);
	if (e == ERR_OK)
		k->told = why->err;
	return e;
}

/* Nothing more is to be proved of this key: it is served, or refused for *why. */
static void key_settle(
	struct keyring *ring, struct ring_key *k, int64_t now, const struct refusal *why)
{
	pthread_mutex_lock(&ring->lock);
	ring_refuse(&k->state, ring_issuing(k, now) != NULL ? NULL : why);
	pthread_mutex_unlock(&ring->lock);
}

/* Finds the key on the token and reads its attributes. */
static enum err key_look(struct pass *p, struct ring_key *k, struct refusal *why)
{
	struct token_key_rules rules = {.accept = k->config->accept_weak_key,
		.accept_count = k->config->accept_weak_key_count};
	struct token_key found = {0};
	char weak[160] = "";
	enum err e = token_key_find_in(p->token, p->index, k->config->uri, &found, why);

	if (e == ERR_OK)
		e = token_key_check(p->token, &found, &rules, weak, sizeof weak, why);
	if (!ours(p, k))
		return ERR_TIMEOUT;
	pthread_mutex_lock(&p->ring->lock);
	k->found = e == ERR_OK;
	k->key = found;
	free(k->weak);
	k->weak = weak[0] == '\0' ? NULL : strdup(weak);
	pthread_mutex_unlock(&p->ring->lock);
	return e;
}

/* ---- a prover ---- */

struct tests {
	struct pass *pass;
	size_t count;
	struct self_test test[BATCH];
	struct append_item item[BATCH];
	struct append_answers answers;
};

/* The record of each test, made durable; what is refused drops its test. */
static bool submit_tests(struct tests *s, enum err (*record)(struct self_test *))
{
	struct pass *p = s->pass;
	size_t n = 0;
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < s->count; i++) {
		e = record(&s->test[i]);
		s->item[i] = (struct append_item){
			.record = octets_of(s->test[i].record.octets, s->test[i].record.len)};
	}
	if (e == ERR_OK && s->count > 0)
		e = append_records(p->ledger, s->item, s->count, &s->answers, NULL);
	for (size_t i = 0; e == ERR_OK && i < s->count; i++) {
		if (s->answers.item[i].refusal.err == ERR_OK) {
			s->test[n++] = s->test[i];
			continue;
		}
		trouble(p, s->answers.item[i].refusal.err, false);
		self_test_free(&s->test[i]);
	}
	append_answers_free(&s->answers);
	if (e == ERR_OK)
		s->count = n;
	else
		trouble(p, e, true);
	moved(p);
	return e == ERR_OK;
}

/* While it is announced and not concluded; "" ends that. */
static void announced(struct tests *s, bool begins)
{
	pthread_mutex_lock(&s->pass->ring->lock);
	for (size_t i = 0; i < s->count; i++) {
		struct self_test *t = &s->test[i];

		if (t->key->claim == s->pass->number)
			memcpy(t->key->test, begins ? t->id : (char[ID_SIZE]){0}, ID_SIZE);
	}
	pthread_mutex_unlock(&s->pass->ring->lock);
}

static void sign_tests(struct tests *s)
{
	struct token_session *session = NULL;

	for (size_t i = 0; i < s->count; i++) {
		struct self_test *t = &s->test[i];

		if (session == NULL)
			(void)token_session_take(
				s->pass->token, monotonic_ms() + SESSION_MS, &session, &t->unfit);
		self_test_sign(t, session);
		moved(s->pass);
		if (session != NULL && t->result != SIGN_GOOD) {
			token_session_give(session);
			session = NULL;
		}
	}
	if (session != NULL)
		token_session_give(session);
}

/* With the lock held. */
static void proof_set(struct self_test *t)
{
	struct ring_certificate *c = t->certificate;
	int64_t wait = AGAIN_MS;

	if (t->result == SIGN_GOOD) {
		c->proof = PROOF_GOOD;
		c->bad = 0;
		ring_refuse(&c->unfit, NULL);
		return;
	}
	ring_refuse(&c->unfit, &t->unfit);
	if (t->unfit.err == ERR_KEY_UNPROVED) {
		for (unsigned i = 0; i < c->bad && wait < AGAIN_MOST_MS; i++)
			wait *= 2;
		c->bad++;
		c->proof = PROOF_BAD;
		c->again = monotonic_ms() + wait;
		t->key->told = t->unfit.err;
	}
}

/* SELF-TESTs durable, signatures, outcomes durable. */
static void run_tests(struct tests *s)
{
	struct pass *p = s->pass;

	if (!submit_tests(s, self_test_announce))
		return;
	announced(s, true);
	sign_tests(s);
	for (size_t i = 0; i < s->count; i++)
		if (!ours(p, s->test[i].key)) { /* was given up: UNKNOWN stands there */
			self_test_free(&s->test[i]);
			s->test[i--] = s->test[--s->count];
		}
	announced(s, false);
	if (!submit_tests(s, self_test_conclude))
		return;
	for (size_t i = 0; i < s->count; i++) {
		struct self_test *t = &s->test[i];

		pthread_mutex_lock(&p->ring->lock);
		if (t->key->claim == p->number)
			proof_set(t);
		pthread_mutex_unlock(&p->ring->lock);
		if (t->result != SIGN_GOOD) {
			log_refused(t->key, &t->unfit);
			if (t->unfit.err != ERR_KEY_UNPROVED)
				trouble(p, ERR_TOKEN, false);
		}
	}
}

/* Looks at a key; a test is added when there is a certificate to be proved, else it is settled. */
static bool begin_test(struct tests *s, struct ring_key *k)
{
	struct pass *p = s->pass;
	struct refusal why = {.err = ERR_CERT_MALFORMED};
	struct ring_certificate *c = NULL;
	struct self_test *t = &s->test[s->count];
	enum err e = k->found ? ERR_OK : key_look(p, k, &why);

	moved(p);
	if (!ours(p, k))
		return false;
	if (e == ERR_OK)
		c = next_to_prove(p->ring, k, p->now, &why);
	else if (passes(e))
		trouble(p, e, false);
	if (c == NULL) {
		key_settle(p->ring, k, p->now, &why);
		e = key_tell(p->ring, k, p->ledger, p->now);
		if (e != ERR_OK)
			trouble(p, e, true);
		return false;
	}
	*t = (struct self_test){.ring = p->ring,
		.key = k,
		.certificate = c,
		.found = k->key,
		.weak = k->weak,
		.now = p->now,
		.spki = BUF_INIT(SPKI_MAX),
		.tbs = BUF_INIT(DC_TBS_MAX),
		.dc = BUF_INIT(DC_MAX),
		.record = BUF_INIT(RECORD_MAX)};
	e = self_test_build(t);
	if (e == ERR_OK)
		s->count++;
	else
		self_test_free(t);
	if (e != ERR_OK)
		trouble(p, e, true);
	return e == ERR_OK;
}

static bool stopped(struct pass *p)
{
	bool stop;

	pthread_mutex_lock(&p->lock);
	stop = p->stop || p->abandoned;
	pthread_mutex_unlock(&p->lock);
	return stop || token_lost(p->token);
}

/* All of some keys, one certificate of each after the other. */
static void prove_some(struct tests *s, struct ring_key **keys, size_t count)
{
	while (count > 0 && !stopped(s->pass)) {
		size_t left = 0;

		s->count = 0;
		for (size_t i = 0; i < count && !stopped(s->pass); i++)
			if (begin_test(s, keys[i]))
				keys[left++] = keys[i];
		run_tests(s);
		for (size_t i = 0; i < s->count; i++) {
			struct self_test *t = &s->test[i];

			if (t->result != SIGN_GOOD && t->unfit.err != ERR_KEY_UNPROVED)
				for (size_t j = 0; j < left; j++) /* not again in this pass */
					if (keys[j] == t->key) {
						key_settle(s->pass->ring, t->key, s->pass->now,
							&t->unfit);
						keys[j--] = keys[--left];
					}
			self_test_free(t);
		}
		count = left;
	}
}

static int by_wanted(const void *a, const void *b)
{
	const struct ring_key *x = *(struct ring_key *const *)a, *y = *(struct ring_key *const *)b;

	if (x->wanted != y->wanted)
		return x->wanted < y->wanted ? 1 : -1;
	return (x > y) - (x < y);
}

/* The next keys: those that were asked for since the pass began before all others. */
static size_t take_some(struct pass *p, struct ring_key **keys, size_t most)
{
	size_t n = 0;

	pthread_mutex_lock(&p->ring->lock);
	if (p->ring->asked) {
		p->ring->asked = false;
		qsort(p->key + p->next, p->count - p->next, sizeof *p->key, by_wanted);
	}
	while (n < most && p->next < p->count)
		keys[n++] = p->key[p->next++];
	pthread_mutex_unlock(&p->ring->lock);
	return n;
}

static void *prover(void *arg)
{
	struct pass *p = arg;
	struct tests *s = calloc(1, sizeof *s);
	struct ring_key *keys[BATCH];
	size_t n, most = 2;

	if (s != NULL)
		s->pass = p;
	while (s != NULL && !stopped(p) && (n = take_some(p, keys, most)) > 0) {
		prove_some(s, keys, n);
		most = 2 * most < BATCH ? 2 * most : BATCH;
	}
	free(s);
	pthread_mutex_lock(&p->lock);
	p->active--;
	if (p->abandoned)
		hung--;
	pthread_cond_signal(&p->moved);
	pthread_mutex_unlock(&p->lock);
	pass_unref(p);
	return NULL;
}

/* ---- the pass ---- */

/* Those that need a look, in the order of their last use. */
static void gather(struct pass *p)
{
	struct keyring *ring = p->ring;
	bool absent = monotonic_ms() >= ring->find_again;

	for (size_t i = 0; i < ring->count; i++) {
		struct ring_key *k = &ring->key[i];
		struct refusal why = {.err = ERR_CERT_MALFORMED};

		if (k->found && next_to_prove(ring, k, p->now, &why) == NULL)
			key_settle(ring, k, p->now, &why);
		else if (k->found || absent || k->state == NULL || passes(k->state->err))
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
static void abandon(struct pass *p)
{
	struct keyring *ring = p->ring;
	struct attempt test = {.number = 0};

	LOG(LOG_LEVEL_ERROR, "self-tests do not come back from the token",
		LN("threads", p->active));
	p->abandoned = true;
	hung += p->active;
	pthread_mutex_lock(&ring->lock);
	for (size_t i = 0; i < p->next; i++) {
		struct ring_key *k = p->key[i];

		if (k->claim != p->number || k->test[0] == '\0')
			continue;
		memcpy(test.id, k->test, sizeof test.id);
		evidence_abandoned(p->ledger, &test);
	}
	for (size_t i = 0; i < p->count; i++)
		p->key[i]->claim = 0;
	pthread_mutex_unlock(&ring->lock);
}

/* Until all provers have ended, or nothing moves for `limit`. */
static void wait_for_provers(struct pass *p, int64_t limit)
{
	unsigned steps = 0;
	int64_t until = monotonic_ms() + limit;

	pthread_mutex_lock(&p->lock);
	while (p->active > 0 && !p->abandoned) {
		struct timespec at = {until / 1000, until % 1000 * 1000000};

		if (pthread_cond_timedwait(&p->moved, &p->lock, &at) != 0 && steps == p->steps)
			abandon(p);
		if (steps != p->steps) {
			steps = p->steps;
			until = monotonic_ms() + limit;
		}
	}
	pthread_mutex_unlock(&p->lock);
}

static void provers_start(struct pass *p, unsigned threads)
{
	for (unsigned i = 0; i < threads && i < PROVERS_MOST && 2 * i < p->count; i++) {
		pthread_mutex_lock(&p->lock);
		p->users++;
		p->active++;
		if (pthread_create(&p->thread[p->threads], NULL, prover, p) == 0) {
			p->threads++;
		} else {
			p->users--;
			p->active--;
			p->err = ERR_NOMEM;
		}
		pthread_mutex_unlock(&p->lock);
	}
}

static void provers_end(struct pass *p)
{
	for (unsigned i = 0; i < p->threads; i++)
		if (p->abandoned)
			pthread_detach(p->thread[i]);
		else
			pthread_join(p->thread[i], NULL);
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
	pthread_cond_init(&p->moved, &monotonic);
	pthread_condattr_destroy(&monotonic);
	p->key = calloc(ring->count + 1, sizeof(struct ring_key *));
	if (p->key != NULL)
		return p;
	pass_unref(p);
	return NULL;
}

/* Until absent keys are looked for again; the caller's own rhythm does for a quick token. */
static int64_t find_pause(int64_t cost)
{
	int64_t pause = cost * FIND_SHARE;

	return pause < FIND_LEAST_MS ? 0 : pause < FIND_MOST_MS ? pause : FIND_MOST_MS;
}

enum err keyring_prove(struct keyring *ring, struct token *token, struct append *ledger,
	unsigned threads, int64_t limit_ms)
{
	struct pass *p = pass_new(ring, token, ledger);
	size_t absent = 0;
	int64_t find_ms = 0;
	enum err e = p == NULL ? ERR_NOMEM : clock_now(&p->now, NULL);

	if (e == ERR_OK) {
		gather(p);
		e = tell_all(p);
	}
	for (size_t i = 0; e == ERR_OK && i < p->count; i++)
		absent += !p->key[i]->found;
	if (absent > INDEX_FROM)
		e = token_index_make(token, &p->index, NULL);
	if (p != NULL)
		find_ms = monotonic_ms() - p->begun;
	if (e == ERR_OK) {
		provers_start(p, threads);
		wait_for_provers(p, limit_ms);
		provers_end(p);
		pthread_mutex_lock(&p->lock);
		e = p->abandoned ? ERR_TIMEOUT : p->err;
		pthread_mutex_unlock(&p->lock);
		if (p->index == NULL)
			find_ms = monotonic_ms() - p->begun;
		ring->find_again = monotonic_ms() + find_pause(find_ms);
	}
	if (p != NULL)
		pass_unref(p);
	return e;
}
