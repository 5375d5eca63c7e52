/* Each question of the ledger to its store fails once, through real group commits. */
#include "settings.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fakes/failing_store.h"
#include "ledger/verify.h"
#include "ledger_bench.h"

#define CALLS_MAX   400
#define ANSWERS_MAX 64

static struct bench b;
static struct sample s[6];
static struct record start, config, held, released, flood;
static char said[512];

/* What was answered: it must be there afterwards. */
static struct {
	uint64_t idx;
	uint8_t leaf[SHA256_SIZE];
} answered[ANSWERS_MAX];
static size_t answers;

static void set_up(void)
{
	bench_make(&b);
	for (unsigned i = 0; i < 6; i++)
		sample_make(&s[i], &b.issuer, i + 1);
	for (unsigned i = 0; i < 4; i++) { /* three of them for one Idempotency-Key */
		memset(s[i].request_sha256, 7, SHA256_SIZE);
		s[i].authorised.idempotency = octets_text(i == 3 ? "other" : "deploy-1");
		s[i].authorised.request_sha256 = octets_of(s[i].request_sha256, SHA256_SIZE);
	}
	help_start(&start, &b.issuer);
	help_config(&config, &b.issuer);
	for (int i = 0; i < 2; i++) {
		struct record *r = i == 0 ? &held : &released;

		record_init(r, i == 0 ? RECORD_HELD : RECORD_RELEASED);
		r->time = HELP_NOW;
		r->key = octets_text("www");
		r->reason = octets_text("ticket 7");
	}
	flood = s[4].refused;
}

static void tear_down(void)
{
	for (unsigned i = 0; i < 6; i++)
		sample_free(&s[i]);
	bench_remove(&b);
}

/* A way through all that a group does: AUTHORISED that is taken, refused and replayed; outcomes of
 * every kind; a hold; a flood; a self-test. own: a record of the ledger itself. */
static const struct step {
	const struct record *record;
	bool own;
	int64_t later; /* ms */
} steps[] = {
	{.record = &start}, {.record = &config}, {.record = &s[5].self_test},
	{.record = &s[5].proved}, {.record = &s[0].authorised}, {.record = &s[1].authorised},
	{.record = &s[0].issued}, {.record = &s[1].issued}, /* LATE: the other was first */
	{.record = &s[2].authorised},			    /* replayed */
	{.record = &s[3].authorised}, {.record = &s[3].failed},
	{.record = &s[3].failed}, /* not open any more */
	{.record = &s[4].authorised}, {.record = &held, .own = true},
	{.record = &s[3].authorised}, /* held */
	{.record = &released, .own = true}, {.record = &flood}, {.record = &flood},
	{.record = &s[4].unknown, .later = 120000}, /* the flood is summed up */
};

/* Takes the steps up to one that fails; e: why. Answers that gave no record are not kept. */
static size_t take_steps(enum err *e)
{
	size_t i = 0;

	*e = ERR_OK;
	answers = 0;
	for (; i < sizeof(steps) / sizeof(steps[0]); i++) {
		struct commit_item *it = &b.item[0];
		uint64_t before = b.chain->stored.tree.size;

		b.ms += steps[i].later;
		it->chain = b.chain;
		it->record = *steps[i].record;
		it->own = steps[i].own;
		it->max_live_key = it->max_live_client = 100;
		*e = commit_group(&b.ledger, it, 1, b.now, b.ms);
		if (*e || it->answer.refusal.err == ERR_LEDGER_UNAVAILABLE)
			return i;
		if (b.chain->stored.tree.size == before)
			continue;
		ck_assert_uint_lt(answers, ANSWERS_MAX);
		answered[answers].idx = it->answer.idx;
		memcpy(answered[answers++].leaf, it->answer.leaf_hash, SHA256_SIZE);
	}
	return i;
}

static void problem(void *arg, const char *chain, int64_t idx, const char *what)
{
	(void)arg;
	snprintf(said, sizeof(said), "%s %lld %s", chain, (long long)idx, what);
}

