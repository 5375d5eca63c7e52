/* token: finding keys, in the token and in an index, and judging their attributes, whatever a
 * module says about them. On a fake module. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "failing_malloc.h"
#include "module_rig.h"

#define KEY "pkcs11:object=k"

static struct fake_object *key; /* "k" with the id "1" */
static char weak[400];

static void setup(void)
{
	rig_setup();
	key = rig_key("k", "1");
	rig_open(1);
}

static enum err look_with(const struct token_key_rules *rules, struct token_index *x,
	const char *uri, struct token_key *out, struct refusal *why)
{
	*why = (struct refusal){.err = ERR_OK};
	return token_key_look(token, x, uri, rules, out, weak, sizeof weak, why);
}

static enum err look(struct token_index *x, const char *uri, struct token_key *out)
{
	const struct token_key_rules rules = {.accept = NULL};
	struct refusal why;

	return look_with(&rules, x, uri, out, &why);
}

/* ---- one question about a key, or many ---- */

/* In one call, and by find and check, attribute by attribute: the same. */
static void same_both_ways(enum err wanted, const char *wanted_weak)
{
	const struct token_key_rules rules = {.accept = NULL};
	struct token_key all, each;
	struct refusal why;
	enum err e = look(NULL, KEY, &all);

	ck_assert_msg(e == wanted, "%s, not %s", err_name(e), err_name(wanted));
	if (e == ERR_OK || e == ERR_KEY_WEAK)
		ck_assert_str_eq(weak, wanted_weak);
	module->one_at_a_time = true;
	e = token_key_find(token, KEY, &each, &why);
	if (e == ERR_OK)
		e = token_key_check(token, &each, &rules, weak, sizeof weak, &why);
	ck_assert_msg(e == wanted, "%s, not %s", err_name(e), err_name(wanted));
	if (e == ERR_OK || e == ERR_KEY_WEAK) {
		ck_assert_str_eq(weak, wanted_weak);
		ck_assert_uint_eq(all.handle, each.handle);
		ck_assert_int_eq(all.type, each.type);
		ck_assert_uint_eq(all.signature_len, each.signature_len);
	}
	module->one_at_a_time = false;
}

static const CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

START_TEST(a_good_key)
{
	struct token_key found;

	same_both_ways(ERR_OK, "");
	ck_assert_int_eq(look(NULL, KEY, &found), ERR_OK);
	ck_assert_int_eq(found.type, KEY_EC_P256);
	ck_assert_uint_eq(found.signature_len, 64);
}
END_TEST

/* A flag that is not as it must be, or of which nothing is known. */
static const struct {
	CK_ATTRIBUTE_TYPE type;
	const CK_BBOOL *bad;
	bool waivable;
	enum err unknown;
	const char *name, *noted; /* noted: in weak, when it is unknown */
} flags[] = {
	{CKA_TOKEN, &no, false, ERR_KEY_WEAK, "token", ""},
	{CKA_PRIVATE, &no, false, ERR_KEY_WEAK, "private", ""},
	{CKA_SIGN, &no, false, ERR_KEY_WEAK, "sign", ""},
	{CKA_SENSITIVE, &no, true, ERR_KEY_WEAK, "sensitive", ""},
	{CKA_EXTRACTABLE, &yes, true, ERR_KEY_WEAK, "extractable", ""},
	{CKA_NEVER_EXTRACTABLE, &no, true, ERR_KEY_WEAK, "never_extractable", ""},
	{CKA_DECRYPT, &yes, true, ERR_OK, "decrypt", ""},
	{CKA_ALWAYS_AUTHENTICATE, &yes, false, ERR_OK, "always_authenticate", ""},
	{CKA_LOCAL, &no, true, ERR_OK, "local", "local unknown"},
	{CKA_COPYABLE, &yes, true, ERR_OK, "copyable", "copyable unknown"},
};

