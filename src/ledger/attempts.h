/* The attempts of one chain, as a reader of its records meets them. */
#ifndef DCSIGN_ATTEMPTS_H
#define DCSIGN_ATTEMPTS_H

#include "record.h"

enum attempt_state { ATTEMPT_NONE, ATTEMPT_OPEN, ATTEMPT_UNKNOWN, ATTEMPT_FAILED, ATTEMPT_CLOSED };

struct attempt {
	char id[ID_SIZE];
	uint8_t number; /* 0: SELF-TEST */
	uint8_t state;
	int64_t idx; /* of the AUTHORISED or SELF-TEST record */
	char *json;  /* that record, as long as a signature may follow: until it is closed */
	size_t len;
};

struct attempts {
	struct attempt *slot; /* open addressing; a power of two of them */
	size_t size, used, open;
};

void attempts_free(struct attempts *a);
/* The attempt that this record is about; NULL: none was begun. */
struct attempt *attempts_find(const struct attempts *a, const struct record *r);
/* Attempt `number` of the same id; NULL. */
const struct attempt *attempts_number(
	const struct attempts *a, const struct record *r, uint8_t number);
/* A new open one. NULL: no memory. Pointers to others move. */
struct attempt *attempts_begin(
	struct attempts *a, const struct record *r, const char *json, size_t len);
void attempts_end(struct attempts *a, struct attempt *at, enum attempt_state state);

#endif