/* All that was answered is in the ledger, and the ledger is one. */
static void nothing_is_lost(unsigned n)
{
	struct verify v = {.problem = problem};
	struct store *copy;

	for (size_t i = 0; i < answers; i++) {
		struct store *store = b.ledger.store;
		struct buf json = BUF_INIT(RECORD_MAX);
		uint8_t leaf[SHA256_SIZE];

		ck_assert_int_eq(store->engine->record_get(store, b.chain->stored.chain,
					 (int64_t)answered[i].idx, &json, leaf),
			ERR_OK);
		ck_assert_mem_eq(leaf, answered[i].leaf, SHA256_SIZE);
		buf_free(&json);
	}
	bench_stop(&b);
	bench_reader(&b, &copy);
	ck_assert_msg(
		verify_store(&v, copy, NULL) == ERR_OK && v.problems == 0, "call %u: %s", n, said);
	ck_assert_uint_eq(v.open, 0);
	copy->engine->abandon(copy);
}

/* The n-th call fails in a ledger of its own; true when there are no so many. */
static bool one_call_fails(unsigned n, enum err error)
{
	enum err e;
	size_t taken;
	bool failed;

	set_up();
	bench_open(&b);
	failing_store(b.ledger.store);
	failing_store_at(n, error);
	taken = take_steps(&e);
	failed = failing_store_failed();
	if (!failed) {
		ck_assert_uint_eq(taken, sizeof(steps) / sizeof(steps[0]));
	} else if (error == ERR_NO_ROOM) {
		/* tried again with the room that was kept back; only an AUTHORISED or SELF-TEST
		 * has to wait */
		ck_assert_int_eq(e, ERR_OK);
		if (taken < sizeof(steps) / sizeof(steps[0]))
			ck_assert(steps[taken].record->type == RECORD_AUTHORISED ||
				  steps[taken].record->type == RECORD_SELF_TEST);
	} else {
		ck_assert_msg(taken < sizeof(steps) / sizeof(steps[0]) && e == error,
			"call %u: %s after %zu steps", n, err_name(e), taken);
	}
	failing_store_at(0, ERR_OK);
	if (e) { /* the process ends; the next one takes over */
		ledger_abandon(&b.ledger);
		bench_open(&b);
		ck_assert_int_eq(bench_put(&b, &start), ERR_OK);
	}
	nothing_is_lost(n);
	tear_down();
	return !failed;
}

static const enum err errors[] = {ERR_SYSTEM, ERR_NO_ROOM};

START_TEST(every_call_fails_once)
{
	unsigned n = 1;

	while (!one_call_fails(n, errors[_i]))
		n++;
	ck_assert_uint_gt(n, 100);
	ck_assert_uint_lt(n, CALLS_MAX);
}
END_TEST

/* ---- single failures ---- */

static void open_bench(void)
{
	set_up();
	bench_open(&b);
	failing_store(b.ledger.store);
	ck_assert_int_eq(bench_put(&b, &start), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &config), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[5].self_test), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[5].proved), ERR_OK);
}

static void close_bench(void)
{
	failing_store_at(0, ERR_OK);
	ledger_abandon(&b.ledger);
	bench_open(&b);
	ck_assert_int_eq(bench_put(&b, &start), ERR_OK);
	answers = 0;
	nothing_is_lost(0);
	tear_down();
}

/* It stays full, the room that was kept back is of no use: everybody is told to come later, and
 * nothing has changed. */
START_TEST(a_disk_that_stays_full)
{
	const struct record *both[] = {&s[4].authorised, &s[3].self_test};
	int64_t size;

	open_bench();
	size = bench_size(&b);
	failing_store_from(1, ERR_NO_ROOM);
	ck_assert_int_eq(bench_group(&b, both, 2, 0, 0), ERR_OK);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(b.item[i].answer.refusal.err, ERR_LEDGER_UNAVAILABLE);
		ck_assert_uint_eq(b.item[i].answer.refusal.retry_after, 10);
	}
	ck_assert_int_eq(bench_size(&b), size);
	ck_assert(!b.ledger.reserve);
	failing_store_at(0, ERR_OK);
	/* no room is kept back yet: what would need more of it later is not begun */
	ck_assert_int_eq(bench_group(&b, both, 2, 0, 0), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_LEDGER_UNAVAILABLE);
	ck_assert_int_eq(b.item[1].answer.refusal.err, ERR_LEDGER_UNAVAILABLE);
	b.ms += 2000;
	ck_assert_int_eq(bench_group(&b, both, 2, 0, 0), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_OK);
	close_bench();
}
END_TEST

