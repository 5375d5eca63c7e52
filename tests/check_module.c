/* token: what it makes of a module's answers, of each error code, and of answers that no module
 * that is known gives; opening, logging in, looking, sessions and signatures. On a fake module. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "failing_malloc.h"
#include "module_rig.h"
#include "token_private.h"

static const struct {
	enum fake_call call;
	CK_RV rv;
	unsigned after;
	enum err wanted;
	const char *detail;
} openings[] = {
	{FAKE_GET_FUNCTION_LIST, CKR_GENERAL_ERROR, 0, ERR_TOKEN, "C_GetFunctionList: "},
	{FAKE_INITIALIZE, CKR_DEVICE_ERROR, 0, ERR_TOKEN, "can't be initialised: "},
	{FAKE_INITIALIZE, CKR_DEVICE_ERROR, 1, ERR_TOKEN, "C_Initialize: "},
	{FAKE_GET_SLOT_LIST, CKR_DEVICE_ERROR, 0, ERR_TOKEN, "lists no slots"},
	{FAKE_GET_TOKEN_INFO, CKR_DEVICE_ERROR, 1, ERR_TOKEN, "no token matches "},
	{FAKE_OPEN_SESSION, CKR_DEVICE_ERROR, 0, ERR_TOKEN, "C_OpenSession: "},
	{FAKE_OPEN_SESSION, CKR_SESSION_COUNT, 0, ERR_OVERLOADED, "C_OpenSession: "},
};

START_TEST(opening_that_fails)
{
	struct refusal why;

	rig_fails(openings[_i].call, openings[_i].rv, openings[_i].after);
	ck_assert_int_eq(rig_try_open(RIG_URI, 2, &why), openings[_i].wanted);
	ck_assert_msg(strstr(why.detail, openings[_i].detail) != NULL, "%s", why.detail);
	ck_assert_ptr_null(token);
	ck_assert_uint_eq(module->open, 0);
	rig_mended();
	rig_open(2);
}
END_TEST

START_TEST(opening_that_finds)
{
	struct refusal why;

	ck_assert_int_eq(rig_try_open("pkcs11:token=b", 1, &why), ERR_TOKEN);
	ck_assert_int_eq(rig_try_open("pkcs11:what=b", 1, &why), ERR_FORMAT);
	module->tokens = 2;
	ck_assert_int_eq(rig_try_open("pkcs11:serial=17", 1, &why), ERR_TOKEN);
	ck_assert_msg(strstr(why.detail, "2 tokens match ") != NULL, "%s", why.detail);
	ck_assert_int_eq(rig_try_open("pkcs11:token=b;serial=17", 1, &why), ERR_OK);
	ck_assert_str_eq(token_facts(token)->label, "b");
	token_close(token);
	module->token.flags = 0; /* not initialised: it holds nothing */
	ck_assert_int_eq(rig_try_open("pkcs11:token=b", 1, &why), ERR_TOKEN);
}
END_TEST

/* A module that gives each caller a state of its own, and one that wants arguments. */
START_TEST(opening_with_arguments)
{
	const struct token_spec spec = {
		.module = module_path, .module_args = "config=/x", .uri = RIG_URI, .sessions = 1};
	struct refusal why;

	memset(module->call, 0, sizeof module->call);
	ck_assert_int_eq(token_open(&token, &spec, &why), ERR_OK);
	ck_assert_uint_eq(module->call[FAKE_INITIALIZE].calls, 2);
	ck_assert_uint_eq(token_sessions_open(token), 1);
}
END_TEST

/* Each allocation of ours fails once. */
START_TEST(opening_without_memory)
{
	enum err e = ERR_NOMEM;
	struct refusal why;
	unsigned n;

	for (n = 1; e != ERR_OK; n++) {
		bool failed;

		failing_malloc_at(n);
		e = rig_try_open(RIG_URI, 2, &why);
		failed = failing_malloc_failed();
		failing_malloc_at(0);
		ck_assert_int_eq(e, failed ? ERR_NOMEM : ERR_OK);
		ck_assert_int_eq(e, why.err);
	}
	ck_assert_uint_gt(n, 2);
}
END_TEST

