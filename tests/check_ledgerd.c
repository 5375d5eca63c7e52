/* The real dcsignd-ledger over its channels, as dcsignd, an hsm process and the api see it. */
#include "settings.h"

#include <check.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "channel.h"
#include "ledgerd_rig.h"

#define WAIT_MS 60000

static bool is_there(const char *suffix)
{
	char path[160];
	struct stat st;

	snprintf(path, sizeof(path), "%s%s", rig.path, suffix);
	return stat(path, &st) == 0;
}

/* ---- tests ---- */

START_TEST(a_life_from_birth_to_stop)
{
	struct sample a;
	struct stat st;

	sample_make(&a, &rig.issuer, 1);
	rig_up();
	ck_assert_uint_eq(rig.hello.size, 0);
	ck_assert_int_eq(rig.hello.last_time, 0);
	rig_start_and_config();
	ck_assert_int_eq(rig_append(&a.authorised), ERR_OK);
	ck_assert_uint_eq(rig.answers.item[0].idx, 2);
	ck_assert_int_eq(rig_append(&a.issued), ERR_OK);
	ck_assert_uint_eq(rig.answers.item[0].idx, 3);
	ck_assert_int_eq(rig_down(), 0);
	ck_assert(!is_there("-wal") && !is_there("-shm") && !is_there("-journal"));
	ck_assert_int_eq(stat(rig.path, &st), 0);
	ck_assert_int_eq(st.st_mode & 0777, 0600);

	const char *text = rig_stored();

	ck_assert_uint_eq(rig_occurrences(text, "\n"), 6);
	ck_assert_ptr_nonnull(strstr(text, "\"config\":{"));
	ck_assert_ptr_nonnull(strstr(text, "\"idx\":4,"));
	ck_assert_ptr_nonnull(strstr(text, "\"type\":\"STOP\"}\n"));
	ck_assert_uint_eq(rig_occurrences(text, "\"type\":\"CHECKPOINT\"}\n"), 1);
	rig_up();
	ck_assert_uint_eq(rig.hello.size, 6);
	ck_assert_int_eq(rig.hello.last_time, HELP_NOW);
	ck_assert_int_eq(rig_down(), 0);
	sample_free(&a);
}
END_TEST

START_TEST(what_a_dead_writer_left_open_is_unknown)
{
	struct sample a, b;

	sample_make(&a, &rig.issuer, 1);
	sample_make(&b, &rig.issuer, 2);
	rig_up();
	rig_start_and_config();
	ck_assert_int_eq(rig_append(&a.authorised), ERR_OK);
	ck_assert_int_eq(rig_append(&b.self_test), ERR_OK);
	close(rig.hsm);
	rig.hsm = rig_channel(ROLE_HSM, "main");
	rig_hello();
	ck_assert_uint_eq(rig.hello.size, 6);
	ck_assert_int_eq(rig_append(&a.issued), ERR_OUTCOME_UNKNOWN);
	ck_assert_uint_eq(rig.answers.item[0].replay_issued.len, 0);
	ck_assert_int_eq(rig_append(&b.proved), ERR_OUTCOME_UNKNOWN);
	ck_assert_int_eq(rig_down(), 0);
	ck_assert_uint_eq(rig_occurrences(rig_stored(), "\"type\":\"UNKNOWN\""), 2);
	ck_assert_uint_eq(rig_occurrences(rig_stored(), "\"type\":\"LATE\""), 1);
	ck_assert_uint_eq(rig_occurrences(rig_stored(), "\"type\":\"KEY-PROVED\""), 0);
	sample_free(&a);
	sample_free(&b);
}
END_TEST

/* The old writer may still be alive when the parent has a new one. */
START_TEST(a_new_writer_ends_the_old_one)
{
	struct sample a;
	int old;
	size_t len;

	sample_make(&a, &rig.issuer, 1);
	rig_up();
	rig_start_and_config();
	old = rig.hsm;
	rig.hsm = rig_channel(ROLE_HSM, "main");
	rig_hello();
	ck_assert_int_eq(
		channel_receive(old, rig.octets, sizeof(rig.octets), &len, NULL, NULL, WAIT_MS),
		ERR_CLOSED);
	close(old);
	rig_start_and_config();
	ck_assert_int_eq(rig_append(&a.authorised), ERR_OK);
	ck_assert_int_eq(rig_down(), 0);
	sample_free(&a);
}
END_TEST

