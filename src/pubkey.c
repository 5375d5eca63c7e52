#include "pubkey.h"
#include "pubkey_curves.h"

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>

/* How libcrypto calls a type. */
static const struct family {
	enum key_type key;
	int type;
	int curve;
} families[] = {
	{KEY_EC_P256, EVP_PKEY_EC, NID_X9_62_prime256v1},
	{KEY_EC_P384, EVP_PKEY_EC, NID_secp384r1},
	{KEY_EC_P521, EVP_PKEY_EC, NID_secp521r1},
	{KEY_BP256, EVP_PKEY_EC, NID_brainpoolP256r1},
	{KEY_BP384, EVP_PKEY_EC, NID_brainpoolP384r1},
	{KEY_BP512, EVP_PKEY_EC, NID_brainpoolP512r1},
	{KEY_ED25519, EVP_PKEY_ED25519, NID_undef},
	{KEY_ED448, EVP_PKEY_ED448, NID_undef},
	{KEY_RSA, EVP_PKEY_RSA, NID_undef},
	{KEY_RSA_PSS, EVP_PKEY_RSA_PSS, NID_undef},
};

static const struct family *family_of(enum key_type key)
{
	for (unsigned i = 0; i < sizeof families / sizeof *families; i++)
		if (families[i].key == key)
			return &families[i];
	return NULL;
}

static bool key_is(EVP_PKEY *key, enum key_type type)
{
	const struct family *f = family_of(type);
	char group[64];

	if (f == NULL || key == NULL || EVP_PKEY_get_base_id(key) != f->type)
		return false;
	if (f->curve == NID_undef)
		return true;
	return EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
	       OBJ_txt2nid(group) == f->curve;
}

static const EVP_MD *scheme_md(const struct scheme *scheme)
{
	static const EVP_MD *(*const of[])(void) = {
		[DIGEST_SHA256] = EVP_sha256,
		[DIGEST_SHA384] = EVP_sha384,
		[DIGEST_SHA512] = EVP_sha512,
	};

	return scheme->digest == DIGEST_NONE ? NULL : of[scheme->digest]();
}

static bool is_rsa(const struct scheme *scheme)
{
	return scheme->key == KEY_RSA || scheme->key == KEY_RSA_PSS;
}

/* Without EVP_DigestVerify, which looks up the digest and writes an AlgorithmIdentifier each time.
 */
static enum err ecdsa_verify(EVP_PKEY *key, const struct scheme *scheme, const uint8_t *message,
	size_t message_len, const uint8_t *signature, size_t signature_len)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
	uint8_t digest[DIGEST_MAX];
	enum err e = ERR_DC_SIGNATURE;

	if (scheme->digest == DIGEST_SHA256)
		sha256(message, message_len, digest);
	else if (EVP_Digest(message, message_len, digest, NULL, scheme_md(scheme), NULL) != 1)
		e = ERR_CRYPTO;
	if (ctx == NULL || EVP_PKEY_verify_init(ctx) != 1)
		e = ERR_CRYPTO;
	if (e != ERR_CRYPTO && EVP_PKEY_verify(ctx, signature, signature_len, digest,
				       digest_size(scheme->digest)) == 1)
		e = ERR_OK;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return e;
}

enum err pubkey_verify(EVP_PKEY *key, const struct scheme *scheme, const uint8_t *message,
	size_t message_len, const uint8_t *signature, size_t signature_len)
{
	EVP_PKEY_CTX *parameters = NULL;
	EVP_MD_CTX *ctx = NULL;
	enum err e = ERR_DC_ALGORITHM;

	if (!key_is(key, scheme->key))
		return ERR_DC_ALGORITHM;
	if (pubkey_order(scheme->key) != 0)
		return ecdsa_verify(key, scheme, message, message_len, signature, signature_len);
	ctx = EVP_MD_CTX_new();
	if (ctx == NULL) {
		e = ERR_CRYPTO;
		goto out;
	}
	/* fails for an RSASSA-PSS key that is bound to another digest */
	if (EVP_DigestVerifyInit(ctx, &parameters, scheme_md(scheme), NULL, key) != 1)
		goto out;
	if (is_rsa(scheme) &&
		(EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING) != 1 ||
			EVP_PKEY_CTX_set_rsa_mgf1_md(parameters, scheme_md(scheme)) != 1 ||
			EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST) != 1))
		goto out;
	e = ERR_DC_SIGNATURE;
	if (EVP_DigestVerify(ctx, signature, signature_len, message, message_len) == 1)
		e = ERR_OK;
out:
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return e;
}

/* The digest of an RSASSA-PSS signature's AlgorithmIdentifier; SHA-1 where none is named. */
static int pss_digest(const X509_ALGOR *algorithm)
{
	const ASN1_OBJECT *oid = NULL;
	const void *value;
	int kind, nid = NID_sha1;

	X509_ALGOR_get0(NULL, &kind, &value, algorithm);
	if (kind != V_ASN1_SEQUENCE)
		return NID_undef;
	const ASN1_STRING *text = value;
	const uint8_t *at = ASN1_STRING_get0_data(text);
	RSA_PSS_PARAMS *params = d2i_RSA_PSS_PARAMS(NULL, &at, ASN1_STRING_length(text));
	if (params == NULL)
		return NID_undef;
	if (params->hashAlgorithm != NULL) {
		X509_ALGOR_get0(&oid, NULL, NULL, params->hashAlgorithm);
		nid = OBJ_obj2nid(oid);
	}
	RSA_PSS_PARAMS_free(params);
	return nid;
}

