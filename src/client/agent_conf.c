#include "agent_conf.h"

#include <confuse.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent_conf_internal.h"
#include "tool.h"

#define OPTIONS_MAX 24
#define SEEN	    (1 << 24) /* a bit of cfg_opt_t's flags that libconfuse does not use */

static struct conf_reading *current; /* libconfuse's callbacks get no context */

void conf_wrong(struct conf_reading *r, int line, const char *fmt, ...)
{
	va_list ap;
	r->errors++;
	fprintf(stderr, "%s:%d: ", r->path, line);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

void conf_expected(const struct conf_place *p, const struct conf_value *v, const char *fmt, ...)
{
	char what[512];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	conf_wrong(p->r, v->line, "option '%s'%s: got '%.200s', expected %s", p->option->name,
		p->where, v->text, what);
}

static void where(const cfg_t *section, char *text, size_t size)
{
	*text = 0;
	if (section->title)
		snprintf(text, size, " in %s '%.100s'", section->name, section->title);
}

static void on_error(cfg_t *section, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
static void on_error(cfg_t *section, const char *fmt, va_list ap)
{
	char what[512], in[160];
	vsnprintf(what, sizeof what, fmt, ap);
	where(section, in, sizeof in);
	conf_wrong(current, section->line, "%s%s", what, in);
}

/* libconfuse takes a scalar that stands twice without a word; and it forgets lines, so each value
 * goes in with its line before it: "LINE:value". */
static int on_value(cfg_t *section, cfg_opt_t *opt, const char *value, void *result)
{
	char in[160];

	if (cfg_getopt(section, opt->name) != opt)
		return -1;
	if (opt->nvalues == 1 && opt->flags & SEEN && !(opt->flags & CFGF_LIST)) {
		where(section, in, sizeof in);
		conf_wrong(
			current, section->line, "option '%s'%s stands here twice", opt->name, in);
	}
	opt->flags |= SEEN;
	buf_reset(&current->value);
	buf_printf(&current->value, "%d:", section->line);
	buf_text(&current->value, value);
	*(const char **)result = buf_cstr(&current->value);
	return *(const char **)result ? 0 : -1;
}

static void make_options(cfg_opt_t *out, const struct conf_option *o)
{
	const cfg_opt_t one = CFG_STR(NULL, NULL, CFGF_NODEFAULT), end = CFG_END();
	for (; o->name; o++, out++) {
		*out = one;
		out->name = o->name;
		out->flags |= o->list ? CFGF_LIST : CFGF_NONE;
		out->parsecb = on_value;
	}
	*out = end;
}

static cfg_t *make_parser(void)
{
	cfg_opt_t root[OPTIONS_MAX], service[OPTIONS_MAX], credential[OPTIONS_MAX];
	const int titled = CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES;
	const cfg_opt_t sections[] = {CFG_SEC("service", service, titled),
		CFG_SEC("credential", credential, titled), CFG_END()};
	size_t n = 0;
	cfg_t *parser;

	make_options(root, agent_conf_root);
	make_options(service, agent_conf_service);
	make_options(credential, agent_conf_credential);
	while (root[n].name)
		n++;
	memcpy(root + n, sections, sizeof sections);
	parser = cfg_init(root, CFGF_NONE);
	if (parser)
		cfg_set_error_function(parser, on_error);
	return parser;
}

static struct conf_value value_at(cfg_opt_t *opt, unsigned n)
{
	const char *text = cfg_opt_getnstr(opt, n), *colon = text ? strchr(text, ':') : NULL;
	return colon ? (struct conf_value){colon + 1, atoi(text)} : (struct conf_value){"", 0};
}

#define VALUES_MAX 64

static void take_option(
	struct conf_reading *r, cfg_t *section, const struct conf_option *o, void *base)
{
	char in[160];
	const struct conf_place p = {r, o, in, base};
	cfg_opt_t *opt = cfg_getopt(section, o->name);
	unsigned i, count = cfg_opt_size(opt);
	struct conf_value values[VALUES_MAX];

	where(section, in, sizeof in);
	for (i = 0; i < count && i < VALUES_MAX; i++)
		values[i] = value_at(opt, i);
	if (count > VALUES_MAX)
		conf_wrong(r, section->line, "option '%s'%s: more than %d values", o->name, in,
			VALUES_MAX);
	else if (count)
		o->take(&p, values, count);
	else if (opt->flags & CFGF_MODIFIED)
		conf_wrong(r, section->line, "option '%s'%s is an empty list", o->name, in);
	else if (o->required)
		conf_wrong(r, section->line, "option '%s'%s is missing", o->name, in);
	else if (o->otherwise)
		o->take(&p, &(struct conf_value){o->otherwise, section->line}, 1);
}

/* base begins with a struct agent_section where there is a title. */
static void take_section(
	struct conf_reading *r, cfg_t *section, const struct conf_option *options, void *base)
{
	const char *title = cfg_title(section);
	if (title && !name_valid(title))
		conf_wrong(r, section->line,
			"%s '%.100s': expected a name: 1 to 64 of a-z, 0-9 and -", section->name,
			title);
	else if (title) {
		struct agent_section *head = base;
		snprintf(head->name, sizeof head->name, "%s", title);
		head->line = section->line;
	}
	for (; options->name; options++)
		take_option(r, section, options, base);
}

static void *take_sections(struct conf_reading *r, cfg_t *root, const char *name,
	const struct conf_option *options, size_t size, size_t *count)
{
	unsigned i, n = cfg_size(root, name);
	char *items = n ? calloc(n, size) : NULL;

	if (!n)
		conf_wrong(r, root->line, "there is no section '%s'", name);
	for (i = 0; items && i < n; i++)
		take_section(r, cfg_getnsec(root, name, i), options, items + i * size);
	*count = items ? n : 0;
	return items;
}

static void parse(struct conf_reading *r, struct agent_config *config, const char *text)
{
	cfg_t *root;

	current = r;
	root = make_parser();
	if (!root || cfg_parse_buf(root, text) != CFG_SUCCESS) {
		if (!r->errors)
			conf_wrong(r, root ? root->line : 0, "can't be read");
		cfg_free(root);
		return;
	}
	take_section(r, root, agent_conf_root, config);
	config->services = take_sections(r, root, "service", agent_conf_service,
		sizeof *config->services, &config->service_count);
	config->credentials = take_sections(r, root, "credential", agent_conf_credential,
		sizeof *config->credentials, &config->credential_count);
	cfg_free(root);
	if (!r->errors)
		agent_conf_check(r, config);
}

struct agent_config *agent_conf_read(const char *path)
{
	struct conf_reading r = {.path = path, .value = BUF_INIT(AGENT_CONF_MAX + 32)};
	struct buf text = BUF_INIT(AGENT_CONF_MAX);
	struct agent_config *config = calloc(1, sizeof *config);
	struct refusal why = {0};

	if (!config || tool_read(&text, path, &why) || !buf_cstr(&text)) {
		tool_fail("agent", 0, "%s", *why.detail ? why.detail : strerror(ENOMEM));
		r.errors++;
	} else {
		agent_conf_scan(&r, buf_cstr(&text), text.len);
		if (!r.errors)
			parse(&r, config, buf_cstr(&text));
	}
	buf_free(&text);
	buf_free(&r.value);
	if (!r.errors)
		return config;
	agent_conf_free(config);
	return NULL;
}

static void free_list(char **list)
{
	size_t i;
	for (i = 0; list && list[i]; i++)
		free(list[i]);
	free(list);
}

void agent_conf_free(struct agent_config *config)
{
	size_t i;
	if (!config)
		return;
	for (i = 0; i < config->service_count; i++) {
		struct agent_service *s = &config->services[i];
		free_list(s->urls);
		free(s->ledger_keys);
		free(s->ca);
		free(s->certificate);
		free(s->private_key);
	}
	for (i = 0; i < config->credential_count; i++) {
		struct agent_credential *c = &config->credentials[i];
		free_list(c->reload.command);
		free(c->reload.unit);
		free(c->reload.pid_file);
		free(c->output);
		free(c->issuer_ca);
		free(c->reference);
	}
	free(config->services);
	free(config->credentials);
	free(config->metrics);
	free(config);
}
