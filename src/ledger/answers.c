#include "answers.h"

#include <string.h>

static enum err answer_live(
	struct ledger *l, const struct msg_read *m, int64_t now, struct msg_read_answer *a)
{
	return l->store->engine->live_latest(
		l->store, m->key, m->client, false, now, &a->live, &a->latest_expiry);
}

static enum err answer_holds(
	struct ledger *l, const struct msg_read *m, int64_t now, struct msg_read_answer *a)
{
	const char *key = m->key, *client = m->client;
	enum err e = ERR_OK;

	(void)now;
	while (!e && a->held_count < READ_HELD) {
		struct msg_held *h = &a->held[a->held_count];

		e = l->store->engine->hold_after(l->store, key, client, h);
		if (e)
			break;
		a->held_count++;
		key = h->key;
		client = h->client;
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err answer_heads(
	struct ledger *l, const struct msg_read *m, int64_t now, struct msg_read_answer *a)
{
	(void)m;
	(void)now;
	a->octets = l->store->engine->octets(l->store);
	for (const struct chain *c = l->chains;
		c && a->count < sizeof(a->head) / sizeof(a->head[0]); c = c->next) {
		struct msg_head_of_chain *h = &a->head[a->count++];

		strcpy(h->chain, c->stored.chain);
		h->size = c->stored.tree.size;
		h->last_time = c->stored.last_time;
		memcpy(h->root, c->stored.root, SHA256_SIZE);
	}
	return ERR_OK;
}

enum err answer_read(
	struct ledger *l, const struct msg_read *m, int64_t now, struct msg_read_answer *a)
{
	static enum err (*const kinds[])(struct ledger *, const struct msg_read *, int64_t,
		struct msg_read_answer *) = {[READ_LIVE] = answer_live,
		[READ_HEADS] = answer_heads,
		[READ_HOLDS] = answer_holds};

	memset(a, 0, sizeof(*a));
	a->kind = m->kind;
	return kinds[m->kind](l, m, now, a);
}
