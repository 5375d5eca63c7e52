/* What only the PostgreSQL engine can meet: lost connections in every moment, other writers, other
 * nodes. Run by e2e_postgres_suites.sh, which starts a server. */
#include "settings.h"

#include <check.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ledger/heads.h"
#include "ledger/holds.h"
#include "ledger/verify.h"
#include "ledger_bench.h"

static struct bench b;
static struct sample s[4];

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

static void problem(void *arg, const char *chain, int64_t idx, const char *what)
{
	(void)arg;
	fprintf(stderr, "%s %lld %s\n", chain, (long long)idx, what);
}

static void verified(void)
{
	struct verify v = {.problem = problem, .chain_only = true};
	struct store *reader;

	bench_reader(&b, &reader);
	ck_assert_int_eq(verify_store(&v, reader, NULL), ERR_OK);
	ck_assert_uint_eq(v.problems, 0);
	reader->engine->abandon(reader);
}

#define TERMINATE "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'node'"

/* Once a node waits in its commit: for the trigger below, or for a standby. */
static void *terminate_soon(void *arg)
{
	(void)arg;
	help_sql("DO $$ BEGIN FOR i IN 1..1200 LOOP PERFORM pg_stat_clear_snapshot(); "
		 "IF EXISTS (SELECT FROM pg_stat_activity WHERE usename = 'node' AND "
		 "wait_event IN ('PgSleep', 'SyncRep')) THEN PERFORM pg_terminate_backend(pid) "
		 "FROM pg_stat_activity WHERE usename = 'node'; RETURN; END IF; "
		 "PERFORM pg_sleep(0.05); END LOOP; END $$");
	return NULL;
}

static enum err put_and_lose(const struct record *r)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, terminate_soon, NULL), 0);

	enum err e = bench_group(&b, &r, 1, 0, 0);

	pthread_join(thread, NULL);
	return e;
}

static bool resumed(void)
{
	bool durable = false;

	for (int i = 0; b.ledger.lost && i < 300; i++) {
		ledger_resume(&b.ledger, b.ms, &durable);
		if (b.ledger.lost)
			usleep(100000);
	}
	ck_assert(!b.ledger.lost);
	return durable;
}

START_TEST(a_connection_lost_between_groups)
{
	const struct record *r = &s[0].authorised;
	bool durable;

	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	help_sql(TERMINATE);
	ck_assert_int_eq(bench_group(&b, &r, 1, 0, 0), ERR_CLOSED);
	ck_assert(b.ledger.lost);
	ck_assert(!b.ledger.unsure);
	ck_assert_int_eq(bench_group(&b, &r, 1, 0, 0), ERR_CLOSED);
	durable = resumed();
	ck_assert(!durable);
	ck_assert_int_eq(bench_size(&b), 1);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
	verified();
}
END_TEST

/* The server fails while it commits: what was asked for is not there. */
START_TEST(a_commit_that_was_not_made)
{
	help_sql(
		"SET search_path = dcsign; CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql "
		"AS 'BEGIN PERFORM pg_sleep(20); RETURN NULL; END'; CREATE CONSTRAINT TRIGGER slow "
		"AFTER INSERT ON records DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE "
		"FUNCTION slow()");
	ck_assert_int_eq(put_and_lose(&s[0].authorised), ERR_CLOSED);
	help_sql("DROP FUNCTION dcsign.slow CASCADE");
	ck_assert(b.ledger.unsure);
	ck_assert(!resumed());
	ck_assert_int_eq(bench_size(&b), 0);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	verified();
}
END_TEST

static void hear_cancelled(void *arg, const char *text)
{
	*(bool *)arg |= strstr(text, "canceling wait for synchronous replication") != NULL;
}

/* Until commits do wait for one, which a process of the server's own has to see first. */
static void wait_for_standby(void)
{
	char url[HELP_URL];
	bool waited = false;
	PGconn *c;

	help_url(url, "owner");
	c = PQconnectdb(url);
	PQsetNoticeProcessor(c, hear_cancelled, &waited);
	for (int i = 0; !waited && i < 3000; i++) {
		ck_assert_int_eq(
			PQsendQuery(c, "SELECT pg_logical_emit_message(true, 'probe', '')"), 1);
		while (PQconsumeInput(c) == 1 && PQisBusy(c)) {
			usleep(20000);
			help_sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE "
				 "wait_event = 'SyncRep'");
		}
		for (PGresult *r; (r = PQgetResult(c)) != NULL;)
			PQclear(r);
	}
	PQfinish(c);
	ck_assert(waited);
}

/* The server fails after it has committed and before it says so: what was asked for is there. */
START_TEST(a_commit_whose_answer_was_lost)
{
	help_sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
	help_sql("SELECT pg_reload_conf()");
	wait_for_standby();

	enum err e = put_and_lose(&s[0].authorised);

	help_sql("ALTER SYSTEM RESET synchronous_standby_names");
	help_sql("SELECT pg_reload_conf()");
	ck_assert_int_eq(e, ERR_CLOSED);
	ck_assert(b.ledger.unsure);
	ck_assert(resumed());
	ck_assert_int_eq(bench_size(&b), 1);
	ck_assert_ptr_nonnull(strstr(bench_text(&b, 0), "\"type\":\"AUTHORISED\""));
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
	verified();
}
END_TEST

