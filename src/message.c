#include "message_fields.h"

#include <string.h>

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

static bool is_words(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (s[i] < 0x20 || s[i] > 0x7e)
			return false;
	return len > 0;
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
	CODE(msg_config_answer, err), STRING(msg_config_answer, text, field_is_utf8), FIELDS_END};

static const struct field decide[] = {RANGE(msg_decide, what, DECIDE_CLOCK, DECIDE_SUCCEED),
	STRING(msg_decide, name, is_visible), NUMBER(msg_decide, uid),
	STRING(msg_decide, reason, is_words), FIELDS_END};
static const struct field decide_answer[] = {
	CODE(msg_decide_answer, err), STRING(msg_decide_answer, text, field_is_utf8), FIELDS_END};

static const struct field issue_term[] = {NUMBER(msg_issue_item, term_value), FIELDS_END};
static const struct field issue_start[] = {NUMBER(msg_issue_item, not_before), FIELDS_END};
static const struct field issue_item[] = {STRING(msg_issue_item, key, is_name),
	FLAG(msg_issue_item, role), NUMBER(msg_issue_item, algorithm),
	RANGE(msg_issue_item, proof, PROOF_NONE, PROOF_CSR),
	BYTES(msg_issue_item, spki, 1, 8192, NULL), RANGE(msg_issue_item, term, 0, 2),
	ONLY_IF(msg_issue_item, term, issue_term), FLAG(msg_issue_item, has_not_before),
	ONLY_IF(msg_issue_item, has_not_before, issue_start),
	BYTES(msg_issue_item, reference, 0, REFERENCE_MAX, field_is_utf8),
	STRING(msg_issue_item, idempotency, is_visible), FIELDS_END};
static const struct field issue[] = {STRING(msg_issue, request, is_id),
	STRING(msg_issue, client, is_name), DIGEST(msg_issue, client_sha256),
	DIGEST(msg_issue, client_spki_sha256), STRING(msg_issue, client_serial, is_hex),
	STRING(msg_issue, peer, is_visible), NUMBER(msg_issue, deadline_ms),
	FLAG(msg_issue, dry_run), ITEMS(msg_issue, item, count, 1, MSG_ITEMS, issue_item),
	FIELDS_END};

#define REFUSAL(s)                                                                                 \
	CODE(s, refusal.err), STRING(s, refusal.field, field_is_utf8),                             \
		STRING(s, refusal.detail, field_is_utf8), NUMBER(s, refusal.retry_after)

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
	BYTES(msg_hold, reason, 1, HOLD_REASON_MAX, field_is_utf8), FIELDS_END};
static const struct field hold_answer[] = {REFUSAL(msg_hold_answer), NUMBER(msg_hold_answer, live),
	NUMBER(msg_hold_answer, latest_expiry), FIELDS_END};

static const struct field read_question[] = {RANGE(msg_read, kind, READ_LIVE, READ_NOTE),
	STRING(msg_read, key, is_name_or_empty), STRING(msg_read, client, is_name_or_empty),
	STRING(msg_read, id, is_id_or_empty), STRING(msg_read, chain, is_visible),
	NUMBER(msg_read, live_at), NUMBER(msg_read, after), RANGE(msg_read, limit, 0, READ_PAGE),
	NUMBER(msg_read, from), NUMBER(msg_read, to), NUMBER(msg_read, offset), FIELDS_END};
static const struct field chain_head[] = {STRING(msg_head_of_chain, chain, is_visible),
	NUMBER(msg_head_of_chain, size), NUMBER(msg_head_of_chain, last_time),
	DIGEST(msg_head_of_chain, root), FIELDS_END};
static const struct field held[] = {STRING(msg_held, key, is_name_or_empty),
	STRING(msg_held, client, is_name_or_empty), STRING(msg_held, reason, field_is_utf8),
	FIELDS_END};
static const struct field released[] = {STRING(msg_released, chain, is_visible),
	NUMBER(msg_released, idx), DIGEST(msg_released, leaf_hash),
	BYTES(msg_released, authorised, 1, MSG_MAX, NULL),
	BYTES(msg_released, issued, 1, MSG_MAX, NULL), FIELDS_END};
