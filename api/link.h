/*
 * One channel of the signer: a neighbour process, what it last said about itself, and when it was
 * last asked. Not thread-safe: signer.c holds its lock.
 */
#ifndef DCSIGN_LINK_H
#define DCSIGN_LINK_H

#include "channel.h"

#define POLL_REST  4  /* polls between two looks at holds, live credentials and notes */
#define LINK_NOTES 64 /* chains whose newest note is known */

struct link {
	uint8_t role; /* ROLE_HSM or ROLE_LEDGER */
	char token[NAME_SIZE];
	int fd;
	bool retired;	  /* a newer channel to the same neighbour is there */
	bool leaving;	  /* it takes no new calls: it is about to end */
	unsigned waiting; /* calls sent and not ended */

	/* the state: asked for page by page into fresh, then shown */
	uint64_t poll_serial;		   /* of the question that is open; 0: none */
	int64_t poll_asked;		   /* when its first page was asked for */
	int64_t poll_last;		   /* when the last one was begun; 0: never */
	bool known;			   /* a whole state has been seen */
	struct msg_state_key *key, *fresh; /* by name */
	uint32_t key_count, fresh_count, fresh_total;
	uint64_t mark, fresh_mark; /* that all pages had; 0: they did not have the same */
	bool token_ok;
	char token_detail[160];
	uint8_t generation[SHA256_SIZE];
	uint64_t counter[COUNTER_COUNT];
	struct msg_histogram span[SPAN_COUNT];
	/* of the ledger: heads at each question, the rest at every POLL_REST'th */
	enum { POLL_HEADS, POLL_HOLDS, POLL_LIVE, POLL_NOTES } step;
	unsigned polls;
	struct msg_read_answer heads;
	struct msg_held *held, *fresh_held;
	uint32_t held_count, fresh_held_count;
	uint64_t live;
	unsigned asked_note;	/* which head's note is asked for */
	char *note[LINK_NOTES]; /* as heads.head; NULL: none */
	char note_chain[LINK_NOTES][sizeof(((struct msg_head_of_chain *)0)->chain)];

	struct link *next;
};

struct link *link_new(uint8_t role, const char *token, int fd); /* owns fd; NULL: no memory */
void link_free(struct link *l);

/* Asks for the state when it is time to. Uses out as scratch. */
void link_poll(struct link *l, int64_t now, uint64_t *serial, struct buf *out);
/* One page of the answer. Asks for the next page where there is one. ERR_FORMAT when it does not
 * fit the question; ERR_NOMEM. */
enum err link_state(
	struct link *l, const struct msg_state_answer *page, uint64_t *serial, struct buf *out);
/* The ledger's answer to the open question. Asks the next one where there is one. */
void link_read(
	struct link *l, const struct msg_read_answer *answer, uint64_t *serial, struct buf *out);
/* Has it told its state, and does it still answer? */
bool link_fresh(const struct link *l, int64_t now);
/* The newest note of a chain; NULL: none is known. */
const char *link_note(const struct link *l, const char *chain);
const struct msg_state_key *link_key(const struct link *l, const char *key);

#endif
