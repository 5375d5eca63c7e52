/* append: the hsm side of the ledger channel, against a ledger in a thread. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "append.h"
#include "fakes/fake_ledger.h"

static struct append *append;
static struct fake_ledger ledger;
static pthread_t reader;
static _Atomic bool reading;
static struct buf octets[MSG_ITEMS];
static struct append_item items[MSG_ITEMS];

/* The main thread's part. */
static void *receive(void *arg)
{
	(void)arg;
	while (reading) {
		bool any = append_fd(append) >= 0 && append_receive(append) == ERR_OK;

		append_flush(append);
		usleep(any ? 100 : 1000);
	}
	return NULL;
}

static void reader_stop(void)
{
	reading = false;
	pthread_join(reader, NULL);
}

/* By the same thread as receives, or while none does. */
static void attach(void)
{
	memset(&ledger, 0, sizeof ledger);
	append_attach(append, fake_ledger_start(&ledger));
	reading = true;
	pthread_create(&reader, NULL, receive, NULL);
}

static void fill(size_t i, enum record_type type, size_t extra)
{
	uint8_t digest[SHA256_SIZE] = {0};
	char *text = malloc(extra + 2);
	struct record r;

	memset(text, 'x', extra + 1);
	record_init(&r, type);
	r.time = 1;
	r.node = r.token = r.version = r.boot_id = octets_text("x");
	r.boottime = 1;
	r.generation = octets_of(digest, sizeof digest);
	r.detail = octets_of(text, extra + 1);
	octets[i] = (struct buf)BUF_INIT(RECORD_MAX);
	if (type == RECORD_CONFIG) {
		r.node = r.token = r.version = r.boot_id = (struct octets){0};
		r.boottime = RECORD_NONE;
	}
	ck_assert_int_eq(record_encode(&octets[i], &r), ERR_OK);
	items[i] = (struct append_item){.record = octets_of(octets[i].octets, octets[i].len)};
	free(text);
}

static void setup(void)
{
	signal(SIGPIPE, SIG_IGN);
	append = append_new();
	ck_assert_ptr_nonnull(append);
	attach();
	fill(0, RECORD_START, 0);
	for (size_t i = 1; i < MSG_ITEMS; i++)
		fill(i, RECORD_CONFIG, i == 200 ? 60000 : 600);
}

static void teardown(void)
{
	reader_stop();
	fake_ledger_stop(&ledger);
	append_free(append);
	for (size_t i = 0; i < MSG_ITEMS; i++)
		buf_free(&octets[i]);
}

static enum err append_n(size_t n, struct append_answers *out)
{
	struct refusal why = {.err = ERR_OK};
	enum err e = append_records(append, items, n, out, &why);

	ck_assert_int_eq(why.err, e);
	if (e != ERR_OK)
		ck_assert_uint_gt(why.retry_after, 0);
	return e;
}

static enum err open_it(void)
{
	static struct append_answers answers;
	struct msg_hello_answer hello;
	struct refusal why;
	enum err e = append_open(append, "main", &hello, &why);

	if (e != ERR_OK)
		return e;
	ck_assert_str_eq(hello.chain, "node1/main");
	ck_assert_uint_eq(append_generation(append), 0);
	ck_assert_int_eq(append_n(1, &answers), ERR_LEDGER_UNAVAILABLE); /* START comes first */
	append_answers_free(&answers);
	e = append_first(append, items, 2, &answers, &why);
	append_answers_free(&answers);
	return e;
}

START_TEST(hello_then_start_then_the_rest)
{
	struct append_answers answers;
	char chain[2 * NAME_SIZE + 8];

	ck_assert_int_eq(append_n(1, &answers), ERR_LEDGER_UNAVAILABLE);
	append_answers_free(&answers);
	append_post(append, items, 1); /* goes nowhere */
	ck_assert_uint_eq(append_generation(append), 0);
	ck_assert_int_eq(open_it(), ERR_OK);
	ck_assert_uint_eq(append_generation(append), 1);
	ck_assert_int_eq(fake_ledger_type(&ledger, 0), RECORD_START);
	ck_assert_int_eq(fake_ledger_type(&ledger, 1), RECORD_CONFIG);
	ck_assert_uint_eq(ledger.hellos, 1);
	append_chain(append, chain);
	ck_assert_str_eq(chain, "node1/main");
	ck_assert_int_eq(append_n(3, &answers), ERR_OK);
	ck_assert_uint_eq(answers.count, 3);
	for (size_t i = 0; i < 3; i++)
		ck_assert_uint_eq(answers.item[i].idx, 2 + i);
	append_answers_free(&answers);
	append_post(append, items, 2);
	ck_assert(fake_ledger_wait(&ledger, RECORD_START, 3));
	ck_assert_int_eq(append_n(1, &answers), ERR_OK); /* the posted ones' answer is no one's */
	ck_assert_uint_eq(answers.item[0].idx, 7);
	append_answers_free(&answers);
}
END_TEST

/* More than one message holds: in order, and all of them. */
START_TEST(large_batches)
{
	struct append_answers *answers = calloc(1, sizeof *answers);

	ck_assert_int_eq(open_it(), ERR_OK);
	ck_assert_int_eq(append_n(MSG_ITEMS, answers), ERR_OK);
	ck_assert_uint_eq(answers->count, MSG_ITEMS);
	ck_assert_uint_gt(answers->messages, 1);
	for (size_t i = 0; i < MSG_ITEMS; i++)
		ck_assert_uint_eq(answers->item[i].idx, 2 + i);
	append_answers_free(answers);
	free(answers);
}
END_TEST

