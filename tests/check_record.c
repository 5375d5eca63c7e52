#include "settings.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ledger_help.h"

/* The examples of RECORDS.md: lines that begin with a brace. */
static char *examples[64];
static int example_count;

static void examples_read(void)
{
	char path[4096], *line = NULL;
	size_t size = 0;
	const char *top = getenv("TOP_SRCDIR");
	ssize_t len;
	FILE *f;

	snprintf(path, sizeof(path), "%s/src/ledger/RECORDS.md", top ? top : ".");
	f = fopen(path, "r");
	ck_assert_msg(f != NULL, "%s is not there", path);
	while ((len = getline(&line, &size, f)) > 0) {
		if (*line != '{')
			continue;
		line[len - 1] = '\0';
		ck_assert_int_lt(example_count, 64);
		examples[example_count++] = strdup(line);
	}
	free(line);
	fclose(f);
}

static void examples_drop(void)
{
	while (example_count > 0)
		free(examples[--example_count]);
}

static enum err parse(const char *json, size_t len)
{
	struct buf store = BUF_INIT(RECORD_MAX);
	char *exact = malloc(len ? len : 1); /* so that a read behind the end is seen */
	struct record r;

	memcpy(exact, json, len);

	enum err e = record_parse(&r, &store, exact, len);

	free(exact);
	buf_free(&store);
	return e;
}

static bool write_gives(const struct record *r, const char *json, size_t len)
{
	struct buf out = BUF_INIT(RECORD_MAX);
	bool same = record_write(&out, r) == ERR_OK && out.len == len &&
		    memcmp(out.octets, json, len) == 0;

	buf_free(&out);
	return same;
}

START_TEST(every_type_goes_round)
{
	bool seen[RECORD_TYPES] = {false};

	for (int i = 0; i < example_count; i++) {
		struct buf store = BUF_INIT(RECORD_MAX), wire = BUF_INIT(RECORD_MAX);
		size_t len = strlen(examples[i]);
		struct record r, back;

		ck_assert_int_eq(record_parse(&r, &store, examples[i], len), ERR_OK);
		ck_assert(write_gives(&r, examples[i], len));
		ck_assert_int_eq(record_encode(&wire, &r), ERR_OK);
		ck_assert_int_eq(record_decode(&back, wire.octets, wire.len), ERR_OK);
		ck_assert(write_gives(&back, examples[i], len));
		seen[r.type] = true;
		for (size_t cut = 0; cut < wire.len; cut++)
			ck_assert_int_eq(record_decode(&back, wire.octets, cut), ERR_FORMAT);
		buf_u8(&wire, 0);
		ck_assert_int_eq(record_decode(&back, wire.octets, wire.len), ERR_FORMAT);
		buf_free(&wire);
		buf_free(&store);
	}
	for (int t = 1; t < RECORD_TYPES; t++)
		ck_assert_msg(seen[t], "no example of %s", record_type_name((enum record_type)t));
}
END_TEST

START_TEST(every_truncation_is_refused)
{
	for (int i = 0; i < example_count; i++) {
		for (size_t cut = 0; cut < strlen(examples[i]); cut++)
			ck_assert_int_eq(parse(examples[i], cut), ERR_FORMAT);
	}
}
END_TEST

/* A changed octet is refused, or makes another record in the same canonical form. */
START_TEST(a_changed_octet_never_reads_as_the_same)
{
	static const char into[] = {'0', 'a', '"', '\\', ',', ' ', '\n', 'u', (char)0xc3, 0};

	for (int i = 0; i < example_count; i++) {
		size_t len = strlen(examples[i]);
		char *text = strdup(examples[i]);

		for (size_t at = 0; at < len; at++) {
			for (size_t k = 0; k < sizeof(into); k++) {
				struct buf store = BUF_INIT(RECORD_MAX);
				struct record r;

				text[at] = into[k];
				if (record_parse(&r, &store, text, len) == ERR_OK)
					ck_assert_msg(write_gives(&r, text, len), "octet %zu of %s",
						at, text);
				buf_free(&store);
			}
			text[at] = examples[i][at];
		}
		free(text);
	}
}
END_TEST

#define HEX64 "4747474747474747474747474747474747474747474747474747474747474747"
#define CONFIG(json)                                                                               \
	"{\"chain\":\"n/t\",\"config\":" json ",\"generation\":\"" HEX64                           \
	"\",\"idx\":0,\"time\":0,\"type\":\"CONFIG\"}"
#define STOP(detail) "{\"chain\":\"n/t\"," detail "\"idx\":0,\"time\":0,\"type\":\"STOP\"}"

