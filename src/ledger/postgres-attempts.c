#include "postgres.h"

#include <string.h>

static enum err attempts_ask(struct postgres *s, PGresult **r, const char *id, int64_t attempt)
{
	struct pg_array ids = {.count = 0}, numbers = {.count = 0};

	pg_array_text(&ids, id, strlen(id));
	pg_array_int(&numbers, attempt);

	enum err e = pg_ask(s, r, PG_ATTEMPTS_GET, "aa", &ids, &numbers);

	buf_free(&ids.octets);
	buf_free(&numbers.octets);
	return e;
}

/* The row in memory, fetched if it was not foreseen. */
static enum err attempt_row(
	struct postgres *s, const char *id, int64_t attempt, struct pg_row **out)
{
	struct pg_row *row = pg_row_make(s, PG_ROW_ATTEMPT, "ti", id, attempt);
	PGresult *r;
	enum err e = ERR_OK;

	*out = row;
	if (!row)
		return ERR_NOMEM;
	if (row->asked)
		return ERR_OK;
	e = pg_ready(s);
	if (!e)
		e = attempts_ask(s, &r, id, attempt);
	if (!e)
		e = pg_attempts_keep(s, r);
	row->asked = !e;
	return e;
}

static enum err count_add(struct postgres *s, const char *kind, const char *name, int64_t n)
{
	struct pg_row *row = pg_row_make(s, PG_ROW_COUNT, "tt", kind, name);

	if (!row)
		return ERR_NOMEM;
	strcpy(row->count.kind, kind);
	strcpy(row->count.name, name);
	row->count.added += n;
	row->dirty = row->there = true;
	return ERR_OK;
}

static enum err count_both(struct postgres *s, const struct store_attempt *a, int64_t n)
{
	if (!*a->client)
		return ERR_OK;

	enum err e = count_add(s, "key", a->key, n);

	return e ? e : count_add(s, "client", a->client, n);
}

/* live_shared of this transaction must know. */
static enum err spki_changed(struct postgres *s, const struct store_attempt *a, bool dropped)
{
	struct pg_row *row = pg_row_make(s, PG_ROW_SPKI, "h", a->spki_sha256);

	if (!row)
		return ERR_NOMEM;
	if (!*a->client)
		return ERR_OK;
	row->spki.many = row->spki.many || dropped ||
			 (row->there && strcmp(row->spki.client, a->client) != 0);
	row->there = true;
	strcpy(row->spki.client, a->client);
	if (a->expiry > row->spki.expiry)
		row->spki.expiry = a->expiry;
	return ERR_OK;
}

static enum err put(struct postgres *s, const struct store_attempt *a)
{
	struct pg_row *row = pg_row_make(s, PG_ROW_ATTEMPT, "ti", a->id, a->attempt);

	if (!row)
		return ERR_NOMEM;
	if (row->there)
		return ERR_FORMAT;
	if (row->stored) /* dropped in this transaction */
		return ERR_FORMAT;
	row->attempt = *a;
	row->asked = row->there = row->dirty = true;

	enum err e = count_both(s, a, 1);

	return e ? e : spki_changed(s, a, false);
}

enum err pg_attempt_put(struct store *store, const struct store_attempt *a)
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);

	return pg_written(s, alone, put(s, a));
}

enum err pg_attempt_get(
	struct store *store, const char *id, int64_t attempt, struct store_attempt *out)
{
	struct postgres *s = (struct postgres *)store;
	struct pg_row *row;
	PGresult *r;
	enum err e;

	if (!s->open) {
		e = attempts_ask(s, &r, id, attempt);
		if (!e && PQntuples(r) == 0)
			return ERR_NOT_FOUND;
		return e ? e : pg_attempt_read(r, 0, out);
	}
	e = attempt_row(s, id, attempt, &row);
	if (!e && !row->there)
		return ERR_NOT_FOUND;
	if (!e)
		*out = row->attempt;
	return e;
}

static enum err issue(struct postgres *s, const char *id, int64_t attempt, int64_t issued)
{
	struct pg_row *row;
	enum err e = attempt_row(s, id, attempt, &row);

	if (e || !row->there)
		return e;
	row->attempt.issued = issued;
	row->dirty = true;
	return ERR_OK;
}

enum err pg_attempt_issue(struct store *store, const char *id, int64_t attempt, int64_t issued)
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);

	return pg_written(s, alone, issue(s, id, attempt, issued));
}

static enum err drop(struct postgres *s, const struct store_attempt *a)
{
	struct pg_row *row;
	enum err e = attempt_row(s, a->id, a->attempt, &row);

	if (e || !row->there)
		return e;
	row->there = false;
	row->dirty = true;
	e = count_both(s, a, -1);
	return e ? e : spki_changed(s, a, true);
}

enum err pg_attempt_drop(struct store *store, const struct store_attempt *a)
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);

	return pg_written(s, alone, drop(s, a));
}

enum err pg_attempt_open(
	struct store *store, const char *chain, int64_t after, struct store_attempt *out)
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(s, &r, PG_ATTEMPT_OPEN, "ti", chain, after);
	if (!e && PQntuples(r) == 0)
		return ERR_NOT_FOUND;
	return e ? e : pg_attempt_read(r, 0, out);
}

/* ---- live ones ---- */

