/* The end of a transaction, and what it leaves for later. See sqlite-pending.h. */
#include "sqlite.h"

#include <string.h>

#define SETTLE_ATTEMPTS 256
#define SETTLE_OCTETS	(256 << 10) /* of the log */

/* ---- into the tables ---- */

/* Neighbours are mostly of the same key and client: their counts are added together. */
static enum err attempts_settle(struct store *s, const struct pending *p)
{
	const struct store_attempt *counted = NULL;
	int64_t n = 0;
	enum err e = ERR_OK;

	for (size_t i = 0; i < p->attempts && !e; i++) {
		const struct store_attempt *a = &p->attempt[i].a;

		if (p->attempt[i].dropped)
			continue;
		e = sqlite_run(s, S_ATTEMPT_PUT, "titiitthit", a->id, a->attempt, a->chain, a->idx,
			a->issued, a->key, a->client, a->spki_sha256, a->expiry, a->idempotency);
		if (!e)
			e = holders_add(&((struct sqlite *)s)->holders, a);
		if (!e && counted &&
			(strcmp(counted->key, a->key) != 0 ||
				strcmp(counted->client, a->client) != 0)) {
			e = sqlite_counts_add(s, counted->key, counted->client, n);
			n = 0;
		}
		counted = a;
		n++;
	}
	return e || !counted ? e : sqlite_counts_add(s, counted->key, counted->client, n);
}

static enum err all_settle(struct store *s, const struct pending *p)
{
	enum err e = attempts_settle(s, p);

	for (size_t n = 0; n < p->idempotencies && !e; n++) {
		const struct store_idempotency *i = &p->idempotency[n].i;

		e = sqlite_run(s, S_IDEMPOTENCY_PUT, "ttthittii", i->client, i->key, i->idempotency,
			i->request_sha256, i->time, i->id, i->chain, i->authorised, i->issued);
	}
	for (size_t i = 0; i < p->credentials && !e; i++) {
		const struct store_credential *c = &p->credential[i];

		e = sqlite_run(s, S_CREDENTIAL_PUT, "ttiittii", c->id, c->chain, c->authorised,
			c->issued, c->key, c->client, c->expiry, c->time);
	}
	for (size_t i = 0; i < p->nodes && !e; i++) {
		const struct pending_node *n = &p->node[i];

		e = sqlite_run(s, S_NODE_PUT, "tiih", n->chain, n->level, n->index, n->hash);
	}
	return e ? e : sqlite_run(s, S_PENDING_CLEAR, "");
}

/* ---- transactions ---- */

static enum err write_down(struct store *s, const struct pending *p)
{
	if (p->log.err)
		return p->log.err == ERR_NO_ROOM ? ERR_FORMAT : p->log.err;
	if (p->log.len == p->durable)
		return ERR_OK;
	return sqlite_run(
		s, S_PENDING_PUT, "b", p->log.octets + p->durable, p->log.len - p->durable);
}

static enum err transaction_end(struct sqlite *s, bool settle)
{
	struct pending *p = &s->pending;
	enum err e = settle ? all_settle(&s->store, p) : write_down(&s->store, p);

	if (!e)
		e = sqlite_run(&s->store, S_COMMIT, "");
	s->unsettled = settle && e == ERR_NO_ROOM;
	if (e)
		return e;
	if (settle) {
		pending_clear(p);
		s->purged = false;
	}
	p->durable = p->log.len;
	return sqlite_in_place(&s->store);
}

enum err sqlite_commit(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;
	const struct pending *p = &s->pending;
	bool due = p->attempts >= SETTLE_ATTEMPTS || p->log.len >= SETTLE_OCTETS;

	/* it takes more room than the records, which must fit as long as anything does */
	return transaction_end(s, due && !s->unsettled);
}

enum err sqlite_rollback(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;
	enum err e = pending_undo(&s->pending);

	s->purged = false;
	s->holds = HOLDS_UNASKED;
	/* After some failures SQLite has rolled back itself. */
	if (e || sqlite3_get_autocommit(s->db))
		return e;
	return sqlite_run(store, S_ROLLBACK, "");
}

