#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "courier.h"
#include "heads.h"
#include "tail.h"

#define CLOSE_AT_ONCE	128
#define COURIER_LAST_MS 2000

struct chain *ledger_chain_add(struct ledger *l, const struct store_chain *stored)
{
	struct chain *c = calloc(1, sizeof(*c)), **at = &l->chains;

	if (!c)
		return NULL;
	c->stored = *stored;
	while (*at && strcmp((*at)->stored.chain, stored->chain) < 0)
		at = &(*at)->next;
	c->next = *at;
	*at = c;
	return c;
}

static bool name_own(const struct ledger *l, const char *chain)
{
	size_t len = strlen(l->node);

	return strncmp(chain, l->node, len) == 0 && chain[len] == '/';
}

/* A closed chain may be damaged: that is why it was closed. */
static enum err chains_load(struct ledger *l, struct refusal *why)
{
	struct store_chain stored = {.chain = ""};
	enum err e;

	while (!(e = l->store->engine->chain_after(l->store, stored.chain, &stored))) {
		/* those of other nodes grow while we look */
		if (l->store->engine->claim && !name_own(l, stored.chain))
			continue;
		if (!ledger_chain_add(l, &stored))
			return ERR_NOMEM;
	}
	e = e == ERR_NOT_FOUND ? succeed_load(l, why) : e;
	for (struct chain *c = l->chains; c && !e; c = c->next)
		e = c->closed ? ERR_OK : tail_check(l->store, &c->stored, why);
	return e;
}

static enum err all_written(const struct commit_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (items[i].answer.refusal.err)
			return ERR_NO_ROOM;
	}
	return ERR_OK;
}

static enum err own_commit(
	struct ledger *l, struct commit_item *items, size_t count, int64_t now, int64_t ms)
{
	enum err e = commit_group(l, items, count, now, ms);

	return e ? e : all_written(items, count);
}

static void unknown_of(
	struct commit_item *it, struct chain *c, const struct store_attempt *a, int64_t now)
{
	it->own = true;
	it->chain = c;
	record_init(&it->record, RECORD_UNKNOWN);
	it->record.time = now;
	it->record.id = octets_text(a->id);
	if (a->attempt)
		it->record.attempt = a->attempt;
	it->record.reason = octets_text(err_name(ERR_OUTCOME_UNKNOWN));
	it->record.detail = octets_text("no outcome came before its writer or the ledger ended");
}

/* An UNKNOWN record for each open attempt of the chain. */
static enum err close_open(struct ledger *l, struct chain *c, int64_t now)
{
	if (c->closed) /* no record can say it there: it counts as live until it expires */
		return ERR_OK;

	struct store_attempt *open = calloc(CLOSE_AT_ONCE, sizeof(*open));
	struct commit_item *items = calloc(CLOSE_AT_ONCE, sizeof(*items));
	enum err e = open && items ? ERR_OK : ERR_NOMEM;
	size_t n = CLOSE_AT_ONCE;

	while (!e && n == CLOSE_AT_ONCE) {
		int64_t after = NO_IDX;

		for (n = 0; n < CLOSE_AT_ONCE; n++) {
			e = l->store->engine->attempt_open(
				l->store, c->stored.chain, after, &open[n]);
			if (e)
				break;
			after = open[n].idx;
			unknown_of(&items[n], c, &open[n], now);
		}
		if (!e || e == ERR_NOT_FOUND)
			e = n ? own_commit(l, items, n, now, 0) : ERR_OK;
	}
	free(open);
	free(items);
	return e;
}

enum err ledger_open(
	struct ledger *l, const char *url, const char *node, int64_t now, struct refusal *why)
{
	const struct store_engine *engine;
	const char *where;

	memset(l, 0, sizeof(*l));
	l->live_dear_us = LIVE_DEAR_US;
	l->live_many = LIVE_MANY;
	l->courier = -1;
	l->json = l->config = (struct buf)BUF_INIT(RECORD_MAX + 1);
	snprintf(l->node, sizeof(l->node), "%s", node);

	enum err e = store_engine_of(url, &engine, &where, why);

