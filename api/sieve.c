#include "sieve.h"

#include <stdlib.h>
#include <string.h>

#define METHOD_MAX 32

void sieve_init(struct sieve *v)
{
	memset(v, 0, sizeof(*v));
}

void sieve_free(struct sieve *v)
{
	free(v->octets);
	sieve_init(v);
}

/* --- octets --- */

static enum err append(struct sieve *v, const uint8_t *octets, size_t len)
{
	if (len > v->size - v->len) {
		size_t size = v->len + len + 1024;
		uint8_t *more = realloc(v->octets, size);

		if (more == NULL)
			return ERR_NOMEM;
		v->octets = more;
		v->size = size;
	}
	if (len > 0)
		memcpy(v->octets + v->len, octets, len);
	v->len += len;
	return ERR_OK;
}

size_t sieve_ready(const struct sieve *v)
{
	return v->ready;
}

size_t sieve_take(struct sieve *v, void *out, size_t size)
{
	size_t n = v->ready < size ? v->ready : size;

	if (n == 0)
		return 0;
	memcpy(out, v->octets, n);
	if (n == v->len) {
		free(v->octets); /* an idle connection keeps nothing */
		v->octets = NULL;
		v->size = 0;
	} else {
		memmove(v->octets, v->octets + n, v->len - n);
	}
	v->len -= n;
	v->ready -= n;
	v->looked -= n;
	v->line -= n;
	return n;
}

bool sieve_begun(const struct sieve *v)
{
	return v->state == SIEVE_HEAD && v->len > v->ready;
}

/* --- a head --- */

static bool bad(struct sieve *v, enum err err, const char *detail)
{
	(void)refuse(&v->refusal, err, "", "%s", detail);
	return false;
}

/* "HTTP/1.1" or "HTTP/1.0" as the rest of the request line. */
static bool take_version(struct sieve *v, const char *text)
{
	if (strcmp(text, "HTTP/1.1") == 0 || strcmp(text, "HTTP/1.0") == 0)
		return true;
	if (strlen(text) == 8 && strncmp(text, "HTTP/", 5) == 0 && text[5] >= '0' &&
		text[5] <= '9' && text[6] == '.' && text[7] >= '0' && text[7] <= '9')
		return bad(v, ERR_VERSION, "HTTP/1.1 is spoken here");
	return bad(v, ERR_MALFORMED, "the request line must end with the version, HTTP/1.1");
}

/* METHOD SP TARGET SP VERSION, with a NUL behind it. *method gets a copy. */
static bool take_line(struct sieve *v, char *line, char method[METHOD_MAX + 1])
{
	size_t verb = strcspn(line, " "), target;

	for (const char *c = line; *c != '\0'; c++)
		if (*c == '\t' || (unsigned char)*c >= 0x80)
			return bad(v, ERR_MALFORMED,
				"the request line is printable ASCII: other octets stand in a "
				"target as %XX");
	if (verb == 0 || verb > METHOD_MAX || line[verb] == '\0')
		return bad(v, ERR_MALFORMED, "the request line must be METHOD TARGET HTTP/1.1");
	target = strcspn(line + verb + 1, " ");
	if (target == 0 || line[verb + 1 + target] == '\0')
		return bad(v, ERR_MALFORMED, "the request line must be METHOD TARGET HTTP/1.1");
	for (size_t i = 0; i < verb; i++)
		if (!framing_is_token(line + i, 1))
			return bad(
				v, ERR_MALFORMED, "the method has characters that it can't have");
	memcpy(method, line, verb);
	method[verb] = '\0';
	return take_version(v, line + verb + 1 + target + 1);
}

/* NAME ":" value, with a NUL behind it. */
static bool take_field(struct sieve *v, struct framing *f, char *line)
{
	char *colon = strchr(line, ':'), *value, *end;

	if (*line == ' ' || *line == '\t')
		return bad(v, ERR_MALFORMED, "a header field is folded: write it on one line");
	if (colon == NULL)
		return bad(v, ERR_MALFORMED, "a header field has no colon");
	value = colon + 1 + strspn(colon + 1, " \t");
	end = value + strlen(value);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*colon = *end = '\0'; /* in a copy: what passes stays as it came */
	framing_field(f, line, (size_t)(colon - line), value, (size_t)(end - value));
	return true;
}

