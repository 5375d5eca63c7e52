/*
 * The service's own log: one line per event on standard error (the service manager's journal).
 * logfmt by default (`ts=... level=... event="..." key=value`), JSON lines by option. Values are
 * escaped, so no client can forge a line. Never give it secrets.
 */
#ifndef DCSIGN_LOG_H
#define DCSIGN_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

struct log_field {
	const char *name; /* NULL ends the list */
	const char *text; /* the value; NULL: number */
	int64_t number;
};

/* NULL as the empty text. */
static inline const char *log_value(const char *s)
{
	return s != NULL ? s : "";
}

/* Fields: LOG(LOG_LEVEL_INFO, "key proved", LS("key", name), LN("took_us", us)); */
#define LS(n, s)                                                                                   \
	{                                                                                          \
		.name = (n), .text = log_value(s)                                                  \
	}
#define LN(n, v)                                                                                   \
	{                                                                                          \
		.name = (n), .number = (int64_t)(v)                                                \
	}
#define LOG(level, event, ...)                                                                     \
	log_write(level, event,                                                                    \
		(const struct log_field[]){__VA_ARGS__ __VA_OPT__(, ){.name = NULL}})

/* program: static; stands in each line as `program=`. Call once before threads start.
 * Lines are written with one write(2) each to descriptor 2, thread-safe. */
void log_open(const char *program, enum log_level least, bool json);
void log_write(enum log_level level, const char *event, const struct log_field *fields);
bool log_level_parse(const char *text, enum log_level *level);

#endif
