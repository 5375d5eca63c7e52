#include "public_keys.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <string.h>

struct kept {
	uint8_t spki_sha256[SHA256_SIZE];
	EVP_PKEY *key; /* NULL: the place is free */
	uint64_t used; /* the greatest: last */
};

static struct {
	pthread_mutex_t lock;
	uint64_t uses;
	struct kept kept[PUBLIC_KEYS_MOST];
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

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

static EVP_PKEY *make(const struct certificate *c)
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

/* With the lock held: one more reference of it, or NULL. */
static EVP_PKEY *find(const uint8_t spki_sha256[SHA256_SIZE])
{
	for (size_t i = 0; i < PUBLIC_KEYS_MOST; i++) {
		struct kept *k = &cache.kept[i];

		if (k->key == NULL || memcmp(k->spki_sha256, spki_sha256, SHA256_SIZE) != 0)
			continue;
		k->used = ++cache.uses;
		return EVP_PKEY_up_ref(k->key) == 1 ? k->key : NULL;
	}
	return NULL;
}

/* With the lock held: in the place of the one that was not used for longest, which is returned. */
static EVP_PKEY *keep(const uint8_t spki_sha256[SHA256_SIZE], EVP_PKEY *key)
{
	struct kept *place = &cache.kept[0];
	EVP_PKEY *before;

	for (size_t i = 1; i < PUBLIC_KEYS_MOST; i++)
		if (cache.kept[i].used < place->used)
			place = &cache.kept[i];
	before = place->key;
	*place = (struct kept){.key = key, .used = ++cache.uses};
	memcpy(place->spki_sha256, spki_sha256, SHA256_SIZE);
	return before;
}

EVP_PKEY *public_key(const struct certificate *c)
{
	EVP_PKEY *key, *other, *before = NULL;

	pthread_mutex_lock(&cache.lock);
	key = find(c->spki_sha256);
	pthread_mutex_unlock(&cache.lock);
	if (key != NULL)
		return key;
	key = make(c);
	if (key == NULL || EVP_PKEY_up_ref(key) != 1)
		return key;
	pthread_mutex_lock(&cache.lock);
	other = find(c->spki_sha256);
	if (other == NULL)
		before = keep(c->spki_sha256, key);
	pthread_mutex_unlock(&cache.lock);
	if (other == NULL) {
		EVP_PKEY_free(before);
		return key;
	}
	EVP_PKEY_free(key); /* another thread was quicker */
	EVP_PKEY_free(key);
	return other;
}

size_t public_keys_kept(void)
{
	size_t n = 0;

	pthread_mutex_lock(&cache.lock);
	for (size_t i = 0; i < PUBLIC_KEYS_MOST; i++)
		n += cache.kept[i].key != NULL;
	pthread_mutex_unlock(&cache.lock);
	return n;
}
