/*
 * Requests on their way: a bounded queue, N workers, and a deadline for each. While the ledger
 * works on a request, no worker waits for it: it comes back to whichever is awake. At most as many
 * requests as there are workers are under way.
 */
#ifndef DCSIGN_QUEUE_H
#define DCSIGN_QUEUE_H

#include "deadline.h"
#include "issue.h"
#include "line.h"

struct job {
	struct job *next, *previous; /* in the list of all that are under way */
	bool taken;		     /* by a worker: it is under way */
	bool ready;		     /* for one: nothing is awaited */
	struct queue *queue;
	struct job *after;     /* in the list of those that go on */
	int64_t since;	       /* monotonic_ms: it can be begun, or go on */
	struct issuer context; /* until it ends */
	struct msg_issue *ask; /* owned, from octets */
	struct batch *batch;   /* NULL: not begun */
	struct line *api;      /* where the answer goes */
	uint64_t serial;
	int64_t arrived; /* monotonic_us */
	uint8_t *octets; /* the ISSUE message, owned */
	size_t len;
	char request[ID_SIZE];
	uint16_t count;
	struct deadline deadline;
};

struct jobs {
	struct job *first, *last;
};

struct worker {
	struct queue *queue;
	pthread_t thread;
	struct worker *next; /* in queue.idle */
	bool asleep;	     /* is in it */
	pthread_cond_t called;
};

struct queue {
	pthread_mutex_t lock;
	struct job *first, *last; /* all, oldest first */
	unsigned waiting, busy;	  /* not taken, taken */
	bool stopping;
	unsigned workers;
	struct worker *worker;
	struct worker *idle; /* those that sleep and are not called, the last one first */
	unsigned idles;	     /* how many */
	/* of those that the ledger has answered: the token is asked next, or not */
	struct jobs signers, others;
	unsigned crowd;		/* signatures for signers */
	unsigned signing, away; /* workers that ask the token, and of these for long */
	bool asked;		/* something for the ledger has not left */
	/* the request's context at this moment; release gives it back */
	void (*acquire)(void *arg, struct issuer *out);
	void (*release)(void *arg, struct issuer *context);
	/* Does a request have to wait for something that comes by itself? Main thread; NULL: never.
	 */
	bool (*pending)(void *arg, const struct msg_issue *ask);
	struct msg_issue *scratch; /* main thread's */
	void *arg;
	struct append *ledger; /* hears of attempts that did not come back */
};

/* Starts the workers. ERR_SYSTEM. The caller has set acquire, release, arg and ledger. */
enum err queue_start(struct queue *q, unsigned workers);
/*
 * Takes one ISSUE message (decoded: ask; whole: octets, copied). ERR_OVERLOADED when `limit` are
 * waiting, ERR_STOPPING, ERR_NOMEM: not taken, the caller answers.
 */
enum err queue_put(struct queue *q, unsigned limit, struct line *api, uint64_t serial,
	const struct msg_issue *ask, const uint8_t *octets, size_t len, int64_t deadline);
/* Main thread, after it has read what the ledger answered: what could not leave before leaves, or
 * waits for a worker that is about to ask for more. */
void queue_flush(struct queue *q);
/* Answers what is over its deadline; what waited and need not any more goes to the workers. Returns
 * how many are under way. */
unsigned queue_expire(struct queue *q);
/* How many have no answer yet: one whose call does not come back is answered at its deadline. */
unsigned queue_unanswered(struct queue *q);
/* Answers all that no worker has taken. */
void queue_refuse(struct queue *q, const struct refusal *why);
/* No new work; wakes the workers, which end when nothing waits. */
void queue_stop(struct queue *q);
/* After queue_stop and when nothing is under way. */
void queue_join(struct queue *q);

/* Sends an answer to ISSUE over the api channel; an api that does not read loses it. */
void queue_answer(struct line *api, uint64_t serial, const struct buf *body);

#endif
