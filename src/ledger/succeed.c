#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commit.h"

bool succeed_same(const char *chain, const char *first)
{
	size_t len = strlen(first);

	return strncmp(chain, first, len) == 0 && (chain[len] == '\0' || chain[len] == '#');
}

static struct chain *chain_named(const struct ledger *l, const char *name)
{
	for (struct chain *c = l->chains; c; c = c->next) {
		if (strcmp(c->stored.chain, name) == 0)
			return c;
	}
	return NULL;
}

/* Its first record, when that is SUCCEEDED. */
static enum err previous_read(struct ledger *l, struct chain *c, struct refusal *why)
{
	struct buf json = BUF_INIT(RECORD_MAX), text = BUF_INIT(RECORD_MAX);
	uint8_t leaf[SHA256_SIZE], hash[SHA256_SIZE];
	struct record r;
	enum err e = l->store->engine->record_get(l->store, c->stored.chain, 0, &json, leaf);

	merkle_leaf(json.octets, json.len, hash);
	if (!e && (memcmp(hash, leaf, SHA256_SIZE) != 0 ||
			  record_parse(&r, &text, (const char *)json.octets, json.len) ||
			  r.type != RECORD_SUCCEEDED || r.root.len != SHA256_SIZE || r.size < 0 ||
			  !state_text(c->previous, sizeof(c->previous), &r.previous)))
		e = ERR_FORMAT;
	if (e == ERR_FORMAT || e == ERR_NOT_FOUND) {
		e = refuse(why, ERR_FORMAT, "ledger",
			"chain %s, record 0: does not say which chain it goes on for",
			c->stored.chain);
	} else if (!e) {
		c->previous_size = (uint64_t)r.size;
		memcpy(c->previous_root, r.root.at, SHA256_SIZE);
	}
	buf_free(&json);
	buf_free(&text);
	return e;
}

enum err succeed_load(struct ledger *l, struct refusal *why)
{
	enum err e = ERR_OK;

	for (struct chain *c = l->chains; c && !e; c = c->next) {
		struct chain *before;

		if (!strchr(c->stored.chain, '#'))
			continue;
		e = previous_read(l, c, why);
		before = e ? NULL : chain_named(l, c->previous);
		if (before)
			before->closed = true;
	}
	return e;
}

/* The name after that of a chain: #2 after none. False: it has no room. */
static bool name_next(char out[CHAIN_SIZE], const char *chain)
{
	const char *hash = strchr(chain, '#');
	int len = hash ? (int)(hash - chain) : (int)strlen(chain);
	long number = hash ? strtol(hash + 1, NULL, 10) : 1;

	return snprintf(out, CHAIN_SIZE, "%.*s#%ld", len, chain, number + 1) < CHAIN_SIZE;
}

/* What is known of the chain that ends. */
static enum err last_known(struct store *s, const char *chain, const struct checkpoint *known,
	uint64_t *size, uint8_t root[SHA256_SIZE], struct refusal *why)
{
	struct store_chain stored;
	enum err e = s->engine->chain_get(s, chain, &stored);
	bool there = !e;

	if (e && e != ERR_NOT_FOUND)
		return e;
	if (!there && !known)
		return refuse(why, ERR_NOT_FOUND, "chain",
			"there is no chain %s in this ledger, and no checkpoint of it was given",
			chain);
	if (there && (!known || known->size < stored.tree.size)) {
		*size = stored.tree.size;
		memcpy(root, stored.root, SHA256_SIZE);
		return ERR_OK;
	}
	*size = known->size;
	memcpy(root, known->root, SHA256_SIZE);
	return ERR_OK;
}

static enum err first_write(struct ledger *l, const char *chain, const char *name, uint64_t size,
	const uint8_t root[SHA256_SIZE], const char *reason, int64_t now)
{
	struct commit_item it = {.own = true};
	struct store_chain fresh = {.last_time = now};

	snprintf(fresh.chain, sizeof(fresh.chain), "%s", name);
	merkle_init(&fresh.tree);
	it.chain = ledger_chain_add(l, &fresh);
	if (!it.chain)
		return ERR_NOMEM;
	record_init(&it.record, RECORD_SUCCEEDED);
	it.record.time = now;
	it.record.previous = octets_text(chain);
	it.record.size = (int64_t)size;
	it.record.root = octets_of(root, SHA256_SIZE);
	it.record.reason = octets_text(reason);

	enum err e = commit_group(l, &it, 1, now, 0);

	if (!e && it.answer.refusal.err)
		e = ERR_NO_ROOM;
	free(it.chain);
	l->chains = NULL;
	return e;
}

enum err ledger_succeed(struct store *store, const char *chain, const struct checkpoint *known,
	const char *reason, int64_t now, char name[CHAIN_SIZE], struct refusal *why)
{
	static struct ledger l;
	struct store_chain next;
	uint8_t root[SHA256_SIZE];
	uint64_t size;
	enum err e = last_known(store, chain, known, &size, root, why);

	if (e)
		return e;
	if (!name_next(name, chain))
		return refuse(why, ERR_FORMAT, "chain", "%s is too long for a successor", chain);
	e = store->engine->chain_get(store, name, &next);
	if (!e)
		return refuse(why, ERR_FORMAT, "chain", "%s is closed already: %s goes on for it",
			chain, name);
	if (e != ERR_NOT_FOUND)
		return e;
	memset(&l, 0, sizeof(l));
	l.store = store;
	l.courier = -1;
	l.json = l.config = (struct buf)BUF_INIT(RECORD_MAX + 1);
	l.reserve = true;
	snprintf(l.node, sizeof(l.node), "%.*s", (int)strcspn(chain, "/"), chain);
	if (store->engine->claim) {
		e = store->engine->claim(store, l.node, why);
		if (e)
			return e;
	}
	e = first_write(&l, chain, name, size, root, reason, now);
	buf_free(&l.json);
	buf_free(&l.config);
	return e;
}
