/* The files that a credential's set consists of, made from the service's answer and its key. */
#ifndef DCSIGN_CLIENT_SET_H
#define DCSIGN_CLIENT_SET_H

#include <openssl/types.h>

#include "formats.h"
#include "install.h"
#include "issued.h"

struct set_wish {
	unsigned formats; /* 1u << enum dc_format; credential.json is always there */
	enum dc_role role;
	EVP_PKEY
	*key; /* the DC's private key; NULL: not made here, so no key.pem and no fizz.pem */
	mode_t key_mode;  /* of the files with the private key */
	const char *note; /* content of agent.json; NULL: none */
};

/* Writes and switches to the set (install_set). *why says what failed; the old set stands then. */
enum err set_put(struct install *in, const struct issued *got, const struct set_wish *wish,
	struct refusal *why);

#endif