START_TEST(a_flag)
{
	char name[32], *accept[] = {name}, wanted[64];
	const struct token_key_rules rules = {.accept = accept, .accept_count = 1};
	struct refusal why;
	struct token_key found;

	snprintf(name, sizeof name, "%s", flags[_i].name);
	rig_set(key, flags[_i].type, flags[_i].bad, sizeof(CK_BBOOL));
	same_both_ways(ERR_KEY_WEAK, "");
	ck_assert_int_eq(look_with(&rules, NULL, KEY, &found, &why),
		flags[_i].waivable ? ERR_OK : ERR_KEY_WEAK);
	snprintf(wanted, sizeof wanted, "%s %s", name, *flags[_i].bad ? "true" : "false");
	ck_assert_str_eq(weak, flags[_i].waivable ? wanted : "");
	if (!flags[_i].waivable)
		ck_assert_msg(strstr(why.detail, wanted) == NULL &&
				      strstr(why.detail, "make a new key") != NULL,
			"%s", why.detail);
	rig_unread(key, flags[_i].type, CKR_ATTRIBUTE_TYPE_INVALID);
	same_both_ways(flags[_i].unknown, flags[_i].noted);
}
END_TEST

/* The first of two is told; both are told to who asks for lines. */
static unsigned refused_lines;

static void line(void *arg, const char *attribute, const char *value, enum token_verdict v)
{
	(void)arg;
	(void)attribute;
	(void)value;
	refused_lines += v == VERDICT_REFUSED;
}

START_TEST(two_flags)
{
	const struct token_key_rules rules = {.line = line};
	struct refusal why;
	struct token_key found;

	rig_set(key, CKA_SENSITIVE, &no, sizeof no);
	rig_set(key, CKA_UNWRAP, &yes, sizeof yes);
	ck_assert_int_eq(look_with(&rules, NULL, KEY, &found, &why), ERR_KEY_WEAK);
	ck_assert_uint_eq(refused_lines, 2);
	ck_assert_msg(strstr(why.detail, "attribute sensitive of the key is false") != NULL, "%s",
		why.detail);
}
END_TEST

/* Codes that say that an attribute is not known, or not told: no failure of the module. */
static const CK_RV no_answers[] = {CKR_ATTRIBUTE_TYPE_INVALID, CKR_ATTRIBUTE_SENSITIVE,
	CKR_ATTRIBUTE_VALUE_INVALID, CKR_BUFFER_TOO_SMALL, CKR_FUNCTION_NOT_SUPPORTED};

START_TEST(an_attribute_that_is_not_told)
{
	rig_unread(key, CKA_DERIVE, no_answers[_i]);
	same_both_ways(ERR_OK, "");
	rig_unread(key, CKA_LOCAL, no_answers[_i]);
	same_both_ways(ERR_OK, "local unknown");
}
END_TEST

START_TEST(a_module_that_fails)
{
	const struct token_key_rules rules = {.accept = NULL};
	struct token_key found;
	struct refusal why;

	ck_assert_int_eq(look(NULL, KEY, &found), ERR_OK);
	rig_unread(key, CKA_DERIVE, CKR_DEVICE_ERROR);
	ck_assert_int_eq(look(NULL, KEY, &found), ERR_TOKEN);
	ck_assert_int_eq(
		token_key_check(token, &found, &rules, weak, sizeof weak, &why), ERR_TOKEN);
	rig_set(key, CKA_DERIVE, &no, sizeof no);
	rig_unread(key, CKA_ALLOWED_MECHANISMS, CKR_DEVICE_ERROR);
	ck_assert_int_eq(look(NULL, KEY, &found), ERR_TOKEN);
	rig_unread(key, CKA_EC_PARAMS, CKR_DEVICE_ERROR);
	ck_assert_int_eq(look_with(&rules, NULL, KEY, &found, &why), ERR_TOKEN);
	ck_assert_msg(strstr(why.detail, "CKA_EC_PARAMS: ") != NULL, "%s", why.detail);
	rig_unread(key, CKA_KEY_TYPE, CKR_DEVICE_ERROR);
	ck_assert_int_eq(look_with(&rules, NULL, KEY, &found, &why), ERR_TOKEN);
	ck_assert_msg(strstr(why.detail, "CKA_KEY_TYPE: ") != NULL, "%s", why.detail);
}
END_TEST