START_TEST(what_the_token_says_of_itself)
{
	static const struct {
		CK_FLAGS flags;
		enum err none, low, final;
	} cases[] = {
		{0, ERR_OK, ERR_OK, ERR_OK},
		{CKF_USER_PIN_COUNT_LOW, ERR_PIN, ERR_OK, ERR_OK},
		{CKF_USER_PIN_COUNT_LOW | CKF_USER_PIN_FINAL_TRY, ERR_PIN, ERR_PIN, ERR_OK},
		{CKF_USER_PIN_FINAL_TRY, ERR_PIN, ERR_PIN, ERR_OK},
		{CKF_USER_PIN_LOCKED, ERR_PIN, ERR_PIN, ERR_PIN},
	};
	struct refusal why;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		module->token.flags = CKF_TOKEN_INITIALIZED | cases[i].flags;
		rig_open(1);
		ck_assert_int_eq(token_login_allowed(token, RISK_NONE, &why), cases[i].none);
		ck_assert_int_eq(token_login_allowed(token, RISK_COUNT_LOW, &why), cases[i].low);
		ck_assert_int_eq(token_login_allowed(token, RISK_FINAL_TRY, &why), cases[i].final);
		token_close(token);
	}
	ck_assert_uint_eq(module->logins, 0);
	module->token.flags = CKF_TOKEN_INITIALIZED;
	memcpy(module->token.model, "m\xff\x01\x7f~\0\0", 7);
	memset(module->token.manufacturerID, 0, sizeof module->token.manufacturerID);
	rig_open(1);
	ck_assert_str_eq(token_facts(token)->model, "m???~");
	ck_assert_str_eq(token_facts(token)->manufacturer, "");
}
END_TEST

static const struct {
	CK_RV rv;
	enum login_result result;
	enum err err;
} logins[] = {
	{CKR_OK, LOGIN_DONE, ERR_OK},
	{CKR_PIN_INCORRECT, LOGIN_REFUSED, ERR_PIN},
	{CKR_PIN_LOCKED, LOGIN_REFUSED, ERR_PIN},
	{CKR_USER_PIN_NOT_INITIALIZED, LOGIN_REFUSED, ERR_PIN},
	{CKR_DEVICE_ERROR, LOGIN_NOT_TRIED, ERR_TOKEN},
	{CKR_USER_NOT_LOGGED_IN, LOGIN_NOT_TRIED, ERR_TOKEN},
	{CKR_GENERAL_ERROR, LOGIN_UNSURE, ERR_TOKEN},
	{CKR_VENDOR_DEFINED | 1, LOGIN_UNSURE, ERR_TOKEN},
};

START_TEST(logging_in)
{
	struct refusal why = {.err = ERR_OK};

	rig_open(1);
	rig_fails(FAKE_LOGIN, logins[_i].rv, 0);
	ck_assert_int_eq(token_login(token, "1234", &why), logins[_i].result);
	ck_assert_int_eq(why.err, logins[_i].err);
	ck_assert_int_eq(token_login(token, "1234", NULL), logins[_i].result);
	ck_assert_uint_eq(module->logins, 2); /* one C_Login each */
}
END_TEST

START_TEST(probes_that_go_well)
{
	struct refusal why;

	rig_key("k", "1");
	rig_open(1);
	ck_assert_int_eq(token_probe(token, &why), ERR_OK);
	module->state = CKS_RW_USER_FUNCTIONS;
	ck_assert_int_eq(token_probe(token, &why), ERR_OK);
	/* nothing about itself, but keys */
	rig_fails(FAKE_GET_TOKEN_INFO, CKR_GENERAL_ERROR, 0);
	ck_assert_int_eq(token_probe(token, &why), ERR_OK);
	ck_assert(!token_lost(token));
}
END_TEST

static const struct {
	enum fake_call call;
	CK_RV rv;
	bool keys;
	CK_STATE state;
	const char *detail;
} probes[] = {
	{FAKE_GET_TOKEN_INFO, CKR_DEVICE_REMOVED, true, CKS_RO_USER_FUNCTIONS, "C_GetTokenInfo"},
	{FAKE_GET_TOKEN_INFO, CKR_GENERAL_ERROR, false, CKS_RO_USER_FUNCTIONS, "C_GetTokenInfo"},
	{FAKE_GET_SESSION_INFO, CKR_SESSION_HANDLE_INVALID, true, CKS_RO_USER_FUNCTIONS,
		"C_GetSessionInfo"},
	{FAKE_CALLS, CKR_OK, true, CKS_RO_PUBLIC_SESSION, "C_GetSessionInfo"},
};