START_TEST(a_database_that_went_back_stops_the_chain)
{
	bool durable;

	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	help_sql("CREATE TABLE dcsign.kept AS SELECT * FROM dcsign.chains");
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	help_sql(TERMINATE);
	help_sql(
		"SET search_path = dcsign; ALTER TABLE chains RENAME TO later; CREATE TABLE chains "
		"AS SELECT * FROM kept; GRANT ALL ON chains TO node; CREATE UNIQUE INDEX "
		"chains_one "
		"ON chains (chain)");

	const struct record *r = &s[2].authorised;

	ck_assert_int_eq(bench_group(&b, &r, 1, 0, 0), ERR_CLOSED);
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(ledger_resume(&b.ledger, b.ms, &durable), ERR_CLOSED);
	ck_assert(b.ledger.behind);
	ck_assert_int_eq(bench_group(&b, &r, 1, 0, 0), ERR_CLOSED);
	help_sql("SET search_path = dcsign; DROP TABLE chains, kept; ALTER TABLE later RENAME TO "
		 "chains");
	ck_assert(!resumed());
	ck_assert(!b.ledger.behind);
	ck_assert_int_eq(bench_size(&b), 2);
	ck_assert_int_eq(bench_put(&b, &s[2].authorised), ERR_OK);
	verified();
}
END_TEST

START_TEST(one_process_writes_for_a_node)
{
	const struct record *r = &s[0].authorised;
	struct refusal why = {.err = ERR_OK};
	static struct ledger second;

	ck_assert_int_eq(ledger_open(&second, b.url, "sign1", HELP_NOW, &why), ERR_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(why.detail, "another dcsignd"));
	/* one that the lock did not keep out: whoever came first writes no more */
	help_sql("UPDATE dcsign.writers SET epoch = epoch + 1");
	ck_assert_int_eq(bench_group(&b, &r, 1, 0, 0), ERR_CLOSED);
	ck_assert_ptr_nonnull(strstr(b.ledger.why.detail, "another process"));
	ck_assert(!b.ledger.unsure);
	help_sql("DO $$ BEGIN ASSERT (SELECT count(*) FROM dcsign.records) = 0; END $$");
	ck_assert(!resumed());
	ck_assert_int_eq(bench_put(&b, r), ERR_OK);
}
END_TEST

static void other_open(struct ledger *other, struct chain **chain)
{
	struct refusal why = {.err = ERR_OK};

	ck_assert_msg(
		ledger_open(other, b.url, "sign2", HELP_NOW, &why) == ERR_OK, "%s", why.detail);
	ledger_generation(other, b.config);
	ck_assert_int_eq(ledger_serve(other, "main", HELP_NOW, chain), ERR_OK);
}

static enum err other_put(
	struct ledger *l, struct chain *chain, const struct record *r, uint64_t max_live_key)
{
	struct commit_item it = {.chain = chain, .record = *r, .max_live_key = max_live_key};

	ck_assert_int_eq(commit_group(l, &it, 1, HELP_NOW, 1000000), ERR_OK);
	buf_free(&it.replay);
	return it.answer.refusal.err;
}

/* Limits, idempotency keys and holds are the ledger's, not the node's. */
START_TEST(nodes_share_limits_and_idempotency_keys)
{
	struct record first = s[0].authorised, again = s[1].authorised;
	static struct ledger other;
	struct chain *chain;

	other_open(&other, &chain);
	first.idempotency = again.idempotency = octets_text("k");
	first.request_sha256 = again.request_sha256 = octets_of(s[0].request_sha256, SHA256_SIZE);
	ck_assert_int_eq(bench_put(&b, &first), ERR_OK);
	/* an open attempt is tried again; the first ISSUED wins, the other signature is LATE */
	ck_assert_int_eq(other_put(&other, chain, &again, 0), ERR_OK);
	ck_assert_int_eq(other_put(&other, chain, &s[1].issued, 0), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OUTCOME_UNKNOWN);
	ck_assert_ptr_nonnull(strstr(bench_text(&b, bench_size(&b) - 1), "\"type\":\"LATE\""));
	ck_assert_uint_gt(b.item[0].answer.replay_issued.len, 0);
	ck_assert_int_eq(other_put(&other, chain, &s[2].authorised, 1), ERR_QUOTA);
	ck_assert_int_eq(other_put(&other, chain, &s[2].authorised, 2), ERR_OK);
	ck_assert_int_eq(ledger_stop(&other, HELP_NOW, 1000000), ERR_OK);
	verified();
}
END_TEST

