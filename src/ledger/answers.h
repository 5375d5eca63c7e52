/* READ: what the api asks of the ledger. Only committed state is seen. */
#ifndef DCSIGN_ANSWERS_H
#define DCSIGN_ANSWERS_H

#include "commit.h"

/* What is not there is an answer, too: a->err. Borrows from *text, whose limit it sets. Errors as
 * in store.h and of commit_group. */
enum err answer_read(struct ledger *l, const struct msg_read *m, int64_t now, int64_t ms,
	struct buf *text, struct msg_read_answer *a);
/*
 * answers-live.c: READ_LIVE. In a large ledger all attempts may have to be looked at, and nothing
 * is appended meanwhile. So what took LIVE_DEAR_US, or were LIVE_MANY, is said again until
 * LIVE_SHARE times as much has passed, LIVE_MOST_MS at most: those who ask again and again do not
 * stop issuance.
 */
enum err live_answer(struct ledger *l, const struct msg_read *m, int64_t now, int64_t ms,
	struct msg_read_answer *a);

#endif
