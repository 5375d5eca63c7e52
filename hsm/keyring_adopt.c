/* Which proofs end with the channel to ledger or token, and which a new configuration takes over.
 */
#include <string.h>

#include "keyring_private.h"

void keyring_refuse_all(struct keyring *k, const struct refusal *why)
{
	pthread_mutex_lock(&k->lock);
	for (size_t i = 0; i < k->count; i++) {
		k->key[i].found = false;
		ring_refuse(&k->key[i].state, why);
	}
	pthread_mutex_unlock(&k->lock);
}

void keyring_forget(struct keyring *k)
{
	pthread_mutex_lock(&k->lock);
	for (size_t i = 0; i < k->count; i++) {
		k->key[i].found = false;
		k->key[i].told = ERR_COUNT;
		ring_refuse(&k->key[i].state, NULL);
		for (size_t j = 0; j < k->key[i].certificate_count; j++) {
			struct ring_certificate *c = &k->key[i].certificate[j];

			if (c->proof == PROOF_GOOD)
				c->proof = PROOF_UNTRIED;
		}
	}
	pthread_mutex_unlock(&k->lock);
}

static bool same_texts(char *const *a, size_t n, char *const *b, size_t m)
{
	for (size_t i = 0; n == m && i < n; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return n == m;
}

static bool same_key(const struct config_key *a, const struct config_key *b)
{
	return strcmp(a->uri, b->uri) == 0 &&
	       same_texts(a->accept_weak_key, a->accept_weak_key_count, b->accept_weak_key,
		       b->accept_weak_key_count) &&
	       a->issuer_ca.len == b->issuer_ca.len &&
	       (a->issuer_ca.len == 0 ||
		       memcmp(a->issuer_ca.octets, b->issuer_ca.octets, a->issuer_ca.len) == 0);
}

static bool same_certificate(const struct ring_certificate *a, const struct ring_certificate *b)
{
	return memcmp(a->sha256, b->sha256, SHA256_SIZE) == 0;
}

static void certificates_adopt(struct ring_key *k, const struct ring_key *old)
{
	for (size_t i = 0; i < k->certificate_count; i++)
		for (size_t j = 0; j < old->certificate_count; j++)
			if (k->certificate[i].proof == PROOF_UNTRIED &&
				old->certificate[j].proof == PROOF_GOOD &&
				same_certificate(&k->certificate[i], &old->certificate[j]))
				k->certificate[i].proof = PROOF_GOOD;
}

/* Those that will be adopted are read, before anybody has to wait for it. */
static void certificates_prepare(
	struct keyring *ring, struct ring_key *k, const struct ring_key *old)
{
	for (size_t i = 0; i < k->certificate_count; i++)
		for (size_t j = 0; j < old->certificate_count; j++)
			if (same_certificate(&k->certificate[i], &old->certificate[j]))
				(void)ring_certificate_read(ring, k, &k->certificate[i]);
}

void keyring_adopt(struct keyring *k, struct keyring *old)
{
	for (size_t i = 0; i < k->count; i++) {
		const struct ring_key *was = ring_key(old, k->key[i].config->name);

		if (was != NULL)
			certificates_prepare(k, &k->key[i], was);
	}
	pthread_mutex_lock(&old->lock);
	for (size_t i = 0; i < k->count; i++) {
		const struct ring_key *was = ring_key(old, k->key[i].config->name);

		if (was == NULL || !was->found || !same_key(k->key[i].config, was->config))
			continue;
		k->key[i].found = true;
		k->key[i].key = was->key;
		k->key[i].weak = was->weak == NULL ? NULL : strdup(was->weak);
		k->key[i].wanted = was->wanted;
		k->key[i].told = was->told;
		certificates_adopt(&k->key[i], was);
	}
	pthread_mutex_unlock(&old->lock);
}
