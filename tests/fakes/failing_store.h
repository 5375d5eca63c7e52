/* A store's engine of which one call fails. */
#ifndef DCSIGN_TESTS_FAILING_STORE_H
#define DCSIGN_TESTS_FAILING_STORE_H

#include "ledger/store.h"

/* From now on the store's writes and questions are counted. Ends with the store. */
void failing_store(struct store *s);
/* The n-th of them from now on gives e and does nothing; 0: none does. */
void failing_store_at(unsigned n, enum err e);
/* Every one from the n-th on. */
void failing_store_from(unsigned n, enum err e);
/* rollback gives this; ERR_OK: what the store gives. */
void failing_store_rollback(enum err e);
/* A store that other nodes share: it tells of this HELD or RELEASED record of theirs, once, and
 * takes those of this node, or gives e. */
void failing_store_shared(const char *news, enum err e);
/* How many were told. */
unsigned failing_store_told(void);
/* Whether it came to that. */
bool failing_store_failed(void);

#endif
