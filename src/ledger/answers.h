/* READ: what the api asks of the ledger. Only committed state is seen. */
#ifndef DCSIGN_ANSWERS_H
#define DCSIGN_ANSWERS_H

#include "commit.h"

/* Errors as in store.h. */
enum err answer_read(
	struct ledger *l, const struct msg_read *m, int64_t now, struct msg_read_answer *a);

#endif
