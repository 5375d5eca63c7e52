/* `dcsign ledger archive`, run after run, while the ledger is in use: what leaves, what stays and
 * why, and that all goes on; on SQLite, and on PostgreSQL (see help_postgres). */
#include "settings.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ledger/archive.h"
#include "ledger/heads.h"
#include "ledger/holds.h"
#include "ledger/verify.h"
#include "ledger_bench.h"

#define SAMPLES 8
#define RUNS	4
#define HOUR	3600

static struct bench b;
static struct sample s[SAMPLES];
static struct archive_moved moved;
static char path[RUNS][128];
static int runs;

static void set_up(void)
{
	static char origin[] = "archive.test";
	struct record start, config;

	bench_make(&b);
	b.sign = true;
	b.origin = origin;
	b.every = 4;
	bench_open(&b);
	for (unsigned i = 0; i < SAMPLES; i++)
		sample_make(&s[i], &b.issuer, i + 1);
	help_start(&start, &b.issuer);
	help_config(&config, &b.issuer);
	ck_assert_int_eq(bench_put(&b, &start), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &config), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[6].self_test), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[6].proved), ERR_OK);
	runs = 0;
}

static void tear_down(void)
{
	bench_stop(&b);
	for (unsigned i = 0; i < SAMPLES; i++)
		sample_free(&s[i]);
	bench_remove(&b);
}

/* As the one who may: the file's owner, the database's owner beside the nodes. */
static struct store *owner(void)
{
	struct refusal why = {0};
	char url[HELP_URL];
	struct store *st;

	if (!help_postgres())
		return b.ledger.store;
	help_url(url, "owner");
	ck_assert_msg(store_postgres.open(&st, url, &why) == ERR_OK, "%s", why.detail);
	return st;
}

static void disowned(struct store *st)
{
	if (st != b.ledger.store)
		st->engine->abandon(st);
}

static void told(void *arg, const struct archive_moved *m)
{
	(void)arg;
	moved = *m;
}

/* Between the choice of the records and their end: before the transaction that ends them. */
static void (*meanwhile)(void);
static const struct store_engine *real;

static enum err begin_later(struct store *st)
{
	void (*first)(void) = meanwhile;

	meanwhile = NULL;
	if (first)
		first();
	return real->begin(st);
}

static void archived(int64_t before)
{
	struct store *st = owner();
	struct store_engine engine = *st->engine;
	struct refusal why = {0};

	real = st->engine;
	engine.begin = begin_later;
	st->engine = &engine;
	snprintf(path[runs], sizeof(path[runs]), "%s/old-%d", b.folder, runs);
	ck_assert_msg(archive_move(st, path[runs], before, b.now, told, NULL, &why) == ERR_OK, "%s",
		why.detail);
	st->engine = real;
	runs += access(path[runs], F_OK) == 0;
	disowned(st);
}

/* ---- what is read then ---- */

static struct buf all[2];

static enum err keep_row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct buf *to = arg;

	(void)idx;
	buf_put(to, leaf, SHA256_SIZE);
	buf_put(to, json, len);
	buf_u8(to, '\n');
	return ERR_OK;
}

static void problem(void *arg, const char *chain, int64_t idx, const char *what)
{
	(void)arg;
	printf("%s, record %lld: %s\n", chain, (long long)idx, what);
}

/* The records as they are, and what the verifier says of them. */
static uint64_t read_all(struct buf *to, bool with_archives)
{
	struct verify v = {.problem = problem};
	struct archive *archive = NULL;
	struct refusal why = {0};
	struct store *st;

	buf_free(to);
	*to = (struct buf)BUF_INIT(1u << 24);
	for (int i = 0; with_archives && i < runs; i++)
		ck_assert_int_eq(archive_open(&archive, path[i], &why), ERR_OK);
	if (help_postgres())
		bench_reader(&b, &st);
	else
		st = b.ledger.store;
	st->archive = archive;
	ck_assert_int_eq(st->engine->record_walk(st, "sign1/main", 0, keep_row, to), ERR_OK);
	ck_assert_int_eq(verify_store(&v, st, NULL), ERR_OK);
	st->archive = NULL;
	archive_free(archive);
	disowned(st);
	ck_assert_uint_eq(v.problems, 0);
	return v.archived;
}

