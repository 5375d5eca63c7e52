#include "postgres.h"

#include <string.h>

#include "archive.h"

#define WALK_ROWS  2000
#define BLANK_ROWS 512 /* in one statement, which must not take seconds */

static enum err chain_read(const PGresult *r, struct store_chain *out)
{
	int64_t size;
	bool ok;

	if (PQntuples(r) == 0)
		return ERR_NOT_FOUND;
	memset(out, 0, sizeof(*out));
	size = pg_int(r, 0, 1);
	out->tree.size = (uint64_t)size;
	ok = size >= 0 && pg_text_of(r, 0, 0, out->chain, sizeof(out->chain)) &&
	     pg_octets_of(r, 0, 2, out->tree.edge, merkle_edges(out->tree.size) * SHA256_SIZE) &&
	     pg_octets_of(r, 0, 3, out->root, SHA256_SIZE);
	out->last_time = pg_int(r, 0, 4);
	return ok ? ERR_OK : ERR_FORMAT;
}

static enum err chain_ask(
	struct store *store, enum pg_statement which, const char *chain, struct store_chain *out)
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(s, &r, which, "t", chain);
	return e ? e : chain_read(r, out);
}

static enum err chain_get(struct store *s, const char *chain, struct store_chain *out)
{
	return chain_ask(s, PG_CHAIN_GET, chain, out);
}

static enum err chain_after(struct store *s, const char *chain, struct store_chain *out)
{
	return chain_ask(s, PG_CHAIN_AFTER, chain, out);
}

static enum err chain_put(struct store *store, const struct store_chain *c)
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);
	enum err e = pg_enter(s);

	if (!e)
		e = pg_queue(s, PG_CHAIN_PUT, "tibhi", c->chain, (int64_t)c->tree.size,
			c->tree.edge, (size_t)merkle_edges(c->tree.size) * SHA256_SIZE, c->root,
			c->last_time);
	return pg_written(s, alone, e);
}

static enum err record_put(struct store *store, const char *chain, int64_t idx, const void *json,
	size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);

	return pg_written(
		s, alone, pg_columns_add(&s->records, "tiTh", chain, idx, json, len, leaf));
}

static enum err may_blank(struct store *store, struct refusal *why)
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_ask(s, &r, PG_MAY_BLANK, "");

	if (e || pg_int(r, 0, 0))
		return e;
	return refuse(why, ERR_NOT_FOUND, "ledger",
		"this role of the database may change no record, and that is right for a node: "
		"archive as the owner of the tables");
}

/* The nodes take the lock in turn: it is taken when all is changed that they never look for. */
static enum err record_blank(struct store *store, const char *chain, int64_t idx)
{
	struct postgres *s = (struct postgres *)store;
	bool alone = pg_alone(s);
	enum err e = pg_columns_add(&s->blanks, "ti", chain, idx);

	if (!e && s->blanks.column[0].count == BLANK_ROWS) {
		if (!s->begun && !s->sent)
			e = pg_queue(s, PG_BEGIN, "");
		s->begun = true;
		if (!e)
			e = pg_columns_queue(s, PG_RECORDS_BLANK, &s->blanks);
		if (!e)
			e = pg_sync(s);
	}
	return pg_written(s, alone, e);
}

/* Column `column` of a row; of an archived record what an archive has, or nothing. */
static const char *text_of(const struct postgres *s, const PGresult *r, int row, int column,
	const char *chain, int64_t idx, size_t *len)
{
	const char *json = PQgetvalue(r, row, column);

	*len = (size_t)PQgetlength(r, row, column);
	if (*len == 0)
		archive_get(s->store.archive, chain, idx, &json, len);
	return json;
}

static enum err record_get(struct store *store, const char *chain, int64_t idx, struct buf *json,
	uint8_t leaf[SHA256_SIZE])
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;
	enum err e = pg_ready(s);

	if (!e)
		e = pg_ask(s, &r, PG_RECORD_GET, "ti", chain, idx);
	if (e)
		return e;
	if (PQntuples(r) == 0)
		return ERR_NOT_FOUND;

	size_t len;
	const char *text = text_of(s, r, 0, 0, chain, idx, &len);

	buf_put(json, text, len);
	return pg_octets_of(r, 0, 1, leaf, SHA256_SIZE) ? json->err : ERR_FORMAT;
}

