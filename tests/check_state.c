/* The rules of the conditional records, each through a real group commit. */
#include "settings.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger_bench.h"

static struct bench b;
static struct sample s[8];

static void set_up(void)
{
	bench_make(&b);
	bench_open(&b);
	for (unsigned i = 0; i < 8; i++)
		sample_make(&s[i], &b.issuer, i + 1);
}

static void tear_down(void)
{
	bench_stop(&b);
	for (unsigned i = 0; i < 8; i++)
		sample_free(&s[i]);
	bench_remove(&b);
}

static bool says(int64_t idx, const char *what)
{
	return strstr(bench_text(&b, idx), what) != NULL;
}

static struct record hold_of(enum record_type type, const char *key, const char *client)
{
	struct record r;

	record_init(&r, type);
	r.time = HELP_NOW;
	r.key = octets_text(key);
	r.client = octets_text(client);
	r.reason = octets_text("ticket 7");
	return r;
}

static void idempotent(struct sample *a, const char *name, uint8_t request)
{
	memset(a->request_sha256, request, SHA256_SIZE);
	a->authorised.idempotency = octets_text(name);
	a->authorised.request_sha256 = octets_of(a->request_sha256, SHA256_SIZE);
}

/* key, client of the hold; whether it stops www for edge */
static const struct {
	const char *key, *client;
	bool stops;
} holds[] = {
	{"www", NULL, true},
	{NULL, "edge", true},
	{"www", "edge", true},
	{"mail", NULL, false},
	{NULL, "other", false},
	{"www", "other", false},
	{"mail", "edge", false},
};

START_TEST(a_hold_stops_what_it_names)
{
	struct record held = hold_of(RECORD_HELD, holds[_i].key, holds[_i].client);
	struct record released = hold_of(RECORD_RELEASED, holds[_i].key, holds[_i].client);

	ck_assert_int_eq(bench_own(&b, &held), ERR_OK);
	bench_reopen(&b);

	int64_t before = bench_size(&b);

	ck_assert_int_eq(bench_put(&b, &s[0].authorised), holds[_i].stops ? ERR_HELD : ERR_OK);
	if (holds[_i].stops) {
		ck_assert(says(before, "\"reason\":\"held\""));
		ck_assert(says(before, "\"type\":\"REFUSED\""));
		ck_assert(says(before, "ticket 7"));
		ck_assert(says(before, "00000000000000000000000000000001"));
	}
	ck_assert_int_eq(bench_own(&b, &released), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
}
END_TEST

START_TEST(a_released_credential_is_replayed)
{
	struct record authorised, issued;
	const struct msg_appended *a = &b.item[0].answer;

	idempotent(&s[0], "deploy-1", 7);
	idempotent(&s[1], "deploy-1", 7);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);

	uint64_t idx = a->idx;
	uint8_t leaf[SHA256_SIZE];

	memcpy(leaf, a->leaf_hash, SHA256_SIZE);
	bench_reopen(&b);

	int64_t before = bench_size(&b);

	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	ck_assert_int_eq(bench_size(&b), before);
	ck_assert_int_eq(
		record_decode(&authorised, a->replay_authorised.at, a->replay_authorised.len),
		ERR_OK);
	ck_assert_int_eq(record_decode(&issued, a->replay_issued.at, a->replay_issued.len), ERR_OK);
	ck_assert_int_eq(authorised.type, RECORD_AUTHORISED);
	ck_assert_int_eq(issued.type, RECORD_ISSUED);
	ck_assert_mem_eq(authorised.id.at, s[0].id, 32);
	ck_assert_mem_eq(issued.dc.at, s[0].dc.octets, s[0].dc.len);
	ck_assert_int_eq(issued.idx, (int64_t)idx);
	ck_assert_mem_eq(issued.chain.at, "sign1/main", 10);
	ck_assert_uint_eq(a->idx, idx);
	ck_assert_mem_eq(a->leaf_hash, leaf, SHA256_SIZE);
}
END_TEST

START_TEST(a_replay_is_authorised_like_a_request)
{
	struct record held = hold_of(RECORD_HELD, "www", NULL);

	idempotent(&s[0], "deploy-1", 7);
	idempotent(&s[1], "deploy-1", 7);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
	s[1].authorised.now = s[0].authorised.expiry - 1;
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	ck_assert_uint_gt(b.item[0].answer.replay_issued.len, 0);
	s[1].authorised.now = s[0].authorised.expiry;
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_IDEMPOTENCY_EXPIRED);
	ck_assert_uint_eq(b.item[0].answer.replay_issued.len, 0);
	s[1].authorised.now = HELP_NOW;
	ck_assert_int_eq(bench_own(&b, &held), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_HELD);
	ck_assert_uint_eq(b.item[0].answer.replay_issued.len, 0);
}
END_TEST

