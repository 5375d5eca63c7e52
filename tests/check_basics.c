/* err, buf, log, digest, scheme, merkle */
#include "settings.h" /* pipe2, O_DIRECT */

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "digest.h"
#include "log.h"
#include "merkle.h"
#include "run_suite.h"
#include "scheme.h"

START_TEST(err_names)
{
	for (unsigned i = 0; i < ERR_COUNT; i++) {
		ck_assert_ptr_nonnull(err_name((enum err)i));
		ck_assert_uint_eq(err_by_name(err_name((enum err)i)), i);
		ck_assert_uint_ge(err_status((enum err)i), 200);
		ck_assert_uint_gt(strlen(err_text((enum err)i)), 3);
	}
	ck_assert_uint_eq(err_by_name("no such name"), ERR_COUNT);
	ck_assert_str_eq(err_name((enum err)12345), err_name(ERR_INTERNAL));
	ck_assert_uint_eq(err_status((enum err) - 1), 500);
}
END_TEST

START_TEST(refusals)
{
	struct refusal r;
	char text[300];

	ck_assert_int_eq(refuse(NULL, ERR_RATE, "f", "x"), ERR_RATE);
	ck_assert_int_eq(refuse(&r, ERR_ROLE, "role", "at most %d", 7), ERR_ROLE);
	ck_assert_int_eq(r.err, ERR_ROLE);
	ck_assert_str_eq(r.field, "role");
	ck_assert_str_eq(r.detail, "at most 7");
	/* the cut falls into a character of 1, 2, 3, 4 octets: what stays is UTF-8 */
	static const char *const characters[] = {
		"a", "\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	for (size_t lead = 248; lead < 256; lead++) {
		for (unsigned i = 0; i < 4; i++) {
			memset(text, 'x', lead);
			snprintf(text + lead, sizeof text - lead, "%s%s%s", characters[i],
				characters[i], characters[i]);
			refuse(&r, ERR_ROLE, "a-field-name-that-is-longer-than-its-space", "%s",
				text);
			ck_assert(utf8_valid((uint8_t *)r.detail, strlen(r.detail)));
			ck_assert_uint_ge(strlen(r.detail), 252 < lead ? 252 : lead);
			ck_assert_uint_lt(strlen(r.field), sizeof r.field);
		}
	}
}
END_TEST

START_TEST(buffer_limits)
{
	struct buf b = BUF_INIT(4);

	buf_u32(&b, 0x01020304);
	ck_assert_int_eq(b.err, ERR_OK);
	ck_assert_mem_eq(b.octets, "\1\2\3\4", 4);
	ck_assert_ptr_nonnull(buf_cstr(&b)); /* the NUL does not count */
	buf_u8(&b, 1);
	ck_assert_int_eq(b.err, ERR_NO_ROOM);
	ck_assert_uint_eq(b.len, 4);
	ck_assert_ptr_null(buf_cstr(&b));
	buf_reset(&b);
	buf_u24(&b, 0x01000000);
	ck_assert_int_eq(b.err, ERR_NO_ROOM);
	buf_reset(&b);
	buf_u24(&b, 0xffffff);
	ck_assert_uint_eq(b.len, 3);
	buf_wipe(&b);
	ck_assert_ptr_null(b.octets);
	buf_text(&b, "ok");
	ck_assert_str_eq(buf_cstr(&b), "ok");
	buf_free(&b);
}
END_TEST

START_TEST(buffer_texts)
{
	struct buf b = BUF_INIT(1 << 16);

	for (unsigned i = 0; i < 2000; i++)
		buf_printf(&b, "%u,", i);
	ck_assert_int_eq(b.err, ERR_OK);
	ck_assert_int_eq(strncmp(buf_cstr(&b) + b.len - 10, "1998,1999,", 10), 0);
	buf_reset(&b);
	buf_hex(&b, "\x00\xff\x5a", 3);
	ck_assert_str_eq(buf_cstr(&b), "00ff5a");
	buf_reset(&b);
	buf_printf(&b, "%s", "");
	ck_assert_str_eq(buf_cstr(&b), "");
	buf_decimal(&b, 0);
	buf_decimal(&b, -1);
	buf_decimal(&b, INT64_MAX);
	buf_decimal(&b, INT64_MIN);
	ck_assert_str_eq(buf_cstr(&b), "0-19223372036854775807-9223372036854775808");
	buf_free(&b);
}
END_TEST

