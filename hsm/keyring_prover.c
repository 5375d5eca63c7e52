#include <stdlib.h>
#include <string.h>

#include "credential.h"
#include "keyring_pass.h"

#define BATCH	      32    /* keys that a prover takes at a time */
#define SESSION_MS    10000 /* wait for a session */
#define AGAIN_MS      5000  /* after a bad signature, doubled each time ... */
#define AGAIN_MOST_MS 600000

struct tests {
	struct prover *me;
	struct pass *pass;
	struct buf spki; /* of the delegated credentials */
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
		pass_trouble(p, s->answers.item[i].refusal.err, false);
		self_test_free(&s->test[i]);
	}
	append_answers_free(&s->answers);
	if (e == ERR_OK)
		s->count = n;
	else
		pass_trouble(p, e, true);
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
		prover_calls(s->me, t->key);
		self_test_sign(t, session);
		prover_calls(s->me, NULL);
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

	t->key->hung = 0;
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
		if (!pass_owns(p, s->test[i].key)) { /* was given up: UNKNOWN stands there */
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
			key_log_refused(t->key, &t->unfit);
			if (t->unfit.err != ERR_KEY_UNPROVED)
				pass_trouble(p, ERR_TOKEN, false);
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
	enum err e = ERR_OK;

	if (!k->found) {
		prover_calls(s->me, k);
		e = key_look(p, k, &why);
		prover_calls(s->me, NULL);
	}
	if (!pass_owns(p, k))
		return false;
	if (e == ERR_OK)
		c = next_to_prove(p->ring, k, p->now, &why);
	else if (err_passes(e))
		pass_trouble(p, e, false);
	if (c == NULL) {
		key_settle(p->ring, k, p->now, &why);
		e = key_tell(p->ring, k, p->ledger, p->now);
		if (e != ERR_OK)
			pass_trouble(p, e, true);
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
	e = self_test_build(t, &s->spki);
	if (e == ERR_OK)
		s->count++;
	else
		self_test_free(t);
	if (e != ERR_OK)
		pass_trouble(p, e, true);
	return e == ERR_OK;
}

/* All of some keys, one certificate of each after the other. */
static void prove_some(struct tests *s, struct ring_key **keys, size_t count)
{
	while (count > 0 && !pass_stopped(s->pass)) {
		size_t left = 0;

		s->count = 0;
		for (size_t i = 0; i < count && !pass_stopped(s->pass); i++)
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

void *prover(void *arg)
{
	struct prover *me = arg;
	struct pass *p = me->pass;
	struct tests *s = calloc(1, sizeof *s);
	struct ring_key *keys[BATCH];
	size_t n, most = 1;

	if (s != NULL) {
		s->me = me;
		s->pass = p;
		s->spki = (struct buf)BUF_INIT(SPKI_MAX);
		if (self_test_spki(&s->spki) != ERR_OK)
			pass_trouble(p, ERR_CRYPTO, true);
	}
	while (s != NULL && !pass_stopped(p) && (n = pass_take(p, keys, most)) > 0) {
		prove_some(s, keys, n);
		most = 2 * most < BATCH ? 2 * most : BATCH;
	}
	if (s != NULL)
		buf_free(&s->spki);
	free(s);
	pass_leave(me);
	return NULL;
}
