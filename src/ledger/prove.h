/* That a credential is in the ledger under a signed head: what `dcsign ledger prove` prints. */
#ifndef DCSIGN_PROVE_H
#define DCSIGN_PROVE_H

#include "store.h"
#include "witness.h"

/*
 * Appends one JSON object: chain, idx, leaf_hash, note, proof and record of the ISSUED record of
 * this id. The head: the longest of `known` for its chain, else the newest that the ledger keeps.
 * *why, and ERR_NOT_FOUND: no such credential, or no head that covers it; ERR_FORMAT: the records
 * are not those of the head. Others as in store.h.
 */
enum err prove(struct buf *out, struct store *s, const char *id, const struct known *known,
	struct refusal *why);

#endif
