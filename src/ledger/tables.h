/* What the store keeps besides the records, to decide fast and to answer: credentials, attempts,
 * counts of unexpired ones, Idempotency-Keys, holds. Against what the records say. */
#ifndef DCSIGN_TABLES_H
#define DCSIGN_TABLES_H

#include "attempts.h"
#include "recall.h"
#include "store.h"
#include "tally.h"

struct tables {
	struct store *store;
	struct tables_hold *hold;
	struct tables_live *live;
	struct recall recall;
	uint64_t credentials;
	uint64_t open; /* attempts without an outcome, self-tests too */
	bool archived; /* some records are, and the rows of theirs are not compared */
	int64_t now;   /* the newest time of a record */
};

void tables_free(struct tables *t);
void tables_time(struct tables *t, int64_t time);
/* HELD and RELEASED: of all chains, the newest of the same key and client counts. ERR_NOMEM. */
enum err tables_hold(struct tables *t, const struct record *r);
/* ISSUED: NULL, or what is wrong with the row that lists it; static. */
const char *tables_credential(
	struct tables *t, const struct record *r, const struct record *authorised);
/* A chain was read to its end. ERR_NOMEM. */
enum err tables_chain(struct tables *t, const struct tally *tally, const struct attempts *open);
/* All chains were: says what is wrong. Errors as in store.h. */
enum err tables_check(struct tables *t, void (*say)(void *arg, const char *what), void *arg);

#endif