/* How many have expired until now and are counted yet. */
static uint64_t expired_of(
	const struct postgres *s, const char *key, const char *client, int64_t now)
{
	uint64_t n = 0;

	for (size_t i = 0; i < s->expired_count && s->expired[i].expiry <= now; i++)
		n += strcmp(*key ? s->expired[i].key : s->expired[i].client, *key ? key : client) ==
		     0;
	return n;
}

enum err pg_live_count(
	struct store *store, const char *key, const char *client, int64_t now, uint64_t *count)
{
	struct postgres *s = (struct postgres *)store;
	const struct pg_row *row =
		pg_row_find(s, PG_ROW_COUNT, "tt", *key ? "key" : "client", *key ? key : client);
	PGresult *r;

	if (s->open && row && row->asked && s->expired_known && now <= s->expired_until) {
		*count = (uint64_t)(row->count.live + row->count.added) -
			 expired_of(s, key, client, now);
		return ERR_OK;
	}

	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(
			s, &r, *key ? PG_LIVE_KEY : PG_LIVE_CLIENT, "ti", *key ? key : client, now);
	if (!e)
		*count = (uint64_t)pg_int(r, 0, 0);
	return e;
}

enum err pg_live_latest(struct store *store, const char *key, const char *client, bool open,
	int64_t now, uint64_t *count, int64_t *latest)
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(s, &r, PG_LIVE_LATEST, "ttii", key, client, now, (int64_t)open);
	if (e)
		return e;
	*count = (uint64_t)pg_int(r, 0, 0);
	*latest = pg_int(r, 0, 1);
	return ERR_OK;
}

static enum err shared_ask(struct postgres *s, const uint8_t spki_sha256[SHA256_SIZE],
	const char *client, int64_t now, bool *shared)
{
	struct pg_columns c = {0};
	PGresult *r;
	enum err e = pg_ready(s);

	if (!e)
		e = pg_columns_add(&c, "hti", spki_sha256, client, now);
	if (!e)
		e = pg_ask(s, &r, PG_LIVE_SHARED, "aaa", &c.column[0], &c.column[1], &c.column[2]);
	if (!e)
		*shared = pg_int(r, 0, 3) != 0;
	pg_columns_free(&c);
	return e;
}

enum err pg_live_shared(struct store *store, const uint8_t spki_sha256[SHA256_SIZE],
	const char *client, int64_t now, bool *shared)
{
	struct postgres *s = (struct postgres *)store;
	const struct pg_row *row = pg_row_find(s, PG_ROW_SHARED, "hti", spki_sha256, client, now);
	const struct pg_row *here = pg_row_find(s, PG_ROW_SPKI, "h", spki_sha256);

	if (!s->open || !row || !row->asked || (here && here->spki.many))
		return shared_ask(s, spki_sha256, client, now, shared);
	*shared = row->shared || (here && here->there && strcmp(here->spki.client, client) != 0 &&
					 here->spki.expiry > now);
	return ERR_OK;
}

enum err pg_purge(struct store *store, int64_t expired, int64_t forgotten)
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);

	if (expired != s->purged) {
		s->purge_expired = expired;
		s->purge_forgotten = forgotten;
	}
	return pg_written(s, alone, ERR_OK);
}

/* ---- idempotency keys ---- */

static enum err idempotency_ask(struct postgres *s, PGresult **r, const struct store_idempotency *i)
{
	struct pg_columns c = {0};
	enum err e = pg_columns_add(&c, "ttt", i->client, i->key, i->idempotency);

	if (!e)
		e = pg_ask(
			s, r, PG_IDEMPOTENCY_GET, "aaa", &c.column[0], &c.column[1], &c.column[2]);
	pg_columns_free(&c);
	return e;
}

enum err pg_idempotency_get(struct store *store, struct store_idempotency *i)
{
	struct postgres *s = (struct postgres *)store;
	struct pg_row *row;
	PGresult *r;
	enum err e;

	if (!s->open) {
		e = idempotency_ask(s, &r, i);
		if (!e && PQntuples(r) == 0)
			return ERR_NOT_FOUND;
		return e ? e : pg_idempotency_read(r, 0, 0, i);
	}
	row = pg_row_make(s, PG_ROW_IDEMPOTENCY, "ttt", i->client, i->key, i->idempotency);
	if (!row)
		return ERR_NOMEM;
	if (!row->asked) {
		e = pg_ready(s);
		if (!e)
			e = idempotency_ask(s, &r, i);
		if (!e)
			e = pg_idempotency_keep(s, r);
		if (e)
			return e;
		row->asked = true;
	}
	if (!row->there)
		return ERR_NOT_FOUND;
	*i = row->idempotency;
	return ERR_OK;
}

static enum err idempotency_set(struct postgres *s, const struct store_idempotency *i)
{
	struct pg_row *row =
		pg_row_make(s, PG_ROW_IDEMPOTENCY, "ttt", i->client, i->key, i->idempotency);

	if (!row)
		return ERR_NOMEM;
	row->idempotency = *i;
	row->asked = row->there = row->dirty = true;
	return ERR_OK;
}

enum err pg_idempotency_put(struct store *store, const struct store_idempotency *i)
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);

	return pg_written(s, alone, idempotency_set(s, i));
}
