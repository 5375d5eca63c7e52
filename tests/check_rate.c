/* How many signatures a distant token gives: 20 ms for each, 40 sessions, twice as many threads. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "hsm_fixture.h"
#include "token.h"

#define SESSIONS 40
#define THREADS	 80
#define DELAY_MS 20
#define RUN_MS	 3000

static struct token *token;
static struct token_key key;
static _Atomic unsigned done, failed;
static int64_t until;

static void *sign_on(void *arg)
{
	struct token_session *s;
	struct token_signature made;

	(void)arg;
	while (monotonic_ms() < until) {
		if (token_session_take(token, until + 2000, &s, NULL) != ERR_OK) {
			failed++;
			continue;
		}
		token_sign(
			s, &key, scheme_by_code(SCHEME_ECDSA_P256), (const uint8_t *)"m", 1, &made);
		token_session_give(s);
		if (made.outcome == SIGN_DONE)
			done += monotonic_ms() < until;
		else
			failed++;
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
	struct refusal why;
	double rate;

	if (!fixture_token(&fixture))
		return;
	fixture_token_key(&fixture, "k", "P-256", &what, &pem);
	snprintf(module, sizeof module, "%s/tests/faults/p11fault.so", getenv("TOP_BUILDDIR"));
	snprintf(rules, sizeof rules, "%s/rules", fixture.folder);
	fixture_run("echo 'C_Sign delay=%d' >%s", DELAY_MS, rules);
	setenv("P11FAULT_MODULE", FIXTURE_MODULE, 1);
	setenv("P11FAULT_CONTROL", rules, 1);
	spec.module = module;
	ck_assert_msg(token_open(&token, &spec, &why) == ERR_OK, "%s", why.detail);
	ck_assert_int_eq(token_login(token, FIXTURE_PIN, &why), LOGIN_DONE);
	ck_assert_int_eq(token_key_find(token, "pkcs11:object=k", &key, &why), ERR_OK);
	until = monotonic_ms() + RUN_MS;
	for (int i = 0; i < THREADS; i++)
		ck_assert_int_eq(pthread_create(&thread[i], NULL, sign_on, NULL), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	rate = 1000.0 * done / RUN_MS;
	printf("%.0f signatures a second, %.1f %% of what %d sessions at %d ms can give; width "
	       "%u\n",
		rate, 100 * rate * DELAY_MS / 1000 / SESSIONS, SESSIONS, DELAY_MS,
		token_width(token));
	ck_assert_uint_eq(failed, 0);
	/* Sanitizers and a busy machine take their part of each 20 ms. */
	ck_assert_msg(rate > 0.80 * SESSIONS * 1000 / DELAY_MS, "%.0f a second", rate);
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

	tcase_set_timeout(c, 60);
	tcase_add_test(c, distant_token);
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_ENV);
	bad = srunner_ntests_failed(r);
	srunner_free(r);
	return bad == 0 ? 0 : 1;
}
