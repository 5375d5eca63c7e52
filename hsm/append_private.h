/* What append*.c share: links, the channels to the ledger one after the other, and who waits. */
#ifndef DCSIGN_APPEND_PRIVATE_H
#define DCSIGN_APPEND_PRIVATE_H

#include <pthread.h>

#include "append.h"

struct link { /* one channel; its descriptor is closed when nobody sends on it any more */
	int fd;
	unsigned users;
	uint64_t number;
	enum stage { FRESH, GREETED, OPEN } stage; /* OPEN: for everybody */
};

struct waiter {
	struct waiter *next;
	uint64_t serial;
	uint64_t number; /* of the link */
	uint16_t type;	 /* of the answer */
	pthread_cond_t woken;
	bool done;
	uint8_t *octets; /* the answer, owned; NULL: the channel was lost */
	size_t len;
};

struct append {
	pthread_mutex_t lock;
	struct link *link; /* NULL: none */
	struct waiter *waiters;
	uint64_t serial, number;
	struct msg_hello_answer hello; /* of the last append_open */
	uint8_t inbox[MSG_MAX];	       /* main thread's */
};

/* The ledger process is broken or hostile: nothing more is done on its word. */
_Noreturn void append_malformed(const char *what);
enum err append_unavailable(struct refusal *why);
/* Takes the link if there is one at this stage, and puts the waiter on the list before anything can
 * answer it. */
struct link *link_take(struct append *a, enum stage stage, struct waiter *w);
/* The link that this waiter was served on goes on to the next stage. */
void link_advance(struct append *a, const struct waiter *w, enum stage stage);
/* Sends; a waiter that could not be sent is off the list. */
bool link_send(struct append *a, struct link *link, struct waiter *w, const struct buf *message);
void waiter_wait(struct append *a, struct waiter *w);

#endif