START_TEST(reading)
{
	struct buf b = BUF_INIT(1024);
	struct reader r;
	size_t len;
	char text[4];
	uint8_t fixed[2];

	buf_u8(&b, 1);
	buf_u16(&b, 0x0203);
	buf_u24(&b, 0x040506);
	buf_u32(&b, 0x0708090a);
	buf_u64(&b, UINT64_C(0x0b0c0d0e0f101112));
	buf_str(&b, "abc");
	buf_vec(&b, "xy", 2);
	buf_str(&b, NULL);
	reader_init(&r, b.octets, b.len);
	ck_assert_uint_eq(reader_u8(&r), 1);
	ck_assert_uint_eq(reader_u16(&r), 0x0203);
	ck_assert_uint_eq(reader_u24(&r), 0x040506);
	ck_assert_uint_eq(reader_u32(&r), 0x0708090a);
	ck_assert_uint_eq(reader_u64(&r), UINT64_C(0x0b0c0d0e0f101112));
	reader_str(&r, text, sizeof text);
	ck_assert_str_eq(text, "abc");
	reader_fixed(&r, fixed, 2);
	ck_assert_mem_eq(fixed, "xy", 2);
	ck_assert(!reader_done(&r));
	ck_assert_ptr_nonnull(reader_vec(&r, &len, 10));
	ck_assert_uint_eq(len, 0);
	ck_assert(reader_done(&r));
	ck_assert_uint_eq(reader_u8(&r), 0);
	ck_assert(!reader_done(&r));
	ck_assert_ptr_null(reader_take(&r, 0)); /* sticky */
	buf_free(&b);
}
END_TEST

START_TEST(reading_refuses)
{
	struct reader r;
	char text[4];
	uint8_t fixed[3] = {9, 9, 9};
	size_t len;

	reader_init(&r, "\0\0\0\4abcd", 8);
	reader_str(&r, text, sizeof text); /* no room for the NUL */
	ck_assert(r.failed && text[0] == '\0');
	reader_init(&r, "\0\0\0\3a\0b", 7);
	reader_str(&r, text, sizeof text);
	ck_assert(r.failed);
	reader_init(&r, "\0\0\0\2ab", 6);
	reader_fixed(&r, fixed, 3);
	ck_assert(r.failed);
	ck_assert_mem_eq(fixed, "\0\0\0", 3);
	reader_init(&r, "\xff\xff\xff\xff", 4);
	ck_assert_ptr_null(reader_vec(&r, &len, SIZE_MAX));
	ck_assert_uint_eq(len, 0);
	reader_init(&r, "\0\0\0\3abc", 7);
	ck_assert_ptr_null(reader_vec(&r, &len, 2));
	reader_init(&r, NULL, 0);
	ck_assert(reader_done(&r));
	ck_assert_ptr_nonnull(reader_take(&r, 0));
}
END_TEST

START_TEST(base64)
{
	static const char *const bad[] = {"=", "A", "AA", "AAA", "AA=A",
		"A===", "AB==", "AAB=", "AA==AAAA", " AAAA", "AAAA\n", "AA-_", "AAAA====", "A\0AA"};
	struct buf b = BUF_INIT(1024), back = BUF_INIT(1024);
	uint8_t octets[100];

	for (unsigned i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)(i * 37);
	for (size_t len = 0; len <= sizeof octets; len++) {
		buf_reset(&b);
		buf_reset(&back);
		buf_base64(&b, octets, len);
		ck_assert_int_eq(base64_decode(&back, buf_cstr(&b), b.len), ERR_OK);
		ck_assert_uint_eq(back.len, len);
		ck_assert(len == 0 || memcmp(back.octets, octets, len) == 0);
	}
	buf_reset(&b);
	buf_base64(&b, "foob", 4);
	ck_assert_str_eq(buf_cstr(&b), "Zm9vYg==");
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
		size_t len = bad[i][1] == '\0' && bad[i][0] == 'A' && i == 13 ? 4 : strlen(bad[i]);
		ck_assert_msg(base64_decode(&back, bad[i], len) == ERR_FORMAT, "%s", bad[i]);
	}
	buf_free(&b);
	buf_free(&back);
}
END_TEST

