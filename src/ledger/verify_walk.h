/* A chain while verify reads it: for verify.c and the files beside it alone. */
#ifndef DCSIGN_VERIFY_WALK_H
#define DCSIGN_VERIFY_WALK_H

#include <time.h>

#include "judge.h"
#include "verify.h"

struct walk {
	struct verify *v;
	const struct store_chain *chain;
	int64_t next;
	struct merkle tree;
	uint64_t next_known; /* the size of the next kept head */
	uint64_t problems;
	uint64_t archived; /* records whose text is not here, without those of an archive */
	int64_t last_archived;
	bool time_known; /* a record was read that only the chain's writer can have sent */
	bool time_good;	 /* that one, or one after it, has the chain's last_time */
	time_t saved;
	struct judge judge;
	struct buf text;
	struct store *store;
	struct witness witness;
	uint8_t root[SHA256_SIZE]; /* before a CHECKPOINT record */
};

/* arg: struct walk. Counts and says a problem. */
void verify_wrong(void *arg, int64_t idx, const char *what);
/* verify_resume.c: what is known of the chain goes into v->resume and its file. */
enum err verify_save(struct walk *w);
/* What an earlier run knew. ERR_NOT_FOUND: it can't be gone on from, and that has been said. */
enum err verify_load(struct walk *w, const struct buf *known);
/* verify_known.c, of heads that were kept elsewhere. Those of what an earlier run read: the tree
 * that it computed must contain them. */
void verify_known_before(struct walk *w);
/* Those that no chain was long enough for; chain NULL: of all. */
void verify_known(struct verify *v, const char *chain);
/* Each must have the cosignatures of the witnesses. */
void verify_cosigned(struct verify *v);

#endif