static const struct {
	const char *json;
	bool good;
} forms[] = {
	{STOP(""), true},
	{STOP("\"detail\":\"x\","), true},
	{STOP("\"detail\":\"\","), false},
	{STOP("\"detail\": \"x\","), false},
	{STOP("\"detail\":\"\\u0061\","), false},
	{STOP("\"detail\":\"\\/\","), false},
	{STOP("\"detail\":\"\\u000a\","), false},
	{STOP("\"detail\":\"\\n\","), true},
	{STOP("\"detail\":\"\\u001f\","), true},
	{STOP("\"detail\":\"\\u001F\","), false},
	{STOP("\"detail\":\"\\u0000\","), false},
	{STOP("\"detail\":\"\\u00e9\","), false},
	{STOP("\"detail\":\"\xc3\xa9\","), true},
	{STOP("\"detail\":\"\xc3\","), false},
	{STOP("\"detail\":\"\xed\xa0\x80\","), false},
	{STOP("\"detail\":\"\n\","), false},
	{STOP("\"detail\":\"\x7f\","), true},
	{STOP("\"detail\":\"x\",\"detail\":\"x\","), false},
	{STOP("\"dc\":\"AA==\","), false},
	{STOP("\"zzz\":1,"), false},
	{STOP("\"detail\":7,"), false},
	{STOP("") " ", false},
	{" " STOP(""), false},
	{"{\"chain\":\"n/t\",\"idx\":0,\"type\":\"STOP\",\"time\":0}", false},
	{"{\"chain\":\"n/t\",\"idx\":0,\"time\":0}", false},
	{"{\"chain\":\"n/t\",\"idx\":0,\"type\":\"STOP\"}", false},
	{"{\"chain\":\"n/t\",\"idx\":0,\"time\":0,\"type\":\"STOPPED\"}", false},
	{"{\"chain\":\"n/t\",\"idx\":00,\"time\":0,\"type\":\"STOP\"}", false},
	{"{\"chain\":\"n/t\",\"idx\":-0,\"time\":0,\"type\":\"STOP\"}", false},
	{"{\"chain\":\"n/t\",\"idx\":-1,\"time\":0,\"type\":\"STOP\"}", true},
	{"{\"chain\":\"n/t\",\"idx\":+1,\"time\":0,\"type\":\"STOP\"}", false},
	{"{\"chain\":\"n/t\",\"idx\":1.0,\"time\":0,\"type\":\"STOP\"}", false},
	{"{\"chain\":\"n/t\",\"idx\":1e3,\"time\":0,\"type\":\"STOP\"}", false},
	{"{\"chain\":\"n/t\",\"idx\":\"1\",\"time\":0,\"type\":\"STOP\"}", false},
	{"{\"chain\":\"n/t\",\"idx\":9223372036854775807,\"time\":0,\"type\":\"STOP\"}", true},
	{"{\"chain\":\"n/t\",\"idx\":9223372036854775808,\"time\":0,\"type\":\"STOP\"}", false},
	{"{\"chain\":\"n/t\",\"idx\":-9223372036854775808,\"time\":0,\"type\":\"STOP\"}", false},
	{"{\"chain\":\"n/t\",\"idx\":18446744073709551616,\"time\":0,\"type\":\"STOP\"}", false},
	{CONFIG("{}"), true},
	{CONFIG("{\"a\":[1,true,{\"b\":\"x\"}],\"b\":{}}"), true},
	{CONFIG("{\"b\":1,\"a\":2}"), false},
	{CONFIG("{\"a\":1,\"a\":2}"), false},
	{CONFIG("{\"a\":1.5}"), false},
	{CONFIG("{\"a\":1,}"), false},
	{CONFIG("{\"a\" :1}"), false},
	{CONFIG("{\"a\":\"\\u0041\"}"), false},
	{CONFIG("[]"), false},
	{CONFIG("\"x\""), false},
	{"{}", false},
	{"[]", false},
	{"", false},
};

START_TEST(only_the_canonical_form_is_taken)
{
	const char *json = forms[_i].json;

	ck_assert_msg((parse(json, strlen(json)) == ERR_OK) == forms[_i].good, "%s", json);
}
END_TEST

START_TEST(hex_and_base64_are_strict)
{
	static const char *const bad[] = {
		"{\"attempt\":1,\"chain\":\"n/t\",\"dc\":\"AB==\",\"dc_sha256\":\"" HEX64 "\",",
		"{\"attempt\":1,\"chain\":\"n/t\",\"dc\":\"AA=\",\"dc_sha256\":\"" HEX64 "\",",
		"{\"attempt\":1,\"chain\":\"n/t\",\"dc\":\"AA\\n==\",\"dc_sha256\":\"" HEX64 "\",",
		"{\"attempt\":1,\"chain\":\"n/t\",\"dc\":\"AA==\",\"dc_sha256\":\"" HEX64 "47\",",
		"{\"attempt\":1,\"chain\":\"n/t\",\"dc\":\"AA==\",\"dc_sha256\":\"A7\",",
		"{\"attempt\":1,\"chain\":\"n/t\",\"dc\":\"AA==\",\"dc_sha256\":\"" HEX64 "\",",
	};
	static const char *const ids[] = {
		"00000000000000000000000000000001", "0000000000000000000000000000000G", "1"};
	size_t last = sizeof(bad) / sizeof(bad[0]) - 1;
	char json[1024];

	for (size_t i = 0; i <= last; i++) {
		for (size_t k = 0; k < 3; k++) {
			snprintf(json, sizeof(json),
				"%s\"id\":\"%s\",\"idx\":0,\"time\":0,\"type\":\"ISSUED\"}", bad[i],
				ids[k]);
			ck_assert_int_eq(parse(json, strlen(json)) == ERR_OK, i == last && k == 0);
		}
	}
}
END_TEST