START_TEST(another_request_under_the_same_key_is_refused)
{
	idempotent(&s[0], "deploy-1", 7);
	idempotent(&s[1], "deploy-1", 8);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_IDEMPOTENCY_MISMATCH);
	s[1].authorised.now += 86399;
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_IDEMPOTENCY_MISMATCH);
	s[1].authorised.now += 1;
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	idempotent(&s[2], "deploy-1", 9);
	s[2].authorised.client = octets_text("other");
	ck_assert_int_eq(bench_put(&b, &s[2].authorised), ERR_OK);
	idempotent(&s[3], "deploy-1", 9);
	s[3].authorised.key = octets_text("mail");
	ck_assert_int_eq(bench_put(&b, &s[3].authorised), ERR_OK);
}
END_TEST

/* Both attempts sign; one is released, the other's caller gets that one. */
START_TEST(the_first_to_commit_wins)
{
	struct record won;
	const struct msg_appended *a = &b.item[0].answer;

	idempotent(&s[0], "deploy-1", 7);
	idempotent(&s[1], "deploy-1", 7);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	ck_assert(says((int64_t)a->idx, "\"retry_of\":\"00000000000000000000000000000001\""));
	ck_assert_int_eq(bench_put(&b, &s[1].issued), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OUTCOME_UNKNOWN);
	ck_assert_int_eq(record_decode(&won, a->replay_issued.at, a->replay_issued.len), ERR_OK);
	ck_assert_mem_eq(won.id.at, s[1].id, 32);
	ck_assert(says(bench_size(&b) - 1, "\"type\":\"LATE\""));
	ck_assert(says(bench_size(&b) - 1, "00000000000000000000000000000001"));
	idempotent(&s[2], "deploy-1", 7);
	ck_assert_int_eq(bench_put(&b, &s[2].authorised), ERR_OK);
	ck_assert_int_eq(record_decode(&won, a->replay_issued.at, a->replay_issued.len), ERR_OK);
	ck_assert_mem_eq(won.id.at, s[1].id, 32);
}
END_TEST

START_TEST(a_failed_attempt_frees_its_idempotency_key)
{
	idempotent(&s[0], "deploy-1", 7);
	idempotent(&s[1], "deploy-1", 7);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].failed), ERR_OK);
	s[0].authorised.attempt = s[0].issued.attempt = 2;
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	ck_assert_uint_gt(b.item[0].answer.replay_issued.len, 0);
}
END_TEST

/* _i: 0 of the key, 1 of the client */
START_TEST(live_credentials_are_limited)
{
	const struct record *group[] = {&s[0].authorised, &s[1].authorised, &s[2].authorised};
	uint64_t of_key = _i == 0 ? 2 : 0, of_client = _i == 0 ? 0 : 2;
	const struct record *one;

	/* members of a group see each other */
	ck_assert_int_eq(bench_group(&b, group, 3, of_key, of_client), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_OK);
	ck_assert_int_eq(b.item[1].answer.refusal.err, ERR_OK);
	ck_assert_int_eq(b.item[2].answer.refusal.err, ERR_QUOTA);
	/* an open attempt counts, a failed one does not */
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].failed), ERR_OK);
	one = &s[3].authorised;
	ck_assert_int_eq(bench_group(&b, &one, 1, of_key, of_client), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[3].issued), ERR_OK);
	bench_reopen(&b);
	one = &s[4].authorised;
	ck_assert_int_eq(bench_group(&b, &one, 1, of_key, of_client), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_QUOTA);
	/* somebody else is not concerned */
	s[5].authorised.key = octets_text(_i == 0 ? "mail" : "www");
	s[5].authorised.client = octets_text(_i == 0 ? "edge" : "other");
	one = &s[5].authorised;
	ck_assert_int_eq(bench_group(&b, &one, 1, of_key, of_client), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_OK);
	/* until they expire, by the request's own clock */
	s[4].authorised.now = s[0].authorised.expiry - 1;
	one = &s[4].authorised;
	ck_assert_int_eq(bench_group(&b, &one, 1, of_key, of_client), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_QUOTA);
	s[4].authorised.now = s[0].authorised.expiry;
	ck_assert_int_eq(bench_group(&b, &one, 1, of_key, of_client), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_OK);
}
END_TEST

