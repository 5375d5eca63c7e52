#include "log.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "buf.h"

/* One write of so many octets is one piece even into a pipe (PIPE_BUF). */
#define LINE_MAX_OCTETS	 4096
#define VALUE_MAX_OCTETS 1024
#define END_ROOM	 16

static const char *log_program = "dcsign";
static enum log_level log_least = LOG_LEVEL_INFO;
static bool log_json;

static const char *const level_names[] = {
	[LOG_LEVEL_DEBUG] = "debug",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_ERROR] = "error",
};

struct line {
	char text[LINE_MAX_OCTETS];
	size_t len;
	bool full;
};

static void put(struct line *l, const char *text, size_t len)
{
	if (l->full || len > sizeof l->text - END_ROOM - l->len) {
		l->full = true;
		return;
	}
	memcpy(l->text + l->len, text, len);
	l->len += len;
}

static void puts_line(struct line *l, const char *text)
{
	put(l, text, strlen(text));
}

/* The character above ASCII that starts here: its octets, 0 when they are not UTF-8. */
static size_t character(const uint8_t *in, size_t left, uint32_t *c)
{
	for (size_t n = 2; n <= 4 && n <= left; n++) {
		if (!utf8_valid(in, n))
			continue;
		*c = in[0] & (0x7fU >> n);
		for (size_t i = 1; i < n; i++)
			*c = *c << 6 | (in[i] & 0x3f);
		return n;
	}
	return 0;
}

/* One character, escaped unless it is printable ASCII: nothing that a client sends may end a line,
 * a value or move a terminal's cursor. Returns the octets that it took of the input. */
static size_t put_escaped(struct line *l, const uint8_t *in, size_t left)
{
	char out[16];
	uint32_t c = in[0];
	size_t n = c < 0x80 ? 1 : character(in, left, &c);

	if (n == 0)
		snprintf(out, sizeof out, log_json ? "\\ufffd" : "\\x%02x", in[0]);
	else if (c == '"' || c == '\\')
		snprintf(out, sizeof out, "\\%c", (int)c);
	else if (c >= 0x20 && c < 0x7f)
		snprintf(out, sizeof out, "%c", (int)c);
	else if (c < 0x10000)
		snprintf(out, sizeof out, "\\u%04x", c);
	else
		snprintf(out, sizeof out, "\\u%04x\\u%04x", 0xd7c0 + (c >> 10),
			0xdc00 + (c & 0x3ff));
	puts_line(l, out);
	return n == 0 ? 1 : n;
}

static void put_text(struct line *l, const char *text)
{
	static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789-_./:@+,;%*~";
	const uint8_t *in = (const uint8_t *)text;
	size_t left = strlen(text);
	size_t start = l->len;

	if (!log_json && left > 0 && left <= VALUE_MAX_OCTETS && strspn(text, plain) == left) {
		put(l, text, left);
		return;
	}
	puts_line(l, "\"");
	while (left > 0 && l->len - start < VALUE_MAX_OCTETS && !l->full) {
		size_t n = put_escaped(l, in, left);
		in += n;
		left -= n;
	}
	puts_line(l, left > 0 ? "...\"" : "\"");
}

static void put_name(struct line *l, const char *name)
{
	if (log_json) {
		puts_line(l, l->len == 0 ? "{\"" : ",\"");
		puts_line(l, name);
		puts_line(l, "\":");
	} else {
		puts_line(l, l->len == 0 ? "" : " ");
		puts_line(l, name);
		puts_line(l, "=");
	}
}

static void put_field(struct line *l, const char *name, const char *text)
{
	size_t start = l->len;

	put_name(l, name);
	put_text(l, text);
	if (l->full)
		l->len = start; /* whole fields only */
}

static void put_number(struct line *l, const char *name, int64_t number)
{
	char text[24];
	size_t start = l->len;

	snprintf(text, sizeof text, "%" PRId64, number);
	put_name(l, name);
	puts_line(l, text);
	if (l->full)
		l->len = start;
}

static void put_time(struct line *l)
{
	struct timespec now;
	char text[32];

	clock_gettime(CLOCK_REALTIME, &now);
	time_text(text, now.tv_sec);
	if (strlen(text) == 20)
		snprintf(text + 19, sizeof text - 19, ".%03uZ",
			(unsigned)(now.tv_nsec / 1000000) % 1000);
	put_field(l, "ts", text);
}

static void end_line(struct line *l)
{
	const char *end = log_json ? (l->full ? ",\"cut\":true}\n" : "}\n")
				   : (l->full ? " cut=true\n" : "\n");

	memcpy(l->text + l->len, end, strlen(end));
	l->len += strlen(end);
}

void log_open(const char *program, enum log_level least, bool json)
{
	log_program = program;
	log_least = least;
	log_json = json;
}

void log_write(enum log_level level, const char *event, const struct log_field *fields)
{
	struct line l = {.len = 0};
	int saved = errno;

	if (level < log_least)
		return;
	put_time(&l);
	put_field(&l, "level", level_names[level]);
	put_field(&l, "program", log_program);
	put_field(&l, "event", event);
	for (; fields->name != NULL; fields++) {
		if (fields->text != NULL)
			put_field(&l, fields->name, fields->text);
		else
			put_number(&l, fields->name, fields->number);
	}
	end_line(&l);
	while (write(STDERR_FILENO, l.text, l.len) < 0 && errno == EINTR)
		;
	errno = saved;
}

bool log_level_parse(const char *text, enum log_level *level)
{
	for (unsigned i = 0; i < sizeof level_names / sizeof *level_names; i++) {
		if (strcmp(text, level_names[i]) != 0)
			continue;
		*level = (enum log_level)i;
		return true;
	}
	return false;
}
