#include "sign.h"

#include <openssl/evp.h>

#include "counters.h"
#include "log.h"
#include "pubkey.h"
#include "public_keys.h"

static bool is_ecdsa(enum key_type key)
{
	return key == KEY_EC_P256 || key == KEY_EC_P384 || key == KEY_EC_P521;
}

static enum err verify(const struct certificate *certificate, const struct scheme *scheme,
	const struct buf *tbs, const struct buf *signature)
{
	EVP_PKEY *key = public_key(certificate);
	enum err e;

	if (key == NULL)
		return ERR_CRYPTO;
	e = pubkey_verify(key, scheme, tbs->octets, tbs->len, signature->octets, signature->len);
	EVP_PKEY_free(key);
	return e;
}

enum sign_result sign_and_verify(struct token_session *session, const struct token_key *key,
	const struct certificate *certificate, const struct buf *tbs, struct buf *signature,
	bool *again, struct refusal *why)
{
	const struct scheme *scheme = scheme_by_code(certificate->algorithm);
	struct token_signature made;
	enum err e = ERR_OK;
	int64_t start;

	*again = false;
	if (scheme == NULL) {
		refuse(why, ERR_CERT_KEY, "", "%s", "");
		return SIGN_FAILED;
	}
	start = monotonic_us();
	token_sign(session, key, scheme, tbs->octets, tbs->len, &made);
	span_end(SPAN_SIGN, start);
	if (made.outcome != SIGN_DONE) {
		*why = made.why;
		*again = made.again;
		return made.outcome == SIGN_NOT_DONE ? SIGN_FAILED : SIGN_UNKNOWN;
	}
	start = monotonic_us();
	if (is_ecdsa(scheme->key))
		e = pubkey_ecdsa_der(scheme->key, made.raw, made.len, signature);
	else
		buf_put(signature, made.raw, made.len);
	if (e == ERR_OK)
		e = signature->err;
	if (e == ERR_OK)
		e = verify(certificate, scheme, tbs, signature);
	span_end(SPAN_VERIFY, start);
	if (e == ERR_OK)
		return SIGN_GOOD;
	buf_reset(signature);
	token_session_spoil(session);
	counter_add(COUNTER_VERIFY_FAILURES, 1);
	LOG(LOG_LEVEL_ERROR, "a signature of the token does not verify and is not used",
		LS("reason", err_name(e)), LS("certificate", certificate->subject));
	refuse(why, ERR_KEY_UNAVAILABLE, "", "the token's signature does not verify");
	return SIGN_FAILED;
}
