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
 * Decides, signs and records every item, and blocks until the outcome of each is durable. The
 * answer to the request `ask` (body of ISSUE's answer) is appended to *answer; it must not be sent
 * when the deadline was claimed by somebody else. Thread-safe.
 */
void issue(const struct issuer *issuer, const struct msg_issue *ask, struct deadline *deadline,
	struct buf *answer);

/* The answer when nothing was begun: every item gets this refusal. */
void issue_refuse_all(const struct msg_issue *ask, const struct refusal *why, struct buf *answer);

#endif
