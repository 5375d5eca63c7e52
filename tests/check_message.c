#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "message.h"

/* Every message with every member set: filled in by make_*, compared by *_same. */
typedef void (*writer)(struct buf *out, const void *m);
typedef enum err (*reader_of)(void *m, struct reader *r);

#define MESSAGES(X)                                                                                \
	X(msg_hello)                                                                               \
	X(msg_hello_answer)                                                                        \
	X(msg_config)                                                                              \
	X(msg_config_answer)                                                                       \
	X(msg_issue)                                                                               \
	X(msg_issue_answer)                                                                        \
	X(msg_append)                                                                              \
	X(msg_append_answer)                                                                       \
	X(msg_read)                                                                                \
	X(msg_read_answer)                                                                         \
	X(msg_state)                                                                               \
	X(msg_state_answer)                                                                        \
	X(msg_hold)                                                                                \
	X(msg_hold_answer)                                                                         \
	X(msg_stranger)                                                                            \
	X(msg_decide)                                                                              \
	X(msg_decide_answer)

#define GLUE(name)                                                                                 \
	static void write_##name(struct buf *out, const void *m)                                   \
	{                                                                                          \
		name##_write(out, m);                                                              \
	}                                                                                          \
	static enum err read_##name(void *m, struct reader *r)                                     \
	{                                                                                          \
		return name##_read(m, r);                                                          \
	}
MESSAGES(GLUE)

#define OCTETS(text)                                                                               \
	(struct octets)                                                                            \
	{                                                                                          \
		(const uint8_t *)(text), sizeof(text) - 1                                          \
	}
#define ID "00112233445566778899aabbccddeeff"

static void fill_hello(struct msg_hello *m)
{
	m->role = ROLE_HSM;
	strcpy(m->name, "main");
}

static void fill_hello_answer(struct msg_hello_answer *m)
{
	m->err = ERR_CLOCK;
	strcpy(m->chain, "sign1/main#2");
	m->size = 0x0102030405060708;
	m->last_time = -5;
	memset(m->root, 0xa1, sizeof m->root);
}

static void fill_config(struct msg_config *m)
{
	m->count = MSG_FDS;
	for (unsigned i = 0; i < MSG_FDS; i++)
		snprintf(m->label[i], LABEL_SIZE, "label%u", i);
}

static void fill_config_answer(struct msg_config_answer *m)
{
	m->err = ERR_CERT_CHAIN;
	strcpy(m->text, "www.pem: \xc3\xa4 does not verify");
}

static void fill_issue_item(struct msg_issue_item *i)
{
	strcpy(i->key, "www");
	i->role = 1;
	i->algorithm = 0x0403;
	i->proof = PROOF_CSR;
	i->spki = OCTETS("\x30\x03spki");
	i->term = 2;
	i->term_value = 1700000000;
	i->has_not_before = 1;
	i->not_before = 1690000000;
	i->reference = OCTETS("ticket \xe2\x82\xac");
	strcpy(i->idempotency, "a~!#");
}

static void fill_issue(struct msg_issue *m)
{
	strcpy(m->request, ID);
	strcpy(m->client, "edge-fra");
	memset(m->client_sha256, 1, sizeof m->client_sha256);
	memset(m->client_spki_sha256, 2, sizeof m->client_spki_sha256);
	strcpy(m->client_serial, "0a1b");
	strcpy(m->peer, "[2001:db8::1]:40000");
	m->deadline_ms = 3000;
	m->dry_run = 1;
	m->count = 2;
	fill_issue_item(&m->item[0]);
	fill_issue_item(&m->item[1]);
	m->item[1].term = m->item[1].has_not_before = 0;
	m->item[1].term_value = m->item[1].not_before = 0;
	m->item[1].reference = OCTETS("");
	m->item[1].idempotency[0] = '\0';
}

static void fill_refusal(struct refusal *r, enum err e)
{
	r->err = e;
	strcpy(r->field, "lifetime");
	strcpy(r->detail, "at most 24 h");
	r->retry_after = 7;
}

static void fill_issue_answer(struct msg_issue_answer *m)
{
	struct msg_grant *g = &m->grant[0];

	strcpy(m->request, ID);
	m->count = 2;
	strcpy(g->id, ID);
	g->role = 1;
	g->scheme = 0x0403;
	g->algorithm = 0x0804;
	g->dc = OCTETS("credential");
	g->not_before = 1;
	g->not_after = 2;
	g->valid_time = 3;
	memset(g->spki_sha256, 4, SHA256_SIZE);
	memset(g->certificate_sha256, 5, SHA256_SIZE);
	g->flags = GRANT_REPLAYED | GRANT_DRY_RUN;
	strcpy(g->chain, "sign1/main");
	g->idx = 6;
	memset(g->leaf_hash, 7, SHA256_SIZE);
	fill_refusal(&m->grant[1].refusal, ERR_LIFETIME_LONG);
}