/* ---- lengths that can't be ---- */

static const struct {
	CK_ATTRIBUTE_TYPE type;
	CK_ULONG told;
	enum err wanted;
	const char *weak;
} lengths[] = {
	{CKA_SIGN, 0x10000, ERR_KEY_WEAK, ""},
	{CKA_LOCAL, CK_UNAVAILABLE_INFORMATION, ERR_OK, "local unknown"},
	{CKA_LOCAL, 2, ERR_OK, "local unknown"},
	{CKA_ALLOWED_MECHANISMS, 0x10000, ERR_OK, "allowed_mechanisms unknown"},
	{CKA_ALLOWED_MECHANISMS, CK_UNAVAILABLE_INFORMATION, ERR_OK, "allowed_mechanisms unknown"},
	{CKA_EC_PARAMS, 0x10000, ERR_TOKEN, ""},
	{CKA_EC_PARAMS, CK_UNAVAILABLE_INFORMATION, ERR_TOKEN, ""},
	{CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION, ERR_TOKEN, ""},
};

/* A length that is told is no length of what is there. */
START_TEST(a_length_that_is_wrong)
{
	rig_attribute(key, lengths[_i].type)->told = lengths[_i].told;
	same_both_ways(lengths[_i].wanted, lengths[_i].weak);
}
END_TEST

/* ---- mechanisms ---- */

static const struct {
	CK_MECHANISM_TYPE mechanism[2];
	CK_ULONG count;
	CK_RV rv;
	enum err wanted;
	const char *weak;
} mechanisms[] = {
	{{CKM_ECDSA}, 1, CKR_OK, ERR_OK, ""}, {{CKM_ECDSA, CKM_ECDSA}, 2, CKR_OK, ERR_OK, ""},
	{{CKM_ECDSA, CKM_ECDH1_DERIVE}, 2, CKR_OK, ERR_KEY_WEAK, ""},
	{{CKM_ECDH1_DERIVE, CKM_ECDSA}, 2, CKR_OK, ERR_KEY_WEAK, ""},
	{{0}, 0, CKR_OK, ERR_OK, "allowed_mechanisms without limit"},
	{{0}, 0, CKR_ATTRIBUTE_TYPE_INVALID, ERR_OK, "allowed_mechanisms unknown"},
	{{0}, 0, CKR_BUFFER_TOO_SMALL, ERR_KEY_WEAK, ""}, /* more than there are */
};

START_TEST(mechanisms_of_a_key)
{
	char name[] = "allowed_mechanisms", *accept[] = {name};
	const struct token_key_rules rules = {.accept = accept, .accept_count = 1};
	struct token_key found;
	struct refusal why;

	rig_set(key, CKA_ALLOWED_MECHANISMS, mechanisms[_i].mechanism,
		mechanisms[_i].count * sizeof(CK_MECHANISM_TYPE));
	rig_unread(key, CKA_ALLOWED_MECHANISMS, mechanisms[_i].rv);
	same_both_ways(mechanisms[_i].wanted, mechanisms[_i].weak);
	ck_assert_int_eq(look_with(&rules, NULL, KEY, &found, &why), ERR_OK);
	if (mechanisms[_i].wanted == ERR_KEY_WEAK)
		ck_assert_str_eq(weak, "allowed_mechanisms wider than what is used");
}
END_TEST

/* ---- types ---- */

