#include "public_keys.h"

#include <openssl/evp.h>
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
	key = certificate_key(c);
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
