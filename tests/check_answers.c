/* READ: lists by pages, one credential, heads, proofs and records. */
#include "settings.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger/answers.h"
#include "ledger/heads.h"
#include "ledger_bench.h"

#define CREDENTIALS 30

static struct bench b;
static struct sample s[CREDENTIALS];
static struct msg_read_answer a;
static struct msg_read m;
static struct buf text;
static char origin[] = "log.test";

/* 30 credentials; every third is of "edge-2", each expires 10 s after the one before it. */
static void set_up(void)
{
	bench_make(&b);
	b.sign = true;
	b.origin = origin;
	bench_open(&b);
	for (unsigned i = 0; i < CREDENTIALS; i++) {
		sample_make(&s[i], &b.issuer, i + 1);
		s[i].authorised.expiry = HELP_NOW + 1000 + 10 * i;
		if (i % 3 == 0)
			s[i].authorised.client = octets_text("edge-2");
		ck_assert_int_eq(bench_put(&b, &s[i].authorised), ERR_OK);
		ck_assert_int_eq(bench_put(&b, &s[i].issued), ERR_OK);
	}
	m = (struct msg_read){.kind = READ_LIVE};
}

static void tear_down(void)
{
	bench_stop(&b);
	for (unsigned i = 0; i < CREDENTIALS; i++)
		sample_free(&s[i]);
	bench_remove(&b);
	buf_free(&text);
}

/* The answer as it comes out of a message. */
static enum err ask(enum msg_read_kind kind)
{
	static struct buf out = BUF_INIT(MSG_MAX);
	struct reader r;

	m.kind = (uint8_t)kind;
	ck_assert_int_eq(answer_read(&b.ledger, &m, b.now, b.ms, &text, &a), ERR_OK);
	buf_reset(&out);
	msg_read_answer_write(&out, &a);
	ck_assert_int_eq(out.err, ERR_OK);
	reader_init(&r, out.octets, out.len);
	ck_assert_int_eq(msg_read_answer_read(&a, &r), ERR_OK);
	ck_assert_uint_eq(a.kind, kind);
	return a.err;
}

static bool has_id(const struct octets *o, const char *id)
{
	struct record r;

	ck_assert_int_eq(record_decode(&r, o->at, o->len), ERR_OK);
	return r.id.len == 32 && memcmp(r.id.at, id, 32) == 0;
}

/* ---- live ---- */

/* The last one never became a credential that lives, until it is put. */
static void counted_again_later(bool many)
{
	struct sample one;

	ck_assert_int_eq(b.ledger.live_dear_us, LIVE_DEAR_US);
	ck_assert_uint_eq(b.ledger.live_many, LIVE_MANY);
	ck_assert_int_eq(ask(READ_LIVE), ERR_OK);
	ck_assert_uint_eq(a.live, CREDENTIALS);
	sample_make(&one, &b.issuer, CREDENTIALS + 1);
	if (many)
		b.ledger.live_many = CREDENTIALS;
	else
		b.ledger.live_dear_us = 0;
	ck_assert_int_eq(ask(READ_LIVE), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &one.authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &one.issued), ERR_OK);
	b.ledger.live_dear_us = LIVE_DEAR_US;
	b.ledger.live_many = LIVE_MANY;
	ck_assert_int_eq(ask(READ_LIVE), ERR_OK);
	ck_assert_uint_eq(a.live, CREDENTIALS);
	strcpy(m.client, "edge-2"); /* another question */
	ck_assert_int_eq(ask(READ_LIVE), ERR_OK);
	ck_assert_uint_eq(a.live, CREDENTIALS / 3);
	m.client[0] = '\0';
	b.ms += 600000;
	ck_assert_int_eq(ask(READ_LIVE), ERR_OK);
	ck_assert_uint_eq(a.live, CREDENTIALS + 1);
	sample_free(&one);
}

START_TEST(what_takes_long_to_count_is_counted_again_later)
{
	counted_again_later(false);
}
END_TEST

START_TEST(what_is_many_is_counted_again_later)
{
	counted_again_later(true);
}
END_TEST

/* ---- credentials ---- */

START_TEST(pages_hold_each_credential_once_and_in_order)
{
	unsigned n = 0, pages = 0;

	m.limit = 7;
	do {
		ck_assert_int_eq(ask(READ_CREDENTIALS), ERR_OK);
		ck_assert_uint_le(a.released_count, 7);
		for (unsigned i = 0; i < a.released_count; i++, n++) {
			ck_assert(has_id(&a.released[i].authorised, s[n].id));
			ck_assert(has_id(&a.released[i].issued, s[n].id));
			ck_assert_uint_eq(a.released[i].idx, 2 * n + 1);
			ck_assert_str_eq(a.released[i].chain, "sign1/main");
		}
		m.after = a.next;
		pages++;
	} while (a.next);
	ck_assert_uint_eq(n, CREDENTIALS);
	ck_assert_uint_eq(pages, 5);
}
END_TEST

