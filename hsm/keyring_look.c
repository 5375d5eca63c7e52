#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "keyring_pass.h"
#include "log.h"

#define TOLD_AT_ONCE  32 /* keys in one message to the ledger */
#define CHAIN_SECONDS 60 /* between two looks at a certificate's chain */

void key_log_refused(const struct ring_key *k, const struct refusal *why)
{
	LOG(LOG_LEVEL_WARNING, "key is refused", LS("key", k->config->name),
		LS("reason", err_name(why->err)), LS("detail", why->detail));
}

bool err_passes(enum err e)
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
	enum err e;

	(void)ring_certificate_read(ring, k, c);
	if (c->proof == PROOF_BAD && (c->again == 0 || monotonic_ms() < c->again)) {
		*why = *c->unfit;
		return false;
	}
	e = certificate_valid_at(&c->leaf, now);
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

struct ring_certificate *next_to_prove(
	struct keyring *ring, struct ring_key *k, int64_t now, struct refusal *why)
{
	for (size_t i = 0; i < k->certificate_count; i++)
		if (to_prove(ring, k, &k->certificate[i], now, why))
			return &k->certificate[i];
	return NULL;
}

static enum err record_refused(
	struct buf *out, const struct keyring *ring, const struct ring_key *k, int64_t now)
{
	const struct refusal *why = k->state;
	struct record r;

	record_init(&r, RECORD_KEY_REFUSED);
	r.time = now;
	r.key = octets_text(k->config->name);
	r.reason = octets_text(err_name(why->err));
	r.field = octets_text(why->field);
	r.detail = octets_text(why->detail);
	r.weak = octets_text(k->weak);
	r.generation = octets_of(ring->config->generation, SHA256_SIZE);
	return record_encode(out, &r);
}

/* The records of so many keys; log and ledger know of them then. */
static enum err append_refused(
	struct append *ledger, struct ring_key **keys, const struct buf *records, size_t count)
{
	struct append_item items[TOLD_AT_ONCE] = {{.max_live_key = 0}};
	struct append_answers *answers = calloc(1, sizeof *answers);
	enum err e = ERR_NOMEM;

	if (answers == NULL)
		return e;
	for (size_t i = 0; i < count; i++) {
		key_log_refused(keys[i], keys[i]->state);
		items[i] = (struct append_item){
			.record = octets_of(records[i].octets, records[i].len)};
	}
	e = append_records(ledger, items, count, answers, NULL);
	for (size_t i = 0; e == ERR_OK && i < count; i++) {
		e = answers->item[i].refusal.err;
		if (e == ERR_OK)
			keys[i]->told = keys[i]->state->err;
	}
	append_answers_free(answers);
	free(answers);
	return e;
}

static bool issues(struct keyring *ring, struct ring_key *k, int64_t now)
{
	bool yes;

	pthread_mutex_lock(&ring->lock);
	yes = ring_issuing(k, now) != NULL;
	pthread_mutex_unlock(&ring->lock);
	return yes;
}

enum err key_tell(struct keyring *ring, struct ring_key *k, struct append *ledger, int64_t now)
{
	const struct refusal *why = k->state;
	enum err e = why == NULL ? ERR_OK : why->err;
	struct buf octets = BUF_INIT(RECORD_MAX);

	if (k->told == e)
		return ERR_OK;
	if (why == NULL) {
		if (!issues(ring, k, now)) /* still to be proved */
			return ERR_OK;
		LOG(LOG_LEVEL_INFO, "key is served", LS("key", k->config->name),
			LS("weak", k->weak == NULL ? "" : k->weak));
		k->told = ERR_OK;
		return ERR_OK;
	}
	e = record_refused(&octets, ring, k, now);
	if (e == ERR_OK)
		e = append_refused(ledger, &k, &octets, 1);
	buf_free(&octets);
	return e;
}

/* Many at a time. */
enum err keyring_tell(struct keyring *ring, struct append *ledger)
{
	struct ring_key *keys[TOLD_AT_ONCE];
	struct buf octets[TOLD_AT_ONCE];
	int64_t now = clock_estimate();
	size_t n = 0;
	enum err e = ERR_OK;

	for (size_t i = 0; e == ERR_OK && i < ring->count; i++) {
		struct ring_key *k = &ring->key[i];

		if (k->state != NULL && k->told != k->state->err) {
			keys[n] = k;
			octets[n] = (struct buf)BUF_INIT(RECORD_MAX);
			e = record_refused(&octets[n++], ring, k, now);
		}
		if (n < TOLD_AT_ONCE && (n == 0 || i + 1 < ring->count) && e == ERR_OK)
			continue;
		if (e == ERR_OK)
			e = append_refused(ledger, keys, octets, n);
		while (n > 0)
			buf_free(&octets[--n]);
	}
	return e;
}

void key_settle(struct keyring *ring, struct ring_key *k, int64_t now, const struct refusal *why)
{
	pthread_mutex_lock(&ring->lock);
	ring_refuse(&k->state, ring_issuing(k, now) != NULL ? NULL : why);
	pthread_mutex_unlock(&ring->lock);
}

enum err key_look(struct pass *p, struct ring_key *k, struct refusal *why)
{
	struct token_key_rules rules = {.accept = k->config->accept_weak_key,
		.accept_count = k->config->accept_weak_key_count};
	struct token_key found = {0};
	char weak[160] = "";
	enum err e = token_key_look(
		p->token, pass_index(p), k->config->uri, &rules, &found, weak, sizeof weak, why);

	if (!pass_owns(p, k))
		return ERR_TIMEOUT;
	pthread_mutex_lock(&p->ring->lock);
	k->found = e == ERR_OK;
	k->key = found;
	free(k->weak);
	k->weak = weak[0] == '\0' ? NULL : strdup(weak);
	pthread_mutex_unlock(&p->ring->lock);
	return e;
}
