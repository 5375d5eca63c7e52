#include "settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conffile_internal.h"
#include "sockets.h"

/* The member of the structure. */
static void *member(const struct place *p)
{
	return (uint8_t *)p->base + p->option->at;
}

/* A number into a member of its size: bool, an unsigned or int, or one of 64 bits. */
static void put_number(const struct place *p, uint64_t value)
{
	bool flag = value != 0;
	uint32_t v4 = (uint32_t)value;

	if (p->option->size == sizeof value)
		memcpy(member(p), &value, sizeof value);
	else if (p->option->size == sizeof v4)
		memcpy(member(p), &v4, sizeof v4);
	else
		memcpy(member(p), &flag, sizeof flag);
}

char *conffile_copy(struct reading *r, const char *text)
{
	char *s = strdup(text);

	if (s == NULL)
		r->nomem = true;
	return s;
}

static void put_text(const struct place *p, char *text)
{
	memcpy(member(p), &text, sizeof text);
}

void *conffile_list(const struct place *p, size_t count)
{
	void *items = calloc(count, p->option->size);

	if (items == NULL) {
		p->r->nomem = true;
		return NULL;
	}
	memcpy(member(p), &items, sizeof items);
	memcpy((uint8_t *)p->base + p->option->of, &count, sizeof count);
	return items;
}

static bool is_visible(const char *s)
{
	for (; *s != '\0'; s++)
		if (*s < 0x21 || *s > 0x7e)
			return false;
	return true;
}

/* Digits only, at most `most`. *end: what follows. */
static bool digits(const char *text, uint64_t most, uint64_t *value, const char **end)
{
	char *after;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &after, 10);
	*end = after;
	return errno == 0 && *value <= most;
}

void take_name(const struct place *p, const struct value *v, size_t count)
{
	char *name = p->base;

	(void)count;
	if (p->option != NULL)
		name = member(p);
	if (name_valid(v->text))
		strcpy(name, v->text);
	else
		expected(p, v, "a name: 1 to 64 of a-z, 0-9 and -");
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void take_names(const struct place *p, const struct value *v, size_t count)
{
	char **list = conffile_list(p, count);

	for (size_t i = 0; list != NULL && i < count; i++) {
		if (!name_valid(v[i].text))
			expected(p, &v[i], "names: 1 to 64 of a-z, 0-9 and -");
		if ((list[i] = conffile_copy(p->r, v[i].text)) == NULL)
			return;
	}
	if (list == NULL)
		return;
	qsort(list, count, sizeof *list, by_text);
	for (size_t i = 1; i < count; i++)
		if (strcmp(list[i - 1], list[i]) == 0) {
			expected(p, &(struct value){list[i], v->line}, "each name once");
			return;
		}
}

void take_text(const struct place *p, const struct value *v, size_t count)
{
	(void)count;
	if (v->text[0] == '\0')
		expected(p, v, "a text");
	else
		put_text(p, conffile_copy(p->r, v->text));
}

void take_number(const struct place *p, const struct value *v, size_t count)
{
	const struct option *o = p->option;
	const char *end;
	uint64_t value;

	(void)count;
	if (!digits(v->text, o->most, &value, &end) || *end != '\0' || value < o->least)
		expected(p, v, "a number from %" PRIu64 " to %" PRIu64, o->least, o->most);
	else
		put_number(p, value);
}

static bool duration(const char *text, uint64_t unit, uint64_t *value)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
	const char *end;
	uint64_t n;

	if (!digits(text, 1000000000, &n, &end))
		return false;
	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
		if (strcmp(end, units[i].name) == 0 && units[i].ms >= unit) {
			*value = n * (units[i].ms / unit);
			return true;
		}
	return false;
}

/* Seconds as a person writes them. */
static const char *duration_text(char text[32], uint64_t seconds)
{
	uint64_t unit = seconds % 86400 == 0  ? 86400
			: seconds % 3600 == 0 ? 3600
			: seconds % 60 == 0   ? 60
					      : 1;

	snprintf(text, 32, "%" PRIu64 "%s", seconds / unit,
		seconds == 0	? "s"
		: unit == 86400 ? "d"
		: unit == 3600	? "h"
		: unit == 60	? "m"
				: "s");
	return text;
}

void take_duration(const struct place *p, const struct value *v, size_t count)
{
	const struct option *o = p->option;
	char least[32], most[32];
	uint64_t value;

	(void)count;
	if (!duration(v->text, 1000, &value) || value < o->least || value > o->most)
		expected(p, v,
			"a duration from %s to %s, with the unit s, m, h or d, such as 30s or 24h",
			duration_text(least, o->least), duration_text(most, o->most));
	else
		put_number(p, value);
}

void take_duration_ms(const struct place *p, const struct value *v, size_t count)
{
	const struct option *o = p->option;
	uint64_t value;

	(void)count;
	if (!duration(v->text, 1, &value) || value < o->least || value > o->most)
		expected(p, v,
			"a duration from %" PRIu64 "ms to %" PRIu64
			"ms, with the unit ms, s, m or h, such as 500ms or 3s",
			o->least, o->most);
	else
		put_number(p, value);
}

