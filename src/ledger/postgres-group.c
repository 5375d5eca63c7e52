#include "postgres.h"

#include <string.h>

/* ---- its beginning and its end ---- */

void pg_forget(struct postgres *s)
{
	pg_rows_free(s);
	for (int i = 0; i < PG_COLUMNS; i++) {
		struct pg_array *all[] = {&s->records.column[i], &s->nodes.column[i],
			&s->credentials.column[i], &s->blanks.column[i]};

		for (int k = 0; k < 4; k++) {
			buf_reset(&all[k]->octets);
			all[k]->count = 0;
		}
	}
	s->open = s->begun = s->sent = s->held_known = s->expired_known = false;
	s->expired_count = 0;
	s->purge_expired = 0;
}

enum err pg_begin(struct store *store)
{
	struct postgres *s = (struct postgres *)store;

	pg_forget(s);
	s->open = true;
	s->seen_before = s->seen;
	return s->conn ? ERR_OK : ERR_CLOSED;
}

enum err pg_enter_queue(struct postgres *s)
{
	enum err e = s->begun ? ERR_OK : pg_queue(s, PG_BEGIN, "");

	if (!e)
		e = pg_queue(s, PG_LOCK, "");
	if (!e)
		e = pg_queue(s, PG_STATE, "t", s->node);
	s->sent = !e;
	return e;
}

/* Under the lock: are we still the writer of this node? */
enum err pg_enter_take(struct postgres *s)
{
	const PGresult *r = s->result[s->begun ? 1 : 2];

	if (PQntuples(r) != 1)
		return ERR_FORMAT;
	if (pg_int(r, 0, 0) != s->epoch)
		return pg_lost(s, "another process writes the chains of this node now");
	s->number = pg_int(r, 0, 1);
	s->events = pg_int(r, 0, 2);
	s->held_count = (uint64_t)pg_int(r, 0, 3);
	s->held_known = s->held_count == 0;
	return ERR_OK;
}

enum err pg_enter(struct postgres *s)
{
	if (s->conn && s->queued > PG_RESULTS / 2)
		return pg_sync(s);
	if (!s->open || s->sent)
		return s->conn ? ERR_OK : ERR_CLOSED;

	enum err e = pg_enter_queue(s);

	if (!e)
		e = pg_sync(s);
	return e ? e : pg_enter_take(s);
}

enum err pg_ready(struct postgres *s)
{
	enum err e = pg_enter(s);

	return e || !s->open ? e : pg_flush(s);
}

bool pg_alone(struct postgres *s)
{
	if (s->open)
		return false;
	pg_begin(&s->store);
	return true;
}

enum err pg_written(struct postgres *s, bool alone, enum err e)
{
	if (!alone)
		return e;
	if (!e)
		e = pg_commit(&s->store);
	if (e)
		pg_rollback(&s->store);
	return e;
}

/* ---- what it has written ---- */

struct changes {
	struct pg_columns put, issue, drop, idempotency, counts;
};

static enum err attempt_change(struct changes *c, const struct pg_row *row)
{
	const struct store_attempt *a = &row->attempt;

	if (row->there && !row->stored)
		return pg_columns_add(&c->put, "titiitthit", a->id, a->attempt, a->chain, a->idx,
			a->issued, a->key, a->client, a->spki_sha256, a->expiry, a->idempotency);
	if (row->there)
		return pg_columns_add(&c->issue, "tii", a->id, a->attempt, a->issued);
	return row->stored ? pg_columns_add(&c->drop, "ti", a->id, a->attempt) : ERR_OK;
}

static enum err row_change(struct changes *c, struct pg_row *row)
{
	const struct store_idempotency *i = &row->idempotency;
	enum err e = ERR_OK;

	if (!row->dirty)
		return ERR_OK;
	if (row->table == PG_ROW_ATTEMPT) {
		e = attempt_change(c, row);
	} else if (row->table == PG_ROW_IDEMPOTENCY) {
		e = pg_columns_add(&c->idempotency, "ttthittii", i->client, i->key, i->idempotency,
			i->request_sha256, i->time, i->id, i->chain, i->authorised, i->issued);
	} else if (row->count.added) {
		e = pg_columns_add(
			&c->counts, "tti", row->count.kind, row->count.name, row->count.added);
		row->count.live += row->count.added;
		row->count.added = 0;
	}
	row->stored = row->there;
	row->dirty = false;
	return e;
}

enum err pg_flush(struct postgres *s)
{
	static struct changes c;
	enum err e = ERR_OK;

	for (struct pg_row *at = s->first; at && !e; at = at->later)
		e = row_change(&c, at);

	struct {
		enum pg_statement which;
		struct pg_columns *rows;
	} all[] = {{PG_RECORDS_PUT, &s->records}, {PG_NODES_PUT, &s->nodes},
		{PG_ATTEMPTS_PUT, &c.put}, {PG_ATTEMPTS_ISSUE, &c.issue},
		{PG_ATTEMPTS_DROP, &c.drop}, {PG_COUNTS_ADD, &c.counts},
		{PG_IDEMPOTENCY_PUT, &c.idempotency}, {PG_CREDENTIALS_PUT, &s->credentials},
		{PG_RECORDS_BLANK, &s->blanks}};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]) && !e; i++)
		e = pg_columns_queue(s, all[i].which, all[i].rows);
	pg_columns_free(&c.put);
	pg_columns_free(&c.issue);
	pg_columns_free(&c.drop);
	pg_columns_free(&c.counts);
	pg_columns_free(&c.idempotency);
	memset(&c, 0, sizeof(c));
	return e;
}

enum err pg_commit(struct store *store)
{
	struct postgres *s = (struct postgres *)store;
	enum err e = pg_ready(s);

	if (!e && s->purge_expired) {
		e = pg_queue(s, PG_PURGE_ATTEMPTS, "i", s->purge_expired);
		if (!e)
			e = pg_queue(s, PG_PURGE_IDEMPOTENCY, "i", s->purge_forgotten);
	}
	if (!e && s->seen != s->seen_before)
		e = pg_queue(s, PG_HOLD_SEEN, "ti", s->node, s->seen);
	if (!e)
		e = pg_queue(s, PG_COMMIT, "");
	if (!e)
		e = pg_sync(s);
	if (e == ERR_CLOSED)
		s->seen = s->seen_before;
	if (!e && s->purge_expired)
		s->purged = s->purge_expired;
	if (!e || e == ERR_CLOSED)
		pg_forget(s);
	return e;
}

enum err pg_rollback(struct store *store)
{
	struct postgres *s = (struct postgres *)store;
	bool sent = s->open && (s->sent || s->begun) && s->conn;

	if (s->open)
		s->seen = s->seen_before;
	pg_forget(s);
	if (!sent)
		return ERR_OK;

	enum err e = pg_queue(s, PG_ROLLBACK, "");

	return e ? e : pg_sync(s);
}