static void fill_append(struct msg_append *m)
{
	m->count = 2;
	m->item[0] = (struct msg_append_item){OCTETS("record"), 100000, 100, 0};
	m->item[1] = (struct msg_append_item){OCTETS("r"), 0, UINT64_MAX, 1};
}

static void fill_append_answer(struct msg_append_answer *m)
{
	m->count = 2;
	m->item[0].idx = 9;
	memset(m->item[0].leaf_hash, 9, SHA256_SIZE);
	m->item[0].shared = 1;
	m->item[0].replay_authorised = OCTETS("authorised");
	m->item[0].replay_issued = OCTETS("issued");
	fill_refusal(&m->item[1].refusal, ERR_HELD);
}

static void fill_read(struct msg_read *m)
{
	m->kind = READ_LIVE;
	strcpy(m->key, "www");
	strcpy(m->client, "edge-fra");
	memset(m->id, 'b', ID_SIZE - 1);
	strcpy(m->chain, "sign1/main");
	m->live_at = 1800000000;
	m->after = 7;
	m->limit = READ_PAGE;
	m->from = 1;
	m->to = 2;
	m->offset = 3;
}

static void fill_read_answer(struct msg_read_answer *m)
{
	m->err = ERR_OK;
	m->kind = READ_HEADS;
	m->live = 1;
	m->latest_expiry = 2;
	m->octets = 3;
	m->count = 8;
	for (unsigned i = 0; i < 8; i++) {
		strcpy(m->head[i].chain, "sign1/main");
		m->head[i].size = i;
		m->head[i].last_time = 5;
		memset(m->head[i].root, (int)i, SHA256_SIZE);
	}
	m->held_count = 2;
	for (unsigned i = 0; i < 2; i++) {
		strcpy(m->held[i].key, i % 2 ? "www" : "");
		strcpy(m->held[i].client, "edge-fra");
		strcpy(m->held[i].reason, "ticket 1007");
	}
	m->released_count = 1;
	strcpy(m->released[0].chain, "sign1/main");
	m->released[0].idx = 4;
	memset(m->released[0].leaf_hash, 5, SHA256_SIZE);
	m->released[0].authorised = OCTETS("authorised");
	m->released[0].issued = OCTETS("issued");
	m->next = 6;
	m->next_offset = 7;
	m->text = OCTETS("note");
	strcpy(m->verifier_key, "a+b+c");
	m->to = 8;
	m->proof_count = 2;
	memset(m->proof[1].octets, 9, SHA256_SIZE);
}

static void fill_state(struct msg_state *m)
{
	m->from = 128;
}

static void fill_state_answer(struct msg_state_answer *m)
{
	m->token_ok = 1;
	strcpy(m->token_detail, "token dcsign, serial 1234");
	memset(m->generation, 3, SHA256_SIZE);
	for (unsigned i = 0; i < COUNTER_COUNT; i++)
		m->counter[i] = i + 1;
	m->span_count = SPAN_COUNT;
	for (unsigned i = 0; i < SPAN_COUNT; i++) {
		m->span[i].sum_us = UINT64_MAX - i;
		for (unsigned j = 0; j < MSG_BUCKETS; j++)
			m->span[i].bucket[j] = i * 100 + j;
	}
	m->total = 200;
	m->from = 72;
	m->count = STATE_KEYS;
	for (unsigned i = 0; i < STATE_KEYS; i++) {
		struct msg_state_key *k = &m->key[i];

		snprintf(k->name, sizeof k->name, "key-%u", i);
		k->err = ERR_KEY_MISSING;
		strcpy(k->detail, "none");
		strcpy(k->weak, "modifiable");
		memset(k->certificate_sha256, 1, SHA256_SIZE);
		k->certificate_not_after = 9;
		k->algorithm = 0x0403;
	}
}

static void fill_hold(struct msg_hold *m)
{
	memset(m->request, 'a', ID_SIZE - 1);
	strcpy(m->by, "security");
	memset(m->by_sha256, 4, SHA256_SIZE);
	strcpy(m->by_serial, "0b");
	strcpy(m->peer, "192.0.2.9:40002");
	strcpy(m->key, "www");
	strcpy(m->client, "edge-fra");
	m->reason = OCTETS("ticket 1007");
}