START_TEST(lost_channel_wakes_everybody)
{
	struct append_answers answers;

	ck_assert_int_eq(open_it(), ERR_OK);
	ledger.close_at = RECORD_CONFIG;
	ck_assert_int_eq(append_n(2, &answers), ERR_LEDGER_UNAVAILABLE);
	append_answers_free(&answers);
	ck_assert_uint_eq(append_generation(append), 0);
	ck_assert_int_eq(append_n(1, &answers), ERR_LEDGER_UNAVAILABLE);
	append_answers_free(&answers);
	fake_ledger_stop(&ledger);
	reader_stop();
	attach();
	ck_assert_int_eq(append_n(1, &answers), ERR_LEDGER_UNAVAILABLE);
	append_answers_free(&answers);
	ck_assert_int_eq(open_it(), ERR_OK);
	ck_assert_uint_eq(append_generation(append), 2);
	ck_assert_int_eq(append_n(1, &answers), ERR_OK);
	append_answers_free(&answers);
}
END_TEST

static void *hammer(void *arg)
{
	struct append_answers *answers = calloc(1, sizeof *answers);

	for (int i = 0; i < 100; i++) {
		if (append_records(append, items + 1, 2, answers, NULL) == ERR_OK) {
			ck_assert_uint_eq(answers->count, 2);
			/* its own answer: two that follow each other */
			ck_assert_uint_eq(answers->item[1].idx, answers->item[0].idx + 1);
			++*(int *)arg;
		}
		append_answers_free(answers);
	}
	free(answers);
	return NULL;
}

START_TEST(many_threads)
{
	pthread_t thread[8];
	int done[8] = {0}, all = 0;

	ck_assert_int_eq(open_it(), ERR_OK);
	for (int i = 0; i < 8; i++)
		pthread_create(&thread[i], NULL, hammer, &done[i]);
	for (int i = 0; i < 8; i++) {
		pthread_join(thread[i], NULL);
		all += done[i];
	}
	ck_assert_int_eq(all, 800);
}
END_TEST

static void *ask_once(void *arg)
{
	struct append_answers answers;

	*(enum err *)arg = append_records(append, items + 1, 2, &answers, NULL);
	append_answers_free(&answers);
	return NULL;
}

/* What waits while the ledger works goes as one message. */
START_TEST(asked_at_once)
{
	pthread_t thread[16];
	enum err e[16];

	ck_assert_int_eq(open_it(), ERR_OK);
	ledger.appends = 0;
	ledger.delay_ms = 300;
	for (int i = 0; i < 16; i++)
		pthread_create(&thread[i], NULL, ask_once, &e[i]);
	for (int i = 0; i < 16; i++) {
		pthread_join(thread[i], NULL);
		ck_assert_int_eq(e[i], ERR_OK);
	}
	ck_assert_uint_lt(ledger.appends, 12);
	ck_assert_uint_eq(fake_ledger_count(&ledger, RECORD_CONFIG), 1 + 2 * 16);
}
END_TEST

/* The tick of the process's main loop. */
static void *flush(void *arg)
{
	while (!*(_Atomic bool *)arg) {
		append_flush(append);
		usleep(20000);
	}
	return NULL;
}

/* What the ledger keeps until its database is back holds up nobody else. */
START_TEST(kept_messages_hold_up_nobody)
{
	pthread_t kept[3], ticks;
	_Atomic bool over = false;
	enum err e[3], other;

	ck_assert_int_eq(open_it(), ERR_OK);
	ledger.appends = 0;
	ledger.keeps = 3;
	for (unsigned i = 0; i < 3; i++) {
		pthread_create(&kept[i], NULL, ask_once, &e[i]);
		while (i < 2 && ledger.appends <= i)
			usleep(1000);
	}
	pthread_create(&ticks, NULL, flush, &over);
	while (ledger.keeps > 0)
		usleep(1000);
	ask_once(&other);
	ck_assert_int_eq(other, ERR_OK);
	reader_stop();
	append_attach(append, -1);
	for (int i = 0; i < 3; i++) {
		pthread_join(kept[i], NULL);
		ck_assert_int_eq(e[i], ERR_LEDGER_UNAVAILABLE);
	}
	over = true;
	pthread_join(ticks, NULL);
	reading = true;
	pthread_create(&reader, NULL, receive, NULL);
}
END_TEST

/* Those whose records were sent, and those whose records were not. */
START_TEST(lost_channel_wakes_those_not_sent)
{
	pthread_t thread[16];
	enum err e[16];

	ck_assert_int_eq(open_it(), ERR_OK);
	reader_stop();
	for (int i = 0; i < 16; i++)
		pthread_create(&thread[i], NULL, ask_once, &e[i]);
	ck_assert(fake_ledger_wait(&ledger, RECORD_CONFIG, 2));
	append_attach(append, -1);
	for (int i = 0; i < 16; i++) {
		pthread_join(thread[i], NULL);
		ck_assert_int_eq(e[i], ERR_LEDGER_UNAVAILABLE);
	}
	reading = true;
	pthread_create(&reader, NULL, receive, NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("append");
	TCase *c = tcase_create("append");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, hello_then_start_then_the_rest);
	tcase_add_test(c, large_batches);
	tcase_add_test(c, lost_channel_wakes_everybody);
	tcase_add_test(c, many_threads);
	tcase_add_test(c, asked_at_once);
	tcase_add_test(c, kept_messages_hold_up_nobody);
	tcase_add_test(c, lost_channel_wakes_those_not_sent);
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
