#include "framing.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

static void bad(struct framing *f, enum err err, const char *field, const char *detail)
{
	if (f->refusal.err == ERR_OK)
		(void)refuse(&f->refusal, err, field, "%s", detail);
}

void framing_init(struct framing *f, struct header *header)
{
	memset(f, 0, sizeof(*f));
	memset(header, 0, sizeof(*header));
	f->header = header;
}

bool framing_is_token(const char *text, size_t len)
{
	static const char marks[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
			    (c != '\0' && strchr(marks, c) != NULL)))
			return false;
	}
	return len > 0;
}

static bool is_value(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (((unsigned char)text[i] < 0x20 && text[i] != '\t') || text[i] == 0x7f)
			return false;
	return true;
}

static void take_length(struct framing *f, const char *value, size_t len)
{
	uint64_t length = 0;

	if (f->lengths++ > 0) {
		bad(f, ERR_MALFORMED, "Content-Length", "more than one Content-Length");
		return;
	}
	if (len == 0 || len > 18) {
		bad(f, ERR_MALFORMED, "Content-Length", "not a length in decimal digits");
		return;
	}
	for (size_t i = 0; i < len; i++) {
		if (value[i] < '0' || value[i] > '9') {
			bad(f, ERR_MALFORMED, "Content-Length", "not a length in decimal digits");
			return;
		}
		length = length * 10 + (uint64_t)(value[i] - '0');
	}
	f->length = length;
}

static const struct {
	const char *name;
	size_t offset; /* in struct header */
} fields[] = {
	{"Content-Type", offsetof(struct header, content_type)},
	{"Content-Encoding", offsetof(struct header, content_encoding)},
	{"Accept", offsetof(struct header, accept)},
	{"Idempotency-Key", offsetof(struct header, idempotency_key)},
	{"If-None-Match", offsetof(struct header, if_none_match)},
};

static void take_known(struct framing *f, const char *name, const char *value)
{
	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		const char **slot = (const char **)(void *)((char *)f->header + fields[i].offset);

		if (strcasecmp(name, fields[i].name) != 0)
			continue;
		if (*slot != NULL)
			bad(f, ERR_MALFORMED, fields[i].name, "this field stands twice");
		*slot = value;
	}
}

void framing_field(
	struct framing *f, const char *name, size_t name_len, const char *value, size_t value_len)
{
	if (value == NULL) {
		value = "";
		value_len = 0;
	}
	if (++f->fields > FRAMING_FIELDS_MAX)
		bad(f, ERR_HEADERS, "", "at most 64 header fields are taken");
	if (!framing_is_token(name, name_len) || !is_value(value, value_len))
		bad(f, ERR_MALFORMED, "", "a header field has characters that it can't have");
	else if (strcasecmp(name, "Transfer-Encoding") == 0)
		bad(f, ERR_MALFORMED, "Transfer-Encoding",
			"transfer codings are not taken: send Content-Length");
	else if (strcasecmp(name, "Content-Length") == 0)
		take_length(f, value, value_len);
	else if (strcasecmp(name, "Host") == 0)
		f->hosts++;
	else if (strcasecmp(name, "Expect") == 0)
		f->expect = value;
	else
		take_known(f, name, value);
}

enum err framing_end(struct framing *f, const char *method, const char *version)
{
	if (strcmp(version, "HTTP/1.1") != 0 && strcmp(version, "HTTP/1.0") != 0)
		bad(f, ERR_MALFORMED, "", "the protocol must be HTTP/1.1");
	if (f->hosts != 1)
		bad(f, ERR_MALFORMED, "Host", "exactly one Host is needed");
	if (f->expect != NULL && strcasecmp(f->expect, "100-continue") != 0)
		bad(f, ERR_EXPECTATION, "Expect", "only 100-continue can be met");
	if (f->length > 0 && strcmp(method, "GET") == 0)
		bad(f, ERR_MALFORMED, "Content-Length", "a GET has no body");
	if (f->length > BATCH_MAX)
		bad(f, ERR_TOO_LARGE, "",
			"at most 196608 octets are taken, and of most requests 16384");
	return f->refusal.err;
}
