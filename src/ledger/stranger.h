/* STRANGER: what the ledger writes of somebody who is no client. */
#ifndef DCSIGN_STRANGER_H
#define DCSIGN_STRANGER_H

#include "commit.h"

/* One REFUSED (unknown_client), or one more that is counted. Errors as of commit_group. */
enum err stranger_take(struct ledger *l, const struct msg_stranger *m, int64_t now, int64_t ms);

#endif