START_TEST(hexadecimal)
{
	uint8_t out[2];
	char text[5];

	ck_assert(hex_decode(out, 2, "00fa"));
	ck_assert_mem_eq(out, "\0\xfa", 2);
	hex_encode(text, out, 2);
	ck_assert_str_eq(text, "00fa");
	ck_assert(!hex_decode(out, 2, "00FA"));
	ck_assert(!hex_decode(out, 2, "00f"));
	ck_assert(!hex_decode(out, 2, "00fa0"));
	ck_assert(!hex_decode(out, 2, ""));
	ck_assert(!hex_decode(out, 2, "0g00"));
	ck_assert(hex_decode(out, 0, ""));
}
END_TEST

START_TEST(times)
{
	static const struct {
		const char *text;
		int64_t t;
	} good[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2000-02-29T23:59:59Z", 951868799},
		{"2026-01-01T00:00:00Z", 1767225600},
		{"2038-01-19T03:14:08Z", INT64_C(2147483648)},
		{"2100-02-28T12:00:00Z", INT64_C(4107499200)},
		{"9999-12-31T23:59:59Z", INT64_C(253402300799)},
	};
	static const char *const bad[] = {"", "2026-01-01T00:00:00", "2026-01-01 00:00:00Z",
		"2026-01-01t00:00:00z", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z",
		"2026-01-01T24:00:00Z", "2026-01-01T00:00:60Z", "2026-01-01T00:00:00.0Z",
		"2026-01-01T00:00:00+00:00", "1969-12-31T23:59:59Z", "-026-01-01T00:00:00Z",
		"2026-1-001T00:00:00Z", "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z",
		" 2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z ", "2026-01-01T+1:00:00Z",
		"0000-00-00T00:00:00Z", "out-of-range"};
	char text[21];
	int64_t t;

	for (unsigned i = 0; i < sizeof good / sizeof *good; i++) {
		time_text(text, good[i].t);
		ck_assert_str_eq(text, good[i].text);
		ck_assert(time_parse(good[i].text, &t));
		ck_assert_int_eq(t, good[i].t);
	}
	for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++)
		ck_assert_msg(!time_parse(bad[i], &t), "%s", bad[i]);
	const int64_t outside[] = {-1, INT64_MIN, INT64_MAX, INT64_C(253402300800)};
	for (unsigned i = 0; i < 4; i++) {
		time_text(text, outside[i]);
		ck_assert_str_eq(text, "out-of-range");
	}
}
END_TEST

START_TEST(names)
{
	char longest[66];

	memset(longest, 'a', 65);
	longest[65] = '\0';
	ck_assert(!name_valid(longest));
	longest[64] = '\0';
	ck_assert(name_valid(longest));
	ck_assert(name_valid("edge-fra-1"));
	ck_assert(!name_valid(""));
	ck_assert(!name_valid("Edge"));
	ck_assert(!name_valid("a b"));
	ck_assert(!name_valid("a/b"));
	ck_assert(!name_valid("a\n"));
}
END_TEST

