/* p11fault.so over SoftHSM: its rules, its witness, and what is done to calls. */
#include <check.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "faults/p11checks.h"

struct rig rig;

void rig_set_up(void)
{
	rig_open(&rig);
}

void rig_tear_down(void)
{
	rig_close(&rig);
}

int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void rules(const char *text)
{
	rig_rules(&rig, text);
}

static CK_RV info(void)
{
	CK_SESSION_INFO i;

	return rig.p11->C_GetSessionInfo(rig.session, &i);
}

/* ---- every function ---- */

static CK_BYTE octets[64];
static CK_ULONG length = sizeof octets;
static CK_OBJECT_HANDLE object, object2;
static CK_MECHANISM mech;
static CK_INFO an_info;
static CK_SLOT_INFO slot_info;
static CK_TOKEN_INFO token_info;
static CK_SESSION_INFO session_info;
static CK_MECHANISM_INFO mechanism_info;

#define P rig.p11
#define H rig.session
#define CALL(name, ...)                                                                            \
	static CK_RV call_##name(void)                                                             \
	{                                                                                          \
		return P->name(__VA_ARGS__);                                                       \
	}
#define CALLS(X)                                                                                   \
	X(C_Finalize, NULL)                                                                        \
	X(C_Initialize, NULL)                                                                      \
	X(C_GetInfo, &an_info)                                                                     \
	X(C_GetSlotList, CK_TRUE, NULL, &length)                                                   \
	X(C_GetSlotInfo, rig.slot, &slot_info)                                                     \
	X(C_GetTokenInfo, rig.slot, &token_info)                                                   \
	X(C_GetMechanismList, rig.slot, NULL, &length)                                             \
	X(C_GetMechanismInfo, rig.slot, CKM_ECDSA, &mechanism_info)                                \
	X(C_InitToken, rig.slot, octets, 0, octets)                                                \
	X(C_InitPIN, H, octets, 4)                                                                 \
	X(C_SetPIN, H, octets, 4, octets, 4)                                                       \
	X(C_OpenSession, rig.slot, CKF_SERIAL_SESSION, NULL, NULL, &object)                        \
	X(C_CloseSession, H)                                                                       \
	X(C_CloseAllSessions, rig.slot)                                                            \
	X(C_GetSessionInfo, H, &session_info)                                                      \
	X(C_GetOperationState, H, octets, &length)                                                 \
	X(C_SetOperationState, H, octets, 4, 0, 0)                                                 \
	X(C_Login, H, CKU_USER, octets, 4)                                                         \
	X(C_Logout, H)                                                                             \
	X(C_CreateObject, H, NULL, 0, &object)                                                     \
	X(C_CopyObject, H, rig.private_key, NULL, 0, &object)                                      \
	X(C_DestroyObject, H, rig.private_key)                                                     \
	X(C_GetObjectSize, H, rig.private_key, &length)                                            \
	X(C_GetAttributeValue, H, rig.private_key, NULL, 0)                                        \
	X(C_SetAttributeValue, H, rig.private_key, NULL, 0)                                        \
	X(C_FindObjectsInit, H, NULL, 0)                                                           \
	X(C_FindObjects, H, &object, 1, &length)                                                   \
	X(C_FindObjectsFinal, H)                                                                   \
	X(C_EncryptInit, H, &mech, rig.private_key)                                                \
	X(C_Encrypt, H, octets, 8, octets, &length)                                                \
	X(C_EncryptUpdate, H, octets, 8, octets, &length)                                          \
	X(C_EncryptFinal, H, octets, &length)                                                      \
	X(C_DecryptInit, H, &mech, rig.private_key)                                                \
	X(C_Decrypt, H, octets, 8, octets, &length)                                                \
	X(C_DecryptUpdate, H, octets, 8, octets, &length)                                          \
	X(C_DecryptFinal, H, octets, &length)                                                      \
	X(C_DigestInit, H, &mech)                                                                  \
	X(C_Digest, H, octets, 8, octets, &length)                                                 \
	X(C_DigestUpdate, H, octets, 8)                                                            \
	X(C_DigestKey, H, rig.private_key)                                                         \
	X(C_DigestFinal, H, octets, &length)                                                       \
	X(C_SignInit, H, &mech, rig.private_key)                                                   \
	X(C_Sign, H, octets, 8, octets, &length)                                                   \
	X(C_SignUpdate, H, octets, 8)                                                              \
	X(C_SignFinal, H, octets, &length)                                                         \
	X(C_SignRecoverInit, H, &mech, rig.private_key)                                            \
	X(C_SignRecover, H, octets, 8, octets, &length)                                            \
	X(C_VerifyInit, H, &mech, rig.public_key)                                                  \
	X(C_Verify, H, octets, 8, octets, 8)                                                       \
	X(C_VerifyUpdate, H, octets, 8)                                                            \
	X(C_VerifyFinal, H, octets, 8)                                                             \
	X(C_VerifyRecoverInit, H, &mech, rig.public_key)                                           \
	X(C_VerifyRecover, H, octets, 8, octets, &length)                                          \
	X(C_DigestEncryptUpdate, H, octets, 8, octets, &length)                                    \
	X(C_DecryptDigestUpdate, H, octets, 8, octets, &length)                                    \
	X(C_SignEncryptUpdate, H, octets, 8, octets, &length)                                      \
	X(C_DecryptVerifyUpdate, H, octets, 8, octets, &length)                                    \
	X(C_GenerateKey, H, &mech, NULL, 0, &object)                                               \
	X(C_GenerateKeyPair, H, &mech, NULL, 0, NULL, 0, &object, &object2)                        \
	X(C_WrapKey, H, &mech, 0, 0, octets, &length)                                              \
	X(C_UnwrapKey, H, &mech, 0, octets, 8, NULL, 0, &object)                                   \
	X(C_DeriveKey, H, &mech, rig.private_key, NULL, 0, &object)                                \
	X(C_SeedRandom, H, octets, 8)                                                              \
	X(C_GenerateRandom, H, octets, 8)                                                          \
	X(C_GetFunctionStatus, H)                                                                  \
	X(C_CancelFunction, H)                                                                     \
	X(C_WaitForSlotEvent, CKF_DONT_BLOCK, &object, NULL)
