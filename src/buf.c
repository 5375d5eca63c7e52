#include "buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const uint8_t nothing[1];

/* The old memory is wiped: it may hold a secret. */
static bool grow(struct buf *b, size_t more)
{
	if (b->err != ERR_OK)
		return false;
	if (b->len > b->max || more > b->max - b->len || b->max == SIZE_MAX) {
		b->err = ERR_NO_ROOM;
		return false;
	}
	size_t need = b->len + more + 1;
	if (need <= b->size)
		return true;

	size_t size = need < 64 ? 64 : need;
	if (b->size <= SIZE_MAX / 2 && size < b->size * 2)
		size = b->size * 2;
	if (size > b->max + 1)
		size = b->max + 1;
	uint8_t *octets = malloc(size);
	if (octets == NULL) {
		b->err = ERR_NOMEM;
		return false;
	}
	if (b->len > 0)
		memcpy(octets, b->octets, b->len);
	if (b->octets != NULL)
		explicit_bzero(b->octets, b->size);
	free(b->octets);
	b->octets = octets;
	b->size = size;
	return true;
}

/* Room for `more` octets and one NUL. */
static inline bool make_room(struct buf *b, size_t more)
{
	if (b->err == ERR_OK && b->len < b->size && more < b->size - b->len && b->len <= b->max &&
		more <= b->max - b->len)
		return true;
	return grow(b, more);
}

void buf_put(struct buf *b, const void *octets, size_t len)
{
	if (!make_room(b, len) || len == 0)
		return;
	memcpy(b->octets + b->len, octets, len);
	b->len += len;
}

static void put_integer(struct buf *b, uint64_t v, unsigned octets)
{
	uint8_t out[8];

	for (unsigned i = 0; i < octets; i++)
		out[i] = (uint8_t)(v >> (8 * (octets - 1 - i)));
	buf_put(b, out, octets);
}

void buf_u8(struct buf *b, uint8_t v)
{
	if (make_room(b, 1))
		b->octets[b->len++] = v;
}

void buf_u16(struct buf *b, uint16_t v)
{
	put_integer(b, v, 2);
}

void buf_u24(struct buf *b, uint32_t v)
{
	if (v >> 24 != 0 && b->err == ERR_OK)
		b->err = ERR_NO_ROOM;
	put_integer(b, v, 3);
}

void buf_u32(struct buf *b, uint32_t v)
{
	put_integer(b, v, 4);
}

void buf_u64(struct buf *b, uint64_t v)
{
	put_integer(b, v, 8);
}

void buf_vec(struct buf *b, const void *octets, size_t len)
{
	if (len > UINT32_MAX && b->err == ERR_OK)
		b->err = ERR_NO_ROOM;
	buf_u32(b, (uint32_t)len);
	buf_put(b, octets, len);
}

void buf_str(struct buf *b, const char *s)
{
	buf_vec(b, s, s == NULL ? 0 : strlen(s));
}

void buf_text(struct buf *b, const char *s)
{
	buf_put(b, s, strlen(s));
}

void buf_decimal(struct buf *b, int64_t v)
{
	uint64_t left = v < 0 ? -(uint64_t)v : (uint64_t)v;
	char text[24], *at = text + sizeof(text);

	do
		*--at = (char)('0' + left % 10);
	while ((left /= 10) != 0);
	if (v < 0)
		*--at = '-';
	buf_put(b, at, (size_t)(text + sizeof(text) - at));
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;

	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	if (n < 0 && b->err == ERR_OK)
		b->err = ERR_NO_ROOM;
	if (n >= 0 && make_room(b, (size_t)n)) {
		vsnprintf((char *)b->octets + b->len, (size_t)n + 1, fmt, again);
		b->len += (size_t)n;
	}
	va_end(again);
	va_end(ap);
}

