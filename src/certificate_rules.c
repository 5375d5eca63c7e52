/* What a certificate may do: the second half of certificate.h. */
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "certificate.h"

#define FIELD	   "certificate"
#define AUTH_LEVEL 2 /* of chains: 112 bits, no SHA-1 */

/* What RFC 9345 section 4.2 asks of everybody. */
static enum err delegates(const struct certificate *c, struct refusal *why)
{
	if (!c->has_delegation)
		return refuse(why, ERR_CERT_NO_DELEGATION, FIELD,
			"%s has no DelegationUsage extension (1.3.6.1.4.1.44363.44): the authority "
			"must issue one with it",
			c->subject);
	if (!c->digital_signature)
		return refuse(why, ERR_CERT_KEY_USAGE, FIELD,
			"%s needs a key usage extension with digitalSignature", c->subject);
	return ERR_OK;
}

static enum err issuer_accepts(const struct certificate *c, struct refusal *why)
{
	if (c->delegation_critical)
		return refuse(why, ERR_CERT_DELEGATION_CRITICAL, FIELD,
			"%s must have DelegationUsage as a non-critical extension", c->subject);
	if (!c->delegation_null)
		return refuse(why, ERR_CERT_DELEGATION_VALUE, FIELD,
			"%s must have 05 00 (NULL) as the value of DelegationUsage", c->subject);
	if (c->duplicate_extension)
		return refuse(why, ERR_CERT_DUPLICATE, FIELD,
			"%s has the same extension twice (RFC 5280 section 4.2)", c->subject);
	if (c->key_encipherment)
		return refuse(why, ERR_CERT_ENCIPHERMENT, FIELD,
			"%s must not have keyEncipherment (RFC 9345 section 7.6)", c->subject);
	if (c->is_ca)
		return refuse(why, ERR_CERT_CA, FIELD,
			"%s may sign certificates: an end-entity certificate is needed",
			c->subject);
	if (c->algorithm == 0)
		return refuse(why, ERR_CERT_KEY, FIELD,
			"%s needs a key on P-256, P-384 or P-521, an Ed25519 key, or an RSA key of "
			"at "
			"least 2048 bits",
			c->subject);
	if (c->weak_signature)
		return refuse(why, ERR_CERT_WEAK, FIELD,
			"%s is signed with SHA-1 or MD5: the authority must sign with SHA-256 or "
			"better",
			c->subject);
	return ERR_OK;
}

enum err certificate_may_delegate(
	const struct certificate *c, enum certificate_view view, struct refusal *why)
{
	enum err e = delegates(c, why);

	if (e != ERR_OK || view == AS_VERIFIER)
		return e;
	return issuer_accepts(c, why);
}

enum err certificate_allows_role(const struct certificate *c, enum dc_role role)
{
	if (c->has_eku && !(role == DC_CLIENT ? c->eku_client : c->eku_server))
		return ERR_CERT_PURPOSE;
	return ERR_OK;
}

enum err certificate_valid_at(const struct certificate *c, int64_t now)
{
	if (now < c->not_before)
		return ERR_CERT_NOT_YET;
	return now < c->not_after ? ERR_OK : ERR_CERT_EXPIRED;
}

/* Each certificate issued by the next: TLS peers get them in this order. */
static STACK_OF(X509) *
	load_chain(const struct certificate *chain, size_t count, struct refusal *why)
{
	STACK_OF(X509) *all = sk_X509_new_null();

	for (size_t i = 0; all != NULL && i < count; i++) {
		const uint8_t *at = chain[i].der;
		X509 *x = d2i_X509(NULL, &at, (long)chain[i].len);
		if (x == NULL || sk_X509_push(all, x) == 0) {
			X509_free(x);
			goto bad;
		}
		if (i > 0 && X509_check_issued(x, sk_X509_value(all, (int)i - 1)) != X509_V_OK) {
			refuse(why, ERR_CERT_CHAIN, FIELD,
				"%s, number %zu of the chain, is not the issuer of the one before "
				"it",
				chain[i].subject, i + 1);
			goto bad;
		}
	}
	return all;
bad:
	sk_X509_pop_free(all, X509_free);
	return NULL;
}

static X509_STORE *load_anchors(const uint8_t *pem, size_t len)
{
	X509_STORE *store = X509_STORE_new();
	BIO *bio = len == 0 || len > INT32_MAX ? NULL : BIO_new_mem_buf(pem, (int)len);
	unsigned n = 0;
	X509 *x;

	while (store != NULL && bio != NULL && (x = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		n += X509_STORE_add_cert(store, x) == 1;
		X509_free(x);
	}
	BIO_free(bio);
	if (n == 0) {
		X509_STORE_free(store);
		return NULL;
	}
	return store;
}

static enum err verify(X509_STORE *store, STACK_OF(X509) * all, int64_t now, struct refusal *why)
{
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	enum err e = ERR_CERT_CHAIN;

	if (ctx == NULL || X509_STORE_CTX_init(ctx, store, sk_X509_value(all, 0), all) != 1) {
		e = ERR_CRYPTO;
		goto out;
	}
	X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);
	X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN);
	X509_VERIFY_PARAM_set_time(param, (time_t)now);
	X509_VERIFY_PARAM_set_auth_level(param, AUTH_LEVEL);
	if (X509_verify_cert(ctx) == 1)
		e = ERR_OK;
	else
		refuse(why, ERR_CERT_CHAIN, FIELD,
			"the chain does not lead to the configured authority: %s (certificate %d)",
			X509_verify_cert_error_string(X509_STORE_CTX_get_error(ctx)),
			X509_STORE_CTX_get_error_depth(ctx) + 1);
out:
	X509_STORE_CTX_free(ctx);
	return e;
}

enum err certificate_chain_verify(const struct certificate *chain, size_t count,
	const uint8_t *ca_pem, size_t ca_len, int64_t now, struct refusal *why)
{
	enum err e = refuse(why, ERR_CERT_CHAIN, FIELD, "the chain is empty or can't be read");
	STACK_OF(X509) *all = count == 0 ? NULL : load_chain(chain, count, why);
	X509_STORE *store = NULL;

	if (all == NULL)
		goto out;
	store = load_anchors(ca_pem, ca_len);
	if (store == NULL) {
		e = refuse(why, ERR_CERT_CHAIN, "issuer_ca", "the file holds no PEM certificate");
		goto out;
	}
	e = verify(store, all, now, why);
	if (e == ERR_OK && why != NULL)
		*why = (struct refusal){.err = ERR_OK};
out:
	X509_STORE_free(store);
	sk_X509_pop_free(all, X509_free);
	ERR_clear_error();
	return e;
}
