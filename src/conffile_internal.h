/* Between the files of conffile: the schema's tables and what takes a value in. */
#ifndef DCSIGN_CONFFILE_INTERNAL_H
#define DCSIGN_CONFFILE_INTERNAL_H

#include <confuse.h>

#include "conffile.h"

struct reading {
	const char *path;
	const struct conffile_source *source;
	struct config *config;
	struct buf text; /* of the value that goes to libconfuse */
	unsigned errors;
	bool nomem;
};

/* A value as it stands in the file. */
struct value {
	const char *text;
	int line;
};

struct option;
/* Where a value is taken in, and for whom. */
struct place {
	struct reading *r;
	cfg_t *section;
	const struct option *option;
	void *base; /* the structure that the section fills */
};

/* Takes the values of one option, in order; says expected() where one is not right. */
typedef void take_fn(const struct place *p, const struct value *value, size_t count);

struct word {
	const char *text; /* NULL ends the list */
	uint64_t value;
};

struct option {
	const char *name; /* NULL ends the table */
	take_fn *take;
	size_t at, size;	  /* the member in the structure; lists: size of an item */
	size_t of;		  /* lists: offset of their count */
	uint64_t least, most;	  /* of a number, or of a duration in the member's unit */
	const char *otherwise;	  /* the value when the option is absent; NULL: the member stays */
	const struct word *words; /* what may stand here */
	bool list, required;
};

/* A kind of section. */
struct section {
	const char *name; /* NULL ends the table */
	const struct option *options;
	const struct section *inner;  /* one kind of section in it, or NULL */
	take_fn *title;		      /* takes the title; NULL: it has none */
	void (*defaults)(void *base); /* fills the structure before; or NULL */
	bool several;	     /* as a list in the structure around it; else it fills that one */
	size_t at, of, size; /* the list, its count, an item */
	bool required;
};

extern const struct option conffile_root[];
extern const struct section conffile_sections[];

/* Complains: FILE:LINE: text */
void conffile_wrong(struct reading *r, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Complains: FILE:LINE: option 'x' in policy 'default': got 'value', expected ... */
void expected(const struct place *p, const struct value *got, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* " in policy 'default'" or "". */
void conffile_where(const cfg_t *section, char *text, size_t size);
/* The line of an option, or of the section's end when it is not there. */
int conffile_line(cfg_t *section, const char *name);
/* The n-th value of an option. */
struct value conffile_value(cfg_opt_t *opt, unsigned n);

/* A path as the configuration means it: relative ones start at the file's folder. Caller frees;
 * NULL sets nomem. */
char *conffile_path(struct reading *r, const char *path);

/* A list for the option's member: zeroed items, their count set. A copy of a text. NULL sets
 * nomem. */
void *conffile_list(const struct place *p, size_t count);
char *conffile_copy(struct reading *r, const char *text);

/* Unclosed strings and comments, ${...} and stray characters: what libconfuse would let pass.
 * Comments become spaces. */
void conffile_scan(struct reading *r, char *text, size_t len);
/* What no single option shows: references, doubles, impossible policies. The config is sorted. */
void conffile_check(struct reading *r, cfg_t *root);

extern take_fn take_name, take_names, take_text, take_texts, take_bool, take_number, take_duration,
	take_duration_ms, take_rate, take_choice, take_bits, take_schemes, take_path, take_file,
	take_files, take_ledger, take_origin, take_monitor, take_listen, take_pin, take_private_key,
	take_module, take_token_uri, take_key_uri, take_environment, take_attributes, take_match;

#endif
