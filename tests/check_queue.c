/* queue: who works on what while the ledger and the token are slow. What the requests do is
 * scripted here: each asks the ledger, then the token, then the ledger. */
#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "channel.h"
#include "hsm_fixture.h"
#include "queue.h"
#include "token.h"

#define MOST	16
#define WAIT_MS 60000

struct batch { /* the script's place in a request */
	enum { BEGIN, AUTHORISED, CONCLUDED } next;
	bool with_ledger;
	void (*tell)(void *arg);
	void *arg;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct batch *batches[MOST];
static unsigned begun, ended, under_way_most, signing, signing_most, asked, flushed, flushes;
static size_t ready;	   /* what waits beside that */
static unsigned answering; /* have come to their ends, and ... */
static bool held_at_end;   /* ... stay there */
static unsigned turn, width;
static bool crowded;
static bool held, one_hangs_now; /* signatures do not come back: none, or the first request's */
static bool ledger_there;	 /* it answers */
static int64_t for_ms;		 /* deadline of a request */
static struct queue queue;
static struct line *api;
static int ours;
static struct msg_issue ask;
static struct buf spki, octets;

/* --- what the queue calls --- */

int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

unsigned token_width(const struct token *t)
{
	(void)t;
	return width;
}

unsigned token_turn(const struct token *t)
{
	(void)t;
	return turn;
}

void token_crowd(struct token *t, bool crowd)
{
	(void)t;
	crowded = crowd;
}

void evidence_abandoned(struct append *ledger, const struct attempt *attempt);
void evidence_abandoned(struct append *ledger, const struct attempt *attempt)
{
	(void)ledger;
	(void)attempt;
}

void append_flush(struct append *a)
{
	(void)a;
	pthread_mutex_lock(&lock);
	flushes += asked + ready > flushed;
	flushed = asked;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

size_t append_ready(struct append *a)
{
	size_t n;

	(void)a;
	pthread_mutex_lock(&lock);
	n = asked - flushed + ready;
	pthread_mutex_unlock(&lock);
	return n;
}

struct batch *issue_begin(const struct issuer *issuer, const struct msg_issue *m,
	struct deadline *deadline, void (*tell)(void *arg), void *arg, struct refusal *why)
{
	struct batch *b = calloc(1, sizeof *b);

	(void)issuer;
	(void)deadline;
	(void)why;
	ck_assert_str_eq(m->item[0].key, "www");
	b->tell = tell;
	b->arg = arg;
	pthread_mutex_lock(&lock);
	batches[begun++] = b;
	if (begun - ended > under_way_most)
		under_way_most = begun - ended;
	pthread_mutex_unlock(&lock);
	return b;
}

static void sign(struct batch *b)
{
	pthread_mutex_lock(&lock);
	if (++signing > signing_most)
		signing_most = signing;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
	pthread_mutex_lock(&lock);
	while (held && (!one_hangs_now || b == batches[0]))
		pthread_cond_wait(&changed, &lock);
	signing--;
	pthread_mutex_unlock(&lock);
}

bool issue_go_on(struct batch *b, struct buf *answer)
{
	if (b->next == CONCLUDED) {
		struct refusal why = {.err = ERR_LIFETIME_LONG};

		pthread_mutex_lock(&lock);
		answering++;
		pthread_cond_broadcast(&changed);
		while (held_at_end)
			pthread_cond_wait(&changed, &lock);
		pthread_mutex_unlock(&lock);
		issue_refuse_all(&ask, &why, answer);
		return true;
	}
	if (b->next == AUTHORISED)
		sign(b);
	pthread_mutex_lock(&lock);
	b->next = b->next == BEGIN ? AUTHORISED : CONCLUDED;
	b->with_ledger = true;
	asked++;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	return false;
}

bool issue_signs(const struct batch *b)
{
	return b->next == AUTHORISED;
}

void issue_end(struct batch *b)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < MOST; i++)
		if (batches[i] == b)
			batches[i] = NULL;
	ended++;
	pthread_mutex_unlock(&lock);
	free(b);
}

void issue_refuse_all(const struct msg_issue *m, const struct refusal *why, struct buf *answer)
{
	struct msg_issue_answer a = {.count = m->count};

	memcpy(a.request, m->request, sizeof a.request);
	for (uint16_t i = 0; i < m->count; i++)
		a.grant[i].refusal = *why;
	msg_issue_answer_write(answer, &a);
}

/* --- what the tests do --- */

static void acquire(void *arg, struct issuer *out)
{
	(void)arg;
	*out = (struct issuer){.keys = NULL};
}

static void release(void *arg, struct issuer *context)
{
	(void)arg;
	(void)context;
}

static unsigned asleep(void)
{
	unsigned n;

	pthread_mutex_lock(&queue.lock);
	n = queue.idles;
	pthread_mutex_unlock(&queue.lock);
	return n;
}