/* With all archives the ledger reads as it did before the first; without them it verifies. */
static void same_as_before(uint64_t gone)
{
	struct buf now = BUF_INIT(1u << 24);

	ck_assert_uint_eq(read_all(&now, true), 0);
	ck_assert_uint_ge(now.len, all[0].len);
	ck_assert_mem_eq(now.octets, all[0].octets, all[0].len);
	ck_assert_uint_eq(read_all(&all[1], false), gone);
	buf_free(&all[0]);
	all[0] = now;
}

static bool there(const char *id, const char *type)
{
	char want[64], line[RECORD_MAX];
	struct buf *a = &all[1];

	snprintf(want, sizeof(want), "\"type\":\"%s\"", type);
	for (size_t at = 0; at < a->len;) {
		const char *json = (const char *)a->octets + at + SHA256_SIZE;
		size_t len = strcspn(json, "\n");

		snprintf(line, sizeof(line), "%.*s", (int)len, json);
		if (strstr(line, id) && strstr(line, want))
			return true;
		at += SHA256_SIZE + len + 1;
	}
	return false;
}

static enum err hold(enum record_type type)
{
	struct msg_hold m = {.reason = octets_text("ticket 7"), .by_serial = "0b", .peer = "unix"};
	struct msg_hold_answer a;

	memset(m.request, 'a', ID_SIZE - 1);
	strcpy(m.by, "security");
	strcpy(m.key, "www");
	ck_assert_int_eq(hold_take(&b.ledger, type, &m, b.now, b.ms, &a), ERR_OK);
	return a.refusal.err;
}

/* Refusals, so that a signed head comes. */
static void heads_come(void)
{
	for (int i = 0; i < 6; i++) {
		struct record r = s[7].refused;
		char id[ID_SIZE];

		snprintf(id, sizeof(id), "%031x%d", (unsigned)(b.now - HELP_NOW + 1), i);
		r.id = octets_text(id);
		r.time = b.now;
		b.ms += 2000; /* a flood is counted, this is none */
		ck_assert_int_eq(bench_put(&b, &r), ERR_OK);
	}
	ck_assert_int_eq(heads_take(&b.ledger, false, b.now, b.ms), ERR_OK);
}

static void forward(int64_t seconds)
{
	b.now += seconds;
	b.ms += seconds * 1000;
}

static void idempotent(struct sample *of, const char *key)
{
	of->authorised.idempotency = octets_text(key);
	of->authorised.request_sha256 = octets_of(of->request_sha256, SHA256_SIZE);
}

/* One credential with an idempotency key, one without, an open attempt, one that failed, a hold. */
static void a_day_of_records(void)
{
	idempotent(&s[1], "one");
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[0].issued), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].issued), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[2].authorised), ERR_OK); /* stays open */
	ck_assert_int_eq(bench_put(&b, &s[3].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[3].failed), ERR_OK);
	ck_assert_int_eq(hold(RECORD_HELD), ERR_OK);
	heads_come();
	forward(60);
	heads_come();
	buf_free(&all[0]);
	read_all(&all[0], false);
}

/* Nothing of it is over yet but the attempt that failed. */
static uint64_t what_lives_stays(void)
{
	uint64_t gone;

	archived(HELP_NOW + 30);
	gone = moved.taken;
	ck_assert_uint_gt(gone, 5);
	ck_assert_uint_ge(moved.stay[STAY_ALIVE], 5); /* two credentials, an open attempt */
	ck_assert_uint_ge(moved.stay[STAY_BASE], 5);
	same_as_before(gone);
	ck_assert(there(s[0].id, "AUTHORISED") && there(s[0].id, "ISSUED"));
	ck_assert(there(s[2].id, "AUTHORISED"));
	ck_assert(there("\"key\":\"www\"", "HELD"));
	archived(HELP_NOW + 30); /* nothing is new */
	ck_assert_int_eq(runs, 1);

	/* the hold holds, the key is answered, the attempt has an outcome */
	ck_assert_int_eq(bench_put(&b, &s[4].authorised), ERR_HELD);
	ck_assert_int_eq(hold(RECORD_RELEASED), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_OK);
	ck_assert_uint_gt(b.item[0].replay.len, 0);
	ck_assert_int_eq(bench_put(&b, &s[2].failed), ERR_OK);
	same_as_before(gone);
	return gone;
}

static void later(int64_t seconds)
{
	forward(seconds);
	heads_come();
	forward(60);
	heads_come();
}

