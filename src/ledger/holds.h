/* HOLD and RELEASE: judged by the newest configuration, written into every chain of this node. */
#ifndef DCSIGN_HOLDS_H
#define DCSIGN_HOLDS_H

#include "commit.h"

/* type: RECORD_HELD or RECORD_RELEASED. ERR_OK: *a holds, durable if it is not a refusal. Other
 * errors as of commit_group. */
enum err hold_take(struct ledger *l, enum record_type type, const struct msg_hold *m, int64_t now,
	int64_t ms, struct msg_hold_answer *a);

#endif