static enum err page_walk(const struct postgres *s, const PGresult *r, const char *chain,
	int64_t *next, store_row *take, void *arg)
{
	enum err e = ERR_OK;

	for (int i = 0; i < PQntuples(r) && !e; i++) {
		uint8_t leaf[SHA256_SIZE] = {0};
		int64_t idx = pg_int(r, i, 0);
		size_t len;
		const char *json = text_of(s, r, i, 1, chain, idx, &len);

		*next = idx + 1;
		pg_octets_of(r, i, 2, leaf, sizeof(leaf));
		e = take(arg, idx, json, len, leaf);
	}
	return e;
}

/* Pages stay in our hands while their rows are taken: whoever takes them may ask for others. */
static enum err record_walk(
	struct store *store, const char *chain, int64_t from, store_row *take, void *arg)
{
	struct postgres *s = (struct postgres *)store;
	enum err e = pg_ready(s);
	int count = WALK_ROWS;
	int64_t rows = 64;

	for (; !e && count > 0; rows = WALK_ROWS) {
		PGresult *r;

		e = pg_ask(s, &r, PG_RECORD_WALK, "tii", chain, from, rows);
		if (e)
			return e;
		s->result[--s->results] = NULL;
		count = PQntuples(r) < rows ? 0 : PQntuples(r);
		e = page_walk(s, r, chain, &from, take, arg);
		PQclear(r);
	}
	return e;
}

static enum err tidy(struct store *s)
{
	(void)s;
	return ERR_OK;
}

/* The room is the database's matter. */
static bool reserve_fill(struct store *s)
{
	(void)s;
	return true;
}

static void reserve_spend(struct store *s)
{
	(void)s;
}

static uint64_t octets(struct store *store)
{
	struct postgres *s = (struct postgres *)store;
	PGresult *r;

	if (pg_ready(s) || pg_ask(s, &r, PG_OCTETS, "") || PQntuples(r) == 0)
		return 0;
	return (uint64_t)pg_int(r, 0, 0);
}

const struct store_engine store_postgres = {
	.scheme = "postgresql:",
	.init = pg_init,
	.open = pg_open,
	.open_copy = pg_open_copy,
	.stop = pg_stop,
	.abandon = pg_abandon,
	.text = pg_text,
	.claim = pg_claim,
	.resume = pg_resume,
	.foresee = pg_foresee,
	.hold_tell = pg_hold_tell,
	.hold_news = pg_hold_news,
	.begin = pg_begin,
	.commit = pg_commit,
	.rollback = pg_rollback,
	.tidy = tidy,
	.octets = octets,
	.reserve_fill = reserve_fill,
	.reserve_spend = reserve_spend,
	.chain_get = chain_get,
	.chain_put = chain_put,
	.chain_after = chain_after,
	.record_put = record_put,
	.record_blank = record_blank,
	.may_blank = may_blank,
	.record_get = record_get,
	.record_walk = record_walk,
	.attempt_put = pg_attempt_put,
	.attempt_get = pg_attempt_get,
	.attempt_issue = pg_attempt_issue,
	.attempt_drop = pg_attempt_drop,
	.attempt_open = pg_attempt_open,
	.attempt_walk = pg_attempt_walk,
	.live_count = pg_live_count,
	.live_latest = pg_live_latest,
	.live_shared = pg_live_shared,
	.purge = pg_purge,
	.idempotency_get = pg_idempotency_get,
	.idempotency_put = pg_idempotency_put,
	.idempotency_walk = pg_idempotency_walk,
	.hold_put = pg_hold_put,
	.hold_drop = pg_hold_drop,
	.hold_find = pg_hold_find,
	.hold_after = pg_hold_after,
	.record_chain_after = pg_record_chain_after,
	.leaf_get = pg_leaf_get,
	.node_put = pg_node_put,
	.node_get = pg_node_get,
	.checkpoint_put = pg_checkpoint_put,
	.checkpoint_get = pg_checkpoint_get,
	.credential_put = pg_credential_put,
	.credential_get = pg_credential_get,
	.credential_since = pg_credential_since,
	.credential_walk = pg_credential_walk,
};