START_TEST(run_after_run_what_is_over_leaves)
{
	uint64_t gone;

	a_day_of_records();
	gone = what_lives_stays();

	/* the credentials have expired; what stayed leaves, but for what can still be answered */
	later(2 * HOUR);
	archived(HELP_NOW + 2 * HOUR + 90);
	ck_assert_uint_ge(moved.stay[STAY_IDEMPOTENCY], 2);
	ck_assert_uint_eq(moved.stay[STAY_ALIVE], 0);
	gone += moved.taken;
	same_as_before(gone);
	ck_assert(!there(s[0].id, "AUTHORISED") && !there(s[0].id, "ISSUED"));
	ck_assert(!there(s[2].id, "AUTHORISED") && there(s[1].id, "ISSUED"));
	ck_assert(!there(s[3].id, "AUTHORISED") && !there(s[3].id, "FAILED"));
	ck_assert(there("\"key\":\"www\"", "RELEASED"));
	s[1].authorised.now = b.now;
	ck_assert_int_eq(bench_put(&b, &s[1].authorised), ERR_IDEMPOTENCY_EXPIRED);
	s[1].authorised.now = HELP_NOW;

	later(25 * HOUR); /* nothing asks for it any more */
	archived(HELP_NOW + 27 * HOUR + 150);
	gone += moved.taken;
	same_as_before(gone);
	ck_assert(!there(s[1].id, "AUTHORISED") && !there(s[1].id, "ISSUED"));
	ck_assert_uint_eq(moved.stay[STAY_IDEMPOTENCY], 0);
	ck_assert_int_eq(runs, 3);
	bench_reopen(&b);
	heads_come();
	same_as_before(gone);
	buf_free(&all[0]);
	buf_free(&all[1]);
}
END_TEST

static void a_signature_comes(void)
{
	struct record late = s[3].issued;

	late.type = RECORD_LATE;
	ck_assert_int_eq(bench_put(&b, &late), ERR_OK);
}

START_TEST(an_attempt_that_goes_on_meanwhile_stays)
{
	ck_assert_int_eq(bench_put(&b, &s[3].authorised), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &s[3].unknown), ERR_OK);
	forward(3 * HOUR);
	heads_come();
	forward(60);
	heads_come();
	buf_free(&all[0]);
	read_all(&all[0], false);
	meanwhile = a_signature_comes;
	archived(b.now - 30);
	ck_assert_ptr_null(meanwhile);
	ck_assert_uint_gt(moved.taken, 4);
	ck_assert_uint_eq(moved.stay[STAY_LATER], 2);
	same_as_before(moved.taken);
	ck_assert(there(s[3].id, "AUTHORISED") && there(s[3].id, "UNKNOWN"));
	ck_assert(there(s[3].id, "LATE"));
	buf_free(&all[0]);
	buf_free(&all[1]);
}
END_TEST

/* More than one statement's worth; the nodes of a database write on meanwhile. */
START_TEST(many_records_while_others_are_written)
{
	for (int i = 0; i < 120; i++) {
		forward(1);
		heads_come();
	}
	buf_free(&all[0]);
	read_all(&all[0], false);
	meanwhile = heads_come;
	archived(b.now);
	ck_assert_uint_gt(moved.taken, 600);
	same_as_before(moved.taken);
	heads_come();
	bench_reopen(&b);
	same_as_before(moved.taken);
	buf_free(&all[0]);
	buf_free(&all[1]);
}
END_TEST

/* A node's role changes no record: said before a file is made. */
START_TEST(a_node_may_not)
{
	struct refusal why = {0};
	char file[128];

	heads_come();
	forward(60);
	heads_come();
	snprintf(file, sizeof(file), "%s/old", b.folder);
	if (!help_postgres())
		return;
	ck_assert_int_eq(
		archive_move(b.ledger.store, file, b.now, b.now, told, NULL, &why), ERR_NOT_FOUND);
	ck_assert_ptr_nonnull(strstr(why.detail, "as the owner"));
	ck_assert_int_ne(access(file, F_OK), 0);
	ck_assert_int_eq(bench_put(&b, &s[0].authorised), ERR_OK);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {run_after_run_what_is_over_leaves,
		an_attempt_that_goes_on_meanwhile_stays, many_records_while_others_are_written,
		a_node_may_not};
	Suite *suite = suite_create("archive");
	TCase *c = tcase_create("archive");

	tcase_set_timeout(c, 120);
	tcase_add_checked_fixture(c, set_up, tear_down);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(c, tests[i]);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
