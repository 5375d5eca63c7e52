#include "postgres.h"

#include <string.h>

#define WALK_ROWS 1000

static enum err hash_of(const PGresult *r, uint8_t out[SHA256_SIZE])
{
	if (PQntuples(r) == 0)
		return ERR_NOT_FOUND;
	return pg_octets_of(r, 0, 0, out, SHA256_SIZE) ? ERR_OK : ERR_FORMAT;
}

enum err pg_leaf_get(
	struct store *store, const char *chain, uint64_t idx, uint8_t leaf[SHA256_SIZE])
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(s, &r, PG_LEAF_GET, "ti", chain, (int64_t)idx);
	return e ? e : hash_of(r, leaf);
}

enum err pg_node_put(struct store *store, const char *chain, unsigned level, uint64_t index,
	const uint8_t hash[SHA256_SIZE])
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);

	return pg_written(s, alone,
		pg_columns_add(&s->nodes, "tiih", chain, (int64_t)level, (int64_t)index, hash));
}

enum err pg_node_get(struct store *store, const char *chain, unsigned level, uint64_t index,
	uint8_t hash[SHA256_SIZE])
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(s, &r, PG_NODE_GET, "tii", chain, (int64_t)level, (int64_t)index);
	return e ? e : hash_of(r, hash);
}

enum err pg_record_chain_after(struct store *store, const char *chain, char *out)
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(s, &r, PG_RECORD_CHAIN, "t", chain);
	if (!e && PQntuples(r) == 0)
		return ERR_NOT_FOUND;
	return e ? e : pg_text_of(r, 0, 0, out, CHAIN_SIZE) ? ERR_OK : ERR_FORMAT;
}

enum err pg_checkpoint_put(struct store *store, const char *chain, const void *note, size_t len)
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);
	enum err e = pg_enter(s);

	if (!e)
		e = pg_queue(s, PG_CHECKPOINT_PUT, "tT", chain, note, len);
	return pg_written(s, alone, e);
}

enum err pg_checkpoint_get(struct store *store, const char *chain, struct buf *note)
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(s, &r, PG_CHECKPOINT_GET, "t", chain);
	if (e)
		return e;
	if (PQntuples(r) == 0)
		return ERR_NOT_FOUND;
	buf_put(note, PQgetvalue(r, 0, 0), (size_t)PQgetlength(r, 0, 0));
	return note->err;
}

/* ---- credentials ---- */

static enum err credential_add(struct postgres *s, const struct store_credential *c)
{
	enum err e = pg_enter(s); /* gives the last number */

	return e ? e
		 : pg_columns_add(&s->credentials, "ittiittii", ++s->number, c->id, c->chain,
			   c->authorised, c->issued, c->key, c->client, c->expiry, c->time);
}

enum err pg_credential_put(struct store *store, const struct store_credential *c)
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);

	return pg_written(s, alone, credential_add(s, c));
}

static enum err credential_read(const PGresult *r, int row, struct store_credential *out)
{
	bool ok = pg_text_of(r, row, 1, out->id, sizeof(out->id)) &&
		  pg_text_of(r, row, 2, out->chain, sizeof(out->chain)) &&
		  pg_text_of(r, row, 5, out->key, sizeof(out->key)) &&
		  pg_text_of(r, row, 6, out->client, sizeof(out->client));

	out->number = pg_int(r, row, 0);
	out->authorised = pg_int(r, row, 3);
	out->issued = pg_int(r, row, 4);
	out->expiry = pg_int(r, row, 7);
	out->time = pg_int(r, row, 8);
	return ok ? ERR_OK : ERR_FORMAT;
}

enum err pg_credential_get(struct store *store, const char *id, struct store_credential *out)
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(s, &r, PG_CREDENTIAL_GET, "t", id);
	if (!e && PQntuples(r) == 0)
		return ERR_NOT_FOUND;
	return e ? e : credential_read(r, 0, out);
}

static enum err number_ask(
	struct postgres *s, enum pg_statement which, const char *kinds, int64_t at, int64_t *out)
{
	PGresult *r;
	enum err e = pg_ask(s, &r, which, kinds, at);

	if (!e && PQntuples(r) == 0)
		return ERR_FORMAT;
	if (!e)
		*out = pg_int(r, 0, 0);
	return e;
}

/* Numbers have no gap, and times rise with them but for the steps of clocks. */
enum err pg_credential_since(struct store *store, int64_t time, int64_t *number)
{
	struct postgres *s = (struct postgres *)store;
	int64_t low = 0, high = 0, at = 0;
	enum err e = pg_ready(s);

	if (!e)
		e = number_ask(s, PG_CREDENTIAL_LAST, "", 0, &high);
	while (!e && low < high) {
		int64_t middle = low + (high - low + 1) / 2;

		e = number_ask(s, PG_CREDENTIAL_TIME, "i", middle, &at);
		if (at < time)
			low = middle;
		else
			high = middle - 1;
	}
	*number = low;
	return e;
}

enum err pg_credential_walk(
	struct store *store, int64_t after, store_credential_row *row, void *arg)
{
	struct postgres *s = (struct postgres *)store;
	static struct store_credential page[WALK_ROWS];
	enum err e = pg_ready(s);
	int count = WALK_ROWS;