static void fill_hold_answer(struct msg_hold_answer *m)
{
	fill_refusal(&m->refusal, ERR_NO_RIGHT);
	m->live = 12;
	m->latest_expiry = 1800003600;
}

static void fill_stranger(struct msg_stranger *m)
{
	memset(m->request, 'a', ID_SIZE - 1);
	m->has_certificate = 1;
	memset(m->sha256, 7, SHA256_SIZE);
	strcpy(m->serial, "0c");
	strcpy(m->peer, "192.0.2.9:40003");
	m->subject = OCTETS("CN=nobody");
	m->left_out = 9;
}

static void fill_decide(struct msg_decide *m)
{
	m->what = DECIDE_SUCCEED;
	strcpy(m->name, "sign1/main#2");
	m->uid = 1000;
	strcpy(m->reason, "the replica was lost");
}

static void fill_decide_answer(struct msg_decide_answer *m)
{
	m->err = ERR_CLOCK;
	strcpy(m->text, "the clock is trusted");
}

struct sample {
	const char *name;
	size_t size;
	writer write;
	reader_of read;
	void *m;
};
#define SAMPLE(message) {#message, sizeof(struct message), write_##message, read_##message, NULL},
static struct sample samples[] = {MESSAGES(SAMPLE)};
#define SAMPLES (sizeof samples / sizeof samples[0])

static void setup(void)
{
	for (size_t i = 0; i < SAMPLES; i++)
		ck_assert_ptr_nonnull(samples[i].m = calloc(1, samples[i].size));
	fill_hello(samples[0].m);
	fill_hello_answer(samples[1].m);
	fill_config(samples[2].m);
	fill_config_answer(samples[3].m);
	fill_issue(samples[4].m);
	fill_issue_answer(samples[5].m);
	fill_append(samples[6].m);
	fill_append_answer(samples[7].m);
	fill_read(samples[8].m);
	fill_read_answer(samples[9].m);
	fill_state(samples[10].m);
	fill_state_answer(samples[11].m);
	fill_hold(samples[12].m);
	fill_hold_answer(samples[13].m);
	fill_stranger(samples[14].m);
	fill_decide(samples[15].m);
	fill_decide_answer(samples[16].m);
}

static void teardown(void)
{
	for (size_t i = 0; i < SAMPLES; i++)
		free(samples[i].m);
}

static struct buf encode(const struct sample *s, const void *m)
{
	struct buf out = BUF_INIT(MSG_MAX);

	s->write(&out, m);
	ck_assert_msg(out.err == ERR_OK, "%s", s->name);
	return out;
}

/* A copy of exactly this size, so that the sanitizer sees a read past the end. */
static enum err decode(const struct sample *s, void *m, const uint8_t *octets, size_t len)
{
	uint8_t *exact = malloc(len > 0 ? len : 1);
	struct reader r;
	enum err e;

	ck_assert_ptr_nonnull(exact);
	memcpy(exact, octets, len);
	reader_init(&r, exact, len);
	e = s->read(m, &r);
	free(exact);
	return e;
}

/* The members that borrow would point into freed memory: only the encodings are compared. */
START_TEST(round_trip)
{
	const struct sample *s = &samples[_i];
	struct buf first = encode(s, s->m);
	struct reader r;
	void *back = calloc(1, s->size);

	ck_assert_ptr_nonnull(back);
	reader_init(&r, first.octets, first.len);
	ck_assert_int_eq(s->read(back, &r), ERR_OK);

	struct buf second = encode(s, back);
	ck_assert_uint_eq(first.len, second.len);
	ck_assert_mem_eq(first.octets, second.octets, first.len);
	buf_free(&first);
	buf_free(&second);
	free(back);
}
END_TEST

/* Of members without pointers the whole structure comes back. */
START_TEST(same_members)
{
	static const size_t plain[] = {0, 1, 2, 3, 8, 10, 11, 13};

	for (size_t i = 0; i < sizeof plain / sizeof plain[0]; i++) {
		const struct sample *s = &samples[plain[i]];
		struct buf out = encode(s, s->m);
		void *back = calloc(1, s->size);

		ck_assert_ptr_nonnull(back);
		ck_assert_int_eq(decode(s, back, out.octets, out.len), ERR_OK);
		ck_assert_msg(memcmp(back, s->m, s->size) == 0, "%s", s->name);
		buf_free(&out);
		free(back);
	}
}
END_TEST

