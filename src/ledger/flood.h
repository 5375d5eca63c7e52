/*
 * A flood of refusals must not fill the disk: the first REFUSED of a chain, client, key and reason
 * is written as it is; those that follow within a second are counted, and written as one record
 * with `count` when the second is over. Pure: the caller gives the time.
 */
#ifndef DCSIGN_FLOOD_H
#define DCSIGN_FLOOD_H

#include "record.h"
#include "store.h"

#define FLOOD_ENTRIES 256
#define FLOOD_MS      1000

struct flood_entry {
	char chain[CHAIN_SIZE]; /* "" = free */
	char client[NAME_SIZE], key[NAME_SIZE], reason[48];
	int64_t until_ms;
	int64_t counted; /* refusals since the one that was written */
	int64_t pending; /* of the transaction under way */
	bool fresh;	 /* began in the transaction under way */
	bool written;	 /* its count was written in the transaction under way */
};

struct flood {
	struct flood_entry entry[FLOOD_ENTRIES];
};

/* Whether this REFUSED record is to be written; else it was counted. */
bool flood_take(struct flood *f, const char *chain, const struct record *r, int64_t now_ms);
/* The next entry whose second is over and that has counted something, marked written; NULL: none.
 * all: whether the second is over or not. */
struct flood_entry *flood_due(struct flood *f, int64_t now_ms, bool all);
/* The end of the transaction under way. */
void flood_settle(struct flood *f, bool committed, int64_t now_ms);
/* Milliseconds until flood_due has something; -1: nothing was counted. */
int64_t flood_wait(const struct flood *f, int64_t now_ms);

#endif
