/* The real dcsignd-ledger on a disk that is full, fails, or loses its file. */
#include "settings.h"

#include <check.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "channel.h"
#include "ledgerd_rig.h"
#include "powercut_image.h"

static char room_file[96], trace_file[96];
static char variables[6][4200], *environment[7];

static void variable(int at, const char *name, const char *value)
{
	snprintf(variables[at], sizeof(variables[at]), "%s=%s", name, value);
	environment[at] = variables[at];
}

/* A service with this folder under the recorder; sync: the one that fails, "0": none. */
static void begin(const char *sync)
{
	const char *top = getenv("TOP_BUILDDIR");
	char so[4100];

	rig_set_up();
	snprintf(room_file, sizeof(room_file), "%s.room", rig.folder);
	snprintf(trace_file, sizeof(trace_file), "%s.trace", rig.folder);
	snprintf(so, sizeof(so), "%s/tests/faults/powercut.so", top ? top : ".");
	variable(0, "LD_PRELOAD", so);
	variable(1, "POWERCUT_FOLDER", rig.folder);
	variable(2, "POWERCUT_TRACE", trace_file);
	variable(3, "POWERCUT_ROOM", room_file);
	variable(4, "POWERCUT_SYNC", sync);
	variable(5, "ASAN_OPTIONS", "verify_asan_link_order=0:detect_leaks=0");
	rig.environment = environment;
}

static void end(void)
{
	unlink(room_file);
	unlink(trace_file);
	rig_tear_down();
}

/* No answer comes, and the process ends so that nothing is tried again. */
static void ends_unanswered(struct record *r)
{
	size_t len;

	rig_append_send(&r, 1, 0);
	ck_assert_int_eq(
		channel_receive(rig.hsm, rig.octets, sizeof(rig.octets), &len, NULL, NULL, 20000),
		ERR_CLOSED);
	ck_assert_int_eq(rig_wait(), 75);
}

static char aside[200];

static void lose_unlink(void)
{
	ck_assert_int_eq(rename(rig.path, aside), 0);
}

