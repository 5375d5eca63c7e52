/* The signed heads of a chain while it is read: its own CHECKPOINT records, and notes kept
 * elsewhere. */
#ifndef DCSIGN_WITNESS_H
#define DCSIGN_WITNESS_H

#include "checkpoint.h"
#include "record.h"

/* A note that was kept elsewhere. */
struct known {
	struct checkpoint head;
	const char *note; /* borrowed */
	size_t len;
	bool seen; /* its chain was as long as it says */
	struct known *next;
};

/* A verifier key that an auditor trusts: of its name, or of whose chain has none. */
struct verifier {
	char name[CHECKPOINT_ORIGIN_SIZE]; /* origin/node/token, as signed-note has it */
	uint8_t key[CHECKPOINT_KEY];
};

struct witness {
	const char *chain;
	const struct verifier *verifier; /* one of these must have signed each head, see below */
	size_t verifiers;		 /* 0: none is known */
	struct checkpoint newest;	 /* good one; its origin is "" when there is none */
	uint8_t key[CHECKPOINT_KEY];	 /* that signed it */
	uint64_t count;			 /* good ones */
};

/* The notes of a text. ERR_FORMAT: there is something else in it. */
enum err known_read(struct known **list, const char *text, size_t len);
void known_free(struct known *list);
/* Whether the key may sign heads of this origin: it is one of those whose names are of the same
 * node, or, where there is none of this node, any of them. Always, where none is known. */
bool witness_key(const struct verifier *list, size_t count, const char *origin,
	const uint8_t key[CHECKPOINT_KEY]);
/* Whether a key that may has signed the note. */
bool witness_signed(const struct verifier *list, size_t count, const struct known *k);
/* Whether the origin is one of this chain: ORIGIN/CHAIN. */
bool witness_origin(const char *origin, const char *chain);

/* A CHECKPOINT record, and the root of what stands before it. NULL: good; else what is wrong. */
const char *witness_record(
	struct witness *w, const struct record *r, const uint8_t root[SHA256_SIZE]);
/* The chain has this size and root now: does a known note contradict it? NULL: none does. */
const char *witness_size(const struct witness *w, struct known *list, uint64_t size,
	void (*root)(void *arg, uint8_t out[SHA256_SIZE]), void *arg);
/* The size of the next known note after this one; UINT64_MAX: there is none. */
uint64_t witness_next(const struct witness *w, const struct known *list, uint64_t size);

#endif
