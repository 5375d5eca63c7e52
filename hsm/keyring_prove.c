#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "identity.h"
#include "keyring_private.h"
#include "log.h"
#include "sign.h"

#define PROVE_MS 10000 /* wait for a session */

/* A self-test on its way. */
struct self_test {
	struct keyring *ring;
	struct ring_key *key;
	struct ring_certificate *certificate;
	struct token *token;
	struct append *ledger;
	int64_t now;
	char id[ID_SIZE];
	enum dc_role role;
	struct buf spki, tbs, dc;
	struct dc fields;
	uint8_t spki_sha256[SHA256_SIZE], tbs_sha256[SHA256_SIZE], dc_sha256[SHA256_SIZE];
};

/* The public key of a P-256 key whose private half is gone when this returns. */
static enum err ephemeral_spki(struct buf *out)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	uint8_t *der = NULL;
	int len = key == NULL ? -1 : i2d_PUBKEY(key, &der);

	EVP_PKEY_free(key);
	if (len > 0)
		buf_put(out, der, (size_t)len);
	OPENSSL_free(der);
	return len > 0 ? out->err : ERR_CRYPTO;
}

/* valid_time 0: it expired when the certificate began. */
static enum err test_build(struct self_test *t)
{
	const struct certificate *c = &t->certificate->chain[0];
	enum err e = identity_new(t->id);

	t->role = certificate_allows_role(c, DC_SERVER) == ERR_OK ? DC_SERVER : DC_CLIENT;
	if (e == ERR_OK)
		e = ephemeral_spki(&t->spki);
	if (e != ERR_OK)
		return e;
	t->fields = (struct dc){.valid_time = 0,
		.scheme = SCHEME_ECDSA_P256,
		.spki = t->spki.octets,
		.spki_len = t->spki.len,
		.algorithm = c->algorithm};
	e = dc_build_tbs(&t->tbs, t->role, c->der, c->len, &t->fields);
	sha256(t->spki.octets, t->spki.len, t->spki_sha256);
	sha256(t->tbs.octets, t->tbs.len, t->tbs_sha256);
	return e;
}

static struct octets algorithm_name(uint16_t code)
{
	const struct scheme *s = scheme_by_code(code);

	return octets_text(s == NULL ? NULL : s->name);
}

