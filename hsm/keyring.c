#include "keyring.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "keyring_private.h"
#include "log.h"

static enum err malformed(
	const struct config_key *key, const struct config_file *file, struct refusal *why)
{
	return refuse(why, ERR_CERT_MALFORMED, "certificate",
		"key %s: %s holds no readable certificates", key->name, file->path);
}

/* What is known at once of a certificate file. */
static enum err chain_outline(struct ring_certificate *c, const struct config_key *key,
	const struct config_file *file, struct refusal *why)
{
	struct certificate_outline chain[CERT_CHAIN_MAX];
	size_t count;

	if (certificate_outline_pem(chain, CERT_CHAIN_MAX, &count, file->octets, file->len) !=
		ERR_OK)
		return malformed(key, file, why);
	memcpy(c->sha256, chain[0].sha256, SHA256_SIZE);
	memcpy(c->spki_sha256, chain[0].spki_sha256, SHA256_SIZE);
	c->file = file;
	certificate_outline_free(chain, count);
	return ERR_OK;
}

enum err ring_certificate_read(
	struct keyring *ring, const struct ring_key *k, struct ring_certificate *c)
{
	struct certificate chain[CERT_CHAIN_MAX];
	struct refusal unfit = {.err = ERR_OK};
	size_t count;
	enum err e;

	if (c->read)
		return c->unfit != NULL && c->again == 0 ? c->unfit->err : ERR_OK;
	c->read = true;
	e = certificate_read_pem(chain, CERT_CHAIN_MAX, &count, c->file->octets, c->file->len);
	if (e == ERR_OK) {
		c->leaf = chain[0];
		while (count > 1)
			certificate_free(&chain[--count]);
		e = certificate_may_delegate(&c->leaf, AS_ISSUER, &unfit);
		EVP_PKEY_free(c->leaf.key); /* public_key() makes it again from its octets */
		c->leaf.key = NULL;
	} else {
		malformed(k->config, c->file, &unfit);
	}
	if (e == ERR_OK)
		return ERR_OK;
	pthread_mutex_lock(&ring->lock);
	c->proof = PROOF_BAD;
	ring_refuse(&c->unfit, &unfit);
	pthread_mutex_unlock(&ring->lock);
	LOG(LOG_LEVEL_WARNING, "certificate can't delegate", LS("key", k->config->name),
		LS("file", c->file->path), LS("reason", err_name(unfit.err)),
		LS("detail", unfit.detail));
	return unfit.err;
}

static enum err key_read(struct ring_key *k, const struct config_key *config, struct refusal *why)
{
	struct refusal uri = {.err = ERR_OK};

	k->config = config;
	k->told = ERR_COUNT;
	k->certificate = calloc(config->certificate_count + 1, sizeof *k->certificate);
	if (k->certificate == NULL)
		return refuse(why, ERR_NOMEM, "", "%s", "");
	if (token_key_uri_check(config->uri, &uri) != ERR_OK)
		return refuse(why, uri.err, "uri", "key %s: uri: %s", config->name, uri.detail);
	for (size_t i = 0; i < config->certificate_count; i++) {
		enum err e = chain_outline(&k->certificate[k->certificate_count++], config,
			&config->certificate[i], why);

		if (e != ERR_OK)
			return e;
	}
	return ERR_OK;
}

static void key_free(struct ring_key *k)
{
	for (size_t i = 0; i < k->certificate_count; i++) {
		certificate_free(&k->certificate[i].leaf);
		free(k->certificate[i].unfit);
	}
	free(k->certificate);
	free(k->weak);
	free(k->state);
}

static bool is_of(const struct config_key *key, const char *token)
{
	return token == NULL || strcmp(key->token, token) == 0;
}

/* Adds the public key of a certificate file's leaf. One that can't be read is refused where it is
 * used. */
static void spki_add(struct keyring *k, const struct config_file *file)
{
	struct certificate_outline chain[CERT_CHAIN_MAX];
	size_t count;

	if (certificate_outline_pem(chain, CERT_CHAIN_MAX, &count, file->octets, file->len) !=
		ERR_OK)
		return;
	memcpy(k->spki[k->spki_count++], chain[0].spki_sha256, SHA256_SIZE);
	certificate_outline_free(chain, count);
}

