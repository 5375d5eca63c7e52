#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "client/formats.h"
#include "client/keygen.h"
#include "client/tool.h"
#include "dc_maker.h"

static struct made_certificate by;
static struct buf dc = BUF_INIT(1 << 18), key = BUF_INIT(4096), chain = BUF_INIT(65536);

static enum err write(struct buf *file, enum dc_format f)
{
	const struct format_source source = {dc.octets, dc.len, DC_SERVER, &key, &chain};
	return format_write(file, f, &source);
}

static void setup(void)
{
	make_certificate(&by, &good_certificate);
	make_dc(&dc, &by, &good_dc);
	ck_assert_int_eq(keygen_private_pem(&key, by.key), ERR_OK);
	buf_text(&chain, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
}

static void teardown(void)
{
	buf_free(&key);
	buf_free(&chain);
	made_certificate_free(&by);
	buf_free(&dc);
}

static void reads_as(const void *file, size_t len, enum dc_format form)
{
	struct buf got = BUF_INIT(FORMAT_FILE_MAX);
	struct refusal why = {0};
	enum dc_format seen = FORMATS;
	enum err e = format_read(&got, &seen, file, len, &why);
	ck_assert_msg(e == ERR_OK, "%s %s", err_name(e), why.detail);
	ck_assert_int_eq(seen, form);
	ck_assert_uint_eq(got.len, dc.len);
	ck_assert_mem_eq(got.octets, dc.octets, dc.len);
	buf_free(&got);
}

static void refused(const void *file, size_t len, const char *sentence)
{
	struct buf got = BUF_INIT(FORMAT_FILE_MAX);
	struct refusal why = {0};
	enum dc_format seen;
	enum err e = format_read(&got, &seen, file, len, &why);
	ck_assert_msg(e == ERR_FORMAT, "%s", err_name(e));
	ck_assert_msg(strstr(why.detail, sentence) != NULL, "\"%s\"", why.detail);
	buf_free(&got);
}

START_TEST(each_form_is_found_out)
{
	struct buf file = BUF_INIT(FORMAT_FILE_MAX);
	int f;
	for (f = FORMAT_RAW; f < FORMATS; f++) {
		if (f == FORMAT_JSON)
			continue;
		buf_reset(&file);
		ck_assert_int_eq(write(&file, (enum dc_format)f), ERR_OK);
		reads_as(file.octets, file.len, (enum dc_format)f);
	}
	ck_assert_int_eq(write(&file, FORMAT_JSON), ERR_FORMAT);
	buf_reset(&file);
	buf_text(&file, " \n{\"id\": \"1\", \"credential\": \"");
	buf_base64(&file, dc.octets, dc.len);
	buf_text(&file, "\"}\n");
	reads_as(file.octets, file.len, FORMAT_JSON);
	buf_free(&file);
}
END_TEST

START_TEST(text_forms_with_company)
{
	struct buf file = BUF_INIT(FORMAT_FILE_MAX);
	size_t i;
	buf_text(&file, "a remark\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	ck_assert_int_eq(write(&file, FORMAT_PEM), ERR_OK);
	reads_as(file.octets, file.len, FORMAT_PEM);
	buf_reset(&file);
	buf_text(&file, "\n  ");
	buf_hex(&file, dc.octets, dc.len);
	for (i = 0; i < file.len; i++)
		if (file.octets[i] >= 'a')
			file.octets[i] = (uint8_t)(file.octets[i] - 32);
	buf_text(&file, "\r\n");
	reads_as(file.octets, file.len, FORMAT_HEX);
	buf_free(&file);
}
END_TEST

START_TEST(pem_is_as_others_read_it)
{
	static const char begin[] = "-----BEGIN DELEGATED CREDENTIAL-----\n";
	struct buf file = BUF_INIT(FORMAT_FILE_MAX);
	const char *text;
	ck_assert_int_eq(write(&file, FORMAT_PEM), ERR_OK);
	text = buf_cstr(&file);
	ck_assert(strncmp(text, begin, sizeof begin - 1) == 0);
	ck_assert_uint_eq(strcspn(text + sizeof begin - 1, "\n"), 64);
	ck_assert_ptr_nonnull(strstr(text, "\n-----END DELEGATED CREDENTIAL-----\n"));
	buf_free(&file);
}
END_TEST

START_TEST(fizz_is_as_fizz_reads_it)
{
	struct buf expected = BUF_INIT(FORMAT_FILE_MAX), file = BUF_INIT(FORMAT_FILE_MAX);
	struct format_source source = {dc.octets, dc.len, DC_CLIENT, &key, &chain};
	static const char begin[] = "-----BEGIN PRIVATE KEY-----\n";
	static const char end[] = "-----END PRIVATE KEY-----\n";

	ck_assert(key.len > sizeof begin + sizeof end);
	buf_text(&expected, "-----BEGIN CLIENT DELEGATED CREDENTIAL-----\n");
	buf_base64(&expected, dc.octets, dc.len);
	buf_text(&expected, "\n-----END CLIENT DELEGATED CREDENTIAL-----\n"
			    "-----BEGIN CLIENT DC PRIVATE KEY-----\n");
	buf_put(&expected, key.octets + sizeof begin - 1, key.len - sizeof begin - sizeof end + 2);
	buf_text(&expected, "-----END CLIENT DC PRIVATE KEY-----\n");
	buf_put(&expected, chain.octets, chain.len);
	ck_assert_int_eq(format_write(&file, FORMAT_FIZZ, &source), ERR_OK);
	ck_assert_str_eq(buf_cstr(&file), buf_cstr(&expected));

	buf_reset(&file);
	ck_assert_int_eq(write(&file, FORMAT_FIZZ), ERR_OK);
	ck_assert_ptr_nonnull(strstr(buf_cstr(&file), "-----END SERVER DELEGATED CREDENTIAL-----\n"
						      "-----BEGIN SERVER DC PRIVATE KEY-----\n"));
	buf_reset(&file);
	dc.octets[4] = 5; /* a P-384 scheme: Fizz loads P-256 alone */
	ck_assert_int_eq(write(&file, FORMAT_FIZZ), ERR_DC_ALGORITHM);
	source.len--;
	ck_assert_int_eq(format_write(&file, FORMAT_FIZZ, &source), ERR_TRUNCATED);
	ck_assert_uint_eq(file.len, 0);
	buf_free(&expected);
	buf_free(&file);
}
END_TEST

START_TEST(damage_is_refused)
{
	struct buf file = BUF_INIT(4 * FORMAT_FILE_MAX);
	size_t len;

	refused("", 0, "empty");
	refused("abc", 3, "odd number");
	refused("{\"credential\": 1}", 17, "no member");
	refused("{\"credential\": \"A\"}", 19, "not base64");
	refused("{\"credential\": \"\", \"credential\": \"\"}", 36, "not JSON");
	refused("{", 1, "not JSON");
	refused("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", 59, "0 blocks");

	ck_assert_int_eq(write(&file, FORMAT_PEM), ERR_OK);
	len = file.len;
	refused(file.octets, len - 5, "damaged");
	ck_assert_int_eq(write(&file, FORMAT_PEM), ERR_OK);
	refused(file.octets, file.len, "2 blocks");
	file.octets[60] = '!';
	refused(file.octets, len, "damaged");

	buf_reset(&file);
	while (file.len <= FORMAT_FILE_MAX)
		buf_put(&file, dc.octets, dc.len);
	refused(file.octets, file.len, "larger");
	buf_free(&file);
}
END_TEST

START_TEST(names)
{
	enum dc_format f;
	ck_assert(format_by_name("hex", &f) && f == FORMAT_HEX);
	ck_assert(!format_by_name("der", &f) && !format_by_name("", &f));
	ck_assert_str_eq(format_file(FORMAT_RAW), "credential.dc");
	ck_assert_str_eq(format_file(FORMAT_JSON), "credential.json");
	ck_assert_str_eq(format_file(FORMAT_FIZZ), "fizz.pem");
}
END_TEST

START_TEST(durations)
{
	static const char *const wrong[] = {
		"", "s", "-1", "1 h", "1w", "1hh", "h1", "1.5h", "99999999999", "367d", "0x10"};
	int64_t s;
	size_t i;
	ck_assert(tool_duration("90", &s) && s == 90);
	ck_assert(tool_duration("30s", &s) && s == 30);
	ck_assert(tool_duration("5m", &s) && s == 300);
	ck_assert(tool_duration("24h", &s) && s == 86400);
	ck_assert(tool_duration("7d", &s) && s == 604800);
	ck_assert(tool_duration("366d", &s) && s == 31622400);
	for (i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
		ck_assert_msg(!tool_duration(wrong[i], &s), "%s", wrong[i]);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("formats");
	TCase *t = tcase_create("formats");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, each_form_is_found_out);
	tcase_add_test(t, text_forms_with_company);
	tcase_add_test(t, pem_is_as_others_read_it);
	tcase_add_test(t, fizz_is_as_fizz_reads_it);
	tcase_add_test(t, damage_is_refused);
	tcase_add_test(t, names);
	tcase_add_test(t, durations);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