	if (!e)
		e = engine->open(&l->store, where, why);
	if (e)
		return e;
	why->err = ERR_OK;
	if (engine->claim)
		e = engine->claim(l->store, node, why);
	if (!e)
		e = chains_load(l, why);
	l->reserve = !e && engine->reserve_fill(l->store);
	for (struct chain *c = l->chains; c && !e; c = c->next)
		e = close_open(l, c, now);
	if (e && !why->err)
		refuse(why, e, "ledger", "%s: %s", engine->claim ? "the database" : where,
			l->why.err ? l->why.detail : engine->text(l->store));
	if (e)
		ledger_abandon(l);
	return e;
}

void ledger_abandon(struct ledger *l)
{
	struct chain *next;

	if (l->store)
		l->store->engine->abandon(l->store);
	for (struct chain *c = l->chains; c; c = next) {
		next = c->next;
		buf_free(&c->note);
		free(c);
	}
	buf_free(&l->other.note);
	for (int i = 0; i < GENERATIONS; i++)
		config_unref(l->generation[i]);
	buf_free(&l->json);
	buf_free(&l->config);
	if (l->courier >= 0)
		courier_stop(l->courier, 0);
	signer_close(&l->signer);
	memset(l, 0, sizeof(*l));
	l->courier = -1;
}

/* STOP for each chain that had a writer. */
static enum err chains_stop(struct ledger *l, int64_t now, int64_t ms)
{
	enum err e = ERR_OK;

	for (struct chain *c = l->chains; c && !e; c = c->next) {
		struct commit_item it = {.own = true, .chain = c};

		if (!c->served)
			continue;
		record_init(&it.record, RECORD_STOP);
		it.record.time = now;
		e = close_open(l, c, now);
		if (!e)
			e = own_commit(l, &it, 1, now, ms);
	}
	return e ? e : heads_take(l, true, now, ms);
}

enum err ledger_stop(struct ledger *l, int64_t now, int64_t ms)
{
	l->stopping = true;

	enum err e = chains_stop(l, now, ms);

	if (l->courier >= 0)
		courier_stop(l->courier, COURIER_LAST_MS);
	l->courier = -1;

	if (!e || e == ERR_NO_ROOM) {
		enum err end = l->store->engine->stop(l->store);

		l->store = NULL;
		e = e ? e : end;
	}
	ledger_abandon(l);
	return e;
}

void ledger_generation(struct ledger *l, struct config *c)
{
	config_unref(l->generation[GENERATIONS - 1]);
	memmove(l->generation + 1, l->generation, (GENERATIONS - 1) * sizeof(l->generation[0]));
	l->generation[0] = config_ref(c);
}

bool ledger_own(const struct ledger *l, const struct chain *c)
{
	return !c->closed && name_own(l, c->stored.chain);
}

struct chain *ledger_find(struct ledger *l, const char *name)
{
	const struct store_engine *engine = l->store->engine;
	struct chain *c = l->chains;

	while (c && strcmp(c->stored.chain, name) != 0)
		c = c->next;
	if (c || !engine->claim || name_own(l, name))
		return c;
	c = &l->other;
	buf_reset(&c->note);
	c->note.max = CHECKPOINT_MAX;
	if (engine->chain_get(l->store, name, &c->stored))
		return NULL;
	if (engine->checkpoint_get(l->store, name, &c->note))
		buf_reset(&c->note);
	return c;
}

struct chain *ledger_chain(struct ledger *l, const char *token)
{
	struct store_chain fresh = {.last_time = 0};
	struct chain *c = l->chains;

	snprintf(fresh.chain, sizeof(fresh.chain), "%s/%s", l->node, token);
	while (c && (c->closed || !succeed_same(c->stored.chain, fresh.chain)))
		c = c->next;
	if (!c) {
		merkle_init(&fresh.tree);
		merkle_root(&fresh.tree, fresh.root);
		c = ledger_chain_add(l, &fresh);
	}
	if (c)
		snprintf(c->token, sizeof(c->token), "%s", token);
	return c;
}

enum err ledger_serve(struct ledger *l, const char *token, int64_t now, struct chain **out)
{
	struct chain *c = ledger_chain(l, token);

	if (!c)
		return ERR_NOMEM;

	enum err e = close_open(l, c, now);

	c->served = c->served || !e;
	*out = c;
	return e;
}
