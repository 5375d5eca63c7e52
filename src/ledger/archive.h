/*
 * Old records out of the ledger, in files. An archive has the octets of records, a line each, as
 * `export` writes them, and after those of a chain the CHECKPOINT record whose signed head covers
 * them. The ledger keeps their leaf hashes, so that heads and proofs do not change.
 */
#ifndef DCSIGN_ARCHIVE_H
#define DCSIGN_ARCHIVE_H

#include "store.h"

struct archive;

/* Reads a file and adds it to *a (NULL: the first one); a line that is no record is passed over.
 * ERR_NOT_FOUND, ERR_NOMEM, and *why. */
enum err archive_open(struct archive **a, const char *path, struct refusal *why);
void archive_free(struct archive *a);
/* The text of a record, borrowed. False: no file has it. a may be NULL. */
bool archive_get(
	const struct archive *a, const char *chain, int64_t idx, const char **json, size_t *len);

/* Why a record stays in the ledger although it is old enough. */
enum archive_stay {
	STAY_BASE,	  /* later records lean on its type: START, CONFIG, KEY-PROVED, HELD ... */
	STAY_ALIVE,	  /* its credential has not expired, or its attempt is open */
	STAY_IDEMPOTENCY, /* an Idempotency-Key can still be answered with it */
	STAY_LATER,	  /* a record that is not archived belongs to the same attempt */
	STAYS
};

struct archive_moved {
	char chain[CHAIN_SIZE];
	int64_t from, to;     /* idx: those in the file; to is not included; to == from: none */
	uint64_t taken;	      /* out of the ledger; also those before `from` that stayed till now */
	uint64_t stay[STAYS]; /* in this file or an older one, and still in the ledger */
};

/*
 * Of each chain, the records before its newest signed head that was written before this time.
 * First the file, durable; then, in one transaction, what no longer is in the ledger. told: for
 * each chain, when they have left. now: seconds since the epoch. Other writers of a shared
 * ledger may go on. ERR_NOT_FOUND with *why: it can't be done here, and nothing was changed;
 * ERR_FORMAT: the ledger is not as it must be.
 */
enum err archive_move(struct store *s, const char *path, int64_t before, int64_t now,
	void (*told)(void *arg, const struct archive_moved *m), void *arg, struct refusal *why);

#endif
