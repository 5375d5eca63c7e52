#include "sqlite.h"

#include <string.h>

#define PURGE_MOST 512 /* rows of each table; as the statements have it */

static enum err count_add(struct store *s, const char *kind, const char *name, int64_t n)
{
	enum err e = sqlite_run(s, S_COUNT_ADD, "tti", kind, name, n);

	return e || n > 0 ? e : sqlite_run(s, S_COUNT_CLEAN, "tt", kind, name);
}

enum err sqlite_counts_add(struct store *s, const char *key, const char *client, int64_t n)
{
	if (!*client)
		return ERR_OK;

	enum err e = count_add(s, "key", key, n);

	return e ? e : count_add(s, "client", client, n);
}

static struct pending *pending_of(struct store *s)
{
	return &((struct sqlite *)s)->pending;
}

enum err sqlite_attempt_put(struct store *s, const struct store_attempt *a)
{
	const struct pending_done put = {.what = PENDING_ATTEMPT, .attempt = *a};
	sqlite3_stmt *st;
	enum err e;

	if (pending_attempt_find(pending_of(s), a->id, a->attempt))
		return ERR_FORMAT;
	e = sqlite_row(s, &st, S_ATTEMPT_IS, "ti", a->id, a->attempt);
	if (!e)
		sqlite3_reset(st);
	if (e != ERR_NOT_FOUND)
		return e ? e : ERR_FORMAT;
	return pending_do(pending_of(s), &put);
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
	const struct pending_attempt *at = pending_attempt_find(pending_of(s), id, attempt);
	sqlite3_stmt *st;
	enum err e;

	if (at) {
		*out = at->a;
		return ERR_OK;
	}
	e = sqlite_row(s, &st, S_ATTEMPT_GET, "ti", id, attempt);
	return e ? e : attempt_take(st, out);
}

/* To one that is pending. ERR_NOT_FOUND: it is not. */
static enum err pending_change(
	struct store *s, enum pending_what what, const char *id, int64_t attempt, int64_t issued)
{
	struct pending_done d = {.what = what, .attempt = {.attempt = attempt, .issued = issued}};

	if (!pending_attempt_find(pending_of(s), id, attempt))
		return ERR_NOT_FOUND;
	strcpy(d.attempt.id, id);
	return pending_do(pending_of(s), &d);
}

enum err sqlite_attempt_issue(struct store *s, const char *id, int64_t attempt, int64_t issued)
{
	enum err e = pending_change(s, PENDING_ISSUE, id, attempt, issued);

	return e == ERR_NOT_FOUND ? sqlite_run(s, S_ATTEMPT_ISSUE, "tii", id, attempt, issued) : e;
}

enum err sqlite_attempt_drop(struct store *s, const struct store_attempt *a)
{
	enum err e = pending_change(s, PENDING_DROP, a->id, a->attempt, NO_IDX);

	if (e != ERR_NOT_FOUND)
		return e;
	e = sqlite_run(s, S_ATTEMPT_DROP, "ti", a->id, a->attempt);
	return e ? e : sqlite_counts_add(s, a->key, a->client, -1);
}

enum err sqlite_attempt_open(
	struct store *s, const char *chain, int64_t after, struct store_attempt *out)
{
	const struct pending *p = pending_of(s);
	const struct store_attempt *first = NULL;
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, S_ATTEMPT_OPEN, "ti", chain, after);

	if (!e)
		e = attempt_take(st, out);
	if (e && e != ERR_NOT_FOUND)
		return e;
	for (size_t i = 0; i < p->attempts; i++) {
		const struct store_attempt *a = &p->attempt[i].a;

		if (!p->attempt[i].dropped && a->issued == NO_IDX && a->idx > after &&
			(!first || a->idx < first->idx) && strcmp(a->chain, chain) == 0)
			first = a;
	}
	if (first && (e || first->idx < out->idx)) {
		*out = *first;
		e = ERR_OK;
	}
	return e;
}

static enum err stored_attempt_walk(struct store *s, store_attempt_row *row, void *arg)
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

enum err sqlite_attempt_walk(struct store *s, store_attempt_row *row, void *arg)
{
	const struct pending *p = pending_of(s);
	enum err e = stored_attempt_walk(s, row, arg);

	for (size_t i = 0; i < p->attempts && !e; i++)
		e = p->attempt[i].dropped ? ERR_OK : row(arg, &p->attempt[i].a);
	return e;
}

