/*
 * Signed tree heads: C2SP tlog-checkpoint in a C2SP signed-note. The note's text is the origin, the
 * size in decimal and the root in base64, a line each; after an empty line a line for each
 * signature: an em dash, the key's name, base64 of the key id and the signature. Ed25519 (signature
 * type 0x01); the key's name is the origin. Cosignatures may follow; they are of other names.
 */
#ifndef DCSIGN_CHECKPOINT_H
#define DCSIGN_CHECKPOINT_H

#include "buf.h"
#include "digest.h"

#define CHECKPOINT_ORIGIN_SIZE 400
#define CHECKPOINT_MAX	       8192 /* octets of a note */
#define CHECKPOINT_KEY	       32   /* octets of an Ed25519 key, public or private (the seed) */

struct checkpoint {
	char origin[CHECKPOINT_ORIGIN_SIZE];
	uint64_t size;
	uint8_t root[SHA256_SIZE];
};

/* A new private key; the public one of a private one. ERR_CRYPTO. */
enum err checkpoint_key_make(uint8_t seed[CHECKPOINT_KEY]);
enum err checkpoint_key_public(
	const uint8_t seed[CHECKPOINT_KEY], uint8_t public_key[CHECKPOINT_KEY]);

/* Appends the note with one signature. ERR_FORMAT: an origin that a note can't carry (empty, white
 * space, "+", not UTF-8). ERR_CRYPTO. */
enum err checkpoint_sign(
	struct buf *out, const struct checkpoint *c, const uint8_t seed[CHECKPOINT_KEY]);
/* The octets of the first note in a text that may hold several; 0: there is none. */
size_t checkpoint_length(const char *text, size_t len);
/* What one note says, whoever signed it. ERR_FORMAT. */
enum err checkpoint_read(struct checkpoint *c, const char *note, size_t len);
/* Whether it has exactly one signature by the origin's key, and that one is good. ERR_FORMAT,
 * ERR_DC_SIGNATURE. */
enum err checkpoint_verify(struct checkpoint *c, const char *note, size_t len,
	const uint8_t public_key[CHECKPOINT_KEY]);

/* The verifier key of signed-note: NAME+HEXID+BASE64. Appends. */
void checkpoint_vkey_write(
	struct buf *out, const char *name, const uint8_t public_key[CHECKPOINT_KEY]);
/* ERR_FORMAT: not one, or its id is not that of its name and key. name may be NULL. */
enum err checkpoint_vkey_read(const char *vkey, size_t len, char name[CHECKPOINT_ORIGIN_SIZE],
	uint8_t public_key[CHECKPOINT_KEY]);

/* A witness: another log or machine that signs heads which extend those that it has seen (C2SP
 * tlog-cosignature, Ed25519, signature type 0x04). */
struct checkpoint_witness {
	char name[CHECKPOINT_ORIGIN_SIZE];
	uint8_t public_key[CHECKPOINT_KEY];
};
/* Its verifier key, in the same form. ERR_FORMAT. */
enum err checkpoint_witness_read(struct checkpoint_witness *w, const char *vkey, size_t len);
/* Whether the note has exactly one cosignature by this witness, and that one is good; *time: when,
 * seconds since the epoch. time may be NULL. ERR_FORMAT, ERR_DC_SIGNATURE. */
enum err checkpoint_cosigned(
	const char *note, size_t len, const struct checkpoint_witness *w, int64_t *time);

#endif
