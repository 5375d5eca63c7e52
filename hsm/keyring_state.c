/* What the api is told about the keys. */
#include <stdio.h>
#include <string.h>

#include "keyring_private.h"

enum err ring_unserved(const struct ring_key *k)
{
	return k->state != NULL	   ? k->state->err
	       : k->told == ERR_OK ? ERR_CERT_EXPIRED
				   : ERR_KEY_UNPROVED;
}

/* FNV-1a: nobody gains by a collision. */
static uint64_t mix(uint64_t mark, const void *octets, size_t len)
{
	const uint8_t *at = octets;

	while (len-- > 0)
		mark = (mark ^ *at++) * 0x100000001b3;
	return mark;
}

static uint64_t mix_text(uint64_t mark, const char *text)
{
	return text == NULL ? mix(mark, "\1", 1) : mix(mark, text, strlen(text) + 1);
}

/* Of all that state_of tells of this key. */
static uint64_t mix_key(uint64_t mark, struct ring_key *k, int64_t now)
{
	const struct ring_certificate *c = ring_issuing(k, now);
	enum err e;

	mark = mix_text(mark, k->weak);
	if (c != NULL)
		return mix(mark, c->leaf.sha256, sizeof(uint64_t));
	e = ring_unserved(k);
	mark = mix(mark, &e, sizeof e);
	return mix_text(mark, k->state == NULL ? NULL : k->state->detail);
}

/* Of all that keyring_state tells, whatever is asked for; never 0. With the lock held. */
static uint64_t mark_of(struct keyring *k, int64_t now, const struct refusal *doubt)
{
	uint64_t mark = mix(0xcbf29ce484222325, k->config->generation, SHA256_SIZE);

	mark = mix_text(mark, doubt == NULL ? NULL : doubt->detail);
	for (size_t i = 0; i < k->count; i++)
		mark = mix_key(mark, &k->key[i], now);
	return mark | 1;
}

static void state_of(
	struct msg_state_key *out, struct ring_key *k, int64_t now, const struct refusal *doubt)
{
	const struct ring_certificate *c = ring_issuing(k, now);
	const char *detail = k->state == NULL || c != NULL ? "" : k->state->detail;

	memset(out, 0, sizeof *out);
	memcpy(out->name, k->config->name, sizeof out->name);
	if (k->weak != NULL)
		snprintf(out->weak, sizeof out->weak, "%s", k->weak);
	out->err = c != NULL ? ERR_OK : ring_unserved(k);
	if (c != NULL) {
		memcpy(out->certificate_sha256, c->leaf.sha256, SHA256_SIZE);
		out->certificate_not_after = c->leaf.not_after;
		out->algorithm = c->leaf.algorithm;
	}
	if (doubt != NULL && (out->err == ERR_OK || out->err == ERR_KEY_UNPROVED)) {
		out->err = doubt->err;
		detail = doubt->detail;
	}
	snprintf(out->detail, sizeof out->detail, "%.*s", (int)sizeof out->detail - 1, detail);
}

void keyring_state(struct keyring *k, const struct msg_state *ask, int64_t now,
	const struct refusal *doubt, struct msg_state_answer *answer)
{
	answer->total = (uint32_t)k->count;
	answer->from = ask->from;
	answer->count = 0;
	pthread_mutex_lock(&k->lock);
	answer->mark = mark_of(k, now, doubt);
	if (ask->mark != answer->mark)
		for (size_t i = ask->from; i < k->count && answer->count < STATE_KEYS; i++)
			state_of(&answer->key[answer->count++], &k->key[i], now, doubt);
	pthread_mutex_unlock(&k->lock);
}
