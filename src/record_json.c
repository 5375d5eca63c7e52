#include "json.h"
#include "record_members.h"

#include <string.h>

/* ---- the JSON text, written ---- */

static void octets_write(struct buf *out, const struct member *m, const struct octets *o)
{
	if (m->kind == TEXT || m->kind == ID) {
		canon_text(out, o);
		return;
	}
	if (m->kind == JSON) {
		buf_put(out, o->at, o->len);
		return;
	}
	buf_u8(out, '"');
	if (m->kind == HEX)
		buf_hex(out, o->at, o->len);
	else
		buf_base64(out, o->at, o->len);
	buf_u8(out, '"');
}

static void member_write(struct buf *out, const struct record *r, const struct member *m)
{
	if (m->kind == TYPE) {
		buf_u8(out, '"');
		buf_text(out, record_type_names[r->type]);
		buf_u8(out, '"');
	} else if (m->kind == INT) {
		buf_decimal(out, int_at(r, m));
	} else {
		octets_write(out, m, octets_at(r, m));
	}
}

enum err record_write(struct buf *out, const struct record *r)
{
	if (!record_type_known(r->type))
		return ERR_FORMAT;

	uint64_t set = record_members_present(r);
	size_t start = out->len;
	char before = '{';

	if (!record_members_fit(set, r->type, true))
		return ERR_FORMAT;
	for (size_t i = 0; i < RECORD_MEMBERS; i++) {
		const struct member *m = &record_members[i];

		if (!(set >> i & 1))
			continue;
		if (m->kind != INT && m->kind != TYPE && !record_value_fits(m, octets_at(r, m)))
			return ERR_FORMAT;
		buf_u8(out, (uint8_t)before);
		buf_put(out, m->name, m->name_len);
		member_write(out, r, m);
		before = ',';
	}
	buf_u8(out, '}');
	if (!out->err && out->len - start > RECORD_MAX)
		return ERR_NO_ROOM;
	return out->err;
}

/* ---- the JSON text, parsed ---- */

static bool type_parse(struct record *r, struct json *c)
{
	struct octets name;
	bool escaped;

	if (!canon_string(c, &name, &escaped))
		return false;
	for (unsigned i = 1; i < RECORD_TYPES; i++) {
		if (strlen(record_type_names[i]) == name.len &&
			memcmp(record_type_names[i], name.at, name.len) == 0) {
			r->type = (enum record_type)i;
			return true;
		}
	}
	return false;
}

static void hex_append(struct buf *out, const struct octets *raw)
{
	uint8_t value[SHA256_SIZE];
	char text[2 * SHA256_SIZE + 1] = "";

	if (raw->len != 2 * SHA256_SIZE)
		return;
	memcpy(text, raw->at, raw->len);
	if (hex_decode(value, sizeof(value), text))
		buf_put(out, value, sizeof(value));
}

static bool string_parse(
	const struct member *m, struct octets *o, struct json *c, struct buf *store)
{
	struct octets raw;
	bool escaped;
	size_t from = store->len;

	if (!canon_string(c, &raw, &escaped))
		return false;
	if (m->kind == HEX)
		hex_append(store, &raw);
	else if (m->kind == BASE64 && base64_decode(store, (const char *)raw.at, raw.len))
		return false;
	else if (escaped)
		canon_unescape(store, &raw);
	else if (m->kind != BASE64)
		buf_put(store, raw.at, raw.len);
	*o = octets_of(store->octets + from, store->len - from);
	return o->len > 0 && (m->kind != ID || record_is_id(o));
}

static bool object_parse(struct octets *o, struct json *c, struct buf *store)
{
	struct octets text;

	if (c->at == c->end || *c->at != '{' || !canon_value(c, &text))
		return false;
	*o = octets_of(store->octets + store->len, text.len);
	buf_put(store, text.at, text.len);
	return true;
}

static bool member_parse(
	struct record *r, const struct member *m, struct json *c, struct buf *store)
{
	if (m->kind == TYPE)
		return type_parse(r, c);
	if (m->kind == INT)
		return canon_int(c, int_of(r, m));
	if (m->kind == JSON)
		return object_parse(octets_in(r, m), c, store);
	return string_parse(m, octets_in(r, m), c, store);
}

static const struct member *member_next(size_t from, struct json *c)
{
	for (size_t i = from; i < RECORD_MEMBERS; i++) {
		const struct member *m = &record_members[i];

		if ((size_t)(c->end - c->at) >= m->name_len &&
			memcmp(c->at, m->name, m->name_len) == 0) {
			c->at += m->name_len;
			return m;
		}
	}
	return NULL;
}

enum err record_parse(struct record *r, struct buf *store, const char *json, size_t len)
{
	struct json c = {(const uint8_t *)json, (const uint8_t *)json + len};
	uint64_t set = 0;
	size_t next = 0;
	char before = '{';

	record_init(r, (enum record_type)0);
	if (len > RECORD_MAX)
		return ERR_FORMAT;
	/* No value is longer than its text: with this much room nothing moves any more. */
	buf_put(store, json, len);
	if (store->err)
		return store->err;
	store->len -= len;
	while (canon_take(&c, before)) {
		const struct member *m = member_next(next, &c);

		if (!m || !member_parse(r, m, &c, store))
			return ERR_FORMAT;
		next = (size_t)(m - record_members) + 1;
		set |= 1ull << (m - record_members);
		before = ',';
	}
	if (!canon_take(&c, '}') || c.at != c.end || !record_type_known(r->type) ||
		!record_members_fit(set, r->type, true))
		return ERR_FORMAT;
	return store->err;
}
