#include "sqlite.h"

static enum err count_add(struct store *s, const char *kind, const char *name, int64_t n)
{
	enum err e = sqlite_run(s, S_COUNT_ADD, "tti", kind, name, n);

	return e || n > 0 ? e : sqlite_run(s, S_COUNT_CLEAN, "tt", kind, name);
}

static enum err count_both(struct store *s, const char *key, const char *client, int64_t n)
{
	if (!*client)
		return ERR_OK;

	enum err e = count_add(s, "key", key, n);

	return e ? e : count_add(s, "client", client, n);
}

enum err sqlite_attempt_put(struct store *s, const struct store_attempt *a)
{
	enum err e = sqlite_run(s, S_ATTEMPT_PUT, "titiitthit", a->id, a->attempt, a->chain, a->idx,
		a->issued, a->key, a->client, a->spki_sha256, a->expiry, a->idempotency);

	return e ? e : count_both(s, a->key, a->client, 1);
}

static enum err attempt_read(sqlite3_stmt *st, struct store_attempt *out)
{
	bool ok = sqlite_text_column(st, 0, out->id, sizeof(out->id)) &&
		  sqlite_text_column(st, 2, out->chain, sizeof(out->chain)) &&
		  sqlite_text_column(st, 5, out->key, sizeof(out->key)) &&
		  sqlite_text_column(st, 6, out->client, sizeof(out->client)) &&
		  sqlite_blob_column(st, 7, out->spki_sha256, SHA256_SIZE) &&
		  sqlite_text_column(st, 9, out->idempotency, sizeof(out->idempotency));

	out->attempt = sqlite3_column_int64(st, 1);
	out->idx = sqlite3_column_int64(st, 3);
	out->issued = sqlite3_column_int64(st, 4);
	out->expiry = sqlite3_column_int64(st, 8);
	return ok ? ERR_OK : ERR_FORMAT;
}

static enum err attempt_take(sqlite3_stmt *st, struct store_attempt *out)
{
	enum err e = attempt_read(st, out);

	sqlite3_reset(st);
	return e;
}

enum err sqlite_attempt_get(
	struct store *s, const char *id, int64_t attempt, struct store_attempt *out)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_ATTEMPT_GET, "ti", id, attempt);

	return e ? e : attempt_take(st, out);
}

enum err sqlite_attempt_issue(struct store *s, const char *id, int64_t attempt, int64_t issued)
{
	return sqlite_run(s, S_ATTEMPT_ISSUE, "tii", id, attempt, issued);
}

enum err sqlite_attempt_drop(struct store *s, const struct store_attempt *a)
{
	enum err e = sqlite_run(s, S_ATTEMPT_DROP, "ti", a->id, a->attempt);

	return e ? e : count_both(s, a->key, a->client, -1);
}

enum err sqlite_attempt_open(
	struct store *s, const char *chain, int64_t after, struct store_attempt *out)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_ATTEMPT_OPEN, "ti", chain, after);

	return e ? e : attempt_take(st, out);
}

enum err sqlite_attempt_walk(struct store *s, store_attempt_row *row, void *arg)
{
	struct store_attempt a;
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_ATTEMPT_WALK, "");

	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	while (!(e = attempt_read(st, &a)) && !(e = row(arg, &a))) {
		int rc = sqlite3_step(st);

		if (rc != SQLITE_ROW) {
			e = sqlite_err((struct sqlite *)s, rc);
			break;
		}
	}
	sqlite3_reset(st);
	return e;
}

enum err sqlite_live_count(
	struct store *s, const char *key, const char *client, int64_t now, uint64_t *count)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, *key ? S_LIVE_KEY : S_LIVE_CLIENT, "tti", key, client, now);

	if (e)
		return e;
	*count = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	return ERR_OK;
}

enum err sqlite_live_latest(struct store *s, const char *key, const char *client, bool open,
	int64_t now, uint64_t *count, int64_t *latest)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_LIVE_LATEST, "ttii", key, client, now, (int64_t)open);

	if (e)
		return e;
	*count = (uint64_t)sqlite3_column_int64(st, 0);
	*latest = sqlite3_column_int64(st, 1);
	sqlite3_reset(st);
	return ERR_OK;
}

enum err sqlite_live_shared(struct store *s, const uint8_t spki_sha256[SHA256_SIZE],
	const char *client, int64_t now, bool *shared)
{
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_LIVE_SHARED, "hti", spki_sha256, client, now);

	if (e)
		return e;
	*shared = sqlite3_column_int(st, 0) != 0;
	sqlite3_reset(st);
	return ERR_OK;
}

enum err sqlite_purge(struct store *store, int64_t expired, int64_t forgotten)
{
	char key[NAME_SIZE], client[NAME_SIZE];
	sqlite3_stmt *st;
	enum err e = sqlite_row(store, &st, S_PURGE_ATTEMPTS, "i", expired);

	while (!e) {
		bool ok = sqlite_text_column(st, 0, key, sizeof(key)) &&
			  sqlite_text_column(st, 1, client, sizeof(client));

		e = ok ? count_both(store, key, client, -1) : ERR_FORMAT;
		if (e)
			break;

		int rc = sqlite3_step(st);

		e = rc == SQLITE_DONE ? ERR_NOT_FOUND : sqlite_err((struct sqlite *)store, rc);
	}
	sqlite3_reset(st);
	return e == ERR_NOT_FOUND ? sqlite_run(store, S_PURGE_IDEMPOTENCY, "i", forgotten) : e;
}
