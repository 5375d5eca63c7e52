/*
 * The body of POST /v1/keys/{key}/credentials: strict JSON to one item of ISSUE. Pure but for
 * jansson. What may be in it is described in openapi.yaml; whatever is not is refused by name.
 */
#ifndef DCSIGN_REQUEST_H
#define DCSIGN_REQUEST_H

#include "message.h"

#define REQUEST_MAX 16384  /* octets of the body */
#define BATCH_MAX   196608 /* of a batch's */

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

/* The body of a hold or release: {"reason": "..."}, 1..HOLD_REASON_MAX octets. */
enum err reason_parse(
	char reason[HOLD_REASON_MAX + 1], const uint8_t *body, size_t len, struct refusal *why);

/* The body of POST /v1/keys/{key}/credentials/batch: {"requests":[...]}, 1..MSG_ITEMS. */
struct batch_request {
	size_t count;
	struct batch_item {
		struct request request;
		struct refusal refusal; /* ERR_OK: the request can be asked for */
	} * item;
};
/*
 * As request_parse; an error means that there is no list of objects. What is wrong with one of them
 * stands in its refusal. With a header Idempotency-Key K item i has the key K/i, so that K may have
 * 124 characters. Free with batch_free, whatever was returned.
 */
enum err batch_parse(struct batch_request *batch, const char *key, const char *idempotency,
	const uint8_t *body, size_t len, struct refusal *why);
void batch_free(struct batch_request *batch);

#endif
