#include "sqlite.h"

#include <string.h>

static enum err hash_read(sqlite3_stmt *st, uint8_t out[SHA256_SIZE])
{
	bool ok = sqlite_blob_column(st, 0, out, SHA256_SIZE);

	sqlite3_reset(st);
	return ok ? ERR_OK : ERR_FORMAT;
}

enum err sqlite_leaf_get(
	struct store *s, const char *chain, uint64_t idx, uint8_t leaf[SHA256_SIZE])
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_LEAF_GET, "ti", chain, (int64_t)idx);

	return e ? e : hash_read(st, leaf);
}

static struct pending *pending_of(struct store *s)
{
	return &((struct sqlite *)s)->pending;
}

enum err sqlite_node_put(struct store *s, const char *chain, unsigned level, uint64_t index,
	const uint8_t hash[SHA256_SIZE])
{
	struct pending_done d = {.what = PENDING_NODE};

	strcpy(d.node.chain, chain);
	d.node.level = level;
	d.node.index = (int64_t)index;
	memcpy(d.node.hash, hash, SHA256_SIZE);
	return pending_do(pending_of(s), &d);
}

enum err sqlite_node_get(struct store *s, const char *chain, unsigned level, uint64_t index,
	uint8_t hash[SHA256_SIZE])
{
	const struct pending *p = pending_of(s);
	sqlite3_stmt *st;
	enum err e;

	for (size_t i = 0; i < p->nodes; i++) {
		const struct pending_node *n = &p->node[i];

		if (n->level == (int64_t)level && n->index == (int64_t)index &&
			strcmp(n->chain, chain) == 0) {
			memcpy(hash, n->hash, SHA256_SIZE);
			return ERR_OK;
		}
	}
	e = sqlite_row(s, &st, S_NODE_GET, "tii", chain, (int64_t)level, (int64_t)index);
	return e ? e : hash_read(st, hash);
}

enum err sqlite_checkpoint_put(struct store *s, const char *chain, const void *note, size_t len)
{
	return sqlite_run(s, S_CHECKPOINT_PUT, "tT", chain, note, len);
}

enum err sqlite_checkpoint_get(struct store *s, const char *chain, struct buf *note)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_CHECKPOINT_GET, "t", chain);

	if (e)
		return e;
	buf_put(note, sqlite3_column_text(st, 0), (size_t)sqlite3_column_bytes(st, 0));
	sqlite3_reset(st);
	return note->err;
}

enum err sqlite_credential_put(struct store *s, const struct store_credential *c)
{
	const struct pending_done d = {.what = PENDING_CREDENTIAL, .credential = *c};

	return pending_do(pending_of(s), &d);
}

static enum err number_read(sqlite3_stmt *st, int64_t *out)
{
	*out = sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return ERR_OK;
}

/* The last number in the table, and so many more. */
static enum err last_number(struct store *s, int64_t more, int64_t *number)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_CREDENTIAL_LAST, "");

	if (!e)
		e = number_read(st, number);
	*number += more;
	return e;
}

static enum err credential_read(sqlite3_stmt *st, struct store_credential *out)
{
	bool ok = sqlite_text_column(st, 1, out->id, sizeof(out->id)) &&
		  sqlite_text_column(st, 2, out->chain, sizeof(out->chain)) &&
		  sqlite_text_column(st, 5, out->key, sizeof(out->key)) &&
		  sqlite_text_column(st, 6, out->client, sizeof(out->client));

	out->number = sqlite3_column_int64(st, 0);
	out->authorised = sqlite3_column_int64(st, 3);
	out->issued = sqlite3_column_int64(st, 4);
	out->expiry = sqlite3_column_int64(st, 7);
	out->time = sqlite3_column_int64(st, 8);
	return ok ? ERR_OK : ERR_FORMAT;
}

enum err sqlite_credential_get(struct store *s, const char *id, struct store_credential *out)
{
	const struct pending *p = pending_of(s);
	sqlite3_stmt *st;
	enum err e;

	for (size_t i = p->credentials; i-- > 0;) {
		if (strcmp(p->credential[i].id, id) == 0) {
			*out = p->credential[i];
			return last_number(s, (int64_t)i + 1, &out->number);
		}
	}
	e = sqlite_row(s, &st, S_CREDENTIAL_GET, "t", id);
	if (e)
		return e;
	e = credential_read(st, out);
	sqlite3_reset(st);
	return e;
}

/* Numbers have no gap, and times rise with them but for the steps of a clock. */
enum err sqlite_credential_since(struct store *s, int64_t time, int64_t *number)
{
	const struct pending *p = pending_of(s);
	int64_t low = 0, high = 0, at = 0, last;
	sqlite3_stmt *st;
	enum err e = last_number(s, 0, &high);

	last = high;
	while (!e && low < high) {
		int64_t middle = low + (high - low + 1) / 2;

		e = sqlite_row(s, &st, S_CREDENTIAL_TIME, "i", middle);
		if (!e)
			e = number_read(st, &at);
		if (at < time)
			low = middle;
		else
			high = middle - 1;
	}
	for (size_t i = 0; low == last && i < p->credentials && p->credential[i].time < time; i++)
		last = ++low;
	*number = low;
	return e == ERR_NOT_FOUND ? ERR_FORMAT : e;
}

static enum err stored_walk(struct store *s, int64_t after, store_credential_row *row, void *arg)
{
	struct store_credential c;
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_CREDENTIAL_WALK, "i", after);

	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	while (!e) {
		e = credential_read(st, &c);
		if (!e)
			e = row(arg, &c);
		if (e)
			break;

		int rc = sqlite3_step(st);

		if (rc == SQLITE_DONE)
			break;
		e = rc == SQLITE_ROW ? ERR_OK : sqlite_err((struct sqlite *)s, rc);
	}
	sqlite3_reset(st);
	return e;
}

enum err sqlite_credential_walk(
	struct store *s, int64_t after, store_credential_row *row, void *arg)
{
	const struct pending *p = pending_of(s);
	int64_t last = 0;
	enum err e = stored_walk(s, after, row, arg);

	if (!e && p->credentials)
		e = last_number(s, 0, &last);
	for (size_t i = 0; !e && i < p->credentials; i++) {
		struct store_credential c = p->credential[i];

		c.number = last + (int64_t)i + 1;
		e = c.number > after ? row(arg, &c) : ERR_OK;
	}
	return e;
}

enum err sqlite_record_chain_after(struct store *s, const char *chain, char *out)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_RECORD_CHAIN, "t", chain);

	if (e)
		return e;
	e = sqlite_text_column(st, 0, out, CHAIN_SIZE) ? ERR_OK : ERR_FORMAT;
	sqlite3_reset(st);
	return e;
}
