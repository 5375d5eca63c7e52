#include "foresee.h"

#include <stdlib.h>

/* The names of one item as C strings. */
struct names {
	char id[ID_SIZE], key[NAME_SIZE], client[NAME_SIZE], idempotency[IDEMPOTENCY_SIZE];
};

static void authorised(struct store_need *n, struct names *names, const struct record *r)
{
	state_text(names->key, sizeof(names->key), &r->key);
	state_text(names->client, sizeof(names->client), &r->client);
	state_text(names->idempotency, sizeof(names->idempotency), &r->idempotency);
	n->key = names->key;
	n->client = names->client;
	n->idempotency = r->idempotency.len ? names->idempotency : NULL;
	n->spki_sha256 = r->spki_sha256.len == SHA256_SIZE ? r->spki_sha256.at : NULL;
	n->now = r->now;
}

/* An outcome; an UNKNOWN without attempt is a self-test's. */
static void outcome(struct store_need *n, struct names *names, const struct record *r)
{
	if (!r->id.len || !state_text(names->id, sizeof(names->id), &r->id))
		return;
	n->id = names->id;
	n->attempt = r->attempt == RECORD_NONE ? 0 : r->attempt;
}

enum err foresee(struct ledger *l, const struct commit_item *items, size_t count)
{
	const struct store_engine *engine = l->store->engine;
	struct store_need *needs;
	struct names *names;
	enum err e;

	if (!engine->foresee)
		return ERR_OK;
	needs = calloc(count + 1, sizeof(*needs));
	names = calloc(count + 1, sizeof(*names));
	for (size_t i = 0; needs && names && i < count; i++) {
		if (items[i].record.type == RECORD_AUTHORISED)
			authorised(&needs[i], &names[i], &items[i].record);
		else if (items[i].record.type != RECORD_SELF_TEST)
			outcome(&needs[i], &names[i], &items[i].record);
	}
	e = needs && names ? engine->foresee(l->store, needs, count) : ERR_NOMEM;
	free(needs);
	free(names);
	return e;
}
