#include "record.h"
#include "json.h"

#include <stddef.h>
#include <string.h>

enum kind {
	TYPE,	/* the record's type, by its name */
	TEXT,	/* UTF-8 without NUL */
	ID,	/* text: 32 lowercase hex digits */
	HEX,	/* SHA256_SIZE octets as lowercase hex */
	BASE64, /* octets */
	INT,	/* int64, RECORD_NONE = absent */
	JSON	/* canonical JSON, embedded */
};

#define T(type)	  (1u << RECORD_##type)
#define ALL	  (~0u)
#define NONE	  (0u)
#define ATTEMPT	  (T(AUTHORISED) | T(ISSUED) | T(FAILED) | T(LATE))
#define TESTED	  (T(SELF_TEST) | T(KEY_PROVED) | T(KEY_REFUSED))
#define REQUESTED (T(AUTHORISED) | T(REFUSED) | T(HELD) | T(RELEASED))
#define DECIDED	  (T(AUTHORISED) | T(REFUSED) | T(SELF_TEST))

/* must: types that have the member; may: types that can have it besides. */
struct member {
	const char *name;
	size_t name_len;
	enum kind kind;
	size_t offset;
	uint32_t must, may;
	bool ledgers; /* the ledger process sets it: APPEND need not carry it */
};

#define MEMBER_(field, kind, must, may, ledgers)                                                   \
	{                                                                                          \
		"\"" #field "\":", sizeof(#field) + 2, kind, offsetof(struct record, field), must, \
			may, ledgers                                                               \
	}
#define MEMBER(field, kind, must, may) MEMBER_(field, kind, must, may, false)

static const struct member members[] = {
	MEMBER(algorithm, TEXT, T(AUTHORISED), T(REFUSED) | T(SELF_TEST)),
	MEMBER(attempt, INT, ATTEMPT, TESTED | T(UNKNOWN) | T(REFUSED)),
	MEMBER(boot_id, TEXT, T(START), T(CLOCK)),
	MEMBER(boottime, INT, T(START), T(CLOCK) | T(AUTHORISED)),
	MEMBER(by, TEXT, NONE, T(HELD) | T(RELEASED)),
	MEMBER(cert_not_before, INT, T(AUTHORISED), DECIDED),
	MEMBER(certificate_sha256, HEX, T(AUTHORISED) | T(SELF_TEST) | T(KEY_PROVED),
		T(REFUSED) | T(KEY_REFUSED)),
	MEMBER(certificates, BASE64, T(KEY_PROVED), T(KEY_REFUSED)),
	MEMBER_(chain, TEXT, ALL, NONE, true),
	MEMBER(client, TEXT, T(AUTHORISED), REQUESTED | T(FAILED)),
	MEMBER(client_serial, TEXT, NONE, REQUESTED),
	MEMBER(client_sha256, HEX, T(AUTHORISED), REQUESTED),
	MEMBER_(config, JSON, T(CONFIG), NONE, true),
	MEMBER(count, INT, NONE, T(REFUSED)),
	MEMBER(dc, BASE64, T(ISSUED) | T(LATE), T(KEY_PROVED)),
	MEMBER(dc_sha256, HEX, T(ISSUED) | T(LATE), T(KEY_PROVED)),
	MEMBER(detail, TEXT, NONE, ALL),
	MEMBER(drift_ms, INT, T(CLOCK), NONE),
	MEMBER(expiry, INT, T(AUTHORISED), DECIDED),
	MEMBER(field, TEXT, NONE, T(REFUSED) | T(KEY_REFUSED) | T(FAILED)),
	MEMBER(generation, HEX, T(START) | T(CONFIG) | T(AUTHORISED) | T(SELF_TEST) | T(KEY_PROVED),
		ALL),
	MEMBER(id, ID, ATTEMPT | T(UNKNOWN) | T(SELF_TEST) | T(KEY_PROVED),
		T(REFUSED) | T(KEY_REFUSED)),
	MEMBER(idempotency, TEXT, NONE, T(AUTHORISED) | T(REFUSED)),
	MEMBER_(idx, INT, ALL, NONE, true),
	MEMBER(key, TEXT, T(AUTHORISED) | TESTED, REQUESTED | T(FAILED)),
	MEMBER(latest_expiry, INT, NONE, T(HELD) | T(RELEASED)),
	MEMBER(lifetime_asked, INT, T(AUTHORISED), T(REFUSED)),
	MEMBER(lifetime_granted, INT, T(AUTHORISED), T(REFUSED)),
	MEMBER(live, INT, NONE, T(HELD) | T(RELEASED)),
	MEMBER(node, TEXT, T(START), NONE),
	MEMBER(note, TEXT, T(CHECKPOINT), NONE),
	MEMBER(now, INT, T(AUTHORISED), DECIDED),
	MEMBER(peer, TEXT, T(AUTHORISED), REQUESTED),
	MEMBER(policy, TEXT, T(AUTHORISED), T(REFUSED)),
	MEMBER(possession, TEXT, T(AUTHORISED), T(REFUSED)),
	MEMBER(previous, TEXT, T(SUCCEEDED), NONE),
	MEMBER(public_key, TEXT, T(CHECKPOINT), NONE),
	MEMBER(reason, TEXT,
		T(REFUSED) | T(KEY_REFUSED) | T(FAILED) | T(HELD) | T(RELEASED) | T(SUCCEEDED),
		ALL),
	MEMBER(reference, TEXT, NONE, T(AUTHORISED) | T(REFUSED)),
	MEMBER(request, TEXT, T(AUTHORISED), REQUESTED),
	MEMBER(request_sha256, HEX, NONE, T(AUTHORISED) | T(REFUSED)),
	MEMBER(retry_of, ID, NONE, T(AUTHORISED) | T(REFUSED)),
	MEMBER(role, TEXT, T(AUTHORISED), DECIDED),
	MEMBER(root, HEX, T(SUCCEEDED) | T(CHECKPOINT), NONE),
	MEMBER(shared, INT, NONE, T(ISSUED) | T(LATE)),
	MEMBER(signature_algorithm, TEXT, T(AUTHORISED), T(REFUSED) | TESTED),
	MEMBER(single_user, INT, NONE, T(START)),
	MEMBER(size, INT, T(SUCCEEDED) | T(CHECKPOINT), NONE),
	MEMBER(spki, BASE64, T(AUTHORISED), T(SELF_TEST)),
	MEMBER(spki_sha256, HEX, T(AUTHORISED), T(REFUSED) | TESTED),
	MEMBER(tbs_sha256, HEX, T(AUTHORISED) | T(SELF_TEST), NONE),
	MEMBER(time, INT, ALL, NONE),
	MEMBER(token, TEXT, T(START), NONE),
	MEMBER(type, TYPE, ALL, NONE),
	MEMBER(valid_time, INT, T(AUTHORISED), DECIDED),
	MEMBER(version, TEXT, T(START), NONE),
	MEMBER(weak, TEXT, NONE, T(KEY_PROVED) | T(KEY_REFUSED)),
	MEMBER(window_opens, INT, T(AUTHORISED), DECIDED),
};