START_TEST(probes_that_fail)
{
	struct refusal why;

	if (probes[_i].keys)
		rig_key("k", "1");
	rig_open(1);
	module->state = probes[_i].state;
	if (probes[_i].call != FAKE_CALLS)
		rig_fails(probes[_i].call, probes[_i].rv, 0);
	ck_assert_int_eq(token_probe(token, &why), ERR_TOKEN);
	ck_assert_msg(strstr(why.detail, probes[_i].detail) != NULL, "%s", why.detail);
	ck_assert(token_lost(token));
}
END_TEST

START_TEST(another_token_in_the_slot)
{
	struct refusal why;

	rig_open(1);
	memcpy(module->token.serialNumber, "18", 2);
	ck_assert_int_eq(token_probe(token, &why), ERR_TOKEN);
	ck_assert(token_lost(token));
}
END_TEST

START_TEST(keys_that_can_t_be_searched_for)
{
	struct refusal why;

	rig_key("k", "1");
	rig_open(1);
	rig_fails(FAKE_GET_TOKEN_INFO, CKR_GENERAL_ERROR, 0);
	rig_fails(FAKE_FIND_OBJECTS_INIT, CKR_DEVICE_ERROR, 0);
	ck_assert_int_eq(token_probe(token, &why), ERR_TOKEN);
	ck_assert(token_lost(token));
}
END_TEST

/* Calls that do not come back: as if they had begun long ago. */
START_TEST(calls_that_hang)
{
	int64_t now = monotonic_ms();

	rig_open(3);
	ck_assert(!token_stuck(token, 1000));
	token->keeper_since = now - 1500;
	ck_assert(!token_stuck(token, 1000)); /* the keeper's may take twice as long */
	token->keeper_since = now - 2500;
	ck_assert(token_stuck(token, 1000));
	token->keeper_since = 0;
	token->session[0].since = now - 1500;
	ck_assert(!token_stuck(token, 1000)); /* one of three */
	token->session[1].since = now + 60000;
	ck_assert(!token_stuck(token, 1000));
	token->session[1].since = now - 1500;
	ck_assert(token_stuck(token, 1000));
	token->session[0].since = token->session[1].since = 0;
}
END_TEST

/* ---- sessions ---- */

static struct token_session *take(void)
{
	struct token_session *s;
	struct refusal why;

	ck_assert_int_eq(token_session_take(token, monotonic_ms() + 60000, &s, &why), ERR_OK);
	return s;
}

static enum err try_take(struct refusal *why)
{
	struct token_session *s;

	return token_session_take(token, 0, &s, why);
}

START_TEST(a_token_with_room_for_one)
{
	struct token_session *s;
	struct refusal why;

	rig_open(3);
	s = take();
	rig_fails(FAKE_OPEN_SESSION, CKR_SESSION_COUNT, 0);
	ck_assert_int_eq(try_take(&why), ERR_TIMEOUT); /* it waits for the one that is open */
	ck_assert_uint_eq(module->call[FAKE_OPEN_SESSION].calls, 1);
	ck_assert_int_eq(try_take(&why), ERR_TIMEOUT); /* and does not ask again so soon */
	ck_assert_uint_eq(module->call[FAKE_OPEN_SESSION].calls, 1);
	token_session_give(s);
	ck_assert_ptr_eq(take(), s);
	token->cap_until = 0; /* later it does */
	rig_mended();
	token_session_give(take());
	ck_assert_uint_eq(token_sessions_open(token), 3);
	token_session_give(s);
	ck_assert(!token_lost(token));
}
END_TEST

START_TEST(a_token_without_room)
{
	struct refusal why;

	rig_open(2);
	rig_fails(FAKE_OPEN_SESSION, CKR_SESSION_COUNT, 0);
	ck_assert_int_eq(try_take(&why), ERR_TOKEN);
	ck_assert_int_eq(try_take(NULL), ERR_TIMEOUT); /* nothing is open: it is not asked again */
	ck_assert(!token_lost(token));
}
END_TEST

