/* A chain's last records against what the store says of the chain: the check of every start. */
#ifndef DCSIGN_TAIL_H
#define DCSIGN_TAIL_H

#include "store.h"

#define TAIL_RECORDS 1024

/*
 * Of the last TAIL_RECORDS: the index has no gap and ends at the chain's size, each text is a
 * canonical record of this chain and place or archived, its leaf hash is the stored one; subtrees
 * that lie wholly in them have the stored hash, and the root is that of the edge. ERR_FORMAT and
 * *why.
 */
enum err tail_check(struct store *s, const struct store_chain *c, struct refusal *why);

#endif
