#include "buf.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* Four characters with `pad` of them '='. */
static bool base64_group(const char *in, unsigned pad, uint32_t *v)
{
	*v = 0;
	for (unsigned i = 0; i < 4 - pad; i++) {
		int digit = base64_value(in[i]);
		if (digit < 0)
			return false;
		*v |= (uint32_t)digit << (18 - 6 * i);
	}
	/* the bits that no octet takes must be zero, or one value would have several forms */
	return (*v & ((1U << (8 * pad)) - 1)) == 0;
}

enum err base64_decode(struct buf *out, const char *text, size_t len)
{
	if (len % 4 != 0)
		return ERR_FORMAT;
	for (size_t i = 0; i < len; i += 4) {
		bool last = i + 4 == len;
		unsigned pad = last && text[i + 3] == '=' ? (text[i + 2] == '=' ? 2 : 1) : 0;
		uint32_t v;
		if (!base64_group(text + i, pad, &v))
			return ERR_FORMAT;
		uint8_t octets[3] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
		buf_put(out, octets, 3 - pad);
	}
	return out->err;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

bool hex_decode(uint8_t *out, size_t len, const char *text)
{
	for (size_t i = 0; i < len; i++) {
		int high = hex_value(text[2 * i]);
		int low = high < 0 ? -1 : hex_value(text[2 * i + 1]);
		if (low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return text[2 * len] == '\0';
}

void hex_encode(char *text, const uint8_t *octets, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		text[2 * i] = digits[octets[i] >> 4];
		text[2 * i + 1] = digits[octets[i] & 15];
	}
	text[2 * len] = '\0';
}

void time_text(char text[21], int64_t t)
{
	const int64_t end_of_9999 = INT64_C(253402300799);
	struct tm tm;
	time_t seconds = (time_t)t;

	if (t < 0 || t > end_of_9999 || gmtime_r(&seconds, &tm) == NULL ||
		strftime(text, 21, "%Y-%m-%dT%H:%M:%SZ", &tm) != 20)
		memcpy(text, "out-of-range", sizeof "out-of-range");
}

static int digits_value(const char *text, unsigned n)
{
	int v = 0;

	for (unsigned i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return -1;
		v = 10 * v + (text[i] - '0');
	}
	return v;
}

bool time_parse(const char *text, int64_t *t)
{
	char again[21];

	if (strnlen(text, 21) != 20)
		return false;
	struct tm tm = {
		.tm_year = digits_value(text, 4) - 1900,
		.tm_mon = digits_value(text + 5, 2) - 1,
		.tm_mday = digits_value(text + 8, 2),
		.tm_hour = digits_value(text + 11, 2),
		.tm_min = digits_value(text + 14, 2),
		.tm_sec = digits_value(text + 17, 2),
	};
	int64_t value = timegm(&tm);
	/* timegm turns 30 February into 1 March: what does not read back was no time */
	time_text(again, value);
	if (strcmp(again, text) != 0)
		return false;
	*t = value;
	return true;
}

bool name_valid(const char *s)
{
	size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-");

	return s[len] == '\0' && len > 0 && len < NAME_SIZE;
}

/* Octets of the sequence that starts here, 0 when it is none (RFC 3629 section 4). */
static size_t utf8_sequence(const uint8_t *s, size_t left)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return s[0] == 0 ? 0 : 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	n = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xe0)
		low = 0xa0;
	else if (s[0] == 0xed)
		high = 0x9f;
	else if (s[0] == 0xf0)
		low = 0x90;
	else if (s[0] == 0xf4)
		high = 0x8f;
	if (left < n || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* Eight octets of ASCII, none of them NUL? */
static bool ascii_8(const uint8_t *s)
{
	const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
	uint64_t v;

	memcpy(&v, s, sizeof(v));
	return ((v | (v - ones)) & high) == 0;
}

bool utf8_valid(const uint8_t *s, size_t len)
{
	for (; len >= 8 && ascii_8(s); len -= 8)
		s += 8;
	while (len > 0) {
		size_t n = utf8_sequence(s, len);
		if (n == 0)
			return false;
		s += n;
		len -= n;
	}
	return true;
}
