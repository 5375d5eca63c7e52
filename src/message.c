#include "message.h"

#include <stddef.h>
#include <string.h>

/*
 * One table per message says what stands in it, in order. Writer and reader walk the same table, so
 * that they can't disagree, and apply the same limits, so that nobody can send what its peer would
 * have to refuse.
 */
enum kind { UINT, FIXED, TEXT, OCTETS, LIST, WHEN, END };

struct field {
	enum kind kind;
	size_t at;	/* offset in the structure */
	size_t size;	/* of the member; LIST: of one item */
	uint64_t least; /* UINT: value. OCTETS: length. LIST: count */
	uint64_t most;
	bool (*good)(const char *text, size_t len); /* TEXT, OCTETS */
	size_t of; /* LIST: offset of the 16 bit count; WHEN: of the enum err or flag */
	const struct field *fields; /* LIST: of one item; WHEN: only there if ... */
	bool unless;		    /* WHEN: ... the integer is 0; else: is not 0 */
};

#define SIZE_OF(s, member) sizeof(((struct s *)NULL)->member)
#define MEMBER(s, member)  .at = offsetof(struct s, member), .size = SIZE_OF(s, member)
#define RANGE(s, member, lo, hi)                                                                   \
	{                                                                                          \
		.kind = UINT, MEMBER(s, member), .least = (lo), .most = (hi)                       \
	}
#define FLAG(s, member)	  RANGE(s, member, 0, 1)
#define NUMBER(s, member) RANGE(s, member, 0, UINT64_MAX)
#define CODE(s, member)	  RANGE(s, member, 0, ERR_COUNT - 1)
#define DIGEST(s, member)                                                                          \
	{                                                                                          \
		.kind = FIXED, MEMBER(s, member)                                                   \
	}
#define STRING(s, member, check)                                                                   \
	{                                                                                          \
		.kind = TEXT, MEMBER(s, member), .good = (check)                                   \
	}
#define BYTES(s, member, lo, hi, check)                                                            \
	{                                                                                          \
		.kind = OCTETS, MEMBER(s, member), .least = (lo), .most = (hi), .good = (check)    \
	}
/* `count items of the member` and how each looks; its count stands before it on the wire. */
#define ITEMS(s, member, count, lo, hi, item)                                                      \
	{                                                                                          \
		.kind = LIST, .at = offsetof(struct s, member), .size = SIZE_OF(s, member[0]),     \
		.least = (lo), .most = (hi), .of = offsetof(struct s, count), .fields = (item)     \
	}
#define ONLY_IF(s, flag, what)                                                                     \
	{                                                                                          \
		.kind = WHEN, .size = SIZE_OF(s, flag), .of = offsetof(struct s, flag),            \
		.fields = (what)                                                                   \
	}
#define ONLY_UNLESS(s, flag, what)                                                                 \
	{                                                                                          \
		.kind = WHEN, .size = SIZE_OF(s, flag), .of = offsetof(struct s, flag),            \
		.fields = (what), .unless = true                                                   \
	}
#define FIELDS_END                                                                                 \
	{                                                                                          \
		.kind = END                                                                        \
	}

/* What a text may be. */
static bool is_name(const char *s, size_t len)
{
	return len > 0 && name_valid(s);
}

static bool is_name_or_empty(const char *s, size_t len)
{
	return len == 0 || name_valid(s);
}

static bool is_hex(const char *s, size_t len)
{
	return strspn(s, "0123456789abcdef") == len;
}

static bool is_id(const char *s, size_t len)
{
	return len == ID_SIZE - 1 && is_hex(s, len);
}

static bool is_id_or_empty(const char *s, size_t len)
{
	return len == 0 || is_id(s, len);
}

static bool is_visible(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] < 0x21 || s[i] > 0x7e)
			return false;
	return true;
}

static bool is_utf8(const char *s, size_t len)
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

/* Writing. */
static void write_fields(struct buf *out, const struct field *f, const uint8_t *base);

