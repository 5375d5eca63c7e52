/* The PIN's file, its breaker, and the clock's judgement. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "clock.h"
#include "pin.h"

static char folder[128], file[256];

static void setup(void)
{
	snprintf(folder, sizeof folder, "%s/dcsign-pin.XXXXXX",
		getenv("TMPDIR") != NULL && strlen(getenv("TMPDIR")) < 64 ? getenv("TMPDIR")
									  : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(file, sizeof file, "%s/pin", folder);
}

static void teardown(void)
{
	char command[512];

	snprintf(command, sizeof command, "rm -r %s", folder);
	ck_assert_int_eq(system(command), 0);
}

static enum err read_of(struct pin *pin, const void *octets, size_t len)
{
	struct refusal why;
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);
	enum err e;

	ck_assert_int_eq(write(fd, octets, len), (ssize_t)len);
	e = pin_read(pin, fd, &why); /* from its start, wherever the descriptor stands */
	close(fd);
	return e;
}

START_TEST(file_forms)
{
	char longest[300];
	struct pin pin;
	int pipe_ends[2];
	struct refusal why;

	ck_assert_int_eq(read_of(&pin, "1234\n", 5), ERR_OK);
	ck_assert_str_eq(pin.text, "1234");
	ck_assert_uint_eq(pin.len, 4);
	pin_wipe(&pin);
	ck_assert_uint_eq(pin.len, 0);
	ck_assert_str_eq(pin.text, "");
	ck_assert_int_eq(read_of(&pin, " 12 34", 6), ERR_OK); /* nothing else is stripped */
	ck_assert_str_eq(pin.text, " 12 34");
	ck_assert_int_eq(read_of(&pin, "1\n\n", 3), ERR_OK);
	ck_assert_str_eq(pin.text, "1\n");
	ck_assert_int_eq(read_of(&pin, "", 0), ERR_PIN);
	ck_assert_int_eq(read_of(&pin, "\n", 1), ERR_PIN);
	ck_assert_int_eq(read_of(&pin,
				 "12\0"
				 "34",
				 5),
		ERR_PIN);
	memset(longest, '1', sizeof longest);
	ck_assert_int_eq(read_of(&pin, longest, 255), ERR_OK);
	ck_assert_int_eq(read_of(&pin, longest, 256), ERR_PIN);
	ck_assert_int_eq(read_of(&pin, longest, 300), ERR_PIN);
	ck_assert_int_eq(pipe(pipe_ends), 0);
	ck_assert_int_eq(pin_read(&pin, pipe_ends[0], &why), ERR_PIN);
	ck_assert_int_eq(pin_read(&pin, -1, &why), ERR_PIN);
}
END_TEST

static struct pin pin_of(const char *text)
{
	struct pin pin = {.len = strlen(text)};

	memcpy(pin.text, text, pin.len);
	return pin;
}

