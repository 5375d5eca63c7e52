#include <stdlib.h>
#include <string.h>

#include "run_suite.h"
#include "sieve.h"

#define GET "GET / HTTP/1.1\r\n"

/* Octets with their length: some have a NUL inside. */
#define OCTETS(text) text, sizeof(text) - 1

static const struct {
	const char *octets;
	size_t len;
	enum err err; /* ERR_OK: passes as it is */
} streams[] = {
	{OCTETS(GET "Host: x\r\n\r\n"), ERR_OK},
	{OCTETS("get /%00//../;a\\b?c=d#e HTTP/1.0\r\nhost:x\r\nX:\t a b \xc3\xbc "
		"\t\r\nY:\r\n\r\n"),
		ERR_OK},
	{OCTETS("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\na\nb\0\r" GET
		"Host: x\r\n\r\n"),
		ERR_OK},
	{OCTETS("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n" GET "Host: x\r\n\r\n"),
		ERR_OK},
	{OCTETS("GET / HTTP/1.1\nHost: x\n\n"), ERR_MALFORMED},
	{OCTETS(GET "Host: x\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET "Host: x\r\n\n"), ERR_MALFORMED},
	{OCTETS(GET "Host: x\r\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET "Host: x\rX-A: y\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("\r\n" GET "Host: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET "Host: x\r\nX-A: a\r\n b\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET "Host: x\r\nX-A: a\r\n\tb\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET " Host: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET "Host : x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET "Host\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET ": x\r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET "Host: x\r\nX-A: a\0b\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET "Host: x\r\nX\0A: b\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET "Host: x\r\nX-A: a\x0b\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET "Host: x\r\nX-A: a\x7f\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("GET  / HTTP/1.1\r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("GET /  HTTP/1.1\r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(" GET / HTTP/1.1\r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("G(T / HTTP/1.1\r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("GET /\xc3\xbc HTTP/1.1\r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("GET / HTTP/1.1 \r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("GET / http/1.1\r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("GET /\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("GET\r\n\r\n"), ERR_MALFORMED},
	{OCTETS("GET / HTTP/0.9\r\nHost: x\r\n\r\n"), ERR_VERSION},
	{OCTETS("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ERR_VERSION},
	{OCTETS("GET / HTTP/1.10\r\nHost: x\r\n\r\n"), ERR_MALFORMED},
	{OCTETS(GET "\r\n"), ERR_MALFORMED},
	{OCTETS(GET "Host: x\r\nContent-Length: 5\r\n\r\nabcde"), ERR_MALFORMED},
	{OCTETS("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: "
		"chunked\r\n\r\nabcde"),
		ERR_MALFORMED},
	{OCTETS("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999\r\n\r\n"), ERR_TOO_LARGE},
	{OCTETS("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab" GET "Host : x\r\n\r\n"),
		ERR_MALFORMED},
};

/* Puts a stream in by pieces of `step` octets (0: all at once), takes what passes by pieces of
 * `bite`; the caller frees it. */
static char *through(
	struct sieve *g, const char *octets, size_t len, size_t step, size_t bite, size_t *passed)
{
	char *out = calloc(1, len + 128);

	sieve_init(g);
	*passed = 0;
	for (size_t at = 0, n; at < len; at += n) {
		n = step == 0 || step > len - at ? len - at : step;
		ck_assert_int_eq(sieve_put(g, (const uint8_t *)octets + at, n), ERR_OK);
		while (sieve_ready(g) > 0) {
			ck_assert_uint_lt(*passed, len + 64);
			*passed += sieve_take(g, out + *passed, bite);
		}
	}
	return out;
}

static void check_stream(size_t i, size_t step, size_t bite)
{
	static const char stand_in[] = SIEVE_STAND_IN;
	size_t len, ours = sizeof stand_in - 1;
	struct sieve g;
	char *out = through(&g, streams[i].octets, streams[i].len, step, bite, &len);

	ck_assert_msg(g.refusal.err == streams[i].err, "%zu by %zu: %s, not %s", i, step,
		err_name(g.refusal.err), err_name(streams[i].err));
	if (streams[i].err == ERR_OK) {
		ck_assert_uint_eq(len, streams[i].len);
		ck_assert_int_eq(memcmp(out, streams[i].octets, len), 0);
		ck_assert(!sieve_begun(&g));
	} else {
		ck_assert(g.refusal.detail[0] != '\0');
		ck_assert_uint_ge(len, ours);
		ck_assert_int_eq(memcmp(out + len - ours, stand_in, ours), 0);
		/* what stood before the refused head has passed as it was, and nothing after it */
		ck_assert_int_eq(memcmp(out, streams[i].octets, len - ours), 0);
		ck_assert_int_eq(sieve_put(&g, (const uint8_t *)GET "Host: x\r\n\r\n", 27), ERR_OK);
		ck_assert_uint_eq(sieve_ready(&g), 0);
	}
	free(out);
	sieve_free(&g);
}

/* However the octets are cut into records, the verdict and what passes are the same. */
START_TEST(forms)
{
	for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++)
		for (size_t step = 0; step < 40; step++) {
			check_stream(i, step, 4096);
			check_stream(i, step, 1);
		}
}
END_TEST

/* A head of GET, fields and `fill` octets in one field. */
static enum err sized(const char *before, size_t fill, const char *after)
{
	size_t len = strlen(before) + fill + strlen(after), passed;
	char *text = calloc(1, len + 1);
	struct sieve g;
	enum err err;

	strcpy(text, before);
	memset(text + strlen(before), 'y', fill);
	strcpy(text + strlen(before) + fill, after);
	free(through(&g, text, len, 4000, 65536, &passed));
	err = g.refusal.err;
	ck_assert(err != ERR_OK || passed == len);
	ck_assert_uint_le(g.len, 2 * FRAMING_HEADER_MAX);
	sieve_free(&g);
	free(text);
	return err;
}

START_TEST(sizes)
{
	static const char before[] = GET "Host: x\r\nX: ", after[] = "\r\n\r\n";
	static const char rest[] = " HTTP/1.1\r\nHost: x\r\n\r\n";
	size_t room = FRAMING_HEADER_MAX - strlen(before) - strlen(after);
	size_t line = SIEVE_LINE_MAX - strlen("GET / HTTP/1.1\r\n");

	ck_assert_int_eq(sized(before, room, after), ERR_OK);
	ck_assert_int_eq(sized(before, room + 1, after), ERR_HEADERS);
	ck_assert_int_eq(sized(before, 1000000, ""), ERR_HEADERS); /* no end in sight */
	ck_assert_int_eq(sized("GET /", line, rest), ERR_OK);
	ck_assert_int_eq(sized("GET /", line + 1, rest), ERR_TARGET);
	ck_assert_int_eq(sized("GET /", 1000000, ""), ERR_TARGET);
	ck_assert_int_eq(sized("", 1000000, ""), ERR_TARGET);
}
END_TEST

/* Of a head that is not complete nothing passes; it is known to have begun. */
START_TEST(begun)
{
	static const char head[] = GET "Host: x\r\nContent-Length: 2\r\n\r\n";
	struct sieve g;

	sieve_init(&g);
	ck_assert(!sieve_begun(&g));
	for (size_t i = 0; i + 1 < sizeof head; i++) {
		ck_assert_uint_eq(sieve_ready(&g), 0);
		ck_assert_uint_eq(g.heads, 0);
		ck_assert(i == 0 || sieve_begun(&g));
		ck_assert_int_eq(sieve_put(&g, (const uint8_t *)head + i, 1), ERR_OK);
	}
	/* a GET has no body */
	ck_assert_int_eq(g.refusal.err, ERR_MALFORMED);
	ck_assert_uint_eq(g.heads, 1);
	sieve_free(&g);
}
END_TEST

/* Octets changed at random: never two verdicts for two ways to cut them, and what passes is the
 * begin of what came, with or without the stand-in. */
START_TEST(mutations)
{
	static const char marks[] = "\r\n \t:\0,;/\x7f\x80"
				    "0aH";
	uint32_t seed = 7;

	for (size_t round = 0; round < 30000; round++) {
		size_t i = round % (sizeof streams / sizeof streams[0]), len = streams[i].len, n, m;
		char *text = malloc(len), *one, *other;
		struct sieve g, h;

		memcpy(text, streams[i].octets, len);
		for (int change = 0; change < 2; change++) {
			seed = seed * 1664525u + 1013904223u;
			text[(seed >> 8) % len] = marks[(seed >> 4) % (sizeof marks - 1)];
		}
		one = through(&g, text, len, 0, 65536, &n);
		other = through(&h, text, len, 1 + seed % 7, 1 + seed % 50, &m);
		ck_assert_int_eq(g.refusal.err, h.refusal.err);
		ck_assert_uint_eq(n, m);
		ck_assert_int_eq(memcmp(one, other, n), 0);
		ck_assert_uint_eq(g.heads, h.heads);
		if (g.refusal.err == ERR_OK)
			ck_assert_int_eq(memcmp(one, text, n), 0);
		sieve_free(&g);
		sieve_free(&h);
		free(one);
		free(other);
		free(text);
	}
}
END_TEST

RUN_SUITE("sieve", forms, sizes, begun, mutations)
