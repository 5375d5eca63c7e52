/* What the credentials of a chain add up to while it is read: how many are unexpired for each key
 * and client, and which Idempotency-Keys have released one. */
#ifndef DCSIGN_TALLY_H
#define DCSIGN_TALLY_H

#include "record.h"

struct tally {
	struct tally_name *name; /* of keys and of clients */
	size_t names;
	struct tally_live *live; /* a heap, the first to expire on top */
	size_t lives, room;
	struct tally_used *used; /* open addressing */
	size_t uses, slots;
};

void tally_free(struct tally *t);
/* What r, an AUTHORISED record, led to was released: counts it, and what is unexpired at its `now`
 * with it. ERR_NOMEM. */
enum err tally_release(
	struct tally *t, const struct record *r, uint64_t *of_key, uint64_t *of_client);
/* r has an Idempotency-Key. *before: another id was released under it less than a day before. */
enum err tally_idempotency(struct tally *t, const struct record *r, bool *before);
/* What has not been seen to expire. */
enum err tally_each(const struct tally *t,
	enum err (*one)(void *arg, const char *key, const char *client, int64_t expiry), void *arg);
/* All of it, appended; and back into an empty one. False: it is not that, or no memory. */
void tally_save(const struct tally *t, struct buf *out);
bool tally_load(struct tally *t, struct reader *in);

#endif
