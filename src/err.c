#include "err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name;
	unsigned status;
	const char *text;
} errors[ERR_COUNT] = {
#define ERR_ROW(symbol, name, status, text) [ERR_##symbol] = {name, status, text},
	ERR_LIST(ERR_ROW)
#undef ERR_ROW
};

static unsigned row(enum err e)
{
	return (unsigned)e < ERR_COUNT ? (unsigned)e : (unsigned)ERR_INTERNAL;
}

const char *err_name(enum err e)
{
	return errors[row(e)].name;
}

unsigned err_status(enum err e)
{
	return errors[row(e)].status;
}

const char *err_text(enum err e)
{
	return errors[row(e)].text;
}

bool err_of_token(enum err e)
{
	return e == ERR_TOKEN || e == ERR_PIN;
}

enum err err_by_name(const char *name)
{
	for (unsigned i = 0; i < ERR_COUNT; i++)
		if (strcmp(errors[i].name, name) == 0)
			return (enum err)i;
	return ERR_COUNT;
}

/* Takes away a UTF-8 sequence that the end of the space cut in two. */
static void trim_utf8(char *text, size_t len)
{
	size_t start = len;

	while (start > 0 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
		start--;
	if (start == 0)
		return;
	unsigned char lead = (unsigned char)text[start - 1];
	size_t want = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
	if (len - (start - 1) < want)
		text[start - 1] = '\0';
}

enum err(refuse)(struct refusal *r, enum err e, const char *field, const char *fmt, ...)
{
	if (r == NULL)
		return e;
	memset(r, 0, sizeof *r);
	r->err = e;
	snprintf(r->field, sizeof r->field, "%s", field);

	va_list ap;
	va_start(ap, fmt);
	int n = vsnprintf(r->detail, sizeof r->detail, fmt, ap);
	va_end(ap);
	if (n < 0)
		r->detail[0] = '\0';
	else if ((size_t)n >= sizeof r->detail)
		trim_utf8(r->detail, sizeof r->detail - 1);
	return e;
}
