/*
 * The body of POST /v1/keys/{key}/credentials: strict JSON to one item of ISSUE. Pure but for
 * jansson. What may be in it is described in openapi.yaml; whatever is not is refused by name.
 */
#ifndef DCSIGN_REQUEST_H
#define DCSIGN_REQUEST_H

#include "message.h"

#define REQUEST_MAX 16384 /* octets of the body */

struct request {
	struct msg_issue_item item; /* spki and reference point to the two below */
	struct buf spki;	    /* owned */
	char reference[REFERENCE_MAX + 1];
};

/*
 * key: a valid name, from the path. idempotency: the header's value or NULL. Anything but exactly
 * one JSON object (RFC 8259) of UTF-8 without NUL, a member twice or unknown, a number that is not
 * a plain integer: ERR_MALFORMED; role and algorithm names that are not known: ERR_ROLE,
 * ERR_ALGORITHM. why->field is the member, why->detail what is expected. Free with request_free,
 * whatever was returned.
 */
enum err request_parse(struct request *request, const char *key, const char *idempotency,
	const uint8_t *body, size_t len, struct refusal *why);
void request_free(struct request *request);

#endif
