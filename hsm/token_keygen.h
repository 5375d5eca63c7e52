/* A key ceremony's part of the token: what dcsign-keys does and the daemon never links. */
#ifndef DCSIGN_TOKEN_KEYGEN_H
#define DCSIGN_TOKEN_KEYGEN_H

#include <openssl/types.h>

#include "token.h"

struct token_new_key {
	const char *uri;    /* object names the label, id the id (made up when there is none) */
	enum key_type type; /* KEY_EC_P256, ..., KEY_ED25519, KEY_RSA */
	unsigned bits;	    /* of KEY_RSA */
	/* told about each attribute that the token does not take */
	void (*dropped)(void *arg, const char *attribute, const char *why);
	void *arg;
};
/*
 * Makes a key pair in the token that can sign and nothing else: sensitive, not extractable, not
 * modifiable, limited to the one mechanism that is used. ERR_KEY_AMBIGUOUS when the label is
 * taken; ERR_TOKEN.
 */
enum err token_key_generate(
	struct token *t, const struct token_new_key *new_key, struct refusal *why);

/* The public key object that belongs to the URI; the caller frees it. */
enum err token_key_public(struct token *t, const char *uri, EVP_PKEY **out, struct refusal *why);

struct token_listed {
	char label[128]; /* printable ASCII, others as ? */
	char id[65];	 /* hex */
	const char *type;
};
/* Calls once per private key. */
enum err token_key_list(struct token *t, void (*each)(void *arg, const struct token_listed *key),
	void *arg, struct refusal *why);

#endif