START_TEST(the_api_reads_counts_and_heads)
{
	struct msg_read m = {.kind = READ_LIVE, .key = "www"};
	struct msg_read_answer a;
	struct sample s;
	struct reader body;
	struct buf out = BUF_INIT(MSG_MAX);

	sample_make(&s, &rig.issuer, 1);
	s.authorised.expiry = 4000000000; /* the ledger's own clock counts */
	rig_up();
	rig_start_and_config();
	ck_assert_int_eq(rig_append(&s.authorised), ERR_OK);
	for (int i = 0; i < 3; i++) {
		if (i == 1)
			ck_assert_int_eq(rig_append(&s.issued), ERR_OK);
		m.kind = i == 2 ? READ_HEADS : READ_LIVE;
		buf_reset(&out);
		msg_begin(&out, MSG_READ, ++rig.serial);
		msg_read_write(&out, &m);
		ck_assert_int_eq(channel_send(rig.api, &out, NULL, 0, WAIT_MS), ERR_OK);
		rig_receive(rig.api, MSG_ANSWER(MSG_READ), &body);
		ck_assert_int_eq(msg_read_answer_read(&a, &body), ERR_OK);
		ck_assert_int_eq(a.err, ERR_OK);
		ck_assert_uint_eq(a.live, i == 1);
		ck_assert_int_eq(a.latest_expiry, i == 1 ? 4000000000 : 0);
	}
	ck_assert_uint_eq(a.count, 1);
	ck_assert_str_eq(a.head[0].chain, "sign1/main");
	ck_assert_uint_eq(a.head[0].size, 4);
	ck_assert_int_eq(a.head[0].last_time, HELP_NOW);
	ck_assert_uint_gt(a.octets, 4096);
	ck_assert_int_eq(rig_down(), 0);
	buf_free(&out);
	sample_free(&s);
}
END_TEST

/* A hold is answered when it is in force, and outlives the process. */
START_TEST(a_hold_is_in_force_when_it_is_answered)
{
	static struct config_client security = {
		.name = "security", .may = RIGHT_HOLD | RIGHT_RELEASE};
	struct config_key www = {
		.name = "www", .token = "main", .uri = rig.url, .policy = "default"};
	static struct policy policy = {.name = "default"};
	struct msg_hold m = {.by = "security", .by_serial = "0b", .peer = "unix", .key = "www"};
	struct msg_hold_answer a;
	struct sample s;
	struct reader body;
	struct buf out = BUF_INIT(MSG_MAX);

	policy_defaults(&policy);
	rig.config.client = &security;
	rig.config.key = &www;
	rig.config.policy = &policy;
	rig.config.policy_count = rig.config.client_count = rig.config.key_count = 1;
	sample_make(&s, &rig.issuer, 1);
	memset(m.request, 'a', ID_SIZE - 1);
	m.reason = octets_text("ticket 7");
	rig_up();
	rig_start_and_config();
	for (int i = 0; i < 2; i++) {
		buf_reset(&out);
		msg_begin(&out, i ? MSG_RELEASE : MSG_HOLD, ++rig.serial);
		msg_hold_write(&out, &m);
		ck_assert_int_eq(channel_send(rig.api, &out, NULL, 0, WAIT_MS), ERR_OK);
		rig_receive(rig.api, MSG_ANSWER(i ? MSG_RELEASE : MSG_HOLD), &body);
		ck_assert_int_eq(msg_hold_answer_read(&a, &body), ERR_OK);
		ck_assert_int_eq(a.refusal.err, ERR_OK);
		if (i == 0) {
			kill(rig.pid, SIGKILL);
			rig_wait();
			rig_up();
			rig_start_and_config();
		}
		ck_assert_int_eq(rig_append(&s.authorised), i ? ERR_OK : ERR_HELD);
	}
	ck_assert_int_eq(rig_down(), 0);
	ck_assert_uint_eq(rig_occurrences(rig_stored(), "\"type\":\"HELD\""), 1);
	ck_assert_uint_eq(rig_occurrences(rig_stored(), "\"type\":\"RELEASED\""), 1);
	buf_free(&out);
	sample_free(&s);
}
END_TEST

/* What this channel does not carry ends the process: what, and how. */
static const struct {
	enum record_type type;
	bool placed;
} foreign[] = {
	{RECORD_STOP, false}, {RECORD_HELD, false}, {RECORD_RELEASED, false}, {RECORD_CLOCK, true}};

