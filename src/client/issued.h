/* The service's answer to a request for a delegated credential, believed only where it can be
 * checked. */
#ifndef DCSIGN_CLIENT_ISSUED_H
#define DCSIGN_CLIENT_ISSUED_H

#include <jansson.h>

#include "certificate.h"
#include "dc.h"

/* What was asked for. */
struct asked {
	const char *key; /* the delegation key's id */
	enum dc_role role;
	const struct scheme *scheme; /* NULL: not said */
	const uint8_t *spki;	     /* the DC's public key */
	size_t spki_len;
	bool any_spki; /* an answer that was installed before: nothing was sent now */
	bool has_not_after;
	int64_t not_after;
};

struct issued {
	json_t *root;		 /* the whole answer */
	struct buf octets;	 /* of the DC */
	struct dc dc;		 /* parsed, borrowed from octets */
	struct certificate leaf; /* the delegation certificate */
	struct buf chain;	 /* PEM, leaf first, each certificate byte-identical */
	int64_t expiry;		 /* seconds since the epoch */
};

/*
 * Reads the answer and verifies that it holds what was asked for: a DC that a careful client takes
 * at `now` (verify.h) under the first certificate of the chain, with the public key, role,
 * algorithm and end that were asked for, and that every other member says the same as the DC. The
 * caller frees it with issued_free in any case. ERR_FORMAT or verify_dc's codes, with *why.
 */
enum err issued_read(struct issued *out, const void *body, size_t len, const struct asked *asked,
	int64_t now, struct refusal *why);
void issued_free(struct issued *in);

#endif