START_TEST(every_truncation)
{
	const struct sample *s = &samples[_i];
	struct buf out = encode(s, s->m);
	void *back = calloc(1, s->size);

	ck_assert_ptr_nonnull(back);
	for (size_t len = 0; len < out.len; len++)
		ck_assert_msg(decode(s, back, out.octets, len) == ERR_FORMAT, "%s cut at %zu",
			s->name, len);
	buf_u8(&out, 0);
	ck_assert_int_eq(decode(s, back, out.octets, out.len), ERR_FORMAT);
	buf_free(&out);
	free(back);
}
END_TEST

/* Whatever a damaged octet makes of a message: refused, or the same octets again. */
START_TEST(every_damage)
{
	const struct sample *s = &samples[_i];
	struct buf out = encode(s, s->m);
	void *back = calloc(1, s->size);

	ck_assert_ptr_nonnull(back);
	for (size_t at = 0; at < out.len && at < 2000; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct reader r;

			out.octets[at] ^= (uint8_t)(1u << bit);
			reader_init(&r, out.octets, out.len);
			if (s->read(back, &r) == ERR_OK) {
				struct buf again = encode(s, back);

				ck_assert_uint_eq(again.len, out.len);
				ck_assert_mem_eq(again.octets, out.octets, out.len);
				buf_free(&again);
			}
			out.octets[at] ^= (uint8_t)(1u << bit);
		}
	}
	buf_free(&out);
	free(back);
}
END_TEST

START_TEST(issue_members)
{
	const struct sample *s = &samples[4];
	struct msg_issue *m = s->m, *back = calloc(1, sizeof *back);
	struct buf out = encode(s, m);
	struct reader r;

	ck_assert_ptr_nonnull(back);
	memset(back, 0xee, sizeof *back);
	reader_init(&r, out.octets, out.len);
	ck_assert_int_eq(msg_issue_read(back, &r), ERR_OK);
	ck_assert_str_eq(back->request, ID);
	ck_assert_str_eq(back->client, "edge-fra");
	ck_assert_str_eq(back->client_serial, "0a1b");
	ck_assert_str_eq(back->peer, "[2001:db8::1]:40000");
	ck_assert_uint_eq(back->deadline_ms, 3000);
	ck_assert_uint_eq(back->dry_run, 1);
	ck_assert_uint_eq(back->count, 2);
	ck_assert_str_eq(back->item[0].key, "www");
	ck_assert_uint_eq(back->item[0].algorithm, 0x0403);
	ck_assert_uint_eq(back->item[0].proof, PROOF_CSR);
	ck_assert_uint_eq(back->item[0].spki.len, 6);
	ck_assert_int_eq(back->item[0].term_value, 1700000000);
	ck_assert_int_eq(back->item[0].not_before, 1690000000);
	ck_assert_str_eq(back->item[0].idempotency, "a~!#");
	ck_assert_int_eq(back->item[1].term_value, 0);
	ck_assert_int_eq(back->item[1].not_before, 0);
	/* What no item fills stays untouched. */
	ck_assert_uint_eq(back->item[2].role, 0xee);
	buf_free(&out);
	free(back);
}
END_TEST

static enum err issue_after(void (*change)(struct msg_issue *))
{
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_issue *m = calloc(1, sizeof *m);
	enum err e;

	ck_assert_ptr_nonnull(m);
	fill_issue(m);
	change(m);
	msg_issue_write(&out, m);
	e = out.err;
	buf_free(&out);
	free(m);
	return e;
}

#define CHANGE(name, statement)                                                                    \
	static void name(struct msg_issue *m)                                                      \
	{                                                                                          \
		statement;                                                                         \
	}
CHANGE(nothing_changed, (void)m)
CHANGE(no_items, m->count = 0)
CHANGE(too_many_items, m->count = MSG_ITEMS + 1)
CHANGE(bad_role, m->item[0].role = 2)
CHANGE(bad_proof, m->item[0].proof = 2)
CHANGE(bad_term, m->item[0].term = 3)
CHANGE(bad_key, strcpy(m->item[0].key, "WWW"))
CHANGE(no_key, m->item[0].key[0] = '\0')
CHANGE(no_spki, m->item[0].spki.len = 0)
CHANGE(long_spki, m->item[0].spki.len = 8193)
CHANGE(bad_reference, m->item[0].reference = OCTETS("\xff"))
CHANGE(bad_idempotency, strcpy(m->item[0].idempotency, "a b"))
CHANGE(bad_request, strcpy(m->request, "0011"))
CHANGE(upper_request, m->request[31] = 'F')
CHANGE(bad_serial, strcpy(m->client_serial, "0x1"))
CHANGE(bad_peer, strcpy(m->peer, "a\nb"))
CHANGE(open_text, memset(m->peer, 'a', sizeof m->peer))