START_TEST(members_of_other_types_are_refused)
{
	struct buf out = BUF_INIT(RECORD_MAX);
	struct record r;

	record_init(&r, RECORD_FAILED);
	r.time = 0;
	r.id = octets_text("00000000000000000000000000000001");
	r.attempt = 1;
	ck_assert_int_eq(record_encode(&out, &r), ERR_FORMAT); /* no reason */
	r.reason = octets_text("token_unavailable");
	ck_assert_int_eq(record_encode(&out, &r), ERR_OK);
	ck_assert_int_eq(record_write(&out, &r), ERR_FORMAT); /* no place in a chain */
	r.node = octets_text("sign1");
	ck_assert_int_eq(record_encode(&out, &r), ERR_FORMAT);
	r.node.len = 0;
	r.reason = octets_text("\xff");
	ck_assert_int_eq(record_encode(&out, &r), ERR_FORMAT);
	r.type = RECORD_TYPES;
	ck_assert_int_eq(record_encode(&out, &r), ERR_FORMAT);
	buf_free(&out);
}
END_TEST

/* What an auditor needs of each type must be there. */
static const struct {
	const char *type, *members;
} needed[] = {
	{"AUTHORISED",
		"algorithm attempt cert_not_before certificate_sha256 chain client client_sha256 "
		"expiry generation id idx key lifetime_asked lifetime_granted now peer policy "
		"possession request role signature_algorithm spki spki_sha256 tbs_sha256 time type "
		"valid_time window_opens"},
	{"ISSUED", "attempt chain dc dc_sha256 id idx time type"},
	{"SELF-TEST", "certificate_sha256 chain generation id idx key tbs_sha256 time type"},
	{"KEY-PROVED", "certificate_sha256 certificates chain generation id idx key time type"},
	{"CONFIG", "chain config generation idx time type"},
	{"CHECKPOINT", "chain idx note public_key root size time type"},
};

/* Behind the value that begins here, at a comma or the end of the object. */
static const char *value_end(const char *at)
{
	int depth = 0;
	bool text = false;

	for (; text || depth > 0 || (*at != ',' && *at != '}'); at++) {
		if (text && *at == '\\')
			at++;
		else if (*at == '"')
			text = !text;
		else if (!text)
			depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
	}
	return at;
}

START_TEST(no_needed_member_may_be_left_out)
{
	char *names = strdup(needed[_i].members), *rest = NULL, mark[64], json[RECORD_MAX];
	int tried = 0;

	snprintf(mark, sizeof(mark), "\"type\":\"%s\"", needed[_i].type);
	for (int i = 0; i < example_count && tried == 0; i++) {
		if (!strstr(examples[i], mark))
			continue;
		for (char *name = strtok_r(names, " ", &rest); name;
			name = strtok_r(NULL, " ", &rest), tried++) {
			char member[64];

			snprintf(member, sizeof(member), "\"%s\":", name);
			const char *at = strstr(examples[i], member);
			ck_assert_msg(at != NULL, "%s in %s", name, examples[i]);
			const char *end = value_end(at + strlen(member));
			bool first = at == examples[i] + 1;
			snprintf(json, sizeof(json), "%.*s%s", (int)(at - examples[i]) - !first,
				examples[i], first ? end + (*end == ',') : end);
			ck_assert_msg(parse(json, strlen(json)) == ERR_FORMAT, "%s", json);
		}
	}
	ck_assert_int_gt(tried, 0);
	free(names);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("record");
	TCase *t = tcase_create("record");

	tcase_add_unchecked_fixture(t, examples_read, examples_drop);
	tcase_add_test(t, every_type_goes_round);
	tcase_add_test(t, every_truncation_is_refused);
	tcase_add_test(t, a_changed_octet_never_reads_as_the_same);
	tcase_add_loop_test(
		t, only_the_canonical_form_is_taken, 0, (int)(sizeof(forms) / sizeof(forms[0])));
	tcase_add_test(t, hex_and_base64_are_strict);
	tcase_add_test(t, members_of_other_types_are_refused);
	tcase_add_loop_test(
		t, no_needed_member_may_be_left_out, 0, (int)(sizeof(needed) / sizeof(needed[0])));
	suite_add_tcase(s, t);

	SRunner *runner = srunner_create(s);

	srunner_run_all(runner, CK_ENV);

	int failed = srunner_ntests_failed(runner);

	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