START_TEST(a_record_that_is_not_the_writers_ends_it)
{
	struct record r;
	struct record *one = &r;

	record_init(&r, foreign[_i].type);
	r.time = HELP_NOW;
	if (r.type == RECORD_CLOCK)
		r.drift_ms = 1;
	else if (r.type != RECORD_STOP)
		r.reason = octets_text("x");
	if (foreign[_i].placed)
		r.idx = 7;
	rig_up();
	rig_append_send(&one, 1, 0);
	ck_assert_int_eq(rig_wait(), 70);
}
END_TEST

START_TEST(noise_ends_it)
{
	struct buf out = BUF_INIT(MSG_MAX);

	rig_up();
	buf_text(&out, "GET / HTTP/1.1\r\n\r\n");
	ck_assert_int_eq(channel_send(_i ? rig.hsm : rig.api, &out, NULL, 0, WAIT_MS), ERR_OK);
	ck_assert_int_eq(rig_wait(), 70);
	buf_free(&out);
}
END_TEST

START_TEST(a_check_touches_nothing)
{
	char text[512];

	rig_spawn("-n");
	ck_assert_int_eq(rig_config(NULL), ERR_OK);
	ck_assert_int_eq(rig_wait(), 0);
	ck_assert(!is_there(""));
	strcpy(rig.url, "oracle:/x");
	rig_spawn("-n");
	ck_assert_int_ne(rig_config(text), ERR_OK);
	ck_assert_ptr_nonnull(strstr(text, "oracle:/x"));
	ck_assert_int_eq(rig_wait(), 78);
}
END_TEST

START_TEST(a_damaged_tail_is_refused)
{
	char text[512];
	struct sample a;
	FILE *f;
	int c;

	sample_make(&a, &rig.issuer, 1);
	rig_up();
	rig_start_and_config();
	ck_assert_int_eq(rig_append(&a.authorised), ERR_OK);
	ck_assert_int_eq(rig_down(), 0);
	f = fopen(rig.path, "r+");
	/* the peer's address in the record */
	for (int at = 0; (c = getc(f)) != EOF;) {
		at = c == "192.0.2.7"[at] ? at + 1 : c == '1';
		if (at == 9)
			break;
	}
	ck_assert_int_ne(c, EOF);
	fseek(f, -1, SEEK_CUR);
	putc('8', f);
	fclose(f);
	rig_spawn(NULL);
	ck_assert_int_eq(rig_config(text), ERR_FORMAT);
	ck_assert_msg(strstr(text, "sign1/main") && strstr(text, "leaf hash"), "%s", text);
	ck_assert_int_eq(rig_wait(), 78);
	sample_free(&a);
}
END_TEST

START_TEST(two_daemons_never_share_a_ledger)
{
	pid_t first;
	int control;
	struct store *s;
	struct refusal why;

	rig_up();
	first = rig.pid;
	control = rig.control;
	ck_assert_int_eq(store_sqlite.open_copy(&s, rig.path, &why), ERR_TIMEOUT);
	ck_assert_ptr_nonnull(strstr(why.detail, "running dcsignd"));
	rig_spawn(NULL);

	struct msg_config m = {.count = 1, .label = {"bundle"}};
	struct buf out = BUF_INIT(MSG_MAX);
	int fd = rig_bundle(), status;

	msg_begin(&out, MSG_CONFIG, ++rig.serial);
	msg_config_write(&out, &m);
	ck_assert_int_eq(channel_send(rig.control, &out, &fd, 1, WAIT_MS), ERR_OK);
	close(fd);
	buf_free(&out);
	ck_assert_int_eq(waitpid(rig.pid, &status, 0), rig.pid);
	ck_assert(WIFEXITED(status) && WEXITSTATUS(status) == 75);
	close(rig.control);
	rig.control = control;
	rig.pid = first;
	rig_start_and_config();
	ck_assert_int_eq(rig_down(), 0);
}
END_TEST

START_TEST(a_new_configuration_is_taken_and_known)
{
	rig_up();
	rig_start_and_config();
	rig.config.require_clock_sync = !rig.config.require_clock_sync;
	ck_assert_int_eq(rig_config(NULL), ERR_OK);
	rig_start_and_config();
	rig.config.node[0] = 't';
	ck_assert_int_ne(rig_config(NULL), ERR_OK);
	rig.config.node[0] = 's';
	memset(rig.issuer.generation, 1, SHA256_SIZE);

	struct record r;

	help_config(&r, &rig.issuer);
	ck_assert_int_eq(rig_append(&r), ERR_LEDGER_UNAVAILABLE);
	ck_assert_int_eq(rig_down(), 0);
	ck_assert_uint_eq(rig_occurrences(rig_stored(), "\"type\":\"CONFIG\""), 2);
}
END_TEST

