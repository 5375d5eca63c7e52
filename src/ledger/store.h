/*
 * What the ledger asks of a database engine: records, chains, and the fast state that follows from
 * the records of the last days. One process writes a file; a database can be shared by several
 * nodes, each of which writes its own chains. Nothing here knows a rule of the ledger.
 *
 * Every function gives ERR_OK, ERR_NOT_FOUND where it says so, or why the engine can't:
 *   ERR_NO_ROOM  the disk is full: roll back; the store is as it was before begin (of a database
 *                that is ERR_CLOSED)
 *   ERR_FORMAT   what is stored is damaged
 *   ERR_TIMEOUT  another process holds the store (open and claim only)
 *   ERR_CLOSED   the connection to the store is lost: nothing was written, or, given by commit,
 *                it is not known whether the transaction is durable. Until resume has given
 *                ERR_OK everything gives this.
 *   ERR_NOT_FOUND the store is not there or must not be opened (open only)
 *   ERR_NOMEM
 *   ERR_SYSTEM   anything else, a failed sync above all: the process must end without another
 *                call, because what is durable is known only after a fresh start
 */
#ifndef DCSIGN_STORE_H
#define DCSIGN_STORE_H

#include "merkle.h"
#include "message.h"

#define CHAIN_SIZE (2 * NAME_SIZE + 8)
#define NO_IDX	   (-1)

struct store_chain {
	char chain[CHAIN_SIZE];
	struct merkle tree;
	uint8_t root[SHA256_SIZE];
	int64_t last_time; /* member time of the last record that the chain's own writer sent */
};

/* A signature that was, or is about to be, asked for: an AUTHORISED or a SELF-TEST record. */
struct store_attempt {
	char id[ID_SIZE];
	int64_t attempt; /* 0: SELF-TEST */
	char chain[CHAIN_SIZE];
	int64_t idx;	/* of that record */
	int64_t issued; /* of its ISSUED record; NO_IDX: open */
	char key[NAME_SIZE];
	char client[NAME_SIZE]; /* "": SELF-TEST, counted nowhere */
	uint8_t spki_sha256[SHA256_SIZE];
	int64_t expiry;
	char idempotency[IDEMPOTENCY_SIZE];
};

/* What became of the calls of one client with one Idempotency-Key for one delegation key. */
struct store_idempotency {
	char client[NAME_SIZE], key[NAME_SIZE], idempotency[IDEMPOTENCY_SIZE];
	uint8_t request_sha256[SHA256_SIZE];
	int64_t time; /* member now of the last AUTHORISED */
	char id[ID_SIZE];
	char chain[CHAIN_SIZE];
	int64_t authorised; /* idx of the last AUTHORISED */
	int64_t issued;	    /* idx of the ISSUED record that was released; NO_IDX: none */
};

/* A credential that was released, for good: where its two records are, and what lists ask for. */
struct store_credential {
	int64_t number; /* 1, 2 ... in the order of release; put gives it */
	char id[ID_SIZE];
	char chain[CHAIN_SIZE];
	int64_t authorised, issued; /* idx */
	char key[NAME_SIZE], client[NAME_SIZE];
	int64_t expiry, time;
};
/* Anything but ERR_OK ends the walk. */
typedef enum err store_credential_row(void *arg, const struct store_credential *c);

typedef enum err store_attempt_row(void *arg, const struct store_attempt *a);
typedef enum err store_idempotency_row(void *arg, const struct store_idempotency *i);

/* A row of records; json is borrowed during the call. Anything but ERR_OK ends the walk. */
typedef enum err store_row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE]);

/* What a transaction is going to ask for. NULL: nothing of this kind. */
struct store_need {
	const char *id;		  /* with attempt: an attempt, and its idempotency key */
	int64_t attempt;	  /* as in store_attempt */
	const char *client, *key; /* live_count of each, idempotency_get */
	const char *idempotency;
	const uint8_t *spki_sha256; /* live_shared, with client */
	int64_t now;
};

struct archive;

struct store {
	const struct store_engine *engine; /* an engine's own struct begins with this */
	const struct archive *archive; /* reads of archived records find them there; may be NULL */
};

