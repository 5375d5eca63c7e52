/* Signed heads: when they are made, what they cover, where they go, and what a start does with
 * them. */
#include "settings.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ledger/heads.h"
#include "ledger/tree.h"
#include "ledger/verify.h"
#include "ledger_bench.h"

static struct bench b;
static char key[160], file[160], said[4096], origin[] = "log.test";

static void set_up(void)
{
	bench_make(&b);
	snprintf(key, sizeof(key), "%s/ledger/checkpoint.key", b.folder);
	snprintf(file, sizeof(file), "%s/known", b.folder);
	b.sign = true;
	b.origin = origin;
	b.file = file;
	bench_open(&b);
}

static void tear_down(void)
{
	if (b.ledger.store)
		bench_stop(&b);
	bench_remove(&b);
}

static void records(int n)
{
	struct record r;

	record_init(&r, RECORD_CLOCK);
	r.time = HELP_NOW;
	r.boottime = r.drift_ms = 1;
	r.boot_id = octets_text("6f0e1a52-0a5c-4f6e-9d0b-0c3f3f1e2d4c");
	for (int i = 0; i < n; i++)
		ck_assert_int_eq(bench_put(&b, &r), ERR_OK);
}

static struct checkpoint newest(void)
{
	struct checkpoint c;
	const struct buf *note = &b.chain->note;

	ck_assert_int_eq(checkpoint_verify(&c, (const char *)note->octets, note->len,
				 b.ledger.signer.public_key),
		ERR_OK);
	return c;
}

static uint64_t begins;

static void take(bool all)
{
	ck_assert_int_eq(heads_take(&b.ledger, all, b.now, b.ms), ERR_OK);
}

static char *text_of(const char *path)
{
	static char text[65536];
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;

	if (f)
		fclose(f);
	text[n] = '\0';
	return text;
}

static void reconfigure(void)
{
	bench_stop(&b);
	config_unref(b.config);
	b.config = NULL;
	bench_open(&b);
}

/* These chains have no START: that is said of each and not counted. */
static void say(void *arg, const char *chain, int64_t idx, const char *what)
{
	size_t len = strlen(said);

	if (strstr(what, "the chain begins with")) {
		begins++;
		return;
	}
	(void)arg;
	snprintf(said + len, sizeof(said) - len, "%s %lld %s\n", chain, (long long)idx, what);
}

/* Of the ledger at rest. */
static uint64_t problems(struct verify *v)
{
	struct verify own = {.problem = say};
	struct store *st;

	v = v ? v : &own;
	v->problem = say;
	said[0] = '\0';
	bench_reader(&b, &st);
	begins = 0;
	ck_assert_int_eq(verify_store(v, st, NULL), ERR_OK);
	st->engine->abandon(st);
	return v->problems - begins;
}

/* ---- the key ---- */

START_TEST(the_key_is_made_once_and_private)
{
	uint8_t first[CHECKPOINT_KEY];
	struct stat st;
	char pem[65536];

	ck_assert(b.ledger.key_made);
	ck_assert_int_eq(stat(key, &st), 0);
	ck_assert_int_eq(st.st_mode & 07777, 0600);
	memcpy(first, b.ledger.signer.public_key, sizeof(first));
	snprintf(pem, sizeof(pem), "%s", text_of(key));
	ck_assert_ptr_nonnull(strstr(pem, "BEGIN PRIVATE KEY"));
	bench_reopen(&b);
	ck_assert(!b.ledger.key_made);
	ck_assert_int_eq(memcmp(first, b.ledger.signer.public_key, sizeof(first)), 0);
	ck_assert_str_eq(pem, text_of(key));
}
END_TEST

START_TEST(a_key_that_others_can_read_is_refused)
{
	struct refusal why;

	bench_stop(&b);
	ck_assert_int_eq(chmod(key, 0640), 0);
	ck_assert_int_eq(bench_try(&b, &why), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(why.detail, "chmod 0600"));
	ck_assert_int_eq(chmod(key, 0600), 0);
	ck_assert_int_eq(truncate(key, 40), 0);
	ck_assert_int_eq(bench_try(&b, &why), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(why.detail, "Ed25519"));
	ck_assert_int_eq(unlink(key), 0);
	ck_assert_int_eq(symlink(b.path, key), 0);
	ck_assert_int_eq(bench_try(&b, &why), ERR_NOT_FOUND);
}
END_TEST

START_TEST(an_origin_that_a_note_cannot_carry_is_refused)
{
	static char bad[] = "my log";
	struct refusal why;

	bench_stop(&b);
	config_unref(b.config);
	b.config = NULL;
	b.origin = bad;
	ck_assert_int_eq(bench_try(&b, &why), ERR_FORMAT);
	ck_assert_str_eq(why.field, "origin");
}
END_TEST

/* ---- when, and over what ---- */

