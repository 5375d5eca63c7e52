/*
 * The PostgreSQL engine: what its files share. Everything goes through one connection in pipeline
 * mode: statements are queued, and one pg_sync sends what is queued and takes all results. Inside a
 * transaction reads that were foreseen are answered from memory and writes are kept there until
 * commit, so that a group of records costs two round trips however large it is.
 */
#ifndef DCSIGN_POSTGRES_H
#define DCSIGN_POSTGRES_H

#include <libpq-fe.h>
#include <stdarg.h>

#include "store.h"

#define PG_FORMAT 1 /* of the schema; postgres-schema.c */

/* X(name, SQL): parameters and results are binary. */
#define ATTEMPT_COLUMNS                                                                            \
	"a.id, a.attempt, a.chain, a.idx, a.issued, a.key, a.client, a.spki_sha256, a.expiry, "    \
	"a.idempotency"
#define IDEMPOTENCY_COLUMNS                                                                        \
	"i.client, i.key, i.name, i.request_sha256, i.time, i.id, i.chain, i.authorised, i.issued"
#define CREDENTIAL_COLUMNS "number, id, chain, authorised, issued, key, client, expiry, time"
#define CHAIN_COLUMNS	   "chain, size, edge, root, last_time"
#define LEDGER_LOCK	   "x'64637367'::int, 'dcsign.records'::regclass::oid::int"
#define SHARED_ELSEWHERE                                                                           \
	"(EXISTS (SELECT 1 FROM attempts WHERE spki_sha256 = q.spki AND client < q.client AND "    \
	"client > '' AND expiry > q.now) OR EXISTS (SELECT 1 FROM attempts WHERE spki_sha256 = "   \
	"q.spki AND client > q.client AND expiry > q.now))::int::int8"
