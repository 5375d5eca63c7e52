#include <string.h>

#include "framing.h"
#include "run_suite.h"

/* Fields "A: b\nC: d\n", then the end. */
static enum err read_fields(struct framing *f, struct header *header, char *text,
	const char *method, const char *version)
{
	char *line;

	framing_init(f, header);
	while ((line = strsep(&text, "\n")) != NULL && *line != '\0') {
		char *value = strchr(line, ':');

		*value = '\0';
		value += 2;
		framing_field(f, line, strlen(line), value, strlen(value));
	}
	return framing_end(f, method, version);
}

static const struct {
	const char *fields;
	enum err err;
} heads[] = {
	{"Host: x\n", ERR_OK},
	{"host: x\ncontent-length: 196608\n", ERR_OK},
	{"Host: x\nExpect: 100-Continue\n", ERR_OK},
	{"", ERR_MALFORMED},
	{"Host: x\nHost: x\n", ERR_MALFORMED},
	{"Host: x\nTransfer-Encoding: chunked\n", ERR_MALFORMED},
	{"Host: x\ntransfer-encoding: identity\nContent-Length: 3\n", ERR_MALFORMED},
	{"Host: x\nContent-Length: 3\nContent-Length: 3\n", ERR_MALFORMED},
	{"Host: x\nContent-Length: +3\n", ERR_MALFORMED},
	{"Host: x\nContent-Length: 3, 3\n", ERR_MALFORMED},
	{"Host: x\nContent-Length: \n", ERR_MALFORMED},
	{"Host: x\nContent-Length: 99999999999999999999\n", ERR_MALFORMED},
	{"Host: x\nContent-Length: 196609\n", ERR_TOO_LARGE},
	{"Host: x\nContent-Length: 999999999999999999\n", ERR_TOO_LARGE},
	{"Host: x\nExpect: tea\n", ERR_EXPECTATION},
	{"Host: x\nAccept: a\nACCEPT: a\n", ERR_MALFORMED},
	{"Host: x\nIdempotency-Key: a\nidempotency-key: a\n", ERR_MALFORMED},
	{"Host: x\nX Y: a\n", ERR_MALFORMED},
	{"Host: x\nX: a\x01\n", ERR_MALFORMED},
	{"Host: x\nX: a\x7f\n", ERR_MALFORMED},
	{"Host: x\nX: a\tb \xc3\xbc\n", ERR_OK},
};

START_TEST(forms)
{
	struct framing f;
	struct header header;
	char text[256];

	for (size_t i = 0; i < sizeof heads / sizeof heads[0]; i++) {
		strcpy(text, heads[i].fields);
		enum err err = read_fields(&f, &header, text, "POST", "HTTP/1.1");

		ck_assert_msg(err == heads[i].err, "%s: %s", heads[i].fields, err_name(err));
		ck_assert(err == ERR_OK || f.refusal.detail[0] != '\0');
	}
}
END_TEST

START_TEST(lines)
{
	struct framing f;
	struct header header;
	char text[64];

	strcpy(text, "Host: x\nContent-Length: 1\n");
	ck_assert_int_eq(read_fields(&f, &header, text, "GET", "HTTP/1.1"), ERR_MALFORMED);
	strcpy(text, "Host: x\nContent-Length: 0\n");
	ck_assert_int_eq(read_fields(&f, &header, text, "GET", "HTTP/1.0"), ERR_OK);
	strcpy(text, "Host: x\n");
	ck_assert_int_eq(read_fields(&f, &header, text, "GET", "HTTP/2.0"), ERR_MALFORMED);
	strcpy(text, "Host: x\n");
	ck_assert_int_eq(read_fields(&f, &header, text, "GET", ""), ERR_MALFORMED);
}
END_TEST

START_TEST(known_fields)
{
	struct framing f;
	struct header header;
	char text[256] = "HOST: x\nCONTENT-TYPE: a\ncontent-encoding: b\naccept: c\n"
			 "Idempotency-key: d\nif-none-match: e\nX: f\n";

	ck_assert_int_eq(read_fields(&f, &header, text, "POST", "HTTP/1.1"), ERR_OK);
	ck_assert_str_eq(header.content_type, "a");
	ck_assert_str_eq(header.content_encoding, "b");
	ck_assert_str_eq(header.accept, "c");
	ck_assert_str_eq(header.idempotency_key, "d");
	ck_assert_str_eq(header.if_none_match, "e");
}
END_TEST

START_TEST(many_fields)
{
	struct framing f;
	struct header header;

	for (unsigned n = FRAMING_FIELDS_MAX - 1; n <= FRAMING_FIELDS_MAX; n++) {
		framing_init(&f, &header);
		framing_field(&f, "Host", 4, "x", 1);
		for (unsigned i = 0; i < n; i++)
			framing_field(&f, "X", 1, "y", 1);
		ck_assert_int_eq(framing_end(&f, "GET", "HTTP/1.1"),
			n == FRAMING_FIELDS_MAX ? ERR_HEADERS : ERR_OK);
	}
	framing_init(&f, &header);
	framing_field(&f, "Host", 4, "x", 1);
	framing_field(&f, "X", 1, "a\0b", 3);
	ck_assert_int_eq(framing_end(&f, "GET", "HTTP/1.1"), ERR_MALFORMED);
}
END_TEST

RUN_SUITE("framing", forms, lines, known_fields, many_fields)
