#include "pem.h"

#include <string.h>

#define PEM_LINE 64

bool pem_begins(const char *text, size_t len)
{
	static const char begin[] = "-----BEGIN ";

	return len >= sizeof(begin) - 1 && memcmp(text, begin, sizeof(begin) - 1) == 0;
}

/* Steps over an exact text. */
static bool skip(const char **at, size_t *left, const char *expected)
{
	size_t n = strlen(expected);

	if (*left < n || memcmp(*at, expected, n) != 0)
		return false;
	*at += n;
	*left -= n;
	return true;
}

static bool skip_border(const char **at, size_t *left, const char *word, const char *label)
{
	return skip(at, left, "-----") && skip(at, left, word) && skip(at, left, " ") &&
	       skip(at, left, label) && skip(at, left, "-----");
}

enum err pem_decode(struct buf *out, const char *label, const char *text, size_t len)
{
	struct buf base64 = BUF_INIT(len);
	const char *end;
	size_t line;
	bool last = false;
	enum err err = ERR_FORMAT;

	if (!skip_border(&text, &len, "BEGIN", label) || !skip(&text, &len, "\n"))
		return ERR_FORMAT;
	while (len > 0 && *text != '-') {
		end = memchr(text, '\n', len);
		line = end != NULL ? (size_t)(end - text) : 0;
		if (last || line == 0 || line > PEM_LINE)
			goto out;
		last = line < PEM_LINE;
		buf_put(&base64, text, line);
		text += line + 1;
		len -= line + 1;
	}
	if (!skip_border(&text, &len, "END", label))
		goto out;
	(void)skip(&text, &len, "\n");
	if (len != 0 || base64.len == 0)
		goto out;
	err = base64.err;
	if (err == ERR_OK)
		err = base64_decode(out, (const char *)base64.octets, base64.len);
out:
	buf_free(&base64);
	return err;
}

void pem_encode(struct buf *out, const char *label, const uint8_t *octets, size_t len)
{
	size_t n;

	buf_printf(out, "-----BEGIN %s-----\n", label);
	for (; len > 0; octets += n, len -= n) {
		n = len < PEM_LINE / 4 * 3 ? len : PEM_LINE / 4 * 3;
		buf_base64(out, octets, n);
		buf_text(out, "\n");
	}
	buf_printf(out, "-----END %s-----\n", label);
}
