/*
 * The keeper: one thread that opens the ledger's channel, proves keys, takes a new configuration
 * over and asks the token whether it is still there. It may wait for token and ledger.
 */
#ifndef DCSIGN_KEEPER_H
#define DCSIGN_KEEPER_H

#include <pthread.h>

#include "keyring.h"

struct keeper {
	const char *token_name;
	struct token *token; /* NULL: none */
	struct append *ledger;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t woken;
	struct keyring *keys;	 /* the one in force */
	struct keyring *pending; /* the next one; NULL: none */
	bool stopping, running, wake, looked;
	unsigned provers; /* threads that prove keys */
	int64_t again;	  /* ms until what failed is tried again */
};

/* token NULL: log and ledger hear once why each key is refused (keyring_refuse_all). keys: one
 * reference, taken over. ERR_SYSTEM. */
enum err keeper_start(struct keeper *k, const char *token_name, struct token *token,
	struct append *ledger, struct keyring *keys);
/* A reference to the keys in force; the caller lets it go by keyring_unref. */
struct keyring *keeper_keys(struct keeper *k);
/* A new configuration: one reference, taken over. */
void keeper_configure(struct keeper *k, struct keyring *keys);
/* Something happened (a fresh ledger channel): look now. */
void keeper_wake(struct keeper *k);
/* Ends the thread, which must not wait for the ledger any more, and frees. */
void keeper_stop(struct keeper *k);

#endif
