#include "certificate.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <string.h>

static const char *curve_name(enum key_type key)
{
	switch (key) {
	case KEY_EC_P256:
		return "P-256";
	case KEY_EC_P384:
		return "P-384";
	case KEY_EC_P521:
		return "P-521";
	default:
		return NULL;
	}
}

/* A tenth of what libcrypto takes to find out what a SubjectPublicKeyInfo is. */
static EVP_PKEY *ec_key(const char *curve, const struct spki *spki)
{
	char group[8];
	uint8_t point[133];
	OSSL_PARAM params[3];
	EVP_PKEY_CTX *ctx;
	EVP_PKEY *key = NULL;

	if (spki->point_len > sizeof point)
		return NULL;
	memcpy(group, curve, strlen(curve) + 1);
	memcpy(point, spki->point, spki->point_len);
	params[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
	params[1] =
		OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, spki->point_len);
	params[2] = OSSL_PARAM_construct_end();
	ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
	if (ctx != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	EVP_PKEY_CTX_free(ctx);
	return key;
}

EVP_PKEY *certificate_key(const struct certificate *c)
{
	const char *curve = curve_name(c->key_type);
	const uint8_t *at = c->spki;
	struct spki spki;
	EVP_PKEY *key;

	if (c->spki == NULL)
		return NULL;
	if (curve != NULL && spki_recognise(&spki, c->spki, c->spki_len) == ERR_OK)
		key = ec_key(curve, &spki);
	else
		key = d2i_PUBKEY(NULL, &at, (long)c->spki_len);
	ERR_clear_error();
	return key;
}