START_TEST(types_of_keys)
{
	static const uint8_t secp256k1[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x0a};
	static const uint8_t ed25519[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
	const CK_KEY_TYPE rsa = CKK_RSA, edwards = CKK_EC_EDWARDS;
	const CK_MECHANISM_TYPE eddsa = CKM_EDDSA, pss = CKM_RSA_PKCS_PSS;
	uint8_t modulus[300] = {0};
	struct token_key found;
	struct refusal why;

	rig_set(key, CKA_EC_PARAMS, secp256k1, sizeof secp256k1);
	same_both_ways(ERR_CERT_KEY, "");
	rig_set(key, CKA_EC_PARAMS, ed25519, sizeof ed25519);
	same_both_ways(ERR_CERT_KEY, ""); /* no curve of CKK_EC */
	rig_set(key, CKA_KEY_TYPE, &edwards, sizeof edwards);
	rig_set(key, CKA_ALLOWED_MECHANISMS, &eddsa, sizeof eddsa);
	same_both_ways(ERR_OK, "");
	rig_set(key, CKA_KEY_TYPE, &rsa, sizeof rsa);
	rig_set(key, CKA_ALLOWED_MECHANISMS, &pss, sizeof pss);
	ck_assert_int_eq(token_key_find(token, KEY, &found, &why), ERR_TOKEN);
	ck_assert_msg(strstr(why.detail, "CKA_MODULUS: ") != NULL, "%s", why.detail);
	modulus[44] = 0xc0; /* some modules write zeros before it */
	rig_set(key, CKA_MODULUS, modulus, sizeof modulus);
	same_both_ways(ERR_OK, "");
	ck_assert_int_eq(token_key_find(token, KEY, &found, &why), ERR_OK);
	ck_assert_int_eq(found.type, KEY_RSA);
	ck_assert_uint_eq(found.signature_len, 256);
	rig_set(key, CKA_MODULUS, modulus, 0);
	ck_assert_int_eq(token_key_find(token, KEY, &found, &why), ERR_OK);
	ck_assert_uint_eq(found.signature_len, 0); /* no signature has this length */
}
END_TEST

/* ---- finding ---- */

static struct token_index *index_of(void)
{
	struct token_index *x;
	struct refusal why;

	ck_assert_int_eq(token_index_make(token, &x, &why), ERR_OK);
	return x;
}

static void finds(struct token_index *x, const char *uri, enum err wanted, unsigned long handle)
{
	struct token_key found = {.handle = 0};
	enum err in_token = look(NULL, uri, &found);

	ck_assert_msg(in_token == wanted, "%s: %s", uri, err_name(in_token));
	if (wanted == ERR_OK)
		ck_assert_uint_eq(found.handle, handle);
	found.handle = 0;
	ck_assert_int_eq(look(x, uri, &found), wanted);
	if (wanted == ERR_OK)
		ck_assert_uint_eq(found.handle, handle);
}

/* The token and an index of it find the same. */
START_TEST(names_of_keys)
{
	struct token_index *x;

	rig_key("k2", "3"); /* 2 */
	rig_key("k2", "2"); /* 3 */
	rig_key("a", "1");  /* 4 */
	module->found_at_once = _i == 0 ? 0 : 1;
	module->one_at_a_time = _i == 2;
	x = index_of();
	finds(x, "pkcs11:object=k", ERR_OK, 1);
	finds(x, "pkcs11:object=k2", ERR_KEY_AMBIGUOUS, 0);
	finds(x, "pkcs11:object=k2;id=2", ERR_OK, 3);
	finds(x, "pkcs11:object=k2;id=3", ERR_OK, 2);
	finds(x, "pkcs11:object=k2;id=4", ERR_KEY_MISSING, 0);
	finds(x, "pkcs11:id=2", ERR_OK, 3);
	finds(x, "pkcs11:id=1", ERR_KEY_AMBIGUOUS, 0);
	finds(x, "pkcs11:id=1;object=a", ERR_OK, 4);
	finds(x, "pkcs11:id=%00", ERR_KEY_MISSING, 0);
	finds(x, "pkcs11:id=9", ERR_KEY_MISSING, 0);
	finds(x, "pkcs11:object=z", ERR_KEY_MISSING, 0);
	finds(x, "pkcs11:object=k;token=b", ERR_KEY_MISSING, 0);
	finds(x, "pkcs11:what=k", ERR_FORMAT, 0);
	token_index_free(x);
}
END_TEST

/* A label or an id that can't be read, or is too long, is none; the key has its other name. */
START_TEST(names_that_can_t_be_read)
{
	static const char longer[300] = "k";
	const struct token_key_rules rules = {.accept = NULL};
	struct token_index *x;
	struct token_key found;
	struct refusal why;

	for (int i = 0; i < 5; i++) {
		rig_set(key, CKA_LABEL, "k", 1);
		rig_set(key, CKA_ID, "1", 1);
		if (i == 0)
			rig_unread(key, CKA_LABEL, CKR_ATTRIBUTE_TYPE_INVALID);
		if (i == 1)
			rig_set(key, CKA_LABEL, longer, sizeof longer);
		if (i == 2)
			rig_attribute(key, CKA_LABEL)->told = 0x10000;
		if (i == 3)
			rig_unread(key, CKA_ID, CKR_ATTRIBUTE_TYPE_INVALID);
		if (i == 4)
			rig_attribute(key, CKA_ID)->told = 257;
		x = index_of();
		ck_assert_int_eq(look_with(&rules, x, "pkcs11:id=1", &found, &why),
			i < 3 ? ERR_OK : ERR_KEY_MISSING);
		ck_assert_int_eq(look_with(&rules, x, "pkcs11:object=k", &found, &why),
			i < 3 ? ERR_KEY_MISSING : ERR_OK);
		token_index_free(x);
	}
}
END_TEST

START_TEST(a_search_that_fails)
{
	static const enum fake_call calls[] = {FAKE_FIND_OBJECTS_INIT, FAKE_FIND_OBJECTS};
	struct token_index *x;
	struct token_key found;
	struct refusal why;

	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		rig_fails(calls[i], CKR_DEVICE_ERROR, 0);
		ck_assert_int_eq(token_index_make(token, &x, &why), ERR_TOKEN);
		ck_assert_ptr_null(x);
		ck_assert_int_eq(token_key_find(token, KEY, &found, &why), ERR_TOKEN);
		rig_mended();
	}
	rig_fails(FAKE_FIND_OBJECTS, CKR_DEVICE_ERROR, 1); /* asked for more */
	ck_assert_int_eq(token_index_make(token, &x, &why), ERR_TOKEN);
	ck_assert_int_eq(token_key_find(token, KEY, &found, &why), ERR_TOKEN);
}
END_TEST

