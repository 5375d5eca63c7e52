/* The delegated credential's octets: RFC 9345 section 4. */
#include <string.h>

#include "dc.h"
#include "run_suite.h"

static uint8_t spki[70000], signature[70000], cert[70000];

static struct dc sample(size_t spki_len, size_t signature_len)
{
	return (struct dc){
		.valid_time = 0x01020304,
		.scheme = SCHEME_ECDSA_P256,
		.spki = spki,
		.spki_len = spki_len,
		.algorithm = SCHEME_ECDSA_P384,
		.signature = signature,
		.signature_len = signature_len,
	};
}

START_TEST(layout)
{
	struct dc dc = sample(2, 3), again;
	struct buf b = BUF_INIT(DC_MAX);

	memcpy(spki, "ab", 2);
	memcpy(signature, "xyz", 3);
	ck_assert_int_eq(dc_build(&b, &dc), ERR_OK);
	ck_assert_uint_eq(b.len, 18);
	ck_assert_mem_eq(b.octets, "\1\2\3\4\x04\x03\0\0\2ab\x05\x03\0\3xyz", 18);
	ck_assert_int_eq(dc_parse(&again, b.octets, b.len), ERR_OK);
	ck_assert_uint_eq(again.valid_time, 0x01020304);
	ck_assert_uint_eq(again.scheme, 0x0403);
	ck_assert_uint_eq(again.algorithm, 0x0503);
	ck_assert_mem_eq(again.spki, "ab", 2);
	ck_assert_mem_eq(again.signature, "xyz", 3);
	buf_free(&b);
}
END_TEST

START_TEST(sizes)
{
	const size_t all = DC_MAX - 13;
	static const struct {
		size_t spki, signature;
		enum err e;
	} rows[] = {
		{1, 1, ERR_OK},
		{0, 1, ERR_LENGTH},
		{1, 0, ERR_LENGTH},
		{DC_MAX - 14, 1, ERR_OK},
		{DC_MAX - 13, 1, ERR_LENGTH},
		{1, DC_MAX - 14, ERR_OK},
		{1, DC_MAX - 13, ERR_LENGTH},
		{1, 65535, ERR_LENGTH},
		{SIZE_MAX, 1, ERR_LENGTH},
		{1, SIZE_MAX, ERR_LENGTH},
		{SIZE_MAX - 5, 100, ERR_LENGTH},
		{30000, 35518, ERR_OK},
		{30000, 35519, ERR_LENGTH},
	};
	struct dc again;

	ck_assert_uint_eq(all, 30000 + 35518);
	for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
		struct dc dc = sample(rows[i].spki, rows[i].signature);
		struct buf b = BUF_INIT(1 << 20);
		ck_assert_msg(dc_build(&b, &dc) == rows[i].e, "row %u", i);
		if (rows[i].e == ERR_OK)
			ck_assert_int_eq(dc_parse(&again, b.octets, b.len), ERR_OK);
		else
			ck_assert_uint_eq(b.len, 0);
		buf_free(&b);
	}
}
END_TEST

START_TEST(malformed)
{
	struct dc dc = sample(DC_MAX - 14, 1), out;
	struct buf b = BUF_INIT(1 << 20);

	ck_assert_int_eq(dc_build(&b, &dc), ERR_OK);
	ck_assert_uint_eq(b.len, DC_MAX);
	ck_assert_int_eq(dc_parse(&out, b.octets, b.len), ERR_OK);
	buf_u8(&b, 0);
	ck_assert_int_eq(dc_parse(&out, b.octets, b.len), ERR_LENGTH);
	for (size_t len = 0; len < DC_MAX; len += len < 40 ? 1 : 997)
		ck_assert_int_eq(dc_parse(&out, b.octets, len), ERR_TRUNCATED);
	buf_free(&b);
}
END_TEST

static const char *const contexts[] = {
	"TLS, server delegated credentials", "TLS, client delegated credentials"};

START_TEST(signed_octets)
{
	struct dc dc = sample(2, 0);

	memcpy(spki, "ab", 2);
	memcpy(cert, "CERT", 4);
	for (unsigned role = 0; role < 2; role++) {
		struct buf b = BUF_INIT(DC_TBS_MAX);
		ck_assert_int_eq(dc_build_tbs(&b, (enum dc_role)role, cert, 4, &dc), ERR_OK);
		ck_assert_uint_eq(b.len, DC_TBS_PREFIX + 4 + 13);
		for (unsigned i = 0; i < 64; i++)
			ck_assert_uint_eq(b.octets[i], 0x20);
		ck_assert_mem_eq(b.octets + 64, contexts[role], 34);
		ck_assert_mem_eq(b.octets + 98, "CERT\1\2\3\4\x04\x03\0\0\2ab\x05\x03", 17);
		buf_free(&b);
	}
	struct buf b = BUF_INIT(DC_TBS_MAX);
	ck_assert_int_eq(dc_build_tbs(&b, (enum dc_role)2, cert, 4, &dc), ERR_INTERNAL);
	ck_assert_int_eq(dc_build_tbs(&b, DC_SERVER, cert, 0, &dc), ERR_LENGTH);
	ck_assert_int_eq(dc_build_tbs(&b, DC_SERVER, cert, 65537, &dc), ERR_LENGTH);
	dc.spki_len = 0;
	ck_assert_int_eq(dc_build_tbs(&b, DC_SERVER, cert, 4, &dc), ERR_LENGTH);
	ck_assert_uint_eq(b.len, 0);
	dc.spki_len = 2;
	b.max = 50;
	ck_assert_int_eq(dc_build_tbs(&b, DC_SERVER, cert, 4, &dc), ERR_NO_ROOM);
	buf_free(&b);
}
END_TEST

