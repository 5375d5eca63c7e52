/* How many signatures a distant token gives: 20 ms for each, 40 sessions, twice as many threads. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "counters.h"
#include "hsm_fixture.h"
#include "token.h"

#define SESSIONS  40
#define THREADS	  80
#define DELAY_MS  20
#define WARM_MS	  500 /* sessions are opened */
#define RUN_MS	  3000
#define MOST_MS	  60000 /* for a window in which the machine does nothing else */
#define WINDOW_MS 500

static struct token *token;
static struct token_key key;
static _Atomic unsigned failed;
static _Atomic int64_t until;

static void *sign_on(void *arg)
{
	struct token_session *s;
	struct token_signature made;

	(void)arg;
	while (monotonic_ms() < until) {
		if (token_session_take(token, monotonic_ms() + 60000, &s, NULL) != ERR_OK) {
			failed++;
			continue;
		}
		token_sign(
			s, &key, scheme_by_code(SCHEME_ECDSA_P256), (const uint8_t *)"m", 1, &made);
		token_session_give(s);
		failed += made.outcome != SIGN_DONE;
	}
	return NULL;
}

START_TEST(distant_token)
{
	const struct fixture_certificate what = {.not_before = 1, .not_after = 2};
	struct buf pem = BUF_INIT(65536);
	struct fixture_token fixture;
	struct token_spec spec = {.uri = "pkcs11:token=test", .sessions = SESSIONS};
	pthread_t thread[THREADS];
	char module[512], rules[256];
	const char *long_run = getenv("DCSIGN_TESTS");
	struct refusal why;
	double busy = 0, /* in the best window */
		least = long_run != NULL && strcmp(long_run, "long") == 0 ? 0.97 : 0.80;
	int64_t begun;

	if (!fixture_token(&fixture))
		return;
	fixture_token_key(&fixture, "k", "P-256", &what, &pem);
	snprintf(module, sizeof module, "%s/tests/faults/p11fault.so", getenv("TOP_BUILDDIR"));
	snprintf(rules, sizeof rules, "%s/rules", fixture.folder);
	fixture_run("echo 'C_Sign takes=%d' >%s", DELAY_MS, rules);
	setenv("P11FAULT_MODULE", FIXTURE_MODULE, 1);
	setenv("P11FAULT_CONTROL", rules, 1);
	spec.module = module;
	ck_assert_msg(token_open(&token, &spec, &why) == ERR_OK, "%s", why.detail);
	ck_assert_int_eq(token_login(token, FIXTURE_PIN, &why), LOGIN_DONE);
	ck_assert_int_eq(token_key_find(token, "pkcs11:object=k", &key, &why), ERR_OK);
	begun = monotonic_ms();
	until = begun + WARM_MS + MOST_MS;
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, sign_on, NULL), 0);
	usleep(WARM_MS * 1000);
	while (monotonic_ms() < until - WINDOW_MS &&
		(busy <= least || monotonic_ms() < begun + WARM_MS + RUN_MS - WINDOW_MS)) {
		int64_t begin = monotonic_ms();
		uint64_t count = counter_get(COUNTER_SIGNATURES), us = counter_get(COUNTER_SIGN_US);
		double ms, part;

		usleep(WINDOW_MS * 1000);
		count = counter_get(COUNTER_SIGNATURES) - count;
		us = counter_get(COUNTER_SIGN_US) - us;
		ms = (double)(monotonic_ms() - begin);
		part = (double)us / 1000 / ms / SESSIONS;
		printf("%.0f signatures a second of %.2f ms each: %.1f %% of %d sessions are "
		       "busy\n",
			1000 * (double)count / ms, (double)us / 1000 / (double)count, 100 * part,
			SESSIONS);
		busy = part > busy ? part : busy;
	}
	until = 0;
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	ck_assert_uint_eq(failed, 0);
	/* What a busy machine adds to each 20 ms inside the module is not ours; it takes its part
	 * between two calls, too. */
	ck_assert_msg(busy > least, "only %.1f %% of the sessions are busy", 100 * busy);
	token_close(token);
	buf_free(&pem);
	fixture_token_end(&fixture);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rate");
	TCase *c = tcase_create("rate");
	SRunner *r = srunner_create(s);
	int bad;

	tcase_set_timeout(c, 240);
	tcase_add_test(c, distant_token);
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_ENV);
	bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad == 0 ? 0 : 1;
}
