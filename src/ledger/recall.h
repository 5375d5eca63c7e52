/* The Idempotency-Keys of the last day as the records say, against the rows that the store keeps to
 * answer them. */
#ifndef DCSIGN_RECALL_H
#define DCSIGN_RECALL_H

#include "record.h"
#include "store.h"

struct recall {
	struct recalled *slot; /* open addressing; a power of two of them */
	size_t size, used;
};

void recall_free(struct recall *k);
/* AUTHORISED with an Idempotency-Key, of any chain. newest: the latest time of a record so far.
 * ERR_NOMEM. */
enum err recall_authorised(struct recall *k, const struct record *r, int64_t newest);
/* ISSUED of that one. */
void recall_issued(struct recall *k, const struct record *r, const struct record *authorised);
/* After all records: says what is wrong. Errors as in store.h. */
enum err recall_check(struct recall *k, struct store *s, int64_t newest,
	void (*say)(void *arg, const char *what), void *arg);

#endif
