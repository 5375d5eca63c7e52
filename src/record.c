#include "record_members.h"

#include <string.h>

void record_init(struct record *r, enum record_type type)
{
	memset(r, 0, sizeof(*r));
	r->type = type;
	for (size_t i = 0; i < RECORD_MEMBERS; i++) {
		if (record_members[i].kind == INT)
			*int_of(r, &record_members[i]) = RECORD_NONE;
	}
}

const char *record_type_name(enum record_type type)
{
	return record_type_known(type) ? record_type_names[type] : "?";
}

struct octets octets_text(const char *s)
{
	return octets_of(s, s ? strlen(s) : 0);
}

struct octets octets_of(const void *at, size_t len)
{
	return (struct octets){.at = at, .len = len};
}

/* ---- what APPEND carries ---- */

enum err record_encode(struct buf *out, const struct record *r)
{
	if (!record_type_known(r->type))
		return ERR_FORMAT;

	uint64_t set = record_members_present(r);

	if (!record_members_fit(set, r->type, false))
		return ERR_FORMAT;
	buf_u8(out, (uint8_t)r->type);
	buf_u64(out, set);
	for (size_t i = 0; i < RECORD_MEMBERS; i++) {
		const struct member *m = &record_members[i];

		if (!(set >> i & 1) || m->kind == TYPE)
			continue;
		if (m->kind == INT)
			buf_u64(out, (uint64_t)int_at(r, m));
		else if (record_value_fits(m, octets_at(r, m)))
			buf_vec(out, octets_at(r, m)->at, octets_at(r, m)->len);
		else
			return ERR_FORMAT;
	}
	return out->err;
}

static void member_decode(struct record *r, const struct member *m, struct reader *in)
{
	if (m->kind == TYPE)
		return;
	if (m->kind == INT) {
		*int_of(r, m) = (int64_t)reader_u64(in);
		in->failed |= *int_of(r, m) == RECORD_NONE;
		return;
	}

	struct octets *o = octets_in(r, m);

	o->at = reader_vec(in, &o->len, RECORD_MAX);
	in->failed |= !o->at || o->len == 0 || !record_value_fits(m, o);
}

enum err record_decode(struct record *r, const uint8_t *octets, size_t len)
{
	struct reader in;

	reader_init(&in, octets, len);
	record_init(r, (enum record_type)reader_u8(&in));

	uint64_t set = reader_u64(&in);

	if (in.failed || !record_type_known(r->type) ||
		(RECORD_MEMBERS < 64 && set >> RECORD_MEMBERS) ||
		!record_members_fit(set, r->type, false))
		return ERR_FORMAT;
	for (size_t i = 0; i < RECORD_MEMBERS && !in.failed; i++) {
		if (set >> i & 1)
			member_decode(r, &record_members[i], &in);
	}
	return reader_done(&in) ? ERR_OK : ERR_FORMAT;
}
