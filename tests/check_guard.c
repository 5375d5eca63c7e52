#include "guard.h"
#include "run_suite.h"

#define S 1000 /* milliseconds */

static struct guard guard;
static struct clock_reading now = {.wall_ms = 1900000000 * (int64_t)S, .boot_ms = 500 * S};
static int64_t drift;

/* Time passes, and the wall clock is stepped by so much. */
static enum err pass(int64_t seconds, int64_t step_ms)
{
	now.boot_ms += seconds * S;
	now.wall_ms += seconds * S + step_ms;
	return guard_judge(&guard, &now, &drift);
}

static void start(bool need_sync, bool synchronised)
{
	guard_begin(&guard, NULL, NULL, &now, need_sync, synchronised, CLOCK_STEADY_MS);
}

/* After how many seconds of sampling is it settled? -1: not within `most`. */
static int settle(int most, bool synchronised)
{
	for (int i = 1; i <= most; i++) {
		(void)pass(1, 0);
		if (guard_settled(&guard, &now, synchronised))
			return i;
	}
	return -1;
}

START_TEST(small_steps_add_up)
{
	start(true, true);
	ck_assert_int_eq(pass(10, 1900), ERR_OK);
	ck_assert_int_eq(pass(10, 1900), ERR_CLOCK);
	ck_assert_uint_eq(guard.why.retry_after, 60);
	/* 500 ppm are not a step */
	start(true, true);
	for (int i = 0; i < 1000; i++)
		ck_assert_int_eq(pass(100, 50), ERR_OK);
	ck_assert_int_eq(pass(1, -2100 - 50000), ERR_OK);
}
END_TEST

START_TEST(distrust_is_kept)
{
	start(true, true);
	ck_assert_int_eq(pass(1, -3600 * S), ERR_CLOCK);
	ck_assert_int_eq(pass(1, 3600 * S), ERR_CLOCK); /* right again, and not yet trusted */
	ck_assert_int_eq(settle(100, true), 61);
	guard_resume(&guard);
	ck_assert_int_eq(pass(1, 0), ERR_OK);
}
END_TEST

START_TEST(steady_and_synchronised)
{
	start(true, true);
	ck_assert_int_eq(pass(1, 10 * S), ERR_CLOCK);
	ck_assert_int_eq(settle(30, true), -1);
	(void)pass(1, 100); /* a new step: from the start */
	ck_assert_int_eq(settle(60, true), -1);
	ck_assert_int_eq(settle(300, false), -1);
	ck_assert_int_eq(settle(1, true), 1);
	guard_resume(&guard);
	ck_assert_int_eq(pass(1, 0), ERR_OK);
	ck_assert_int_eq(pass(1, 2300), ERR_CLOCK); /* 2 s and 500 ppm of 363 s */
}
END_TEST

START_TEST(large_steps_need_a_person)
{
	start(false, false);
	ck_assert_int_eq(pass(1, 301 * S), ERR_CLOCK);
	ck_assert_int_eq(settle(1000, true), -1);
	(void)pass(1, -2 * S);
	ck_assert_int_eq(settle(100, true), 61);
	/* the next ones add up with it */
	guard_resume(&guard);
	ck_assert_int_eq(pass(1, 5 * S), ERR_CLOCK);
	ck_assert_int_eq(settle(1000, true), -1);
}
END_TEST

START_TEST(born_again)
{
	struct clock_reading first = now;

	start(true, true);
	(void)pass(100, 0);
	now.wall_ms += 3 * S; /* while no process was there */
	guard_begin(&guard, &first, &first, &now, true, true, CLOCK_STEADY_MS);
	ck_assert_int_eq(pass(0, 0), ERR_CLOCK);
	now.wall_ms -= 2 * S;
	guard_begin(&guard, &first, &first, &now, true, true, CLOCK_STEADY_MS);
	ck_assert_int_eq(pass(0, 0), ERR_OK);
	ck_assert_int_eq(pass(1, 1500), ERR_CLOCK); /* 1 s of it was there before */
}
END_TEST

START_TEST(after_a_boot)
{
	int64_t last = now.wall_ms / S;

	start(true, false);
	ck_assert_int_eq(pass(1, 0), ERR_CLOCK);
	ck_assert_int_eq(settle(100, false), -1);
	(void)pass(1, 1000 * S); /* set right by the time daemon */
	ck_assert_int_eq(settle(100, true), 61);
	guard_resume(&guard);
	ck_assert_int_eq(pass(1, 0), ERR_OK);
	/* the ledger's last record: not more than 2 s before it, not more than 7 days after */
	last = now.wall_ms / S;
	start(true, true);
	guard.floor = last + 3;
	ck_assert_int_eq(pass(0, 0), ERR_CLOCK);
	ck_assert_int_eq(guard_estimate(&guard, &now), last);
	start(true, true);
	guard.floor = last - CLOCK_AHEAD_S - 1;
	ck_assert_int_eq(pass(0, 0), ERR_CLOCK);
	ck_assert_int_eq(settle(100, true), -1);
	start(true, true);
	guard.floor = now.wall_ms / S - CLOCK_AHEAD_S;
	ck_assert_int_eq(pass(0, 0), ERR_OK);
	/* a reading that was right once tells how the time goes on, for weeks without another start
	 */
	ck_assert_int_eq(pass(30 * 86400, 0), ERR_OK);
	/* and from the first reading on: its time never becomes that of a record */
	start(true, true);
	guard.floor = now.wall_ms / S - CLOCK_AHEAD_S - 100;
	ck_assert_int_eq(pass(0, 0), ERR_CLOCK);
	ck_assert_int_eq(guard_estimate(&guard, &now), guard.floor);
}
END_TEST

/* What is written down under a wrong clock does not say what that says. */
START_TEST(estimates)
{
	int64_t right = now.wall_ms / S;

	start(true, true);
	ck_assert_int_eq(guard_estimate(&guard, &now), right);
	(void)pass(10, 315360000 * (int64_t)S);
	ck_assert_int_eq(guard_estimate(&guard, &now), right + 10);
	start(true, false);
	guard.floor = 77;
	ck_assert_int_eq(guard_estimate(&guard, &now), 77);
}
END_TEST

RUN_SUITE("guard", small_steps_add_up, distrust_is_kept, steady_and_synchronised,
	large_steps_need_a_person, born_again, after_a_boot, estimates)
