/* What a group will ask the store, told to it in one go where that is worth while. */
#ifndef DCSIGN_FORESEE_H
#define DCSIGN_FORESEE_H

#include "commit.h"

/* In the open transaction, before anything else. Errors as in store.h. */
enum err foresee(struct ledger *l, const struct commit_item *items, size_t count);

#endif
