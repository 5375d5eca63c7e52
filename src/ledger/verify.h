/*
 * Everything that a ledger claims, computed anew: places, canonical form, leaf hashes, tree heads;
 * one outcome for every attempt; every credential built again from its records and its signature
 * verified.
 */
#ifndef DCSIGN_VERIFY_H
#define DCSIGN_VERIFY_H

#include <signal.h>

#include "store.h"
#include "witness.h"

struct verify {
	/* Called for each thing that is wrong. idx NO_IDX: the chain as a whole. */
	void (*problem)(void *arg, const char *chain, int64_t idx, const char *what);
	/* What an auditor should know and is not wrong: a chain that goes on for another one, and
	 * what is missing between them. NULL: nobody asks. */
	void (*note)(void *arg, const char *chain, const char *what);
	void *arg;
	/* The keys that must have signed the heads, of each node its own (witness.h); none: the one
	 * that each CHECKPOINT names, which shows no more than that its note was not damaged. */
	const struct verifier *verifier;
	size_t verifiers;
	/* Heads that were kept elsewhere: each must be of a chain here and of its history. */
	struct known *known;
	/* Those that must have cosigned each of them. */
	const struct checkpoint_witness *witness;
	size_t witnesses;
	/* The newest good head of each chain. NULL: nobody asks. */
	void (*head)(void *arg, const struct checkpoint *c, const uint8_t key[CHECKPOINT_KEY]);
	/* Places, hashes and heads alone: not what the records say. */
	bool chain_only;
	/* What an earlier run knew: each chain is read from there on, and what is known then is
	 * written again, every half minute too. The tables are not looked at. NULL: from the
	 * beginning. */
	struct bookmark *resume;
	/* Set by a signal: verify_store saves what it knows and gives ERR_CLOSED. NULL: never. */
	const volatile sig_atomic_t *stop;
	/* Now and then: so many records of a chain are done. NULL: nobody asks. */
	void (*progress)(void *arg, const char *chain, uint64_t done, uint64_t of);
	struct crew *crew;     /* verify's own */
	struct tables *tables; /* the same */
	/* what was found */
	uint64_t chains, records, credentials, heads, problems;
	uint64_t archived; /* of the records: their text is not here, only the leaf hash was used */
	uint64_t open;	   /* attempts at the end of a chain that was not stopped in order */
};

/* chain NULL: all. ERR_NOT_FOUND: there is no such chain. Other errors: as in store.h. */
enum err verify_store(struct verify *v, struct store *s, const char *chain);

#endif