/* Killed at any moment, everything that was answered is there. */
START_TEST(nothing_that_was_answered_is_lost)
{
	enum { ROUNDS = 25, IN_FLIGHT = 16 };
	static char answered[ROUNDS * 512][ID_SIZE];
	size_t count = 0;
	unsigned n = 0;

	for (int round = 0; round < ROUNDS; round++) {
		struct sample s[IN_FLIGHT];
		uint64_t before;

		rig_up();
		before = rig.hello.size;
		rig_start_and_config();
		ck_assert_uint_eq(rig.answers.item[0].idx, before);
		for (int i = 0; i < IN_FLIGHT; i++) {
			struct record *r = &s[i].authorised;

			sample_make(&s[i], &rig.issuer, ++n);
			rig_append_send(&r, 1, 0);
		}
		for (int i = 0; i < round % IN_FLIGHT; i++) {
			struct record *r = &s[i].issued;

			ck_assert_int_eq(rig_answers(), ERR_OK);
			strcpy(answered[count++], s[i].id);
			rig_append_send(&r, 1, 0);
		}
		kill(rig.pid, SIGKILL);
		ck_assert_int_eq(rig_wait(), -SIGKILL);
		for (int i = 0; i < IN_FLIGHT; i++)
			sample_free(&s[i]);
	}
	rig_up();
	ck_assert_int_eq(rig_down(), 0);

	const char *text = rig_stored();
	unsigned authorised = rig_occurrences(text, "\"type\":\"AUTHORISED\"");

	ck_assert_uint_ge(authorised, count);
	ck_assert_uint_eq(authorised, rig_occurrences(text, "\"type\":\"ISSUED\"") +
					      rig_occurrences(text, "\"type\":\"UNKNOWN\""));
	for (size_t i = 0; i < count; i++) {
		char member[64];

		snprintf(member, sizeof(member), "\"id\":\"%.32s\"", answered[i]);
		ck_assert_uint_eq(rig_occurrences(text, member), 2);
	}
}
END_TEST

/* A file at its size limit is a full disk: nothing is written, nothing ends. */
START_TEST(a_full_disk_refuses_and_recovers_nothing_half)
{
	struct rlimit old, tight = {.rlim_cur = 9u << 20, .rlim_max = RLIM_INFINITY};
	struct sample s;
	enum err e = ERR_OK;
	unsigned n = 0;

	ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	tight.rlim_max = old.rlim_max;
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &tight), 0);
	rig_up();
	rig_start_and_config();
	/* Padded so that the files grow fast. */
	char *pad = malloc(60001);

	memset(pad, 'x', 60000);
	pad[60000] = '\0';
	while (e == ERR_OK && n < 1000) {
		sample_make(&s, &rig.issuer, ++n);
		s.authorised.detail = octets_text(pad);
		e = rig_append(&s.authorised);
		sample_free(&s);
	}
	ck_assert_int_eq(e, ERR_LEDGER_UNAVAILABLE);
	ck_assert_uint_gt(n, 50);
	kill(rig.pid, SIGKILL);
	rig_wait();
	ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	rig_up();
	ck_assert_uint_eq(rig.hello.size, 2 + 2 * (n - 1));
	ck_assert_int_eq(rig_down(), 0);
	ck_assert_uint_eq(rig_occurrences(rig_stored(), "\"type\":\"AUTHORISED\""), n - 1);
	free(pad);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ledgerd");
	TCase *c = tcase_create("ledgerd");

	tcase_add_checked_fixture(c, rig_set_up, rig_tear_down);
	tcase_add_test(c, a_life_from_birth_to_stop);
	tcase_add_test(c, what_a_dead_writer_left_open_is_unknown);
	tcase_add_test(c, a_new_writer_ends_the_old_one);
	tcase_add_test(c, the_api_reads_counts_and_heads);
	tcase_add_test(c, a_hold_is_in_force_when_it_is_answered);
	tcase_add_loop_test(c, a_record_that_is_not_the_writers_ends_it, 0,
		(int)(sizeof(foreign) / sizeof(foreign[0])));
	tcase_add_loop_test(c, noise_ends_it, 0, 2);
	tcase_add_test(c, a_check_touches_nothing);
	tcase_add_test(c, a_damaged_tail_is_refused);
	tcase_add_test(c, two_daemons_never_share_a_ledger);
	tcase_add_test(c, a_new_configuration_is_taken_and_known);
	tcase_add_test(c, nothing_that_was_answered_is_lost);
	tcase_add_test(c, a_full_disk_refuses_and_recovers_nothing_half);
	suite_add_tcase(s, c);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