/* A copy of a whole head, every line with CRLF and without control characters. */
static bool take_lines(struct sieve *v, char *head)
{
	char method[METHOD_MAX + 1] = "", *next;
	struct framing framing;
	struct header header;

	framing_init(&framing, &header);
	for (char *line = head; line[0] != '\r'; line = next) {
		next = strstr(line, "\r\n") + 2;
		next[-2] = '\0';
		if (line == head ? !take_line(v, line, method) : !take_field(v, &framing, line))
			return false;
	}
	if (framing_end(&framing, method, "HTTP/1.1") != ERR_OK) {
		v->refusal = framing.refusal;
		return false;
	}
	v->body = framing.length;
	return true;
}

/* The head [ready, end) is complete. */
static bool take_head(struct sieve *v, size_t end)
{
	size_t len = end - v->ready;
	char *copy = malloc(len + 1);
	bool good;

	if (copy == NULL)
		return bad(v, ERR_NOMEM, err_text(ERR_NOMEM));
	memcpy(copy, v->octets + v->ready, len);
	copy[len] = '\0';
	good = take_lines(v, copy);
	free(copy);
	return good;
}

/* --- what comes in --- */

static enum err stand_in(struct sieve *v)
{
	v->len = v->ready;
	v->state = SIEVE_SHUT;
	v->heads++;
	if (append(v, (const uint8_t *)SIEVE_STAND_IN, sizeof(SIEVE_STAND_IN) - 1) != ERR_OK)
		return ERR_NOMEM;
	v->ready = v->looked = v->line = v->len;
	return ERR_OK;
}

/* May this octet of the head stand here? At the end of the head *done. */
static bool look_at(struct sieve *v, size_t i, bool *done)
{
	uint8_t c = v->octets[i], before = i > v->ready ? v->octets[i - 1] : '\0';

	if ((c == '\n') != (before == '\r'))
		return bad(v, ERR_MALFORMED, "a line must end with CR and LF, and only there");
	if ((c < 0x20 && c != '\r' && c != '\n' && c != '\t') || c == 0x7f)
		return bad(v, ERR_MALFORMED, "a control character in the header");
	if (i - v->ready >= FRAMING_HEADER_MAX)
		return bad(v, ERR_HEADERS, "at most 16384 octets of header are taken");
	if (v->line == v->ready && i - v->line >= SIEVE_LINE_MAX)
		return bad(v, ERR_TARGET, "at most 8192 octets of request line are taken");
	if (c != '\n')
		return true;
	if (i == v->ready + 1)
		return bad(v, ERR_MALFORMED, "an empty line before the request line");
	*done = i == v->line + 1;
	v->line = i + 1;
	return true;
}

static bool read_head(struct sieve *v)
{
	bool done = false;

	for (; v->looked < v->len && !done; v->looked++)
		if (!look_at(v, v->looked, &done))
			return false;
	if (!done)
		return true;
	if (!take_head(v, v->looked))
		return false;
	v->ready = v->line = v->looked;
	v->state = v->body > 0 ? SIEVE_BODY : SIEVE_HEAD;
	v->heads++;
	return true;
}

static void read_body(struct sieve *v)
{
	size_t n = v->len - v->ready;

	if (n > v->body)
		n = (size_t)v->body;
	v->ready += n;
	v->looked = v->line = v->ready;
	v->body -= n;
	if (v->body == 0)
		v->state = SIEVE_HEAD;
}

enum err sieve_put(struct sieve *v, const uint8_t *octets, size_t len)
{
	if (v->state == SIEVE_SHUT)
		return ERR_OK;
	if (append(v, octets, len) != ERR_OK)
		return ERR_NOMEM;
	while (v->looked < v->len) {
		if (v->state == SIEVE_BODY)
			read_body(v);
		else if (!read_head(v))
			return stand_in(v);
	}
	return ERR_OK;
}