enum err sqlite_settle(struct sqlite *s)
{
	enum err e;

	if (s->pending.log.len == 0)
		return ERR_OK;
	e = sqlite_run(&s->store, S_BEGIN, "");
	if (!e)
		e = transaction_end(s, true);
	if (e != ERR_NO_ROOM)
		return e;
	/* it stays written down */
	return sqlite_rollback(&s->store);
}

enum err sqlite_pending_load(struct sqlite *s)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(&s->store, &st, S_PENDING_GET, "");

	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	while (!e) {
		e = pending_read(&s->pending, sqlite3_column_blob(st, 0),
			(size_t)sqlite3_column_bytes(st, 0));
		if (e)
			break;

		int rc = sqlite3_step(st);

		if (rc == SQLITE_DONE)
			break;
		e = rc == SQLITE_ROW ? ERR_OK : sqlite_err(s, rc);
	}
	sqlite3_reset(st);
	if (e == ERR_FORMAT && !s->why[0])
		strcpy(s->why, "the table of what is pending is damaged");
	return e;
}

/* ---- Idempotency-Keys ---- */

static enum err idempotency_read(sqlite3_stmt *st, struct store_idempotency *i)
{
	i->time = sqlite3_column_int64(st, 1);
	i->authorised = sqlite3_column_int64(st, 4);
	i->issued = sqlite3_column_int64(st, 5);
	return sqlite_blob_column(st, 0, i->request_sha256, SHA256_SIZE) &&
			       sqlite_text_column(st, 2, i->id, sizeof(i->id)) &&
			       sqlite_text_column(st, 3, i->chain, sizeof(i->chain))
		       ? ERR_OK
		       : ERR_FORMAT;
}

enum err sqlite_idempotency_get(struct store *s, struct store_idempotency *i)
{
	const struct store_idempotency *at =
		pending_idempotency_find(&((struct sqlite *)s)->pending, i);
	sqlite3_stmt *st;
	enum err e;

	if (at) {
		*i = *at;
		return ERR_OK;
	}
	e = sqlite_row(s, &st, S_IDEMPOTENCY_GET, "ttt", i->client, i->key, i->idempotency);
	if (e)
		return e;
	e = idempotency_read(st, i);
	sqlite3_reset(st);
	return e;
}

static enum err stored_idempotency_walk(struct sqlite *s, store_idempotency_row *row, void *arg)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(&s->store, &st, S_IDEMPOTENCY_WALK, "");
	int rc = SQLITE_ROW;

	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	while (!e && rc == SQLITE_ROW) {
		struct store_idempotency i;
		bool named = sqlite_text_column(st, 6, i.client, sizeof(i.client)) &&
			     sqlite_text_column(st, 7, i.key, sizeof(i.key)) &&
			     sqlite_text_column(st, 8, i.idempotency, sizeof(i.idempotency));

		e = named ? idempotency_read(st, &i) : ERR_FORMAT;
		if (!e && !pending_idempotency_find(&s->pending, &i)) /* there is a newer one */
			e = row(arg, &i);
		if (!e)
			rc = sqlite3_step(st);
	}
	sqlite3_reset(st);
	return e ? e : sqlite_err(s, rc);
}

enum err sqlite_idempotency_walk(struct store *store, store_idempotency_row *row, void *arg)
{
	struct sqlite *s = (struct sqlite *)store;
	enum err e = stored_idempotency_walk(s, row, arg);

	for (size_t i = 0; i < s->pending.idempotencies && !e; i++)
		e = row(arg, &s->pending.idempotency[i].i);
	return e;
}

enum err sqlite_idempotency_put(struct store *s, const struct store_idempotency *i)
{
	const struct pending_done d = {.what = PENDING_IDEMPOTENCY, .idempotency = *i};

	return pending_do(&((struct sqlite *)s)->pending, &d);
}