#define MEMBERS (sizeof(members) / sizeof(members[0]))
_Static_assert(MEMBERS <= 64, "a set of members is one uint64_t");
_Static_assert(RECORD_TYPES <= 32, "a set of types is one uint32_t");

static const char *const type_names[RECORD_TYPES] = {
	[RECORD_START] = "START",
	[RECORD_STOP] = "STOP",
	[RECORD_CONFIG] = "CONFIG",
	[RECORD_KEY_PROVED] = "KEY-PROVED",
	[RECORD_KEY_REFUSED] = "KEY-REFUSED",
	[RECORD_SELF_TEST] = "SELF-TEST",
	[RECORD_AUTHORISED] = "AUTHORISED",
	[RECORD_ISSUED] = "ISSUED",
	[RECORD_FAILED] = "FAILED",
	[RECORD_UNKNOWN] = "UNKNOWN",
	[RECORD_LATE] = "LATE",
	[RECORD_REFUSED] = "REFUSED",
	[RECORD_HELD] = "HELD",
	[RECORD_RELEASED] = "RELEASED",
	[RECORD_CLOCK] = "CLOCK",
	[RECORD_CHECKPOINT] = "CHECKPOINT",
	[RECORD_SUCCEEDED] = "SUCCEEDED",
};

static int64_t *int_of(struct record *r, const struct member *m)
{
	return (int64_t *)(void *)((char *)r + m->offset);
}

static int64_t int_at(const struct record *r, const struct member *m)
{
	return *(const int64_t *)(const void *)((const char *)r + m->offset);
}

static struct octets *octets_in(struct record *r, const struct member *m)
{
	return (struct octets *)(void *)((char *)r + m->offset);
}

static const struct octets *octets_at(const struct record *r, const struct member *m)
{
	return (const struct octets *)(const void *)((const char *)r + m->offset);
}

static bool type_known(enum record_type type)
{
	return type > 0 && type < RECORD_TYPES;
}

void record_init(struct record *r, enum record_type type)
{
	memset(r, 0, sizeof(*r));
	r->type = type;
	for (size_t i = 0; i < MEMBERS; i++) {
		if (members[i].kind == INT)
			*int_of(r, &members[i]) = RECORD_NONE;
	}
}