/* What SELF-TEST, KEY-PROVED and KEY-REFUSED have in common. */
static void record_of_test(struct record *r, enum record_type type, const struct self_test *t)
{
	const struct certificate *c = &t->certificate->chain[0];

	record_init(r, type);
	r->time = t->now;
	r->id = octets_text(t->id);
	r->key = octets_text(t->key->config->name);
	r->certificate_sha256 = octets_of(c->sha256, SHA256_SIZE);
	r->signature_algorithm = algorithm_name(c->algorithm);
	r->spki_sha256 = octets_of(t->spki_sha256, SHA256_SIZE);
	r->generation = octets_of(t->ring->config->generation, SHA256_SIZE);
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

static enum err record_self_test(struct self_test *t)
{
	const struct certificate *c = &t->certificate->chain[0];
	struct record r;

	record_of_test(&r, RECORD_SELF_TEST, t);
	r.role = octets_text(dc_role_name(t->role));
	r.algorithm = algorithm_name(t->fields.scheme);
	r.spki = octets_of(t->spki.octets, t->spki.len);
	r.tbs_sha256 = octets_of(t->tbs_sha256, SHA256_SIZE);
	r.now = t->now;
	r.cert_not_before = c->not_before;
	r.valid_time = 0;
	r.expiry = c->not_before;
	return append_one(t->ledger, &r);
}

static enum err record_proved(struct self_test *t)
{
	struct buf ders = BUF_INIT(RECORD_MAX);
	struct record r;
	enum err e;

	for (size_t i = 0; i < t->certificate->count; i++) {
		buf_u24(&ders, (uint32_t)t->certificate->chain[i].len);
		buf_put(&ders, t->certificate->chain[i].der, t->certificate->chain[i].len);
	}
	record_of_test(&r, RECORD_KEY_PROVED, t);
	r.certificates = octets_of(ders.octets, ders.len);
	r.dc = octets_of(t->dc.octets, t->dc.len);
	r.dc_sha256 = octets_of(t->dc_sha256, SHA256_SIZE);
	r.weak = octets_text(t->key->weak);
	e = ders.err != ERR_OK ? ders.err : append_one(t->ledger, &r);
	buf_free(&ders);
	return e;
}

static enum err record_unproved(
	struct self_test *t, enum sign_result result, const struct refusal *why)
{
	struct record r;

	if (result == SIGN_UNKNOWN) {
		record_init(&r, RECORD_UNKNOWN);
		r.time = t->now;
		r.id = octets_text(t->id);
	} else {
		record_of_test(&r, RECORD_KEY_REFUSED, t);
	}
	r.reason = octets_text(err_name(why->err));
	r.detail = octets_text(why->detail);
	return append_one(t->ledger, &r);
}

static void log_refused(const struct ring_key *k, const struct refusal *why)
{
	LOG(LOG_LEVEL_WARNING, "key is refused", LS("key", k->config->name),
		LS("reason", err_name(why->err)), LS("detail", why->detail));
}

/* SELF-TEST durable, signature, outcome durable. */
static enum err test_run(struct self_test *t, struct refusal *unfit)
{
	struct buf signature = BUF_INIT(TOKEN_SIGNATURE_MAX);
	struct token_session *session;
	enum sign_result result = SIGN_FAILED;
	bool again;
	enum err e = record_self_test(t);

	if (e != ERR_OK)
		return e;
	if (token_session_take(t->token, monotonic_ms() + PROVE_MS, &session, unfit) == ERR_OK) {
		result = sign_and_verify(session, &t->key->key, &t->certificate->chain[0], &t->tbs,
			&signature, &again, unfit);
		token_session_give(session);
	}
	if (result == SIGN_GOOD) {
		t->fields.signature = signature.octets;
		t->fields.signature_len = signature.len;
		e = dc_build(&t->dc, &t->fields);
		sha256(t->dc.octets, t->dc.len, t->dc_sha256);
		if (e == ERR_OK)
			e = record_proved(t);
	} else {
		if (unfit->err == ERR_KEY_UNAVAILABLE) /* it does not verify */
			refuse(unfit, ERR_KEY_UNPROVED, "certificate",
				"the token's signature does not verify with the certificate's key");
		e = record_unproved(t, result, unfit);
		log_refused(t->key, unfit);
		if (result == SIGN_FAILED)
			t->key->told = unfit->err;
	}
	buf_free(&signature);
	return e;
}

static enum err certificate_prove(struct keyring *ring, struct ring_key *key,
	struct ring_certificate *c, struct token *token, struct append *ledger, int64_t now)
{
	struct self_test t = {.ring = ring,
		.key = key,
		.certificate = c,
		.token = token,
		.ledger = ledger,
		.now = now,
		.spki = BUF_INIT(SPKI_MAX),
		.tbs = BUF_INIT(DC_TBS_MAX),
		.dc = BUF_INIT(DC_MAX)};
	struct refusal unfit = {.err = ERR_OK};
	enum err e = test_build(&t);

	if (e == ERR_OK)
		e = test_run(&t, &unfit);
	pthread_mutex_lock(&ring->lock);
	if (e == ERR_OK) {
		c->proof = unfit.err == ERR_OK ? PROOF_GOOD : PROOF_BAD;
		c->unfit = unfit;
	}
	pthread_mutex_unlock(&ring->lock);
	buf_free(&t.spki);
	buf_free(&t.tbs);
	buf_free(&t.dc);
	return e;
}

/* Finds the key on the token and reads its attributes. */
static enum err key_look(
	struct keyring *ring, struct ring_key *k, struct token *token, struct refusal *why)
{
	struct token_key_rules rules = {.accept = k->config->accept_weak_key,
		.accept_count = k->config->accept_weak_key_count};
	struct token_key found;
	char weak[sizeof k->weak] = "";
	enum err e = token_key_find(token, k->config->uri, &found, why);

	if (e == ERR_OK)
		e = token_key_check(token, &found, &rules, weak, sizeof weak, why);
	pthread_mutex_lock(&ring->lock);
	k->found = e == ERR_OK;
	k->key = found;
	memcpy(k->weak, weak, sizeof weak);
	pthread_mutex_unlock(&ring->lock);
	return e;
}

/* A certificate that can be proved now: valid, and since more than a moment, so that the self-test
 * DC has expired. *why: of the last one that can't. */
static bool to_prove(struct keyring *ring, struct ring_key *k, struct ring_certificate *c,
	int64_t now, struct refusal *why)
{
	const struct certificate *leaf = &c->chain[0];
	const struct config_file *ca = &k->config->issuer_ca;
	enum err e = certificate_valid_at(leaf, now);

	if (c->proof == PROOF_BAD) {
		*why = c->unfit;
		return false;
	}
	if (e != ERR_OK || now <= leaf->not_before) {
		refuse(why, e != ERR_OK ? e : ERR_CERT_NOT_YET, "certificate", "%s", "");
		return false;
	}
	if (ca->octets != NULL && certificate_chain_verify(c->chain, c->count, ca->octets, ca->len,
					  now, why) != ERR_OK) {
		pthread_mutex_lock(&ring->lock);
		c->proof = PROOF_UNTRIED;
		pthread_mutex_unlock(&ring->lock);
		return false;
	}
	return c->proof == PROOF_UNTRIED;
}

/* Log and ledger hear of each change once. */
static enum err key_tell(
	struct keyring *ring, struct ring_key *k, struct append *ledger, int64_t now)
{
	struct record r;
	enum err e;

	if (k->told == k->state.err)
		return ERR_OK;
	if (k->state.err == ERR_OK) {
		LOG(LOG_LEVEL_INFO, "key is served", LS("key", k->config->name),
			LS("weak", k->weak));
		k->told = ERR_OK;
		return ERR_OK;
	}
	log_refused(k, &k->state);
	record_init(&r, RECORD_KEY_REFUSED);
	r.time = now;
	r.key = octets_text(k->config->name);
	r.reason = octets_text(err_name(k->state.err));
	r.field = octets_text(k->state.field);
	r.detail = octets_text(k->state.detail);
	r.weak = octets_text(k->weak);
	r.generation = octets_of(ring->config->generation, SHA256_SIZE);
	e = append_one(ledger, &r);
	if (e == ERR_OK)
		k->told = k->state.err;
	return e;
}

static enum err key_prove(struct keyring *ring, struct ring_key *k, struct token *token,
	struct append *ledger, int64_t now)
{
	struct refusal why = {.err = ERR_CERT_MALFORMED};
	enum err e = ERR_OK, looked = k->found ? ERR_OK : key_look(ring, k, token, &why);

	for (size_t i = 0; e == ERR_OK && looked == ERR_OK && i < k->certificate_count; i++)
		if (to_prove(ring, k, &k->certificate[i], now, &why)) {
			e = certificate_prove(ring, k, &k->certificate[i], token, ledger, now);
			if (k->certificate[i].proof == PROOF_BAD)
				why = k->certificate[i].unfit;
		}
	if (e != ERR_OK)
		return e;
	pthread_mutex_lock(&ring->lock);
	if (ring_issuing(k, now) != NULL)
		k->state = (struct refusal){.err = ERR_OK};
	else
		k->state = why;
	pthread_mutex_unlock(&ring->lock);
	return key_tell(ring, k, ledger, now);
}

enum err keyring_prove(struct keyring *ring, struct token *token, struct append *ledger)
{
	int64_t now;
	enum err e = clock_now(&now, NULL);

	for (size_t i = 0; e == ERR_OK && i < ring->count && !token_lost(token); i++)
		e = key_prove(ring, &ring->key[i], token, ledger, now);
	return e;
}
