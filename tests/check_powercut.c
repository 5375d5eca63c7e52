/*
 * The power fails: what dcsignd-ledger did to its files is recorded (tests/faults/powercut.c), and
 * of every moment images are made of what a disk may then hold. From each the ledger must start,
 * hold everything that was acknowledged before that moment, and verify; also when the power fails
 * again during such a start. DCSIGN_TESTS=long: no
 * sampling, and more of the random images.
 */
#include "settings.h"

#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "powercut_lives.h"

#define WORKERS 2
/* of a moment, random images; of the moments, how many are tried */
#define RANDOM	 (is_long() ? 12u : 1u)
#define DAEMONS	 (is_long() ? 400u : 16u)
#define FOLD_MAX (is_long() ? 2000u : 25u)
/* second power cuts: of the first ones, and of the events of each recovery, how many */
#define RECOVERIES	(is_long() ? 40u : 3u)
#define RECOVERIES_MOST 40
#define RECOVERY_MAX	(is_long() ? SIZE_MAX : 20u)

static bool is_long(void)
{
	const char *tests = getenv("DCSIGN_TESTS");

	return tests && strcmp(tests, "long") == 0;
}

struct moment {
	size_t events;
	enum cut_choice choice;
	unsigned seed;
	uint8_t digest[SHA256_SIZE];
};

static struct moment *moment;
static size_t moments;

/* Adds it unless the same image with the same acknowledged facts is there. */
static void moment_add(const struct cut_trace *t, const char *from, size_t events,
	enum cut_choice choice, unsigned seed)
{
	struct moment m = {.events = events, .choice = choice, .seed = seed};
	size_t back = moments > 64 ? moments - 64 : 0;

	cut_image(t, events, choice, seed, from, NULL, m.digest);
	for (size_t i = back; i < moments; i++) {
		if (memcmp(moment[i].digest, m.digest, SHA256_SIZE) == 0 &&
			acknowledged(moment[i].events) == acknowledged(events))
			return;
	}
	moment[moments++] = m;
}

static void moments_find(const struct cut_trace *t, const char *from, size_t at_most)
{
	size_t own = t->count - t->first, step = own > at_most ? own / at_most : 1;

	free(moment);
	moment = calloc(t->count * (3 + RANDOM) + 8, sizeof(*moment));
	moments = 0;
	for (size_t n = t->first; n <= t->count; n += step) {
		moment_add(t, from, n, CUT_ALL, 0);
		moment_add(t, from, n, CUT_NONE, 0);
		if (n == t->first || t->event[n - 1].type == POWERCUT_WRITE)
			moment_add(t, from, n, CUT_TORN, (unsigned)n);
		for (unsigned k = 0; k < RANDOM; k++)
			moment_add(t, from, n, CUT_SOME, (unsigned)(n * 101 + k));
	}
}

static void image_name(char out[64], const char *base, size_t n)
{
	ck_assert_int_lt(snprintf(out, 64, "%s/%zu", base, n), 64);
}

/* The room that the ledger keeps back holds nothing: one file for all images is quicker. */
static void reserve_share(const char *base, const char *folder)
{
	char own[96], shared[96];

	snprintf(own, sizeof(own), "%s/lib/ledger.db-reserve", folder);
	snprintf(shared, sizeof(shared), "%s/reserve", base);
	if (unlink(own) == 0)
		ck_assert_int_eq(link(shared, own), 0);
}

static unsigned worker(
	const struct cut_trace *t, const char *from, const char *base, unsigned which)
{
	unsigned wrong = 0;

	for (size_t i = which; i < moments; i += WORKERS) {
		const struct moment *m = &moment[i];
		uint8_t digest[SHA256_SIZE];
		char folder[64];

		image_name(folder, base, i);
		cut_image(t, m->events, m->choice, m->seed, from, folder, digest);
		reserve_share(base, folder);
		said[0] = '\0';
		image_check(folder, m->events, i % 7 == 0);
		if (said[0] && wrong++ < 3)
			printf("after event %zu, choice %d, seed %u:\n%s", m->events,
				(int)m->choice, m->seed, said);
		help_folder_remove(folder);
	}
	return wrong;
}

