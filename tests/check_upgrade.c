/* A ledger's file of the format before this one: dcsignd and `init` take it over, a reader says so.
 */
#include "settings.h"

#include <check.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger/verify.h"
#include "ledger_bench.h"

static struct bench b;
static struct sample s[5];
static char said[2048];

static void idempotent(struct sample *of)
{
	of->authorised.idempotency = octets_text("deploy-1");
	of->authorised.request_sha256 = octets_of(of->request_sha256, SHA256_SIZE);
}

static struct record hold(enum record_type type)
{
	struct record r;

	record_init(&r, type);
	r.time = HELP_NOW;
	r.client = octets_text("other");
	r.reason = octets_text("ticket 1007");
	return r;
}

/* Released, under way, answerable, held: all that a writer keeps beside its records. */
static void set_up(void)
{
	struct record start, config, held = hold(RECORD_HELD);

	bench_make(&b);
	bench_open(&b);
	for (unsigned i = 0; i < 5; i++)
		sample_make(&s[i], &b.issuer, i + 1);
	idempotent(&s[1]);
	help_start(&start, &b.issuer);
	help_config(&config, &b.issuer);
	const struct record *const all[] = {&start, &config, &s[4].self_test, &s[4].proved,
		&s[0].authorised, &s[0].issued, &s[1].authorised, &s[1].issued, &s[2].authorised};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		ck_assert_int_eq(bench_put(&b, all[i]), ERR_OK);
	ck_assert_int_eq(bench_own(&b, &held), ERR_OK);
}

static void tear_down(void)
{
	for (unsigned i = 0; i < 5; i++)
		sample_free(&s[i]);
	bench_remove(&b);
}

/* What the format before had, at rest: no table of what is not settled yet, another index. */
static void as_before(void)
{
	bench_sql(&b, "DROP TABLE pending; DROP INDEX attempts_holders; CREATE INDEX "
		      "attempts_shared ON attempts (spki_sha256, client, expiry); "
		      "PRAGMA user_version = 2;");
}

static int64_t asked(const char *sql)
{
	sqlite3_stmt *st;
	sqlite3 *db;

	ck_assert_int_eq(sqlite3_open(b.path, &db), SQLITE_OK);
	ck_assert_int_eq(sqlite3_prepare_v2(db, sql, -1, &st, NULL), SQLITE_OK);
	ck_assert_int_eq(sqlite3_step(st), SQLITE_ROW);

	int64_t value = sqlite3_column_int64(st, 0);

	sqlite3_finalize(st);
	sqlite3_close(db);
	return value;
}

static int64_t format(void)
{
	return asked("PRAGMA user_version");
}

static int64_t index_is(const char *name)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "SELECT count(*) FROM sqlite_schema WHERE name = '%s'", name);
	return asked(sql);
}

static enum err reader(struct refusal *why)
{
	struct store *st = NULL;
	enum err e = store_sqlite.open_copy(&st, b.path, why);

	if (!e)
		store_sqlite.abandon(st);
	return e;
}

static void problem(void *arg, const char *chain, int64_t idx, const char *what)
{
	(void)arg;
	snprintf(said, sizeof(said), "%s %lld: %s", chain, (long long)idx, what);
}

/* The records and the tables, as an auditor's program compares them. */
static void all_is_well(void)
{
	struct verify v = {.problem = problem};
	struct store *st;

	bench_reader(&b, &st);
	ck_assert_int_eq(verify_store(&v, st, NULL), ERR_OK);
	ck_assert_msg(v.problems == 0, "%s", said);
	ck_assert_uint_eq(v.credentials, 2);
	ck_assert_uint_eq(v.records, 12);
	st->engine->abandon(st);
}

static uint64_t live(const char *client)
{
	uint64_t n;

	ck_assert_int_eq(
		b.ledger.store->engine->live_count(b.ledger.store, "www", client, HELP_NOW, &n),
		ERR_OK);
	return n;
}

START_TEST(the_writer_goes_on)
{
	struct record released = hold(RECORD_RELEASED);

	bool shared = false;

	bench_stop(&b);
	as_before();
	ck_assert_int_eq(format(), 2);
	bench_open(&b);
	ck_assert_uint_eq(live("edge"), 2);
	ck_assert_int_eq(b.ledger.store->engine->live_shared(b.ledger.store,
				 s[0].authorised.spki_sha256.at, "other", HELP_NOW, &shared),
		ERR_OK);
	ck_assert(shared);
	s[3].authorised.client = octets_text("other");
	ck_assert_int_eq(bench_put(&b, &s[3].authorised), ERR_HELD);
	idempotent(&s[3]);
	s[3].authorised.client = octets_text("edge");
	s[3].authorised.request_sha256 = octets_of(s[1].request_sha256, SHA256_SIZE);
	ck_assert_int_eq(bench_put(&b, &s[3].authorised), ERR_OK);
	ck_assert_uint_gt(b.item[0].answer.replay_issued.len, 0);
	ck_assert_int_eq(bench_own(&b, &released), ERR_OK);
	bench_stop(&b);
	ck_assert_int_eq(index_is("attempts_holders"), 1);
	ck_assert_int_eq(index_is("attempts_shared"), 0);
	ck_assert_int_eq(format(), 3);
}
END_TEST

START_TEST(a_reader_says_what_to_do)
{
	struct refusal why = {0};

	bench_stop(&b);
	as_before();
	ck_assert_int_eq(reader(&why), ERR_FORMAT);
	ck_assert_msg(strstr(why.detail, "dcsign ledger init") != NULL, "%s", why.detail);
	ck_assert_int_eq(format(), 2);
	ck_assert_int_eq(store_sqlite.init(b.path, NULL, NULL, &why), ERR_OK);
	ck_assert_int_eq(format(), 3);
	ck_assert_int_eq(reader(&why), ERR_OK);
	all_is_well();
}
END_TEST

START_TEST(a_reader_says_what_is_missing)
{
	struct refusal why = {0};

	bench_stop(&b);
	bench_sql(&b, "DROP INDEX attempts_open");
	ck_assert_int_eq(reader(&why), ERR_FORMAT);
	ck_assert_msg(strstr(why.detail, "no such index: attempts_open") != NULL, "%s", why.detail);
}
END_TEST

static const struct {
	const char *sql, *says;
} others[] = {
	{"PRAGMA user_version = 1", "is not a ledger that this version can read"},
	{"PRAGMA user_version = 4", "a newer version made it"},
};

START_TEST(other_formats_are_left_alone)
{
	struct refusal why = {0};

	bench_stop(&b);
	bench_sql(&b, others[_i].sql);
	ck_assert_int_eq(reader(&why), ERR_FORMAT);
	ck_assert_msg(strstr(why.detail, others[_i].says) != NULL, "%s", why.detail);
	ck_assert_int_eq(bench_try(&b, &why), ERR_FORMAT);
	ck_assert_msg(strstr(why.detail, others[_i].says) != NULL, "%s", why.detail);
	ck_assert_int_eq(format(), _i ? 4 : 1);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("upgrade");
	TCase *c = tcase_create("upgrade");

	tcase_set_timeout(c, 240);
	tcase_add_checked_fixture(c, set_up, tear_down);
	tcase_add_test(c, the_writer_goes_on);
	tcase_add_test(c, a_reader_says_what_to_do);
	tcase_add_test(c, a_reader_says_what_is_missing);
	tcase_add_loop_test(c, other_formats_are_left_alone, 0, 2);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