static const struct field hash[] = {DIGEST(msg_hash, octets), FIELDS_END};
static const struct field read_answer[] = {CODE(msg_read_answer, err),
	RANGE(msg_read_answer, kind, READ_LIVE, READ_NOTE), NUMBER(msg_read_answer, live),
	NUMBER(msg_read_answer, latest_expiry), NUMBER(msg_read_answer, octets),
	ITEMS(msg_read_answer, head, count, 0, 64, chain_head),
	ITEMS(msg_read_answer, held, held_count, 0, READ_HELD, held),
	ITEMS(msg_read_answer, released, released_count, 0, READ_PAGE, released),
	NUMBER(msg_read_answer, next), NUMBER(msg_read_answer, next_offset),
	BYTES(msg_read_answer, text, 0, MSG_MAX, NULL),
	STRING(msg_read_answer, verifier_key, field_is_utf8), NUMBER(msg_read_answer, to),
	ITEMS(msg_read_answer, proof, proof_count, 0, READ_PROOF_MAX, hash), FIELDS_END};

static const struct field state[] = {NUMBER(msg_state, from), NUMBER(msg_state, mark), FIELDS_END};
static const struct field state_key[] = {STRING(msg_state_key, name, is_name),
	CODE(msg_state_key, err), STRING(msg_state_key, detail, field_is_utf8),
	STRING(msg_state_key, weak, field_is_utf8), DIGEST(msg_state_key, certificate_sha256),
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
	STRING(msg_state_answer, token_detail, field_is_utf8), DIGEST(msg_state_answer, generation),
	COUNTER(0), COUNTER(1), COUNTER(2), COUNTER(3), COUNTER(4), COUNTER(5), COUNTER(6),
	COUNTER(7), COUNTER(8),
	ITEMS(msg_state_answer, span, span_count, SPAN_COUNT, SPAN_COUNT, histogram),
	NUMBER(msg_state_answer, mark), NUMBER(msg_state_answer, total),
	NUMBER(msg_state_answer, from),
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
		head->type > MSG_ANSWER(MSG_DECIDE) || head->type == MSG_ANSWER(MSG_STRANGER))
		return ERR_FORMAT;
	return ERR_OK;
}

#define CODEC(name, table)                                                                         \
	void name##_write(struct buf *out, const struct name *m)                                   \
	{                                                                                          \
		fields_write(out, table, (const uint8_t *)m);                                      \
	}                                                                                          \
	enum err name##_read(struct name *m, struct reader *r)                                     \
	{                                                                                          \
		return fields_read(r, table, m);                                                   \
	}

CODEC(msg_hello, hello)
CODEC(msg_hello_answer, hello_answer)
CODEC(msg_config, config)
CODEC(msg_config_answer, config_answer)
CODEC(msg_decide, decide)
CODEC(msg_decide_answer, decide_answer)
CODEC(msg_issue, issue)
CODEC(msg_issue_answer, issue_answer)
CODEC(msg_append, append)
CODEC(msg_append_answer, append_answer)
static const struct field stranger[] = {STRING(msg_stranger, request, is_id),
	FLAG(msg_stranger, has_certificate), DIGEST(msg_stranger, sha256),
	STRING(msg_stranger, serial, is_hex), STRING(msg_stranger, peer, is_visible),
	BYTES(msg_stranger, subject, 0, SUBJECT_MAX, field_is_utf8), NUMBER(msg_stranger, left_out),
	FIELDS_END};
CODEC(msg_hold, hold)
CODEC(msg_stranger, stranger)
CODEC(msg_hold_answer, hold_answer)
CODEC(msg_read, read_question)
CODEC(msg_read_answer, read_answer)
CODEC(msg_state, state)
CODEC(msg_state_answer, state_answer)

void msg_issue_item_write(struct buf *out, const struct msg_issue_item *m)
{
	fields_write(out, issue_item, (const uint8_t *)m);
}