START_TEST(a_head_covers_all_that_stands_before_it)
{
	struct checkpoint c;
	uint8_t root[SHA256_SIZE];
	struct tree t = {.store = b.ledger.store, .chain = "sign1/main"};

	records(5);
	take(true);
	c = newest();
	ck_assert_str_eq(c.origin, "log.test/sign1/main");
	ck_assert_uint_eq(c.size, 5);
	ck_assert_int_eq(bench_size(&b), 6);
	ck_assert_int_eq(merkle_root_at(5, tree_subtree, &t, root), ERR_OK);
	ck_assert_int_eq(memcmp(root, c.root, sizeof(root)), 0);
	ck_assert_ptr_nonnull(strstr(bench_text(&b, 5), "\"type\":\"CHECKPOINT\""));
	ck_assert_ptr_nonnull(strstr(bench_text(&b, 5), "\"size\":5,"));
	/* nothing new: nothing to sign */
	take(true);
	ck_assert_int_eq(bench_size(&b), 6);
}
END_TEST

START_TEST(heads_come_every_so_many_records)
{
	b.every = 10;
	reconfigure();

	int64_t size = bench_size(&b);

	records(9);
	ck_assert_int_eq(heads_wait(&b.ledger, b.ms), -1);
	take(false);
	ck_assert_int_eq(bench_size(&b), size + 9);
	records(1);
	ck_assert_int_eq(heads_wait(&b.ledger, b.ms), 0);
	take(false);
	ck_assert_int_eq(bench_size(&b), size + 11);
	ck_assert_uint_eq(newest().size, (uint64_t)size + 10);
	records(9);
	take(false);
	ck_assert_int_eq(bench_size(&b), size + 20);
}
END_TEST

START_TEST(heads_come_every_so_many_seconds)
{
	b.interval = 60;
	reconfigure();
	ck_assert_int_eq(heads_wait(&b.ledger, b.ms), -1);
	records(1);

	int64_t size = bench_size(&b);

	ck_assert_int_eq(heads_wait(&b.ledger, b.ms + 20000), 40000);
	b.ms += 59999;
	take(false);
	ck_assert_int_eq(bench_size(&b), size);
	b.ms++;
	ck_assert_int_eq(heads_wait(&b.ledger, b.ms), 0);
	take(false);
	ck_assert_int_eq(bench_size(&b), size + 1);
	ck_assert_int_eq(heads_wait(&b.ledger, b.ms + 1000000), -1);
}
END_TEST

START_TEST(the_last_head_covers_stop)
{
	struct verify v = {.problem = say};

	records(3);
	bench_stop(&b);
	ck_assert_uint_eq(problems(&v), 0);
	ck_assert_uint_eq(v.heads, 1);
	ck_assert_uint_eq(v.records, 5);
	bench_open(&b);
	ck_assert_uint_eq(newest().size, 4);
	ck_assert_ptr_nonnull(strstr(bench_text(&b, 3), "\"type\":\"STOP\""));
}
END_TEST

/* ---- where they go ---- */

START_TEST(the_file_has_the_newest_of_each_chain)
{
	struct commit_item it = {.own = true, .chain = ledger_chain(&b.ledger, "other")};

	records(2);
	record_init(&it.record, RECORD_STOP);
	it.record.time = HELP_NOW;
	ck_assert_int_eq(commit_group(&b.ledger, &it, 1, b.now, b.ms), ERR_OK);
	take(true);
	records(2);
	take(true);
	ck_assert_ptr_nonnull(strstr(text_of(file), "log.test/sign1/main\n5\n"));
	ck_assert_ptr_nonnull(strstr(text_of(file), "log.test/sign1/other\n1\n"));
	ck_assert_ptr_null(strstr(text_of(file), "log.test/sign1/main\n2\n"));
	bench_reopen(&b);
}
END_TEST

START_TEST(the_command_gets_each_note)
{
	char script[160], out[160], text[1024];
	FILE *f;

	snprintf(script, sizeof(script), "%s/command", b.folder);
	snprintf(out, sizeof(out), "%s/notes", b.folder);
	snprintf(text, sizeof(text),
		"#!/bin/sh\n/bin/cat >>%s\ncase $(ls /proc/self/fd | wc -l) in [1-5]) ;; *) "
		"echo many descriptors >>%s;; esac\nenv >>%s.env\n",
		out, out, out);
	f = fopen(script, "w");
	ck_assert(f && fputs(text, f) != EOF && fclose(f) == 0);
	ck_assert_int_eq(chmod(script, 0700), 0);
	b.command = script;
	reconfigure();
	records(1);
	take(true);
	records(1);
	take(true);

	char first[CHECKPOINT_MAX];

	snprintf(first, sizeof(first), "%s", buf_cstr(&b.chain->note));
	bench_stop(&b); /* waits for it */
	ck_assert_ptr_nonnull(strstr(text_of(out), first));
	ck_assert_ptr_null(strstr(text_of(out), "many descriptors"));

	unsigned notes = 0;

	for (const char *at = text_of(out); (at = strstr(at, "log.test/sign1/main\n")); at++)
		notes++;
	ck_assert_uint_eq(notes, 3);
	snprintf(text, sizeof(text), "%s.env", out);
	ck_assert_ptr_null(strstr(text_of(text), "TOP_BUILDDIR"));
}
END_TEST

