#include "link.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "run_suite.h"
#include "signer.h"

#define KEYS (STATE_KEYS + 2)

static struct link *hsm;
static int far; /* the hsm process's end */
static uint64_t serial;
static int64_t now = 1000;
static struct msg_state_answer page;

static void begin(void)
{
	int ends[2];

	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	hsm = link_new(ROLE_HSM, "main", ends[0]);
	ck_assert_ptr_nonnull(hsm);
	far = ends[1];
}

static void end(void)
{
	link_free(hsm);
	close(far);
}

/* The question that came. */
static struct msg_state asked(void)
{
	static uint8_t in[MSG_MAX];
	struct msg_state question;
	struct msg_head head;
	struct reader body;
	size_t len;

	ck_assert_int_eq(channel_receive(far, in, sizeof in, &len, NULL, NULL, 0), ERR_OK);
	ck_assert_int_eq(msg_open(&head, &body, in, len), ERR_OK);
	ck_assert_uint_eq(head.type, MSG_STATE);
	ck_assert_int_eq(msg_state_read(&question, &body), ERR_OK);
	return question;
}

/* A new look at everything: the mark that it names. */
static uint64_t poll_now(void)
{
	struct buf out = BUF_INIT(MSG_MAX);
	struct msg_state question;

	now += SIGNER_POLL_MS;
	link_poll(hsm, now, &serial, &out);
	buf_free(&out);
	question = asked();
	ck_assert_uint_eq(question.from, 0);
	return question.mark;
}

/* Keys from..from+count of KEYS, all with this error. */
static enum err answer(uint32_t from, uint16_t count, uint64_t mark, enum err err)
{
	struct buf out = BUF_INIT(MSG_MAX);
	enum err e;

	page.mark = mark;
	page.total = KEYS;
	page.from = from;
	page.count = count;
	for (uint16_t i = 0; i < count; i++) {
		snprintf(page.key[i].name, NAME_SIZE, "k%03u", from + i);
		page.key[i].err = err;
	}
	e = link_state(hsm, &page, &serial, &out);
	buf_free(&out);
	return e;
}

static void answer_all(uint64_t first_mark, uint64_t second_mark, enum err err)
{
	struct msg_state question;

	ck_assert_int_eq(answer(0, STATE_KEYS, first_mark, err), ERR_OK);
	question = asked();
	ck_assert_uint_eq(question.from, STATE_KEYS);
	ck_assert_uint_eq(question.mark, 0);
	ck_assert_int_eq(answer(STATE_KEYS, KEYS - STATE_KEYS, second_mark, err), ERR_OK);
}

static enum err state_of(const char *key)
{
	const struct msg_state_key *k = link_key(hsm, key);

	return k == NULL ? ERR_NO_KEY : k->err;
}

START_TEST(what_did_not_change_is_not_told_again)
{
	begin();
	ck_assert_uint_eq(poll_now(), 0);
	ck_assert_int_eq(state_of("k000"), ERR_NO_KEY);
	answer_all(7, 7, ERR_KEY_UNPROVED);
	ck_assert_uint_eq(poll_now(), 7);
	page.counter[COUNTER_SIGNATURES] = 5;
	page.token_ok = 1;
	ck_assert_int_eq(answer(0, 0, 7, ERR_OK), ERR_OK);
	ck_assert(hsm->known && hsm->token_ok);
	ck_assert_uint_eq(hsm->counter[COUNTER_SIGNATURES], 5);
	ck_assert_int_eq(state_of("k000"), ERR_KEY_UNPROVED);
	ck_assert_uint_eq(poll_now(), 7);
	answer_all(8, 8, ERR_OK);
	ck_assert_int_eq(state_of("k000"), ERR_OK);
	ck_assert_int_eq(state_of("k129"), ERR_OK);
	ck_assert_int_eq(state_of("k130"), ERR_NO_KEY);
	ck_assert_uint_eq(poll_now(), 8);
	end();
}
END_TEST

/* Pages of two moments are asked for again, whatever comes back later. */
START_TEST(a_change_between_two_pages)
{
	begin();
	poll_now();
	answer_all(7, 9, ERR_OK);
	ck_assert_int_eq(state_of("k129"), ERR_OK);
	ck_assert_uint_eq(poll_now(), 0);
	answer_all(7, 7, ERR_OK);
	ck_assert_uint_eq(poll_now(), 7);
	end();
}
END_TEST

START_TEST(what_does_not_fit_the_question)
{
	begin();
	poll_now();
	ck_assert_int_eq(answer(0, 0, 7, ERR_OK), ERR_FORMAT); /* it named no mark */
	poll_now();
	answer_all(7, 7, ERR_OK);
	poll_now();
	ck_assert_int_eq(answer(0, 0, 8, ERR_OK), ERR_FORMAT); /* another */
	poll_now();
	ck_assert_int_eq(answer(1, STATE_KEYS, 8, ERR_OK), ERR_FORMAT);
	poll_now();
	ck_assert_int_eq(answer(0, STATE_KEYS, 8, ERR_OK), ERR_OK);
	memset(&page, 0, sizeof page);
	page.total = KEYS; /* not in the order of their names */
	page.from = STATE_KEYS;
	page.count = KEYS - STATE_KEYS;
	page.mark = 8;
	strcpy(page.key[0].name, "k129");
	strcpy(page.key[1].name, "k128");
	ck_assert_int_eq(
		link_state(hsm, &page, &serial, &(struct buf)BUF_INIT(MSG_MAX)), ERR_FORMAT);
	end();
}
END_TEST

RUN_SUITE("link", what_did_not_change_is_not_told_again, a_change_between_two_pages,
	what_does_not_fit_the_question)
