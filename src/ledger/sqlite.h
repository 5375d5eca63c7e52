/* The one way to SQLite's statements that sqlite.c and the files beside it share. */
#ifndef DCSIGN_SQLITE_H
#define DCSIGN_SQLITE_H

#include <sqlite3.h>
#include <stdarg.h>
#include <sys/types.h>

#include "sqlite-holders.h"
#include "sqlite-pending.h"

/* How many live at ?3, and the latest expiry: those counted, less what is not issued (unless ?4) or
 * has expired and was not purged. counted: of the table counts; whose: of attempts. */
#define LIVE_OF(counted, whose)                                                                    \
	"SELECT coalesce((SELECT sum(live) FROM counts WHERE " counted "), 0) - "                  \
	"(SELECT count(*) FROM attempts WHERE " whose " AND issued >= 0 AND expiry <= ?3) - "      \
	"(SELECT count(*) FROM attempts INDEXED BY attempts_open WHERE issued < 0 AND " whose      \
	" AND (expiry <= ?3 OR NOT ?4)), "                                                         \
	"max(coalesce((SELECT expiry FROM attempts WHERE " whose                                   \
	" AND issued >= 0 AND expiry > ?3 ORDER BY expiry DESC LIMIT 1), 0), "                     \
	"coalesce((SELECT max(expiry) FROM attempts INDEXED BY attempts_open WHERE issued < 0 "    \
	"AND ?4 AND " whose " AND expiry > ?3), 0))"

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
	X(RECORD_BLANK, "UPDATE records SET record = '' WHERE chain = ?1 AND idx = ?2")            \
	X(RECORD_GET, "SELECT idx, record, leaf_hash FROM records WHERE chain = ?1 AND idx = ?2")  \
	X(RECORD_WALK, "SELECT idx, record, leaf_hash FROM records WHERE chain = ?1 AND "          \
		       "idx >= ?2 ORDER BY idx")                                                   \
	X(ATTEMPT_PUT, "INSERT INTO attempts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)")    \
	X(ATTEMPT_IS, "SELECT 1 FROM attempts WHERE id = ?1 AND attempt = ?2")                     \
	X(ATTEMPT_GET, "SELECT * FROM attempts WHERE id = ?1 AND attempt = ?2")                    \
	X(ATTEMPT_ISSUE, "UPDATE attempts SET issued = ?3 WHERE id = ?1 AND attempt = ?2")         \
	X(ATTEMPT_DROP, "DELETE FROM attempts WHERE id = ?1 AND attempt = ?2")                     \
	X(ATTEMPT_OPEN, "SELECT * FROM attempts WHERE issued < 0 AND chain = ?1 "                  \
			"AND idx > ?2 ORDER BY idx LIMIT 1")                                       \
	X(ATTEMPT_WALK, "SELECT * FROM attempts ORDER BY id, attempt")                             \
	X(IDEMPOTENCY_WALK, "SELECT request_sha256, time, id, chain, authorised, issued, client, " \
			    "key, name FROM idempotency ORDER BY client, key, name")               \
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
	X(LIVE_LATEST, LIVE_OF("kind = 'key'", "client <> ''"))                                    \
	X(LIVE_LATEST_KEY, LIVE_OF("kind = 'key' AND name = ?1", "key = ?1 AND client <> ''"))     \
	X(LIVE_LATEST_CLIENT, LIVE_OF("kind = 'client' AND name = ?2", "client = ?2"))             \
	X(LIVE_LATEST_BOTH, "SELECT count(*), coalesce(max(expiry), 0) FROM attempts WHERE "       \
			    "key = ?1 AND client = ?2 AND (issued >= 0 OR ?4) AND expiry > ?3")    \
	X(HOLDERS_AFTER,                                                                           \
		"SELECT idx >> 12 FROM attempts WHERE idx >> 12 >= ?1 ORDER BY idx >> 12 LIMIT 1") \
	X(HOLDERS_RUN,                                                                             \
		"SELECT substr(spki_sha256, 1, 8), client FROM attempts WHERE idx >> 12 = ?1")     \
	X(HOLDERS_OTHER, "SELECT EXISTS (SELECT 1 FROM attempts WHERE idx >> 12 = ?1 AND "         \
			 "substr(spki_sha256, 1, 8) = substr(?2, 1, 8) AND client <> '' AND "      \
			 "client <> ?3 AND expiry > ?4 AND spki_sha256 = ?2)")                     \
	X(PENDING_PUT, "INSERT INTO pending VALUES (NULL, ?1)")                                    \
	X(PENDING_GET, "SELECT done FROM pending ORDER BY number")                                 \
	X(PENDING_CLEAR, "DELETE FROM pending")                                                    \
	X(PURGE_ATTEMPTS, "DELETE FROM attempts WHERE (id, attempt) IN (SELECT id, attempt FROM "  \
			  "attempts WHERE issued >= 0 AND expiry < ?1 ORDER BY expiry LIMIT 512) " \
			  "RETURNING key, client, idx")                                            \
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
		      "ORDER BY key, client LIMIT 1")                                              \
	X(CREDENTIAL_LAST, "SELECT coalesce(max(number), 0) FROM credentials")                     \
	X(CREDENTIAL_TIME, "SELECT time FROM credentials WHERE number = ?1")                       \
	X(RECORD_CHAIN, "SELECT chain FROM records WHERE chain > ?1 ORDER BY chain LIMIT 1")       \
	X(LEAF_GET, "SELECT leaf_hash FROM records WHERE chain = ?1 AND idx = ?2")                 \
	X(NODE_PUT, "INSERT INTO nodes VALUES (?1, ?2, ?3, ?4)")                                   \
	X(NODE_GET, "SELECT hash FROM nodes WHERE chain = ?1 AND level = ?2 AND idx = ?3")         \
	X(CHECKPOINT_PUT, "INSERT OR REPLACE INTO checkpoints VALUES (?1, ?2)")                    \
	X(CHECKPOINT_GET, "SELECT note FROM checkpoints WHERE chain = ?1")                         \
	X(CREDENTIAL_PUT, "INSERT INTO credentials VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)") \
	X(CREDENTIAL_GET, "SELECT * FROM credentials WHERE id = ?1 ORDER BY number DESC LIMIT 1")  \
	X(CREDENTIAL_WALK, "SELECT * FROM credentials WHERE number > ?1 ORDER BY number")

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
	struct pending pending;
	struct holders holders;
	bool purged; /* nothing was left of what had expired and was to be forgotten at these */
	int64_t expired, forgotten;
	enum { HOLDS_UNASKED, HOLDS_NONE, HOLDS_SOME } holds;
	bool unsettled;	   /* there was no room for it in the last transaction */
	int journal_pages; /* in the write-ahead log after the last commit */
	struct sqlite_file {
		dev_t dev;
		ino_t ino;
	} file, journal; /* what the names stood for at the start; ino 0: nobody asks */
	char why[160];	 /* what SQLite does not know of the last failure; "" = nothing */
	char *copy;	 /* the folder of a private copy, removed at the end; NULL: none */
};

