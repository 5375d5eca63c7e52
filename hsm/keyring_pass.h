/* What the files of a pass share: one look at all keys, shared by its provers. */
#ifndef DCSIGN_KEYRING_PASS_H
#define DCSIGN_KEYRING_PASS_H

#include "keyring_private.h"

#define PROVERS_MOST 16

struct prover { /* a thread that takes keys from the list in batches */
	struct pass *pass;
	pthread_t thread;
	bool active;
	int64_t since;	      /* monotonic_ms when its call of the token began; 0: it is in none */
	struct ring_key *key; /* that call's */
};

struct pass {
	_Atomic unsigned users;
	struct keyring *ring;
	struct token *token;
	struct append *ledger;
	struct token_index *index; /* NULL: none */
	bool indexing;		   /* it is being made: wait for it (pass_index) */
	uint64_t number;
	int64_t now, begun; /* begun: monotonic_ms */
	bool absent;	    /* it looks for absent keys, too */
	struct ring_key **key;
	size_t count, next;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t ended; /* a prover, or the making of the index */
	unsigned threads;
	struct prover prover[PROVERS_MOST];
	enum err err; /* the first that stops the pass, or asks for another soon */
	bool stop, abandoned;
};

/* keyring_prove.c */
/* The error of one step; stop: the whole pass. */
void pass_trouble(struct pass *p, enum err e, bool stop);
/* A call of the token for this key begins; NULL: it has come back. */
void prover_calls(struct prover *me, struct ring_key *k);
bool pass_stopped(struct pass *p);
/* Is the key still this pass's? Else it took too long and somebody else looks at it. */
bool pass_owns(struct pass *p, const struct ring_key *k);
/* The next keys: those that were asked for since the pass began before all others. */
size_t pass_take(struct pass *p, struct ring_key **keys, size_t most);
/* The index, when it is made; NULL: there is none, keys are looked for one by one. */
const struct token_index *pass_index(struct pass *p);
/* A prover's end: its last use of the pass. */
void pass_leave(struct prover *me);

/* keyring_prover.c: a thread that proves keys until none is left; arg: struct prover. */
void *prover(void *arg);

/* keyring_look.c */
/* An error of token or ledger, not of the key: it may be another the next time. */
bool err_passes(enum err e);
/* A certificate of the key that can be proved now; NULL: none, *why of the last one that can't. */
struct ring_certificate *next_to_prove(
	struct keyring *ring, struct ring_key *k, int64_t now, struct refusal *why);
/* Nothing more is to be proved of this key: it is served, or refused for *why. */
void key_settle(struct keyring *ring, struct ring_key *k, int64_t now, const struct refusal *why);
/* Log and ledger hear of each change once; of a key that is still to be proved nothing. */
enum err key_tell(struct keyring *ring, struct ring_key *k, struct append *ledger, int64_t now);
void key_log_refused(const struct ring_key *k, const struct refusal *why);
/* Finds the key on the token and reads its attributes. */
enum err key_look(struct pass *p, struct ring_key *k, struct refusal *why);

#endif