START_TEST(what_expired_is_forgotten_and_still_counted_right)
{
	const struct record *one = &s[3].authorised;
	uint64_t live = 9;
	int64_t latest;
	struct store *st = b.ledger.store;

	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(bench_put(&b, &s[i].authorised), ERR_OK);
		ck_assert_int_eq(bench_put(&b, &s[i].issued), ERR_OK);
	}
	ck_assert_int_eq(
		st->engine->live_latest(st, "www", "", false, HELP_NOW, &live, &latest), ERR_OK);
	ck_assert_uint_eq(live, 3);
	ck_assert_int_eq(latest, HELP_NOW + 3600);
	b.now = s[3].authorised.now = HELP_NOW + 4000;
	s[3].authorised.expiry = HELP_NOW + 8000;
	ck_assert_int_eq(bench_group(&b, &one, 1, 1, 1), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_OK);
	one = &s[4].authorised;
	s[4].authorised.now = b.now;
	ck_assert_int_eq(bench_group(&b, &one, 1, 1, 0), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_QUOTA);
	ck_assert_int_eq(st->engine->live_latest(st, "", "", false, 0, &live, &latest), ERR_OK);
	ck_assert_uint_eq(live, 0);
}
END_TEST

START_TEST(a_shared_key_needs_proof_of_possession)
{
	struct sample *mine = &s[0], *theirs = &s[1];

	theirs->authorised.client = octets_text("other");
	theirs->authorised.spki = mine->authorised.spki;
	theirs->authorised.spki_sha256 = mine->authorised.spki_sha256;
	ck_assert_int_eq(bench_put(&b, &mine->authorised), ERR_OK);
	ck_assert_uint_eq(b.item[0].answer.shared, 0);
	theirs->authorised.possession = octets_text("none");
	ck_assert_int_eq(bench_put(&b, &theirs->authorised), ERR_KEY_SHARED);
	ck_assert_int_eq(bench_put(&b, &mine->issued), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &theirs->authorised), ERR_KEY_SHARED);
	theirs->authorised.possession = octets_text("csr");
	ck_assert_int_eq(bench_put(&b, &theirs->authorised), ERR_OK);
	ck_assert_uint_eq(b.item[0].answer.shared, 1);
	/* one's own key again is not shared */
	s[2].authorised.client = octets_text("third");
	s[3].authorised.client = octets_text("third");
	s[3].authorised.spki = s[2].authorised.spki;
	s[3].authorised.spki_sha256 = s[2].authorised.spki_sha256;
	s[3].authorised.possession = octets_text("none");
	ck_assert_int_eq(bench_put(&b, &s[2].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[3].authorised), ERR_OK);
	ck_assert_uint_eq(b.item[0].answer.shared, 0);
	/* an expired one is nobody's */
	theirs->authorised.attempt = 2;
	theirs->authorised.now = mine->authorised.expiry;
	theirs->authorised.possession = octets_text("none");
	ck_assert_int_eq(bench_put(&b, &theirs->authorised), ERR_OK);
}
END_TEST

START_TEST(an_attempt_has_one_outcome)
{
	int64_t size;

	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].unknown), ERR_OK);
	size = bench_size(&b);
	ck_assert_int_eq(bench_put(&b, &s[0].failed), ERR_OUTCOME_UNKNOWN);
	ck_assert_int_eq(bench_put(&b, &s[0].unknown), ERR_OUTCOME_UNKNOWN);
	ck_assert_int_eq(bench_size(&b), size);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OUTCOME_UNKNOWN);
	ck_assert(says(size, "\"type\":\"LATE\""));
	ck_assert_int_eq(bench_put(&b, &s[1].self_test), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].proved), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].proved), ERR_OUTCOME_UNKNOWN);
	ck_assert_int_eq(bench_put(&b, &s[2].authorised), ERR_OK);
	s[2].issued.attempt = 2;
	ck_assert_int_eq(bench_put(&b, &s[2].issued), ERR_OUTCOME_UNKNOWN);
	s[2].issued.attempt = 1;
	ck_assert_int_eq(bench_put(&b, &s[2].issued), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[2].issued), ERR_OUTCOME_UNKNOWN);
}
END_TEST

/* What the writer said before does not make a signature unsaid; the verifiers name it. */
START_TEST(a_signature_after_any_outcome_is_written_down)
{
	struct record late = s[1].issued;
	int64_t size;

	late.type = RECORD_LATE;
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(bench_put(&b, &s[i].authorised), ERR_OK);
		ck_assert_int_eq(bench_put(&b, &s[i].failed), ERR_OK);
	}
	size = bench_size(&b);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OUTCOME_UNKNOWN);
	ck_assert_int_eq(bench_put(&b, &late), ERR_OK);
	ck_assert_int_eq(bench_size(&b), size + 2);
	ck_assert(says(size, "\"type\":\"LATE\""));
	ck_assert(says(size + 1, "\"type\":\"LATE\""));
}
END_TEST

