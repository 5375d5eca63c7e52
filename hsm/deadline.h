/*
 * One request's deadline: whoever comes first, the worker with its answer or the main thread when
 * the time is over, answers; the other learns that it must not.
 */
#ifndef DCSIGN_DEADLINE_H
#define DCSIGN_DEADLINE_H

#include <pthread.h>

#include "message.h"

struct attempt {
	char id[ID_SIZE];
	int64_t number;
};

struct deadline {
	int64_t at; /* monotonic_ms */
	pthread_mutex_t lock;
	bool answered;		       /* by one of the two */
	enum err otherwise[MSG_ITEMS]; /* what each item is answered when the time is over */
	const struct attempt *signing[MSG_ITEMS]; /* an attempt that is with the token at this
						     moment; NULL: none */
};

void deadline_init(struct deadline *d, int64_t at);
void deadline_destroy(struct deadline *d);
/* From now on item i would be answered with e. */
void deadline_otherwise(struct deadline *d, size_t i, enum err e);
/* The attempt at item i that the token is asked about now (borrowed); NULL: it has answered. */
void deadline_signing(struct deadline *d, size_t i, const struct attempt *attempt);
/* The attempt that the token has not answered; false: none. */
bool deadline_unanswered(struct deadline *d, size_t i, struct attempt *attempt);
enum err deadline_said(struct deadline *d, size_t i);
/* Is the time over? Then nothing may be signed any more. */
bool deadline_passed(struct deadline *d);
bool deadline_answered(struct deadline *d);
/* True for exactly one caller: it answers. */
bool deadline_claim(struct deadline *d);

#endif