const char *record_type_name(enum record_type type)
{
	return type_known(type) ? type_names[type] : "?";
}

struct octets octets_text(const char *s)
{
	return octets_of(s, s ? strlen(s) : 0);
}

struct octets octets_of(const void *at, size_t len)
{
	return (struct octets){.at = at, .len = len};
}

static bool present(const struct record *r, const struct member *m)
{
	if (m->kind == TYPE)
		return true;
	if (m->kind == INT)
		return int_at(r, m) != RECORD_NONE;
	return octets_at(r, m)->len > 0;
}

/* Whether the members that are there are those that the type has. complete: the ledger's own, too.
 */
static bool members_fit(uint64_t set, enum record_type type, bool complete)
{
	uint32_t bit = 1u << type;

	for (size_t i = 0; i < MEMBERS; i++) {
		const struct member *m = &members[i];
		bool is = set >> i & 1;

		if (is ? !((m->must | m->may) & bit) : (m->must & bit) && (complete || !m->ledgers))
			return false;
	}
	return true;
}

static uint64_t members_present(const struct record *r)
{
	uint64_t set = 0;

	for (size_t i = 0; i < MEMBERS; i++)
		set |= (uint64_t)present(r, &members[i]) << i;
	return set;
}

static bool is_id(const struct octets *o)
{
	if (o->len != ID_SIZE - 1)
		return false;
	for (size_t i = 0; i < o->len; i++) {
		if (!memchr("0123456789abcdef", o->at[i], 16))
			return false;
	}
	return true;
}

static bool value_fits(const struct member *m, const struct octets *o)
{
	return m->kind == TEXT	 ? utf8_valid(o->at, o->len)
	       : m->kind == ID	 ? is_id(o)
	       : m->kind == HEX	 ? o->len == SHA256_SIZE
	       : m->kind == JSON ? canon_object(o)
				 : true;
}

/* ---- what APPEND carries ---- */

enum err record_encode(struct buf *out, const struct record *r)
{
	if (!type_known(r->type))
		return ERR_FORMAT;

	uint64_t set = members_present(r);

	if (!members_fit(set, r->type, false))
		return ERR_FORMAT;
	buf_u8(out, (uint8_t)r->type);
	buf_u64(out, set);
	for (size_t i = 0; i < MEMBERS; i++) {
		const struct member *m = &members[i];

		if (!(set >> i & 1) || m->kind == TYPE)
			continue;
		if (m->kind == INT)
			buf_u64(out, (uint64_t)int_at(r, m));
		else if (value_fits(m, octets_at(r, m)))
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
	in->failed |= !o->at || o->len == 0 || !value_fits(m, o);
}

enum err record_decode(struct record *r, const uint8_t *octets, size_t len)
{
	struct reader in;

	reader_init(&in, octets, len);
	record_init(r, (enum record_type)reader_u8(&in));

	uint64_t set = reader_u64(&in);

	if (in.failed || !type_known(r->type) || (MEMBERS < 64 && set >> MEMBERS) ||
		!members_fit(set, r->type, false))
		return ERR_FORMAT;
	for (size_t i = 0; i < MEMBERS && !in.failed; i++) {
		if (set >> i & 1)
			member_decode(r, &members[i], &in);
	}
	return reader_done(&in) ? ERR_OK : ERR_FORMAT;
}

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
	if (m->kind == TYPE)
		buf_printf(out, "\"%s\"", type_names[r->type]);
	else if (m->kind == INT)
		buf_printf(out, "%lld", (long long)int_at(r, m));
	else
		octets_write(out, m, octets_at(r, m));
}

enum err record_write(struct buf *out, const struct record *r)
{
	if (!type_known(r->type))
		return ERR_FORMAT;

	uint64_t set = members_present(r);
	size_t start = out->len;
	char before = '{';

	if (!members_fit(set, r->type, true))
		return ERR_FORMAT;
	for (size_t i = 0; i < MEMBERS; i++) {
		const struct member *m = &members[i];

		if (!(set >> i & 1))
			continue;
		if (m->kind != INT && m->kind != TYPE && !value_fits(m, octets_at(r, m)))
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
		if (strlen(type_names[i]) == name.len &&
			memcmp(type_names[i], name.at, name.len) == 0) {
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
	return o->len > 0 && (m->kind != ID || is_id(o));
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
	for (size_t i = from; i < MEMBERS; i++) {
		const struct member *m = &members[i];

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
		next = (size_t)(m - members) + 1;
		set |= 1ull << (m - members);
		before = ',';
	}
	if (!canon_take(&c, '}') || c.at != c.end || !type_known(r->type) ||
		!members_fit(set, r->type, true))
		return ERR_FORMAT;
	return store->err;
}