START_TEST(an_attempt_belongs_to_its_chain)
{
	struct chain *mine = b.chain;

	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(ledger_serve(&b.ledger, "second", b.now, &b.chain), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OUTCOME_UNKNOWN);
	b.chain = mine;
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
}
END_TEST

START_TEST(a_self_test_counts_nowhere)
{
	const struct record *group[] = {&s[0].self_test, &s[1].authorised};

	ck_assert_int_eq(bench_group(&b, group, 2, 1, 1), ERR_OK);
	ck_assert_int_eq(b.item[1].answer.refusal.err, ERR_OK);
}
END_TEST

/* What a writer sends and no sound process would. */
START_TEST(unsound_records_are_not_taken)
{
	static const uint8_t zeros[SHA256_SIZE];
	static char longest[200];
	struct record good, r;

	memset(longest, 'x', sizeof longest - 1);
	idempotent(&s[0], "deploy-1", 7);
	good = s[0].authorised;
	ck_assert(commit_takes(&good));
	ck_assert(commit_takes(&s[0].issued));
	ck_assert(commit_takes(&s[0].self_test));
#define UNSOUND(of, change)                                                                        \
	r = of;                                                                                    \
	change;                                                                                    \
	ck_assert_msg(!commit_takes(&r), #change)
	UNSOUND(good, r.chain = octets_text("sign1/main"));
	UNSOUND(good, r.idx = 7);
	UNSOUND(good, r.config = octets_text("{}"));
	UNSOUND(good, r.client = octets_text("Not A Name"));
	UNSOUND(good, r.client = octets_text(longest));
	UNSOUND(good, r.key = octets_text("../www"));
	UNSOUND(good, r.spki_sha256 = octets_of(zeros, SHA256_SIZE));
	UNSOUND(good, r.attempt = 0);
	UNSOUND(good, r.attempt = 4);
	UNSOUND(good, r.idempotency = octets_text(longest));
	UNSOUND(good, r.request_sha256 = (struct octets){0});
	UNSOUND(good, r.possession = octets_text("some"));
	UNSOUND(good, r.possession = octets_text("yes"));
	UNSOUND(s[0].issued, r.dc_sha256 = octets_of(zeros, SHA256_SIZE));
#undef UNSOUND
	struct record held = hold_of(RECORD_HELD, "www", NULL);

	ck_assert(!commit_takes(&held)); /* the ledger's own */
	r = good;
	r.idempotency = (struct octets){0};
	r.possession = octets_text("csr");
	ck_assert(commit_takes(&r));
}
END_TEST

START_TEST(a_broken_writer_is_seen)
{
	struct record r = s[0].authorised;

	ck_assert(commit_takes(&r));
	r.attempt = 4;
	ck_assert(!commit_takes(&r));
	r.attempt = 1;
	r.possession = octets_text("perhaps");
	ck_assert(!commit_takes(&r));
	r.possession = octets_text("none");
	r.idempotency = octets_text("k"); /* without request_sha256 */
	ck_assert(!commit_takes(&r));
	r.request_sha256 = r.spki_sha256;
	ck_assert(commit_takes(&r));
	r.spki_sha256 = r.tbs_sha256;
	ck_assert(!commit_takes(&r));
	r = s[0].issued;
	ck_assert(commit_takes(&r));
	r.dc_sha256 = octets_of(s[1].dc_sha256, SHA256_SIZE);
	ck_assert(!commit_takes(&r));
	r = s[0].authorised;
	r.key = octets_text("../www");
	ck_assert(!commit_takes(&r));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("state");
	TCase *c = tcase_create("state");

	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_add_loop_test(
		c, a_hold_stops_what_it_names, 0, (int)(sizeof(holds) / sizeof(holds[0])));
	tcase_add_test(c, a_released_credential_is_replayed);
	tcase_add_test(c, a_replay_is_authorised_like_a_request);
	tcase_add_test(c, another_request_under_the_same_key_is_refused);
	tcase_add_test(c, the_first_to_commit_wins);
	tcase_add_test(c, a_failed_attempt_frees_its_idempotency_key);
	tcase_add_loop_test(c, live_credentials_are_limited, 0, 2);
	tcase_add_test(c, what_expired_is_forgotten_and_still_counted_right);
	tcase_add_test(c, a_shared_key_needs_proof_of_possession);
	tcase_add_test(c, an_attempt_has_one_outcome);
	tcase_add_test(c, a_signature_after_any_outcome_is_written_down);
	tcase_add_test(c, an_attempt_belongs_to_its_chain);
	tcase_add_test(c, a_self_test_counts_nowhere);
	tcase_add_test(c, unsound_records_are_not_taken);
	tcase_add_test(c, a_broken_writer_is_seen);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
