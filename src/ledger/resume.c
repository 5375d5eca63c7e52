/* A store that was lost, and what it must be when it is back: see commit.h. */
#include "commit.h"
#include "log.h"
#include "tail.h"

#include <string.h>

#define PAUSE_MS	100 /* doubled with each attempt */
#define PAUSE_MOST_MS	2000
#define PAUSE_BEHIND_MS 5000
#define STEADY_MS	10000 /* lost again sooner: the pauses go on growing */

void ledger_lose(struct ledger *l, int64_t ms)
{
	if (l->lost)
		return;
	l->lost = true;
	if (!l->pause_ms || ms - l->back_ms > STEADY_MS)
		l->pause_ms = PAUSE_MS;
	else if (2 * l->pause_ms <= PAUSE_MOST_MS)
		l->pause_ms *= 2;
	l->retry_ms = ms + l->pause_ms;
	LOG(LOG_LEVEL_ERROR, "the database is lost: nothing is signed until it is back",
		LS("detail", l->store->engine->text(l->store)));
}

static bool same(const struct store_chain *a, const struct store_chain *b)
{
	return a->tree.size == b->tree.size && memcmp(a->root, b->root, SHA256_SIZE) == 0;
}

static enum err behind(struct ledger *l, const struct chain *c, const struct store_chain *now)
{
	if (!l->behind)
		LOG(LOG_LEVEL_ERROR,
			"LEDGER-BEHIND: the database came back in another state than it was left "
			"in. The chain stops here and nothing is signed. Bring back the server "
			"that has all records",
			LS("chain", c->stored.chain), LN("records_known", c->stored.tree.size),
			LN("records_there", now->tree.size));
	l->behind = true;
	return ERR_CLOSED;
}

/* What the store says of a chain that is known here. */
static enum err tail_compare(struct ledger *l, struct chain *c, bool *kept, bool *durable)
{
	struct refusal why = {.err = ERR_OK};
	struct store_chain now;
	enum err e = l->store->engine->chain_get(l->store, c->stored.chain, &now);

	if (e == ERR_NOT_FOUND) {
		memset(&now, 0, sizeof(now));
		merkle_root(&now.tree, now.root);
		e = ERR_OK;
	}
	if (e)
		return e;
	if (!same(&now, &c->stored) && !(c->unsure && same(&now, &c->maybe)))
		return behind(l, c, &now);
	if (c->unsure)
		*(same(&now, &c->maybe) ? durable : kept) = true;
	if (!now.tree.size)
		return ERR_OK;
	e = tail_check(l->store, &now, &why);
	if (e == ERR_FORMAT)
		LOG(LOG_LEVEL_ERROR, "the tail is damaged", LS("detail", why.detail));
	return e == ERR_FORMAT ? behind(l, c, &now) : e;
}

static enum err tails_compare(struct ledger *l, bool *durable)
{
	bool kept = false;
	enum err e = ERR_OK;

	for (struct chain *c = l->chains; c && !e; c = c->next) {
		if (ledger_own(l, c) && !c->closed)
			e = tail_compare(l, c, &kept, durable);
	}
	/* half a transaction: no database does that */
	if (!e && kept && *durable)
		e = behind(l, l->chains, &l->chains->stored);
	return e;
}

static void settle(struct ledger *l, bool durable)
{
	for (struct chain *c = l->chains; c; c = c->next) {
		if (c->unsure && durable)
			c->stored = c->maybe;
		c->unsure = false;
	}
	l->lost = l->behind = l->unsure = false;
}

enum err ledger_resume(struct ledger *l, int64_t ms, bool *durable)
{
	const struct store_engine *engine = l->store->engine;
	struct refusal why = {.err = ERR_OK};
	enum err e = engine->resume(l->store, &why);

	*durable = false;
	if (!e)
		e = tails_compare(l, durable);
	if (!e)
		e = engine->claim(l->store, l->node, &why);
	if (!e) {
		settle(l, *durable);
		l->back_ms = ms;
		LOG(LOG_LEVEL_INFO, "the database is back, with every record that is known here");
		return ERR_OK;
	}
	l->pause_ms = l->behind ? PAUSE_BEHIND_MS : 2 * l->pause_ms;
	if (!l->behind && l->pause_ms > PAUSE_MOST_MS)
		l->pause_ms = PAUSE_MOST_MS;
	l->retry_ms = ms + l->pause_ms;
	return e == ERR_NOMEM ? e : ERR_CLOSED;
}

enum err ledger_succeed_behind(struct ledger *l, const char *chain, const char *reason, int64_t now,
	char name[CHAIN_SIZE], struct refusal *why)
{
	const struct store_engine *engine = l->store->engine;
	struct checkpoint known = {.size = 0};
	struct store_chain there;
	struct chain *c = l->chains;
	enum err e;

	while (c && strcmp(c->stored.chain, chain) != 0)
		c = c->next;
	if (!l->lost || !l->behind || !c || c->closed || !ledger_own(l, c))
		return refuse(why, ERR_NOT_FOUND, "chain",
			"%s is no chain that LEDGER-BEHIND has stopped here", chain);
	e = engine->resume(l->store, why);
	if (!e)
		e = engine->chain_get(l->store, chain, &there);
	if (!e && same(&there, &c->stored))
		return refuse(why, ERR_NOT_FOUND, "chain",
			"the database has all records of %s again: it goes on", chain);
	known.size = c->stored.tree.size;
	memcpy(known.root, c->stored.root, SHA256_SIZE);
	if (!e || e == ERR_NOT_FOUND)
		e = ledger_succeed(l->store, chain, &known, reason, now, name, why);
	if (e)
		return why->err ? e
				: refuse(why, e, "chain", "the database: %s",
					  engine->text(l->store));
	c->closed = true;
	l->retry_ms = 0;
	return ERR_OK;
}
