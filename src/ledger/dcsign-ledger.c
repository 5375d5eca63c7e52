/* dcsign ledger: reads a stopped ledger or a copy of one. See dcsign-ledger(8). */
#include "settings.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json.h"
#include "list.h"
#include "record.h"
#include "verify.h"

enum { EXIT_GOOD = 0, EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_UNEXPECTED = 4 };

struct options {
	const char *url;
	struct list list; /* chain, key, client, from, to, json */
};

/* ---- verify ---- */

static void problem_text(void *arg, const char *chain, int64_t idx, const char *what)
{
	(void)arg;
	if (idx == NO_IDX)
		printf("%s: %s\n", chain, what);
	else
		printf("%s, record %lld: %s\n", chain, (long long)idx, what);
}

static void problem_json(void *arg, const char *chain, int64_t idx, const char *what)
{
	struct buf b = BUF_INIT(65536);
	struct octets name = octets_text(chain), text = octets_text(what);

	(void)arg;
	buf_text(&b, "{\"chain\":");
	canon_text(&b, &name);
	if (idx != NO_IDX)
		buf_printf(&b, ",\"idx\":%lld", (long long)idx);
	buf_text(&b, ",\"problem\":");
	canon_text(&b, &text);
	printf("%s}\n", buf_cstr(&b));
	buf_free(&b);
}

static void summary(const struct verify *v, bool json)
{
	if (json) {
		printf("{\"chains\":%llu,\"credentials\":%llu,\"open\":%llu,\"problems\":%llu,"
		       "\"records\":%llu}\n",
			(unsigned long long)v->chains, (unsigned long long)v->credentials,
			(unsigned long long)v->open, (unsigned long long)v->problems,
			(unsigned long long)v->records);
		return;
	}
	printf("%llu records in %llu chains, %llu credentials: %s\n",
		(unsigned long long)v->records, (unsigned long long)v->chains,
		(unsigned long long)v->credentials,
		v->problems ? "NOT as they must be" : "all as they must be");
	if (v->problems)
		printf("%llu problems\n", (unsigned long long)v->problems);
	if (v->open)
		printf("%llu attempts have no outcome yet: the ledger was not stopped in order, "
		       "its next start closes them\n",
			(unsigned long long)v->open);
	printf("A ledger that was put back to an older state as a whole looks good here; only a "
	       "signed head kept elsewhere shows that.\n");
}

static enum err run_verify(const struct options *o, struct store *s, int *status)
{
	struct verify v = {.problem = o->list.json ? problem_json : problem_text};
	enum err e = verify_store(&v, s, o->list.chain);

	if (e)
		return e;
	summary(&v, o->list.json);
	*status = v.problems ? EXIT_WRONG : EXIT_GOOD;
	return ERR_OK;
}

/* ---- list, export ---- */

static enum err run_list(const struct options *o, struct store *s, int *status)
{
	struct list l = o->list;

	(void)status;
	return list_credentials(&l, s);
}

static enum err run_export(const struct options *o, struct store *s, int *status)
{
	struct list l = o->list;

	(void)status;
	return list_records(&l, s);
}

/* ---- the command line ---- */

#define MANY 65536 /* options' values above all letters */
enum { OPT_LEDGER = MANY, OPT_CHAIN, OPT_KEY, OPT_CLIENT, OPT_FROM, OPT_TO, OPT_JSON, OPT_HELP };

static const struct option options[] = {{"ledger", required_argument, NULL, OPT_LEDGER},
	{"chain", required_argument, NULL, OPT_CHAIN}, {"key", required_argument, NULL, OPT_KEY},
	{"client", required_argument, NULL, OPT_CLIENT},
	{"from", required_argument, NULL, OPT_FROM}, {"to", required_argument, NULL, OPT_TO},
	{"json", no_argument, NULL, OPT_JSON}, {"help", no_argument, NULL, OPT_HELP},
	{NULL, 0, NULL, 0}};

#define BIT(option) (1u << ((option)-MANY))
#define COMMON	    (BIT(OPT_LEDGER) | BIT(OPT_CHAIN))
#define TIMES	    (BIT(OPT_FROM) | BIT(OPT_TO))

static const struct command {
	const char *name;
	unsigned takes;
	enum err (*run)(const struct options *o, struct store *s, int *status);
} commands[] = {
	{"verify", COMMON | BIT(OPT_JSON), run_verify},
	{"list", COMMON | TIMES | BIT(OPT_JSON) | BIT(OPT_KEY) | BIT(OPT_CLIENT), run_list},
	{"export", COMMON | TIMES | BIT(OPT_JSON), run_export},
};

