#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPTIONS_MAX 32
#define LONG_OPTION 256 /* above every letter */

static void say(const char *command, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));
static void say(const char *command, const char *fmt, va_list ap)
{
	fprintf(stderr, "dcsign %s: ", command);
	vfprintf(stderr, fmt, ap);
	fputc('\n', stderr);
}

int tool_usage(const char *command, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say(command, fmt, ap);
	va_end(ap);
	fprintf(stderr, "Try: dcsign help %s\n", command);
	return TOOL_USAGE;
}

int tool_fail(const char *command, int code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	say(command, fmt, ap);
	va_end(ap);
	return code;
}

static int take(const struct tool_option *o, const char *command)
{
	if (o->flag) {
		*o->flag = true;
		return TOOL_OK;
	}
	if (!o->value) /* the table has one or the other */
		return TOOL_UNEXPECTED;
	if (*o->value)
		return tool_usage(command, "--%s is given twice", o->name);
	*o->value = optarg;
	return TOOL_OK;
}

static const struct tool_option *by_letter(const struct tool_option *table, int letter)
{
	for (; table->name; table++)
		if (table->letter && table->letter == letter)
			return table;
	return NULL;
}

/* What getopt_long did not take: optopt is 0 for an unknown long option, and the number of a known
 * one for a value that it does not have. */
static int wrong(const struct tool_option *table, const char *command, int kind, char **argv)
{
	if (kind == ':')
		return tool_usage(command, "%s needs a value", argv[optind - 1]);
	if (optopt >= LONG_OPTION)
		return tool_usage(command, "--%s takes no value", table[optopt - LONG_OPTION].name);
	if (optopt)
		return tool_usage(command, "there is no option -%c", optopt);
	return tool_usage(command, "there is no option %s", argv[optind - 1]);
}

/* An empty value counts as none, given or from the environment. */
static void from_environment(const struct tool_option *table)
{
	for (; table->name; table++) {
		if (table->value && !*table->value && table->variable)
			*table->value = getenv(table->variable);
		if (table->value && *table->value && !**table->value)
			*table->value = NULL;
	}
}

int tool_options(
	const struct tool_option *table, int argc, char **argv, const char **operand, int operands)
{
	struct option longs[OPTIONS_MAX + 1] = {{0}};
	char shorts[2 * OPTIONS_MAX + 3] = ":";
	size_t i, at = 1;
	int o, e, k;

	for (i = 0; i < OPTIONS_MAX && table[i].name; i++) {
		longs[i].name = table[i].name;
		longs[i].has_arg = table[i].value ? required_argument : no_argument;
		longs[i].val = (int)i + LONG_OPTION;
		if (table[i].letter) {
			shorts[at++] = table[i].letter;
			if (table[i].value)
				shorts[at++] = ':';
		}
	}
	opterr = 0;
	optind = 1;
	while ((o = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
		const struct tool_option *found;
		if (o == '?' || o == ':')
			return wrong(table, argv[0], o, argv);
		found = o >= LONG_OPTION ? &table[o - LONG_OPTION] : by_letter(table, o);
		if (found && (e = take(found, argv[0])) != TOOL_OK)
			return e;
	}
	if (argc - optind > operands)
		return tool_usage(argv[0], "%s is one argument too many", argv[optind + operands]);
	if (argc - optind < operands)
		return tool_usage(argv[0], "a file is missing");
	for (k = 0; k < operands; k++)
		operand[k] = argv[optind + k];
	from_environment(table);
	return tool_defaults(table, argv[0]);
}

static enum err read_all(struct buf *out, int fd)
{
	uint8_t part[8192];
	ssize_t n;
	while ((n = read(fd, part, sizeof part)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ERR_SYSTEM;
		buf_put(out, part, (size_t)n);
		if (out->err)
			return out->err;
	}
	return ERR_OK;
}

enum err tool_read(struct buf *out, const char *path, struct refusal *why)
{
	bool standard = strcmp(path, "-") == 0;
	int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	enum err e;
	if (fd < 0)
		return refuse(why, ERR_SYSTEM, "", "%s: %s", path, strerror(errno));
	e = read_all(out, fd);
	if (e == ERR_SYSTEM)
		refuse(why, e, "", "%s: %s", path, strerror(errno));
	else if (e)
		refuse(why, e, "", "%s: larger than %zu octets", path, out->max);
	if (!standard)
		close(fd);
	return e;
}

bool tool_duration(const char *text, int64_t *seconds)
{
	static const char units[] = "smhd";
	static const int64_t of[] = {1, 60, 3600, 86400};
	const char *unit;
	int64_t n = 0, factor = 1;
	size_t i = 0;

	for (; text[i] >= '0' && text[i] <= '9' && i < 9; i++)
		n = n * 10 + (text[i] - '0');
	if (i == 0)
		return false;
	if (text[i]) {
		unit = strchr(units, text[i]);
		if (!unit || text[i + 1])
			return false;
		factor = of[unit - units];
	}
	*seconds = n * factor;
	return *seconds <= 366 * of[3];
}
