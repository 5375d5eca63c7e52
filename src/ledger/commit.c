#include "foresee.h"
#include "take.h"

#include <string.h>

#define REFILL_MS 1000 /* between two attempts to get the reserve back */
#define PURGE_LAG 2    /* seconds: writers' clock readings differ by less */

static void answer_reset(struct commit_item *it)
{
	memset(&it->answer, 0, sizeof(it->answer));
	buf_reset(&it->replay);
	it->replay.max = 2 * RECORD_MAX;
}

static struct chain *chain_named(struct ledger *l, const char *name)
{
	for (struct chain *c = l->chains; c; c = c->next) {
		if (strcmp(c->stored.chain, name) == 0)
			return c;
	}
	return NULL;
}

static enum err flood_write(struct group *g, bool all)
{
	struct flood_entry *f;
	enum err e = ERR_OK;

	while (!e && (f = flood_due(&g->l->flood, g->ms, all))) {
		struct commit_item it = {.own = true, .chain = chain_named(g->l, f->chain)};
		struct record r;

		record_init(&r, RECORD_REFUSED);
		r.time = g->now;
		r.client = octets_text(f->client);
		r.key = octets_text(f->key);
		r.reason = octets_text(f->reason);
		r.count = f->counted;
		e = take_append(g, &it, &r);
	}
	return e;
}

/*
 * Expired for the oldest clock reading that can still come. Only the readings of AUTHORISED count,
 * which come from a clock that its process trusts: this process's own may have jumped, and what is
 * forgotten then still lives.
 */
static enum err forget(const struct group *g, const struct commit_item *items, size_t count)
{
	int64_t now = INT64_MAX;

	for (size_t i = 0; i < count; i++) {
		if (items[i].record.type == RECORD_AUTHORISED && items[i].record.now < now)
			now = items[i].record.now;
	}
	if (now == INT64_MAX)
		return ERR_OK;
	now = (g->now < now ? g->now : now) - PURGE_LAG;
	return g->l->store->engine->purge(g->l->store, now, now - IDEMPOTENCY_TERM);
}

static bool begun(const struct ledger *l, const struct chain *c)
{
	return ledger_own(l, c) && !c->closed && c->stored.tree.size > 0;
}

/* A hold of another node, or its end, into the chains of this one, with the time that it has there:
 * what follows it is subject to it. */
static enum err hold_copy(struct group *g, const struct buf *json, struct buf *text)
{
	struct record r;
	enum err e = record_parse(&r, text, (const char *)json->octets, json->len);

	for (struct chain *c = g->l->chains; c && !e; c = c->next) {
		struct commit_item it = {.own = true, .chain = c};
		struct record copy = r;

		if (begun(g->l, c))
			e = take_append(g, &it, &copy);
	}
	return e;
}

static enum err holds_follow(struct group *g)
{
	const struct store_engine *engine = g->l->store->engine;
	const struct chain *c = g->l->chains;
	struct buf json = BUF_INIT(RECORD_MAX), text = BUF_INIT(RECORD_MAX);
	enum err e = ERR_OK;

	while (c && !begun(g->l, c)) /* START comes first */
		c = c->next;
	if (!engine->hold_news || !c)
		return ERR_OK;
	while (!e) {
		buf_reset(&json);
		buf_reset(&text);
		e = engine->hold_news(g->l->store, &json);
		if (!e)
			e = hold_copy(g, &json, &text);
	}
	buf_free(&json);
	buf_free(&text);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err judge(struct group *g, struct commit_item *items, size_t count)
{
	enum err e = foresee(g->l, items, count);

	if (!e)
		e = forget(g, items, count);
	if (!e)
		e = holds_follow(g);
	if (!e)
		e = flood_write(g, g->l->stopping);
	for (size_t i = 0; i < count && !e; i++) {
		answer_reset(&items[i]);
		e = take_record(g, &items[i]);
	}
	for (struct chain *c = g->l->chains; c && !e; c = c->next) {
		if (!c->touched)
			continue;
		merkle_root(&c->stored.tree, c->stored.root);
		e = g->l->store->engine->chain_put(g->l->store, &c->stored);
	}
	return e;
}

static void settle(struct group *g, bool committed)
{
	for (struct chain *c = g->l->chains; c; c = c->next) {
		c->unsure = c->touched && g->l->unsure;
		if (c->unsure)
			c->maybe = c->stored;
		if (c->touched && !committed)
			c->stored = c->saved;
		c->touched = false;
	}
	flood_settle(&g->l->flood, committed, g->ms);
}

static enum err transaction(struct group *g, struct commit_item *items, size_t count)
{
	struct store *s = g->l->store;
	enum err e = s->engine->begin(s);

	if (!e)
		e = judge(g, items, count);
	if (!e) {
		e = s->engine->commit(s);
		g->l->unsure = e == ERR_CLOSED;
	}
	if (e)
		refuse(&g->l->why, e, "ledger", "%s", s->engine->text(s));
	settle(g, !e);
	if (e == ERR_NO_ROOM) {
		enum err back = s->engine->rollback(s);

		e = back ? back : e;
	}
	return e;
}

static void refill(struct group *g)
{
	struct ledger *l = g->l;

	if (l->reserve || g->ms - l->tried_ms < REFILL_MS)
		return;
	l->tried_ms = g->ms;
	l->reserve = l->store->engine->reserve_fill(l->store);
}

enum err commit_group(
	struct ledger *l, struct commit_item *items, size_t count, int64_t now, int64_t ms)
{
	struct group g = {.l = l, .now = now, .ms = ms};

	if (l->lost)
		return ERR_CLOSED;
	l->unsure = false;
	refill(&g);
	g.full = !l->reserve;

	enum err e = transaction(&g, items, count);

	if (e == ERR_NO_ROOM && l->reserve) {
		l->store->engine->reserve_spend(l->store);
		l->reserve = false;
		l->tried_ms = ms;
		g.full = true;
		e = transaction(&g, items, count);
	}
	if (e == ERR_CLOSED)
		ledger_lose(l, ms);
	if (e != ERR_NO_ROOM)
		return e;
	for (size_t i = 0; i < count; i++) {
		answer_reset(&items[i]);
		take_no_room(&items[i]);
	}
	return ERR_OK;
}