static const struct {
	const char *key, *client;
	int64_t live_at;
	unsigned count;
} filters[] = {
	{"", "", 0, 30},
	{"www", "", 0, 30},
	{"mail", "", 0, 0},
	{"", "edge-2", 0, 10},
	{"www", "edge", 0, 20},
	{"", "", HELP_NOW - 1, 0},
	{"", "", HELP_NOW, 30},
	{"", "", HELP_NOW + 1000, 29},
	{"", "", HELP_NOW + 1289, 1},
	{"", "", HELP_NOW + 1290, 0},
	{"", "edge-2", HELP_NOW + 1200, 3},
	{"", "", HELP_NOW + 30 * 86400, 0},
	{"", "", INT64_MAX, 0},
	{"", "", -1, 0},
	{"", "", INT64_MIN, 0},
};

START_TEST(filters_choose)
{
	strcpy(m.key, filters[_i].key);
	strcpy(m.client, filters[_i].client);
	m.live_at = filters[_i].live_at;
	ck_assert_int_eq(ask(READ_CREDENTIALS), ERR_OK);
	ck_assert_uint_eq(a.released_count, filters[_i].count);
	ck_assert_uint_eq(a.next, 0);
}
END_TEST

/* What expired long ago is not even looked at. */
START_TEST(a_search_for_the_living_skips_the_dead)
{
	struct store *st = b.ledger.store;
	int64_t number;

	ck_assert_int_eq(st->engine->credential_since(st, HELP_NOW, &number), ERR_OK);
	ck_assert_int_eq(number, 0);
	ck_assert_int_eq(st->engine->credential_since(st, HELP_NOW + 1, &number), ERR_OK);
	ck_assert_int_eq(number, CREDENTIALS);
}
END_TEST

START_TEST(one_credential_by_its_id)
{
	uint8_t leaf[SHA256_SIZE];

	strcpy(m.id, s[4].id);
	ck_assert_int_eq(ask(READ_CREDENTIAL), ERR_OK);
	ck_assert_uint_eq(a.released_count, 1);
	ck_assert(has_id(&a.released[0].issued, s[4].id));

	const char *json = bench_text(&b, 9);

	merkle_leaf(json, strlen(json), leaf);
	ck_assert_int_eq(memcmp(leaf, a.released[0].leaf_hash, SHA256_SIZE), 0);
	memset(m.id, 'e', 32);
	ck_assert_int_eq(ask(READ_CREDENTIAL), ERR_NOT_FOUND);
	ck_assert_uint_eq(a.released_count, 0);
	m.id[0] = '\0';
	ck_assert_int_eq(ask(READ_CREDENTIAL), ERR_NOT_FOUND);
}
END_TEST

/* ---- heads and proofs ---- */

static struct checkpoint head_of(void)
{
	struct checkpoint c;

	ck_assert_int_eq(checkpoint_verify(&c, (const char *)a.text.at, a.text.len,
				 b.ledger.signer.public_key),
		ERR_OK);
	ck_assert_uint_eq(c.size, a.to);
	return c;
}

static struct merkle_proof proof_of(void)
{
	struct merkle_proof p = {.count = a.proof_count};

	memcpy(p.hash, a.proof, p.count * SHA256_SIZE);
	return p;
}

START_TEST(the_head_covers_every_record)
{
	uint8_t key[CHECKPOINT_KEY];

	strcpy(m.chain, "sign1/main");
	ck_assert_int_eq(ask(READ_CHECKPOINT), ERR_OK);
	ck_assert_uint_eq(head_of().size, 2 * CREDENTIALS);
	ck_assert_int_eq(
		checkpoint_vkey_read(a.verifier_key, strlen(a.verifier_key), NULL, key), ERR_OK);
	ck_assert_int_eq(memcmp(key, b.ledger.signer.public_key, sizeof(key)), 0);
	/* asked again, nothing is signed */
	ck_assert_int_eq(ask(READ_CHECKPOINT), ERR_OK);
	ck_assert_int_eq(bench_size(&b), 2 * CREDENTIALS + 1);
	strcpy(m.chain, "sign1/none");
	ck_assert_int_eq(ask(READ_CHECKPOINT), ERR_NOT_FOUND);
}
END_TEST

