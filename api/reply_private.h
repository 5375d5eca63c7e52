/* What the files of reply share: how an answer is begun, and members of its JSON. */
#ifndef DCSIGN_REPLY_PRIVATE_H
#define DCSIGN_REPLY_PRIVATE_H

#include <jansson.h>

#include "reply.h"

#define JSON_TYPE "application/json"

/* An answer that is begun again forgets what it said before. */
void reply_begin(struct reply *r, unsigned status, const char *content_type);
/* Adds a member only when there is something to say. */
void reply_set_text(json_t *object, const char *name, const char *text);
void reply_set_hex(json_t *o, const char *name, const uint8_t digest[SHA256_SIZE]);
void reply_set_time(json_t *o, const char *name, int64_t t);
void reply_set_scheme(json_t *o, const char *name, uint16_t code); /* null: not known */
/* Appends the value, which it takes over; false without memory. */
bool reply_put_json(struct reply *r, json_t *value);

/* NULL: no memory. */
json_t *reply_base64(const struct octets *octets);

/* HTTP status and Retry-After (seconds; 0: not said) of a refusal, and what it says in JSON. */
unsigned reply_status(enum err err);
uint32_t reply_retry_after(const struct refusal *why, unsigned status);
json_t *reply_problem_json(const struct refusal *why, unsigned status);
/* Members code, detail and field. */
void reply_set_why(json_t *o, const struct refusal *why);
/* What a client is told: not the words of a token or its module (see err_of_token), which log,
 * /readyz and ledger have. Static, or detail itself. */
const char *reply_detail(enum err err, const char *detail);

#endif
