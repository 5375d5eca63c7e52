#include "message_fields.h"

#include <string.h>

bool field_is_utf8(const char *s, size_t len)
{
	return utf8_valid((const uint8_t *)s, len);
}

/* The host's integer of 1, 2, 4 or 8 octets at a place. */
static uint64_t load(const void *at, size_t size)
{
	union {
		uint8_t u8;
		uint16_t u16;
		uint32_t u32;
		uint64_t u64;
	} v;

	memcpy(&v, at, size);
	return size == 1 ? v.u8 : size == 2 ? v.u16 : size == 4 ? v.u32 : v.u64;
}

static void store(void *at, size_t size, uint64_t value)
{
	uint8_t u8 = (uint8_t)value;
	uint16_t u16 = (uint16_t)value;
	uint32_t u32 = (uint32_t)value;
	const void *from = size == 1   ? (const void *)&u8
			   : size == 2 ? (const void *)&u16
			   : size == 4 ? (const void *)&u32
				       : (const void *)&value;

	memcpy(at, from, size);
}

static void spoil(struct buf *out)
{
	out->err = ERR_FORMAT;
}

static void put_uint(struct buf *out, uint64_t value, size_t size)
{
	uint8_t octets[8];

	for (size_t i = 0; i < size; i++)
		octets[i] = (uint8_t)(value >> (8 * (size - 1 - i)));
	buf_put(out, octets, size);
}

static void write_text(struct buf *out, const struct field *f, const char *text)
{
	size_t len = strnlen(text, f->size);
	char ascii[512];

	if (len == f->size || len > sizeof ascii) {
		spoil(out);
		return;
	}
	if (!f->good(text, len)) {
		if (f->good != field_is_utf8) {
			spoil(out);
			return;
		}
		/* A text for people that came from elsewhere, such as a token's label. */
		for (size_t i = 0; i < len; i++)
			ascii[i] = (char)((unsigned char)text[i] < 0x80 ? text[i] : '?');
		text = ascii;
	}
	buf_vec(out, text, len);
}

static void write_octets(struct buf *out, const struct field *f, const struct octets *o)
{
	if (o->len < f->least || o->len > f->most ||
		(f->good != NULL && !f->good((const char *)o->at, o->len))) {
		spoil(out);
		return;
	}
	buf_vec(out, o->at, o->len);
}

static void write_list(struct buf *out, const struct field *f, const uint8_t *base)
{
	uint64_t count = load(base + f->of, sizeof(uint16_t));

	if (count < f->least || count > f->most) {
		spoil(out);
		return;
	}
	put_uint(out, count, sizeof(uint16_t));
	for (size_t i = 0; i < count; i++)
		fields_write(out, f->fields, base + f->at + i * f->size);
}

static void write_uint(struct buf *out, const struct field *f, const uint8_t *at)
{
	uint64_t value = load(at, f->size);

	if (value < f->least || value > f->most)
		spoil(out);
	else
		put_uint(out, value, f->size);
}

void fields_write(struct buf *out, const struct field *f, const uint8_t *base)
{
	for (; f->kind != END && out->err == ERR_OK; f++) {
		const uint8_t *at = base + f->at;

		switch (f->kind) {
		case UINT:
			write_uint(out, f, at);
			break;
		case FIXED:
			buf_put(out, at, f->size);
			break;
		case TEXT:
			write_text(out, f, (const char *)at);
			break;
		case OCTETS:
			write_octets(out, f, (const struct octets *)(const void *)at);
			break;
		case LIST:
			write_list(out, f, base);
			break;
		case WHEN:
			if ((load(base + f->of, f->size) == 0) == f->unless)
				fields_write(out, f->fields, base);
			break;
		case END:
			break;
		}
	}
}

/* Reading. */
static void read_fields(struct reader *r, const struct field *f, uint8_t *base);

static void read_uint(struct reader *r, uint8_t *at, size_t size, uint64_t least, uint64_t most)
{
	const uint8_t *octets = reader_take(r, size);
	uint64_t value = 0;

	for (size_t i = 0; octets != NULL && i < size; i++)
		value = value << 8 | octets[i];
	if (value < least || value > most)
		r->failed = true;
	store(at, size, value);
}

static void read_text(struct reader *r, const struct field *f, char *text)
{
	reader_str(r, text, f->size);
	if (r->failed)
		text[0] = '\0';
	else if (!f->good(text, strlen(text)))
		r->failed = true;
}

static void read_octets(struct reader *r, const struct field *f, struct octets *o)
{
	o->at = reader_vec(r, &o->len, f->most);
	if (r->failed || o->len < f->least ||
		(f->good != NULL && !f->good((const char *)o->at, o->len))) {
		r->failed = true;
		o->at = NULL;
		o->len = 0;
	}
}

static void read_list(struct reader *r, const struct field *f, uint8_t *base)
{
	read_uint(r, base + f->of, sizeof(uint16_t), f->least, f->most);
	if (r->failed)
		return;
	for (size_t i = 0, n = load(base + f->of, sizeof(uint16_t)); i < n && !r->failed; i++)
		read_fields(r, f->fields, base + f->at + i * f->size);
}

/* What is not there reads as zeros. */
static void read_when(struct reader *r, const struct field *f, uint8_t *base)
{
	if ((load(base + f->of, f->size) == 0) == f->unless) {
		read_fields(r, f->fields, base);
		return;
	}
	for (f = f->fields; f->kind != END; f++)
		memset(base + f->at, 0, f->size);
}

static void read_fields(struct reader *r, const struct field *f, uint8_t *base)
{
	for (; f->kind != END && !r->failed; f++) {
		uint8_t *at = base + f->at;
		const uint8_t *octets;

		switch (f->kind) {
		case UINT:
			read_uint(r, at, f->size, f->least, f->most);
			break;
		case FIXED:
			octets = reader_take(r, f->size);
			if (octets != NULL)
				memcpy(at, octets, f->size);
			break;
		case TEXT:
			read_text(r, f, (char *)at);
			break;
		case OCTETS:
			read_octets(r, f, (struct octets *)(void *)at);
			break;
		case LIST:
			read_list(r, f, base);
			break;
		case WHEN:
			read_when(r, f, base);
			break;
		case END:
			break;
		}
	}
}

enum err fields_read(struct reader *r, const struct field *f, void *m)
{
	read_fields(r, f, m);
	return reader_done(r) ? ERR_OK : ERR_FORMAT;
}
