/* The gate before C_Sign: its width climbs to where a token signs fastest, and a call that does not
 * come back takes no room. */
#include <check.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "token.h"
#include "token_gate.h"

/* Tokens by the rate that so many threads reach. */
static double distant(unsigned width) /* each thread waits for its answer */
{
	return 50.0 * width;
}

static double serial(unsigned width) /* one lock around everything */
{
	(void)width;
	return 22000;
}

static double convoy(unsigned width)
{
	return width == 1 ? 22000 : 20000;
}

static double two_cores(unsigned width)
{
	return width == 1 ? 2000 : width == 2 ? 4000 : 3990 - 10 * width;
}

static double eight_at_a_time(unsigned width)
{
	return width < 8 ? 100.0 * width : 800;
}

static const struct {
	double (*rate)(unsigned width);
	unsigned most, from, to; /* the width is in this range in the end */
	double best;
} tokens[] = {
	{distant, 40, 40, 40, 2000},
	{serial, 40, 1, 1, 22000},
	{convoy, 8, 1, 1, 22000},
	{two_cores, 8, 2, 3, 4000},
	{eight_at_a_time, 40, 8, 9, 800},
};

/* The work done in 2,000 windows of equal length, and where the width is most of the time. */
START_TEST(climbs)
{
	struct climb c = {.rests = 16};
	unsigned width = tokens[_i].most, within = 0;
	double done = 0;

	for (unsigned n = 0; n < 2000; n++) {
		double rate = tokens[_i].rate(width);
		/* what a clock and a scheduler do to it: up to 2 % either way */
		double noise = 1 + 0.02 * ((int)(n * 7919 % 201) - 100) / 100;

		done += rate;
		if (n >= 100)
			within += width >= tokens[_i].from && width <= tokens[_i].to;
		width = climb_step(&c, width, tokens[_i].most, rate * noise);
		ck_assert_uint_ge(width, 1);
		ck_assert_uint_le(width, tokens[_i].most);
	}
	ck_assert_msg(done >= 0.97 * 2000 * tokens[_i].best, "%.1f %% of the best rate",
		100 * done / (2000 * tokens[_i].best));
	ck_assert_msg(within >= 1700, "%u of 1900 windows at the best width", within);
}
END_TEST

/* The token changes while it works: from one that is served by one thread to a distant one. */
START_TEST(climbs_up_again)
{
	struct climb c = {.rests = 16};
	unsigned width = 40;

	for (unsigned n = 0; n < 500; n++)
		width = climb_step(&c, width, 40, serial(width));
	ck_assert_uint_eq(width, 1);
	for (unsigned n = 0; n < 500; n++)
		width = climb_step(&c, width, 40, distant(width));
	ck_assert_uint_ge(width, 30);
}
END_TEST

START_TEST(room_and_deadline)
{
	struct gate g;
	struct pass one, two, three;
	int64_t before, took = INT64_MAX;

	gate_init(&g, 4, 2);
	ck_assert_uint_eq(gate_width(&g), 2);
	ck_assert(gate_enter(&g, &one, monotonic_ms() + 1000));
	ck_assert(gate_enter(&g, &two, monotonic_ms() + 1000));
	for (int i = 0; i < 100 && took >= 240; i++) { /* a busy machine is late now and then */
		before = monotonic_ms();
		ck_assert(!gate_enter(&g, &three, before + 60));
		took = monotonic_ms() - before;
		ck_assert_int_ge(took, 60);
	}
	ck_assert_int_lt(took, 240);
	gate_leave(&g, &one);
	ck_assert(gate_enter(&g, &three, monotonic_ms() + 60000));
	gate_leave(&g, &two);
	gate_leave(&g, &three);
	ck_assert_uint_eq(g.inside, 0);
	gate_destroy(&g);
}
END_TEST

static struct gate shared;
static _Atomic bool enough;
static _Atomic unsigned least = 8;

static void *wait_inside(void *arg)
{
	struct pass p;

	(void)arg;
	while (!enough) {
		unsigned width;

		ck_assert(gate_enter(&shared, &p, monotonic_ms() + 60000));
		usleep(4000);
		gate_leave(&shared, &p);
		width = gate_width(&shared);
		if (width < least)
			least = width;
	}
	return NULL;
}

/* Threads that only wait inside do not hinder each other: no narrower width is tried. */
START_TEST(distant_token_keeps_its_width)
{
	pthread_t thread[16];

	gate_init(&shared, 8, 0);
	for (int i = 0; i < 16; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, wait_inside, NULL), 0);
	usleep(1500000);
	enough = true;
	for (int i = 0; i < 16; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(least, 8);
	ck_assert_uint_eq(gate_turn(&shared), 1);
	gate_destroy(&shared);
}
END_TEST

