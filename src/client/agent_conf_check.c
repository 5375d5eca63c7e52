#include "settings.h"

#include <string.h>

#include "agent_conf_internal.h"
#include "formats.h"

/* The text before libconfuse gets it, as its lexer cuts it. */
struct scan {
	struct conf_reading *r;
	const char *at, *end;
	int line, depth;
};

static bool starts(const struct scan *s, const char *with)
{
	size_t len = strlen(with);
	return (size_t)(s->end - s->at) >= len && memcmp(s->at, with, len) == 0;
}

static void step(struct scan *s)
{
	s->line += *s->at++ == '\n';
}

/* To behind `end`, or to the end of the text: then the thing that began has no end. */
static void skip(struct scan *s, size_t begin, const char *end, const char *what)
{
	int line = s->line;

	while (begin--)
		step(s);
	while (s->at < s->end && !starts(s, end)) {
		if (*s->at == '\\' && (*end == '"' || *end == '\'') && s->at + 1 < s->end)
			step(s);
		step(s);
	}
	if (s->at < s->end)
		for (begin = strlen(end); begin--;)
			step(s);
	else if (what)
		conf_wrong(s->r, line, "the %s that begins here has no end", what);
}

static void word(struct scan *s)
{
	unsigned char c = (unsigned char)*s->at;

	if ((c < 0x20 && !strchr("\t\r\n", c)) || c == 0x7f)
		conf_wrong(s->r, s->line, "a control character (0x%02x)", c);
	s->depth += (c == '{') - (c == '}');
	step(s);
}

/* Everywhere, comments too, so that nobody has to know where the lexer looks for it. */
static void refuse_variables(struct conf_reading *r, const char *text, size_t len)
{
	const char *at = memmem(text, len, "${", 2), *c;
	int line = 1;

	for (c = text; at && c < at; c++)
		line += *c == '\n';
	if (at)
		conf_wrong(r, line, "${...}: variables of the environment are not taken in");
}

void agent_conf_scan(struct conf_reading *r, const char *text, size_t len)
{
	struct scan s = {r, text, text + len, 1, 0};

	refuse_variables(r, text, len);
	if (!utf8_valid((const uint8_t *)text, len))
		conf_wrong(r, 1, "the file is not UTF-8");
	while (!r->errors && s.at < s.end) {
		if (*s.at == '#' || starts(&s, "//"))
			skip(&s, 1, "\n", NULL);
		else if (starts(&s, "/*"))
			skip(&s, 2, "*/", "comment");
		else if (*s.at == '"')
			skip(&s, 1, "\"", "string");
		else if (*s.at == '\'')
			skip(&s, 1, "'", "string");
		else
			word(&s);
	}
	if (!r->errors && s.depth > 0)
		conf_wrong(r, s.line, "the file ends before a section does: a } is missing");
}

static struct agent_service *find_service(struct agent_config *config, const char *name)
{
	size_t i;
	for (i = 0; i < config->service_count; i++)
		if (strcmp(config->services[i].section.name, name) == 0)
			return &config->services[i];
	return NULL;
}

static void check_credential(
	struct conf_reading *r, struct agent_config *config, struct agent_credential *c)
{
	const struct agent_reload *reload = &c->reload;

	c->service = find_service(config, c->service_name);
	if (!c->service)
		conf_wrong(r, c->section.line, "credential '%s': there is no service '%s'",
			c->section.name, c->service_name);
	if (c->formats & 1u << FORMAT_FIZZ && c->scheme->code != SCHEME_ECDSA_P256)
		conf_wrong(r, c->section.line,
			"credential '%s': format fizz goes with algorithm ecdsa_secp256r1_sha256 "
			"alone",
			c->section.name);
	if (!!reload->command + !!reload->unit + !!reload->pid_file > 1)
		conf_wrong(r, c->section.line,
			"credential '%s': give one of reload_command, reload_unit and "
			"reload_pid_file",
			c->section.name);
}

void agent_conf_check(struct conf_reading *r, struct agent_config *config)
{
	size_t i, k;
	for (i = 0; i < config->credential_count; i++) {
		check_credential(r, config, &config->credentials[i]);
		for (k = 0; k < i; k++)
			if (strcmp(config->credentials[i].output, config->credentials[k].output) ==
				0)
				conf_wrong(r, config->credentials[i].section.line,
					"credentials '%s' and '%s' have the same output",
					config->credentials[k].section.name,
					config->credentials[i].section.name);
	}
}
