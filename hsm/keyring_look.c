#include <stdlib.h>
#include <string.h>

#include "keyring_pass.h"
#include "log.h"

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

enum err key_tell(struct keyring *ring, struct ring_key *k, struct append *ledger, int64_t now)
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
	key_log_refused(k, why);
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
	enum err e = token_key_find_in(p->token, pass_index(p), k->config->uri, &found, why);

	if (e == ERR_OK)
		e = token_key_check(p->token, &found, &rules, weak, sizeof weak, why);
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
