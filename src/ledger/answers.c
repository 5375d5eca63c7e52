#include "answers.h"

#include <string.h>

static enum err answer_live(
	struct ledger *l, const struct msg_read *m, int64_t now, struct msg_read_answer *a)
{
	return l->store->engine->live_issued(
		l->store, m->key, m->client, now, &a->live, &a->latest_expiry);
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
	memset(a, 0, sizeof(*a));
	a->kind = m->kind;
	return m->kind == READ_LIVE ? answer_live(l, m, now, a) : answer_heads(l, m, now, a);
}
