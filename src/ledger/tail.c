#include "tail.h"

#include <stdlib.h>
#include <string.h>

#include "record.h"

struct tail {
	const struct store_chain *chain;
	int64_t from, next;
	uint8_t (*leaf)[SHA256_SIZE];
	struct buf text;
	struct refusal *why;
};

static enum err damaged(const struct tail *t, int64_t idx, const char *what)
{
	return refuse(t->why, ERR_FORMAT, "ledger", "chain %s, record %lld: %s", t->chain->chain,
		(long long)idx, what);
}

static bool says(const struct octets *o, const char *text)
{
	return o->len == strlen(text) && memcmp(o->at, text, o->len) == 0;
}

static enum err tail_row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct tail *t = arg;
	uint8_t hash[SHA256_SIZE];
	struct record r;

	if (idx != t->next)
		return damaged(t, t->next, "missing");
	if (idx >= (int64_t)t->chain->tree.size)
		return damaged(t, idx, "stands behind the end of its chain");
	if (len == 0) { /* archived: the tree's edge says whether its leaf hash is right */
		memcpy(t->leaf[idx - t->from], leaf, SHA256_SIZE);
		t->next++;
		return ERR_OK;
	}
	buf_reset(&t->text);
	if (record_parse(&r, &t->text, json, len))
		return damaged(t, idx, "is not a record in canonical form");
	if (r.idx != idx || !says(&r.chain, t->chain->chain))
		return damaged(t, idx, "names another place than its own");
	merkle_leaf(json, len, hash);
	if (memcmp(hash, leaf, SHA256_SIZE) != 0)
		return damaged(t, idx, "does not have the leaf hash that is stored beside it");
	memcpy(t->leaf[idx - t->from], leaf, SHA256_SIZE);
	t->next++;
	return ERR_OK;
}

/* Each subtree of the edge that begins at or after t->from, recomputed. */
static enum err edge_check(const struct tail *t)
{
	const struct merkle *tree = &t->chain->tree;
	uint64_t at = 0;
	unsigned edge = 0;

	for (int bit = 63; bit >= 0; bit--) {
		uint64_t width = 1ull << bit;

		if (!(tree->size & width))
			continue;
		if (at >= (uint64_t)t->from) {
			struct merkle m;

			merkle_init(&m);
			for (uint64_t i = 0; i < width; i++)
				merkle_append(&m, t->leaf[at + i - (uint64_t)t->from]);
			if (memcmp(m.edge[0], tree->edge[edge], SHA256_SIZE) != 0)
				return damaged(t, (int64_t)at,
					"the tree's edge does not follow from the records from "
					"here on");
		}
		at += width;
		edge++;
	}
	return ERR_OK;
}

enum err tail_check(struct store *s, const struct store_chain *c, struct refusal *why)
{
	struct tail t = {.chain = c, .why = why, .text = BUF_INIT(RECORD_MAX)};
	int64_t size = (int64_t)c->tree.size;
	uint8_t root[SHA256_SIZE];
	enum err e;

	merkle_root(&c->tree, root);
	if (memcmp(root, c->root, SHA256_SIZE) != 0)
		return refuse(why, ERR_FORMAT, "ledger",
			"chain %s: its root does not follow from its edge", c->chain);
	t.from = t.next = size > TAIL_RECORDS ? size - TAIL_RECORDS : 0;
	t.leaf = calloc(TAIL_RECORDS, SHA256_SIZE);
	if (!t.leaf)
		return ERR_NOMEM;
	e = s->engine->record_walk(s, c->chain, t.from, tail_row, &t);
	if (!e && t.next != size)
		e = damaged(&t, t.next, "missing");
	if (!e)
		e = edge_check(&t);
	free(t.leaf);
	buf_free(&t.text);
	return e;
}
