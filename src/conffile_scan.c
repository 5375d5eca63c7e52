#include <string.h>

#include "conffile_internal.h"

/*
 * A look at the text before libconfuse gets it, token by token as its lexer cuts them. It takes an
 * unclosed section, string or comment at the end of the file for the end of the file, expands
 * ${...} from the environment, and skips characters that it does not know.
 */
struct scan {
	struct reading *r;
	char *at;
	const char *end;
	int line;
	int depth; /* of braces */
};

static void step(struct scan *s)
{
	if (*s->at++ == '\n')
		s->line++;
}

static bool starts(const struct scan *s, const char *with)
{
	size_t len = strlen(with);

	return (size_t)(s->end - s->at) >= len && memcmp(s->at, with, len) == 0;
}

static void blank(struct scan *s, size_t count)
{
	for (; count > 0; count--, step(s))
		if (*s->at != '\n')
			*s->at = ' ';
}

static void blank_line(struct scan *s)
{
	while (s->at < s->end && *s->at != '\n')
		blank(s, 1);
}

static void blank_comment(struct scan *s)
{
	int line = s->line;

	for (blank(s, 2); s->at < s->end && !starts(s, "*/");)
		blank(s, 1);
	if (s->at == s->end)
		conffile_wrong(s->r, line, "the comment that begins here has no end");
	else
		blank(s, 2);
}

static void skip_string(struct scan *s)
{
	char quote = *s->at;
	int line = s->line;

	for (s->at++; s->at < s->end && *s->at != quote; step(s))
		if (*s->at == '\\' && s->at + 1 < s->end)
			step(s);
	if (s->at == s->end)
		conffile_wrong(s->r, line, "the string that begins here has no closing %c", quote);
	else
		s->at++;
}

static void skip_word(struct scan *s)
{
	if (*s->at == '*') {
		conffile_wrong(s->r, s->line, "a * must stand in quotes");
		s->at++;
		return;
	}
	while (s->at < s->end && strchr(" #\"'\t\n\r={}()+,*", *s->at) == NULL)
		s->at++;
}

static void punctuation(struct scan *s)
{
	s->depth += (*s->at == '{') - (*s->at == '}');
	step(s);
}

/* Whole file: comments too, so that nobody has to know where the lexer looks for it. */
static bool scan_octets(struct reading *r, const char *text, size_t len)
{
	unsigned before = r->errors;
	int line = 1;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c == '\n')
			line++;
		else if ((c < 0x20 && c != '\t' && c != '\r') || c == 0x7f)
			conffile_wrong(r, line, "a control character (0x%02x)", c);
		else if (c == '$' && i + 1 < len && text[i + 1] == '{')
			conffile_wrong(r, line,
				"${...}: variables of the environment are not taken into the "
				"configuration");
		if (r->errors > before + 20)
			break;
	}
	if (!utf8_valid((const uint8_t *)text, len))
		conffile_wrong(r, 1, "the file is not UTF-8");
	return r->errors == before;
}

void conffile_scan(struct reading *r, char *text, size_t len)
{
	struct scan s = {.r = r, .at = text, .end = text + len, .line = 1};

	if (!scan_octets(r, text, len))
		return;
	while (s.at < s.end) {
		if (*s.at == '#' || starts(&s, "//"))
			blank_line(&s);
		else if (starts(&s, "/*"))
			blank_comment(&s);
		else if (*s.at == '"' || *s.at == '\'')
			skip_string(&s);
		else if (strchr(" \t\n\r={}()+,", *s.at) != NULL)
			punctuation(&s);
		else
			skip_word(&s);
	}
	if (s.depth > 0)
		conffile_wrong(r, s.line, "the file ends before a section does: a } is missing");
}
