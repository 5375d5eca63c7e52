/* The ledger's own Ed25519 key, which signs heads and nothing else: a PEM file of its user. */
#ifndef DCSIGN_SIGNER_H
#define DCSIGN_SIGNER_H

#include "checkpoint.h"

struct signer {
	bool ready;
	char origin[CHECKPOINT_ORIGIN_SIZE]; /* of the configuration; a chain's is ORIGIN/CHAIN */
	uint8_t seed[CHECKPOINT_KEY], public_key[CHECKPOINT_KEY];
};

/*
 * Reads the key; makes it, and its folder, where there is none (*made). ERR_FORMAT: the file is not
 * an Ed25519 key, is not this user's, or others can read it; ERR_NOT_FOUND: it can't be opened or
 * made. *why says so.
 */
enum err signer_open(
	struct signer *s, const char *path, const char *origin, bool *made, struct refusal *why);
void signer_close(struct signer *s);
/* A chain's origin line. */
void signer_origin(const struct signer *s, const char *chain, char out[CHECKPOINT_ORIGIN_SIZE]);
/* Puts what is given in place of the file, durably: the old file or the new one is there. */
enum err file_replace(const char *path, const void *octets, size_t len);

#endif
