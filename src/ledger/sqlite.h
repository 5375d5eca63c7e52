/* The one way to SQLite's statements that sqlite.c and the files beside it share. */
#ifndef DCSIGN_SQLITE_H
#define DCSIGN_SQLITE_H

#include <sqlite3.h>
#include <stdarg.h>

#include "store.h"

/* X(name, SQL) */
#define STATEMENTS(X)                                                                              \
	X(BEGIN, "BEGIN IMMEDIATE")                                                                \
	X(COMMIT, "COMMIT")                                                                        \
	X(ROLLBACK, "ROLLBACK")                                                                    \
	X(CHAIN_GET, "SELECT chain, size, edge, root, last_time FROM chains WHERE chain = ?1")     \
	X(CHAIN_PUT, "INSERT INTO chains VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO UPDATE "       \
		     "SET size = ?2, edge = ?3, root = ?4, last_time = ?5")                        \
	X(CHAIN_AFTER, "SELECT chain, size, edge, root, last_time FROM chains WHERE chain > ?1 "   \
		       "ORDER BY chain LIMIT 1")                                                   \
	X(RECORD_PUT, "INSERT INTO records VALUES (?1, ?2, ?3, ?4)")                               \
	X(RECORD_GET, "SELECT idx, record, leaf_hash FROM records WHERE chain = ?1 AND idx = ?2")  \
	X(RECORD_WALK, "SELECT idx, record, leaf_hash FROM records WHERE chain = ?1 AND "          \
		       "idx >= ?2 ORDER BY idx")                                                   \
	X(ATTEMPT_PUT, "INSERT INTO attempts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")    \
	X(ATTEMPT_GET, "SELECT * FROM attempts WHERE id = ?1 AND attempt = ?2")                    \
	X(ATTEMPT_ISSUE, "UPDATE attempts SET issued = ?3 WHERE id = ?1 AND attempt = ?2")         \
	X(ATTEMPT_DROP, "DELETE FROM attempts WHERE id = ?1 AND attempt = ?2")                     \
	X(ATTEMPT_OPEN, "SELECT * FROM attempts WHERE issued < 0 AND chain = ?1 "                  \
			"AND idx > ?2 ORDER BY idx LIMIT 1")                                       \
	X(COUNT_ADD, "INSERT INTO counts VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE "               \
		     "SET live = live + ?3")                                                       \
	X(COUNT_CLEAN, "DELETE FROM counts WHERE kind = ?1 AND name = ?2 AND live = 0")            \
	X(LIVE_KEY,                                                                                \
		"SELECT coalesce((SELECT live FROM counts WHERE kind = 'key' AND name = ?1), 0) "  \
		"- (SELECT count(*) FROM attempts WHERE key = ?1 AND client <> '' AND "            \
		"expiry <= ?3)")                                                                   \
	X(LIVE_CLIENT,                                                                             \
		"SELECT coalesce((SELECT live FROM counts WHERE kind = 'client' AND name = ?2), "  \
		"0) - (SELECT count(*) FROM attempts WHERE client = ?2 AND expiry <= ?3)")         \
	X(LIVE_LATEST, "SELECT count(*), coalesce(max(expiry), 0) FROM attempts WHERE "            \
		       "client <> '' AND (issued >= 0 OR ?4) AND expiry > ?3 AND "                 \
		       "(?1 = '' OR key = ?1) AND (?2 = '' OR client = ?2)")                       \
	X(LIVE_SHARED, "SELECT EXISTS (SELECT 1 FROM attempts WHERE spki_sha256 = ?1 AND "         \
		       "client <> ?2 AND client <> '' AND expiry > ?3)")                           \
	X(PURGE_ATTEMPTS, "DELETE FROM attempts WHERE (id, attempt) IN (SELECT id, attempt FROM "  \
			  "attempts WHERE issued >= 0 AND expiry < ?1 ORDER BY expiry LIMIT 512) " \
			  "RETURNING key, client")                                                 \
	X(PURGE_IDEMPOTENCY,                                                                       \
		"DELETE FROM idempotency WHERE (client, key, name) IN (SELECT client, key, name "  \
		"FROM idempotency WHERE time < ?1 ORDER BY time LIMIT 512)")                       \
	X(IDEMPOTENCY_GET, "SELECT request_sha256, time, id, chain, authorised, issued FROM "      \
			   "idempotency WHERE client = ?1 AND key = ?2 AND name = ?3")             \
	X(IDEMPOTENCY_PUT,                                                                         \
		"INSERT OR REPLACE INTO idempotency VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")  \
	X(HOLD_PUT, "INSERT OR REPLACE INTO holds VALUES (?1, ?2, ?3)")                            \
	X(HOLD_DROP, "DELETE FROM holds WHERE key = ?1 AND client = ?2")                           \
	X(HOLD_FIND, "SELECT reason FROM holds WHERE (key = '' OR key = ?1) AND "                  \
		     "(client = '' OR client = ?2) LIMIT 1")                                       \
	X(HOLD_AFTER, "SELECT key, client, reason FROM holds WHERE (key, client) > (?1, ?2) "      \
		      "ORDER BY key, client LIMIT 1")

enum statement {
#define STATEMENT_ENUM(name, sql) S_##name,
	STATEMENTS(STATEMENT_ENUM)
#undef STATEMENT_ENUM
		STATEMENT_COUNT
};

struct sqlite {
	struct store store;
	sqlite3 *db;
	sqlite3_stmt *statement[STATEMENT_COUNT];
	char *path;
	int journal_pages; /* in the write-ahead log after the last commit */
	char *copy;	   /* the folder of a private copy, removed at the end; NULL: none */
};

/* sqlite-file.c: the file as a whole. */
enum err sqlite_open(struct store **out, const char *path, struct refusal *why);
enum err sqlite_open_copy(struct store **out, const char *path, struct refusal *why);
enum err sqlite_stop(struct store *s);
void sqlite_abandon(struct store *s);
const char *sqlite_text(struct store *s);
enum err sqlite_tidy(struct store *s);
uint64_t sqlite_octets(struct store *s);
bool sqlite_reserve_fill(struct store *s);
void sqlite_reserve_spend(struct store *s);
/* A new one with this path; NULL: no memory. */
struct sqlite *sqlite_new(const char *path);
enum err sqlite_prepare(struct sqlite *s);
enum err sqlite_version_check(struct sqlite *s, bool may_be_new, struct refusal *why);
/* sqlite-copy.c: the folder of a private copy, and what is in it. */
void sqlite_copy_remove(struct sqlite *s);
/* What a result code means to the ledger. */
enum err sqlite_err(struct sqlite *s, int rc);

#endif
