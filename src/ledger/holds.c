#include "holds.h"

#include <stdlib.h>
#include <string.h>

static enum err judge_names(const struct config *c, const struct msg_hold *m, struct refusal *why)
{
	if (*m->key && !config_key(c, m->key))
		return refuse(why, ERR_NO_KEY, "key", "there is no key \"%s\"", m->key);
	if (*m->client && !config_client(c, m->client))
		return refuse(why, ERR_NOT_FOUND, "client", "there is no client \"%s\"", m->client);
	return ERR_OK;
}

/* What is on hold can be released even when the configuration does not know it any more. */
static enum err judge_held(struct ledger *l, const struct msg_hold *m, struct refusal *why)
{
	struct msg_held h = {.key = ""};
	enum err e;

	while (!(e = l->store->engine->hold_after(l->store, h.key, h.client, &h))) {
		if (strcmp(h.key, m->key) == 0 && strcmp(h.client, m->client) == 0)
			return ERR_OK;
	}
	if (e != ERR_NOT_FOUND)
		return e;
	refuse(why, ERR_NOT_FOUND, "", "there is no hold on exactly this");
	return ERR_OK;
}

static enum err judge(
	struct ledger *l, enum record_type type, const struct msg_hold *m, struct refusal *why)
{
	const struct config *c = l->generation[0];
	const struct config_client *by = config_client(c, m->by);
	unsigned right = type == RECORD_HELD ? RIGHT_HOLD : RIGHT_RELEASE;

	if (!by || !(by->may & right)) {
		refuse(why, ERR_NO_RIGHT, "", "the client \"%s\" may not %s", m->by,
			type == RECORD_HELD ? "hold" : "release");
		return ERR_OK;
	}
	if (!*m->key && !*m->client) {
		refuse(why, ERR_MALFORMED, "key", "name a key, a client or both");
		return ERR_OK;
	}
	if (type == RECORD_RELEASED)
		return judge_held(l, m, why);
	judge_names(c, m, why);
	return ERR_OK;
}

static void record_of(struct record *r, enum record_type type, const struct msg_hold *m,
	const struct msg_hold_answer *a, int64_t now)
{
	record_init(r, type);
	r->time = now;
	r->request = octets_text(m->request);
	r->by = octets_text(m->by);
	r->client_sha256 = octets_of(m->by_sha256, SHA256_SIZE);
	r->client_serial = octets_text(m->by_serial);
	r->peer = octets_text(m->peer);
	r->key = octets_text(m->key);
	r->client = octets_text(m->client);
	r->reason = m->reason;
	r->live = (int64_t)a->live;
	if (a->latest_expiry)
		r->latest_expiry = a->latest_expiry;
}

/* The chains of the tokens that are configured are there from now on. */
static size_t chains_of_node(struct ledger *l, enum err *e)
{
	const struct config *c = l->generation[0];
	size_t count = 0;

	for (size_t i = 0; i < c->token_count && !*e; i++)
		*e = ledger_chain(l, c->token[i].name) ? ERR_OK : ERR_NOMEM;
	for (const struct chain *at = l->chains; at; at = at->next)
		count += ledger_own(l, at);
	return count;
}

static enum err write_all(
	struct ledger *l, const struct record *r, int64_t now, int64_t ms, struct refusal *why)
{
	enum err e = ERR_OK;
	size_t count = chains_of_node(l, &e), n = 0;
	struct commit_item *items = e ? NULL : calloc(count, sizeof(*items));

	if (!items)
		return ERR_NOMEM;
	for (struct chain *c = l->chains; c; c = c->next) {
		if (!ledger_own(l, c))
			continue;
		items[n].own = true;
		items[n].chain = c;
		items[n++].record = *r;
	}
	e = commit_group(l, items, count, now, ms);
	if (!e)
		*why = items[0].answer.refusal;
	free(items);
	return e;
}

enum err hold_take(struct ledger *l, enum record_type type, const struct msg_hold *m, int64_t now,
	int64_t ms, struct msg_hold_answer *a)
{
	struct record r;

	memset(a, 0, sizeof(*a));

	enum err e = l->lost ? ERR_CLOSED : judge(l, type, m, &a->refusal);

	if (!e && a->refusal.err)
		return ERR_OK;
	if (!e)
		e = l->store->engine->live_latest(
			l->store, m->key, m->client, true, now, &a->live, &a->latest_expiry);
	if (!e) {
		record_of(&r, type, m, a, now);
		e = write_all(l, &r, now, ms, &a->refusal);
	}
	if (e != ERR_CLOSED)
		return e;
	ledger_lose(l, ms);
	refuse(&a->refusal, ERR_LEDGER_UNAVAILABLE, "",
		"the database is lost: it may be in force, repeat the request");
	a->refusal.retry_after = 1;
	return ERR_OK;
}
