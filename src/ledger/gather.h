/*
 * APPEND messages of several writers, gathered into one group: what has arrived while the last
 * group was being made durable becomes the next one.
 */
#ifndef DCSIGN_GATHER_H
#define DCSIGN_GATHER_H

#include "commit.h"

#define GATHER_ITEMS 1024

struct gathered {
	int fd; /* borrowed: where the answer goes */
	uint64_t serial;
	uint8_t *octets; /* owned: the records borrow from it */
	size_t first, count;
};

struct gather {
	struct commit_item *items; /* GATHER_ITEMS */
	size_t count;
	struct gathered *messages; /* GATHER_ITEMS */
	size_t message_count;
};

enum err gather_init(struct gather *g);
void gather_free(struct gather *g);
/* No room for another message. */
bool gather_full(const struct gather *g);
/* Takes one APPEND message, whole (head and body); octets are copied. ERR_FORMAT: malformed, or a
 * record that a writer must not send. */
enum err gather_add(
	struct gather *g, int fd, struct chain *chain, const uint8_t *octets, size_t len);
/* The store is lost: answers that nothing was written, but keeps what tells the outcome of a
 * signature until it can be written. *lost as of gather_commit. */
void gather_unavailable(struct gather *g, int timeout_ms, int *lost, size_t *lost_count);
/* Answers as the items say, and empties it. */
void gather_answer(struct gather *g, int timeout_ms, int *lost, size_t *lost_count);
/* Commits everything and answers; then it is empty. An answer that can't be sent within
 * timeout_ms closes nothing here: *lost (fds, at most GATHER_ITEMS, *lost_count) names the channel.
 * Errors as of commit_group; with ERR_CLOSED nothing is answered and everything is kept. */
enum err gather_commit(struct gather *g, struct ledger *l, int64_t now, int64_t ms, int timeout_ms,
	int *lost, size_t *lost_count);

#endif