CALLS(CALL)

#define ENTRY(name, ...) {#name, call_##name},
static const struct {
	const char *name;
	CK_RV (*call)(void);
} calls[] = {CALLS(ENTRY)};

START_TEST(every_function_can_fail_and_has_one_line)
{
	const unsigned n = sizeof calls / sizeof *calls;
	char text[128], word[64];

	ck_assert_uint_eq(n, 67);
	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof text, "%s rv=0x%x\n", calls[i].name, 0x80000100 + i);
		rules(text);
		snprintf(word, sizeof word, " fn=%s ", calls[i].name);
		unsigned before = rig_lines(&rig, word, " rv=0x");
		ck_assert_uint_eq(calls[i].call(), 0x80000100 + i);
		ck_assert_uint_eq(rig_lines(&rig, word, " rv=0x"), before + 1);
		snprintf(text, sizeof text, " rv=0x%x did=rv ", 0x80000100 + i);
		ck_assert_uint_eq(rig_lines(&rig, word, text), 1);
	}
	rules("* rv=0x30\n");
	for (unsigned i = 0; i < n; i++)
		ck_assert_uint_eq(calls[i].call(), CKR_DEVICE_ERROR);
	rules("");
	ck_assert_uint_eq(info(), CKR_OK); /* none of it reached the module */
}
END_TEST

START_TEST(calls_pass_through)
{
	CK_ATTRIBUTE a = {CKA_EC_POINT, octets, sizeof octets};
	CK_OBJECT_CLASS class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE t = {CKA_CLASS, &class, sizeof class};
	CK_OBJECT_HANDLE found[4] = {0};
	CK_ULONG n = 0;

	ck_assert_uint_eq(P->C_FindObjectsInit(H, &t, 1), CKR_OK);
	ck_assert_uint_eq(P->C_FindObjects(H, found, 4, &n), CKR_OK);
	ck_assert_uint_eq(P->C_FindObjectsFinal(H), CKR_OK);
	ck_assert_uint_eq(n, 1);
	ck_assert_uint_eq(found[0], rig.private_key);
	ck_assert_uint_eq(P->C_GetAttributeValue(H, rig.public_key, &a, 1), CKR_BUFFER_TOO_SMALL);
	ck_assert_uint_eq(P->C_Logout(H), CKR_OK);
	ck_assert_uint_eq(P->C_Login(H, CKU_USER, octets, 4), CKR_PIN_INCORRECT);
}
END_TEST

/* ---- errors ---- */

START_TEST(rv_of_sign_ends_the_operation)
{
	CK_BYTE sig[64];
	CK_ULONG len;

	rules("C_Sign rv=0x30 count=1\n");
	ck_assert_uint_eq(rig_sign(&rig, H, 1, sig, &len), CKR_DEVICE_ERROR);
	ck_assert_uint_eq(rig_sign(&rig, H, 1, sig, &len), CKR_OK);
	ck_assert(rig_verify(&rig, 1, sig, len));
}
END_TEST