START_TEST(hung_call_takes_no_room)
{
	struct gate g;
	struct pass hung, next;
	int64_t before = monotonic_ms();

	gate_init(&g, 4, 1);
	ck_assert(gate_enter(&g, &hung, before + 60000));
	ck_assert(gate_enter(&g, &next, before + 60000));
	ck_assert_int_ge(monotonic_ms(), before + 240);
	ck_assert_int_lt(monotonic_ms(), before + 50000);
	ck_assert_uint_eq(g.inside, 1);
	gate_leave(&g, &hung); /* it does come back */
	ck_assert_uint_eq(g.inside, 1);
	gate_leave(&g, &next);
	ck_assert_uint_eq(g.inside, 0);
	gate_destroy(&g);
}
END_TEST

/* Where stays take long, one is forgotten later; and once. */
START_TEST(long_stays_are_forgotten_late)
{
	struct gate g;
	struct pass hung, second, next;

	gate_init(&g, 4, 1);
	ck_assert(gate_enter(&g, &hung, monotonic_ms() + 60000));
	g.mean = 10000000;
	hung.since -= 1000000; /* a second ago */
	ck_assert(!gate_enter(&g, &next, monotonic_ms() + 30));
	hung.since -= 100000000;
	ck_assert(gate_enter(&g, &second, monotonic_ms() + 60000));
	ck_assert(hung.forgotten && !second.forgotten);
	second.since -= 100000000;
	ck_assert(gate_enter(&g, &next, monotonic_ms() + 60000));
	ck_assert_uint_eq(g.inside, 1);
	gate_leave(&g, &hung); /* they do come back */
	gate_leave(&g, &second);
	ck_assert_uint_eq(g.inside, 1);
	gate_leave(&g, &next);
	ck_assert_ptr_null(g.passes);
	gate_destroy(&g);
}
END_TEST

/* The end of a stay that fills a window, of a gate of 8: its width afterwards. */
static const struct {
	bool over, distant, trying, up;
	unsigned width, next;
	bool next_up;
} windows[] = {
	{false, true, false, false, 4, 4, false}, /* the window goes on */
	{true, true, false, false, 4, 6, true},
	{true, true, false, true, 8, 8, true},	/* nothing narrower is tried */
	{true, true, true, false, 3, 2, false}, /* a try goes well, and on */
	{true, false, false, false, 4, 3, false},
	{true, false, false, true, 4, 6, true},
};

START_TEST(window_ends)
{
	const int64_t ages = 1000000000;
	struct gate g;
	struct pass p;

	gate_init(&g, 8, 0);
	ck_assert(gate_enter(&g, &p, monotonic_ms() + 60000));
	g.seen = 16;
	g.width = windows[_i].width;
	g.waiting = 1;
	g.climb.begun = p.since - 60000;
	g.climb.done = windows[_i].over ? 1000 : 0;
	g.climb.trying = windows[_i].trying;
	g.climb.up = windows[_i].up;
	g.climb.base = 4;
	if (windows[_i].distant)
		p.since -= ages; /* it stayed long, and worked little */
	else
		p.cpu -= ages;
	gate_leave(&g, &p);
	ck_assert_uint_eq(gate_width(&g), windows[_i].next);
	ck_assert_int_eq(g.climb.up, windows[_i].next_up);
	ck_assert_int_eq(g.climb.begun == 0, windows[_i].over);
	gate_destroy(&g);
}
END_TEST

static void *work_inside(void *arg)
{
	struct pass p;

	(void)arg;
	for (int i = 0; i < 10; i++) {
		ck_assert(gate_enter(&shared, &p, monotonic_ms() + 60000));
		for (clock_t until = clock() + CLOCKS_PER_SEC / 5000; clock() < until;)
			;
		gate_leave(&shared, &p);
	}
	return NULL;
}

/* Two threads that work inside hinder each other, though there is room for both. */
START_TEST(working_threads_begin_at_one)
{
	pthread_t thread[2];

	gate_init(&shared, 8, 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, work_inside, NULL), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(gate_width(&shared), 1);
	ck_assert_uint_gt(shared.turn, 1); /* short ones follow each other in one thread */
	shared.mean = 6000;
	ck_assert_uint_eq(gate_turn(&shared), 1);
	gate_destroy(&shared);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("gate");
	TCase *c = tcase_create("gate");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(c, climbs, 0, sizeof tokens / sizeof *tokens);
	tcase_add_test(c, climbs_up_again);
	tcase_add_test(c, room_and_deadline);
	tcase_add_test(c, hung_call_takes_no_room);
	tcase_add_test(c, distant_token_keeps_its_width);
	tcase_add_test(c, working_threads_begin_at_one);
	tcase_add_test(c, long_stays_are_forgotten_late);
	tcase_add_loop_test(c, window_ends, 0, sizeof windows / sizeof *windows);
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
