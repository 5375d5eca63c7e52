/* HOLD and RELEASE: who may, what they stop, what they write, what they answer. */
#include "settings.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger/answers.h"
#include "ledger/holds.h"
#include "ledger_bench.h"

static struct bench b;
static struct sample s[4];
static struct msg_hold_answer a;

static void set_up(void)
{
	bench_make(&b);
	bench_open(&b);
	for (unsigned i = 0; i < 4; i++)
		sample_make(&s[i], &b.issuer, i + 1);
}

static void tear_down(void)
{
	bench_stop(&b);
	for (unsigned i = 0; i < 4; i++)
		sample_free(&s[i]);
	bench_remove(&b);
}

static enum err ask(enum record_type type, const char *by, const char *key, const char *client)
{
	struct msg_hold m = {.reason = octets_text("ticket 7"), .by_serial = "0b", .peer = "unix"};

	memset(m.request, 'a', ID_SIZE - 1);
	strcpy(m.by, by);
	strcpy(m.key, key);
	strcpy(m.client, client);
	ck_assert_int_eq(hold_take(&b.ledger, type, &m, b.now, b.ms, &a), ERR_OK);
	return a.refusal.err;
}

static struct msg_read_answer *holds_read(void)
{
	static struct msg_read_answer answer;
	struct msg_read m = {.kind = READ_HOLDS};

	ck_assert_int_eq(answer_read(&b.ledger, &m, b.now, b.ms, &b.text, &answer), ERR_OK);
	return &answer;
}

/* key, client of the hold; whether it stops www for edge */
static const struct {
	const char *key, *client;
	bool stops;
} holds[] = {
	{"www", "", true},
	{"", "edge", true},
	{"www", "edge", true},
	{"", "watch", false},
	{"www", "watch", false},
};

START_TEST(a_hold_stops_what_it_names_until_its_release)
{
	const char *key = holds[_i].key, *client = holds[_i].client;

	ck_assert_int_eq(ask(RECORD_HELD, "security", key, client), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), holds[_i].stops ? ERR_HELD : ERR_OK);
	if (holds[_i].stops)
		ck_assert_ptr_nonnull(strstr(b.item[0].answer.refusal.detail, "ticket 7"));
	bench_reopen(&b);
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), holds[_i].stops ? ERR_HELD : ERR_OK);
	ck_assert_int_eq(ask(RECORD_RELEASED, "security", key, client), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[2].authorised), ERR_OK);
	ck_assert_uint_eq(holds_read()->held_count, 0);
}
END_TEST

/* What was authorised before may still come out, and is counted. */
START_TEST(the_answer_says_what_lives_on)
{
	s[0].authorised.expiry = HELP_NOW + 100;
	s[1].authorised.expiry = HELP_NOW + 200;
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[2].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[2].failed), ERR_OK);
	ck_assert_int_eq(ask(RECORD_HELD, "security", "www", ""), ERR_OK);
	ck_assert_uint_eq(a.live, 2);
	ck_assert_int_eq(a.latest_expiry, HELP_NOW + 200);
	ck_assert_int_eq(bench_put(&b, &s[1].issued), ERR_OK);
	b.now = HELP_NOW + 100;
	ck_assert_int_eq(ask(RECORD_RELEASED, "security", "www", ""), ERR_OK);
	ck_assert_uint_eq(a.live, 1);
	ck_assert_int_eq(ask(RECORD_HELD, "security", "", "watch"), ERR_OK);
	ck_assert_uint_eq(a.live, 0);
	ck_assert_int_eq(a.latest_expiry, 0);
}
END_TEST

