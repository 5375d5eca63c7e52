/* What signer.c (asking, looking) and signer_turn.c (the thread) share. */
#ifndef DCSIGN_SIGNER_PRIVATE_H
#define DCSIGN_SIGNER_PRIVATE_H

#include <pthread.h>

#include "link.h"
#include "signer.h"

#define BUCKETS		1024 /* power of two */
#define LINKS_MAX	512
#define MESSAGES_A_TURN 256

/* How often a neighbour was introduced. */
struct births {
	uint8_t role;
	char token[NAME_SIZE];
	unsigned count;
};

struct signer {
	pthread_mutex_t lock;
	struct link *links;
	unsigned link_count;
	struct births *births;
	size_t birth_count;
	struct signer_call *calls[BUCKETS]; /* by serial */
	unsigned waiting;
	unsigned queue;
	uint64_t serial;
	struct buf out;		 /* scratch, under the lock */
	struct msg_issue *issue; /* scratch, under the lock */

	/* the thread's own */
	uint8_t *in;
	struct msg_issue_answer *answer;
	struct msg_state_answer *state;
	struct msg_read_answer *read;
	struct pollfd *polled;
	struct link **polled_link;
};

/* Under the lock. The channel to ask: of a token, or (token NULL) of the ledger; NULL: none. */
struct link *signer_find_link(const struct signer *s, const char *token);

#endif
