#include "settings.h"

#include "conffile.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conffile_internal.h"

/* libconfuse's callbacks get no context. */
static struct reading *current;

/* A bit of cfg_opt_t's flags that libconfuse does not use: this option or section stood here. */
#define SEEN (1 << 24)

/* Complaints. */
static void complain(struct reading *r, int line, const char *fmt, va_list args)
	__attribute__((format(printf, 3, 0)));
static void complain(struct reading *r, int line, const char *fmt, va_list args)
{
	struct buf text = BUF_INIT(16384);
	char what[4096];

	r->errors++;
	vsnprintf(what, sizeof what, fmt, args);
	buf_printf(&text, "%s:%d: %s", r->path, line, what);
	r->source->complain(r->source->context,
		buf_cstr(&text) != NULL ? (const char *)text.octets : "out of memory");
	buf_free(&text);
}

void conffile_wrong(struct reading *r, int line, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	complain(r, line, fmt, args);
	va_end(args);
}

void conffile_where(const cfg_t *section, char *text, size_t size)
{
	text[0] = '\0';
	if (section->title != NULL)
		snprintf(text, size, " in %s '%.200s'", section->name, section->title);
	else if (strcmp(section->name, "root") != 0)
		snprintf(text, size, " in %s", section->name);
}

void expected(const struct place *p, const struct value *got, const char *fmt, ...)
{
	char where[300], what[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(what, sizeof what, fmt, args);
	va_end(args);
	conffile_where(p->section, where, sizeof where);
	if (p->option == NULL)
		conffile_wrong(p->r, got->line, "%s: got '%.200s', expected %s", p->section->name,
			got->text, what);
	else
		conffile_wrong(p->r, got->line, "option '%s'%s: got '%.200s', expected %s",
			p->option->name, where, got->text, what);
}

/* libconfuse's own: syntax and what the schema does not have. */
static void on_error(cfg_t *section, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));
static void on_error(cfg_t *section, const char *fmt, va_list args)
{
	char where[300], what[1024];

	vsnprintf(what, sizeof what, fmt, args);
	conffile_where(section, where, sizeof where);
	conffile_wrong(current, section->line, "%s%s", what, where);
}

/* Each value goes into libconfuse with its line before it: "LINE:value". */
static int on_value(cfg_t *section, cfg_opt_t *opt, const char *value, void *result)
{
	char where[300];

	/* "log|level" reaches into a section; titles and sections are written out here. */
	if (cfg_getopt(section, opt->name) != opt)
		return -1;
	if (opt->nvalues == 1 && (opt->flags & SEEN) != 0) {
		conffile_where(section, where, sizeof where);
		conffile_wrong(current, section->line, "option '%s'%s stands here twice", opt->name,
			where);
	}
	opt->flags |= SEEN;
	buf_reset(&current->text);
	buf_printf(&current->text, "%d:", section->line);
	buf_text(&current->text, value);
	*(const char **)result = buf_cstr(&current->text);
	return *(const char **)result != NULL ? 0 : -1;
}

static int on_section(cfg_t *section, cfg_opt_t *opt)
{
	if ((opt->flags & CFGF_MULTI) == 0 && (opt->flags & SEEN) != 0)
		conffile_wrong(current, section->line, "section '%s' stands here twice", opt->name);
	opt->flags |= SEEN;
	return 0;
}

struct value conffile_value(cfg_opt_t *opt, unsigned n)
{
	const char *text = cfg_opt_getnstr(opt, n),
		   *colon = text != NULL ? strchr(text, ':') : NULL;

	if (colon == NULL)
		return (struct value){"", 0};
	return (struct value){colon + 1, atoi(text)};
}

int conffile_line(cfg_t *section, const char *name)
{
	cfg_opt_t *opt = name[0] != '\0' ? cfg_getopt(section, name) : NULL;

	return opt != NULL && opt->type == CFGT_STR && cfg_opt_size(opt) > 0
		       ? conffile_value(opt, 0).line
		       : section->line;
}

