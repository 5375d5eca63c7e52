#include "postgres.h"

#include <string.h>

struct question {
	struct pg_columns attempts, idempotency, counts, shared;
	int64_t now;							   /* the latest */
	int attempts_at, idempotency_at, counts_at, expired_at, shared_at; /* results; -1: none */
};

static enum err count_wanted(
	struct postgres *s, struct question *q, const char *kind, const char *name)
{
	struct pg_row *row = pg_row_make(s, PG_ROW_COUNT, "tt", kind, name);

	if (!row)
		return ERR_NOMEM;
	if (row->asked)
		return ERR_OK;
	row->asked = true;
	strcpy(row->count.kind, kind);
	strcpy(row->count.name, name);
	return pg_columns_add(&q->counts, "tt", kind, name);
}

static enum err idempotency_wanted(
	struct postgres *s, struct question *q, const struct store_need *n)
{
	struct pg_row *row =
		pg_row_make(s, PG_ROW_IDEMPOTENCY, "ttt", n->client, n->key, n->idempotency);

	if (!row)
		return ERR_NOMEM;
	if (row->asked)
		return ERR_OK;
	row->asked = true;
	return pg_columns_add(&q->idempotency, "ttt", n->client, n->key, n->idempotency);
}

static enum err shared_wanted(struct postgres *s, struct question *q, const struct store_need *n)
{
	struct pg_row *row =
		pg_row_make(s, PG_ROW_SHARED, "hti", n->spki_sha256, n->client, n->now);

	if (!row)
		return ERR_NOMEM;
	if (row->asked)
		return ERR_OK;
	row->asked = true;
	return pg_columns_add(&q->shared, "hti", n->spki_sha256, n->client, n->now);
}

static enum err attempt_wanted(struct postgres *s, struct question *q, const struct store_need *n)
{
	struct pg_row *row = pg_row_make(s, PG_ROW_ATTEMPT, "ti", n->id, n->attempt);

	if (!row)
		return ERR_NOMEM;
	if (row->asked)
		return ERR_OK;
	row->asked = true;
	return pg_columns_add(&q->attempts, "ti", n->id, n->attempt);
}

static enum err wanted(struct postgres *s, struct question *q, const struct store_need *n)
{
	enum err e = n->id ? attempt_wanted(s, q, n) : ERR_OK;

	if (!e && n->key) {
		e = count_wanted(s, q, "key", n->key);
		if (!e)
			e = count_wanted(s, q, "client", n->client);
		if (n->now > q->now)
			q->now = n->now;
	}
	if (!e && n->idempotency)
		e = idempotency_wanted(s, q, n);
	if (!e && n->spki_sha256)
		e = shared_wanted(s, q, n);
	return e;
}

static enum err part_queue(
	struct postgres *s, enum pg_statement which, struct pg_columns *rows, int *at)
{
	*at = rows->column[0].count ? (int)s->queued : -1;
	return pg_columns_queue(s, which, rows);
}

static enum err question_send(struct postgres *s, struct question *q)
{
	enum err e = pg_enter_queue(s);

	if (!e)
		e = part_queue(s, PG_ATTEMPTS_GET, &q->attempts, &q->attempts_at);
	if (!e)
		e = part_queue(s, PG_IDEMPOTENCY_GET, &q->idempotency, &q->idempotency_at);
	if (!e)
		e = part_queue(s, PG_COUNTS_GET, &q->counts, &q->counts_at);
	if (!e)
		e = part_queue(s, PG_LIVE_SHARED, &q->shared, &q->shared_at);
	q->expired_at = q->now ? (int)s->queued : -1;
	if (!e && q->now)
		e = pg_queue(s, PG_EXPIRED, "ii", q->now, (int64_t)EXPIRED_KEPT + 1);
	if (!e)
		e = pg_sync(s);
	return e ? e : pg_enter_take(s);
}

/* ---- the answers ---- */

static enum err idempotency_keep_row(struct postgres *s, const PGresult *r, int row, int column)
{
	struct store_idempotency i;
	enum err e = pg_idempotency_read(r, row, column, &i);
	struct pg_row *at =
		e ? NULL
		  : pg_row_make(s, PG_ROW_IDEMPOTENCY, "ttt", i.client, i.key, i.idempotency);

	if (!at)
		return e ? e : ERR_NOMEM;
	at->asked = at->stored = at->there = true;
	at->idempotency = i;
	return ERR_OK;
}

enum err pg_attempts_keep(struct postgres *s, const PGresult *r)
{
	enum err e = ERR_OK;