/* sqlite-file.c: the file as a whole. */
enum err sqlite_init(const char *path, const char *writer, const char *reader, struct refusal *why);
enum err sqlite_open(struct store **out, const char *path, struct refusal *why);
enum err sqlite_open_copy(struct store **out, const char *path, struct refusal *why);
enum err sqlite_stop(struct store *s);
void sqlite_abandon(struct store *s);
const char *sqlite_text(struct store *s);
enum err sqlite_tidy(struct store *s);
uint64_t sqlite_octets(struct store *s);
bool sqlite_reserve_fill(struct store *s);
void sqlite_reserve_spend(struct store *s);
/* After a commit: do the names still stand for the files that were written, and may they be
 * written? What goes into a file that was unlinked or replaced is lost. ERR_SYSTEM. */
enum err sqlite_in_place(struct store *s);
/* A new one with this path; NULL: no memory. */
struct sqlite *sqlite_new(const char *path);
enum err sqlite_prepare(struct sqlite *s);
/* path: as it was given. */
enum err sqlite_version_check(
	struct sqlite *s, const char *path, bool may_be_new, struct refusal *why);
/* sqlite.c: runs a statement that gives no row, to its end. kinds: how each value is bound, t text,
 * i int64_t, h SHA256_SIZE octets, b octets and their size_t, T text and its size_t. */
