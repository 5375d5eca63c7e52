/* token: URIs, attributes, sessions and signatures, against SoftHSM. */
#include <check.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certificate.h"
#include "hsm_fixture.h"
#include "pubkey.h"
#include "sign.h"
#include "token.h"

START_TEST(uris)
{
	static const struct {
		const char *uri;
		enum err token, key;
	} cases[] = {
		{"pkcs11:token=a", ERR_OK, ERR_FORMAT},
		{"pkcs11:serial=1", ERR_OK, ERR_FORMAT},
		{"pkcs11:token=a;serial=1;manufacturer=m;model=n", ERR_OK, ERR_FORMAT},
		{"pkcs11:object=a", ERR_FORMAT, ERR_OK},
		{"pkcs11:id=%01%02", ERR_FORMAT, ERR_OK},
		{"pkcs11:object=a;type=private", ERR_FORMAT, ERR_OK},
		{"pkcs11:object=a;type=public", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:object=a;token=b", ERR_FORMAT, ERR_OK},
		{"pkcs11:", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:manufacturer=m", ERR_FORMAT, ERR_FORMAT},
		{"", ERR_FORMAT, ERR_FORMAT},
		{"token=a", ERR_FORMAT, ERR_FORMAT},
		{"PKCS11:token=a;object=b", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=a;token=b", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:object=a;object=b", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:object=a;token=b;object=a", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=a b", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=a;slot-id=1", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:object=a;slot-id=1", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=a;x-vendor=1", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=a;what=1", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=a?pin-value=1", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:object=a?pin-source=|id", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=%zz", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=1234567890123456789012345678901234567890", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=a;", ERR_OK, ERR_FORMAT},
		{"pkcs11:id=%00%01", ERR_FORMAT, ERR_OK},
		{"pkcs11:object=a%00", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=a%00", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=a\x7f", ERR_FORMAT, ERR_FORMAT},
		{"pkcs11:token=\xc3\xa4", ERR_FORMAT, ERR_FORMAT},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct refusal why;

		ck_assert_msg(token_uri_check(cases[i].uri, &why) == cases[i].token, "token: %s",
			cases[i].uri);
		ck_assert_msg(token_key_uri_check(cases[i].uri, &why) == cases[i].key, "key: %s",
			cases[i].uri);
	}
}
END_TEST

static struct fixture_token fixture;
static struct token *token;

static bool open_with(const char *module, const char *uri, enum err wanted, unsigned sessions)
{
	struct token_spec spec = {.module = module, .uri = uri, .sessions = sessions};
	struct refusal why = {.err = ERR_OK};
	enum err e = token_open(&token, &spec, &why);

	ck_assert_msg(e == wanted, "%s: %s", err_name(e), why.detail);
	return e == ERR_OK;
}

static void log_in(void)
{
	struct refusal why;

	ck_assert_int_eq(token_login_allowed(token, RISK_NONE, &why), ERR_OK);
	ck_assert_int_eq(token_login(token, FIXTURE_PIN, &why), LOGIN_DONE);
}

static void finish(void)
{
	token_close(token);
	token = NULL;
	fixture_token_end(&fixture);
}

START_TEST(finds_its_token_only)
{
	char uri[64];
	struct refusal why;

	if (!fixture_token(&fixture))
		return;
	open_with(FIXTURE_MODULE, "pkcs11:token=nobody", ERR_TOKEN, 1);
	ck_assert_ptr_null(token);
	open_with("/nowhere/module.so", "pkcs11:token=test", ERR_TOKEN, 1);
	open_with("/usr/lib/x86_64-linux-gnu/libcrypto.so.3", "pkcs11:token=test", ERR_TOKEN, 1);
	fixture_run("softhsm2-util --init-token --free --label test --pin 1111 --so-pin 1111 "
		    ">/dev/null");
	open_with(FIXTURE_MODULE, "pkcs11:token=test", ERR_TOKEN, 1); /* two of them */
	fixture_run("softhsm2-util --init-token --free --label lone --pin " FIXTURE_PIN
		    " --so-pin 1111 >/dev/null");
	ck_assert(open_with(FIXTURE_MODULE, "pkcs11:token=lone", ERR_OK, 1));
	ck_assert_str_eq(token_facts(token)->label, "lone");
	snprintf(uri, sizeof uri, "pkcs11:serial=%s", token_facts(token)->serial);
	token_close(token);
	ck_assert(open_with(FIXTURE_MODULE, uri, ERR_OK, 1));
	ck_assert_int_eq(token_probe(token, &why), ERR_TOKEN); /* not logged in */
	token_close(token);
	ck_assert(open_with(FIXTURE_MODULE, uri, ERR_OK, 1));
	log_in();
	ck_assert_int_eq(token_probe(token, &why), ERR_OK);
	ck_assert(!token_lost(token));
	finish();
}
END_TEST

START_TEST(wrong_pin)
{
	struct refusal why;

	if (!fixture_token(&fixture))
		return;
	ck_assert(open_with(FIXTURE_MODULE, "pkcs11:token=test", ERR_OK, 1));
	ck_assert_int_eq(token_login(token, "0000", &why), LOGIN_REFUSED);
	ck_assert_int_eq(why.err, ERR_PIN);
	token_close(token);
	ck_assert(open_with(FIXTURE_MODULE, "pkcs11:token=test", ERR_OK, 1));
	ck_assert(token_facts(token)->pin_count_low); /* the token remembers */
	ck_assert_int_eq(token_login_allowed(token, RISK_NONE, &why), ERR_PIN);
	ck_assert_int_eq(token_login_allowed(token, RISK_COUNT_LOW, &why), ERR_OK);
	finish();
}
END_TEST

struct lines {
	char refused[512];
	unsigned count;
};

static void line(void *arg, const char *attribute, const char *value, enum token_verdict v)
{
	struct lines *l = arg;
	size_t n = strlen(l->refused);

	(void)value;
	l->count++;
	if (v == VERDICT_REFUSED)
		snprintf(l->refused + n, sizeof l->refused - n, "%s ", attribute);
}

static enum err check(const char *uri, const char *accept, char *refused, char weak[200])
{
	char *names[8], copy[200];
	struct lines lines = {.count = 0};
	struct token_key_rules rules = {.accept = names, .line = line, .arg = &lines};
	struct refusal why;
	struct token_key key;
	enum err e = token_key_find(token, uri, &key, &why);

	snprintf(copy, sizeof copy, "%s", accept);
	for (char *save, *at = strtok_r(copy, " ", &save); at != NULL;
		at = strtok_r(NULL, " ", &save))
		names[rules.accept_count++] = at;
	if (e == ERR_OK)
		e = token_key_check(token, &key, &rules, weak, 200, &why);
	snprintf(refused, 512, "%s", lines.refused);
	return e;
}

START_TEST(attributes)
{
	const struct fixture_certificate what = {.not_before = 1, .not_after = 2};
	struct buf pem = BUF_INIT(65536);
	char refused[512], weak[200];

	if (!fixture_token(&fixture))
		return;
	fixture_token_key(&fixture, "good", "P-256", &what, &pem);
#define TOOL  "pkcs11-tool --module " FIXTURE_MODULE " --login --pin " FIXTURE_PIN
#define QUIET " >/dev/null 2>&1"
	fixture_run(TOOL " --keypairgen --key-type EC:prime256v1 --usage-sign --sensitive"
			 " --label flags --id 01" QUIET);
	fixture_run(TOOL
		" --keypairgen --key-type EC:prime256v1 --extractable --label open --id 02" QUIET);
	fixture_run(TOOL " --keypairgen --key-type EC:prime256v1 --label twice --id 03" QUIET);
	fixture_run(TOOL " --keypairgen --key-type EC:prime256v1 --label twice --id 04" QUIET);
	fixture_run(TOOL " --keypairgen --key-type EC:secp256k1 --label curve --id 05" QUIET);
	fixture_run("openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"
		    " -out %s/key.pem 2>/dev/null && softhsm2-util --import %s/key.pem --token test"
		    " --label imported --id 06 --pin " FIXTURE_PIN QUIET,
		fixture.folder, fixture.folder);
	fixture_token_read_only(&fixture);
	ck_assert(open_with(FIXTURE_MODULE, "pkcs11:token=test", ERR_OK, 1));
	log_in();
	ck_assert_int_eq(check("pkcs11:object=good", "", refused, weak), ERR_OK);
	ck_assert_str_eq(refused, "");
	ck_assert_str_eq(weak, "");
	ck_assert_int_eq(check("pkcs11:object=good;token=test", "", refused, weak), ERR_OK);
	ck_assert_int_eq(
		check("pkcs11:object=good;token=other", "", refused, weak), ERR_KEY_MISSING);
	ck_assert_int_eq(check("pkcs11:object=goo", "", refused, weak), ERR_KEY_MISSING);
	ck_assert_int_eq(check("pkcs11:object=twice", "", refused, weak), ERR_KEY_AMBIGUOUS);
	ck_assert_int_eq(check("pkcs11:object=twice;id=%03", "", refused, weak), ERR_KEY_WEAK);
	ck_assert_int_eq(check("pkcs11:object=curve", "", refused, weak), ERR_CERT_KEY);
	/* what pkcs11-tool can't turn off */
	ck_assert_int_eq(check("pkcs11:object=flags", "", refused, weak), ERR_KEY_WEAK);
	ck_assert_str_eq(refused, "decrypt unwrap sign_recover modifiable copyable ");
	ck_assert_int_eq(check("pkcs11:object=flags", "decrypt unwrap sign_recover modifiable",
				 refused, weak),
		ERR_KEY_WEAK);
	ck_assert_str_eq(refused, "copyable ");
	ck_assert_int_eq(check("pkcs11:object=flags",
				 "decrypt unwrap sign_recover modifiable copyable", refused, weak),
		ERR_OK);
	ck_assert_str_eq(weak, "decrypt true, unwrap true, sign_recover true, modifiable true, "
			       "copyable true, allowed_mechanisms without limit");
	ck_assert_int_eq(check("pkcs11:id=%02", "", refused, weak), ERR_KEY_WEAK);
	ck_assert_str_eq(refused, "extractable never_extractable decrypt unwrap derive "
				  "sign_recover modifiable copyable ");
	ck_assert_int_eq(check("pkcs11:object=imported", "", refused, weak), ERR_KEY_WEAK);
	ck_assert_ptr_nonnull(strstr(refused, "always_sensitive never_extractable "));
	ck_assert_ptr_nonnull(strstr(refused, "local "));
	buf_free(&pem);
	finish();
}
END_TEST

START_TEST(sessions)
{
	const struct fixture_certificate what = {.not_before = 1, .not_after = 2};
	struct buf pem = BUF_INIT(65536);
	struct token_session *a, *b, *c;
	struct token_signature made;
	struct token_key key;
	struct refusal why;

	if (!fixture_token(&fixture))
		return;
	fixture_token_key(&fixture, "k", "P-384", &what, &pem);
	ck_assert(open_with(FIXTURE_MODULE, "pkcs11:token=test", ERR_OK, 2));
	log_in();
	ck_assert_int_eq(token_key_find(token, "pkcs11:object=k", &key, &why), ERR_OK);
	ck_assert_int_eq(key.type, KEY_EC_P384);
	ck_assert_int_eq(token_session_take(token, monotonic_ms() + 60000, &a, &why), ERR_OK);
	ck_assert_int_eq(token_session_take(token, monotonic_ms() + 60000, &b, &why), ERR_OK);
	ck_assert_int_eq(token_session_take(token, monotonic_ms() + 50, &c, &why), ERR_TIMEOUT);
	ck_assert_uint_eq(token_sessions_open(token), 3); /* with the keeper */
	token_session_spoil(b);
	token_session_give(b);
	ck_assert_uint_eq(token_sessions_open(token), 2); /* closed, not kept */
	token_sign(a, &key, scheme_by_code(SCHEME_ECDSA_P384), (const uint8_t *)"m", 1, &made);
	ck_assert_int_eq(made.outcome, SIGN_DONE);
	ck_assert_uint_eq(made.len, 96);
	/* a scheme that is not of the key's type never reaches the token */
	token_sign(a, &key, scheme_by_code(SCHEME_ECDSA_P256), (const uint8_t *)"m", 1, &made);
	ck_assert_int_eq(made.outcome, SIGN_NOT_DONE);
	ck_assert_int_eq(made.why.err, ERR_INTERNAL);
	token_session_give(a);
	ck_assert_uint_eq(token_sessions_open(token), 2);
	/* a handle that is none: the token is lost for this process */
	ck_assert_int_eq(token_session_take(token, monotonic_ms() + 60000, &a, &why), ERR_OK);
	key.handle = 987654;
	token_sign(a, &key, scheme_by_code(SCHEME_ECDSA_P384), (const uint8_t *)"m", 1, &made);
	ck_assert_int_eq(made.outcome, SIGN_NOT_DONE);
	ck_assert(!made.again);
	token_session_give(a);
	ck_assert(token_lost(token));
	ck_assert_int_eq(token_session_take(token, monotonic_ms() + 60000, &a, &why), ERR_TOKEN);
	buf_free(&pem);
	finish();
}
END_TEST

START_TEST(token_that_goes_away)
{
	struct refusal why;

	if (!fixture_token(&fixture))
		return;
	ck_assert(open_with(FIXTURE_MODULE, "pkcs11:token=test", ERR_OK, 2));
	log_in();
	ck_assert_int_eq(token_probe(token, &why), ERR_OK);
	fixture_run("mv %s/tokens %s/away", fixture.folder, fixture.folder);
	ck_assert_int_eq(token_probe(token, &why), ERR_TOKEN);
	ck_assert(token_lost(token));
	finish();
}
END_TEST

/* ---- a module that fails ---- */

/* libp11 0.4.12 loses what it has listed already when a call within a listing fails. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:libp11.so\n";
}

static struct certificate served;

static void rules_write(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void rules_write(const char *format, ...)
{
	char path[160], other[160];
	va_list args;

	snprintf(path, sizeof path, "%s/rules", fixture.folder);
	snprintf(other, sizeof other, "%s/rules.new", fixture.folder);
	FILE *f = fopen(other, "w");
	ck_assert(f != NULL);
	va_start(args, format);
	vfprintf(f, format, args);
	va_end(args);
	fclose(f);
	ck_assert_int_eq(rename(other, path), 0);
}

/* False: there is no SoftHSM. The module is p11fault.so, its witness in FOLDER/calls. */
static bool faulty_token(char module[4096])
{
	const struct fixture_certificate what = {.not_before = 1, .not_after = 2};
	const char *build = getenv("TOP_BUILDDIR");
	struct buf pem = BUF_INIT(65536);
	char path[160];
	size_t count;

	if (!fixture_token(&fixture))
		return false;
	fixture_token_key(&fixture, "k", "P-256", &what, &pem);
	ck_assert_int_eq(certificate_read_pem(&served, 1, &count, pem.octets,
				 (size_t)(strstr(buf_cstr(&pem), "-----END") + 26 -
					  (const char *)pem.octets)),
		ERR_OK);
	buf_free(&pem);
	rules_write("%s", "");
	snprintf(path, sizeof path, "%s/rules", fixture.folder);
	setenv("P11FAULT_CONTROL", path, 1);
	snprintf(path, sizeof path, "%s/calls", fixture.folder);
	setenv("P11FAULT_LOG", path, 1);
	setenv("P11FAULT_MODULE", FIXTURE_MODULE, 1);
	snprintf(module, 4096, "%s/tests/faults/p11fault.so", build != NULL ? build : ".");
	return true;
}

static enum err sign_once(struct refusal *why)
{
	static const uint8_t message[] = "m";
	struct token_session *session;
	struct token_signature made;
	struct token_key key;
	struct buf der = BUF_INIT(256);
	enum err e = token_key_find(token, "pkcs11:object=k", &key, why);

	if (e == ERR_OK)
		e = token_session_take(token, monotonic_ms() + 60000, &session, why);
	if (e != ERR_OK)
		return e;
	token_sign(session, &key, scheme_by_code(SCHEME_ECDSA_P256), message, 1, &made);
	token_session_give(session);
	if (made.outcome != SIGN_DONE) {
		*why = made.why;
		return made.why.err;
	}
	/* what is called a signature verifies */
	if (pubkey_ecdsa_der(KEY_EC_P256, made.raw, made.len, &der) == ERR_OK &&
		pubkey_verify(served.key, scheme_by_code(SCHEME_ECDSA_P256), message, 1, der.octets,
			der.len) != ERR_OK)
		e = ERR_INTERNAL;
	buf_free(&der);
	return e;
}

/* Everything that a process asks of its token, up to what fails. */
static enum err all_of_it(const char *module, struct refusal *why)
{
	const struct token_spec spec = {
		.module = module, .uri = "pkcs11:token=test", .sessions = 2};
	struct token_index *index = NULL;
	char weak[200];
	struct token_key key, again;
	enum err e = token_open(&token, &spec, why);

	if (e == ERR_OK)
		e = token_login_allowed(token, RISK_NONE, why);
	if (e == ERR_OK && token_login(token, FIXTURE_PIN, why) != LOGIN_DONE)
		e = why->err;
	if (e == ERR_OK)
		e = token_index_make(token, &index, why);
	if (e == ERR_OK) {
		char copyable[] = "copyable", *accept[] = {copyable};
		const struct token_key_rules rules = {.accept = accept, .accept_count = 1};

		e = token_key_look(
			token, index, "pkcs11:object=k", &rules, &key, weak, sizeof weak, why);
		if (e == ERR_OK)
			e = token_key_find(token, "pkcs11:object=k", &again, why);
		if (e == ERR_OK)
			e = token_key_check(token, &again, &rules, weak, sizeof weak, why);
	}
	if (e == ERR_OK && (key.handle != again.handle || key.type != KEY_EC_P256))
		e = ERR_INTERNAL;
	if (e == ERR_OK)
		e = token_probe(token, why);
	if (e == ERR_OK)
		e = sign_once(why);
	token_index_free(index);
	token_close(token);
	token = NULL;
	return e;
}

/* How often the module was asked for this function since the beginning. */
static unsigned calls_of(const char *function)
{
	char path[160], name[64], line[1024];
	unsigned count = 0;

	snprintf(path, sizeof path, "%s/calls", fixture.folder);
	snprintf(name, sizeof name, " fn=%s ", function);
	FILE *f = fopen(path, "r");
	ck_assert(f != NULL);
	while (fgets(line, sizeof line, f) != NULL)
		count += strstr(line, name) != NULL && strstr(line, "ev=begin") == NULL;
	fclose(f);
	return count;
}

/* CKR_DEVICE_ERROR, CKR_DEVICE_MEMORY, CKR_SESSION_HANDLE_INVALID, CKR_ATTRIBUTE_TYPE_INVALID */
static const unsigned codes[] = {0x30, 0x31, 0xb3, 0x12};

/* Every call of every function fails once with this code: an error with its reason, or a good
 * signature all the same; and the next process finds everything as it was. */
START_TEST(every_call_of_the_module_fails_once)
{
	static const char *const functions[] = {"C_GetInfo", "C_GetSlotList", "C_GetSlotInfo",
		"C_GetTokenInfo", "C_OpenSession", "C_Login", "C_FindObjectsInit", "C_FindObjects",
		"C_FindObjectsFinal", "C_GetAttributeValue", "C_GetSessionInfo", "C_SignInit",
		"C_Sign", "C_CloseSession"};
	char module[4096];
	struct refusal why;

	if (!faulty_token(module))
		return;
	ck_assert_int_eq(all_of_it(module, &why), ERR_OK);
	for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
		unsigned before = calls_of(functions[i]), all;

		ck_assert_int_eq(all_of_it(module, &why), ERR_OK);
		all = calls_of(functions[i]) - before;
		for (unsigned skip = 0; skip < all; skip++) {
			why = (struct refusal){.err = ERR_OK};
			rules_write("%s rv=0x%x skip=%u count=1\n", functions[i], codes[_i], skip);
			enum err e = all_of_it(module, &why);
			ck_assert_msg(e != ERR_INTERNAL, "%s %u: wrong", functions[i], skip);
			ck_assert_msg(e == ERR_OK || (why.err == e && why.detail[0] != '\0'),
				"%s %u: %s without a reason", functions[i], skip, err_name(e));
		}
		rules_write("%s", "");
	}
	ck_assert_int_eq(all_of_it(module, &why), ERR_OK);
	certificate_free(&served);
	fixture_token_end(&fixture);
}
END_TEST

/* SoftHSM's answer about a token that it may only read; that this one is gone is seen all the same.
 */
START_TEST(token_that_says_nothing_about_itself)
{
	char module[4096];
	struct refusal why;
	unsigned searches;

	if (!faulty_token(module))
		return;
	ck_assert(open_with(module, "pkcs11:token=test", ERR_OK, 2));
	log_in();
	rules_write("C_GetTokenInfo rv=0x5\n");
	searches = calls_of("C_FindObjectsInit");
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(token_probe(token, &why), ERR_OK);
	ck_assert_uint_eq(calls_of("C_FindObjectsInit"), searches + 1); /* which takes long */
	rules_write("C_GetTokenInfo rv=0x5\nC_GetAttributeValue rv=0x82 count=1\n");
	ck_assert_int_eq(token_probe(token, &why), ERR_OK); /* that key was deleted, not all */
	fixture_run("mv %s/tokens %s/away", fixture.folder, fixture.folder);
	ck_assert_int_eq(token_probe(token, &why), ERR_TOKEN);
	ck_assert(token_lost(token));
	rules_write("%s", "");
	finish();
	certificate_free(&served);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("token");
	TCase *c = tcase_create("softhsm");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(c, 240);
	tcase_add_test(c, uris);
	tcase_add_test(c, finds_its_token_only);
	tcase_add_test(c, wrong_pin);
	tcase_add_test(c, attributes);
	tcase_add_test(c, sessions);
	tcase_add_test(c, token_that_goes_away);
	tcase_add_test(c, token_that_says_nothing_about_itself);
	tcase_add_loop_test(
		c, every_call_of_the_module_fails_once, 0, (int)(sizeof codes / sizeof *codes));
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
