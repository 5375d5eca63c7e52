/* What a verification knew of each chain when it stopped, in a file, for a later run that goes on.
 */
#ifndef DCSIGN_BOOKMARK_H
#define DCSIGN_BOOKMARK_H

#include "err.h"
#include "store.h"

struct bookmark {
	const char *path; /* borrowed */
	int unwritten;	  /* errno of a bookmark_write that failed; 0: none did */
	struct bookmark_chain {
		char chain[CHAIN_SIZE];
		struct buf octets; /* as verify.c wrote them */
		struct bookmark_chain *next;
	} * chains;
};

/* No file: nothing is known. ERR_FORMAT: it is none of these, damaged, or others could have written
 * it; ERR_SYSTEM: it can't be read. *why says so. */
enum err bookmark_open(struct bookmark *r, const char *path, struct refusal *why);
void bookmark_close(struct bookmark *r);
/* NULL: nothing is known of this chain. */
const struct buf *bookmark_find(const struct bookmark *r, const char *chain);
/* Takes the place of what was known; takes the octets over. ERR_NOMEM. */
enum err bookmark_put(struct bookmark *r, const char *chain, struct buf *octets);
/* The old file or the new one is there. ERR_SYSTEM. */
enum err bookmark_write(struct bookmark *r);

#endif