static int by_octets(const void *a, const void *b)
{
	return memcmp(a, b, SHA256_SIZE);
}

/* The public keys that no delegated credential may have: first of every delegation certificate,
 * those of other tokens too, then of the TLS servers. */
static enum err spkis_gather(struct keyring *k, const char *token)
{
	const struct config *c = k->config;
	size_t n = c->listen_count;

	for (size_t i = 0; i < c->key_count; i++)
		n += c->key[i].certificate_count;
	k->spki = calloc(n + 1, sizeof *k->spki);
	if (k->spki == NULL)
		return ERR_NOMEM;
	for (size_t i = 0; i < k->count; i++)
		for (size_t j = 0; j < k->key[i].certificate_count; j++)
			memcpy(k->spki[k->spki_count++], k->key[i].certificate[j].spki_sha256,
				SHA256_SIZE);
	for (size_t i = 0; i < c->key_count; i++)
		for (size_t j = 0; !is_of(&c->key[i], token) && j < c->key[i].certificate_count;
			j++)
			spki_add(k, &c->key[i].certificate[j]);
	k->delegation_count = k->spki_count;
	for (size_t i = 0; i < c->listen_count; i++)
		if (!c->listen[i].is_unix)
			spki_add(k, &c->listen[i].certificate);
	qsort(k->spki, k->delegation_count, sizeof *k->spki, by_octets);
	qsort(k->spki + k->delegation_count, k->spki_count - k->delegation_count, sizeof *k->spki,
		by_octets);
	return ERR_OK;
}

static void *read_ahead(void *arg)
{
	struct keyring *k = arg;

	for (size_t i = 0; i < k->count; i++)
		for (size_t j = 0; j < k->key[i].certificate_count; j++) {
			if (k->read_enough)
				return NULL;
			(void)ring_certificate_read(k, &k->key[i], &k->key[i].certificate[j]);
		}
	return NULL;
}

void keyring_read_ahead(struct keyring *k)
{
	k->reading = pthread_create(&k->reader, NULL, read_ahead, k) == 0;
}

void ring_read_end(struct keyring *k)
{
	k->read_enough = true;
	if (k->reading)
		pthread_join(k->reader, NULL);
	k->reading = false;
}

/* All of them, to check them. */
static enum err certificates_read(struct keyring *k, struct refusal *why)
{
	for (size_t i = 0; i < k->count; i++)
		for (size_t j = 0; j < k->key[i].certificate_count; j++) {
			struct ring_certificate *c = &k->key[i].certificate[j];

			if (ring_certificate_read(k, &k->key[i], c) == ERR_CERT_MALFORMED &&
				c->leaf.der == NULL)
				return malformed(k->key[i].config, c->file, why);
		}
	return ERR_OK;
}

enum err keyring_new(
	struct keyring **out, struct config *config, const char *token, struct refusal *why)
{
	struct keyring *k = calloc(1, sizeof *k);
	enum err e;

	*out = NULL;
	if (k == NULL)
		return refuse(why, ERR_NOMEM, "", "%s", "");
	k->references = 1;
	k->config = config_ref(config);
	pthread_mutex_init(&k->lock, NULL);
	k->key = calloc(config->key_count + 1, sizeof *k->key);
	e = k->key == NULL ? refuse(why, ERR_NOMEM, "", "%s", "") : ERR_OK;
	for (size_t i = 0; e == ERR_OK && i < config->key_count; i++)
		if (is_of(&config->key[i], token))
			e = key_read(&k->key[k->count++], &config->key[i], why);
	if (e == ERR_OK && spkis_gather(k, token) != ERR_OK)
		e = refuse(why, ERR_NOMEM, "", "%s", "");
	if (e == ERR_OK && token == NULL)
		e = certificates_read(k, why);
	if (e == ERR_OK)
		*out = k;
	else
		keyring_unref(k);
	return e;
}

