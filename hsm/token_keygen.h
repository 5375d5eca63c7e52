/* A key ceremony's part of the token: what dcsign-keys does and the daemon never links. */
#ifndef DCSIGN_TOKEN_KEYGEN_H
#define DCSIGN_TOKEN_KEYGEN_H

#include <openssl/types.h>

#include "token.h"

struct token_new_key {
	const char *uri;    /* object names the label, id the id (made up when there is none) */
	enum key_type type; /* KEY_EC_P256, ..., KEY_ED25519, KEY_RSA */
	unsigned bits;	    /* of KEY_RSA */
	/* told about each attribute that the token does not take, and what it said */
	void (*dropped)(void *arg, const char *attribute, const char *why);
	void *arg;
};
/*
 * Makes a key pair in the token that can sign and nothing else: sensitive, not extractable, not
 * modifiable, not copyable, limited to the one mechanism that is used. Of the last three as many as
 * the token takes. ERR_KEY_AMBIGUOUS when the label is taken; ERR_CERT_KEY: token_type_offered;
 * ERR_TOKEN.
 */
enum err token_key_generate(
	struct token *t, const struct token_new_key *new_key, struct refusal *why);

/* Does the token sign with the mechanism for keys of this type, and of so many bits (0: any)?
 * ERR_CERT_KEY when it says that it does not. */
enum err token_type_offered(
	const struct token *t, enum key_type type, unsigned bits, struct refusal *why);

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
