#include "settings.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "memory.h"
#include "tool.h"

static int command_help(int argc, char **argv);
static int command_version(int argc, char **argv);
static int command_helper(int argc, char **argv);

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *summary;
	const char *help;   /* NULL: the summary says it all, or the helper tells itself */
	const char *folder; /* of a helper program, in the build tree */
} commands[] = {
	{"request", command_request, "ask the service for a delegated credential", request_help,
		NULL},
	{"agent", command_agent, "keep this machine's delegated credentials fresh", agent_help,
		NULL},
	{"inspect", command_inspect, "show a delegated credential field by field", inspect_help,
		NULL},
	{"verify", command_verify, "judge a delegated credential as a TLS client does", verify_help,
		NULL},
	{"keys", command_helper, "make and check delegation keys in an HSM (dcsign-keys)", NULL,
		"hsm"},
	{"ledger", command_helper, "verify, list and export the ledger (dcsign-ledger)", NULL,
		"src/ledger"},
	{"help", command_help, "this list, or the help of one command", NULL, NULL},
	{"version", command_version, "the version", NULL, NULL},
};

#define COMMANDS (sizeof commands / sizeof commands[0])

static const struct command *find(const char *name)
{
	size_t i;
	for (i = 0; i < COMMANDS; i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static void list(FILE *to)
{
	size_t i;
	fputs("usage: dcsign COMMAND [OPTION]...\n\n", to);
	for (i = 0; i < COMMANDS; i++)
		fprintf(to, "  %-9s %s\n", commands[i].name, commands[i].summary);
	fputs("\n`dcsign help COMMAND` tells more, with examples; dcsign(1) everything.\n"
	      "Exit: 0 done, 1 refused or invalid, 2 command line, 3 unreachable, 4 unexpected.\n",
		to);
}

static int command_version(int argc, char **argv)
{
	if (argc > 1)
		return tool_usage("version", "%s is one argument too many", argv[1]);
	puts("dcsign " PACKAGE_VERSION);
	return TOOL_OK;
}

/* The program of a helper command, as git finds its own: in one folder that is known when built. */
static int helper_path(char *path, size_t size, const struct command *c)
{
	const char *folder = PKGLIBEXECDIR;
	int n;
#ifdef DCSIGN_TEST_HOOKS
	const char *tree = getenv("DCSIGN_LIBEXECDIR");
	if (tree)
		n = snprintf(path, size, "%s/%s/dcsign-%s", tree, c->folder, c->name);
	else
#endif
		n = snprintf(path, size, "%s/dcsign-%s", folder, c->name);
	return n > 0 && (size_t)n < size;
}

static int command_helper(int argc, char **argv)
{
	const struct command *c = find(argv[0]);
	char path[PATH_MAX], name[32];

	(void)argc;
	if (!c || !helper_path(path, sizeof path, c))
		return tool_fail(argv[0], TOOL_UNEXPECTED, "its path is too long");
	snprintf(name, sizeof name, "dcsign-%s", c->name);
	argv[0] = name;
	execv(path, argv);
	return tool_fail(c->name, TOOL_UNEXPECTED, "%s: %s", path, strerror(errno));
}

static int command_help(int argc, char **argv)
{
	char help[] = "--help";
	const struct command *c;

	if (argc > 2)
		return tool_usage("help", "%s is one argument too many", argv[2]);
	if (argc < 2) {
		list(stdout);
		return TOOL_OK;
	}
	c = find(argv[1]);
	if (!c)
		return tool_usage("help", "there is no command %s", argv[1]);
	if (c->folder) {
		char *of_helper[] = {argv[1], help, NULL};
		return command_helper(2, of_helper);
	}
	if (c->help)
		fputs(c->help, stdout);
	else
		printf("dcsign %s: %s\n", c->name, c->summary);
	return TOOL_OK;
}

static int run(const struct command *c, int argc, char **argv)
{
	if (c->help && argc == 2 && strcmp(argv[1], "--help") == 0) {
		fputs(c->help, stdout);
		return TOOL_OK;
	}
	return c->run(argc, argv);
}

const int memory_exit = TOOL_UNEXPECTED;

int main(int argc, char **argv)
{
	const struct command *c;
	int code;

	if (argc < 2) {
		list(stderr);
		return TOOL_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "--version") == 0)
		argv[1] += 2;
	c = find(argv[1]);
	if (!c) {
		fprintf(stderr, "dcsign: there is no command %s\nTry: dcsign help\n", argv[1]);
		return TOOL_USAGE;
	}
	code = run(c, argc - 1, argv + 1);
	if (fflush(stdout) != 0 || ferror(stdout))
		return tool_fail(argv[1], TOOL_UNEXPECTED, "standard output: %s", strerror(errno));
	return code;
}