static void wait_for_sleep(unsigned workers)
{
	while (asleep() < workers)
		sched_yield();
}

static void begin(unsigned workers, unsigned turn_now, unsigned width_now)
{
	turn = turn_now;
	width = width_now;
	queue = (struct queue){.acquire = acquire, .release = release};
	ck_assert_int_eq(queue_start(&queue, workers), ERR_OK);
	wait_for_sleep(workers);
}

static void put(uint64_t serial)
{
	ck_assert_int_eq(queue_put(&queue, MOST, api, serial, &ask, octets.octets, octets.len,
				 monotonic_ms() + for_ms),
		ERR_OK);
}

/* The ledger answers all that have asked; how many. */
static unsigned ledger_answers(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < MOST; i++) {
		struct batch *b;

		pthread_mutex_lock(&lock);
		b = batches[i] != NULL && batches[i]->with_ledger ? batches[i] : NULL;
		if (b != NULL)
			b->with_ledger = false;
		pthread_mutex_unlock(&lock);
		if (b != NULL) {
			n++;
			b->tell(b->arg);
		}
	}
	return n;
}

static void wait_for(const unsigned *count, unsigned least)
{
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += WAIT_MS / 1000;
	pthread_mutex_lock(&lock);
	while (*count < least)
		ck_assert_int_eq(pthread_cond_timedwait(&changed, &lock, &until), 0);
	pthread_mutex_unlock(&lock);
}

/* The next answer to come while the ledger and the main thread do their work: its error. */
static enum err answered(uint64_t *serial)
{
	static struct msg_issue_answer a;
	static uint8_t inbox[MSG_MAX];
	struct msg_head head;
	struct reader body;
	size_t len;

	for (int64_t until = monotonic_ms() + WAIT_MS; monotonic_ms() < until;) {
		if (channel_receive(ours, inbox, sizeof inbox, &len, NULL, NULL, 10) == ERR_OK) {
			ck_assert_int_eq(msg_open(&head, &body, inbox, len), ERR_OK);
			ck_assert_int_eq(msg_issue_answer_read(&a, &body), ERR_OK);
			*serial = head.serial;
			return a.grant[0].refusal.err;
		}
		if (ledger_there)
			ledger_answers();
		queue_expire(&queue);
	}
	ck_abort_msg("no answer");
	return ERR_OK;
}

/* Signatures come back: all, or all but one. */
static void let_go(bool all)
{
	pthread_mutex_lock(&lock);
	one_hangs_now = true;
	held = !all;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
}

static void setup(void)
{
	int ends[2];

	ck_assert_int_eq(channel_pair(ends), ERR_OK);
	api = line_new(ends[0]);
	ours = ends[1];
	begun = ended = under_way_most = signing = signing_most = asked = flushed = flushes = 0;
	ready = answering = 0;
	held_at_end = false;
	held = one_hangs_now = crowded = false;
	ledger_there = true;
	for_ms = 60000;
	memset(batches, 0, sizeof batches);
	spki = (struct buf)BUF_INIT(SPKI_MAX);
	octets = (struct buf)BUF_INIT(MSG_MAX);
	fixture_issue(&ask, "www", &spki, 1);
	msg_begin(&octets, MSG_ISSUE, 1);
	msg_issue_write(&octets, &ask);
	ck_assert_int_eq(octets.err, ERR_OK);
}

static void teardown(void)
{
	while (queue_expire(&queue) > 0)
		ledger_answers();
	queue_stop(&queue);
	queue_join(&queue);
	line_unref(api);
	close(ours);
	buf_free(&spki);
	buf_free(&octets);
}

static void all_answered(unsigned n)
{
	bool seen[MOST] = {false};

	for (unsigned i = 0; i < n; i++) {
		uint64_t serial = MOST;

		ck_assert_int_eq(answered(&serial), ERR_LIFETIME_LONG);
		ck_assert_uint_lt(serial, MOST);
		ck_assert(!seen[serial]);
		seen[serial] = true;
	}
}

/* Signatures that are worth no second thread are made one after the other. */
START_TEST(one_signs_for_many)
{
	begin(8, 100, 1);
	for (unsigned i = 0; i < 8; i++)
		put(i);
	wait_for(&flushed, 8);
	ck_assert_uint_eq(ledger_answers(), 8);
	wait_for(&flushed, 16);
	ck_assert_uint_eq(signing_most, 1);
	ck_assert(!crowded);
	all_answered(8);
}
END_TEST

/* Those that take long are made at the same time, each by a thread, and there is one for more. */
START_TEST(each_signs_for_itself)
{
	held = true;
	begin(8, 1, 8);
	for (unsigned i = 0; i < 6; i++)
		put(i);
	wait_for(&flushed, 6);
	ck_assert_uint_eq(ledger_answers(), 6);
	wait_for(&signing, 6);
	put(6);
	wait_for(&flushed, 7);
	let_go(true);
	all_answered(7);
}
END_TEST

