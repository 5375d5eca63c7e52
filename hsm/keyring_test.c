#include <openssl/evp.h>
#include <openssl/x509.h>

#include "identity.h"
#include "keyring_private.h"

enum err self_test_spki(struct buf *out)
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

enum err self_test_build(struct self_test *t, const struct buf *spki)
{
	const struct certificate *c = &t->certificate->leaf;
	enum err e = identity_new(t->id);

	t->role = certificate_allows_role(c, DC_SERVER) == ERR_OK ? DC_SERVER : DC_CLIENT;
	if (e != ERR_OK)
		return e;
	buf_put(&t->spki, spki->octets, spki->len);
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
	const struct certificate *c = &t->certificate->leaf;

	record_init(r, type);
	r->time = t->now;
	r->id = octets_text(t->id);
	r->key = octets_text(t->key->config->name);
	r->certificate_sha256 = octets_of(c->sha256, SHA256_SIZE);
	r->signature_algorithm = algorithm_name(c->algorithm);
	r->spki_sha256 = octets_of(t->spki_sha256, SHA256_SIZE);
	r->generation = octets_of(t->ring->config->generation, SHA256_SIZE);
}

enum err self_test_announce(struct self_test *t)
{
	const struct certificate *c = &t->certificate->leaf;
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
	buf_reset(&t->record);
	return record_encode(&t->record, &r);
}

static enum err record_proved(struct self_test *t)
{
	struct certificate_outline chain[CERT_CHAIN_MAX];
	struct buf ders = BUF_INIT(RECORD_MAX);
	struct record r;
	size_t count;
	enum err e = certificate_outline_pem(chain, CERT_CHAIN_MAX, &count,
		t->certificate->file->octets, t->certificate->file->len);

	if (e != ERR_OK)
		return e;
	for (size_t i = 0; i < count; i++) {
		buf_u24(&ders, (uint32_t)chain[i].len);
		buf_put(&ders, chain[i].der, chain[i].len);
	}
	certificate_outline_free(chain, count);
	record_of_test(&r, RECORD_KEY_PROVED, t);
	r.certificates = octets_of(ders.octets, ders.len);
	r.dc = octets_of(t->dc.octets, t->dc.len);
	r.dc_sha256 = octets_of(t->dc_sha256, SHA256_SIZE);
	r.weak = octets_text(t->weak);
	buf_reset(&t->record);
	e = ders.err != ERR_OK ? ders.err : record_encode(&t->record, &r);
	buf_free(&ders);
	return e;
}

static enum err record_unproved(struct self_test *t)
{
	const struct refusal *why = &t->unfit;
	struct record r;

	if (t->result == SIGN_UNKNOWN) {
		record_init(&r, RECORD_UNKNOWN);
		r.time = t->now;
		r.id = octets_text(t->id);
	} else {
		record_of_test(&r, RECORD_KEY_REFUSED, t);
	}
	r.reason = octets_text(err_name(why->err));
	r.detail = octets_text(why->detail);
	buf_reset(&t->record);
	return record_encode(&t->record, &r);
}

/* The token's signature; session NULL: there was none, t->unfit says why. */
void self_test_sign(struct self_test *t, struct token_session *session)
{
	struct buf signature = BUF_INIT(TOKEN_SIGNATURE_MAX);
	bool again;

	t->result = SIGN_FAILED;
	if (session != NULL)
		t->result = sign_and_verify(session, &t->found, &t->certificate->leaf, &t->tbs,
			&signature, &again, &t->unfit);
	if (t->result == SIGN_GOOD) {
		t->fields.signature = signature.octets;
		t->fields.signature_len = signature.len;
		if (dc_build(&t->dc, &t->fields) != ERR_OK)
			t->result = SIGN_UNKNOWN;
		sha256(t->dc.octets, t->dc.len, t->dc_sha256);
	} else if (t->unfit.err == ERR_KEY_UNAVAILABLE) { /* it does not verify */
		refuse(&t->unfit, ERR_KEY_UNPROVED, "certificate",
			"the token's signature does not verify with the certificate's key");
	}
	buf_free(&signature);
}

enum err self_test_conclude(struct self_test *t)
{
	return t->result == SIGN_GOOD ? record_proved(t) : record_unproved(t);
}

void self_test_free(struct self_test *t)
{
	buf_free(&t->spki);
	buf_free(&t->tbs);
	buf_free(&t->dc);
	buf_free(&t->record);
}
