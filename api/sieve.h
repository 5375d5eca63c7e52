/*
 * What stands between a connection and libmicrohttpd: a request's head reaches the library only
 * when all of it is here and has one meaning (RFC 9112 sections 2 to 6): each line ends with CRLF,
 * no CR, LF, NUL or other control character anywhere else, one space between the three parts of the
 * request line, no folded lines, and what framing.h demands of the fields. Of the body exactly as
 * much as Content-Length says passes. In the place of a head that is refused stands SIEVE_STAND_IN,
 * so that the answer is ours; nothing passes after it. Pure but for malloc.
 */
#ifndef DCSIGN_SIEVE_H
#define DCSIGN_SIEVE_H

#include "framing.h"

#define SIEVE_LINE_MAX 8192 /* octets of the request line */
#define SIEVE_STAND_IN "GET / HTTP/1.1\r\nHost: refused\r\n\r\n"

struct sieve {
	enum { SIEVE_HEAD, SIEVE_BODY, SIEVE_SHUT } state;
	uint8_t *octets; /* owned: [0, ready) may pass, [ready, len) is the begin of a head */
	size_t len, size;
	size_t ready, looked;	/* [ready, looked) has been looked at */
	size_t line;		/* where the line of the head that is coming in begins */
	uint64_t body;		/* octets of it that are still to come */
	unsigned heads;		/* that may pass so far, with the one that was refused */
	struct refusal refusal; /* of the last of them; ERR_OK: none was refused */
};

void sieve_init(struct sieve *v);
void sieve_free(struct sieve *v);
/* Octets from the client. ERR_NOMEM: the connection can't be used any more. */
enum err sieve_put(struct sieve *v, const uint8_t *octets, size_t len);
/* Octets that may pass now. */
size_t sieve_ready(const struct sieve *v);
/* Takes up to size of them out; returns how many. */
size_t sieve_take(struct sieve *v, void *out, size_t size);
/* Has a head begun to come in that is not complete? */
bool sieve_begun(const struct sieve *v);

#endif