START_TEST(breaker_holds_a_refused_pin)
{
	struct pin one = pin_of("1111"), two = pin_of("2222");
	char state[200];
	struct refusal why;
	bool was;

	snprintf(state, sizeof state, "%s/hsm", folder); /* is made */
	ck_assert(!breaker_present(state, "abc"));
	ck_assert_int_eq(breaker_arm(state, "abc", &one, &why), ERR_OK);
	ck_assert(breaker_present(state, "abc"));
	ck_assert_int_eq(breaker_clear(state, "abc", &was, &why), ERR_OK); /* it was right */
	ck_assert(was);
	ck_assert(!breaker_present(state, "abc"));
	ck_assert_int_eq(breaker_clear(state, "abc", &was, &why), ERR_OK);
	ck_assert(!was);

	ck_assert_int_eq(breaker_arm(state, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_trip(state, "abc", &why), ERR_OK); /* it was wrong */
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(breaker_arm(state, "abc", &one, &why), ERR_PIN);
	ck_assert_ptr_nonnull(strstr(why.detail, "reset-pin-breaker"));
	ck_assert_int_eq(breaker_arm(state, "other", &one, &why), ERR_OK); /* another token */
	ck_assert_int_eq(breaker_arm(state, "abc", &two, &why), ERR_OK);   /* another PIN */
	ck_assert_int_eq(breaker_trip(state, "abc", &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(state, "abc", &two, &why), ERR_PIN);
	/* neither of them, whatever was tried in between, and whatever the token did not look at */
	ck_assert_int_eq(breaker_arm(state, "abc", &one, &why), ERR_PIN);
	for (int i = 0; i < 13; i++) {
		char text[8];
		struct pin next;

		snprintf(text, sizeof text, "33%02d", i);
		next = pin_of(text);
		ck_assert_int_eq(breaker_arm(state, "abc", &next, &why), ERR_OK);
		ck_assert_int_eq(breaker_disarm(state, "abc", &why), ERR_OK);
		ck_assert_int_eq(breaker_holds(state, "abc", &next, &why), ERR_OK);
		ck_assert_int_eq(breaker_arm(state, "abc", &next, &why), ERR_OK);
		ck_assert_int_eq(breaker_trip(state, "abc", &why), ERR_OK);
		ck_assert_int_eq(breaker_arm(state, "abc", &next, &why), ERR_PIN);
	}
	ck_assert_int_eq(breaker_arm(state, "abc", &one, &why), ERR_PIN);
	ck_assert_int_eq(breaker_arm(state, "abc", &two, &why), ERR_PIN);
	ck_assert_int_eq(breaker_holds(state, "abc", &one, &why), ERR_PIN);
	ck_assert_int_eq(breaker_clear(state, "abc", &was, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(state, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_disarm(state, "abc", &why), ERR_OK);
	ck_assert(!breaker_present(state, "abc"));
}
END_TEST

/* A process that was killed in its login tries once more, not for ever. */
START_TEST(breaker_counts_unseen_ends)
{
	struct pin one = pin_of("1111");
	struct refusal why;

	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_PIN);
}
END_TEST

/* A PIN that this token took from this very file: a process that is killed in its login again and
 * again needs no hand. Not when the file was touched, or the token refused it. */
START_TEST(breaker_knows_what_was_taken)
{
	struct pin one;
	struct refusal why;

	ck_assert_int_eq(read_of(&one, "1111", 4), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_taken(folder, "abc", &one, &why), ERR_OK);
	ck_assert(!breaker_present(folder, "abc"));
	for (int i = 0; i < 6; i++)
		ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_PIN);
	ck_assert_int_eq(breaker_taken(folder, "abc", &one, &why), ERR_OK);

	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	breaker_doubt(folder, "abc");
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_PIN);
	ck_assert_int_eq(breaker_taken(folder, "abc", &one, &why), ERR_OK);

	ck_assert_int_eq(breaker_arm(folder, "other", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "other", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "other", &one, &why), ERR_PIN);

	ck_assert_int_eq(read_of(&one, "1111", 4), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_PIN);

	ck_assert_int_eq(breaker_taken(folder, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_trip(folder, "abc", &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_PIN);
	ck_assert_int_eq(breaker_clear(folder, "abc", NULL, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_PIN);
}
END_TEST

START_TEST(breaker_fails_closed)
{
	struct pin one = pin_of("1111");
	char path[300];
	struct refusal why;
	FILE *f;

	snprintf(path, sizeof path, "%s/pin-breaker.abc", folder);
	f = fopen(path, "w");
	fputs("rubbish\n", f);
	fclose(f);
	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_PIN);
	ck_assert_int_eq(breaker_arm("/proc/nowhere", "abc", &one, &why), ERR_SYSTEM);
	ck_assert_int_eq(breaker_arm(folder, "a/../b c", &one, &why), ERR_OK);
	snprintf(path, sizeof path, "%s/pin-breaker.a_2f_2e_2e_2fb_20c", folder);
	ck_assert_int_eq(access(path, F_OK), 0);
}
END_TEST

START_TEST(breaker_hides_the_pin)
{
	struct pin one = pin_of("31415926");
	char command[400];
	struct refusal why;
	struct stat st;

	ck_assert_int_eq(breaker_arm(folder, "abc", &one, &why), ERR_OK);
	snprintf(command, sizeof command, "! grep -r 31415926 %s", folder);
	ck_assert_int_eq(system(command), 0);
	snprintf(command, sizeof command, "%s/pin-breaker.abc", folder);
	ck_assert_int_eq(stat(command, &st), 0);
	ck_assert_uint_eq(st.st_mode & 0777, 0600);
	ck_assert_str_eq(breaker_serial("pin-breaker.abc"), "abc");
	ck_assert_ptr_null(breaker_serial("pin-breaker.abc.new"));
	ck_assert_ptr_null(breaker_serial("pin"));
}
END_TEST

static enum err judge(int64_t elapsed, int64_t wall, int64_t floor)
{
	const struct clock_reading from = {.wall_ms = 1000000000, .boot_ms = 5000};
	const struct clock_reading at = {
		.wall_ms = from.wall_ms + wall, .boot_ms = from.boot_ms + elapsed};
	struct refusal why;
	int64_t drift;

	return clock_judge(&from, &at, floor, &drift, &why);
}

START_TEST(clock_bounds)
{
	ck_assert_int_eq(judge(0, 0, 0), ERR_OK);
	ck_assert_int_eq(judge(0, 2000, 0), ERR_OK);
	ck_assert_int_eq(judge(0, 2001, 0), ERR_CLOCK);
	ck_assert_int_eq(judge(0, -2000, 0), ERR_OK);
	ck_assert_int_eq(judge(0, -2001, 0), ERR_CLOCK);
	/* 500 ppm of 1000 s are 500 ms */
	ck_assert_int_eq(judge(1000000, 1002500, 0), ERR_OK);
	ck_assert_int_eq(judge(1000000, 1002501, 0), ERR_CLOCK);
	ck_assert_int_eq(judge(1000000, 997500, 0), ERR_OK);
	ck_assert_int_eq(judge(1000000, 997499, 0), ERR_CLOCK);
	/* the ledger's last record: not more than 2 s ahead */
	ck_assert_int_eq(judge(0, 0, 1000002), ERR_OK);
	ck_assert_int_eq(judge(0, 0, 1000003), ERR_CLOCK);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pin");
	TCase *c = tcase_create("pin");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_set_timeout(c, 300); /* many slow digests */
	tcase_add_test(c, file_forms);
	tcase_add_test(c, breaker_holds_a_refused_pin);
	tcase_add_test(c, breaker_counts_unseen_ends);
	tcase_add_test(c, breaker_knows_what_was_taken);
	tcase_add_test(c, breaker_fails_closed);
	tcase_add_test(c, breaker_hides_the_pin);
	tcase_add_test(c, clock_bounds);
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