START_TEST(stuck_leaves_the_operation_open)
{
	CK_BYTE sig[64];
	CK_ULONG len;

	rules("C_Sign stuck=0x30 count=1\n");
	ck_assert_uint_eq(rig_sign(&rig, H, 1, sig, &len), CKR_DEVICE_ERROR);
	ck_assert_uint_eq(rig_sign(&rig, H, 1, sig, &len), CKR_OPERATION_ACTIVE);
}
END_TEST

START_TEST(late_is_done_and_reported_as_failed)
{
	CK_BYTE sig[64] = {0};
	CK_SESSION_HANDLE s = 0;
	CK_SESSION_INFO i;
	CK_ULONG len;

	rules("C_OpenSession late=0x5\nC_Sign late=0x30\n");
	ck_assert_uint_eq(
		P->C_OpenSession(rig.slot, CKF_SERIAL_SESSION, NULL, NULL, &s), CKR_GENERAL_ERROR);
	ck_assert_uint_eq(rig.real->C_GetSessionInfo(s, &i), CKR_OK);
	ck_assert_uint_eq(rig_sign(&rig, H, 7, sig, &len), CKR_DEVICE_ERROR);
	ck_assert(rig_verify(&rig, 7, sig, len));
	/* what failed by itself stays as it was */
	rules("C_CloseSession late=0x5\n");
	ck_assert_uint_eq(P->C_CloseSession(99999), CKR_SESSION_HANDLE_INVALID);
}
END_TEST

START_TEST(delay_takes_its_time)
{
	int64_t began;

	rules("C_GetSessionInfo delay=60\n");
	began = now_us();
	ck_assert_uint_eq(info(), CKR_OK);
	ck_assert_int_ge(now_us() - began, 60000);
	ck_assert_uint_eq(rig_lines(&rig, " fn=C_GetSessionInfo ", " ev=begin did=delay "), 1);
}
END_TEST

/* What the call takes anyway is a part of it: then it once takes less than both. */
START_TEST(takes_so_long_in_all)
{
	int64_t least = INT64_MAX;

	rules("C_GetSessionInfo takes=80\nC_GetSessionInfo delay=60\n");
	for (int i = 0; i < 50 && least >= 140000; i++) {
		int64_t began = now_us(), took;

		ck_assert_uint_eq(info(), CKR_OK);
		took = now_us() - began;
		ck_assert_int_ge(took, 80000);
		least = took < least ? took : least;
	}
	ck_assert_int_lt(least, 140000);
	ck_assert_uint_ge(rig_lines(&rig, " fn=C_GetSessionInfo ", " did=delay,takes "), 1);
}
END_TEST