char *conffile_path(struct reading *r, const char *path)
{
	const char *slash = strrchr(r->path, '/');
	char *full = NULL;
	int len = path[0] == '/' ? asprintf(&full, "%s", path)
		  : slash == NULL
			  ? asprintf(&full, "./%s", path)
			  : asprintf(&full, "%.*s/%s", (int)(slash - r->path), r->path, path);

	if (len >= 0)
		return full;
	r->nomem = true;
	return NULL;
}

/* libconfuse's option tables, from ours. */
enum { MOST_OPTIONS = 24 };
struct schema {
	cfg_opt_t root[MOST_OPTIONS], section[MOST_OPTIONS][MOST_OPTIONS], inner[MOST_OPTIONS];
};

static size_t make_options(cfg_opt_t *out, const struct option *o)
{
	const cfg_opt_t one = CFG_STR(NULL, NULL, CFGF_NODEFAULT);
	size_t n = 0;

	for (; o->name != NULL; o++, n++) {
		out[n] = one;
		out[n].name = o->name;
		out[n].flags |= o->list ? CFGF_LIST : CFGF_NONE;
		out[n].parsecb = on_value;
	}
	return n;
}

static void make_section(cfg_opt_t *out, const struct section *s, cfg_opt_t *options)
{
	const cfg_opt_t one = CFG_SEC(NULL, NULL, CFGF_NONE);

	*out = one;
	out->name = s->name;
	out->subopts = options;
	out->flags |= s->title != NULL ? CFGF_TITLE | CFGF_NO_TITLE_DUPES : CFGF_NONE;
	out->flags |= s->several ? CFGF_MULTI : CFGF_NONE;
	out->validcb = on_section;
}

static cfg_t *make_parser(struct reading *r)
{
	struct schema *schema = calloc(1, sizeof *schema);
	cfg_t *root = NULL;
	size_t n;

	if (schema == NULL)
		return NULL;
	n = make_options(schema->root, conffile_root);
	for (size_t i = 0; conffile_sections[i].name != NULL; i++) {
		const struct section *s = &conffile_sections[i];
		size_t inside = make_options(schema->section[i], s->options);

		if (s->inner != NULL) {
			make_options(schema->inner, s->inner->options);
			make_section(&schema->section[i][inside], s->inner, schema->inner);
		}
		make_section(&schema->root[n++], s, schema->section[i]);
	}
	current = r;
	if ((root = cfg_init(schema->root, CFGF_NONE)) != NULL)
		cfg_set_error_function(root, on_error);
	free(schema);
	return root;
}

/* From libconfuse's tree into struct config. */
static void take_absent(const struct place *p, const cfg_opt_t *opt)
{
	const struct option *o = p->option;
	char where[300];

	conffile_where(p->section, where, sizeof where);
	if (opt != NULL && (opt->flags & CFGF_MODIFIED) != 0)
		conffile_wrong(
			p->r, p->section->line, "option '%s'%s is an empty list", o->name, where);
	else if (o->required)
		conffile_wrong(p->r, p->section->line, "option '%s'%s is missing", o->name, where);
	else if (o->otherwise != NULL)
		o->take(p, &(struct value){o->otherwise, p->section->line}, 1);
}

static void take_option(struct reading *r, cfg_t *section, const struct option *o, void *base)
{
	const struct place p = {r, section, o, base};
	cfg_opt_t *opt = cfg_getopt(section, o->name);
	unsigned count = opt != NULL ? cfg_opt_size(opt) : 0;
	struct value *values;

	if (count == 0) {
		take_absent(&p, opt);
		return;
	}
	if ((values = calloc(count, sizeof *values)) == NULL) {
		r->nomem = true;
		return;
	}
	for (unsigned i = 0; i < count; i++)
		values[i] = conffile_value(opt, i);
	o->take(&p, values, count);
	free(values);
}