struct keyring *keyring_ref(struct keyring *k)
{
	atomic_fetch_add(&k->references, 1);
	return k;
}

void keyring_unref(struct keyring *k)
{
	if (k == NULL || atomic_fetch_sub(&k->references, 1) > 1)
		return;
	ring_read_end(k);
	for (size_t i = 0; i < k->count; i++)
		key_free(&k->key[i]);
	free(k->key);
	free(k->spki);
	pthread_mutex_destroy(&k->lock);
	config_unref(k->config);
	free(k);
}

const struct config *keyring_config(const struct keyring *k)
{
	return k->config;
}

struct ring_certificate *ring_issuing(struct ring_key *k, int64_t now)
{
	struct ring_certificate *best = NULL;

	for (size_t i = 0; k->found && i < k->certificate_count; i++) {
		struct ring_certificate *c = &k->certificate[i];

		if (c->proof == PROOF_GOOD && certificate_valid_at(&c->leaf, now) == ERR_OK &&
			(best == NULL || c->leaf.not_before > best->leaf.not_before))
			best = c;
	}
	return best;
}

void ring_refuse(struct refusal **at, const struct refusal *why)
{
	if (why == NULL || why->err == ERR_OK) {
		free(*at);
		*at = NULL;
		return;
	}
	if (*at == NULL)
		*at = malloc(sizeof **at);
	if (*at != NULL)
		**at = *why;
}

static int by_name(const void *name, const void *key)
{
	return strcmp(name, ((const struct ring_key *)key)->config->name);
}

struct ring_key *ring_key(const struct keyring *k, const char *name)
{
	return k->count == 0 ? NULL : bsearch(name, k->key, k->count, sizeof *k->key, by_name);
}

/* With the lock held: what whoever asks for a signature is told. */
static enum err refuse_unserved(const struct ring_key *key, struct refusal *why)
{
	enum err e = ring_unserved(key);
	bool say = key->state != NULL && !err_of_token(e);

	refuse(why, ERR_KEY_UNAVAILABLE, "key", "%s%s%s", err_text(e), say ? ": " : "",
		say ? key->state->detail : "");
	if (why != NULL)
		why->retry_after = e == ERR_TOKEN ? 1 : 30;
	return ERR_KEY_UNAVAILABLE;
}

enum err keyring_find(struct keyring *k, const char *name, int64_t now, struct keyring_use *use,
	struct refusal *why)
{
	struct ring_key *key = ring_key(k, name);
	const struct ring_certificate *c;
	enum err e = ERR_OK;

	if (key == NULL)
		return refuse(why, ERR_NO_KEY, "key", "%s", "");
	pthread_mutex_lock(&k->lock);
	key->wanted = monotonic_ms();
	c = ring_issuing(key, now);
	if (c != NULL) {
		*use = (struct keyring_use){key->config, &c->leaf, key->key};
	} else {
		k->asked = true;
		e = refuse_unserved(key, why);
	}
	pthread_mutex_unlock(&k->lock);
	return e;
}

bool keyring_pending(struct keyring *k, const char *name, int64_t now)
{
	struct ring_key *key = ring_key(k, name);
	bool pending = false;

	if (key == NULL)
		return false;
	pthread_mutex_lock(&k->lock);
	if (key->state == NULL && ring_issuing(key, now) == NULL)
		for (size_t i = 0; i < key->certificate_count; i++)
			pending = pending || key->certificate[i].proof == PROOF_UNTRIED;
	if (pending) {
		key->wanted = monotonic_ms();
		k->asked = true;
	}
	pthread_mutex_unlock(&k->lock);
	return pending;
}

bool keyring_has_spki(const struct keyring *k, const uint8_t sha256[SHA256_SIZE])
{
	return bsearch(sha256, k->spki, k->delegation_count, sizeof *k->spki, by_octets) != NULL;
}

bool keyring_server_spki(const struct keyring *k, const uint8_t sha256[SHA256_SIZE])
{
	return bsearch(sha256, k->spki + k->delegation_count, k->spki_count - k->delegation_count,
		       sizeof *k->spki, by_octets) != NULL;
}