START_TEST(a_rollback_that_fails)
{
	open_bench();
	failing_store_at(2, ERR_NO_ROOM);
	failing_store_rollback(ERR_SYSTEM);
	ck_assert_int_eq(
		bench_group(&b, (const struct record *[]){&s[4].authorised}, 1, 0, 0), ERR_SYSTEM);
	close_bench();
}
END_TEST

/* The connection is lost at the commit: nobody knows, nothing is answered, nothing more is tried.
 */
START_TEST(a_commit_that_may_have_been)
{
	const struct record *one[] = {&s[4].authorised};
	unsigned n = 0;
	enum err e = ERR_OK;

	open_bench();
	while (!e && n < 40) { /* the last call of a group is its commit */
		failing_store_at(++n, ERR_CLOSED);
		e = bench_group(&b, one, 1, 0, 0);
		if (e && !b.ledger.unsure) {
			ck_assert_int_eq(e, ERR_CLOSED);
			b.ledger.lost = false;
			b.ledger.store->engine->rollback(b.ledger.store);
			e = ERR_OK;
		}
	}
	ck_assert_int_eq(e, ERR_CLOSED);
	ck_assert(b.ledger.unsure && b.ledger.lost);
	ck_assert(b.chain->unsure);
	ck_assert_uint_gt(b.chain->maybe.tree.size, b.chain->stored.tree.size);
	failing_store_at(0, ERR_OK);
	ck_assert_int_eq(bench_group(&b, one, 1, 0, 0), ERR_CLOSED);
	close_bench();
}
END_TEST

/* What another node's security team has set on hold stands in this node's chain before what comes
 * after it; this node's own holds are told to the others, once for all its chains. */
START_TEST(holds_of_other_nodes)
{
	static const char news[] =
		"{\"chain\":\"sign2/main\",\"idx\":5,\"key\":\"www\",\"reason\":\"ticket 7\","
		"\"time\":1800000000,\"type\":\"HELD\"}";
	int64_t size;

	open_bench();
	failing_store_shared(news, ERR_OK);
	size = bench_size(&b);
	ck_assert_int_eq(bench_put(&b, &flood), ERR_OK);
	ck_assert_ptr_nonnull(strstr(bench_text(&b, size), "\"type\":\"HELD\""));
	ck_assert_ptr_nonnull(strstr(bench_text(&b, size + 1), "\"type\":\"REFUSED\""));
	ck_assert_int_eq(bench_own(&b, &held), ERR_OK);
	ck_assert_uint_eq(failing_store_told(), 1);
	failing_store_shared("no record", ERR_OK);
	ck_assert_int_eq(bench_group(&b, (const struct record *[]){&flood}, 1, 0, 0), ERR_FORMAT);
	close_bench();
}
END_TEST

START_TEST(holds_that_can_t_be_told)
{
	open_bench();
	failing_store_shared(NULL, ERR_SYSTEM);
	b.item[0].chain = b.chain;
	b.item[0].record = held;
	b.item[0].own = true;
	ck_assert_int_eq(commit_group(&b.ledger, b.item, 1, b.now, b.ms), ERR_SYSTEM);
	close_bench();
}
END_TEST

/* A configuration that the ledger was never told, a record that can't be written, an outcome
 * that has no attempt. */