	while (!e && count == WALK_ROWS) {
		PGresult *r;

		e = pg_ask(s, &r, PG_CREDENTIAL_WALK, "ii", after, (int64_t)WALK_ROWS);
		count = e ? 0 : PQntuples(r);
		for (int i = 0; i < count && !e; i++)
			e = credential_read(r, i, &page[i]);
		for (int i = 0; i < count && !e; i++) {
			after = page[i].number;
			e = row(arg, &page[i]);
		}
	}
	return e;
}

/* ---- all rows ---- */

/* The page stays in our hands while its rows are taken: whoever takes them may ask for others. */
static enum err page_ask(struct postgres *s, PGresult **page, enum err e)
{
	if (!e)
		e = pg_sync(s);
	*page = e ? NULL : s->result[s->results - 1];
	if (!e)
		s->result[--s->results] = NULL;
	return e;
}

enum err pg_attempt_walk(struct store *store, store_attempt_row *row, void *arg)
{
	struct postgres *s = (struct postgres *)store;
	struct store_attempt a = {.id = "", .attempt = -1};
	int count = WALK_ROWS;
	enum err e = pg_ready(s);

	while (!e && count == WALK_ROWS) {
		PGresult *page;

		e = page_ask(s, &page,
			pg_queue(s, PG_ATTEMPT_WALK, "tii", a.id, a.attempt, (int64_t)WALK_ROWS));
		count = e ? 0 : PQntuples(page);
		for (int i = 0; i < count && !e; i++) {
			e = pg_attempt_read(page, i, &a);
			if (!e)
				e = row(arg, &a);
		}
		PQclear(page);
	}
	return e;
}

enum err pg_idempotency_walk(struct store *store, store_idempotency_row *row, void *arg)
{
	struct postgres *s = (struct postgres *)store;
	struct store_idempotency at = {.client = ""};
	int count = WALK_ROWS;
	enum err e = pg_ready(s);

	while (!e && count == WALK_ROWS) {
		PGresult *page;

		e = page_ask(s, &page,
			pg_queue(s, PG_IDEMPOTENCY_WALK, "ttti", at.client, at.key, at.idempotency,
				(int64_t)WALK_ROWS));
		count = e ? 0 : PQntuples(page);
		for (int i = 0; i < count && !e; i++) {
			e = pg_idempotency_read(page, i, 0, &at);
			if (!e)
				e = row(arg, &at);
		}
		PQclear(page);
	}
	return e;
}

/* ---- holds ---- */

enum err pg_hold_put(struct store *store, const char *key, const char *client, const char *reason)
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);
	enum err e = pg_enter(s);

	s->held_known = false;
	if (!e)
		e = pg_queue(s, PG_HOLD_PUT, "ttt", key, client, reason);
	return pg_written(s, alone, e);
}

enum err pg_hold_drop(struct store *store, const char *key, const char *client)
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);
	enum err e = pg_enter(s);

	s->held_known = false;
	if (!e)
		e = pg_queue(s, PG_HOLD_DROP, "tt", key, client);
	return pg_written(s, alone, e);
}

enum err pg_hold_find(struct store *store, const char *key, const char *client, struct buf *reason)
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;

	for (uint64_t i = 0; s->open && s->held_known && i < s->held_count; i++) {
		const struct msg_held *h = &s->held[i];

		if ((!*h->key || strcmp(h->key, key) == 0) &&
			(!*h->client || strcmp(h->client, client) == 0)) {
			buf_text(reason, h->reason);
			return reason->err;
		}
	}
	if (s->open && s->held_known)
		return ERR_NOT_FOUND;

	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(s, &r, PG_HOLD_FIND, "tt", key, client);
	if (e)
		return e;
	if (PQntuples(r) == 0)
		return ERR_NOT_FOUND;
	buf_put(reason, PQgetvalue(r, 0, 0), (size_t)PQgetlength(r, 0, 0));
	return reason->err;
}

enum err pg_hold_after(
	struct store *store, const char *key, const char *client, struct msg_held *out)
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(s, &r, PG_HOLD_AFTER, "tt", key, client);
	if (!e && PQntuples(r) == 0)
		return ERR_NOT_FOUND;
	if (!e && (!pg_text_of(r, 0, 0, out->key, sizeof(out->key)) ||
			  !pg_text_of(r, 0, 1, out->client, sizeof(out->client)) ||
			  !pg_text_of(r, 0, 2, out->reason, sizeof(out->reason))))
		e = ERR_FORMAT;
	return e;
}

enum err pg_hold_tell(struct store *store, const void *json, size_t len)
{
	struct postgres *s = (struct postgres *)store;
	enum err e = pg_enter(s);

	return e ? e : pg_queue(s, PG_HOLD_TELL, "tT", s->node, json, len);
}

enum err pg_hold_news(struct store *store, struct buf *json)
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_enter(s);

	if (e)
		return e;
	if (s->seen >= s->events)
		return ERR_NOT_FOUND;
	e = pg_ready(s);
	if (!e)
		e = pg_ask(s, &r, PG_HOLD_NEWS, "it", s->seen, s->node);
	if (e)
		return e;
	if (PQntuples(r) == 0) { /* all of them our own */
		s->seen = s->events;
		return ERR_NOT_FOUND;
	}
	s->seen = pg_int(r, 0, 0);
	buf_put(json, PQgetvalue(r, 0, 1), (size_t)PQgetlength(r, 0, 1));
	return json->err;
}
