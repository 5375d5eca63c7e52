/*
 * Canonical JSON: members sorted by name, no spaces, UTF-8, integers only, the shortest escapes.
 * The reader takes nothing else. Pure. Named canon_: jansson has json_string and others.
 */
#ifndef DCSIGN_JSON_H
#define DCSIGN_JSON_H

#include "message.h"

/* What is left to read. After a failure its place means nothing. */
struct json {
	const uint8_t *at, *end;
};

bool canon_take(struct json *c, char want);
/* A string; raw: what stands between its quotes, borrowed; escaped: there is an escape in it. */
bool canon_string(struct json *c, struct octets *raw, bool *escaped);
/* Appends what a string's raw octets stand for. */
void canon_unescape(struct buf *out, const struct octets *raw);
/* -2^63 + 1 to 2^63 - 1 */
bool canon_int(struct json *c, int64_t *value);
/* Any value; text: its octets, borrowed. */
bool canon_value(struct json *c, struct octets *text);
/* Whether the octets are one object and nothing else. */
bool canon_object(const struct octets *o);

/* Appends a text, valid UTF-8, as a string with its quotes. */
void canon_text(struct buf *out, const struct octets *o);

#endif