static const char usage[] =
	"usage: dcsign ledger verify [--ledger URL] [--chain NAME] [--json]\n"
	"       dcsign ledger list   [--ledger URL] [--chain NAME] [--key ID] [--client NAME]\n"
	"                            [--from TIME] [--to TIME] [--json]\n"
	"       dcsign ledger export [--ledger URL] [--chain NAME] [--from TIME] [--to TIME]\n"
	"URL is sqlite:/path or a path, of a stopped ledger or a copy; $DCSIGN_LEDGER if not "
	"given.\n"
	"TIME is 2027-01-15T08:00:00Z; from is included, to is not.\n";

static int misused(const char *what, const char *which)
{
	fprintf(stderr, "dcsign ledger: %s%s\n%s", what, which, usage);
	return EXIT_USAGE;
}

static bool option_take(struct options *o, int option, const char *value)
{
	int64_t ignored;

	switch (option) {
	case OPT_LEDGER:
		o->url = value;
		break;
	case OPT_CHAIN:
		o->list.chain = value;
		break;
	case OPT_KEY:
		o->list.key = value;
		break;
	case OPT_CLIENT:
		o->list.client = value;
		break;
	case OPT_JSON:
		o->list.json = true;
		break;
	default:
		return time_parse(value, option == OPT_FROM ? &o->list.from
					 : option == OPT_TO ? &o->list.to
							    : &ignored);
	}
	return true;
}

static const struct command *command_named(const char *name)
{
	for (size_t i = 0; name && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	}
	return NULL;
}

/* A path from here as an absolute one; a URL as it is. NULL: it leads nowhere. */
static char *absolute(const char *url)
{
	bool is_url = strncmp(url, "sqlite:/", 8) == 0 || strstr(url, "://");

	if (strncmp(url, "sqlite:", 7) == 0 && !is_url)
		url += 7;
	return is_url ? strdup(url) : realpath(url, NULL);
}

static int run(const struct command *c, const struct options *o)
{
	const struct store_engine *engine;
	const char *where;
	struct refusal why = {0};
	struct store *s = NULL;
	int status = EXIT_GOOD;
	char *url = absolute(o->url);

	if (!url) {
		fprintf(stderr, "dcsign ledger: %s: %s\n", o->url, strerror(errno));
		return EXIT_UNEXPECTED;
	}

	enum err e = store_engine_of(url, &engine, &where, &why);

	if (!e)
		e = engine->open_copy(&s, where, &why);
	free(url);
	if (e) {
		fprintf(stderr, "dcsign ledger: %s\n", why.detail);
		return e == ERR_FORMAT ? EXIT_WRONG : EXIT_UNEXPECTED;
	}
	e = c->run(o, s, &status);
	if (!e && fflush(stdout) != 0)
		e = ERR_CLOSED;
	if (e == ERR_NOT_FOUND)
		fprintf(stderr, "dcsign ledger: there is no chain \"%s\"\n", o->list.chain);
	else if (e == ERR_CLOSED)
		fprintf(stderr, "dcsign ledger: the output can't be written\n");
	else if (e)
		fprintf(stderr, "dcsign ledger: the store is damaged: %s\n", engine->text(s));
	engine->abandon(s);
	return !e ? status : e == ERR_FORMAT ? EXIT_WRONG : EXIT_UNEXPECTED;
}

int main(int argc, char **argv)
{
	struct options o = {.url = getenv("DCSIGN_LEDGER"),
		.list = {.from = INT64_MIN, .to = INT64_MAX, .out = stdout}};
	const struct command *c = command_named(argc > 1 ? argv[1] : NULL);
	int option;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(usage, stdout);
		return EXIT_GOOD;
	}
	if (!c)
		return misused("give a command: verify, list or export", "");
	optind = 2;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == '?')
			return misused("", "");
		if (option == OPT_HELP) {
			fputs(usage, stdout);
			return EXIT_GOOD;
		}
		if (!(c->takes & BIT(option)))
			return misused(c->name, " does not take this option");
		if (!option_take(&o, option, optarg))
			return misused(optarg, " is not a time");
	}
	if (optind < argc)
		return misused("what is this: ", argv[optind]);
	if (!o.url || !*o.url)
		return misused("say which: --ledger or $DCSIGN_LEDGER", "");
	return run(c, &o);
}
