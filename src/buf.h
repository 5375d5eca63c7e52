/*
 * Octets out and octets in, both with sticky failure: write or read everything, then ask once
 * whether it all went well.
 */
#ifndef DCSIGN_BUF_H
#define DCSIGN_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

/* A growing buffer with an upper limit. Zero-initialise with BUF_INIT(max). */
struct buf {
	uint8_t *octets; /* owned; NULL while empty */
	size_t len;
	size_t size; /* octets allocated */
	size_t max;  /* len never exceeds it */
	enum err
		err; /* first failure: ERR_NOMEM or ERR_NO_ROOM; then nothing is written any more */
};

#define BUF_INIT(limit)                                                                            \
	{                                                                                          \
		.max = (limit)                                                                     \
	}

void buf_put(struct buf *b, const void *octets, size_t len);
void buf_u8(struct buf *b, uint8_t v);
void buf_u16(struct buf *b, uint16_t v); /* all integers big endian */
void buf_u24(struct buf *b, uint32_t v); /* v < 2^24, else ERR_NO_ROOM */
void buf_u32(struct buf *b, uint32_t v);
void buf_u64(struct buf *b, uint64_t v);
/* u32 length, then the octets */
void buf_vec(struct buf *b, const void *octets, size_t len);
/* a C string as a vector, without its NUL; NULL as the empty one */
void buf_str(struct buf *b, const char *s);
/* text without framing and without a NUL */
void buf_text(struct buf *b, const char *s);
void buf_decimal(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_hex(struct buf *b, const void *octets, size_t len);
/* base64 of RFC 4648 section 4, padded, one line */
void buf_base64(struct buf *b, const void *octets, size_t len);
/* Appends a NUL that is not counted in len and returns the text; NULL after a failure. */
const char *buf_cstr(struct buf *b);
/* Empties it and clears the failure; keeps the memory. */
void buf_reset(struct buf *b);
/* Frees the memory; may be used again. buf_wipe overwrites it first (secrets). */
void buf_free(struct buf *b);
void buf_wipe(struct buf *b);

/* A bounded reader over borrowed octets. A read past the end sets failed and gives zeros. */
struct reader {
	const uint8_t *at;
	size_t left;
	bool failed;
};

void reader_init(struct reader *r, const void *octets, size_t len);
uint8_t reader_u8(struct reader *r);
uint16_t reader_u16(struct reader *r);
uint32_t reader_u24(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
/* len octets, borrowed; NULL after a failure */
const uint8_t *reader_take(struct reader *r, size_t len);
/* a vector as buf_vec writes it, borrowed; fails when longer than max */
const uint8_t *reader_vec(struct reader *r, size_t *len, size_t max);
/* a vector copied into text[size] with a NUL; fails when it does not fit or holds a NUL */
void reader_str(struct reader *r, char *text, size_t size);
/* a vector of exactly len octets copied to out */
void reader_fixed(struct reader *r, void *out, size_t len);
/* true when nothing failed and nothing is left: the one question at the end */
bool reader_done(const struct reader *r);

/* Strict RFC 4648 base64: padded, no white space, zero pad bits. Appends to out.
 * ERR_FORMAT for anything else. */
enum err base64_decode(struct buf *out, const char *text, size_t len);
/* Lowercase hex of exactly len octets into out; false for anything else. */
bool hex_decode(uint8_t *out, size_t len, const char *text);
/* Writes 2 * len lowercase digits and a NUL to text. */
void hex_encode(char *text, const uint8_t *octets, size_t len);

/* RFC 3339 in UTC with whole seconds and Z, years 1970 to 9999. text: at least 21 octets. */
void time_text(char text[21], int64_t t);
/* The reverse; false for any other form, and for a time that does not exist. */
bool time_parse(const char *text, int64_t *t);

/* A name of the configuration: [a-z0-9-]{1,64}. */
#define NAME_SIZE 65
bool name_valid(const char *s);

/* True when the text is valid UTF-8 without NUL (RFC 3629). */
bool utf8_valid(const uint8_t *s, size_t len);

#endif