START_TEST(a_hold_reaches_the_chains_of_all_nodes)
{
	struct msg_hold m = {.request = "5b3f1e8a7c6d4e2fb0a1928374655647",
		.by = "security",
		.by_serial = "0b",
		.peer = "unix",
		.key = "www",
		.reason = octets_text("drill")};
	struct msg_hold_answer a;
	static struct ledger other;
	struct chain *chain;

	struct record start;

	other_open(&other, &chain);
	help_start(&start, &b.issuer);
	ck_assert_int_eq(other_put(&other, chain, &start, 0), ERR_OK);
	ck_assert_int_eq(hold_take(&b.ledger, RECORD_HELD, &m, HELP_NOW, b.ms, &a), ERR_OK);
	ck_assert_int_eq(a.refusal.err, ERR_OK);
	ck_assert_int_eq(other_put(&other, chain, &s[0].authorised, 0), ERR_HELD);
	ck_assert_uint_eq(chain->stored.tree.size, 3); /* START, HELD, REFUSED */
	ck_assert_int_eq(hold_take(&other, RECORD_RELEASED, &m, HELP_NOW, b.ms, &a), ERR_OK);
	ck_assert_int_eq(a.refusal.err, ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	ck_assert_ptr_nonnull(strstr(bench_text(&b, 1), "\"type\":\"RELEASED\""));
	ck_assert_int_eq(ledger_stop(&other, HELP_NOW, 1000000), ERR_OK);
	verified();
	/* each is told once, also to a process that starts later */
	other_open(&other, &chain);
	ck_assert_uint_eq(chain->stored.tree.size, 5);
	ck_assert_int_eq(other_put(&other, chain, &s[2].authorised, 0), ERR_OK);
	ck_assert_uint_eq(chain->stored.tree.size, 6);
	ck_assert_int_eq(ledger_stop(&other, HELP_NOW, 1000000), ERR_OK);
}
END_TEST

static volatile int lock_state; /* 1: taken; 2: about to be given back */

static void *lock_hold(void *arg)
{
	char url[HELP_URL];
	PGconn *c;

	(void)arg;
	help_url(url, "owner");
	c = PQconnectdb(url);
	PQclear(PQexec(c, "BEGIN"));
	PQclear(PQexec(c, "SELECT pg_advisory_xact_lock(x'64637367'::int, "
			  "'dcsign.records'::regclass::oid::int)"));
	lock_state = 1;
	usleep(700000);
	lock_state = 2;
	PQclear(PQexec(c, "COMMIT"));
	PQfinish(c);
	return NULL;
}

/* Nothing is judged while another node's group is under way. */
START_TEST(nodes_take_turns)
{
	pthread_t thread;

	ck_assert_int_eq(pthread_create(&thread, NULL, lock_hold, NULL), 0);
	while (lock_state == 0)
		usleep(1000);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(lock_state, 2);
	pthread_join(thread, NULL);
}
END_TEST

/* What was asked for at once and what was not give the same judgements. */
START_TEST(a_group_sees_what_it_wrote_itself)
{
	const struct record *group[] = {&s[0].authorised, &s[0].issued, &s[1].authorised,
		&s[1].failed, &s[2].authorised, &s[1].authorised};
	struct record twice = s[3].authorised;

	ck_assert_int_eq(bench_group(&b, group, 5, 2, 2), ERR_OK);
	for (int i = 0; i < 5; i++)
		ck_assert_int_eq(b.item[i].answer.refusal.err, ERR_OK);
	ck_assert_int_eq(bench_group(&b, (const struct record *[]){&twice}, 1, 2, 0), ERR_OK);
	ck_assert_int_eq(b.item[0].answer.refusal.err, ERR_QUOTA);
	/* another client with the same DC key, in the next group and in the same one */
	twice.spki = s[2].authorised.spki;
	twice.spki_sha256 = s[2].authorised.spki_sha256;
	twice.client = octets_text("other");
	ck_assert_int_eq(bench_put(&b, &twice), ERR_OK);
	ck_assert(b.item[0].answer.shared);
	ck_assert_int_eq(bench_size(&b), 7);

	struct record mine = s[3].authorised, theirs = mine;

	mine.id = octets_text("000000000000000000000000000000a1");
	theirs.id = octets_text("000000000000000000000000000000a2");
	theirs.client = octets_text("third");
	group[0] = &mine;
	group[1] = &theirs;
	mine.spki = theirs.spki = s[1].authorised.spki;
	mine.spki_sha256 = theirs.spki_sha256 = s[1].authorised.spki_sha256;
	ck_assert_int_eq(bench_group(&b, group, 2, 0, 0), ERR_OK);
	ck_assert(!b.item[0].answer.shared);
	ck_assert(b.item[1].answer.shared);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {a_connection_lost_between_groups, a_commit_that_was_not_made,
		a_commit_whose_answer_was_lost, a_database_that_went_back_stops_the_chain,
		one_process_writes_for_a_node, nodes_share_limits_and_idempotency_keys,
		a_hold_reaches_the_chains_of_all_nodes, nodes_take_turns,
		a_group_sees_what_it_wrote_itself};
	Suite *suite = suite_create("postgres");
	TCase *cases = tcase_create("postgres");

	if (!help_postgres()) {
		fprintf(stderr, "SKIP: run by e2e_postgres_suites.sh\n");
		return 77;
	}
	tcase_add_checked_fixture(cases, set_up, tear_down);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(cases, tests[i]);
	suite_add_tcase(suite, cases);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