static void *info_thread(void *done)
{
	ck_assert_uint_eq(info(), CKR_OK);
	__atomic_store_n((int *)done, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

START_TEST(hang_holds_one_thread_until_the_rule_goes)
{
	pthread_t thread;
	int done = 0;

	rules("C_GetSessionInfo hang count=1\n");
	ck_assert_int_eq(pthread_create(&thread, NULL, info_thread, &done), 0);
	while (rig_lines(&rig, " fn=C_GetSessionInfo ", " ev=begin did=hang ") == 0)
		;
	ck_assert_uint_eq(info(), CKR_OK); /* another thread goes on */
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
	ck_assert_int_eq(__atomic_load_n(&done, __ATOMIC_SEQ_CST), 0);
	rules("C_GetSessionInfo delay=1\n");
	pthread_join(thread, NULL);
	ck_assert_int_eq(done, 1);
}
END_TEST

static void *slow_token_info(void *rv)
{
	*(CK_RV *)rv = call_C_GetTokenInfo();
	return NULL;
}

START_TEST(busy_is_for_the_second_at_a_time)
{
	pthread_t thread;
	CK_RV first, second;

	ck_assert_uint_eq(call_C_GetTokenInfo(), CKR_OK);
	rules("C_GetTokenInfo busy=0x90\n");
	ck_assert_uint_eq(call_C_GetTokenInfo(), CKR_OK);
	first = 1;
	second = 1;
	for (int i = 0; i < 2000 && second != CKR_OPERATION_ACTIVE; i++) {
		ck_assert_int_eq(pthread_create(&thread, NULL, slow_token_info, &first), 0);
		for (int j = 0; j < 50 && second != CKR_OPERATION_ACTIVE; j++)
			second = call_C_GetTokenInfo();
		pthread_join(thread, NULL);
		if (first == CKR_OPERATION_ACTIVE)
			second = first;
	}
	ck_assert_uint_eq(second, CKR_OPERATION_ACTIVE);
	ck_assert_uint_ge(rig_lines(&rig, " rv=0x90 ", " did=busy "), 1);
}
END_TEST

/* ---- rules ---- */

START_TEST(skip_and_count)
{
	static const CK_RV want[] = {0, 0, 0x30, 0x30, 0x30, 0, 0};

	rules("# a comment\n\n  C_GetSessionInfo\trv=48  skip=2 count=3 # more\n");
	for (unsigned i = 0; i < sizeof want / sizeof *want; i++)
		ck_assert_uint_eq(info(), want[i]);
	rules("C_GetSessionInfo rv=48 count=1\n"); /* counted anew */
	ck_assert_uint_eq(info(), 0x30);
	ck_assert_uint_eq(info(), CKR_OK);
}
END_TEST

START_TEST(pct_is_a_share)
{
	unsigned failed = 0, runs = 0;
	CK_RV last = 1;

	rules("C_GetSessionInfo rv=0x30 pct=30\n");
	for (unsigned i = 0; i < 2000; i++) {
		CK_RV rv = info();
		failed += rv != CKR_OK;
		runs += rv != last;
		last = rv;
	}
	ck_assert_uint_ge(failed, 520);
	ck_assert_uint_le(failed, 680);
	ck_assert_uint_ge(runs, 500); /* mixed, not in one block */
}
END_TEST

START_TEST(all_rules_that_fit_apply_in_order)
{
	int64_t began = now_us();

	rules("C_GetSessionInfo delay=30\nC_GetSessionInfo rv=0x30\n* rv=0x31\n");
	ck_assert_uint_eq(info(), CKR_DEVICE_ERROR);
	ck_assert_int_ge(now_us() - began, 30000);
	ck_assert_uint_eq(call_C_GetTokenInfo(), 0x31);
	ck_assert_uint_eq(rig_lines(&rig, " fn=C_GetSessionInfo ", " did=delay,rv,rv "), 1);
}
END_TEST

START_TEST(changed_rules_hold_at_once)
{
	rules(NULL);
	ck_assert_uint_eq(info(), CKR_OK);
	for (unsigned i = 0; i < 200; i++) {
		void (*set)(struct rig *, const char *) =
			i % 3 == 0 ? rig_rules_in_place : rig_rules;
		set(&rig, i % 2 == 0 ? "C_GetSessionInfo rv=0x30\n" : "C_GetSessionInfo rv=0x31\n");
		ck_assert_uint_eq(info(), i % 2 == 0 ? 0x30 : 0x31);
	}
	rules("C_GetSessionInfo rv=0x30"); /* no newline: not finished */
	ck_assert_uint_eq(info(), CKR_OK);
	rules(NULL);
	ck_assert_uint_eq(info(), CKR_OK);
}
END_TEST

/* Where the clock of a file system is coarse, two writes leave the same times. */
START_TEST(changed_rules_hold_though_the_file_looks_the_same)
{
	char path[128];
	struct stat st;

	snprintf(path, sizeof path, "%s/rules", rig.dir);
	rig_rules_in_place(&rig, "C_GetSessionInfo rv=0x30\n");
	ck_assert_uint_eq(info(), 0x30);
	ck_assert_int_eq(stat(path, &st), 0);
	rig_rules_in_place(&rig, "C_GetSessionInfo rv=0x31\n");
	struct timespec times[2] = {st.st_atim, st.st_mtim};
	ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
	ck_assert_uint_eq(info(), 0x31);
}
END_TEST

/* ---- sessions and login ---- */

START_TEST(closeall_drops_the_sessions)
{
	rules("C_GetTokenInfo closeall count=1\n");
	ck_assert_uint_eq(call_C_GetTokenInfo(), CKR_OK);
	ck_assert_uint_eq(info(), CKR_SESSION_HANDLE_INVALID);
	H = rig_session(&rig);
	rules("C_GetSessionInfo closeall count=1\n");
	ck_assert_uint_eq(info(), CKR_SESSION_HANDLE_INVALID);
}
END_TEST

START_TEST(logout_drops_the_login)
{
	CK_BYTE sig[64];
	CK_ULONG len;
	CK_SESSION_INFO i;

	rules("C_SignInit logout count=1\n");
	ck_assert_uint_ne(rig_sign(&rig, H, 1, sig, &len), CKR_OK);
	ck_assert_uint_eq(P->C_GetSessionInfo(H, &i), CKR_OK);
	ck_assert_uint_eq(i.state, CKS_RW_PUBLIC_SESSION);
}
END_TEST

START_TEST(sessions_are_capped)
{
	CK_SESSION_HANDLE s[3];

	rules("* sessions=3\n"); /* one is open */
	s[0] = rig_session(&rig);
	s[1] = rig_session(&rig);
	ck_assert_uint_eq(call_C_OpenSession(), CKR_SESSION_COUNT);
	ck_assert_uint_eq(P->C_CloseSession(s[0]), CKR_OK);
	s[2] = rig_session(&rig);
	ck_assert_uint_eq(call_C_OpenSession(), CKR_SESSION_COUNT);
	ck_assert_uint_eq(P->C_CloseAllSessions(rig.slot), CKR_OK);
	s[2] = rig_session(&rig);
	ck_assert_uint_eq(P->C_CloseSession(s[2]), CKR_OK);
}
END_TEST

START_TEST(flags_are_added)
{
	CK_TOKEN_INFO i;

	ck_assert_uint_eq(P->C_GetTokenInfo(rig.slot, &i), CKR_OK);
	ck_assert_uint_eq(i.flags & CKF_USER_PIN_FINAL_TRY, 0);
	rules("C_GetTokenInfo flags=0x20000\n");
	ck_assert_uint_eq(P->C_GetTokenInfo(rig.slot, &i), CKR_OK);
	ck_assert_uint_ne(i.flags & CKF_USER_PIN_FINAL_TRY, 0);
	ck_assert_uint_ne(i.flags & CKF_TOKEN_INITIALIZED, 0);
}
END_TEST

/* ---- cost ---- */

#define BATCH 500

static double best_of(CK_FUNCTION_LIST *list)
{
	double best = 1e9;
	CK_SESSION_INFO i;

	for (int round = 0; round < 40; round++) {
		int64_t began = now_us();
		for (int j = 0; j < BATCH; j++)
			list->C_GetSessionInfo(H, &i);
		double each = (double)(now_us() - began) / BATCH;
		best = each < best ? each : best;
	}
	return best;
}

START_TEST(a_call_costs_little)
{
	double cost = 10;

	rules("C_Sign flip=1 count=1\nC_Login rv=0x30\n");
	nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL); /* the file has settled */
	for (int i = 0; i < 50 && cost >= 10; i++)
		cost = best_of(rig.p11) - best_of(rig.real);
	printf("p11fault.so adds %.2f us to a call\n", cost);
	ck_assert_double_lt(cost, 10); /* about 2; loaded and virtual machines vary */
}
END_TEST

static Suite *of_calls(void)
{
	Suite *s = suite_create("p11fault");
	TCase *t = tcase_create("calls");

	tcase_add_checked_fixture(t, rig_set_up, rig_tear_down);
	tcase_add_test(t, every_function_can_fail_and_has_one_line);
	tcase_add_test(t, calls_pass_through);
	tcase_add_test(t, rv_of_sign_ends_the_operation);
	tcase_add_test(t, stuck_leaves_the_operation_open);
	tcase_add_test(t, late_is_done_and_reported_as_failed);
	tcase_add_test(t, delay_takes_its_time);
	tcase_add_test(t, takes_so_long_in_all);
	tcase_add_test(t, hang_holds_one_thread_until_the_rule_goes);
	tcase_add_test(t, busy_is_for_the_second_at_a_time);
	tcase_add_test(t, skip_and_count);
	tcase_add_test(t, pct_is_a_share);
	tcase_add_test(t, all_rules_that_fit_apply_in_order);
	tcase_add_test(t, changed_rules_hold_at_once);
	tcase_add_test(t, changed_rules_hold_though_the_file_looks_the_same);
	tcase_add_test(t, closeall_drops_the_sessions);
	tcase_add_test(t, logout_drops_the_login);
	tcase_add_test(t, sessions_are_capped);
	tcase_add_test(t, flags_are_added);
	tcase_add_test(t, a_call_costs_little);
	suite_add_tcase(s, t);
	suite_add_tcase(s, checks_of_signatures());
	suite_add_tcase(s, checks_of_processes());
	suite_add_tcase(s, checks_of_loading());
	return s;
}

/* SoftHSM 2.6.1 loses objects of libcrypto with each Ed25519 key, and p11fault.so is built without
 * sanitizers: there is nothing to learn from leaks here. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

int main(void)
{
	int failed;

	if (!rig_available()) {
		puts("skipped: SoftHSM is not installed");
		return 77;
	}
	SRunner *r = srunner_create(of_calls());
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