struct store_engine {
	const char *scheme; /* "sqlite:" */

	/* Makes or brings up to date what a ledger needs, as its owner. writer, reader: database
	 * roles that get the rights of a node and of an auditor; NULL: none. */
	enum err (*init)(
		const char *where, const char *writer, const char *reader, struct refusal *why);
	/* where: the URL after the scheme, of a database the URL itself. A file is made when it is
	 * missing, a database is not. *out: end it with stop or abandon. */
	enum err (*open)(struct store **out, const char *where, struct refusal *why);
	/* To read only, as of one moment; never a live file: that is ERR_TIMEOUT. */
	enum err (*open_copy)(struct store **out, const char *where, struct refusal *why);
	/* Ends it in order, all of it in one file. *s is freed whatever comes back. */
	enum err (*stop)(struct store *s);
	/* Frees *s and touches no file. */
	void (*abandon)(struct store *s);
	/* What the engine says about the last failure; never NULL. */
	const char *(*text)(struct store *s);

	/* NULL in the next five: the store can't be shared and needs none of it. */
	/* This process alone writes the chains of this node from now on: whoever did so before
	 * can't any more. After open, and after a resume whose tails were found to be right. */
	enum err (*claim)(struct store *s, const char *node, struct refusal *why);
	/* One attempt to connect again, 2 s at most. What an earlier connection left undone has
	 * ended. ERR_CLOSED: not yet. */
	enum err (*resume)(struct store *s, struct refusal *why);
	/* First thing in a transaction: one question instead of many. */
	enum err (*foresee)(struct store *s, const struct store_need *needs, size_t count);
	/* A HELD or RELEASED record of this node, for the other nodes; and, appended, the next one
	 * of theirs that was not told in a transaction before this: ERR_NOT_FOUND: none. */
	enum err (*hold_tell)(struct store *s, const void *json, size_t len);
	enum err (*hold_news)(struct store *s, struct buf *json);

	/* What is put outside of a transaction is durable with the next one. */
	enum err (*begin)(struct store *s);
	enum err (*commit)(struct store *s);
	enum err (*rollback)(struct store *s);
	/* Between transactions, when nobody waits: keeps the journal short. */
	enum err (*tidy)(struct store *s);
	/* Room kept back so that outcomes still fit when the disk is full. fill: false when there
	 * is not enough room to keep back. spend: gives it up. */
	bool (*reserve_fill)(struct store *s);
	void (*reserve_spend)(struct store *s);
	/* Octets on the disk, the reserve not counted. */
	uint64_t (*octets)(struct store *s);

	enum err (*chain_get)(struct store *s, const char *chain, struct store_chain *out);
	enum err (*chain_put)(struct store *s, const struct store_chain *c);
	/* The first chain whose name sorts after this one; ERR_NOT_FOUND. "" begins. */
	enum err (*chain_after)(struct store *s, const char *chain, struct store_chain *out);

	enum err (*record_put)(struct store *s, const char *chain, int64_t idx, const void *json,
		size_t len, const uint8_t leaf[SHA256_SIZE]);
	/* Appends the text. ERR_NOT_FOUND. */
	enum err (*record_get)(struct store *s, const char *chain, int64_t idx, struct buf *json,
		uint8_t leaf[SHA256_SIZE]);
	/* Takes its text away: it is archived. Its place and leaf hash stay, and reads give an
	 * empty text. A transaction that has done nothing else yet keeps no other writer waiting.
	 */
	enum err (*record_blank)(struct store *s, const char *chain, int64_t idx);
	/* Whether that is allowed here: ERR_NOT_FOUND and *why. NULL: always. */
	enum err (*may_blank)(struct store *s, struct refusal *why);
	/* The first chain that has a record and sorts after this one; ERR_NOT_FOUND. "" begins.
	 * out: CHAIN_SIZE octets, may be `chain`. */
	enum err (*record_chain_after)(struct store *s, const char *chain, char *out);
	/* All records from this index on, in order. */
	enum err (*record_walk)(
		struct store *s, const char *chain, int64_t from, store_row *row, void *arg);