START_TEST(what_a_writer_can_t_mean)
{
	static uint8_t other[SHA256_SIZE] = {1};
	struct record r;

	open_bench();
	r = config;
	r.generation = octets_of(other, sizeof other);
	ck_assert_int_eq(bench_put(&b, &r), ERR_LEDGER_UNAVAILABLE);
	ck_assert_int_eq(bench_put(&b, &s[4].failed), ERR_OUTCOME_UNKNOWN);
	ck_assert_int_eq(bench_put(&b, &s[4].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[4].unknown), ERR_OK);
	record_init(&r, RECORD_LATE);
	r.time = HELP_NOW;
	r.id = octets_text(s[4].id);
	r.attempt = 1;
	r.dc = octets_of(s[4].dc.octets, s[4].dc.len);
	r.dc_sha256 = octets_of(s[4].dc_sha256, SHA256_SIZE);
	ck_assert_int_eq(bench_put(&b, &r), ERR_OK); /* evidence all the same */
	ck_assert_ptr_nonnull(strstr(bench_text(&b, bench_size(&b) - 1), "\"type\":\"LATE\""));
	r = held;
	r.reason = (struct octets){0};
	b.item[0].chain = b.chain;
	b.item[0].record = r;
	b.item[0].own = true;
	ck_assert_int_ne(commit_group(&b.ledger, b.item, 1, b.now, b.ms), ERR_OK);
	close_bench();
}
END_TEST

/* ---- what records say beyond their usual ---- */

START_TEST(records_out_of_the_usual)
{
	struct buf long_text = BUF_INIT(RECORD_MAX + 1);
	struct record r;

	open_bench();
	r = s[4].authorised; /* the writer knows of an attempt before it */
	r.retry_of = octets_text(s[5].id);
	ck_assert_int_eq(bench_put(&b, &r), ERR_OK);
	ck_assert_ptr_nonnull(strstr(bench_text(&b, bench_size(&b) - 1), s[5].id));
	record_init(&r, RECORD_KEY_REFUSED); /* without a self-test */
	r.time = HELP_NOW;
	r.key = octets_text("www");
	r.reason = octets_text("key_missing");
	ck_assert_int_eq(bench_put(&b, &r), ERR_OK);
	ck_assert_ptr_nonnull(
		strstr(bench_text(&b, bench_size(&b) - 1), "\"type\":\"KEY-REFUSED\""));
	r = config; /* as many generations are known as can be, and not this one */
	b.ledger.generation[GENERATIONS - 1] = NULL;
	for (int i = 1; i < GENERATIONS; i++)
		b.ledger.generation[i] = b.ledger.generation[0];
	r.generation = octets_of(s[0].request_sha256, SHA256_SIZE);
	ck_assert_int_eq(bench_put(&b, &r), ERR_LEDGER_UNAVAILABLE);
	for (int i = 1; i < GENERATIONS; i++)
		b.ledger.generation[i] = NULL;
	while (long_text.len <= RECORD_MAX) /* longer than any record */
		buf_u8(&long_text, 'x');
	b.item[0].chain = b.chain;
	b.item[0].record = held;
	b.item[0].record.detail = octets_of(long_text.octets, long_text.len);
	b.item[0].own = true;
	ck_assert_int_eq(commit_group(&b.ledger, b.item, 1, b.now, b.ms), ERR_FORMAT);
	buf_free(&long_text);
	close_bench();
}
END_TEST

/* A dry run: judged as if it were written, and not written; told what is there for its key. */
START_TEST(judged_alone)
{
	int64_t size;

	open_bench();
	size = bench_size(&b);
	b.item[0].judge_only = true;
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_uint_eq(b.item[0].answer.replay_issued.len, 0);
	ck_assert_int_eq(bench_own(&b, &held), ERR_OK);
	b.item[0].judge_only = true;
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_HELD);
	ck_assert_int_eq(bench_size(&b), size + 1); /* the hold alone */
	b.item[0].judge_only = false;
	ck_assert_int_eq(bench_own(&b, &released), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
	size = bench_size(&b);
	b.item[0].judge_only = true;
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	ck_assert_uint_gt(b.item[0].answer.replay_issued.len, 0);
	ck_assert_int_eq(bench_size(&b), size);
	b.item[0].judge_only = false;
	close_bench();
}
END_TEST

/* ---- several chains ---- */

