/* What append*.c share: links, the channels to the ledger one after the other, and who waits. */
#ifndef DCSIGN_APPEND_PRIVATE_H
#define DCSIGN_APPEND_PRIVATE_H

#include <pthread.h>
#include <semaphore.h>

#include "append.h"

/* Messages that the ledger has and has not answered. What comes meanwhile waits here and goes as
 * one message: while one group is made durable, the next one is there. */
#define UNDER_WAY_MOST 2
/* Unless one of them is not answered for so long: the ledger keeps those that tell of signatures
 * until its database is back, and says of the others at once that it is not. */
#define PATIENCE_MS 500
#define SEND_MS	    2000 /* for the ledger to make room */

struct link { /* one channel; its descriptor is closed when nobody sends on it any more */
	int fd;
	unsigned users;
	uint64_t number;
	unsigned under_way;			   /* of UNDER_WAY_MOST */
	enum stage { FRESH, GREETED, OPEN } stage; /* OPEN: for everybody */
};

/* One message of the ledger, for those whose records it answers; the last one frees it. */
struct append_message {
	_Atomic unsigned users;
	uint8_t *octets;
	size_t len;
	struct msg_append_answer *body; /* NULL: to be read by its one user (HELLO) */
};

/* Somebody who waits, in a list: `waiting` until it is sent, then `sent`. */
struct waiter {
	struct waiter *next;
	const struct append_item *items; /* borrowed; NULL: HELLO */
	uint16_t count;
	char name[NAME_SIZE];	       /* HELLO's */
	uint64_t serial;	       /* of the message that it went with */
	int64_t sent_ms;	       /* monotonic_ms: then */
	uint64_t number;	       /* of the link */
	struct append_answers *of;     /* whose answer it is a part of; NULL: HELLO's */
	sem_t woken;		       /* HELLO's */
	struct append_message *answer; /* a reference; NULL: the channel was lost */
	size_t first;		       /* of body->item: its first one */
};

struct append {
	pthread_mutex_t lock;
	struct link *link; /* NULL: none */
	struct waiter *waiting, *waiting_last, *sent, *sent_last;
	bool sending; /* a thread sends what waits */
	uint64_t serial, number;
	struct msg_hello_answer hello; /* of the last append_open */
	uint8_t inbox[MSG_MAX];	       /* main thread's */
};

/* The answer to an APPEND can carry two records for each of its own (a replay), and must fit too.
 */
#define APPEND_OCTETS (MSG_MAX / 3)

/* The ledger process is broken or hostile: nothing more is done on its word. */
_Noreturn void append_malformed(const char *what);
enum err append_unavailable(struct refusal *why);
/* One user less; the last one closes it. With the lock held. NULL is allowed. */
void link_drop(struct link *link);

/* append_waiting.c: those who wait.
 * Puts the waiter on the list, if there is a link at this stage; waiters_flush sends it. False:
 * there is none. */
bool waiter_ask(struct append *a, enum stage stage, struct waiter *w);
/* It has its answer, or gets none: it may go while this is called. */
void waiter_wake(struct waiter *w);
/* One less is awaited, the last one tells. */
void answers_drop(struct append_answers *out);
/* Takes those who went with this message, in their order. With the lock held. */
struct waiter *waiters_sent(struct append *a, uint64_t serial);
/* Nobody answers these any more. */
void waiters_give_up(struct waiter *list);
/* Sends what waits, as far as it may be sent now. */
void waiters_flush(struct append *a);

void message_unref(struct append_message *m);
/* The link that this waiter was served on goes on to the next stage. */
void link_advance(struct append *a, const struct waiter *w, enum stage stage);
/* For what nobody waits for: sent at once, to a link at this stage. */
void link_post(struct append *a, enum stage stage, const struct buf *message);
/* An APPEND of what these have to say, in their order. */
void message_of(struct buf *out, uint64_t serial, const struct waiter *list);

#endif