#define PG_STATEMENTS(X)                                                                           \
	X(BEGIN, "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE")                                \
	X(SNAPSHOT, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")                             \
	X(COMMIT, "COMMIT")                                                                        \
	X(ROLLBACK, "ROLLBACK")                                                                    \
	X(LOCK, "SELECT pg_advisory_xact_lock(" LEDGER_LOCK ")")                                   \
	X(NODE_LOCK, "SELECT pg_try_advisory_lock('dcsign.writers'::regclass::oid::int, "          \
		     "hashtext($1::text))::int::int8")                                             \
	X(CLAIM, "INSERT INTO writers AS w VALUES ($1::text, 1, 0) ON CONFLICT (node) DO UPDATE "  \
		 "SET epoch = w.epoch + 1 RETURNING epoch, holds_seen")                            \
	X(STATE, "SELECT coalesce((SELECT epoch FROM writers WHERE node = $1::text), 0), "         \
		 "coalesce((SELECT max(number) FROM credentials), 0), "                            \
		 "coalesce((SELECT max(number) FROM hold_events), 0), "                            \
		 "(SELECT count(*) FROM (SELECT 1 FROM holds LIMIT 65) h)")                        \
	X(CHAIN_GET, "SELECT " CHAIN_COLUMNS " FROM chains WHERE chain = $1::text")                \
	X(CHAIN_PUT, "INSERT INTO chains VALUES ($1::text, $2::int8, $3::bytea, $4::bytea, "       \
		     "$5::int8) ON CONFLICT (chain) DO UPDATE SET size = excluded.size, "          \
		     "edge = excluded.edge, root = excluded.root, last_time = excluded.last_time") \
	X(CHAIN_AFTER,                                                                             \
		"SELECT " CHAIN_COLUMNS " FROM chains WHERE chain > $1::text ORDER BY chain "      \
		"LIMIT 1")                                                                         \
	X(RECORDS_PUT, "INSERT INTO records SELECT * FROM unnest($1::text[], $2::int8[], "         \
		       "$3::text[], $4::bytea[])")                                                 \
	X(RECORD_GET, "SELECT record, leaf_hash FROM records WHERE chain = $1::text AND "          \
		      "idx = $2::int8")                                                            \
	X(RECORD_WALK, "SELECT idx, record, leaf_hash FROM records WHERE chain = $1::text AND "    \
		       "idx >= $2::int8 ORDER BY idx LIMIT $3::int8")                              \
	X(RECORDS_BLANK, "UPDATE records r SET record = '' FROM unnest($1::text[], $2::int8[]) "   \
			 "q(chain, idx) WHERE r.chain = q.chain AND r.idx = q.idx")                \
	X(MAY_BLANK, "SELECT has_table_privilege('records', 'UPDATE')::int::int8")                 \
	X(RECORD_CHAIN, "SELECT chain FROM records WHERE chain > $1::text ORDER BY chain LIMIT 1") \
	X(ATTEMPTS_PUT, "INSERT INTO attempts SELECT * FROM unnest($1::text[], $2::int8[], "       \
			"$3::text[], $4::int8[], $5::int8[], $6::text[], $7::text[], "             \
			"$8::bytea[], $9::int8[], $10::text[])")                                   \
	X(ATTEMPTS_ISSUE, "UPDATE attempts a SET issued = q.issued FROM unnest($1::text[], "       \
			  "$2::int8[], $3::int8[]) q(id, attempt, issued) WHERE a.id = q.id AND "  \
			  "a.attempt = q.attempt")                                                 \
	X(ATTEMPTS_DROP, "DELETE FROM attempts a USING unnest($1::text[], $2::int8[]) "            \
			 "q(id, attempt) WHERE a.id = q.id AND a.attempt = q.attempt")             \
	X(ATTEMPTS_GET,                                                                            \
		"SELECT " ATTEMPT_COLUMNS ", " IDEMPOTENCY_COLUMNS " FROM unnest($1::text[], "     \
		"$2::int8[]) q(id, attempt) JOIN attempts a ON a.id = q.id AND "                   \
		"a.attempt = q.attempt LEFT JOIN idempotency i ON a.idempotency <> '' "            \
		"AND i.client = a.client AND i.key = a.key AND i.name = a.idempotency")            \
	X(ATTEMPT_OPEN, "SELECT " ATTEMPT_COLUMNS " FROM attempts a WHERE issued < 0 AND chain = " \
			"$1::text AND idx > $2::int8 ORDER BY idx LIMIT 1")                        \
	X(ATTEMPT_WALK, "SELECT " ATTEMPT_COLUMNS " FROM attempts a WHERE (id, attempt) > "        \
			"($1::text, $2::int8) ORDER BY id, attempt LIMIT $3::int8")                \
	X(IDEMPOTENCY_WALK, "SELECT " IDEMPOTENCY_COLUMNS " FROM idempotency i WHERE (client, "    \
			    "key, name) > ($1::text, $2::text, $3::text) ORDER BY client, key, "   \
			    "name LIMIT $4::int8")                                                 \
	X(COUNTS_ADD, "INSERT INTO counts AS c SELECT * FROM unnest($1::text[], $2::text[], "      \
		      "$3::int8[]) ON CONFLICT (kind, name) DO UPDATE SET live = c.live + "        \
		      "excluded.live")                                                             \
	X(COUNTS_GET, "SELECT c.kind, c.name, c.live FROM unnest($1::text[], $2::text[]) "         \
		      "q(kind, name) JOIN counts c ON c.kind = q.kind AND c.name = q.name")        \
	X(EXPIRED, "SELECT key, client, expiry FROM attempts WHERE expiry <= $1::int8 AND "        \
		   "client <> '' ORDER BY expiry LIMIT $2::int8")                                  \
	X(LIVE_KEY, "SELECT coalesce((SELECT live FROM counts WHERE kind = 'key' AND name = "      \
		    "$1::text), 0) - (SELECT count(*) FROM attempts WHERE key = $1::text AND "     \
		    "client <> '' AND expiry <= $2::int8)")                                        \
	X(LIVE_CLIENT, "SELECT coalesce((SELECT live FROM counts WHERE kind = 'client' AND name "  \
		       "= $1::text), 0) - (SELECT count(*) FROM attempts WHERE client = $1::text " \
		       "AND client <> '' AND expiry <= $2::int8)")                                 \
	X(LIVE_LATEST, "SELECT count(*), coalesce(max(expiry), 0) FROM attempts WHERE client <> "  \
		       "'' AND (issued >= 0 OR $4::int8 <> 0) AND expiry > $3::int8 AND "          \
		       "($1::text = '' OR key = $1::text) AND ($2::text = '' OR client = "         \
		       "$2::text)")                                                                \
	X(LIVE_SHARED,                                                                             \
		"SELECT q.spki, q.client, q.now, " SHARED_ELSEWHERE " FROM unnest($1::bytea[], "   \
		"$2::text[], $3::int8[]) q(spki, client, now)")                                    \
	X(PURGE_ATTEMPTS, "WITH gone AS (DELETE FROM attempts WHERE (id, attempt) IN (SELECT id, " \
			  "attempt FROM attempts WHERE issued >= 0 AND expiry < $1::int8 ORDER "   \
			  "BY expiry LIMIT 8192) RETURNING key, client), less AS (SELECT 'key' "   \
			  "AS kind, key AS name, count(*) AS n FROM gone WHERE client <> '' "      \
			  "GROUP BY key UNION ALL SELECT 'client', client, count(*) FROM gone "    \
			  "WHERE client <> '' GROUP BY client) UPDATE counts c SET live = live - " \
			  "n FROM less l WHERE c.kind = l.kind AND c.name = l.name")               \
	X(PURGE_IDEMPOTENCY, "DELETE FROM idempotency WHERE (client, key, name) IN (SELECT "       \
			     "client, key, name FROM idempotency WHERE time < $1::int8 ORDER BY "  \
			     "time LIMIT 8192)")                                                   \
	X(IDEMPOTENCY_GET, "SELECT " IDEMPOTENCY_COLUMNS " FROM unnest($1::text[], $2::text[], "   \
			   "$3::text[]) q(client, key, name) JOIN idempotency i ON i.client = "    \
			   "q.client AND i.key = q.key AND i.name = q.name")                       \
	X(IDEMPOTENCY_PUT, "INSERT INTO idempotency SELECT * FROM unnest($1::text[], $2::text[], " \
			   "$3::text[], $4::bytea[], $5::int8[], $6::text[], $7::text[], "         \
			   "$8::int8[], $9::int8[]) ON CONFLICT (client, key, name) DO UPDATE "    \
			   "SET request_sha256 = excluded.request_sha256, time = excluded.time, "  \
			   "id = excluded.id, chain = excluded.chain, authorised = "               \
			   "excluded.authorised, issued = excluded.issued")                        \
	X(HOLD_PUT, "INSERT INTO holds VALUES ($1::text, $2::text, $3::text) ON CONFLICT (key, "   \
		    "client) DO UPDATE SET reason = excluded.reason")                              \
	X(HOLD_DROP, "DELETE FROM holds WHERE key = $1::text AND client = $2::text")               \
	X(HOLD_FIND, "SELECT reason FROM holds WHERE (key = '' OR key = $1::text) AND (client = "  \
		     "'' OR client = $2::text) ORDER BY key, client LIMIT 1")                      \
	X(HOLD_AFTER, "SELECT key, client, reason FROM holds WHERE (key, client) > ($1::text, "    \
		      "$2::text) ORDER BY key, client LIMIT 1")                                    \
	X(HOLD_ALL, "SELECT key, client, reason FROM holds ORDER BY key, client")                  \
	X(HOLD_TELL,                                                                               \
		"INSERT INTO hold_events (number, node, record) SELECT coalesce(max(number), "     \
		"0) + 1, $1::text, $2::text FROM hold_events")                                     \
	X(HOLD_NEWS, "SELECT number, record FROM hold_events WHERE number > $1::int8 AND node <> " \
		     "$2::text ORDER BY number LIMIT 1")                                           \
	X(HOLD_SEEN, "UPDATE writers SET holds_seen = $2::int8 WHERE node = $1::text")             \
	X(LEAF_GET, "SELECT leaf_hash FROM records WHERE chain = $1::text AND idx = $2::int8")     \
	X(NODES_PUT, "INSERT INTO nodes SELECT * FROM unnest($1::text[], $2::int8[], $3::int8[], " \
		     "$4::bytea[])")                                                               \
	X(NODE_GET, "SELECT hash FROM nodes WHERE chain = $1::text AND level = $2::int8 AND idx "  \
		    "= $3::int8")                                                                  \
	X(CHECKPOINT_PUT, "INSERT INTO checkpoints VALUES ($1::text, $2::text) ON CONFLICT "       \
			  "(chain) DO UPDATE SET note = excluded.note")                            \
	X(CHECKPOINT_GET, "SELECT note FROM checkpoints WHERE chain = $1::text")                   \
	X(CREDENTIALS_PUT, "INSERT INTO credentials SELECT * FROM unnest($1::int8[], $2::text[], " \
			   "$3::text[], $4::int8[], $5::int8[], $6::text[], $7::text[], "          \
			   "$8::int8[], $9::int8[])")                                              \
	X(CREDENTIAL_GET,                                                                          \
		"SELECT " CREDENTIAL_COLUMNS " FROM credentials WHERE id = $1::text ORDER "        \
		"BY number DESC LIMIT 1")                                                          \
	X(CREDENTIAL_LAST, "SELECT coalesce(max(number), 0) FROM credentials")                     \
	X(CREDENTIAL_TIME, "SELECT time FROM credentials WHERE number = $1::int8")                 \
	X(CREDENTIAL_WALK,                                                                         \
		"SELECT " CREDENTIAL_COLUMNS " FROM credentials WHERE number > $1::int8 "          \
		"ORDER BY number LIMIT $2::int8")                                                  \
	X(OCTETS, "SELECT sum(pg_total_relation_size(oid))::int8 FROM pg_class WHERE relkind = "   \
		  "'r' AND relnamespace = 'dcsign'::regnamespace")

enum pg_statement {
#define PG_STATEMENT_ENUM(name, sql) PG_##name,
	PG_STATEMENTS(PG_STATEMENT_ENUM)
#undef PG_STATEMENT_ENUM
		PG_STATEMENT_COUNT
};

#define PG_RESULTS   64 /* statements between two pg_sync */
#define PG_COLUMNS   10 /* parameters of one statement */
#define PG_BUCKETS   4096
#define EXPIRED_KEPT 256 /* attempts past their end and not purged yet that are kept in memory */
#define HELD_KEPT    64

/* Values for one array parameter, in the binary form of an array of one dimension. */
struct pg_array {
	struct buf octets;
	uint32_t count;
};

/* Rows of one statement, a column each. */
struct pg_columns {
	struct pg_array column[PG_COLUMNS];
};

enum pg_table { PG_ROW_ATTEMPT, PG_ROW_IDEMPOTENCY, PG_ROW_COUNT, PG_ROW_SHARED, PG_ROW_SPKI };

/* A row as the transaction under way sees it. */
struct pg_row {
	struct pg_row *next;  /* of its bucket */
	struct pg_row *later; /* of the transaction */
	enum pg_table table;
	bool asked;  /* what follows is known */
	bool stored; /* the database has it, perhaps as it was before */
	bool there;  /* it is there */
	bool dirty;  /* the database does not know yet */
	union {
		struct store_attempt attempt;
		struct store_idempotency idempotency;
		struct {
			int64_t live, added; /* added: since the last flush */
			char kind[8], name[NAME_SIZE];
		} count;
		bool shared; /* by another client, before this transaction */
		struct {     /* what this transaction did to the attempts with a DC key */
			char client[NAME_SIZE];
			int64_t expiry; /* the latest */
			bool many;	/* of several clients, or some were dropped */
		} spki;
	};
	size_t key_len;
	uint8_t key[];
};

struct pg_expired {
	char key[NAME_SIZE], client[NAME_SIZE];
	int64_t expiry;
};

struct postgres {
	struct store store;
	PGconn *conn; /* NULL: lost */
	char *url;
	char node[NAME_SIZE]; /* "": no claim */
	int64_t epoch;
	bool reader;	 /* open_copy */
	unsigned queued; /* statements since the last pg_sync */
	PGresult *result[PG_RESULTS];
	unsigned results;
	struct buf text; /* what went wrong last */
	/* the transaction under way */
	bool open;		   /* between begin and its end */
	bool begun;		   /* BEGIN was sent, without the lock */
	bool sent;		   /* BEGIN was sent, the lock is ours */
	int64_t number;		   /* of the last credential */
	int64_t events;		   /* of the last hold_events */
	int64_t seen, seen_before; /* hold_events that were told here */
	uint64_t held_count;	   /* holds; HELD_KEPT + 1: many */
	bool held_known;	   /* held has them all */
	struct msg_held held[HELD_KEPT];
	struct pg_row *bucket[PG_BUCKETS], *first, **last;
	bool expired_known;
	int64_t expired_until;
	size_t expired_count;
	struct pg_expired expired[EXPIRED_KEPT];
	struct pg_columns records, nodes, credentials, blanks;
	int64_t purge_expired, purge_forgotten, purged; /* purge_expired 0: not now */
};

/* postgres-wire.c */
/* Queues a statement. kinds: t text, T text and size_t, i int64_t, h SHA256_SIZE octets, b octets
 * and size_t, a struct pg_array *. The values are copied. */
enum err pg_queue(struct postgres *s, enum pg_statement which, const char *kinds, ...);
/* Sends what is queued and takes the results, which stand in s->result until the next statement is
 * queued. The first failure. */
enum err pg_sync(struct postgres *s);
/* Both, for one statement beside those that were queued; *rows: its result. */
enum err pg_ask(
	struct postgres *s, PGresult **rows, enum pg_statement which, const char *kinds, ...);
/* Text of several statements, before pipeline mode; the last one's result. */
enum err pg_plain(struct postgres *s, const char *sql, PGresult **rows);
/* Closes the connection: ERR_CLOSED. why NULL: what the connection says. */
enum err pg_lost(struct postgres *s, const char *why);
void pg_results_clear(struct postgres *s);
/* What the server's refusal means. */
enum err pg_err(struct postgres *s, const PGresult *r);

void pg_array_text(struct pg_array *a, const void *text, size_t len);
void pg_array_bytes(struct pg_array *a, const void *octets, size_t len);
void pg_array_int(struct pg_array *a, int64_t value);
/* One row: kinds as pg_queue's without a. */
enum err pg_columns_add(struct pg_columns *c, const char *kinds, ...);
/* Queues a statement with all the rows, if there are any, and empties it. */
enum err pg_columns_queue(struct postgres *s, enum pg_statement which, struct pg_columns *c);
void pg_columns_free(struct pg_columns *c);

int64_t pg_int(const PGresult *r, int row, int column);
/* False: what stands there does not fit. */
bool pg_text_of(const PGresult *r, int row, int column, char *out, size_t size);
bool pg_octets_of(const PGresult *r, int row, int column, void *out, size_t len);

/* postgres-link.c: the connection. */
enum err pg_open(struct store **out, const char *url, struct refusal *why);
enum err pg_open_copy(struct store **out, const char *url, struct refusal *why);
enum err pg_claim(struct store *s, const char *node, struct refusal *why);
enum err pg_resume(struct store *s, struct refusal *why);
enum err pg_stop(struct store *s);
void pg_abandon(struct store *s);
const char *pg_text(struct store *s);
/* A connection and nothing more: what postgres-schema.c begins with. */
enum err pg_connect(struct postgres **out, const char *url, struct refusal *why);

/* postgres-schema.c */
enum err pg_init(const char *url, const char *writer, const char *reader, struct refusal *why);

/* postgres-group.c: the transaction. */
enum err pg_begin(struct store *s);
enum err pg_commit(struct store *s);
enum err pg_rollback(struct store *s);
/* Queues BEGIN, the lock and the question who we are; takes the answer to it. */
enum err pg_enter_queue(struct postgres *s);
enum err pg_enter_take(struct postgres *s);
/* Queues what the transaction has written. */
enum err pg_flush(struct postgres *s);
/* Before a statement: BEGIN and the lock, when a transaction is open and they were not sent. */
enum err pg_enter(struct postgres *s);
/* A question about what is not in memory: what was written in this transaction comes first. */
enum err pg_ready(struct postgres *s);
void pg_forget(struct postgres *s);

/* postgres-foresee.c: what the transaction is going to ask. */
enum err pg_foresee(struct store *s, const struct store_need *needs, size_t count);
/* Rows of the statements ATTEMPTS_GET and IDEMPOTENCY_GET go into memory. */
enum err pg_attempts_keep(struct postgres *s, const PGresult *r);
enum err pg_idempotency_keep(struct postgres *s, const PGresult *r);

/* postgres-rows.c: rows in memory. */
struct pg_row *pg_row_find(struct postgres *s, enum pg_table table, const char *kinds, ...);
/* Finds it, or makes it. NULL: no memory. */
struct pg_row *pg_row_make(struct postgres *s, enum pg_table table, const char *kinds, ...);
void pg_rows_free(struct postgres *s);
enum err pg_attempt_read(const PGresult *r, int row, struct store_attempt *out);
enum err pg_idempotency_read(const PGresult *r, int row, int column, struct store_idempotency *out);

/* postgres-attempts.c, postgres-tree.c: parts of the engine. */
enum err pg_attempt_put(struct store *s, const struct store_attempt *a);
enum err pg_attempt_get(
	struct store *s, const char *id, int64_t attempt, struct store_attempt *out);
enum err pg_attempt_issue(struct store *s, const char *id, int64_t attempt, int64_t issued);
enum err pg_attempt_drop(struct store *s, const struct store_attempt *a);
enum err pg_attempt_open(
	struct store *s, const char *chain, int64_t after, struct store_attempt *out);
enum err pg_attempt_walk(struct store *s, store_attempt_row *row, void *arg);
enum err pg_live_count(
	struct store *s, const char *key, const char *client, int64_t now, uint64_t *count);
enum err pg_live_latest(struct store *s, const char *key, const char *client, bool open,
	int64_t now, uint64_t *count, int64_t *latest);
enum err pg_live_shared(struct store *s, const uint8_t spki_sha256[SHA256_SIZE], const char *client,
	int64_t now, bool *shared);
enum err pg_purge(struct store *s, int64_t expired, int64_t forgotten);
enum err pg_idempotency_get(struct store *s, struct store_idempotency *i);
enum err pg_idempotency_put(struct store *s, const struct store_idempotency *i);
enum err pg_idempotency_walk(struct store *s, store_idempotency_row *row, void *arg);
enum err pg_leaf_get(struct store *s, const char *chain, uint64_t idx, uint8_t leaf[SHA256_SIZE]);
enum err pg_record_chain_after(struct store *s, const char *chain, char *out);
enum err pg_node_put(struct store *s, const char *chain, unsigned level, uint64_t index,
	const uint8_t hash[SHA256_SIZE]);
enum err pg_node_get(struct store *s, const char *chain, unsigned level, uint64_t index,
	uint8_t hash[SHA256_SIZE]);
enum err pg_checkpoint_put(struct store *s, const char *chain, const void *note, size_t len);
enum err pg_checkpoint_get(struct store *s, const char *chain, struct buf *note);
enum err pg_credential_put(struct store *s, const struct store_credential *c);
enum err pg_credential_get(struct store *s, const char *id, struct store_credential *out);
enum err pg_credential_since(struct store *s, int64_t time, int64_t *number);
enum err pg_credential_walk(struct store *s, int64_t after, store_credential_row *row, void *arg);
enum err pg_hold_put(struct store *s, const char *key, const char *client, const char *reason);
enum err pg_hold_drop(struct store *s, const char *key, const char *client);
enum err pg_hold_find(struct store *s, const char *key, const char *client, struct buf *reason);
enum err pg_hold_after(struct store *s, const char *key, const char *client, struct msg_held *out);
enum err pg_hold_tell(struct store *s, const void *json, size_t len);
enum err pg_hold_news(struct store *s, struct buf *json);
/* Around a write: outside a transaction it is one. */
bool pg_alone(struct postgres *s);
enum err pg_written(struct postgres *s, bool alone, enum err e);

#endif