static void reserve_make(const char *base)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), "%s/reserve", base);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	ck_assert_int_eq(posix_fallocate(fd, 0, 8 << 20), 0);
	close(fd);
}

/* How many images are not as they must be. quiet: some are expected. */
static unsigned images_wrong(
	const struct cut_trace *t, const char *from, size_t at_most, bool quiet)
{
	char base[] = "/dev/shm/dcsign-cut-XXXXXX";
	pid_t pid[WORKERS];
	unsigned wrong = 0;

	if (strcmp(scratch(), "/tmp") == 0)
		snprintf(base, sizeof(base), "/tmp/dcsign-cut-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(base));
	reserve_make(base);
	facts_find(t);
	moments_find(t, from, at_most);
	for (unsigned w = 0; w < WORKERS; w++) {
		pid[w] = fork();
		if (pid[w] == 0) {
			ck_assert_ptr_nonnull(freopen("/dev/null", "w", stderr)); /* its log */
			if (quiet)
				ck_assert_ptr_nonnull(freopen("/dev/null", "w", stdout));

			unsigned n = worker(t, from, base, w);

			fflush(stdout);

			_exit(n > 100 ? 100 : (int)n);
		}
	}
	for (unsigned w = 0; w < WORKERS; w++) {
		int status = 0;

		ck_assert_int_eq(waitpid(pid[w], &status, 0), pid[w]);
		wrong += WIFEXITED(status) ? (unsigned)WEXITSTATUS(status) : 1000;
	}
	help_folder_remove(base);
	return wrong;
}

/* ---- tests ---- */

START_TEST(every_image_holds_what_was_acknowledged)
{
	struct cut_trace t;

	lives_record();
	cut_load(&t, trace_file);
	ck_assert_uint_gt(t.count, 200);
	ck_assert_uint_eq(images_wrong(&t, lives_folder, SIZE_MAX, false), 0);
	ck_assert_uint_gt(facts, 30);
	printf("powercut: %zu events, %zu facts, %zu images\n", t.count, facts, moments);
	cut_free(&t);
}
END_TEST

START_TEST(the_fold_of_the_journal_loses_nothing)
{
	struct cut_trace t;

	fold_record();
	cut_load(&t, fold_file);
	ck_assert_uint_eq(images_wrong(&t, lives_folder, FOLD_MAX, false), 0);
	printf("powercut: fold: %zu events, %zu images\n", t.count, moments);
	cut_free(&t);
}
END_TEST

/* The recorder would see a program that does what it must not. */
static bool is_file(const struct cut_event *e, const char *end)
{
	size_t len = strlen(e->path), n = strlen(end);

	return len >= n && strcmp(e->path + len - n, end) == 0;
}

static void drop_journal_syncs(struct cut_event *e)
{
	e->dropped = e->type == POWERCUT_SYNC && is_file(e, "-wal");
}

static void drop_folder_syncs(struct cut_event *e)
{
	e->dropped = e->type == POWERCUT_SYNC && is_file(e, "/lib");
}

/* Answers leave before what they acknowledge is written: each trades places with its commit. */
static void answer_early(struct cut_trace *t)
{
	for (size_t i = 1; i < t->count; i++) {
		for (size_t k = i; k > 0 && t->event[k].type == POWERCUT_SAID &&
				   t->event[k - 1].type != POWERCUT_SAID &&
				   t->event[k - 1].type != POWERCUT_BEGIN && i - k < 5;
			k--) {
			struct cut_event e = t->event[k];

			t->event[k] = t->event[k - 1];
			t->event[k - 1] = e;
		}
	}
}

START_TEST(a_program_that_syncs_too_little_is_found)
{
	struct cut_trace t;

	lives_record();
	for (int i = 0; i < 3; i++) {
		cut_load(&t, trace_file);
		for (size_t k = 0; k < t.count && i < 2; k++) {
			if (i == 0)
				drop_journal_syncs(&t.event[k]);
			else
				drop_folder_syncs(&t.event[k]);
		}
		if (i == 2)
			answer_early(&t);
		ck_assert_msg(
			images_wrong(&t, lives_folder, 40, true) > 0, "fault %d is not found", i);
		cut_free(&t);
	}
}
END_TEST

/* Issues once; what a hold that is in force stops is refused. */
static void goes_on(void)
{
	enum err e;

	ck_assert_int_eq(rig_append(&last.self_test), ERR_OK);
	ck_assert_int_eq(rig_append(&last.proved), ERR_OK);
	e = rig_append(&last.authorised);
	if (!e)
		ck_assert_int_eq(rig_append(&last.issued), ERR_OK);
	ck_assert_int_eq(rig_down(), 0);

	const char *all = rig_stored();
	unsigned held = rig_occurrences(all, "\"type\":\"HELD\""),
		 released = rig_occurrences(all, "\"type\":\"RELEASED\"");

	ck_assert_int_eq(e, held > released ? ERR_HELD : ERR_OK);
}

/* The program itself, started on some of the images, serves at once and goes on. */
START_TEST(the_daemon_starts_on_every_image)
{
	char base[64], folder[64];
	uint8_t digest[SHA256_SIZE];
	struct cut_trace t;

	snprintf(base, sizeof(base), "%s/dcsign-cut-XXXXXX", scratch());
	ck_assert_ptr_nonnull(mkdtemp(base));
	lives_record();
	cut_load(&t, trace_file);
	facts_find(&t);
	moments_find(&t, lives_folder, SIZE_MAX);
	for (size_t i = 0; i < moments; i += moments / DAEMONS + 1) {
		const struct moment *m = &moment[i];

		image_name(folder, base, i);
		cut_image(&t, m->events, m->choice, m->seed, lives_folder, folder, digest);
		move_to(folder);
		rig_up();
		rig_start_and_config();
		goes_on();
		image_check(folder, m->events, false);
		ck_assert_msg(!said[0], "%s", said);
	}
	cut_free(&t);
	help_folder_remove(base);
}
END_TEST

/* The power fails, and again at every moment of the start that follows. */
START_TEST(a_second_cut_while_it_recovers)
{
	char base[64], folder[64], file[160];
	uint8_t digest[SHA256_SIZE];
	struct cut_trace t, second;
	struct moment first[RECOVERIES_MOST];
	size_t images = 0;

	snprintf(base, sizeof(base), "%s/dcsign-cut-XXXXXX", scratch());
	ck_assert_ptr_nonnull(mkdtemp(base));
	snprintf(file, sizeof(file), "%s.second", base);
	lives_record();
	cut_load(&t, trace_file);
	facts_find(&t);
	moments_find(&t, lives_folder, SIZE_MAX);
	for (size_t i = 0; i < RECOVERIES; i++)
		first[i] = moment[(i + 1) * moments / (RECOVERIES + 1)];
	for (size_t i = 0; i < RECOVERIES; i++) {
		const struct moment *m = &first[i];

		image_name(folder, base, i);
		cut_image(&t, m->events, m->choice, m->seed, lives_folder, folder, digest);
		recovery_record(folder, file);
		facts_keep(SIZE_MAX);
		facts_find(&t);
		facts_keep(m->events);
		cut_load(&second, file);
		ck_assert_uint_gt(second.first, 0);
		ck_assert_uint_gt(second.count, second.first + 10);
		ck_assert_uint_eq(images_wrong(&second, folder, RECOVERY_MAX, false), 0);
		images += moments;
		cut_free(&second);
		unlink(file);
		help_folder_remove(folder);
	}
	printf("powercut: %u recoveries cut again, %zu images\n", RECOVERIES, images);
	facts_keep(SIZE_MAX);
	cut_free(&t);
	help_folder_remove(base);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("powercut");
	TCase *c = tcase_create("powercut"), *images = tcase_create("images");

	tcase_add_checked_fixture(images, lives_set_up, lives_tear_down);
	tcase_set_timeout(images, is_long() ? 7200 : 1200);
	tcase_add_test(images, every_image_holds_what_was_acknowledged);
	suite_add_tcase(s, images);
	tcase_add_checked_fixture(c, lives_set_up, lives_tear_down);
	tcase_set_timeout(c, is_long() ? 7200 : 1200);
	tcase_add_test(c, the_fold_of_the_journal_loses_nothing);
	tcase_add_test(c, a_program_that_syncs_too_little_is_found);
	tcase_add_test(c, the_daemon_starts_on_every_image);
	tcase_add_test(c, a_second_cut_while_it_recovers);
	suite_add_tcase(s, c);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
