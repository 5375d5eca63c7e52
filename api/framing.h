/*
 * The form of a request's header where more than one reader could understand it in more than one
 * way (RFC 9112 sections 2 to 6): stricter than libmicrohttpd. Pure.
 */
#ifndef DCSIGN_FRAMING_H
#define DCSIGN_FRAMING_H

#include "routes.h"

#define FRAMING_FIELDS_MAX 64	 /* header fields */
#define FRAMING_HEADER_MAX 16384 /* octets of the header */

struct framing {
	struct header *header; /* gets the fields that are looked at */
	unsigned fields, hosts, lengths;
	uint64_t length; /* of the body */
	const char *expect;
	struct refusal refusal; /* the first reason to refuse; ERR_OK: none */
};

/* A token of RFC 9110 section 5.6.2: a method or the name of a field. */
bool framing_is_token(const char *text, size_t len);

void framing_init(struct framing *f, struct header *header);
/* One field. Name and value are borrowed by *header; both have a NUL behind them. */
void framing_field(
	struct framing *f, const char *name, size_t name_len, const char *value, size_t value_len);
/* After the last one: ERR_OK, or the reason in f->refusal. */
enum err framing_end(struct framing *f, const char *method, const char *version);

#endif
