/* What every command of dcsign shares: exit codes, options, files, errors on standard error. */
#ifndef DCSIGN_CLIENT_TOOL_H
#define DCSIGN_CLIENT_TOOL_H

#include <stdbool.h>

#include "buf.h"

enum tool_exit {
	TOOL_OK = 0,
	TOOL_REFUSED = 1,     /* refused by the service, or invalid */
	TOOL_USAGE = 2,	      /* the command line */
	TOOL_UNREACHABLE = 3, /* no service, or it can't serve now */
	TOOL_UNEXPECTED = 4   /* an answer or an error that should not be */
};

/* One option: a value (with the variable that stands in for it, or NULL) or a flag. `o` is the
 * letter of a short form, 0 for none. */
struct tool_option {
	const char *name;
	const char **value;
	bool *flag;
	const char *variable;
	char letter;
};

/*
 * Reads the options of argv[0] = command (the table ends with a NULL name) and the operands, of
 * which there must be exactly `operands`, written to operand[]. TOOL_OK, or TOOL_USAGE after
 * telling what is wrong: an unknown option, one given twice, one without its value, too many
 * operands or too few.
 */
int tool_options(
	const struct tool_option *table, int argc, char **argv, const char **operand, int operands);

/* Values for options that have a variable and were given neither by option nor by it: from the
 * user's client.conf, then from that of the machine (dcsign(1)). TOOL_USAGE after telling what is
 * wrong in a file. */
int tool_defaults(const struct tool_option *table, const char *command);

/* "dcsign COMMAND: ..." and where the help stands, on standard error. Returns TOOL_USAGE. */
int tool_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "dcsign COMMAND: ..." on standard error. Returns code. */
int tool_fail(const char *command, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Appends a file's octets ("-": standard input). On failure *why names the file. ERR_SYSTEM,
 * ERR_NO_ROOM when it is larger than the buffer's limit. */
enum err tool_read(struct buf *out, const char *path, struct refusal *why);

/* "30s", "5m", "24h", "7d" or plain seconds; false for anything else or above 366 days. */
bool tool_duration(const char *text, int64_t *seconds);

#endif