void take_rate(const struct place *p, const struct value *v, size_t count)
{
	static const struct {
		const char *name;
		uint32_t seconds;
	} units[] = {{"/s", 1}, {"/m", 60}, {"/h", 3600}};
	struct config_client *client = p->base;
	const char *end;
	uint64_t n;

	(void)count;
	if (digits(v->text, 1000000, &n, &end) && n > 0)
		for (size_t i = 0; i < sizeof units / sizeof units[0]; i++)
			if (strcmp(end, units[i].name) == 0) {
				client->rate_count = (uint32_t)n;
				client->rate_seconds = units[i].seconds;
				return;
			}
	expected(p, v, "requests per second, minute or hour, such as 10/s, 100/m or 1000/h");
}

static bool find_word(const struct word *words, const char *text, uint64_t *value)
{
	for (; words->text != NULL; words++)
		if (strcmp(words->text, text) == 0) {
			*value = words->value;
			return true;
		}
	return false;
}

static void expected_word(const struct place *p, const struct value *v)
{
	struct buf text = BUF_INIT(512);

	for (const struct word *w = p->option->words; w->text != NULL; w++) {
		if (w != p->option->words)
			buf_text(&text, w[1].text != NULL ? ", " : " or ");
		buf_text(&text, w->text);
	}
	expected(p, v, "%s", buf_cstr(&text) != NULL ? (const char *)text.octets : "another word");
	buf_free(&text);
}

void take_choice(const struct place *p, const struct value *v, size_t count)
{
	uint64_t value;

	(void)count;
	if (find_word(p->option->words, v->text, &value))
		put_number(p, value);
	else
		expected_word(p, v);
}

void take_bits(const struct place *p, const struct value *v, size_t count)
{
	uint64_t set = 0, bit;

	for (size_t i = 0; i < count; i++) {
		if (!find_word(p->option->words, v[i].text, &bit))
			expected_word(p, &v[i]);
		else if (set & bit)
			expected(p, &v[i], "each word once");
		else
			set |= bit;
	}
	put_number(p, set);
}

static uint32_t schemes_of_dc_keys(void)
{
	uint32_t set = 0;

	for (unsigned i = 0; i < scheme_count(); i++)
		if (scheme_at(i)->dc_key)
			set |= scheme_bit(scheme_at(i)->code);
	return set;
}

void take_schemes(const struct place *p, const struct value *v, size_t count)
{
	uint32_t set = 0;

	for (size_t i = 0; i < count; i++) {
		const struct scheme *s = scheme_by_name(v[i].text);
		char names[512];

		if (s == NULL || !s->dc_key) {
			scheme_set_text(schemes_of_dc_keys(), names, sizeof names);
			expected(p, &v[i], "algorithms of %s", names);
		} else if (set & scheme_bit(s->code)) {
			expected(p, &v[i], "each algorithm once");
		} else {
			set |= scheme_bit(s->code);
		}
	}
	put_number(p, set);
}

void take_path(const struct place *p, const struct value *v, size_t count)
{
	(void)count;
	if (v->text[0] == '\0')
		expected(p, v, "a path");
	else
		put_text(p, conffile_path(p->r, v->text));
}

void take_ledger(const struct place *p, const struct value *v, size_t count)
{
	static const char sqlite[] = "sqlite:";
	struct buf url = BUF_INIT(8192);
	char *path;

	(void)count;
	if (strncmp(v->text, sqlite, sizeof sqlite - 1) == 0 &&
		v->text[sizeof sqlite - 1] != '\0') {
		if ((path = conffile_path(p->r, v->text + sizeof sqlite - 1)) == NULL)
			return;
		buf_text(&url, sqlite);
		buf_text(&url, path);
		free(path);
		put_text(p, conffile_copy(
				    p->r, buf_cstr(&url) != NULL ? (const char *)url.octets : ""));
		buf_free(&url);
		return;
	}
	if (strncmp(v->text, "postgresql://", 13) != 0) {
		expected(p, v, "sqlite:PATH or postgresql://...");
		return;
	}
	const char *at = strchr(v->text + 13, '@'), *colon = strchr(v->text + 13, ':');
	if ((at != NULL && colon != NULL && colon < at) || strstr(v->text, "password=") != NULL)
		expected(p, &(struct value){"...", v->line},
			"a URL without a password: put it into a passfile");
	else
		put_text(p, conffile_copy(p->r, v->text));
}

void take_origin(const struct place *p, const struct value *v, size_t count)
{
	size_t len = strlen(v->text);

	(void)count;
	/* As the name of a key in a signed note. */
	if (len < 1 || len > 128 || !is_visible(v->text) || strchr(v->text, '+') != NULL)
		expected(p, v,
			"a globally unique name of 1 to 128 visible ASCII characters without +, "
			"such as a domain name");
	else
		put_text(p, conffile_copy(p->r, v->text));
}

void take_monitor(const struct place *p, const struct value *v, size_t count)
{
	struct sockaddr_storage address;
	socklen_t len;

	(void)count;
	if (address_parse(&address, &len, v->text) != ERR_OK || address.ss_family == AF_UNIX)
		expected(p, v, "ADDRESS:PORT in numbers, such as 127.0.0.1:9464 or [::1]:9464");
	else
		put_text(p, conffile_copy(p->r, v->text));
}

void take_listen(const struct place *p, const struct value *v, size_t count)
{
	struct config_listen *listen = p->base;
	struct sockaddr_storage address;
	socklen_t len;

	(void)count;
	if (address_parse(&address, &len, v->text) != ERR_OK)
		expected(p, v,
			"ADDRESS:PORT in numbers, such as 0.0.0.0:8443 or [::]:8443, or "
			"unix:/PATH of at most 107 octets");
	else
		listen->is_unix = address.ss_family == AF_UNIX;
	listen->address = conffile_copy(p->r, v->text);
}
