/* What queue*.c share. */
#ifndef DCSIGN_QUEUE_PRIVATE_H
#define DCSIGN_QUEUE_PRIVATE_H

#include "queue.h"

#define PENDING_MS 2500 /* a request waits so long for its keys, if its deadline allows it */

void job_free(struct job *j);
/* Out of the queue; with the lock held. */
void job_remove(struct queue *q, struct job *j);
/* The answer of somebody whose time is over; or why nothing is begun. */
void job_expire(struct queue *q, struct job *j, const struct refusal *why);

/* queue_work.c, with the lock held. The worker that is to be woken, which queue_wake does without
 * the lock, or NULL. Because there is work and nobody awake will see it soon, or ... */
struct worker *queue_calls(struct queue *q);
/* ... it has stood there for too long: those awake do not come back. */
struct worker *queue_stale(struct queue *q);
void queue_wake(struct worker *w);

#endif