/* ---- what a start refuses ---- */

static void copy_put_back(bool save)
{
	char command[512];

	snprintf(command, sizeof(command), save ? "cp -p %s %s.old" : "cp -p %s.old %s", b.path,
		b.path);
	ck_assert_int_eq(system(command), 0);
}

START_TEST(an_older_copy_is_refused)
{
	struct refusal why;

	if (help_postgres()) /* what is done here is done to files */
		return;
	records(3);
	bench_stop(&b);
	copy_put_back(true);
	bench_open(&b);
	records(1);
	bench_stop(&b);
	copy_put_back(false);
	ck_assert_int_eq(bench_try(&b, &why), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(why.detail, "has fewer: it was put back to an older"));
	/* with nothing kept elsewhere nobody can see it */
	ck_assert_int_eq(unlink(file), 0);
	ck_assert_int_eq(bench_try(&b, &why), ERR_OK);
	ledger_abandon(&b.ledger);
}
END_TEST

START_TEST(another_history_of_the_same_length_is_refused)
{
	struct refusal why;

	if (help_postgres()) /* what is done here is done to files */
		return;
	records(3);
	bench_stop(&b);
	copy_put_back(true);
	bench_open(&b);
	records(1);
	bench_stop(&b);

	char *known = strdup(text_of(file));

	copy_put_back(false);
	ck_assert_int_eq(unlink(file), 0);
	bench_open(&b);
	b.now++;
	records(2);
	bench_stop(&b);
	ck_assert_int_eq(file_replace(file, known, strlen(known)), ERR_OK);
	free(known);
	ck_assert_int_eq(bench_try(&b, &why), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(why.detail, "has others"));
}
END_TEST

START_TEST(a_lost_ledger_is_refused)
{
	struct refusal why;
	char beside[160];

	if (help_postgres()) /* what is done here is done to files */
		return;
	records(1);
	bench_stop(&b);
	ck_assert_int_eq(unlink(b.path), 0);
	ck_assert_int_eq(bench_try(&b, &why), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(why.detail, "is gone"));
	snprintf(beside, sizeof(beside), "%s-reserve", b.path);
	ck_assert_int_eq(unlink(beside), 0);
	ck_assert_int_eq(bench_try(&b, &why), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(why.detail, "has no such chain"));
}
END_TEST

START_TEST(a_note_of_another_key_is_refused)
{
	struct refusal why;

	records(1);
	bench_stop(&b);
	ck_assert_int_eq(unlink(key), 0);
	ck_assert_int_eq(bench_try(&b, &why), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(why.detail, "did not sign"));
	ck_assert_int_eq(file_replace(file, "noise\n", 6), ERR_OK);
	ck_assert_int_eq(bench_try(&b, &why), ERR_FORMAT);
	ck_assert_ptr_nonnull(strstr(why.detail, "not a file of signed notes"));
	/* without the file the loss of a key can't be told from its first start */
	ck_assert_int_eq(unlink(file), 0);
	bench_open(&b);
	records(1);
	bench_reopen(&b);
}
END_TEST

START_TEST(a_kept_note_that_does_not_fit_the_records_is_refused)
{
	struct refusal why;

	records(20);
	bench_stop(&b);
	bench_sql(&b, "UPDATE nodes SET hash = zeroblob(32) WHERE level = 4");
	ck_assert_int_eq(unlink(file), 0);
	ck_assert_int_eq(bench_try(&b, &why), ERR_FORMAT);
	ck_assert_uint_eq(problems(NULL), 1);
	ck_assert_ptr_nonnull(strstr(said, "inner node"));
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {the_key_is_made_once_and_private,
		a_key_that_others_can_read_is_refused,
		an_origin_that_a_note_cannot_carry_is_refused,
		a_head_covers_all_that_stands_before_it, heads_come_every_so_many_records,
		heads_come_every_so_many_seconds, the_last_head_covers_stop,
		the_file_has_the_newest_of_each_chain, the_command_gets_each_note,
		an_older_copy_is_refused, another_history_of_the_same_length_is_refused,
		a_lost_ledger_is_refused, a_note_of_another_key_is_refused,
		a_kept_note_that_does_not_fit_the_records_is_refused};
	Suite *suite = suite_create("heads");
	TCase *tc = tcase_create("heads");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(suite, tc);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed != 0;
}