START_TEST(a_chain_that_has_not_begun)
{
	static const char news[] =
		"{\"chain\":\"sign2/main\",\"idx\":5,\"key\":\"www\",\"reason\":\"ticket 7\","
		"\"time\":1800000000,\"type\":\"HELD\"}";
	struct chain *second;
	int64_t size;

	set_up();
	bench_open(&b);
	failing_store(b.ledger.store);
	ck_assert_int_eq(ledger_serve(&b.ledger, "second", b.now, &second), ERR_OK);
	failing_store_shared(news, ERR_OK); /* neither chain has its START */
	ck_assert_int_eq(bench_put(&b, &start), ERR_OK);
	ck_assert_int_eq(bench_size(&b), 1);
	ck_assert_int_eq(bench_put(&b, &config), ERR_OK);
	ck_assert_ptr_nonnull(strstr(bench_text(&b, 1), "\"type\":\"HELD\""));
	ck_assert_uint_eq(second->stored.tree.size, 0); /* START comes first there */
	ck_assert_int_eq(bench_own(&b, &held), ERR_OK); /* it is held here, too */
	/* a flood in one chain is summed up there */
	ck_assert_int_eq(bench_put(&b, &flood), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &flood), ERR_OK);
	size = bench_size(&b);
	b.ms += 120000;
	ck_assert_int_eq(commit_group(&b.ledger, NULL, 0, b.now, b.ms), ERR_OK);
	ck_assert_int_eq(bench_size(&b), size + 1);
	ck_assert_ptr_nonnull(strstr(bench_text(&b, size), "\"count\":1"));
	ck_assert_uint_eq(second->stored.tree.size, 0);
	close_bench();
}
END_TEST

/* ---- heads ---- */

static char origin[] = "log.test";

/* Each call of a head's transaction fails: there is no head, and what was before stands. */
START_TEST(a_head_that_can_t_be_written)
{
	struct record head;
	bool failed = true;

	record_init(&head, RECORD_CHECKPOINT);
	head.time = HELP_NOW;
	for (unsigned n = 1; failed; n++) {
		enum err e;

		set_up();
		b.sign = true;
		b.origin = origin;
		bench_open(&b);
		failing_store(b.ledger.store);
		ck_assert_int_eq(bench_put(&b, &start), ERR_OK);
		b.item[0].chain = b.chain;
		b.item[0].record = head;
		b.item[0].own = true;
		failing_store_at(n, ERR_SYSTEM);
		e = commit_group(&b.ledger, b.item, 1, b.now, b.ms);
		failed = failing_store_failed();
		ck_assert_int_eq(e, failed ? ERR_SYSTEM : ERR_OK);
		ck_assert_int_eq(bench_size(&b), failed ? 1 : 2);
		ck_assert_uint_lt(n, 40);
		close_bench();
	}
}
END_TEST

START_TEST(no_room_for_a_head)
{
	const struct record *one[] = {&s[4].refused};
	struct record head;
	int64_t size;

	open_bench();
	size = bench_size(&b);
	failing_store_from(1, ERR_NO_ROOM);
	ck_assert_int_eq(bench_group(&b, one, 1, 0, 0), ERR_OK);
	ck_assert(!b.ledger.reserve);
	ck_assert_int_eq(bench_group(&b, one, 1, 0, 0), ERR_OK); /* nothing is kept back any more */
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_LEDGER_UNAVAILABLE);
	failing_store_at(0, ERR_OK);
	record_init(&head, RECORD_CHECKPOINT);
	head.time = HELP_NOW;
	ck_assert_int_eq(bench_own(&b, &head), ERR_LEDGER_UNAVAILABLE);
	ck_assert_int_eq(bench_size(&b), size);
	close_bench();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store_faults");
	TCase *c = tcase_create("store_faults");

	tcase_add_loop_test(c, every_call_fails_once, 0, (int)(sizeof(errors) / sizeof(errors[0])));
	tcase_add_test(c, a_disk_that_stays_full);
	tcase_add_test(c, a_rollback_that_fails);
	tcase_add_test(c, a_commit_that_may_have_been);
	tcase_add_test(c, holds_of_other_nodes);
	tcase_add_test(c, holds_that_can_t_be_told);
	tcase_add_test(c, what_a_writer_can_t_mean);
	tcase_add_test(c, records_out_of_the_usual);
	tcase_add_test(c, judged_alone);
	tcase_add_test(c, a_chain_that_has_not_begun);
	tcase_add_test(c, a_head_that_can_t_be_written);
	tcase_add_test(c, no_room_for_a_head);
	tcase_set_timeout(c, 600);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