	for (int i = 0; i < PQntuples(r) && !e; i++) {
		struct store_attempt a;
		struct pg_row *at;

		e = pg_attempt_read(r, i, &a);
		at = e ? NULL : pg_row_make(s, PG_ROW_ATTEMPT, "ti", a.id, a.attempt);
		if (!at)
			return e ? e : ERR_NOMEM;
		at->asked = at->stored = at->there = true;
		at->attempt = a;
		if (!*a.idempotency)
			continue;
		if (!PQgetisnull(r, i, 10))
			e = idempotency_keep_row(s, r, i, 10);
		else if ((at = pg_row_make(
				  s, PG_ROW_IDEMPOTENCY, "ttt", a.client, a.key, a.idempotency)))
			at->asked = true;
	}
	return e;
}

enum err pg_idempotency_keep(struct postgres *s, const PGresult *r)
{
	enum err e = ERR_OK;

	for (int i = 0; i < PQntuples(r) && !e; i++)
		e = idempotency_keep_row(s, r, i, 0);
	return e;
}

static enum err counts_keep(struct postgres *s, const PGresult *r)
{
	char kind[8], name[NAME_SIZE];

	for (int i = 0; i < PQntuples(r); i++) {
		if (!pg_text_of(r, i, 0, kind, sizeof(kind)) ||
			!pg_text_of(r, i, 1, name, sizeof(name)))
			return ERR_FORMAT;

		struct pg_row *at = pg_row_find(s, PG_ROW_COUNT, "tt", kind, name);

		if (at)
			at->count.live = pg_int(r, i, 2);
	}
	return ERR_OK;
}

static enum err shared_keep(struct postgres *s, const PGresult *r)
{
	uint8_t spki[SHA256_SIZE];
	char client[NAME_SIZE];

	for (int i = 0; i < PQntuples(r); i++) {
		if (!pg_octets_of(r, i, 0, spki, sizeof(spki)) ||
			!pg_text_of(r, i, 1, client, sizeof(client)))
			return ERR_FORMAT;

		struct pg_row *at =
			pg_row_find(s, PG_ROW_SHARED, "hti", spki, client, pg_int(r, i, 2));

		if (at)
			at->shared = pg_int(r, i, 3) != 0;
	}
	return ERR_OK;
}

static enum err expired_keep(struct postgres *s, const PGresult *r, int64_t now)
{
	int count = PQntuples(r);

	if (count > EXPIRED_KEPT) /* too many: live_count asks */
		return ERR_OK;
	for (int i = 0; i < count; i++) {
		struct pg_expired *x = &s->expired[i];

		if (!pg_text_of(r, i, 0, x->key, sizeof(x->key)) ||
			!pg_text_of(r, i, 1, x->client, sizeof(x->client)))
			return ERR_FORMAT;
		x->expiry = pg_int(r, i, 2);
	}
	s->expired_count = (size_t)count;
	s->expired_until = now;
	s->expired_known = true;
	return ERR_OK;
}

static enum err held_keep(struct postgres *s)
{
	PGresult *r;

	if (s->held_known || s->held_count > HELD_KEPT)
		return ERR_OK;

	enum err e = pg_ask(s, &r, PG_HOLD_ALL, "");

	for (int i = 0; !e && i < PQntuples(r) && i < HELD_KEPT; i++) {
		struct msg_held *h = &s->held[i];

		if (!pg_text_of(r, i, 0, h->key, sizeof(h->key)) ||
			!pg_text_of(r, i, 1, h->client, sizeof(h->client)) ||
			!pg_text_of(r, i, 2, h->reason, sizeof(h->reason)))
			e = ERR_FORMAT;
	}
	s->held_known = !e;
	return e;
}

static enum err answers_keep(struct postgres *s, const struct question *q)
{
	enum err e = ERR_OK;

	if (q->attempts_at >= 0)
		e = pg_attempts_keep(s, s->result[q->attempts_at]);
	if (!e && q->idempotency_at >= 0)
		e = pg_idempotency_keep(s, s->result[q->idempotency_at]);
	if (!e && q->counts_at >= 0)
		e = counts_keep(s, s->result[q->counts_at]);
	if (!e && q->shared_at >= 0)
		e = shared_keep(s, s->result[q->shared_at]);
	if (!e && q->expired_at >= 0)
		e = expired_keep(s, s->result[q->expired_at], q->now);
	return e;
}

enum err pg_foresee(struct store *store, const struct store_need *needs, size_t count)
{
	struct postgres *s = (struct postgres *)store;
	struct question q = {.now = 0};
	enum err e = ERR_OK;

	if (!s->open || s->sent)
		return ERR_INTERNAL;
	for (size_t i = 0; i < count && !e; i++)
		e = wanted(s, &q, &needs[i]);
	if (!e)
		e = question_send(s, &q);
	if (!e)
		e = answers_keep(s, &q);
	if (!e)
		e = held_keep(s);
	pg_columns_free(&q.attempts);
	pg_columns_free(&q.idempotency);
	pg_columns_free(&q.counts);
	pg_columns_free(&q.shared);
	return e;
}
