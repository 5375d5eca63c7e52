/*
 * One generation of the configuration as requests see it: immutable, counted, swapped with one
 * pointer. A request keeps the snapshot that it began with.
 */
#ifndef DCSIGN_SNAPSHOT_H
#define DCSIGN_SNAPSHOT_H

#include "child.h"
#include "tls.h"

/* The chain of one certificate file of a key. */
struct chain {
	struct x509 leaf;
	char *pem; /* leaf first, certificates alone, 64 characters a line; owned */
	size_t pem_len;
	char etag[2 * SHA256_SIZE + 3]; /* a strong entity tag with its quotes: SHA-256 of pem */
};

struct snapshot {
	struct config *config; /* one reference */
	struct tls **tls;      /* as config->listen; NULL for a Unix socket */
	struct chain *chain;   /* the files of all keys, in the order of config->key */
	size_t chain_count;
	size_t *first;		  /* by key: the place of its first chain */
	struct peer_index *peers; /* of config */
	unsigned references;
};

/*
 * Checks all that the api uses of a configuration and makes a snapshot with one reference. Takes a
 * reference of its own to config; the descriptors in secrets stay the caller's. why->detail names
 * file and reason.
 */
enum err snapshot_make(struct snapshot **out, struct config *config,
	const struct child_secrets *secrets, int64_t now, struct refusal *why);
struct snapshot *snapshot_ref(struct snapshot *s);
void snapshot_unref(struct snapshot *s); /* frees at the last one; NULL is allowed */

/* The chain of this key whose leaf has this digest; where the key has only one file, with sha256
 * NULL, that. NULL: none. */
const struct chain *snapshot_chain(
	const struct snapshot *s, const struct config_key *key, const uint8_t sha256[SHA256_SIZE]);

/* The current one. Thread-safe. */
struct snapshot *snapshot_current(void);   /* with a reference; NULL before the first */
void snapshot_publish(struct snapshot *s); /* takes the reference; NULL at the end */

#endif