static void lose_replace(void)
{
	int fd;

	lose_unlink();
	fd = open(rig.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
}

static void lose_journal(void)
{
	char path[200];

	snprintf(path, sizeof(path), "%s-wal", rig.path);
	ck_assert_int_eq(unlink(path), 0);
}

static void lose_right(void)
{
	ck_assert_int_eq(chmod(rig.path, 0400), 0);
}

static void (*const losses[])(void) = {lose_unlink, lose_replace, lose_journal, lose_right};

/* What is done to the file while the process holds it is seen before the next signature. */
START_TEST(a_lost_file_is_seen_before_the_next_signature)
{
	struct sample a, b;
	char text[512];

	begin("0");
	sample_make(&a, &rig.issuer, 1);
	sample_make(&b, &rig.issuer, 2);
	snprintf(aside, sizeof(aside), "%s.aside", rig.path);
	rig_up();
	rig_start_and_config();
	ck_assert_int_eq(rig_append(&a.authorised), ERR_OK);
	ck_assert_int_eq(rig_append(&a.issued), ERR_OK);
	losses[_i]();
	ends_unanswered(&b.authorised);
	rig.environment = NULL;
	if (_i == 0) {
		rig_spawn(NULL);
		ck_assert_int_eq(rig_config(text), ERR_FORMAT);
		ck_assert_msg(strstr(text, "is gone") && strstr(text, "-reserve"), "%s", text);
		ck_assert_int_eq(rig_wait(), 78);
	}
	if (_i < 2)
		ck_assert_int_eq(rename(aside, rig.path), 0);
	ck_assert_int_eq(chmod(rig.path, 0600), 0);
	if (_i != 2) {
		rig_up();
		ck_assert_int_eq(rig_down(), 0);
		ck_assert_uint_eq(rig_occurrences(rig_stored(), a.id), 2);
	}
	sample_free(&a);
	sample_free(&b);
	end();
}
END_TEST

static void room_set(uint64_t octets)
{
	char fresh[128];
	FILE *f;

	snprintf(fresh, sizeof(fresh), "%s.new", room_file);
	f = fopen(fresh, "w");
	fprintf(f, "%llu", (unsigned long long)octets);
	fclose(f);
	ck_assert_int_eq(rename(fresh, room_file), 0);
}

/* The n-th sync fails: the process says nothing more, syncs nothing more, writes nothing more. What
 * was answered before is there after the next start. */
START_TEST(a_failed_sync_is_never_tried_again)
{
	struct cut_trace t;
	struct sample a;
	char which[16];
	unsigned answered = 0;
	size_t i, len;
	struct record *both[2];

	snprintf(which, sizeof(which), "%d", 1 + _i);
	begin(which);
	sample_make(&a, &rig.issuer, 1);
	both[0] = &a.authorised;
	both[1] = &a.issued;
	rig_up();
	rig_start_and_config();
	room_set(UINT64_MAX);
	for (; answered < 2; answered++) {
		rig_append_send(&both[answered], 1, 0);
		if (channel_receive(
			    rig.hsm, rig.octets, sizeof(rig.octets), &len, NULL, NULL, 20000))
			break;
	}
	if (answered == 2)
		kill(rig.pid, SIGTERM);
	ck_assert_int_eq(rig_wait(), 75);
	cut_load(&t, trace_file);
	for (i = 0; i < t.count && t.event[i].type != POWERCUT_FAILED; i++)
		;
	ck_assert_uint_lt(i, t.count);
	ck_assert_uint_eq(i, t.count - 1);
	cut_free(&t);
	rig.environment = NULL;
	rig_up();
	ck_assert_int_eq(rig_down(), 0);
	ck_assert_uint_ge(rig_occurrences(rig_stored(), a.id), answered);
	sample_free(&a);
	end();
}
END_TEST

static uint64_t octets_on_disk(void)
{
	static const char *const suffix[] = {"", "-wal", "-reserve"};
	uint64_t sum = 0;

	for (int i = 0; i < 3; i++) {
		char path[200];
		struct stat st;

		snprintf(path, sizeof(path), "%s%s", rig.path, suffix[i]);
		sum += stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
	}
	return sum;
}

/* The disk is full before the first record, between the two, or after both, at whatever octet: an
 * AUTHORISED is durable or refused, and its outcome fits. */
START_TEST(the_outcome_of_what_was_authorised_always_fits)
{
	static const unsigned more[] = {0, 1, 4096, 8192, 20000, 30000, 45000, 60000, 100000};
	enum { ROUNDS = sizeof(more) / sizeof(more[0]) };
	struct sample s[ROUNDS];
	unsigned refused = 0, issued = 0;
	enum err e;

	begin("0");
	rig_up();
	rig_start_and_config();
	for (unsigned i = 0; i < ROUNDS; i++)
		sample_make(&s[i], &rig.issuer, i + 1);
	for (unsigned i = 0; i < ROUNDS; i++) {
		room_set(octets_on_disk() + more[i]);
		e = rig_append(&s[i].authorised);
		ck_assert(e == ERR_OK || e == ERR_LEDGER_UNAVAILABLE);
		refused += e != ERR_OK;
		if (e == ERR_OK) {
			ck_assert_int_eq(rig_append(&s[i].issued), ERR_OK);
			issued++;
		}
		room_set(UINT64_MAX);
		/* the room is looked for once a second */
		for (int n = 0; n < 300; n++) {
			struct sample probe;

			sample_make(&probe, &rig.issuer, 1000 + 400 * i + (unsigned)n);
			e = rig_append(&probe.authorised);
			if (e == ERR_OK)
				ck_assert_int_eq(rig_append(&probe.failed), ERR_OK);
			sample_free(&probe);
			if (e == ERR_OK)
				break;
			usleep(100000);
		}
		ck_assert_int_eq(e, ERR_OK);
	}
	ck_assert_uint_gt(refused, 0);
	ck_assert_uint_gt(issued, 0);
	ck_assert_int_eq(rig_down(), 0);
	ck_assert_uint_eq(rig_occurrences(rig_stored(), "\"type\":\"ISSUED\""), issued);
	ck_assert_uint_eq(rig_occurrences(rig_stored(), "\"type\":\"UNKNOWN\""), 0);
	for (unsigned i = 0; i < ROUNDS; i++)
		sample_free(&s[i]);
	end();
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("disk");
	TCase *c = tcase_create("disk");

	tcase_set_timeout(c, 300);
	tcase_add_loop_test(c, a_lost_file_is_seen_before_the_next_signature, 0, 4);
	tcase_add_loop_test(c, a_failed_sync_is_never_tried_again, 0, 5);
	tcase_add_test(c, the_outcome_of_what_was_authorised_always_fits);
	suite_add_tcase(suite, c);

	SRunner *runner = srunner_create(suite);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