/* In every chain of the node, those of tokens that never wrote too, and nowhere else. */
START_TEST(every_chain_of_the_node_has_the_record)
{
	struct chain *other = ledger_chain(&b.ledger, "other");
	struct chain *foreign = ledger_chain(&b.ledger, "foreign");
	int64_t size = bench_size(&b);

	strcpy(foreign->stored.chain, "sign12/main");
	ck_assert_int_eq(ask(RECORD_HELD, "security", "www", ""), ERR_OK);
	ck_assert_int_eq(bench_size(&b), size + 1);
	ck_assert_uint_eq(other->stored.tree.size, 1);
	ck_assert_uint_eq(foreign->stored.tree.size, 0);
	ck_assert_ptr_nonnull(strstr(bench_text(&b, size), "\"by\":\"security\""));
	ck_assert_ptr_nonnull(strstr(bench_text(&b, size), "\"live\":0,\"peer\":\"unix\","
							   "\"reason\":\"ticket 7\""));
	b.chain = other;
	ck_assert_ptr_nonnull(strstr(bench_text(&b, 0), "\"type\":\"HELD\""));
}
END_TEST

static const struct {
	enum record_type type;
	const char *by, *key, *client;
	enum err err;
} refused[] = {
	{RECORD_HELD, "edge", "www", "", ERR_NO_RIGHT},
	{RECORD_HELD, "nobody", "www", "", ERR_NO_RIGHT},
	{RECORD_RELEASED, "watch", "www", "", ERR_NO_RIGHT},
	{RECORD_HELD, "security", "", "", ERR_MALFORMED},
	{RECORD_HELD, "security", "mail", "", ERR_NO_KEY},
	{RECORD_HELD, "security", "", "nobody", ERR_NOT_FOUND},
	{RECORD_HELD, "security", "www", "nobody", ERR_NOT_FOUND},
	{RECORD_RELEASED, "security", "www", "edge", ERR_NOT_FOUND},
	{RECORD_RELEASED, "security", "", "edge", ERR_NOT_FOUND},
};

START_TEST(a_refused_one_leaves_no_trace)
{
	int64_t size;

	ck_assert_int_eq(ask(RECORD_HELD, "watch", "www", ""), ERR_OK);
	size = bench_size(&b);
	ck_assert_int_eq(ask(refused[_i].type, refused[_i].by, refused[_i].key, refused[_i].client),
		refused[_i].err);
	ck_assert_int_eq(bench_size(&b), size);
	ck_assert_uint_eq(holds_read()->held_count, 1);
}
END_TEST

START_TEST(a_second_hold_replaces_the_reason)
{
	struct msg_hold m = {.by = "watch", .client = "edge", .reason = octets_text("later")};

	memset(m.request, 'a', ID_SIZE - 1);
	strcpy(m.by_serial, "0b");
	strcpy(m.peer, "unix");
	ck_assert_int_eq(ask(RECORD_HELD, "security", "www", "edge"), ERR_OK);
	ck_assert_int_eq(ask(RECORD_HELD, "security", "", "edge"), ERR_OK);
	ck_assert_int_eq(hold_take(&b.ledger, RECORD_HELD, &m, b.now, b.ms, &a), ERR_OK);
	ck_assert_int_eq(a.refusal.err, ERR_OK);

	struct msg_read_answer *read = holds_read();

	ck_assert_uint_eq(read->held_count, 2);
	ck_assert_str_eq(read->held[0].key, "");
	ck_assert_str_eq(read->held[0].client, "edge");
	ck_assert_str_eq(read->held[0].reason, "later");
	ck_assert_str_eq(read->held[1].key, "www");
	ck_assert_str_eq(read->held[1].reason, "ticket 7");
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("holds");
	TCase *tc = tcase_create("holds");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_loop_test(tc, a_hold_stops_what_it_names_until_its_release, 0,
		(int)(sizeof(holds) / sizeof(holds[0])));
	tcase_add_test(tc, the_answer_says_what_lives_on);
	tcase_add_test(tc, every_chain_of_the_node_has_the_record);
	tcase_add_loop_test(
		tc, a_refused_one_leaves_no_trace, 0, (int)(sizeof(refused) / sizeof(refused[0])));
	tcase_add_test(tc, a_second_hold_replaces_the_reason);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_NORMAL);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
