/*
 * One request's deadline: whoever comes first, the worker with its answer or the main thread when
 * the time is over, answers; the other learns that it must not.
 */
#ifndef DCSIGN_DEADLINE_H
#define DCSIGN_DEADLINE_H

#include <pthread.h>

#include "message.h"

struct deadline {
	int64_t at; /* monotonic_ms */
	pthread_mutex_t lock;
	bool answered;		       /* by one of the two */
	enum err otherwise[MSG_ITEMS]; /* what each item is answered when the time is over */
};

void deadline_init(struct deadline *d, int64_t at);
void deadline_destroy(struct deadline *d);
/* From now on item i would be answered with e. */
void deadline_otherwise(struct deadline *d, size_t i, enum err e);
enum err deadline_said(struct deadline *d, size_t i);
/* Is the time over? Then nothing may be signed any more. */
bool deadline_passed(struct deadline *d);
/* True for exactly one caller: it answers. */
bool deadline_claim(struct deadline *d);

#endif
