#include "sqlite.h"

#include <stdio.h>
#include <string.h>

#include "archive.h"

/* Binds by kind: t text, i int64_t, h SHA256_SIZE octets, b octets and their size_t, T text and its
 * size_t. */
static sqlite3_stmt *bind(struct sqlite *s, enum statement which, const char *kinds, va_list ap)
{
	sqlite3_stmt *st = s->statement[which];
	int at = 0;

	sqlite3_reset(st);
	for (const char *k = kinds; *k; k++) {
		const void *p = *k == 'i' ? NULL : va_arg(ap, const void *);

		at++;
		if (*k == 'i')
			sqlite3_bind_int64(st, at, va_arg(ap, int64_t));
		else if (*k == 't')
			sqlite3_bind_text(st, at, p, -1, SQLITE_STATIC);
		else if (*k == 'T')
			sqlite3_bind_text64(
				st, at, p, va_arg(ap, size_t), SQLITE_STATIC, SQLITE_UTF8);
		else
			sqlite3_bind_blob64(st, at, p, *k == 'h' ? SHA256_SIZE : va_arg(ap, size_t),
				SQLITE_STATIC);
	}
	return st;
}

/* Runs a statement that gives no row, to its end. */
enum err sqlite_run(struct store *store, enum statement which, const char *kinds, ...)
{
	struct sqlite *s = (struct sqlite *)store;
	va_list ap;

	va_start(ap, kinds);
	sqlite3_stmt *st = bind(s, which, kinds, ap);
	va_end(ap);

	enum err e = sqlite_err(s, sqlite3_step(st));

	sqlite3_reset(st);
	return e;
}

/* The first row. ERR_NOT_FOUND: none. With ERR_OK the caller resets *st when it has read it. */
enum err sqlite_row(
	struct store *store, sqlite3_stmt **st, enum statement which, const char *kinds, ...)
{
	struct sqlite *s = (struct sqlite *)store;
	va_list ap;

	va_start(ap, kinds);
	*st = bind(s, which, kinds, ap);
	va_end(ap);

	int rc = sqlite3_step(*st);

	if (rc == SQLITE_ROW)
		return ERR_OK;

	enum err e = rc == SQLITE_DONE ? ERR_NOT_FOUND : sqlite_err(s, rc);

	sqlite3_reset(*st);
	return e;
}

bool sqlite_text_column(sqlite3_stmt *st, int column, char *out, size_t size)
{
	const unsigned char *text = sqlite3_column_text(st, column);

	return text && snprintf(out, size, "%s", (const char *)text) < (int)size;
}

bool sqlite_blob_column(sqlite3_stmt *st, int column, void *out, size_t len)
{
	if (sqlite3_column_bytes(st, column) != (int)len)
		return false;
	if (len)
		memcpy(out, sqlite3_column_blob(st, column), len);
	return true;
}

static enum err begin(struct store *s)
{
	return sqlite_run(s, S_BEGIN, "");
}

static enum err chain_read(sqlite3_stmt *st, struct store_chain *out)
{
	int64_t size = sqlite3_column_int64(st, 1);
	bool ok;

	memset(out, 0, sizeof(*out));
	out->tree.size = (uint64_t)size;
	ok = size >= 0 && sqlite_text_column(st, 0, out->chain, sizeof(out->chain)) &&
	     sqlite_blob_column(
		     st, 2, out->tree.edge, merkle_edges(out->tree.size) * SHA256_SIZE) &&
	     sqlite_blob_column(st, 3, out->root, SHA256_SIZE);
	out->last_time = sqlite3_column_int64(st, 4);
	sqlite3_reset(st);
	return ok ? ERR_OK : ERR_FORMAT;
}

static enum err chain_get(struct store *s, const char *chain, struct store_chain *out)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_CHAIN_GET, "t", chain);

	return e ? e : chain_read(st, out);
}

static enum err chain_after(struct store *s, const char *chain, struct store_chain *out)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_CHAIN_AFTER, "t", chain);

	return e ? e : chain_read(st, out);
}

static enum err chain_put(struct store *s, const struct store_chain *c)
{
	return sqlite_run(s, S_CHAIN_PUT, "tibhi", c->chain, (int64_t)c->tree.size, c->tree.edge,
		(size_t)merkle_edges(c->tree.size) * SHA256_SIZE, c->root, c->last_time);
}

static enum err record_put(struct store *s, const char *chain, int64_t idx, const void *json,
	size_t len, const uint8_t leaf[SHA256_SIZE])
{
	return sqlite_run(s, S_RECORD_PUT, "tiTh", chain, idx, json, len, leaf);
}

static enum err record_blank(struct store *s, const char *chain, int64_t idx)
{
	return sqlite_run(s, S_RECORD_BLANK, "ti", chain, idx);
}

/* Column 1 of a row; of an archived record what an archive has, or nothing. */
static const char *text_of(
	struct store *s, sqlite3_stmt *st, const char *chain, int64_t idx, size_t *len)
{
	const char *json = (const char *)sqlite3_column_text(st, 1);

	*len = (size_t)sqlite3_column_bytes(st, 1);
	if (*len == 0)
		archive_get(s->archive, chain, idx, &json, len);
	return json ? json : "";
}

