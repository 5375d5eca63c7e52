/*
 * Cost does not grow with age: what a group costs, what a start takes, and what memory is held,
 * with 1,000 records and with a million. DCSIGN_TESTS=long asserts the figures; otherwise a small
 * ledger is only gone through.
 */
#include "settings.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ledger_bench.h"

#define HALF	 128		    /* credentials in a group */
#define MEASURED (is_long ? 60 : 4) /* groups */

static struct bench b;
static struct sample s;
static bool is_long;
static unsigned number;

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static long resident_kib(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	ck_assert_int_eq(fscanf(f, "%*d %ld", &pages), 1);
	fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

/* HALF credentials: AUTHORISED in one group, ISSUED in the next. The clock goes on, so that they
 * expire and are forgotten. */
static void group(void)
{
	static char id[HALF][ID_SIZE];
	static struct record authorised[HALF], issued[HALF];
	const struct record *all[HALF];

	b.now += 120;
	b.ms += 1000;
	for (unsigned i = 0; i < HALF; i++) {
		snprintf(id[i], ID_SIZE, "%032x", ++number);
		authorised[i] = s.authorised;
		issued[i] = s.issued;
		authorised[i].id = issued[i].id = octets_text(id[i]);
		authorised[i].time = authorised[i].now = issued[i].time = b.now;
		authorised[i].expiry = b.now + 3600;
		all[i] = &authorised[i];
	}
	ck_assert_int_eq(bench_group(&b, all, HALF, 100000, 0), ERR_OK);
	for (unsigned i = 0; i < HALF; i++) {
		ck_assert_int_eq(b.item[i].answer.refusal.err, ERR_OK);
		all[i] = &issued[i];
	}
	ck_assert_int_eq(bench_group(&b, all, HALF, 0, 0), ERR_OK);
	for (unsigned i = 0; i < HALF; i++)
		ck_assert_int_eq(b.item[i].answer.refusal.err, ERR_OK);
	ck_assert_int_eq(b.ledger.store->engine->tidy(b.ledger.store), ERR_OK);
}

/* CPU seconds of one group: the least of three rounds, for a busy machine adds and never takes. */
static double group_cost(void)
{
	double least = 1e9;

	for (int round = 0; round < 3; round++) {
		double begun = seconds(CLOCK_PROCESS_CPUTIME_ID);

		for (int i = 0; i < MEASURED; i++)
			group();

		double cost = (seconds(CLOCK_PROCESS_CPUTIME_ID) - begun) / MEASURED;

		least = cost < least ? cost : least;
	}
	return least;
}

static double start_time(void)
{
	double least = 1e9;

	for (int round = 0; round < 3; round++) {
		bench_stop(&b);

		double begun = seconds(CLOCK_MONOTONIC);

		bench_open(&b);

		double took = seconds(CLOCK_MONOTONIC) - begun;

		least = took < least ? took : least;
	}
	return least;
}

START_TEST(cost_does_not_grow_with_age)
{
	const char *tests = getenv("DCSIGN_TESTS");
	int64_t most;
	double young, old, start_young, start_old;
	long memory_young, memory_old;
	struct record start, config;

	is_long = tests && strcmp(tests, "long") == 0;
	most = is_long ? 1000000 : 6000;
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 1); /* what is measured is not the disk */
	bench_make(&b);
	sample_make(&s, &b.issuer, 1);
	bench_open(&b);
	help_start(&start, &b.issuer);
	help_config(&config, &b.issuer);
	ck_assert_int_eq(bench_put(&b, &start), ERR_OK);
	ck_assert_int_eq(bench_put(&b, &config), ERR_OK);
	while (bench_size(&b) < 1000)
		group();
	start_young = start_time();
	young = group_cost();
	while (bench_size(&b) < (is_long ? 30000 : 3000))
		group();
	memory_young = resident_kib();
	while (bench_size(&b) < most)
		group();
	memory_old = resident_kib();
	old = group_cost();
	start_old = start_time();
	printf("age: at 1,000 records %.0f credentials per CPU second, start %.1f ms; at %lld %.0f "
	       "(%.2f of that), start %.1f ms; resident %ld KiB, before %ld KiB\n",
		HALF / young, start_young * 1e3, (long long)bench_size(&b), HALF / old, young / old,
		start_old * 1e3, memory_old, memory_young);
	fflush(stdout);
	if (is_long) {
		/* The ledger's own CPU time, a small part of what an issuance costs; with 1,000
		 * records nothing has expired yet, so nothing is purged. */
		ck_assert(young / old >= 0.6);
		ck_assert(start_old < 1.0);
		ck_assert_int_lt(memory_old, memory_young + memory_young / 10 + 4096);
	}
	bench_stop(&b);
	sample_free(&s);
	bench_remove(&b);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("age");
	TCase *c = tcase_create("age");

	tcase_set_timeout(c, 1800);
	tcase_add_test(c, cost_does_not_grow_with_age);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