/* Those pending: live at `now`, of this key and client ("" = any). */
static uint64_t pending_live(const struct pending *p, const char *key, const char *client,
	bool open, int64_t now, int64_t *latest)
{
	uint64_t count = 0;

	for (size_t i = 0; i < p->attempts; i++) {
		const struct store_attempt *a = &p->attempt[i].a;

		if (p->attempt[i].dropped || !*a->client || a->expiry <= now ||
			(!open && a->issued == NO_IDX) || (*key && strcmp(a->key, key) != 0) ||
			(*client && strcmp(a->client, client) != 0))
			continue;
		count++;
		*latest = a->expiry > *latest ? a->expiry : *latest;
	}
	return count;
}

enum err sqlite_live_count(
	struct store *s, const char *key, const char *client, int64_t now, uint64_t *count)
{
	int64_t latest = 0;
	sqlite3_stmt *st;
	enum err e = sqlite_row(s, &st, *key ? S_LIVE_KEY : S_LIVE_CLIENT, "tti", key, client, now);

	if (e)
		return e;
	*count = (uint64_t)sqlite3_column_int64(st, 0);
	sqlite3_reset(st);
	*count += pending_live(pending_of(s), key, *key ? "" : client, true, now, &latest);
	return ERR_OK;
}

enum err sqlite_live_latest(struct store *s, const char *key, const char *client, bool open,
	int64_t now, uint64_t *count, int64_t *latest)
{
	static const enum statement which[2][2] = {
		{S_LIVE_LATEST, S_LIVE_LATEST_CLIENT}, {S_LIVE_LATEST_KEY, S_LIVE_LATEST_BOTH}};
	sqlite3_stmt *st;
	enum err e = sqlite_row(
		s, &st, which[*key != 0][*client != 0], "ttii", key, client, now, (int64_t)open);

	if (e)
		return e;
	*count = (uint64_t)sqlite3_column_int64(st, 0);
	*latest = sqlite3_column_int64(st, 1);
	sqlite3_reset(st);
	*count += pending_live(pending_of(s), key, client, open, now, latest);
	return ERR_OK;
}

enum err sqlite_live_shared(struct store *s, const uint8_t spki_sha256[SHA256_SIZE],
	const char *client, int64_t now, bool *shared)
{
	*shared = pending_shared(pending_of(s), spki_sha256, client, now);
	return *shared ? ERR_OK
		       : sqlite_holders_other((struct sqlite *)s, spki_sha256, client, now, shared);
}

static enum err pending_purge(struct pending *p, int64_t expired)
{
	enum err e = ERR_OK;

	if (p->least_expiry >= expired)
		return ERR_OK;
	p->least_expiry = INT64_MAX;
	for (size_t i = 0; i < p->attempts && !e; i++) {
		const struct store_attempt *a = &p->attempt[i].a;
		struct pending_done drop = {.what = PENDING_DROP, .attempt = *a};

		if (p->attempt[i].dropped)
			continue;
		if (a->issued != NO_IDX && a->expiry < expired)
			e = pending_do(p, &drop);
		else if (a->expiry < p->least_expiry)
			p->least_expiry = a->expiry;
	}
	return e;
}

/* *gone: how many. */
static enum err stored_purge(struct store *store, int64_t expired, unsigned *gone)
{
	char key[NAME_SIZE], client[NAME_SIZE];
	sqlite3_stmt *st;
	enum err e = sqlite_row(store, &st, S_PURGE_ATTEMPTS, "i", expired);

	for (*gone = 0; !e; ++*gone) {
		bool ok = sqlite_text_column(st, 0, key, sizeof(key)) &&
			  sqlite_text_column(st, 1, client, sizeof(client));

		holders_drop(&((struct sqlite *)store)->holders, sqlite3_column_int64(st, 2));
		e = ok ? sqlite_counts_add(store, key, client, -1) : ERR_FORMAT;
		if (e)
			break;

		int rc = sqlite3_step(st);

		e = rc == SQLITE_DONE ? ERR_NOT_FOUND : sqlite_err((struct sqlite *)store, rc);
	}
	sqlite3_reset(st);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err sqlite_purge(struct store *store, int64_t expired, int64_t forgotten)
{
	struct sqlite *s = (struct sqlite *)store;
	unsigned gone = 0;
	enum err e;

	/* times are in seconds: many a group asks the same */
	if (s->purged && expired <= s->expired && forgotten <= s->forgotten)
		return ERR_OK;
	e = pending_purge(&s->pending, expired);
	if (!e)
		e = stored_purge(store, expired, &gone);
	if (!e)
		e = sqlite_run(store, S_PURGE_IDEMPOTENCY, "i", forgotten);
	s->purged = !e && gone < PURGE_MOST && sqlite3_changes(s->db) < PURGE_MOST;
	s->expired = expired;
	s->forgotten = forgotten;
	return e;
}
