/* What signer.c (asking, looking) and signer_turn.c (the thread) share. */
#ifndef DCSIGN_SIGNER_PRIVATE_H
#define DCSIGN_SIGNER_PRIVATE_H

#include <pthread.h>

#include "link.h"
#include "signer.h"

#define BUCKETS		1024 /* power of two */
#define LINKS_MAX	512
#define MESSAGES_A_TURN 256
#define LOOK_MS		10 /* between two looks at deadlines */

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
	struct signer_call *parked; /* sent to nobody yet */
	unsigned parked_count;
	struct away *away;	 /* tokens without a process */
	struct buf out;		 /* scratch, under the lock */
	struct msg_issue *issue; /* scratch, under the lock */

	/* the thread's own */
	int64_t looked; /* monotonic_ms */
	uint8_t *in;
	struct msg_issue_answer *answer;
	struct msg_state_answer *state;
	struct msg_read_answer *read;
	struct pollfd *polled;
	struct link **polled_link;
};

/* Under the lock. The channel to ask: of a token, or (token NULL) of the ledger; NULL: none. */
struct link *signer_find_link(const struct signer *s, const char *token);

/*
 * All under the lock. The process of this token leaves or has gone: for SIGNER_AWAY_MS from the
 * first word of it calls wait for the next process.
 */
void signer_away(struct signer *s, const char *token);
/* The next one is here and gets them. Returns those that it could not be sent, to be ended. */
struct signer_call *signer_back(struct signer *s, const char *token);
void signer_forget_away(struct signer *s);
/* False: it can't wait (nobody is expected, or too many wait). */
bool signer_park(struct signer *s, struct signer_call *call);
/* Takes out, as a list, what waits for token or (NULL) what can't wait any longer. */
struct signer_call *signer_unpark(struct signer *s, const char *token, int64_t now);
/* Sends the call to a process of its token that takes new ones, or parks it. Else the reason is in
 * *why, and nothing was sent. */
enum err signer_send(struct signer *s, struct signer_call *call, struct refusal *why);
/* Ends each call of the list. Not under the lock. */
void signer_end_all(struct signer_call *ended);

#endif
