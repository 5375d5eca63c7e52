/*
 * Issuing: what happens to a request between its arrival and its answer. Nothing is signed before
 * its AUTHORISED record is durable; nothing is answered before its ISSUED record is; and only a
 * signature that verifies with the delegation certificate's key is either.
 */
#ifndef DCSIGN_ISSUE_H
#define DCSIGN_ISSUE_H

#include "append.h"
#include "deadline.h"
#include "keyring.h"

#define ISSUE_ATTEMPTS 3

struct issuer {
	struct keyring *keys; /* the snapshot that this request keeps */
	struct token *token;
	struct append *ledger;
};

/*
 * Decides, signs and records every item of one request. It does not wait for the ledger: after
 * issue_begin and whenever ready(arg) was called, by any thread and perhaps before issue_go_on
 * returns, some thread calls issue_go_on. What the ledger is asked leaves with append_flush. The
 * arguments of issue_begin (arg, too) stay until issue_end.
 */
struct batch;
/* NULL: nothing is begun; *why for every item. */
struct batch *issue_begin(const struct issuer *issuer, const struct msg_issue *ask,
	struct deadline *deadline, void (*ready)(void *arg), void *arg, struct refusal *why);
/* Goes on as far as it can; it may be long in the token. False: until ready was called, which may
 * be so by now: nothing of this request is this thread's any more. True: the outcome of every item
 * is durable, and the answer (body of ISSUE's answer) is appended to *answer; it must not be sent
 * when the deadline was claimed by somebody else. */
bool issue_go_on(struct batch *b, struct buf *answer);
/* Is the token asked next? Only when issue_go_on waits to be called. */
bool issue_signs(const struct batch *b);
void issue_end(struct batch *b);

/* The answer when nothing was begun: every item gets this refusal. */
void issue_refuse_all(const struct msg_issue *ask, const struct refusal *why, struct buf *answer);

#endif
