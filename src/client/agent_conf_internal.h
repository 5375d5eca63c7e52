/* Between the files of agent_conf: what takes a value in. */
#ifndef DCSIGN_CLIENT_AGENT_CONF_INTERNAL_H
#define DCSIGN_CLIENT_AGENT_CONF_INTERNAL_H

#include "agent_conf.h"

struct conf_reading {
	const char *path;
	unsigned errors;
	struct buf value; /* the one that goes to libconfuse */
};

struct conf_value {
	const char *text;
	int line;
};

struct conf_option;
struct conf_place {
	struct conf_reading *r;
	const struct conf_option *option;
	const char *where; /* " in credential 'edge'", or "" */
	void *base;	   /* the structure that the section fills */
};

typedef void conf_take_fn(const struct conf_place *p, const struct conf_value *v, size_t count);

struct conf_option {
	const char *name; /* NULL ends the table */
	conf_take_fn *take;
	size_t at; /* of the member in the structure */
	bool list, required;
	const char *otherwise;	  /* the value when it is absent; NULL: the member stays zero */
	int64_t least, most;	  /* of a duration, in seconds */
	const char *const *words; /* ended with NULL: the member is an int, the word's index */
};

extern const struct conf_option agent_conf_root[], agent_conf_service[], agent_conf_credential[];

/* FILE:LINE: text, on standard error. */
void conf_wrong(struct conf_reading *r, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* FILE:LINE: option 'x' in credential 'edge': got 'value', expected ... */
void conf_expected(const struct conf_place *p, const struct conf_value *v, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* What libconfuse would let pass: ${...}, which it expands from the environment, control characters
 * and strings, comments and sections that do not end. */
void agent_conf_scan(struct conf_reading *r, const char *text, size_t len);
/* What no single option shows: references, doubles, formats that need another key. */
void agent_conf_check(struct conf_reading *r, struct agent_config *config);

#endif
