/* What request.c (one request) and request_batch.c (many) share. */
#ifndef DCSIGN_REQUEST_PRIVATE_H
#define DCSIGN_REQUEST_PRIVATE_H

#include <jansson.h>

#include "request.h"

/* An empty request for this key. */
void request_begin(struct request *request, const char *key);
/* The body as one JSON object; the caller drops the reference. ERR_MALFORMED, ERR_NOMEM. */
enum err request_load(json_t **out, const uint8_t *body, size_t len, struct refusal *why);
/* Every member of the object into the request, which request_begin has made. */
enum err request_members(struct request *request, json_t *object, struct refusal *why);
/* NULL, or 1 to `most` visible ASCII characters. ERR_MALFORMED. */
enum err request_idempotency(const char *value, size_t most, struct refusal *why);

#endif