START_TEST(utf8)
{
	static const struct {
		const char *octets;
		size_t len;
		bool ok;
	} rows[] = {
		{"", 0, true},
		{"abc", 3, true},
		{"\xc2\x80", 2, true},
		{"\xe0\xa0\x80", 3, true},
		{"\xed\x9f\xbf", 3, true},
		{"\xf4\x8f\xbf\xbf", 4, true},
		{"a\0b", 3, false},
		{"\xc0\x80", 2, false},
		{"\xc1\xbf", 2, false},
		{"\xe0\x9f\xbf", 3, false},
		{"\xed\xa0\x80", 3, false},
		{"\xf0\x8f\xbf\xbf", 4, false},
		{"\xf4\x90\x80\x80", 4, false},
		{"\xf5\x80\x80\x80", 4, false},
		{"\x80", 1, false},
		{"\xc2", 1, false},
		{"\xe2\x82", 2, false},
		{"\xe2\x82\x41", 3, false},
		{"\xff", 1, false},
		{"eight oc", 8, true},
		{"eight and more", 14, true},
		{"eight o\0", 8, false},
		{"\0ight oc", 8, false},
		{"eight \xc2\x80", 8, true},
		{"eight o\xc2\x80", 9, true},
		{"eight o\x80", 8, false},
		{"eight\x01\0c", 8, false},
	};

	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++)
		ck_assert_msg(
			utf8_valid((const uint8_t *)rows[i].octets, rows[i].len) == rows[i].ok,
			"row %u", i);
}
END_TEST

/* What log_write puts on descriptor 2, and in how many reads it comes. */
static void capture(char *out, size_t size, const char *text, int64_t number)
{
	int ends[2];
	int saved = dup(STDERR_FILENO);

	ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_DIRECT), 0); /* one read per write */
	dup2(ends[1], STDERR_FILENO);
	LOG(LOG_LEVEL_INFO, "key proved", LS("value", text), LN("n", number));
	LOG(LOG_LEVEL_DEBUG, "below the level");
	dup2(saved, STDERR_FILENO);
	ssize_t n = read(ends[0], out, size - 1);
	ck_assert_int_gt((int)n, 0);
	out[n] = '\0';
	char more;
	ck_assert_int_lt((int)read(ends[0], &more, 1), 0);
	close(ends[0]);
	close(ends[1]);
	close(saved);
	ck_assert_ptr_eq(strchr(out, '\n'), out + n - 1);
	for (char *at = out; *at != '\n'; at++)
		ck_assert(*at >= 0x20 && *at < 0x7f);
}

static const struct {
	const char *text, *logfmt, *json;
} log_rows[] = {
	{"plain", "value=plain", "\"value\":\"plain\""},
	{"", "value=\"\"", "\"value\":\"\""},
	{"two words", "value=\"two words\"", "\"value\":\"two words\""},
	{"a=b", "value=\"a=b\"", "\"value\":\"a=b\""},
	{"x\nts=1 level=error", "value=\"x\\u000ats=1 level=error\"",
		"\"value\":\"x\\u000ats=1 level=error\""},
	{"\"\\", "value=\"\\\"\\\\\"", "\"value\":\"\\\"\\\\\""},
	{"\x1b[2J\x7f", "value=\"\\u001b[2J\\u007f\"", "\"value\":\"\\u001b[2J\\u007f\""},
	{"\xc3\xbc", "value=\"\\u00fc\"", "\"value\":\"\\u00fc\""},
	{"\xc2\x9b", "value=\"\\u009b\"", "\"value\":\"\\u009b\""},
	{"\xe2\x80\xa8", "value=\"\\u2028\"", "\"value\":\"\\u2028\""},
	{"\xf0\x9f\x98\x80", "value=\"\\ud83d\\ude00\"", "\"value\":\"\\ud83d\\ude00\""},
	{"\xff\xc3", "value=\"\\xff\\xc3\"", "\"value\":\"\\ufffd\\ufffd\""},
};