START_TEST(every_credential_is_proved_under_the_head)
{
	for (unsigned i = 0; i < CREDENTIALS; i++) {
		strcpy(m.id, s[i].id);
		ck_assert_int_eq(ask(READ_PROOF), ERR_OK);

		struct merkle_proof p = proof_of();
		struct checkpoint c = head_of();

		ck_assert(merkle_included(
			&p, a.released[0].idx, c.size, a.released[0].leaf_hash, c.root));
	}
	memset(m.id, 'e', 32);
	ck_assert_int_eq(ask(READ_PROOF), ERR_NOT_FOUND);
}
END_TEST

START_TEST(heads_are_consistent)
{
	struct checkpoint first, second;
	struct merkle_proof p;

	strcpy(m.chain, "sign1/main");
	ck_assert_int_eq(ask(READ_CHECKPOINT), ERR_OK);
	first = head_of();
	ck_assert_int_eq(bench_put(&b, &s[0].refused), ERR_OK);
	m.from = first.size;
	ck_assert_int_eq(ask(READ_CONSISTENCY), ERR_OK);
	second = head_of();
	ck_assert_uint_eq(second.size, first.size + 2);
	p = proof_of();
	ck_assert(merkle_consistent(&p, first.size, second.size, first.root, second.root));
	m.to = second.size - 1;
	ck_assert_int_eq(ask(READ_CONSISTENCY), ERR_OK);
	ck_assert_uint_eq(a.to, second.size - 1);
	ck_assert_uint_eq(a.text.len, 0);
	m.to = 1000;
	ck_assert_int_eq(ask(READ_CONSISTENCY), ERR_NOT_FOUND);
	m.to = 5;
	m.from = 6;
	ck_assert_int_eq(ask(READ_CONSISTENCY), ERR_NOT_FOUND);
	m.from = 0;
	ck_assert_int_eq(ask(READ_CONSISTENCY), ERR_NOT_FOUND);
	m.from = 1;
	m.to = UINT64_MAX;
	ck_assert_int_eq(ask(READ_CONSISTENCY), ERR_NOT_FOUND);
}
END_TEST

/* Without a key, and on a full disk, there is no head. */
START_TEST(no_head_can_be_had)
{
	b.ledger.signer.ready = false;
	strcpy(m.chain, "sign1/main");
	ck_assert_int_eq(ask(READ_CHECKPOINT), ERR_LEDGER_UNAVAILABLE);
	strcpy(m.id, s[1].id);
	ck_assert_int_eq(ask(READ_PROOF), ERR_LEDGER_UNAVAILABLE);
	ck_assert_uint_eq(a.released_count, 0);
}
END_TEST

/* ---- records ---- */

START_TEST(the_stream_is_every_record_cut_anywhere)
{
	struct buf all = BUF_INIT(8 << 20), want = BUF_INIT(8 << 20);
	char *pad = malloc(250001);
	unsigned cut = 0;

	memset(pad, 'x', 250000);
	pad[250000] = '\0';
	for (int i = 0; i < 4; i++) {
		struct record r = s[0].refused;

		r.detail = octets_text(pad);
		b.ms += 2000;
		ck_assert_int_eq(bench_put(&b, &r), ERR_OK);
	}
	strcpy(m.chain, "sign1/main");
	m.from = 3;
	for (int64_t i = 3; i < bench_size(&b); i++)
		buf_printf(&want, "%s\n", bench_text(&b, i));
	do {
		ck_assert_int_eq(ask(READ_RECORDS), ERR_OK);
		buf_put(&all, a.text.at, a.text.len);
		m.from = a.next;
		m.offset = a.next_offset;
		cut += m.offset != 0;
	} while (a.text.len);
	ck_assert_uint_ge(cut, 2);
	ck_assert_uint_eq(all.len, want.len);
	ck_assert_int_eq(memcmp(all.octets, want.octets, all.len), 0);
	m.from = (uint64_t)bench_size(&b) + 1;
	ck_assert_int_eq(ask(READ_RECORDS), ERR_NOT_FOUND);
	m.from = 3;
	m.offset = 1000000;
	ck_assert_int_eq(ask(READ_RECORDS), ERR_NOT_FOUND);
	strcpy(m.chain, "sign1/none");
	ck_assert_int_eq(ask(READ_RECORDS), ERR_NOT_FOUND);
	free(pad);
	buf_free(&all);
	buf_free(&want);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {what_takes_long_to_count_is_counted_again_later,
		what_is_many_is_counted_again_later, pages_hold_each_credential_once_and_in_order,
		a_search_for_the_living_skips_the_dead, one_credential_by_its_id,
		the_head_covers_every_record, every_credential_is_proved_under_the_head,
		heads_are_consistent, no_head_can_be_had, the_stream_is_every_record_cut_anywhere};
	Suite *suite = suite_create("answers");
	TCase *tc = tcase_create("answers");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	tcase_add_loop_test(tc, filters_choose, 0, (int)(sizeof(filters) / sizeof(filters[0])));
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
