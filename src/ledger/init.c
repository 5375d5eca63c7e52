#include "init.h"

#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"
#include "store.h"

enum { WRITER = OPTIONS_MANY, READER, LEDGER, HELP };

static const struct option options[] = {{"ledger", required_argument, NULL, LEDGER},
	{"writer", required_argument, NULL, WRITER}, {"reader", required_argument, NULL, READER},
	{"help", no_argument, NULL, HELP}, {NULL, 0, NULL, 0}};

static const char usage[] =
	"usage: dcsign ledger init [--ledger URL] [--writer ROLE] [--reader ROLE]\n"
	"Makes the ledger, or brings an older one up to date. URL is sqlite:/path or\n"
	"postgresql://OWNER@HOST/DATABASE; $DCSIGN_LEDGER if not given. The database is there\n"
	"already, and so are the roles: the writer is the one that dcsignd connects as (it can "
	"add\n"
	"records and neither change nor delete them), the reader may only read.\n";

/* A bare path from here as an absolute one. */
static bool absolute(char out[PATH_MAX + 16], const char *url)
{
	char here[PATH_MAX];

	if (*url == '/' || strchr(url, ':'))
		return snprintf(out, PATH_MAX + 16, "%s", url) < PATH_MAX;
	return getcwd(here, sizeof(here)) &&
	       snprintf(out, PATH_MAX + 16, "%s/%s", here, url) < PATH_MAX;
}

static int init(const char *given, const char *writer, const char *reader)
{
	const struct store_engine *engine;
	struct refusal why = {.err = ERR_OK};
	char url[PATH_MAX + 16];
	const char *where;
	enum err e = absolute(url, given)
			     ? store_engine_of(url, &engine, &where, &why)
			     : refuse(&why, ERR_NOT_FOUND, "ledger", "the path is too long");

	if (!e)
		e = engine->init(where, writer, reader, &why);
	if (!e)
		return EXIT_GOOD;
	fprintf(stderr, "dcsign ledger: %s\n", why.detail);
	return EXIT_UNEXPECTED;
}

int init_main(int argc, char **argv)
{
	const char *url = getenv("DCSIGN_LEDGER"), *writer = NULL, *reader = NULL;
	int option;

	optind = 2;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case LEDGER:
			url = optarg;
			break;
		case WRITER:
			writer = optarg;
			break;
		case READER:
			reader = optarg;
			break;
		case HELP:
			fputs(usage, stdout);
			return EXIT_GOOD;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (optind == argc && url && *url)
		return init(url, writer, reader);
	fprintf(stderr, "dcsign ledger: %s\n%s",
		optind < argc ? "init takes options only" : "say which: --ledger or $DCSIGN_LEDGER",
		usage);
	return EXIT_USAGE;
}