static enum err record_get(struct store *s, const char *chain, int64_t idx, struct buf *json,
	uint8_t leaf[SHA256_SIZE])
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_RECORD_GET, "ti", chain, idx);

	if (e)
		return e;

	size_t len;
	const char *text = text_of(s, st, chain, idx, &len);

	buf_put(json, text, len);
	e = sqlite_blob_column(st, 2, leaf, SHA256_SIZE) ? json->err : ERR_FORMAT;
	sqlite3_reset(st);
	return e;
}

static enum err record_walk(
	struct store *store, const char *chain, int64_t from, store_row *take, void *arg)
{
	struct sqlite *s = (struct sqlite *)store;
	sqlite3_stmt *st;
	enum err e = sqlite_row(store, &st, S_RECORD_WALK, "ti", chain, from);
	int rc = SQLITE_ROW;
	static const uint8_t none[SHA256_SIZE];

	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	while (!e && rc == SQLITE_ROW) {
		int64_t idx = sqlite3_column_int64(st, 0);
		size_t len;
		const char *json = text_of(store, st, chain, idx, &len);
		bool hashed = sqlite3_column_bytes(st, 2) == SHA256_SIZE;

		e = take(arg, idx, json, len, hashed ? sqlite3_column_blob(st, 2) : none);
		if (!e)
			rc = sqlite3_step(st);
	}
	sqlite3_reset(st);
	return e ? e : sqlite_err(s, rc);
}

static enum err hold_put(struct store *s, const char *key, const char *client, const char *reason)
{
	((struct sqlite *)s)->holds = HOLDS_UNASKED;
	return sqlite_run(s, S_HOLD_PUT, "ttt", key, client, reason);
}

static enum err hold_drop(struct store *s, const char *key, const char *client)
{
	((struct sqlite *)s)->holds = HOLDS_UNASKED;
	return sqlite_run(s, S_HOLD_DROP, "tt", key, client);
}

/* Every request asks, and mostly there is none at all. ERR_NOT_FOUND: there is none. */
static enum err holds_ask(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;
	sqlite3_stmt *st;
	enum err e = ERR_OK;

	if (s->holds == HOLDS_UNASKED) {
		e = sqlite_row(store, &st, S_HOLD_AFTER, "tt", "", "");
		if (!e)
			sqlite3_reset(st);
		if (!e || e == ERR_NOT_FOUND)
			s->holds = e ? HOLDS_NONE : HOLDS_SOME;
	}
	return s->holds == HOLDS_NONE ? ERR_NOT_FOUND : e;
}

static enum err hold_find(struct store *s, const char *key, const char *client, struct buf *reason)
{
	sqlite3_stmt *st;
	enum err e = holds_ask(s);

	if (!e)
		e = sqlite_row(s, &st, S_HOLD_FIND, "tt", key, client);

	if (e)
		return e;
	buf_put(reason, sqlite3_column_text(st, 0), (size_t)sqlite3_column_bytes(st, 0));
	sqlite3_reset(st);
	return reason->err;
}

static enum err hold_after(
	struct store *s, const char *key, const char *client, struct msg_held *out)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_HOLD_AFTER, "tt", key, client);

	if (e)
		return e;
	if (!sqlite_text_column(st, 0, out->key, sizeof(out->key)) ||
		!sqlite_text_column(st, 1, out->client, sizeof(out->client)) ||
		!sqlite_text_column(st, 2, out->reason, sizeof(out->reason)))
		e = ERR_FORMAT;
	sqlite3_reset(st);
	return e;
}

const struct store_engine store_sqlite = {
	.scheme = "sqlite:",
	.init = sqlite_init,
	.open = sqlite_open,
	.open_copy = sqlite_open_copy,
	.stop = sqlite_stop,
	.abandon = sqlite_abandon,
	.text = sqlite_text,
	.begin = begin,
	.commit = sqlite_commit,
	.rollback = sqlite_rollback,
	.tidy = sqlite_tidy,
	.octets = sqlite_octets,
	.reserve_fill = sqlite_reserve_fill,
	.reserve_spend = sqlite_reserve_spend,
	.chain_get = chain_get,
	.chain_put = chain_put,
	.chain_after = chain_after,
	.record_put = record_put,
	.record_blank = record_blank,
	.record_get = record_get,
	.record_walk = record_walk,
	.attempt_put = sqlite_attempt_put,
	.attempt_get = sqlite_attempt_get,
	.attempt_issue = sqlite_attempt_issue,
	.attempt_drop = sqlite_attempt_drop,
	.attempt_open = sqlite_attempt_open,
	.attempt_walk = sqlite_attempt_walk,
	.live_count = sqlite_live_count,
	.live_latest = sqlite_live_latest,
	.live_shared = sqlite_live_shared,
	.purge = sqlite_purge,
	.idempotency_get = sqlite_idempotency_get,
	.idempotency_put = sqlite_idempotency_put,
	.idempotency_walk = sqlite_idempotency_walk,
	.hold_put = hold_put,
	.hold_drop = hold_drop,
	.hold_find = hold_find,
	.hold_after = hold_after,
	.record_chain_after = sqlite_record_chain_after,
	.leaf_get = sqlite_leaf_get,
	.node_put = sqlite_node_put,
	.node_get = sqlite_node_get,
	.checkpoint_put = sqlite_checkpoint_put,
	.checkpoint_get = sqlite_checkpoint_get,
	.credential_put = sqlite_credential_put,
	.credential_get = sqlite_credential_get,
	.credential_since = sqlite_credential_since,
	.credential_walk = sqlite_credential_walk,
};
