/* Records on their way into an archive: for archive_move.c and archive_take.c alone. */
#ifndef DCSIGN_ARCHIVE_MOVE_H
#define DCSIGN_ARCHIVE_MOVE_H

#include <stdio.h>

#include "archive.h"
#include "record.h"
#include "witness.h"

/* An attempt that must stay. */
struct kept {
	char id[ID_SIZE];
	enum archive_stay why;
};

/* What is to leave a chain. */
struct gone {
	struct archive_moved moved;
	int64_t seen; /* records from here on had not been written when it was chosen */
	struct gone_record {
		int64_t idx;
		char id[ID_SIZE];
	} * record;
	size_t count, room;
	struct gone *next;
};

struct move {
	struct store *s;
	const char *path;
	FILE *file;
	int64_t before, alive; /* what expires after `alive` has not expired */
	struct refusal *why;
	struct gone *gone; /* of each chain, in order */
	/* of the chain at hand */
	const struct store_chain *chain;
	struct gone *leaves;
	struct archive_moved *moved;
	struct merkle tree;
	struct witness witness;
	bool passed; /* a record of `before` or later was met */
	struct kept *kept;
	size_t count, room;
	struct buf text;
};

enum err archive_parse(struct move *m, struct record *r, int64_t idx, const char *json, size_t len);
/* The attempt of this record goes into m->kept. */
enum err archive_keep(struct move *m, const struct record *r, enum archive_stay why);
/* Of two struct kept, by id. */
int archive_compare(const void *a, const void *b);
/* The file is durable: what m->gone names leaves the ledger, in one transaction. Whatever belongs
 * to an attempt that went on meanwhile stays and is counted so. */
enum err archive_take(struct move *m);
/* Where a test wants it to be cut. */
void archive_cut(const char *moment);

#endif