START_TEST(log_lines)
{
	char out[8192];

	for (int json = 0; json < 2; json++) {
		log_open("test", LOG_LEVEL_INFO, json);
		for (unsigned i = 0; i < sizeof log_rows / sizeof *log_rows; i++) {
			capture(out, sizeof out, log_rows[i].text, INT64_MIN);
			const char *want = json ? log_rows[i].json : log_rows[i].logfmt;
			ck_assert_msg(strstr(out, want) != NULL, "%s lacks %s", out, want);
			ck_assert_ptr_nonnull(strstr(out, "-9223372036854775808"));
		}
		const char *start = json ? "{\"ts\":\"2" : "ts=2";
		ck_assert_int_eq(strncmp(out, start, strlen(start)), 0);
		ck_assert_ptr_nonnull(
			strstr(out, json ? "\"program\":\"test\"" : " program=test "));
		ck_assert_ptr_nonnull(
			strstr(out, json ? "\"event\":\"key proved\"" : " event=\"key proved\" "));
		ck_assert_ptr_nonnull(strstr(out, json ? "\"level\":\"info\"" : " level=info "));
	}
}
END_TEST

START_TEST(log_bounds)
{
	char out[8192], text[20000];
	int saved = dup(STDERR_FILENO);

	memset(text, '\n', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	log_open("test", LOG_LEVEL_INFO, false);
	capture(out, sizeof out, text, 5);
	ck_assert_uint_lt(strlen(out), 4096);
	ck_assert_ptr_nonnull(strstr(out, "...\" n=5\n"));
	for (int json = 0; json < 2; json++) {
		int ends[2];
		log_open("test", LOG_LEVEL_INFO, json);
		ck_assert_int_eq(pipe2(ends, O_NONBLOCK | O_DIRECT), 0);
		dup2(ends[1], STDERR_FILENO);
		LOG(LOG_LEVEL_ERROR, "e", LS("a", text), LS("b", text), LS("c", text),
			LS("d", text), LS("e", text), LN("n", 5));
		dup2(saved, STDERR_FILENO);
		ssize_t n = read(ends[0], out, sizeof out - 1);
		ck_assert(n > 3000 && n <= 4096);
		out[n] = '\0';
		const char *end = json ? "\",\"cut\":true}\n" : "\" cut=true\n";
		ck_assert_str_eq(out + n - strlen(end), end);
		close(ends[0]);
		close(ends[1]);
	}
	close(saved);
}
END_TEST

START_TEST(log_levels)
{
	enum log_level level;

	ck_assert(log_level_parse("warning", &level) && level == LOG_LEVEL_WARNING);
	ck_assert(log_level_parse("debug", &level) && level == LOG_LEVEL_DEBUG);
	ck_assert(!log_level_parse("warn", &level));
	ck_assert(!log_level_parse("", &level));
}
END_TEST

static void expect_hex(const uint8_t *octets, size_t len, const char *hex)
{
	char text[2 * DIGEST_MAX + 1];

	hex_encode(text, octets, len);
	ck_assert_str_eq(text, hex);
}

/* FIPS 180-2 appendices: "abc" */
START_TEST(digests)
{
	uint8_t out[DIGEST_MAX];
	const struct digest_part parts[] = {{"a", 1}, {"", 0}, {"bc", 2}};

	ck_assert_uint_eq(digest_compute(DIGEST_SHA256, "abc", 3, out), 32);
	expect_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	ck_assert_uint_eq(digest_compute(DIGEST_SHA384, "abc", 3, out), 48);
	expect_hex(out, 48,
		"cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed"
		"8086072ba1e7cc2358baeca134c825a7");
	ck_assert_uint_eq(digest_compute(DIGEST_SHA512, "abc", 3, out), 64);
	expect_hex(out, 8, "ddaf35a193617aba");
	sha256_parts(parts, 3, out);
	expect_hex(out, 32, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sha256("abc", 3, out);
	expect_hex(out, 4, "ba7816bf");
	ck_assert_uint_eq(digest_size(DIGEST_NONE), 0);
}
END_TEST

START_TEST(schemes)
{
	char text[64];

	for (unsigned i = 0; i < scheme_count(); i++) {
		const struct scheme *s = scheme_at(i);
		ck_assert_ptr_eq(scheme_by_code(s->code), s);
		ck_assert_ptr_eq(scheme_by_name(s->name), s);
		ck_assert_uint_eq(scheme_bit(s->code), 1U << i);
		ck_assert(i == 0 || scheme_at(i - 1)->code < s->code);
		/* RFC 9345 section 4: never rsae under a DC; nor PKCS#1 v1.5, nor SHA-1 at all */
		ck_assert(s->dc_key != (strncmp(s->name, "rsa_pss_rsae", 12) == 0));
		ck_assert_ptr_null(strstr(s->name, "sha1_"));
		ck_assert_ptr_null(strstr(s->name, "pkcs1"));
	}
	static const uint16_t never[] = {0x0201, 0x0203, 0x0401, 0x0501, 0x0601, 0x0a0a, 0xfafa, 0};
	for (unsigned i = 0; i < sizeof never / sizeof *never; i++) {
		ck_assert_ptr_null(scheme_by_code(never[i]));
		ck_assert_uint_eq(scheme_bit(never[i]), 0);
	}
	static const uint16_t signers[] = {
		0x0403, 0x0503, 0x0603, 0x0804, 0x0807, 0x0809, 0x080a, 0x080b};
	unsigned n = 0;
	for (unsigned i = 0; i < scheme_count(); i++)
		if (scheme_at(i)->signs)
			ck_assert_uint_eq(scheme_at(i)->code, signers[n++]);
	ck_assert_uint_eq(n, 8);
	ck_assert_uint_eq(scheme_default(KEY_EC_P384), SCHEME_ECDSA_P384);
	ck_assert_uint_eq(scheme_default(KEY_RSA_PSS), 0);
	ck_assert_uint_eq(scheme_default(KEY_RSA), 0);
	scheme_set_text(scheme_bit(0x0403) | scheme_bit(0x0807), text, sizeof text);
	ck_assert_str_eq(text, "ecdsa_secp256r1_sha256, ed25519");
	scheme_set_text(UINT32_MAX, text, 30);
	ck_assert_str_eq(text, "ecdsa_secp256r1_sha256");
	scheme_set_text(0, text, sizeof text);
	ck_assert_str_eq(text, "");
}
END_TEST

/* The definition of RFC 9162 section 2.1.1, by recursion. */
static void tree_hash(const uint8_t (*leaves)[SHA256_SIZE], size_t n, uint8_t out[SHA256_SIZE])
{
	uint8_t left[SHA256_SIZE], right[SHA256_SIZE];
	size_t k = 1;

	if (n == 1) {
		memcpy(out, leaves[0], SHA256_SIZE);
		return;
	}
	while (2 * k < n)
		k *= 2;
	tree_hash(leaves, k, left);
	tree_hash(leaves + k, n - k, right);
	merkle_node(left, right, out);
}

START_TEST(merkle)
{
	static uint8_t leaves[130][SHA256_SIZE];
	uint8_t want[SHA256_SIZE], got[SHA256_SIZE];
	struct merkle m;

	merkle_init(&m);
	merkle_root(&m, got);
	expect_hex(got, 32, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	merkle_leaf("", 0, got);
	expect_hex(got, 32, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
	for (unsigned i = 0; i < 130; i++) {
		merkle_leaf(&i, sizeof i, leaves[i]);
		merkle_append(&m, leaves[i]);
		merkle_root(&m, got);
		tree_hash((const uint8_t(*)[SHA256_SIZE])leaves, i + 1, want);
		ck_assert_mem_eq(got, want, SHA256_SIZE);
		ck_assert_uint_eq(m.size, i + 1);
	}
	ck_assert_uint_eq(merkle_edges(0), 0);
	ck_assert_uint_eq(merkle_edges(7), 3);
	ck_assert_uint_eq(merkle_edges(UINT64_MAX), MERKLE_LEVELS);
}
END_TEST

RUN_SUITE("basics", err_names, refusals, buffer_limits, buffer_texts, reading, reading_refuses,
	base64, hexadecimal, times, names, utf8, log_lines, log_bounds, log_levels, digests,
	schemes, merkle)