START_TEST(writers_hold_the_limits)
{
	static void (*const bad[])(struct msg_issue *) = {no_items, too_many_items, bad_role,
		bad_proof, bad_term, bad_key, no_key, no_spki, long_spki, bad_reference,
		bad_idempotency, bad_request, upper_request, bad_serial, bad_peer, open_text};

	ck_assert_int_eq(issue_after(nothing_changed), ERR_OK);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		ck_assert_msg(issue_after(bad[i]) == ERR_FORMAT, "change %zu", i);
}
END_TEST

/* One item more than there is room for, although what lies behind the structure would do. */
START_TEST(writers_stay_inside)
{
	struct msg_read_answer *m = calloc(2, sizeof *m);
	struct buf out = BUF_INIT(MSG_MAX);

	ck_assert_ptr_nonnull(m);
	m->kind = READ_HEADS;
	m->count = 64;
	msg_read_answer_write(&out, m);
	ck_assert_int_eq(out.err, ERR_OK);
	m->count = 65;
	msg_read_answer_write(&out, m);
	ck_assert_int_eq(out.err, ERR_FORMAT);
	buf_free(&out);
	free(m);
}
END_TEST

/* A label from a token may be anything: it must not end the process that shows it. */
START_TEST(text_that_is_not_utf8)
{
	struct msg_config_answer m = {.err = ERR_TOKEN, .text = "a\xff\xfe z"}, back;
	struct buf out = BUF_INIT(MSG_MAX);
	struct reader r;

	msg_config_answer_write(&out, &m);
	ck_assert_int_eq(out.err, ERR_OK);
	reader_init(&r, out.octets, out.len);
	ck_assert_int_eq(msg_config_answer_read(&back, &r), ERR_OK);
	ck_assert_str_eq(back.text, "a?? z");
	buf_free(&out);
}
END_TEST

START_TEST(head)
{
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_head h;
	struct reader r;

	msg_begin(&out, MSG_ANSWER(MSG_ISSUE), 0x1122334455667788);
	buf_u8(&out, 42);
	ck_assert_int_eq(msg_open(&h, &r, out.octets, out.len), ERR_OK);
	ck_assert_uint_eq(h.type, 7);
	ck_assert_uint_eq(h.serial, 0x1122334455667788);
	ck_assert_uint_eq(r.left, 1);
	for (size_t len = 0; len < out.len - 1; len++)
		ck_assert_int_eq(msg_open(&h, &r, out.octets, len), ERR_FORMAT);

	static const uint16_t types[] = {0, 1, 19, 22, 0xffff};
	for (size_t i = 0; i < 5; i++) {
		buf_reset(&out);
		msg_begin(&out, types[i], 1);
		ck_assert_int_eq(msg_open(&h, &r, out.octets, out.len), ERR_FORMAT);
	}
	out.octets[1] ^= 1; /* another protocol */
	out.octets[3] = 2;
	out.octets[2] = 0;
	ck_assert_int_eq(msg_open(&h, &r, out.octets, out.len), ERR_FORMAT);
	out.octets[1] ^= 1;
	ck_assert_int_eq(msg_open(&h, &r, out.octets, out.len), ERR_OK);
	buf_free(&out);
}
END_TEST

/* The full batch fits one message. */
START_TEST(batch_fits)
{
	struct msg_append *m = calloc(1, sizeof *m);
	struct buf out = BUF_INIT(MSG_MAX);

	ck_assert_ptr_nonnull(m);
	m->count = MSG_ITEMS;
	for (unsigned i = 0; i < MSG_ITEMS; i++)
		m->item[i] = (struct msg_append_item){OCTETS("record"), 1, 2, 0};
	msg_append_write(&out, m);
	ck_assert_int_eq(out.err, ERR_OK);
	buf_free(&out);
	free(m);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("message");
	TCase *t = tcase_create("message");
	SRunner *runner = srunner_create(s);
	int failed;

	suite_add_tcase(s, t);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, round_trip, 0, (int)SAMPLES);
	tcase_add_test(t, same_members);
	tcase_add_loop_test(t, every_truncation, 0, (int)SAMPLES);
	tcase_add_loop_test(t, every_damage, 0, (int)SAMPLES);
	tcase_add_test(t, issue_members);
	tcase_add_test(t, writers_hold_the_limits);
	tcase_add_test(t, writers_stay_inside);
	tcase_add_test(t, text_that_is_not_utf8);
	tcase_add_test(t, head);
	tcase_add_test(t, batch_fits);
	srunner_run_all(runner, CK_ENV);
	failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? 0 : 1;
}
