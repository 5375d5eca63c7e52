/* The holds in force, as a reader of a chain's records meets them. */
#ifndef DCSIGN_INFORCE_H
#define DCSIGN_INFORCE_H

#include "record.h"

struct inforce {
	char key[NAME_SIZE], client[NAME_SIZE]; /* "" = any */
	int64_t idx;				/* of the HELD record */
	struct inforce *next;
};

void inforce_free(struct inforce *list);
/* HELD or RELEASED. False: no memory. */
bool inforce_take(struct inforce **list, const struct record *r);
/* The one that this AUTHORISED falls under; NULL. */
const struct inforce *inforce_find(const struct inforce *list, const struct record *r);

#endif
