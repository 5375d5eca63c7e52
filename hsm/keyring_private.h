/* What the keyring*.c files share. */
#ifndef DCSIGN_KEYRING_PRIVATE_H
#define DCSIGN_KEYRING_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>

#include "keyring.h"
#include "record.h"
#include "sign.h"

enum proof { PROOF_UNTRIED, PROOF_GOOD, PROOF_BAD };

struct ring_certificate {
	uint8_t sha256[SHA256_SIZE], spki_sha256[SHA256_SIZE]; /* of the leaf */
	bool read; /* what follows: when the key is looked at, for reading takes long */
	struct certificate leaf;	/* without its EVP_PKEY */
	const struct config_file *file; /* the chain, leaf first, as in the configuration */
	int64_t chain_looked;		/* when it was verified last, 0: never */
	enum proof proof;
	struct refusal *unfit; /* why it can't issue, when it can't; owned, NULL: nothing known */
	int64_t again;	       /* monotonic_ms: a bad proof is tried again then; 0: never */
	unsigned bad;	       /* bad signatures in a row */
};

struct ring_key {
	const struct config_key *config;
	struct ring_certificate *certificate;
	size_t certificate_count;
	bool found; /* on the token, and fit */
	struct token_key key;
	char *weak;		/* owned; NULL: nothing */
	struct refusal *state;	/* why it is not served; owned, NULL: served */
	enum err told;		/* the state that log and ledger know; ERR_COUNT: none yet */
	_Atomic int64_t wanted; /* monotonic_ms when it was asked for last */
	uint64_t claim;		/* the pass that looks at it, or looked at it last */
	char test[ID_SIZE];	/* the self-test that its prover has announced; "": none */
	unsigned hung;		/* self-tests in a row that did not come back ... */
	int64_t hung_until;	/* monotonic_ms: beside keys that are served no other before */
};

struct keyring {
	_Atomic unsigned references;
	struct config *config;
	struct ring_key *key; /* sorted by name, as in the configuration */
	size_t count;
	uint8_t (*spki)[SHA256_SIZE]; /* of all delegation certificates of the configuration, then
					 of its TLS servers': each part sorted */
	size_t delegation_count, spki_count;
	pthread_t reader; /* reads certificates ahead ... */
	bool reading;
	_Atomic bool read_enough; /* ... until the first pass begins */
	uint64_t pass;		  /* counts them */
	int64_t find_again;	  /* monotonic_ms: absent keys are looked for again then */
	_Atomic bool asked;	  /* for a key that is not served */
	_Atomic bool came_back;	  /* a self-test that did not, has */
	pthread_mutex_t lock;	  /* guards all that changes of the keys */
};

/* By its name; NULL: none. */
struct ring_key *ring_key(const struct keyring *k, const char *name);
/* The newest proved certificate valid at now; NULL: none. With the lock held. */
struct ring_certificate *ring_issuing(struct ring_key *k, int64_t now);
/* Why a key that does not issue does not; without a known reason its certificate has expired since
 * the last look, or it was not looked at yet. With the lock held. */
enum err ring_unserved(const struct ring_key *k);
/* Reads the certificate file's leaf, once. ERR_OK, or the reason why it can't issue, which is kept
 * in c->unfit too. By whoever has claimed the key, without the lock. */
enum err ring_certificate_read(
	struct keyring *ring, const struct ring_key *k, struct ring_certificate *c);
/* keyring_read_ahead has ended when this returns. */
void ring_read_end(struct keyring *k);
/* Sets *at to a copy of why (ERR_OK or NULL: to NULL). With the lock held. */
void ring_refuse(struct refusal **at, const struct refusal *why);

/* A self-test on its way (keyring_test.c): built, announced by a SELF-TEST record, signed,
 * concluded by a KEY-PROVED, KEY-REFUSED or UNKNOWN record. */
struct self_test {
	struct keyring *ring;
	struct ring_key *key;
	struct ring_certificate *certificate;
	struct token_key found; /* as it was when the test began */
	const char *weak;
	int64_t now;
	char id[ID_SIZE];
	enum dc_role role;
	struct buf spki, tbs, dc, record;
	struct dc fields;
	uint8_t spki_sha256[SHA256_SIZE], tbs_sha256[SHA256_SIZE], dc_sha256[SHA256_SIZE];
	enum sign_result result;
	struct refusal unfit; /* why it proved nothing */
};
/* The SubjectPublicKeyInfo of a P-256 key whose private half is gone when this returns. */
enum err self_test_spki(struct buf *out);
/* valid_time 0: it expired when the certificate began. */
enum err self_test_build(struct self_test *t, const struct buf *spki);
/* The record in t->record. */
enum err self_test_announce(struct self_test *t);
void self_test_sign(struct self_test *t, struct token_session *session);
enum err self_test_conclude(struct self_test *t);
void self_test_free(struct self_test *t);

#endif