static const struct {
	CK_RV rv;
	bool lost;
} sessions[] = {{CKR_DEVICE_MEMORY, false}, {CKR_DEVICE_ERROR, true}, {CKR_GENERAL_ERROR, true}};

START_TEST(a_session_that_can_t_be_opened)
{
	struct refusal why;

	rig_open(2);
	rig_fails(FAKE_OPEN_SESSION, sessions[_i].rv, 0);
	ck_assert_int_eq(try_take(&why), ERR_TOKEN);
	ck_assert_msg(strstr(why.detail, "C_OpenSession: ") != NULL, "%s", why.detail);
	ck_assert_int_eq(token_lost(token), sessions[_i].lost);
	rig_mended();
	ck_assert_int_eq(try_take(&why), sessions[_i].lost ? ERR_TOKEN : ERR_OK);
	token_session_give(&token->session[1]);
}
END_TEST

START_TEST(a_token_that_is_given_up)
{
	struct token_session *s;
	struct refusal why;

	rig_open(2);
	s = take();
	token_give_up(token);
	token_session_give(s);
	ck_assert_int_eq(try_take(&why), ERR_TOKEN);
	ck_assert_str_eq(why.detail, "the token was lost");
	/* a session that is spoiled before it was opened has nothing to close */
	token_session_spoil(&token->session[0]);
	token_session_give(&token->session[0]);
	ck_assert_uint_eq(token_sessions_open(token), module->open);
}
END_TEST

/* ---- signatures ---- */

static const struct token_key p256 = {1, KEY_EC_P256, 64};

static void sign(struct token_session *s, const struct token_key *key, uint16_t code,
	struct token_signature *out)
{
	token_sign(s, key, scheme_by_code(code), (const uint8_t *)"m", 1, out);
}

static const struct {
	enum fake_call call;
	CK_RV rv;
	bool fresh; /* the session has made no signature yet */
	enum token_outcome outcome;
	bool again, lost;
} signings[] = {
	{FAKE_SIGN_INIT, CKR_DEVICE_MEMORY, true, SIGN_NOT_DONE, true, false},
	{FAKE_SIGN, CKR_FUNCTION_FAILED, true, SIGN_MAYBE, true, false},
	{FAKE_SIGN_INIT, CKR_MECHANISM_INVALID, true, SIGN_NOT_DONE, false, false},
	{FAKE_SIGN, CKR_DATA_LEN_RANGE, false, SIGN_MAYBE, false, false},
	{FAKE_SIGN_INIT, CKR_DEVICE_REMOVED, false, SIGN_NOT_DONE, false, true},
	{FAKE_SIGN, CKR_SESSION_HANDLE_INVALID, true, SIGN_MAYBE, false, true},
	{FAKE_SIGN, CKR_SESSION_HANDLE_INVALID, false, SIGN_MAYBE, true, false},
	{FAKE_SIGN_INIT, CKR_VENDOR_DEFINED | 1, true, SIGN_NOT_DONE, false, true},
	{FAKE_SIGN_INIT, CKR_VENDOR_DEFINED | 1, false, SIGN_NOT_DONE, true, false},
};

START_TEST(signatures_that_fail)
{
	struct token_session *s, *idle;
	struct token_signature made;

	rig_open(3);
	s = take();
	idle = take();
	token_session_give(idle);
	if (!signings[_i].fresh) {
		sign(s, &p256, SCHEME_ECDSA_P256, &made);
		ck_assert_int_eq(made.outcome, SIGN_DONE);
		ck_assert_uint_eq(made.len, 64);
	}
	rig_fails(signings[_i].call, signings[_i].rv, 0);
	sign(s, &p256, SCHEME_ECDSA_P256, &made);
	ck_assert_int_eq(made.outcome, signings[_i].outcome);
	ck_assert_int_eq(made.again, signings[_i].again);
	ck_assert_int_eq(made.why.err, ERR_TOKEN);
	ck_assert_int_eq(token_lost(token), signings[_i].lost);
	token_session_give(s);
	ck_assert_uint_eq(s->handle, CK_INVALID_HANDLE); /* never used again */
	ck_assert_uint_eq(token_sessions_open(token), module->open);
	/* when one is bad for no good reason, those that nobody uses are doubtful, too */
	if (signings[_i].again && !signings[_i].fresh)
		ck_assert_uint_eq(idle->handle, CK_INVALID_HANDLE);
	else
		ck_assert_uint_ne(idle->handle, CK_INVALID_HANDLE);
}
END_TEST