void buf_hex(struct buf *b, const void *octets, size_t len)
{
	const uint8_t *in = octets;

	if (len > SIZE_MAX / 2 && b->err == ERR_OK)
		b->err = ERR_NO_ROOM;
	if (!make_room(b, 2 * len) || len == 0)
		return;
	hex_encode((char *)b->octets + b->len, in, len);
	b->len += 2 * len;
}

static const char base64_digits[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void buf_base64(struct buf *b, const void *octets, size_t len)
{
	const uint8_t *in = octets;

	if (len > SIZE_MAX / 2 && b->err == ERR_OK)
		b->err = ERR_NO_ROOM;
	if (!make_room(b, (len + 2) / 3 * 4))
		return;
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)in[i] << 16;
		if (n > 1)
			v |= (uint32_t)in[i + 1] << 8;
		if (n > 2)
			v |= in[i + 2];
		uint8_t *out = b->octets + b->len;
		out[0] = (uint8_t)base64_digits[v >> 18];
		out[1] = (uint8_t)base64_digits[v >> 12 & 63];
		out[2] = n > 1 ? (uint8_t)base64_digits[v >> 6 & 63] : '=';
		out[3] = n > 2 ? (uint8_t)base64_digits[v & 63] : '=';
		b->len += 4;
	}
}

const char *buf_cstr(struct buf *b)
{
	if (!make_room(b, 0))
		return NULL;
	b->octets[b->len] = '\0';
	return (const char *)b->octets;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	b->err = ERR_OK;
}

void buf_free(struct buf *b)
{
	free(b->octets);
	b->octets = NULL;
	b->size = 0;
	buf_reset(b);
}

void buf_wipe(struct buf *b)
{
	if (b->octets != NULL)
		explicit_bzero(b->octets, b->size);
	buf_free(b);
}

void reader_init(struct reader *r, const void *octets, size_t len)
{
	r->at = len > 0 ? octets : nothing;
	r->left = len;
	r->failed = false;
}

const uint8_t *reader_take(struct reader *r, size_t len)
{
	if (r->failed || len > r->left) {
		r->failed = true;
		r->left = 0;
		return NULL;
	}
	const uint8_t *at = r->at;
	r->at += len;
	r->left -= len;
	return at;
}

static uint64_t take_integer(struct reader *r, unsigned octets)
{
	const uint8_t *at = reader_take(r, octets);
	uint64_t v = 0;

	for (unsigned i = 0; at != NULL && i < octets; i++)
		v = v << 8 | at[i];
	return v;
}

uint8_t reader_u8(struct reader *r)
{
	return (uint8_t)take_integer(r, 1);
}

uint16_t reader_u16(struct reader *r)
{
	return (uint16_t)take_integer(r, 2);
}

uint32_t reader_u24(struct reader *r)
{
	return (uint32_t)take_integer(r, 3);
}

uint32_t reader_u32(struct reader *r)
{
	return (uint32_t)take_integer(r, 4);
}

uint64_t reader_u64(struct reader *r)
{
	return take_integer(r, 8);
}

const uint8_t *reader_vec(struct reader *r, size_t *len, size_t max)
{
	size_t n = reader_u32(r);

	if (n > max) {
		r->failed = true;
		r->left = 0;
	}
	const uint8_t *at = reader_take(r, n);
	*len = at == NULL ? 0 : n;
	return at;
}

void reader_str(struct reader *r, char *text, size_t size)
{
	size_t len;
	const uint8_t *at = reader_vec(r, &len, size - 1);

	text[0] = '\0';
	if (at == NULL)
		return;
	if (memchr(at, '\0', len) != NULL) {
		r->failed = true;
		r->left = 0;
		return;
	}
	memcpy(text, at, len);
	text[len] = '\0';
}

void reader_fixed(struct reader *r, void *out, size_t len)
{
	size_t n;
	const uint8_t *at = reader_vec(r, &n, len);

	if (at != NULL && n == len) {
		memcpy(out, at, len);
		return;
	}
	memset(out, 0, len);
	r->failed = true;
	r->left = 0;
}

bool reader_done(const struct reader *r)
{
	return !r->failed && r->left == 0;
}
