#include "json.h"

#include <string.h>

bool canon_take(struct json *c, char want)
{
	if (c->at == c->end || *c->at != (uint8_t)want)
		return false;
	c->at++;
	return true;
}

/* The letter after the backslash of an octet's shortest escape, u: \u00xx; 0: none. */
static uint8_t escape_of(uint8_t c)
{
	static const char controls[] = "uuuuuuuubtnufruuuuuuuuuuuuuuuuuu";

	if (c < 0x20)
		return (uint8_t)controls[c];
	return c == '"' || c == '\\' ? c : 0;
}

/* The octet that this escape stands for, if it is the shortest one for it; 0: it is not. */
static uint8_t escape_read(struct json *c)
{
	uint8_t value = 0;
	size_t left = (size_t)(c->end - c->at);

	if (left >= 2 && c->at[1] != 'u' && c->at[1] != 0) {
		for (uint8_t i = '\b'; i <= '\\' && !value; i++)
			value = escape_of(i) == c->at[1] ? i : 0;
		c->at += 2;
	} else if (left >= 6 && memcmp(c->at, "\\u00", 4) == 0) {
		char digits[3] = {(char)c->at[4], (char)c->at[5], 0};

		if (!hex_decode(&value, 1, digits) || escape_of(value) != 'u')
			value = 0;
		c->at += 6;
	}
	return value;
}

bool canon_string(struct json *c, struct octets *raw, bool *escaped)
{
	uint8_t seen = 0;

	*escaped = false;
	if (!canon_take(c, '"'))
		return false;
	raw->at = c->at;
	while (c->at < c->end && *c->at != '"') {
		seen |= *c->at;
		if (!escape_of(*c->at)) {
			c->at++;
			continue;
		}
		*escaped = true;
		if (*c->at != '\\' || !escape_read(c))
			return false;
	}
	raw->len = (size_t)(c->at - raw->at);
	return canon_take(c, '"') && (!(seen & 0x80) || utf8_valid(raw->at, raw->len));
}

bool canon_int(struct json *c, int64_t *value)
{
	bool negative = canon_take(c, '-');
	const uint8_t *first = c->at;
	uint64_t v = 0;

	while (c->at < c->end && *c->at >= '0' && *c->at <= '9' && c->at - first < 19)
		v = v * 10 + (uint64_t)(*c->at++ - '0');
	if (c->at == first || v > INT64_MAX || (*first == '0' && (c->at - first > 1 || negative)))
		return false;
	*value = negative ? -(int64_t)v : (int64_t)v;
	return true;
}

static bool word_scan(struct json *c, const char *word)
{
	size_t len = strlen(word);

	if ((size_t)(c->end - c->at) < len || memcmp(c->at, word, len) != 0)
		return false;
	c->at += len;
	return true;
}

#define JSON_DEPTH 16

static bool value_at(struct json *c, unsigned depth);

static bool octets_less(const struct octets *a, const struct octets *b)
{
	int order = memcmp(a->at, b->at, a->len < b->len ? a->len : b->len);

	return order != 0 ? order < 0 : a->len < b->len;
}

static bool object_scan(struct json *c, unsigned depth)
{
	struct octets last = {0}, name;
	bool escaped;

	if (canon_take(c, '}'))
		return true;
	do {
		if (!canon_string(c, &name, &escaped) || (last.at && !octets_less(&last, &name)) ||
			!canon_take(c, ':') || !value_at(c, depth))
			return false;
		last = name;
	} while (canon_take(c, ','));
	return canon_take(c, '}');
}

static bool array_scan(struct json *c, unsigned depth)
{
	if (canon_take(c, ']'))
		return true;
	do {
		if (!value_at(c, depth))
			return false;
	} while (canon_take(c, ','));
	return canon_take(c, ']');
}

static bool value_at(struct json *c, unsigned depth)
{
	struct octets raw;
	bool escaped;
	int64_t value;

	if (depth == 0 || c->at == c->end)
		return false;
	if (*c->at == '"')
		return canon_string(c, &raw, &escaped);
	if (canon_take(c, '{'))
		return object_scan(c, depth - 1);
	if (canon_take(c, '['))
		return array_scan(c, depth - 1);
	return word_scan(c, "true") || word_scan(c, "false") || word_scan(c, "null") ||
	       canon_int(c, &value);
}

bool canon_value(struct json *c, struct octets *text)
{
	text->at = c->at;
	if (!value_at(c, JSON_DEPTH))
		return false;
	text->len = (size_t)(c->at - text->at);
	return true;
}

bool canon_object(const struct octets *o)
{
	struct json c = {o->at, o->at + o->len};

	return o->len > 0 && *o->at == '{' && value_at(&c, JSON_DEPTH) && c.at == c.end;
}

void canon_unescape(struct buf *out, const struct octets *raw)
{
	struct json c = {raw->at, raw->at + raw->len};

	while (c.at < c.end) {
		if (*c.at == '\\')
			buf_u8(out, escape_read(&c));
		else
			buf_u8(out, *c.at++);
	}
}

void canon_text(struct buf *out, const struct octets *o)
{
	size_t from = 0;

	buf_u8(out, '"');
	for (size_t i = 0; i < o->len; i++) {
		uint8_t c = o->at[i];

		if (!escape_of(c))
			continue;
		buf_put(out, o->at + from, i - from);
		from = i + 1;
		if (escape_of(c) == 'u')
			buf_printf(out, "\\u%04x", c);
		else
			buf_put(out, (const uint8_t[]){'\\', escape_of(c)}, 2);
	}
	buf_put(out, o->at + from, o->len - from);
	buf_u8(out, '"');
}
