#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pem.h"
#include "run_suite.h"

static uint8_t octets[200];

static char *encoded(size_t len)
{
	struct buf out = BUF_INIT(4096);

	for (size_t i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)(i * 7);
	pem_encode(&out, "PUBLIC KEY", octets, len);
	ck_assert_ptr_nonnull(buf_cstr(&out));
	return (char *)out.octets;
}

static enum err decode(const char *text, struct buf *out)
{
	buf_reset(out);
	return pem_decode(out, "PUBLIC KEY", text, strlen(text));
}

START_TEST(round_trip)
{
	struct buf out = BUF_INIT(4096);

	for (size_t len = 1; len <= sizeof octets; len++) {
		char *text = encoded(len);

		ck_assert_int_eq(decode(text, &out), ERR_OK);
		ck_assert_uint_eq(out.len, len);
		ck_assert_mem_eq(out.octets, octets, len);
		text[strlen(text) - 1] = '\0'; /* the last LF may be missing */
		ck_assert_int_eq(decode(text, &out), ERR_OK);
		free(text);
	}
	buf_free(&out);
}
END_TEST

/* Any octet that is changed, taken out or doubled makes another text, which must not mean the same.
 */
START_TEST(one_spelling)
{
	struct buf out = BUF_INIT(4096);
	char *text = encoded(100), *copy = malloc(1000);
	size_t len = strlen(text);

	for (size_t i = 0; i < len; i++) {
		static const char others[] = " \n\r\t-=A+/.";

		for (const char *o = others; *o != '\0'; o++) {
			strcpy(copy, text);
			copy[i] = *o;
			if (*o != text[i] && decode(copy, &out) == ERR_OK)
				ck_assert(out.len != 100 || memcmp(out.octets, octets, 100) != 0);
			snprintf(copy, 1000, "%.*s%c%s", (int)i, text, *o, text + i);
			if (decode(copy, &out) == ERR_OK)
				ck_assert(out.len != 100 || memcmp(out.octets, octets, 100) != 0);
		}
		if (i + 1 == len)
			break;
		snprintf(copy, 1000, "%.*s%s", (int)i, text, text + i + 1);
		ck_assert_int_ne(decode(copy, &out), ERR_OK);
	}
	free(copy);
	free(text);
	buf_free(&out);
}
END_TEST

START_TEST(refused)
{
	static const char *const texts[] = {"", "-----BEGIN PUBLIC KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\n\nAAAA\n-----END PUBLIC KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\r\nAAAA\r\n-----END PUBLIC KEY-----\r\n",
		"-----BEGIN PUBLIC KEY-----\nAAAA\nAAAA\n-----END PUBLIC KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n\n",
		"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
		"-----BEGIN PUBLIC KEY-----\nAAAA-----END PUBLIC KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\nAAA\n-----END PUBLIC KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\nAAB=\n-----END PUBLIC KEY-----\n",
		"x-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
		"-----BEGIN PUBLIC KEY-----\nProc-Type: 4\n\nAAAA\n-----END PUBLIC KEY-----\n"};
	struct buf out = BUF_INIT(4096);

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		ck_assert_msg(decode(texts[i], &out) == ERR_FORMAT, "text %zu", i);
	ck_assert_int_eq(
		decode("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", &out),
		ERR_OK);
	buf_free(&out);
}
END_TEST

RUN_SUITE("pem", round_trip, one_spelling, refused)