static void spoil(struct buf *out)
{
	if (out->err == ERR_OK)
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
		if (f->good != is_utf8) {
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
		write_fields(out, f->fields, base + f->at + i * f->size);
}

static void write_uint(struct buf *out, const struct field *f, const uint8_t *at)
{
	uint64_t value = load(at, f->size);

	if (value < f->least || value > f->most)
		spoil(out);
	else
		put_uint(out, value, f->size);
}

static void write_fields(struct buf *out, const struct field *f, const uint8_t *base)
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
				write_fields(out, f->fields, base);
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

static enum err read_whole(struct reader *r, const struct field *f, void *m)
{
	read_fields(r, f, m);
	return reader_done(r) ? ERR_OK : ERR_FORMAT;
}

/* The tables. */
static const struct field hello[] = {RANGE(msg_hello, role, ROLE_PARENT, ROLE_LEDGER),
	STRING(msg_hello, name, is_name_or_empty), FIELDS_END};

static const struct field hello_answer[] = {CODE(msg_hello_answer, err),
	STRING(msg_hello_answer, chain, is_visible), NUMBER(msg_hello_answer, size),
	NUMBER(msg_hello_answer, last_time), DIGEST(msg_hello_answer, root), FIELDS_END};

struct label {
	char text[LABEL_SIZE];
};
static const struct field label[] = {STRING(label, text, is_visible), FIELDS_END};
static const struct field config[] = {
	ITEMS(msg_config, label, count, 1, MSG_FDS, label), FIELDS_END};

static const struct field config_answer[] = {
	CODE(msg_config_answer, err), STRING(msg_config_answer, text, is_utf8), FIELDS_END};

static const struct field issue_term[] = {NUMBER(msg_issue_item, term_value), FIELDS_END};
static const struct field issue_start[] = {NUMBER(msg_issue_item, not_before), FIELDS_END};
static const struct field issue_item[] = {STRING(msg_issue_item, key, is_name),
	FLAG(msg_issue_item, role), NUMBER(msg_issue_item, algorithm),
	RANGE(msg_issue_item, proof, PROOF_NONE, PROOF_CSR),
	BYTES(msg_issue_item, spki, 1, 8192, NULL), RANGE(msg_issue_item, term, 0, 2),
	ONLY_IF(msg_issue_item, term, issue_term), FLAG(msg_issue_item, has_not_before),
	ONLY_IF(msg_issue_item, has_not_before, issue_start),
	BYTES(msg_issue_item, reference, 0, REFERENCE_MAX, is_utf8),
	STRING(msg_issue_item, idempotency, is_visible), FIELDS_END};
static const struct field issue[] = {STRING(msg_issue, request, is_id),
	STRING(msg_issue, client, is_name), DIGEST(msg_issue, client_sha256),
	DIGEST(msg_issue, client_spki_sha256), STRING(msg_issue, client_serial, is_hex),
	STRING(msg_issue, peer, is_visible), NUMBER(msg_issue, deadline_ms),
	FLAG(msg_issue, dry_run), ITEMS(msg_issue, item, count, 1, MSG_ITEMS, issue_item),
	FIELDS_END};

#define REFUSAL(s)                                                                                 \
	CODE(s, refusal.err), STRING(s, refusal.field, is_utf8),                                   \
		STRING(s, refusal.detail, is_utf8), NUMBER(s, refusal.retry_after)

static const struct field granted[] = {STRING(msg_grant, id, is_id_or_empty), FLAG(msg_grant, role),
	NUMBER(msg_grant, scheme), NUMBER(msg_grant, algorithm),
	BYTES(msg_grant, dc, 0, MSG_MAX, NULL), NUMBER(msg_grant, not_before),
	NUMBER(msg_grant, not_after), NUMBER(msg_grant, valid_time), DIGEST(msg_grant, spki_sha256),
	DIGEST(msg_grant, certificate_sha256),
	RANGE(msg_grant, flags, 0, GRANT_REPLAYED | GRANT_KEY_SHARED | GRANT_DRY_RUN),
	NUMBER(msg_grant, compat), STRING(msg_grant, chain, is_visible), NUMBER(msg_grant, idx),
	DIGEST(msg_grant, leaf_hash), FIELDS_END};
static const struct field grant[] = {
	REFUSAL(msg_grant), ONLY_UNLESS(msg_grant, refusal.err, granted), FIELDS_END};
static const struct field issue_answer[] = {STRING(msg_issue_answer, request, is_id),
	ITEMS(msg_issue_answer, grant, count, 1, MSG_ITEMS, grant), FIELDS_END};

static const struct field append_item[] = {BYTES(msg_append_item, record, 1, MSG_MAX, NULL),
	NUMBER(msg_append_item, max_live_key), NUMBER(msg_append_item, max_live_client),
	FLAG(msg_append_item, judge_only), FIELDS_END};
static const struct field append[] = {
	ITEMS(msg_append, item, count, 1, MSG_ITEMS, append_item), FIELDS_END};

static const struct field appended[] = {REFUSAL(msg_appended), NUMBER(msg_appended, idx),
	DIGEST(msg_appended, leaf_hash), FLAG(msg_appended, shared),
	BYTES(msg_appended, replay_authorised, 0, MSG_MAX, NULL),
	BYTES(msg_appended, replay_issued, 0, MSG_MAX, NULL), FIELDS_END};
static const struct field append_answer[] = {
	ITEMS(msg_append_answer, item, count, 1, MSG_ITEMS, appended), FIELDS_END};

static const struct field hold[] = {STRING(msg_hold, request, is_id), STRING(msg_hold, by, is_name),
	DIGEST(msg_hold, by_sha256), STRING(msg_hold, by_serial, is_hex),
	STRING(msg_hold, peer, is_visible), STRING(msg_hold, key, is_name_or_empty),
	STRING(msg_hold, client, is_name_or_empty),
	BYTES(msg_hold, reason, 1, HOLD_REASON_MAX, is_utf8), FIELDS_END};
static const struct field hold_answer[] = {REFUSAL(msg_hold_answer), NUMBER(msg_hold_answer, live),
	NUMBER(msg_hold_answer, latest_expiry), FIELDS_END};

static const struct field read_question[] = {RANGE(msg_read, kind, READ_LIVE, READ_RECORDS),
	STRING(msg_read, key, is_name_or_empty), STRING(msg_read, client, is_name_or_empty),
	STRING(msg_read, id, is_id_or_empty), STRING(msg_read, chain, is_visible),
	NUMBER(msg_read, live_at), NUMBER(msg_read, after), RANGE(msg_read, limit, 0, READ_PAGE),
	NUMBER(msg_read, from), NUMBER(msg_read, to), NUMBER(msg_read, offset), FIELDS_END};
static const struct field chain_head[] = {STRING(msg_head_of_chain, chain, is_visible),
	NUMBER(msg_head_of_chain, size), NUMBER(msg_head_of_chain, last_time),
	DIGEST(msg_head_of_chain, root), FIELDS_END};
static const struct field held[] = {STRING(msg_held, key, is_name_or_empty),
	STRING(msg_held, client, is_name_or_empty), STRING(msg_held, reason, is_utf8), FIELDS_END};
static const struct field released[] = {STRING(msg_released, chain, is_visible),
	NUMBER(msg_released, idx), DIGEST(msg_released, leaf_hash),
	BYTES(msg_released, authorised, 1, MSG_MAX, NULL),
	BYTES(msg_released, issued, 1, MSG_MAX, NULL), FIELDS_END};
static const struct field hash[] = {DIGEST(msg_hash, octets), FIELDS_END};
static const struct field read_answer[] = {CODE(msg_read_answer, err),
	RANGE(msg_read_answer, kind, READ_LIVE, READ_RECORDS), NUMBER(msg_read_answer, live),
	NUMBER(msg_read_answer, latest_expiry), NUMBER(msg_read_answer, octets),
	ITEMS(msg_read_answer, head, count, 0, 64, chain_head),
	ITEMS(msg_read_answer, held, held_count, 0, READ_HELD, held),
	ITEMS(msg_read_answer, released, released_count, 0, READ_PAGE, released),
	NUMBER(msg_read_answer, next), NUMBER(msg_read_answer, next_offset),
	BYTES(msg_read_answer, text, 0, MSG_MAX, NULL),
	STRING(msg_read_answer, verifier_key, is_utf8), NUMBER(msg_read_answer, to),
	ITEMS(msg_read_answer, proof, proof_count, 0, READ_PROOF_MAX, hash), FIELDS_END};

static const struct field state[] = {NUMBER(msg_state, from), FIELDS_END};
static const struct field state_key[] = {STRING(msg_state_key, name, is_name),
	CODE(msg_state_key, err), STRING(msg_state_key, detail, is_utf8),
	STRING(msg_state_key, weak, is_utf8), DIGEST(msg_state_key, certificate_sha256),
	NUMBER(msg_state_key, certificate_not_after), NUMBER(msg_state_key, algorithm), FIELDS_END};
const uint32_t msg_bound_us[MSG_BUCKETS - 1] = {50, 100, 200, 500, 1000, 2000, 5000, 10000, 20000,
	50000, 100000, 200000, 500000, 1000000, 2000000};
#define BUCKET(n) NUMBER(msg_histogram, bucket[n])
static const struct field histogram[] = {NUMBER(msg_histogram, sum_us), BUCKET(0), BUCKET(1),
	BUCKET(2), BUCKET(3), BUCKET(4), BUCKET(5), BUCKET(6), BUCKET(7), BUCKET(8), BUCKET(9),
	BUCKET(10), BUCKET(11), BUCKET(12), BUCKET(13), BUCKET(14), BUCKET(15), FIELDS_END};
_Static_assert(MSG_BUCKETS == 16, "each bucket stands in the table");
#define COUNTER(n) NUMBER(msg_state_answer, counter[n])
static const struct field state_answer[] = {FLAG(msg_state_answer, token_ok),
	STRING(msg_state_answer, token_detail, is_utf8), DIGEST(msg_state_answer, generation),
	COUNTER(0), COUNTER(1), COUNTER(2), COUNTER(3), COUNTER(4), COUNTER(5), COUNTER(6),
	COUNTER(7), COUNTER(8),
	ITEMS(msg_state_answer, span, span_count, SPAN_COUNT, SPAN_COUNT, histogram),
	NUMBER(msg_state_answer, total), NUMBER(msg_state_answer, from),
	ITEMS(msg_state_answer, key, count, 0, STATE_KEYS, state_key), FIELDS_END};
_Static_assert(COUNTER_COUNT == 9, "each counter stands in the table");

/* What the header declares. */
void msg_begin(struct buf *out, uint16_t type, uint64_t serial)
{
	buf_u16(out, MSG_PROTOCOL);
	buf_u16(out, type);
	buf_u64(out, serial);
}

enum err msg_open(struct msg_head *head, struct reader *body, const uint8_t *octets, size_t len)
{
	uint16_t protocol;

	reader_init(body, octets, len);
	protocol = reader_u16(body);
	head->type = reader_u16(body);
	head->serial = reader_u64(body);
	if (body->failed || len > MSG_MAX || protocol != MSG_PROTOCOL || head->type < MSG_HELLO ||
		head->type > MSG_ANSWER(MSG_RELEASE))
		return ERR_FORMAT;
	return ERR_OK;
}

#define CODEC(name, table)                                                                         \
	void name##_write(struct buf *out, const struct name *m)                                   \
	{                                                                                          \
		write_fields(out, table, (const uint8_t *)m);                                      \
	}                                                                                          \
	enum err name##_read(struct name *m, struct reader *r)                                     \
	{                                                                                          \
		return read_whole(r, table, m);                                                    \
	}

CODEC(msg_hello, hello)
CODEC(msg_hello_answer, hello_answer)
CODEC(msg_config, config)
CODEC(msg_config_answer, config_answer)
CODEC(msg_issue, issue)
CODEC(msg_issue_answer, issue_answer)
CODEC(msg_append, append)
CODEC(msg_append_answer, append_answer)
CODEC(msg_hold, hold)
CODEC(msg_hold_answer, hold_answer)
CODEC(msg_read, read_question)
CODEC(msg_read_answer, read_answer)
CODEC(msg_state, state)
CODEC(msg_state_answer, state_answer)

void msg_issue_item_write(struct buf *out, const struct msg_issue_item *m)
{
	write_fields(out, issue_item, (const uint8_t *)m);
}
