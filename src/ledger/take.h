/* One record of a group: judged, and appended to its chain in the transaction under way. */
#ifndef DCSIGN_TAKE_H
#define DCSIGN_TAKE_H

#include "commit.h"

/* What a transaction is judged with. */
struct group {
	struct ledger *l;
	int64_t now, ms;
	bool full; /* the disk is full: outcomes only */
	bool told; /* the hold of this group: the other nodes will hear of it */
};

/* Errors as of commit_group. */
enum err take_record(struct group *g, struct commit_item *it);
/* Without a judgement: the record at the end of the item's chain. */
enum err take_append(struct group *g, struct commit_item *it, struct record *r);
/* Answers that the disk is full. Gives ERR_OK. */
enum err take_no_room(struct commit_item *it);

#endif