/* A call that does not come back costs its own request. */
START_TEST(one_hangs)
{
	held = true;
	begin(8, 100, 1);
	for (unsigned i = 0; i < 8; i++)
		put(i);
	wait_for(&flushed, 8);
	ck_assert_uint_eq(ledger_answers(), 8);
	wait_for(&signing, 1);
	let_go(false);
	all_answered(7);
	ck_assert_uint_eq(queue_unanswered(&queue), 1);
	let_go(true);
	all_answered(1);
}
END_TEST

/* No more than there are workers are begun, although none waits for the ledger. */
START_TEST(as_many_as_workers)
{
	begin(2, 100, 1);
	for (unsigned i = 0; i < 5; i++)
		put(i);
	wait_for(&flushed, 2);
	ck_assert_uint_eq(queue_expire(&queue), 5);
	all_answered(5);
	ck_assert_uint_eq(under_way_most, 2);
}
END_TEST

/* The time is over while the ledger works: one answer, and what comes later is none. */
START_TEST(late_ledger)
{
	uint64_t serial = 0;

	begin(2, 100, 1);
	ledger_there = false;
	for_ms = 30;
	put(3);
	ck_assert_int_eq(answered(&serial), ERR_TIMEOUT);
	ck_assert_uint_eq(serial, 3);
	ck_assert_uint_eq(queue_unanswered(&queue), 0);
	for_ms = 60000;
	ledger_there = true;
	put(4);
	ck_assert_int_eq(answered(&serial), ERR_LIFETIME_LONG);
	ck_assert_uint_eq(serial, 4);
}
END_TEST

/* Whoever slept last is woken first. */
START_TEST(last_is_first)
{
	struct worker *last;

	begin(4, 100, 1);
	last = queue.idle;
	for (unsigned i = 0; i < 3; i++) {
		put(i);
		wait_for(&flushed, 2 * i + 1);
		ck_assert_uint_eq(ledger_answers(), 1);
		wait_for(&flushed, 2 * i + 2);
		ck_assert_uint_eq(ledger_answers(), 1);
		while (queue_unanswered(&queue) > 0)
			sched_yield();
		wait_for_sleep(4);
		ck_assert_ptr_eq(queue.idle, last);
	}
}
END_TEST

static unsigned flushes_now(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = flushes;
	pthread_mutex_unlock(&lock);
	return n;
}

/* Half of those that are under way go to the ledger together, while others are signed. */
START_TEST(few_transactions)
{
	begin(8, 100, 1);
	for (unsigned i = 0; i < 6; i++)
		put(i);
	wait_for(&flushed, 6);
	wait_for_sleep(8);
	flushes = 0;
	ck_assert_uint_eq(ledger_answers(), 6);
	wait_for(&flushed, 12);
	ck_assert_uint_eq(flushes_now(), 2);
	all_answered(6);
}
END_TEST

/* What could not leave before goes with what the one who is at work asks; but not half of them,
 * and not when nobody is. */
START_TEST(leaves_with_more)
{
	unsigned before;

	held = true;
	begin(8, 100, 1);
	for (unsigned i = 0; i < 4; i++)
		put(i);
	wait_for(&flushed, 4);
	wait_for_sleep(8);
	before = flushes;
	ready = 1;
	queue_flush(&queue);
	ck_assert_uint_eq(flushes_now(), before + 1);
	ck_assert_uint_eq(ledger_answers(), 4);
	wait_for(&signing, 1);
	queue_flush(&queue);
	ck_assert_uint_eq(flushes_now(), before + 1);
	ready = 2;
	queue_flush(&queue);
	ck_assert_uint_eq(flushes_now(), before + 2);
	ready = 0;
	let_go(true);
	wait_for(&flushed, 8);
	wait_for_sleep(8);
	before = flushes;
	held_at_end = true;
	ck_assert_uint_eq(ledger_answers(), 4);
	wait_for(&answering, 1);
	ready = 1;
	queue_flush(&queue);
	ck_assert_uint_eq(flushes_now(), before);
	pthread_mutex_lock(&lock);
	held_at_end = false;
	pthread_cond_broadcast(&changed);
	pthread_mutex_unlock(&lock);
	wait_for(&flushes, before + 1);
	ready = 0;
	all_answered(4);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("queue");
	TCase *c = tcase_create("queue");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, one_signs_for_many);
	tcase_add_test(c, each_signs_for_itself);
	tcase_add_test(c, one_hangs);
	tcase_add_test(c, as_many_as_workers);
	tcase_add_test(c, late_ledger);
	tcase_add_test(c, last_is_first);
	tcase_add_test(c, few_transactions);
	tcase_add_test(c, leaves_with_more);
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
