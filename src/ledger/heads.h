/*
 * Signed heads: made every so many records or seconds and at the end, written as CHECKPOINT
 * records, and given away when those are durable.
 */
#ifndef DCSIGN_HEADS_H
#define DCSIGN_HEADS_H

#include "commit.h"

/*
 * The key, the kept notes, and those of `checkpoint { file }`, which this ledger must contain: what
 * is behind one of them, or another history, was put back. ERR_FORMAT and *why. config: the first
 * generation.
 */
enum err heads_open(struct ledger *l, const struct config *config, int64_t ms, struct refusal *why);
/* Milliseconds until one is due; -1: nothing is unsigned. */
int64_t heads_wait(const struct ledger *l, int64_t ms);
/* Signs what is due; all: whatever is unsigned. Errors as of commit_group. */
enum err heads_take(struct ledger *l, bool all, int64_t now, int64_t ms);
/* The head of one chain, signed now if a record of it is not covered. */
enum err heads_fresh(struct ledger *l, struct chain *c, int64_t now, int64_t ms);

#endif