enum err sqlite_run(struct store *store, enum statement which, const char *kinds, ...);
/* The first row. ERR_NOT_FOUND: none. With ERR_OK the caller resets *st when it has read it. */
enum err sqlite_row(
	struct store *store, sqlite3_stmt **st, enum statement which, const char *kinds, ...);
/* False: what stands there does not fit. */
bool sqlite_text_column(sqlite3_stmt *st, int column, char *out, size_t size);
bool sqlite_blob_column(sqlite3_stmt *st, int column, void *out, size_t len);
/* sqlite-vfs.c: the way to the files that writes the write-ahead log in large pieces; NULL:
 * SQLite's own. */
const char *sqlite_vfs(void);
/* sqlite-settle.c: the end of a transaction: what it did to the fast state is written down, or all
 * that was written down goes into the tables. */
enum err sqlite_commit(struct store *s);
enum err sqlite_rollback(struct store *s);
/* Reads back what was written down. */
enum err sqlite_pending_load(struct sqlite *s);
/* Everything into the tables, if there is room. */
enum err sqlite_settle(struct sqlite *s);
enum err sqlite_idempotency_get(struct store *s, struct store_idempotency *i);
enum err sqlite_idempotency_put(struct store *s, const struct store_idempotency *i);
enum err sqlite_idempotency_walk(struct store *s, store_idempotency_row *row, void *arg);
/* sqlite-attempts.c: signatures that were, or are about to be, asked for. */
enum err sqlite_attempt_put(struct store *s, const struct store_attempt *a);
enum err sqlite_attempt_get(
	struct store *s, const char *id, int64_t attempt, struct store_attempt *out);
enum err sqlite_attempt_issue(struct store *s, const char *id, int64_t attempt, int64_t issued);
enum err sqlite_attempt_drop(struct store *s, const struct store_attempt *a);
enum err sqlite_attempt_open(
	struct store *s, const char *chain, int64_t after, struct store_attempt *out);
enum err sqlite_attempt_walk(struct store *s, store_attempt_row *row, void *arg);
enum err sqlite_live_count(
	struct store *s, const char *key, const char *client, int64_t now, uint64_t *count);
enum err sqlite_live_latest(struct store *s, const char *key, const char *client, bool open,
	int64_t now, uint64_t *count, int64_t *latest);
enum err sqlite_live_shared(struct store *s, const uint8_t spki_sha256[SHA256_SIZE],
	const char *client, int64_t now, bool *shared);
enum err sqlite_purge(struct store *store, int64_t expired, int64_t forgotten);
/* To the counts of stored attempts of both; client "": counted nowhere. */
enum err sqlite_counts_add(struct store *s, const char *key, const char *client, int64_t n);
/* sqlite-tree.c: what proofs and lists are made of. */
enum err sqlite_leaf_get(
	struct store *s, const char *chain, uint64_t idx, uint8_t leaf[SHA256_SIZE]);
enum err sqlite_record_chain_after(struct store *s, const char *chain, char *out);
enum err sqlite_node_put(struct store *s, const char *chain, unsigned level, uint64_t index,
	const uint8_t hash[SHA256_SIZE]);
enum err sqlite_node_get(struct store *s, const char *chain, unsigned level, uint64_t index,
	uint8_t hash[SHA256_SIZE]);
enum err sqlite_checkpoint_put(struct store *s, const char *chain, const void *note, size_t len);
enum err sqlite_checkpoint_get(struct store *s, const char *chain, struct buf *note);
enum err sqlite_credential_put(struct store *s, const struct store_credential *c);
enum err sqlite_credential_get(struct store *s, const char *id, struct store_credential *out);
enum err sqlite_credential_since(struct store *s, int64_t time, int64_t *number);
enum err sqlite_credential_walk(
	struct store *s, int64_t after, store_credential_row *row, void *arg);
/* sqlite-copy.c: the folder of a private copy, and what is in it. */
void sqlite_copy_remove(struct sqlite *s);
/* What a result code means to the ledger. */
enum err sqlite_err(struct sqlite *s, int rc);

#endif
