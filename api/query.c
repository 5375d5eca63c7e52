#include "query.h"

#include <stdio.h>
#include <string.h>

#define VALUE_MAX 256

static bool take_dry_run(struct query *q, const char *value)
{
	q->dry_run = strcmp(value, "true") == 0;
	return q->dry_run;
}

static bool take_name(char name[NAME_SIZE], const char *value)
{
	if (!name_valid(value))
		return false;
	strcpy(name, value);
	return true;
}

static bool take_key(struct query *q, const char *value)
{
	return take_name(q->key, value);
}

static bool take_client(struct query *q, const char *value)
{
	return take_name(q->client, value);
}

static bool take_live_at(struct query *q, const char *value)
{
	return time_parse(value, &q->live_at) && q->live_at > 0;
}

static bool take_number(uint64_t *n, const char *value)
{
	size_t len = strlen(value);

	*n = 0;
	if (len == 0 || len > 18 || strspn(value, "0123456789") != len ||
		(value[0] == '0' && len > 1))
		return false;
	for (; *value != '\0'; value++)
		*n = *n * 10 + (uint64_t)(*value - '0');
	return true;
}

static bool take_after(struct query *q, const char *value)
{
	return take_number(&q->after, value);
}

static bool take_limit(struct query *q, const char *value)
{
	return take_number(&q->limit, value) && q->limit > 0;
}

static bool take_chain(struct query *q, const char *value)
{
	if (value[0] == '\0' || strlen(value) >= sizeof(q->chain))
		return false;
	strcpy(q->chain, value);
	return true;
}

static bool take_id(struct query *q, const char *value)
{
	if (strlen(value) != ID_SIZE - 1 || strspn(value, "0123456789abcdef") != ID_SIZE - 1)
		return false;
	strcpy(q->id, value);
	return true;
}

static bool take_from(struct query *q, const char *value)
{
	return take_number(&q->from, value);
}

static bool take_to(struct query *q, const char *value)
{
	return take_number(&q->to, value);
}

#define NUMBER "a number of at most 18 digits"

static const struct param {
	const char *name;
	unsigned bit;
	bool (*take)(struct query *q, const char *value);
	const char *expected;
} params[] = {
	{"dry_run", QUERY_DRY_RUN, take_dry_run, "true"},
	{"key", QUERY_KEY, take_key, "a name of a-z, 0-9 and -"},
	{"client", QUERY_CLIENT, take_client, "a name of a-z, 0-9 and -"},
	{"live_at", QUERY_LIVE_AT, take_live_at,
		"a time in UTC as RFC 3339 with whole seconds, 2030-01-31T23:59:59Z"},
	{"after", QUERY_AFTER, take_after, "the member next of the page before"},
	{"limit", QUERY_LIMIT, take_limit, NUMBER " from 1 on"},
	{"chain", QUERY_CHAIN, take_chain, "the name of a chain, node/token, with # as %23"},
	{"id", QUERY_ID, take_id, "the id of a credential, 32 digits of 0-9 and a-f"},
	{"from", QUERY_FROM, take_from, NUMBER},
	{"to", QUERY_TO, take_to, NUMBER},
};
#define PARAMS (sizeof(params) / sizeof(params[0]))

static const struct param *find(const char *name, size_t len, unsigned takes)
{
	for (size_t i = 0; i < PARAMS; i++)
		if ((params[i].bit & takes) != 0 && strlen(params[i].name) == len &&
			memcmp(params[i].name, name, len) == 0)
			return &params[i];
	return NULL;
}

static unsigned digit(char c)
{
	if (c >= '0' && c <= '9')
		return (unsigned)(c - '0');
	if (c >= 'A' && c <= 'F')
		return (unsigned)(c - 'A' + 10);
	return c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10) : 16;
}

/* Undoes %XX. False: too long, or not visible ASCII. */
static bool decode(char out[VALUE_MAX], const char *at, size_t len)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		unsigned octet = (uint8_t)at[i];

		if (octet == '%') {
			if (len - i < 3 || digit(at[i + 1]) > 15 || digit(at[i + 2]) > 15)
				return false;
			octet = digit(at[i + 1]) * 16 + digit(at[i + 2]);
			i += 2;
		}
		if (octet < 0x21 || octet > 0x7e || n + 1 >= VALUE_MAX)
			return false;
		out[n++] = (char)octet;
	}
	out[n] = '\0';
	return true;
}

/* What would have been taken. */
static enum err refuse_param(struct refusal *why, unsigned takes)
{
	char names[128] = "";
	size_t used = 0;

	for (size_t i = 0; i < PARAMS; i++)
		if ((params[i].bit & takes) != 0 && used < sizeof(names))
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
				used > 0 ? ", " : "", params[i].name);
	return refuse(why, ERR_MALFORMED, "",
		"the query is parameter=value, joined by &, each at most once, of: %s", names);
}

static enum err take(
	struct query *q, unsigned takes, const char *at, size_t len, struct refusal *why)
{
	const char *equals = memchr(at, '=', len);
	const struct param *p = equals != NULL ? find(at, (size_t)(equals - at), takes) : NULL;
	char value[VALUE_MAX];

	if (p == NULL)
		return refuse_param(why, takes);
	if ((q->given & p->bit) != 0)
		return refuse(why, ERR_MALFORMED, p->name, "%s stands twice", p->name);
	if (!decode(value, equals + 1, len - (size_t)(equals + 1 - at)) || !p->take(q, value))
		return refuse(why, ERR_MALFORMED, p->name, "%s: expected %s", p->name, p->expected);
	q->given |= p->bit;
	return ERR_OK;
}

enum err query_parse(
	struct query *q, unsigned takes, unsigned needs, const char *text, struct refusal *why)
{
	enum err err = ERR_OK;
	size_t len;

	memset(q, 0, sizeof(*q));
	while (text != NULL && err == ERR_OK) {
		len = strcspn(text, "&");
		err = take(q, takes, text, len, why);
		text = text[len] == '&' ? text + len + 1 : NULL;
	}
	for (size_t i = 0; i < PARAMS && err == ERR_OK; i++)
		if ((needs & ~q->given & params[i].bit) != 0)
			err = refuse(why, ERR_MALFORMED, params[i].name,
				"the query lacks %s: expected %s", params[i].name,
				params[i].expected);
	return err;
}