static void take_section(struct reading *r, cfg_t *section, const struct section *s, void *base);

static void take_sections(struct reading *r, cfg_t *around, const struct section *s, void *base)
{
	unsigned count = cfg_size(around, s->name);
	char where[300];
	uint8_t *items;
	size_t n = count;

	if (!s->several) {
		take_section(r, cfg_getsec(around, s->name), s, base);
		return;
	}
	if (count == 0) {
		if (s->required) {
			conffile_where(around, where, sizeof where);
			conffile_wrong(
				r, around->line, "there is no section '%s'%s", s->name, where);
		}
		return;
	}
	if ((items = calloc(n, s->size)) == NULL) {
		r->nomem = true;
		return;
	}
	memcpy((uint8_t *)base + s->at, &items, sizeof items);
	memcpy((uint8_t *)base + s->of, &n, sizeof n);
	for (unsigned i = 0; i < count; i++)
		take_section(r, cfg_getnsec(around, s->name, i), s, items + i * s->size);
}

static void take_section(struct reading *r, cfg_t *section, const struct section *s, void *base)
{
	const struct place title = {r, section, NULL, base};

	if (section == NULL)
		return;
	if (s->defaults != NULL)
		s->defaults(base);
	if (s->title != NULL)
		s->title(&title, &(struct value){cfg_title(section), section->line}, 1);
	for (const struct option *o = s->options; o->name != NULL; o++)
		take_option(r, section, o, base);
	if (s->inner != NULL)
		take_sections(r, section, s->inner, base);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

static void sort(struct config *c)
{
	if (c->token_count > 0)
		qsort(c->token, c->token_count, sizeof *c->token, by_name);
	if (c->policy_count > 0)
		qsort(c->policy, c->policy_count, sizeof *c->policy, by_name);
	if (c->key_count > 0)
		qsort(c->key, c->key_count, sizeof *c->key, by_name);
	if (c->client_count > 0)
		qsort(c->client, c->client_count, sizeof *c->client, by_name);
}

static void take_all(struct reading *r, cfg_t *root)
{
	for (const struct option *o = conffile_root; o->name != NULL; o++)
		take_option(r, root, o, r->config);
	for (const struct section *s = conffile_sections; s->name != NULL; s++)
		take_sections(r, root, s, r->config);
	if (r->nomem)
		return;
	sort(r->config);
	conffile_check(r, root);
}

static void parse(struct reading *r, const char *text)
{
	cfg_t *root = make_parser(r);

	if (root == NULL) {
		r->nomem = true;
		return;
	}
	if (cfg_parse_buf(root, text) == CFG_SUCCESS)
		take_all(r, root);
	else if (r->errors == 0)
		conffile_wrong(r, root->line, "can't be read");
	cfg_free(root);
}

enum err conffile_parse(struct config **out, const char *path, const char *text, size_t len,
	const struct conffile_source *source)
{
	struct reading r = {.path = path, .source = source, .text = BUF_INIT(CONFFILE_MAX + 32)};
	char *copy;

	*out = NULL;
	if (len > CONFFILE_MAX) {
		conffile_wrong(&r, 1, "more than %u octets", CONFFILE_MAX);
		return ERR_FORMAT;
	}
	r.config = calloc(1, sizeof *r.config);
	copy = malloc(len + 1);
	if (r.config == NULL || copy == NULL) {
		free(copy);
		free(r.config);
		return ERR_NOMEM;
	}
	memcpy(copy, text, len);
	copy[len] = '\0';
	r.config->references = 1;
	conffile_scan(&r, copy, len);
	if (r.errors == 0)
		parse(&r, copy);
	free(copy);
	buf_free(&r.text);
	if (r.errors == 0 && !r.nomem) {
		*out = r.config;
		return ERR_OK;
	}
	config_unref(r.config);
	return r.nomem ? ERR_NOMEM : ERR_FORMAT;
}