static bool signature_strong(const X509_REQ *request)
{
	static const int strong[] = {NID_sha256, NID_sha384, NID_sha512};
	const X509_ALGOR *algorithm;
	const ASN1_OBJECT *oid;
	int digest = NID_undef, type = NID_undef;

	X509_REQ_get0_signature(request, NULL, &algorithm);
	X509_ALGOR_get0(&oid, NULL, NULL, algorithm);
	if (OBJ_find_sigid_algs(OBJ_obj2nid(oid), &digest, &type) != 1)
		return false;
	if (type == NID_ED25519 || type == NID_ED448)
		return true;
	if (type == NID_rsassaPss)
		digest = pss_digest(algorithm);
	for (unsigned i = 0; i < sizeof strong / sizeof *strong; i++)
		if (digest == strong[i])
			return true;
	return false;
}

/* DER, and nothing behind it: taken apart and put together again it is the same. */
static X509_REQ *read_request(const uint8_t *der, size_t len)
{
	const uint8_t *at = der;
	X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)len);
	uint8_t *inner = NULL, *whole = NULL;
	int whole_len = -1;

	/* the first call drops the kept octets of the inner part, so that the second makes them */
	if (request != NULL && i2d_re_X509_REQ_tbs(request, &inner) > 0)
		whole_len = i2d_X509_REQ(request, &whole);
	if (whole_len < 0 || (size_t)whole_len != len || memcmp(whole, der, len) != 0) {
		X509_REQ_free(request);
		request = NULL;
	}
	OPENSSL_free(inner);
	OPENSSL_free(whole);
	return request;
}

static enum err verify_request(X509_REQ *request)
{
	EVP_PKEY *key = X509_REQ_get0_pubkey(request);
	ASN1_OBJECT *oid;

	if (X509_REQ_get_version(request) != X509_REQ_VERSION_1)
		return ERR_PROOF_INVALID;
	if (key == NULL) {
		if (X509_PUBKEY_get0_param(
			    &oid, NULL, NULL, NULL, X509_REQ_get_X509_PUBKEY(request)) == 1 &&
			EVP_PKEY_asn1_find(NULL, OBJ_obj2nid(oid)) == NULL)
			return ERR_PROOF_UNSUPPORTED;
		return ERR_PROOF_INVALID;
	}
	return signature_strong(request) && X509_REQ_verify(request, key) == 1 ? ERR_OK
									       : ERR_PROOF_INVALID;
}

enum err pubkey_csr(const uint8_t *der, size_t len, struct buf *spki_out)
{
	X509_REQ *request = NULL;
	uint8_t *spki = NULL;
	enum err e = ERR_PROOF_INVALID;

	if (len == 0 || len > CSR_MAX)
		return ERR_PROOF_INVALID;
	request = read_request(der, len);
	if (request == NULL || (e = verify_request(request)) != ERR_OK)
		goto out;
	int spki_len = i2d_X509_PUBKEY(X509_REQ_get_X509_PUBKEY(request), &spki);
	e = ERR_CRYPTO;
	if (spki_len <= 0)
		goto out;
	buf_put(spki_out, spki, (size_t)spki_len);
	e = spki_out->err;
out:
	OPENSSL_free(spki);
	X509_REQ_free(request);
	ERR_clear_error();
	return e;
}

static bool in_group(const BIGNUM *v, const EC_GROUP *group)
{
	return !BN_is_zero(v) && BN_cmp(v, EC_GROUP_get0_order(group)) < 0;
}

enum err pubkey_ecdsa_der(enum key_type key, const uint8_t *raw, size_t len, struct buf *out)
{
	size_t half = pubkey_order(key);
	const EC_GROUP *group = pubkey_curve(key);
	uint8_t *der = NULL;
	BIGNUM *r = NULL, *s = NULL;
	enum err e = ERR_CRYPTO;

	if (half == 0 || len != 2 * half)
		return ERR_LENGTH;
	ECDSA_SIG *signature = ECDSA_SIG_new();
	r = BN_bin2bn(raw, (int)half, NULL);
	s = BN_bin2bn(raw + half, (int)half, NULL);
	if (group == NULL || signature == NULL || r == NULL || s == NULL)
		goto out;
	e = ERR_DC_SIGNATURE;
	if (!in_group(r, group) || !in_group(s, group))
		goto out;
	e = ERR_CRYPTO;
	ECDSA_SIG_set0(signature, r, s);
	r = s = NULL;
	int der_len = i2d_ECDSA_SIG(signature, &der);
	if (der_len <= 0)
		goto out;
	buf_put(out, der, (size_t)der_len);
	e = out->err;
out:
	OPENSSL_free(der);
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(signature);
	return e;
}
