/*
 * What the records did to the fast state and is not in its tables yet. Each transaction writes down
 * what it did as one row of the table `pending`, and the tables are brought up to date when enough
 * has come together: that dirties a page or two a transaction instead of several a credential.
 * Until then questions are answered from here and from the tables together; what is found here is
 * not in the tables. What was written down is durable, and the next start reads it back.
 */
#ifndef DCSIGN_SQLITE_PENDING_H
#define DCSIGN_SQLITE_PENDING_H

#include "store.h"

#define PENDING_BUCKETS 1024 /* of each hash table */

enum pending_what {
	PENDING_ATTEMPT = 1, /* a new one */
	PENDING_ISSUE,	     /* of one that is pending; id, attempt and issued count */
	PENDING_DROP,	     /* the same; id and attempt */
	PENDING_IDEMPOTENCY,
	PENDING_CREDENTIAL, /* without its number */
	PENDING_NODE,
	PENDING_KINDS
};

/* A root of a perfect subtree, as node_put has it. */
struct pending_node {
	char chain[CHAIN_SIZE];
	int64_t level, index;
	uint8_t hash[SHA256_SIZE];
};

/* One change. */
struct pending_done {
	enum pending_what what;
	union {
		struct store_attempt attempt;
		struct store_idempotency idempotency;
		struct store_credential credential;
		struct pending_node node;
	};
};

struct pending_attempt {
	struct store_attempt a;
	bool dropped;
	uint32_t next_id, next_spki; /* index + 1 of the next one in its bucket; 0: none */
};

struct pending_idempotency {
	struct store_idempotency i;
	uint32_t next;
};

struct pending {
	struct buf log; /* every change since the tables were brought up to date */
	size_t durable; /* so much of it is written down */
	struct pending_attempt *attempt;
	struct pending_idempotency *idempotency;
	struct store_credential *credential; /* in the order of release */
	struct pending_node *node;
	size_t attempts, idempotencies, credentials, nodes;
	size_t attempt_room, idempotency_room, credential_room, node_room;
	int64_t least_expiry; /* no attempt expires before */
	uint32_t by_id[PENDING_BUCKETS], by_spki[PENDING_BUCKETS], by_name[PENDING_BUCKETS];
};

void pending_init(struct pending *p);
/* Notes a change; it becomes durable with the transaction. ERR_FORMAT: of an attempt that is not
 * here. */
enum err pending_do(struct pending *p, const struct pending_done *d);
/* NULL: it is not here. */
struct pending_attempt *pending_attempt_find(
	const struct pending *p, const char *id, int64_t attempt);
/* Has another client one for this DC key that expires after now? */
bool pending_shared(const struct pending *p, const uint8_t spki_sha256[SHA256_SIZE],
	const char *client, int64_t now);
/* The first three members of *i name it. NULL: it is not here. */
struct store_idempotency *pending_idempotency_find(
	const struct pending *p, const struct store_idempotency *i);

/* What was read from the table. ERR_FORMAT: it is damaged. */
enum err pending_read(struct pending *p, const void *log, size_t len);
/* The transaction was rolled back. */
enum err pending_undo(struct pending *p);
/* Everything is in the tables. */
void pending_clear(struct pending *p);
void pending_free(struct pending *p);

/* sqlite-pending-log.c: a change as octets, appended; and the next one. ERR_FORMAT: damaged. */
enum err pending_log_write(struct buf *log, const struct pending_done *d);
enum err pending_log_read(struct reader *in, struct pending_done *d);

#endif
