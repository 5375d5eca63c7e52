/*
 * The ledger's writer: chains, and groups of records that become durable in one transaction.
 * One thread. Times: `now` is the ledger's own clock in seconds since the epoch, `ms` a monotonic
 * clock in milliseconds.
 */
#ifndef DCSIGN_COMMIT_H
#define DCSIGN_COMMIT_H

#include "config.h"
#include "flood.h"
#include "signer.h"
#include "state.h"

#define GENERATIONS 8

struct chain {
	struct store_chain stored;
	struct store_chain saved; /* as it was before the transaction under way */
	bool touched;		  /* by the transaction under way */
	bool unsure;		  /* it may be `maybe`: the store was lost while it committed */
	struct store_chain maybe;
	bool served; /* it had a writer in this life */
	bool closed; /* another one goes on for it: nothing is written to it */
	/* It goes on for this one, of which so much was known; "": it began by itself. */
	char previous[CHAIN_SIZE];
	uint64_t previous_size;
	uint8_t previous_root[SHA256_SIZE];
	char token[NAME_SIZE];
	struct buf note;      /* the newest signed head; empty: none */
	uint64_t signed_size; /* the records that it covers, and its own CHECKPOINT record */
	int64_t signed_ms;    /* when it was made or tried */
	struct chain *next;
};

/* What READ_LIVE said, when it took long to find out. */
struct live_kept {
	char key[NAME_SIZE], client[NAME_SIZE];
	uint64_t live;
	int64_t latest_expiry;
	int64_t until_ms; /* it is said again until then; 0: nothing is kept */
};

#define LIVE_KEPT    16
#define LIVE_DEAR_US 2000  /* processor time; what takes less is counted anew each time */
#define LIVE_MANY    20000 /* live credentials; as dear: a database works elsewhere */
#define LIVE_SHARE   50	   /* of the time, one part at most goes into counting one thing again */
#define LIVE_MOST_MS 10000 /* and no answer is older than that */

struct ledger {
	struct store *store;
	char node[NAME_SIZE];
	struct chain *chains;			/* by name */
	struct config *generation[GENERATIONS]; /* the newest first */
	struct flood flood;
	bool reserve;	      /* the disk had room for the reserve: AUTHORISED is taken */
	int64_t tried_ms;     /* when it was last tried to fill it */
	struct signer signer; /* as long as it is not ready nothing is signed */
	bool key_made;	      /* at this start */
	int courier;	      /* -1: none */
	struct buf json, config;
	bool stopping;
	/* the store is lost (ERR_CLOSED of store.h) */
	bool lost, behind; /* behind: it came back without records that were durable */
	bool unsure;	   /* whether the last transaction is durable */
	int64_t retry_ms, pause_ms, back_ms;
	struct chain other; /* of another node, as it was read last */
	struct live_kept live[LIVE_KEPT];
	unsigned live_next;   /* the place that is taken next */
	int64_t live_dear_us; /* LIVE_DEAR_US, or a test's */
	uint64_t live_many;   /* LIVE_MANY, or a test's */
	struct refusal why;   /* of the last failure */
};

/* One record to append, and its answer. The record borrows; the answer borrows from replay. */
struct commit_item {
	struct chain *chain;
	struct record record;
	uint64_t max_live_key, max_live_client;
	bool judge_only; /* AUTHORISED: answered as if it were written, and not written */
	bool own;	 /* the ledger's own record: may be of any type */
	struct msg_appended answer;
	struct buf replay;
};

/*
 * Opens the store, checks the tail of every chain and closes every open record as UNKNOWN.
 * ERR_FORMAT: damaged; others as in store.h. *why says what and where.
 */
enum err ledger_open(
	struct ledger *l, const char *url, const char *node, int64_t now, struct refusal *why);
/* STOP for every chain that had a writer, and everything in one file. */
enum err ledger_stop(struct ledger *l, int64_t now, int64_t ms);
/* Frees the memory and leaves the files as they are. */
void ledger_abandon(struct ledger *l);
/* From now on this generation is known; the last GENERATIONS are. Takes a reference. */
void ledger_generation(struct ledger *l, struct config *c);
/* A writer for node/token: its chain, whose open records are closed as UNKNOWN. */
enum err ledger_serve(struct ledger *l, const char *token, int64_t now, struct chain **out);

/* The chain node/token, or the last one that goes on for it; an empty one if there is none yet;
 * NULL: no memory. */
struct chain *ledger_chain(struct ledger *l, const char *token);

/*
 * After commit_group or a read gave ERR_CLOSED, when retry_ms has come: one attempt to get the
 * store back. The tail of each chain must be the one known here, before or after the transaction
 * that was under way; else the store was put back to an older state, and the ledger stays lost.
 * ERR_OK: *durable says which of the two it is. ERR_CLOSED: not yet.
 */
enum err ledger_resume(struct ledger *l, int64_t ms, bool *durable);
/*
 * A person decides that a chain which the store came back without (`behind`) ends where it is known
 * here; another one goes on for it, whose name *name gets. When none is behind any more
 * ledger_resume gives ERR_OK; then the writers of those that ended are to begin anew.
 * ERR_NOT_FOUND: it is not behind; others as in store.h. *why says it.
 */
enum err ledger_succeed_behind(struct ledger *l, const char *chain, const char *reason, int64_t now,
	char name[CHAIN_SIZE], struct refusal *why);
/* Notes that a read gave ERR_CLOSED. */
void ledger_lose(struct ledger *l, int64_t ms);

/* A chain by its name, also one of another node, which is read now; NULL: there is none or the
 * store does not say. */
struct chain *ledger_find(struct ledger *l, const char *name);

/* Whether it is a chain that this node writes: not another node's, and none that is closed. */
bool ledger_own(const struct ledger *l, const struct chain *c);

/*
 * succeed.c: what stands in record 0 of each chain: which one it goes on for, and so which are
 * closed. ERR_FORMAT and *why.
 */
enum err succeed_load(struct ledger *l, struct refusal *why);
/* Is this chain NODE/TOKEN itself, or one that goes on for it? */
bool succeed_same(const char *chain, const char *first);
/* One more chain; NULL: no memory. */
struct chain *ledger_chain_add(struct ledger *l, const struct store_chain *stored);
/*
 * Closes a chain that can't go on: the first record of a new one, NODE/TOKEN#2 (or #3 ...), names
 * it, the records that are known of it and their root, and the reason. The store is open and has no
 * daemon. known: a head that was kept elsewhere, NULL: what the store says. *name gets the new
 * chain's. ERR_NOT_FOUND: neither knows the chain; ERR_FORMAT: it is closed already, or known has
 * less than the store; *why says so. Other errors as of commit_group.
 */
enum err ledger_succeed(struct store *store, const char *chain, const struct checkpoint *known,
	const char *reason, int64_t now, char name[CHAIN_SIZE], struct refusal *why);

/* May a writer send this record? False: it is broken. */
bool commit_takes(const struct record *r);
/*
 * Judges and appends the items in order, in one transaction. ERR_OK: each answer holds; when the
 * disk is full that is ERR_LEDGER_UNAVAILABLE, and nothing of the item was written. ERR_CLOSED: the
 * store is lost; if l->unsure is set by this call, the answers hold when ledger_resume says that it
 * is durable, else nothing was written. Any other error: nothing is known, the process must end.
 */
enum err commit_group(
	struct ledger *l, struct commit_item *items, size_t count, int64_t now, int64_t ms);

#endif
