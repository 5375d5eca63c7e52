#include "settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

#define FILE_NAME "dcsign/client.conf"

/* What may stand in the file: the options that a variable can stand in for. Each has its place for
 * the value, which options point to until the end. */
static struct {
	const char *name;
	char value[1024];
} defaults[] = {{"url", ""}, {"ca", ""}, {"cert", ""}, {"tls-key", ""}, {"key", ""}};

#define DEFAULTS (sizeof defaults / sizeof defaults[0])

static char *trim(char *text)
{
	size_t len;

	text += strspn(text, " \t");
	for (len = strlen(text); len && strchr(" \t\r\n", text[len - 1]); len--)
		text[len - 1] = 0;
	return text;
}

/* "name = value", an empty line or a comment. What is known already stands. */
static bool take_line(char *line)
{
	char *name = trim(line), *value = strchr(name, '=');
	size_t i;

	if (!*name || *name == '#')
		return true;
	if (!value)
		return false;
	*value++ = 0;
	name = trim(name);
	value = trim(value);
	for (i = 0; i < DEFAULTS; i++)
		if (strcmp(defaults[i].name, name) == 0)
			break;
	if (i == DEFAULTS || !*value || strlen(value) >= sizeof defaults[i].value)
		return false;
	if (!*defaults[i].value)
		memcpy(defaults[i].value, value, strlen(value) + 1);
	return true;
}

static int read_file(const char *command, const char *path)
{
	FILE *f = fopen(path, "re");
	char line[2048];
	int number = 0, code = TOOL_OK;

	if (!f)
		return errno == ENOENT || errno == ENOTDIR
			       ? TOOL_OK
			       : tool_fail(command, TOOL_USAGE, "%s: %s", path, strerror(errno));
	while (code == TOOL_OK && fgets(line, sizeof line, f)) {
		number++;
		if (!take_line(line))
			code = tool_fail(command, TOOL_USAGE,
				"%s:%d: expected `name = value`, the name one of url, ca, cert, "
				"tls-key, key",
				path, number);
	}
	fclose(f);
	return code;
}

static int read_files(const char *command)
{
	const char *own = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
	char path[4096] = "";
	int code;

	if (own && *own)
		snprintf(path, sizeof path, "%s/" FILE_NAME, own);
	else if (home && *home)
		snprintf(path, sizeof path, "%s/.config/" FILE_NAME, home);
	code = *path ? read_file(command, path) : TOOL_OK;
	return code == TOOL_OK ? read_file(command, SYSCONFDIR "/" FILE_NAME) : code;
}

int tool_defaults(const struct tool_option *table, const char *command)
{
	const struct tool_option *o;
	bool wanted = false;
	size_t i;
	int code;

	for (o = table; o->name; o++)
		wanted = wanted || (o->value && !*o->value && o->variable);
	code = wanted ? read_files(command) : TOOL_OK;
	for (o = table; wanted && code == TOOL_OK && o->name; o++)
		for (i = 0; o->value && !*o->value && o->variable && i < DEFAULTS; i++)
			if (strcmp(defaults[i].name, o->name) == 0 && *defaults[i].value)
				*o->value = defaults[i].value;
	return code;
}