START_TEST(an_index_without_memory)
{
	enum err e = ERR_NOMEM;
	unsigned n;

	rig_key("l", "2");
	for (n = 1; e != ERR_OK; n++) {
		struct token_index *x;
		struct refusal why;
		bool failed, made;
		long alive = failing_malloc_alive();

		failing_malloc_at(n);
		e = token_index_make(token, &x, &why);
		failed = failing_malloc_failed();
		failing_malloc_at(0);
		made = x != NULL;
		token_index_free(x);
		alive -= failing_malloc_alive();
		ck_assert_int_eq(alive, 0);
		ck_assert_int_eq(e, failed ? ERR_NOMEM : ERR_OK);
		ck_assert_int_eq(made, !failed);
	}
	ck_assert_uint_gt(n, 6); /* the index, its two arrays, the handles, a text for each key */
}
END_TEST

#define MANY(table) (int)(sizeof(table) / sizeof *(table))

int main(void)
{
	Suite *s = suite_create("module_keys");
	TCase *c = tcase_create("module_keys");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(c, setup, rig_teardown);
	tcase_add_test(c, a_good_key);
	tcase_add_loop_test(c, a_flag, 0, MANY(flags));
	tcase_add_test(c, two_flags);
	tcase_add_loop_test(c, an_attribute_that_is_not_told, 0, MANY(no_answers));
	tcase_add_test(c, a_module_that_fails);
	tcase_add_loop_test(c, a_length_that_is_wrong, 0, MANY(lengths));
	tcase_add_loop_test(c, mechanisms_of_a_key, 0, MANY(mechanisms));
	tcase_add_test(c, types_of_keys);
	tcase_add_loop_test(c, names_of_keys, 0, 3);
	tcase_add_test(c, names_that_can_t_be_read);
	tcase_add_test(c, a_search_that_fails);
	tcase_add_test(c, an_index_without_memory);
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