START_TEST(a_signature_of_another_length)
{
	struct token_session *s;
	struct token_signature made;

	rig_open(1);
	s = take();
	module->signature_len = 63;
	sign(s, &p256, SCHEME_ECDSA_P256, &made);
	ck_assert_int_eq(made.outcome, SIGN_MAYBE);
	ck_assert(!made.again);
	ck_assert_msg(strstr(made.why.detail, "63 octets where 64") != NULL, "%s", made.why.detail);
	token_session_give(s);
	ck_assert_uint_eq(s->handle, CK_INVALID_HANDLE);
}
END_TEST

START_TEST(keys_and_schemes)
{
	static const struct {
		struct token_key key;
		uint16_t scheme;
		enum token_outcome outcome;
	} cases[] = {
		{{1, KEY_RSA, 64}, 0x0804, SIGN_DONE},
		{{1, KEY_RSA, 64}, 0x080a, SIGN_DONE},
		{{1, KEY_ED25519, 64}, SCHEME_ED25519, SIGN_DONE},
		{{1, KEY_ED25519, 64}, SCHEME_ECDSA_P256, SIGN_NOT_DONE},
		{{1, KEY_EC_P256, 64}, 0x0804, SIGN_NOT_DONE},
	};
	struct token_session *s;
	struct token_signature made;

	rig_open(1);
	s = take();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		unsigned before = module->call[FAKE_SIGN].calls;

		sign(s, &cases[i].key, cases[i].scheme, &made);
		ck_assert_int_eq(made.outcome, cases[i].outcome);
		ck_assert_uint_eq(module->call[FAKE_SIGN].calls - before,
			cases[i].outcome == SIGN_DONE ? 1 : 0);
	}
	token_session_give(s);
}
END_TEST

/* No room in C_Sign until the deadline: nothing was begun. */
START_TEST(a_signature_that_comes_to_no_turn)
{
	struct token_session *s;
	struct token_signature made;
	struct pass inside;

	rig_open(1);
	s = take();
	ck_assert(gate_enter(&token->gate, &inside, monotonic_ms() + 60000));
	token_session_until(s, 0);
	sign(s, &p256, SCHEME_ECDSA_P256, &made);
	ck_assert_int_eq(made.outcome, SIGN_NOT_DONE);
	ck_assert_int_eq(made.why.err, ERR_TIMEOUT);
	ck_assert_uint_eq(module->call[FAKE_SIGN_INIT].calls, 0);
	gate_leave(&token->gate, &inside);
	token_session_give(s);
}
END_TEST

#define MANY(table) (int)(sizeof(table) / sizeof *(table))

int main(void)
{
	const TTest *const tests[] = {opening_that_finds, opening_with_arguments,
		opening_without_memory, what_the_token_says_of_itself, probes_that_go_well,
		another_token_in_the_slot, keys_that_can_t_be_searched_for, calls_that_hang,
		a_token_with_room_for_one, a_token_without_room, a_token_that_is_given_up,
		a_signature_of_another_length, keys_and_schemes, a_signature_that_comes_to_no_turn};
	Suite *s = suite_create("module");
	TCase *c = tcase_create("module");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(c, rig_setup, rig_teardown);
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
		tcase_add_test(c, tests[i]);
	tcase_add_loop_test(c, opening_that_fails, 0, MANY(openings));
	tcase_add_loop_test(c, logging_in, 0, MANY(logins));
	tcase_add_loop_test(c, probes_that_fail, 0, MANY(probes));
	tcase_add_loop_test(c, a_session_that_can_t_be_opened, 0, MANY(sessions));
	tcase_add_loop_test(c, signatures_that_fail, 0, MANY(signings));
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