/* Every changed, missing or added octet is seen. */
START_TEST(parse_back)
{
	struct dc dc = sample(91, 0), again;
	struct buf b = BUF_INIT(DC_TBS_MAX);
	enum dc_role role;

	memset(cert, 0x41, 300);
	ck_assert_int_eq(dc_build_tbs(&b, DC_CLIENT, cert, 300, &dc), ERR_OK);
	ck_assert_int_eq(dc_parse_tbs(&again, &role, b.octets, b.len, cert, 300), ERR_OK);
	ck_assert_int_eq(role, DC_CLIENT);
	ck_assert_uint_eq(again.spki_len, 91);
	ck_assert_ptr_null(again.signature);
	for (size_t len = 0; len < b.len; len++)
		ck_assert_int_ne(dc_parse_tbs(&again, &role, b.octets, len, cert, 300), ERR_OK);
	for (size_t i = 0; i < 98 + 300; i++) {
		b.octets[i] ^= 1;
		ck_assert_int_eq(
			dc_parse_tbs(&again, &role, b.octets, b.len, cert, 300), ERR_FORMAT);
		b.octets[i] ^= 1;
	}
	ck_assert_int_ne(dc_parse_tbs(&again, &role, b.octets, b.len, cert, 299), ERR_OK);
	ck_assert_int_ne(dc_parse_tbs(&again, &role, b.octets, b.len, cert, 301), ERR_OK);
	ck_assert_int_ne(dc_parse_tbs(&again, &role, b.octets, b.len, cert, 0), ERR_OK);
	buf_u8(&b, 0);
	ck_assert_int_eq(dc_parse_tbs(&again, &role, b.octets, b.len, cert, 300), ERR_TRAILING);
	buf_free(&b);
}
END_TEST

static uint32_t seed = 1;

static uint32_t any(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/*
 * No octets that a delegation key signs here are what a TLS 1.3 CertificateVerify (RFC 8446 section
 * 4.4.3) of either side signs: whatever the certificate and the fields, the context differs.
 */
START_TEST(never_certificate_verify)
{
	static const char *const tls[] = {
		"TLS 1.3, server CertificateVerify", "TLS 1.3, client CertificateVerify"};
	struct dc dc;

	ck_assert_uint_eq(strlen(tls[0]), strlen(contexts[0]));
	for (unsigned round = 0; round < 2000; round++) {
		struct buf b = BUF_INIT(DC_TBS_MAX);
		size_t cert_len = 1 + any() % 200, spki_len = 1 + any() % 100;
		for (size_t i = 0; i < cert_len; i++)
			cert[i] = (uint8_t)any();
		memset(spki, (int)any(), spki_len);
		dc = sample(spki_len, 0);
		dc.valid_time = any() << 8 | any();
		dc.scheme = (uint16_t)any();
		ck_assert_int_eq(
			dc_build_tbs(&b, (enum dc_role)(round % 2), cert, cert_len, &dc), ERR_OK);
		for (unsigned i = 0; i < 2; i++)
			ck_assert_int_ne(memcmp(b.octets + 64, tls[i], 34), 0);
		buf_free(&b);
	}
}
END_TEST

START_TEST(times)
{
	struct dc dc = {.valid_time = UINT32_MAX};

	ck_assert_int_eq(dc_expiry(&dc, 0), UINT32_MAX);
	ck_assert_int_eq(dc_expiry(&dc, -1000), (int64_t)UINT32_MAX - 1000);
	ck_assert_int_eq(dc_expiry(&dc, INT64_MAX), INT64_MAX);
	ck_assert_int_eq(dc_window_opens(1000, 1000 + 604799), 1000);
	ck_assert_int_eq(dc_window_opens(1000, 1000 + 604800), 1000);
	ck_assert_int_eq(dc_window_opens(1000, 1000 + 604801), 1001);
	ck_assert_int_eq(dc_window_opens(INT64_MIN, INT64_MIN + 1), INT64_MIN);
}
END_TEST

START_TEST(roles)
{
	enum dc_role role;

	ck_assert(dc_role_parse("server", &role) && role == DC_SERVER);
	ck_assert(dc_role_parse("client", &role) && role == DC_CLIENT);
	ck_assert(!dc_role_parse("Server", &role));
	ck_assert(!dc_role_parse("", &role));
	ck_assert_str_eq(dc_role_name(DC_CLIENT), "client");
	ck_assert_str_eq(dc_role_name((enum dc_role)7), "unknown");
}
END_TEST

RUN_SUITE("dc", layout, sizes, malformed, signed_octets, parse_back, never_certificate_verify,
	times, roles)