	/* ERR_FORMAT when it is there already. */
	enum err (*attempt_put)(struct store *s, const struct store_attempt *a);
	enum err (*attempt_get)(
		struct store *s, const char *id, int64_t attempt, struct store_attempt *out);
	enum err (*attempt_issue)(struct store *s, const char *id, int64_t attempt, int64_t issued);
	enum err (*attempt_drop)(struct store *s, const struct store_attempt *a);
	/* The open one of this chain with the lowest idx above `after`; ERR_NOT_FOUND. */
	enum err (*attempt_open)(
		struct store *s, const char *chain, int64_t after, struct store_attempt *out);
	/* All of them, in any order. */
	enum err (*attempt_walk)(struct store *s, store_attempt_row *row, void *arg);
	/* Attempts, open or issued, that expire after now: of a key, of a client ("" = any, not
	 * both "" and not both given). */
	enum err (*live_count)(
		struct store *s, const char *key, const char *client, int64_t now, uint64_t *count);
	/* Issued, and open ones too if open; "" = any. *latest: 0 when there is none. */
	enum err (*live_latest)(struct store *s, const char *key, const char *client, bool open,
		int64_t now, uint64_t *count, int64_t *latest);
	/* Whether another client has one for this DC key that expires after now. */
	enum err (*live_shared)(struct store *s, const uint8_t spki_sha256[SHA256_SIZE],
		const char *client, int64_t now, bool *shared);
	/* Forgets some of the issued attempts that expired before `expired`, and of the
	 * idempotency keys older than `forgotten`. */
	enum err (*purge)(struct store *s, int64_t expired, int64_t forgotten);

	/* out's first three members name it. ERR_NOT_FOUND. */
	enum err (*idempotency_get)(struct store *s, struct store_idempotency *out);
	enum err (*idempotency_put)(struct store *s, const struct store_idempotency *i);
	/* All of them, in any order. */
	enum err (*idempotency_walk)(struct store *s, store_idempotency_row *row, void *arg);

	/* A hold on a key, a client, or a client's use of a key; "" = any. */
	enum err (*hold_put)(
		struct store *s, const char *key, const char *client, const char *reason);
	enum err (*hold_drop)(struct store *s, const char *key, const char *client);
	/* The one that stops this client's use of this key. Appends its reason. ERR_NOT_FOUND. */
	enum err (*hold_find)(
		struct store *s, const char *key, const char *client, struct buf *reason);
	/* The first one that sorts after this key and client; ERR_NOT_FOUND. "" and "" begin. */
	enum err (*hold_after)(
		struct store *s, const char *key, const char *client, struct msg_held *out);

	/* Of one record. ERR_NOT_FOUND. */
	enum err (*leaf_get)(
		struct store *s, const char *chain, uint64_t idx, uint8_t leaf[SHA256_SIZE]);
	/* Roots of perfect subtrees, as tree.h wants them kept. */
	enum err (*node_put)(struct store *s, const char *chain, unsigned level, uint64_t index,
		const uint8_t hash[SHA256_SIZE]);
	enum err (*node_get)(struct store *s, const char *chain, unsigned level, uint64_t index,
		uint8_t hash[SHA256_SIZE]);
	/* The newest signed head of a chain. Appends. ERR_NOT_FOUND. */
	enum err (*checkpoint_put)(
		struct store *s, const char *chain, const void *note, size_t len);
	enum err (*checkpoint_get)(struct store *s, const char *chain, struct buf *note);

	enum err (*credential_put)(struct store *s, const struct store_credential *c);
	enum err (*credential_get)(struct store *s, const char *id, struct store_credential *out);
	/* *number: of one before the first that was released at this time or later; 0: all were. */
	enum err (*credential_since)(struct store *s, int64_t time, int64_t *number);
	/* Those after this number, in order. */
	enum err (*credential_walk)(
		struct store *s, int64_t after, store_credential_row *row, void *arg);
};

extern const struct store_engine store_sqlite, store_postgres;

/* The engine of a URL and what follows its scheme; a bare path is SQLite's. Anything else that
 * looks like a URL: ERR_NOT_FOUND, *why names what there is. */
enum err store_engine_of(const char *url, const struct store_engine **engine, const char **where,
	struct refusal *why);

#endif
