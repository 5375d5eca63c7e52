/*
 * Who else has a DC key? Each request asks, and mostly nobody has. Keys come in no order, so an
 * index of all of them has each new one on a page of its own, which is written and read for it.
 * Here the index (attempts_holders) begins with the run that an attempt is of, HOLDERS_RUN records
 * of a chain, so that what is new stands together; and memory has 64 bits of each key and client of
 * a segment, HOLDERS_RUNS runs, which say whether the runs of a segment are worth a look. What is
 * found there alone counts. A start reads nothing: segments are read run by run when nobody waits,
 * and looked at in the file until then. What expired leaves memory when half of a segment did.
 */
#ifndef DCSIGN_SQLITE_HOLDERS_H
#define DCSIGN_SQLITE_HOLDERS_H

#include "store.h"

struct sqlite;
struct segment;

struct holders {
	struct segment *segment; /* all that the table has attempts of */
	size_t count, room;
	void *clients; /* the numbers of their names, for search.h */
	uint32_t client_count;
};

/* What is in the table at the start. */
enum err sqlite_holders_find(struct sqlite *s);
/* Goes on with what was not read yet. Between transactions. */
enum err sqlite_holders_read(struct sqlite *s);
/* This one comes into the table; more than come in does no harm. ERR_NOMEM. */
enum err holders_add(struct holders *h, const struct store_attempt *a);
/* The one of this record left the table. */
void holders_drop(struct holders *h, int64_t idx);
/* live_shared, as far as the table goes. */
enum err sqlite_holders_other(struct sqlite *s, const uint8_t spki_sha256[SHA256_SIZE],
	const char *client, int64_t now, bool *other);
void holders_free(struct holders *h);

#endif
