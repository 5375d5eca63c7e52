/* The records of a chain with their leaf hashes computed anew, by a crew and in order. */
#ifndef DCSIGN_LEAVES_H
#define DCSIGN_LEAVES_H

#include "crew.h"
#include "store.h"

struct leaf {
	int64_t idx;
	const char *json; /* borrowed during the call */
	size_t len;	  /* 0: it is archived, and hash is what is stored */
	uint8_t stored[SHA256_SIZE], hash[SHA256_SIZE];
};

/* The next record. Anything but ERR_OK ends the walk. */
typedef enum err leaves_take(void *arg, const struct leaf *l);
/* From this index on; the one that the walk stops at was the last that was taken. */
enum err leaves_walk(struct store *s, const char *chain, int64_t from, struct crew *crew,
	leaves_take *take, void *arg);

#endif
