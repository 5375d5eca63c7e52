#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <pthread.h>
#include <string.h>

#include "p11fault.h"

#define KEYS 8

/* One key of our own for each kind of signature, made when it is first needed. */
static struct own_key {
	CK_MECHANISM_TYPE mechanism;
	CK_ULONG len; /* of its signatures */
	EVP_PKEY *key;
} keys[KEYS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static const struct {
	CK_MECHANISM_TYPE mechanism;
	const char *digest; /* NULL: the input is a digest, or the scheme has none */
} mechanisms[] = {
	{CKM_ECDSA, NULL},
	{CKM_EDDSA, NULL},
	{CKM_RSA_PKCS_PSS, NULL},
	{CKM_SHA256_RSA_PKCS_PSS, "SHA256"},
	{CKM_SHA384_RSA_PKCS_PSS, "SHA384"},
	{CKM_SHA512_RSA_PKCS_PSS, "SHA512"},
};

static EVP_PKEY *make(CK_MECHANISM_TYPE mechanism, CK_ULONG len)
{
	if (mechanism == CKM_EDDSA)
		return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	if (mechanism != CKM_ECDSA)
		return EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)len * 8);
	return EVP_EC_gen(len == 64 ? "P-256" : len == 96 ? "P-384" : "P-521");
}

static EVP_PKEY *own_key(CK_MECHANISM_TYPE mechanism, CK_ULONG len)
{
	unsigned i = 0;

	pthread_mutex_lock(&lock);
	while (i < KEYS && keys[i].key != NULL &&
		(keys[i].mechanism != mechanism || keys[i].len != len))
		i++;
	if (i == KEYS)
		fatal("foreign: more kinds of keys than are provided for");
	if (keys[i].key == NULL)
		keys[i] = (struct own_key){mechanism, len, make(mechanism, len)};
	pthread_mutex_unlock(&lock);
	if (keys[i].key == NULL)
		fatal("foreign: no key can be made");
	return keys[i].key;
}

static const EVP_MD *digest_of(const struct call *c, const char *name)
{
	if (name != NULL)
		return EVP_get_digestbyname(name);
	return c->op.pss.hashAlg == CKM_SHA384	 ? EVP_sha384()
	       : c->op.pss.hashAlg == CKM_SHA512 ? EVP_sha512()
						 : EVP_sha256();
}

static bool set_pss(EVP_PKEY_CTX *ctx, const struct call *c)
{
	return EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PSS_PADDING) > 0 &&
	       EVP_PKEY_CTX_set_rsa_pss_saltlen(ctx, (int)c->op.pss.sLen) > 0;
}

/* Over the whole message: EdDSA, and RSA-PSS that hashes. */
static bool sign_message(
	const struct call *c, EVP_PKEY *key, const char *digest, uint8_t *out, size_t *len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *inner;
	bool ok = ctx != NULL &&
		  EVP_DigestSignInit(ctx, &inner, digest == NULL ? NULL : digest_of(c, digest),
			  NULL, key) > 0 &&
		  (digest == NULL || set_pss(inner, c)) &&
		  EVP_DigestSign(ctx, out, len, c->in, c->in_len) > 0;

	EVP_MD_CTX_free(ctx);
	return ok;
}

/* Over a digest: ECDSA and RSA-PSS. */
static bool sign_digest(const struct call *c, EVP_PKEY *key, uint8_t *out, size_t *len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	bool ok = ctx != NULL && EVP_PKEY_sign_init(ctx) > 0;

	if (ok && c->op.mechanism == CKM_RSA_PKCS_PSS)
		ok = set_pss(ctx, c) && EVP_PKEY_CTX_set_signature_md(ctx, digest_of(c, NULL)) > 0;
	ok = ok && EVP_PKEY_sign(ctx, out, len, c->in, c->in_len) > 0;
	EVP_PKEY_CTX_free(ctx);
	return ok;
}

static bool ecdsa_raw(const uint8_t *der, size_t der_len, CK_BYTE *raw, CK_ULONG len)
{
	ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &der, (long)der_len);
	bool ok = sig != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, (int)len / 2) > 0 &&
		  BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + len / 2, (int)len / 2) > 0;

	ECDSA_SIG_free(sig);
	return ok;
}

void damage_foreign(struct call *c, const struct applied *a)
{
	uint8_t out[SIGNATURE_MAX];
	size_t len = sizeof out, i = 0;
	bool ok;

	(void)a;
	while (i < sizeof mechanisms / sizeof *mechanisms &&
		mechanisms[i].mechanism != c->op.mechanism)
		i++;
	if (i == sizeof mechanisms / sizeof *mechanisms)
		fatal("foreign: mechanism 0x%lx is not provided for", c->op.mechanism);
	EVP_PKEY *key = own_key(c->op.mechanism, *c->sig_len);
	if (c->op.mechanism == CKM_ECDSA || c->op.mechanism == CKM_RSA_PKCS_PSS)
		ok = sign_digest(c, key, out, &len);
	else
		ok = sign_message(c, key, mechanisms[i].digest, out, &len);
	if (ok && c->op.mechanism == CKM_ECDSA)
		ok = ecdsa_raw(out, len, c->sig, *c->sig_len);
	else if (ok && len == *c->sig_len)
		memcpy(c->sig, out, len);
	if (!ok)
		fatal("foreign: libcrypto can't sign");
}
