/* What keyring.c and keyring_prove.c share. */
#ifndef DCSIGN_KEYRING_PRIVATE_H
#define DCSIGN_KEYRING_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "keyring.h"

enum proof { PROOF_UNTRIED, PROOF_GOOD, PROOF_BAD };

struct ring_certificate {
	struct certificate chain[CERT_CHAIN_MAX]; /* leaf first; as in the configuration */
	size_t count;
	enum proof proof;
	struct refusal unfit; /* why it can't issue, when it can't */
};

struct ring_key {
	const struct config_key *config;
	struct ring_certificate *certificate;
	size_t certificate_count;
	bool found; /* on the token, and fit */
	struct token_key key;
	char weak[160];
	struct refusal state; /* ERR_OK: served */
	enum err told;	      /* the state that log and ledger know; ERR_COUNT: none yet */
};

struct keyring {
	_Atomic unsigned references;
	struct config *config;
	struct ring_key *key; /* sorted by name, as in the configuration */
	size_t count;
	uint8_t (*spki)[SHA256_SIZE]; /* of all delegation certificates of the configuration, then
					 of its TLS servers' */
	size_t delegation_count, spki_count;
	pthread_mutex_t lock; /* guards all that changes: of the keys proof, unfit, found, key,
				 weak, state */
};

/* The newest proved certificate valid at now; NULL: none. With the lock held. */
struct ring_certificate *ring_issuing(struct ring_key *k, int64_t now);

#endif
