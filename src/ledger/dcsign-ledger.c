/* dcsign ledger: reads a stopped ledger or a copy of one. See dcsign-ledger(8). */
#include "settings.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "list.h"
#include "prove.h"
#include "record.h"
#include "verify.h"

enum { EXIT_GOOD = 0, EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_UNEXPECTED = 4 };

struct options {
	const char *url;
	struct list list; /* chain, key, client, from, to, json ... */
	const char *checkpoint, *verifier_key, *id;
	struct buf notes;    /* what the file `checkpoint` holds */
	struct known *known; /* the same */
	uint8_t public_key[CHECKPOINT_KEY];
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

static void head_text(void *arg, const struct checkpoint *c, const uint8_t key[CHECKPOINT_KEY])
{
	struct buf vkey = BUF_INIT(CHECKPOINT_MAX);

	(void)arg;
	checkpoint_vkey_write(&vkey, c->origin, key);
	printf("%s: newest head over %llu records, verifier key %s\n", c->origin,
		(unsigned long long)c->size, buf_cstr(&vkey));
	buf_free(&vkey);
}

static void head_json(void *arg, const struct checkpoint *c, const uint8_t key[CHECKPOINT_KEY])
{
	struct buf vkey = BUF_INIT(CHECKPOINT_MAX), line = BUF_INIT(CHECKPOINT_MAX);

	(void)arg;
	checkpoint_vkey_write(&vkey, c->origin, key);

	struct octets origin = octets_text(c->origin), text = octets_of(vkey.octets, vkey.len);

	buf_text(&line, "{\"origin\":");
	canon_text(&line, &origin);
	buf_printf(&line, ",\"size\":%llu,\"verifier_key\":", (unsigned long long)c->size);
	canon_text(&line, &text);
	printf("%s}\n", buf_cstr(&line));
	buf_free(&vkey);
	buf_free(&line);
}

static void summary(const struct verify *v, bool json)
{
	if (json) {
		printf("{\"chains\":%llu,\"credentials\":%llu,\"heads\":%llu,\"open\":%llu,"
		       "\"problems\":%llu,\"records\":%llu}\n",
			(unsigned long long)v->chains, (unsigned long long)v->credentials,
			(unsigned long long)v->heads, (unsigned long long)v->open,
			(unsigned long long)v->problems, (unsigned long long)v->records);
		return;
	}
	printf("%llu records in %llu chains, %llu credentials, %llu signed heads: %s\n",
		(unsigned long long)v->records, (unsigned long long)v->chains,
		(unsigned long long)v->credentials, (unsigned long long)v->heads,
		v->problems ? "NOT as they must be" : "all as they must be");
	if (v->problems)
		printf("%llu problems\n", (unsigned long long)v->problems);
	if (v->open)
		printf("%llu attempts have no outcome yet: the ledger was not stopped in order, "
		       "its next start closes them\n",
			(unsigned long long)v->open);
	if (!v->known)
		printf("A ledger that was put back to an older state as a whole looks good here; "
		       "only a signed head kept elsewhere shows that (--checkpoint).\n");
	if (!v->public_key)
		printf("Compare the verifier key with the one that was handed over "
		       "(--verifier-key).\n");
}

static enum err run_verify(const struct options *o, struct store *s, int *status)
{
	struct verify v = {.problem = o->list.json ? problem_json : problem_text,
		.head = o->list.json ? head_json : head_text,
		.known = o->known,
		.public_key = o->verifier_key ? o->public_key : NULL};
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

static enum err run_live(const struct options *o, struct store *s, int *status)
{
	struct list l = o->list;
	char text[21];

	(void)status;
	if (l.live_at == RECORD_NONE)
		l.live_at = (int64_t)time(NULL);

	enum err e = list_credentials(&l, s);

	if (e || l.json || l.csv)
		return e;
	time_text(text, l.latest);
	if (l.count)
		printf("%llu unexpired credentials, the last one until %s\n",
			(unsigned long long)l.count, text);
	else
		printf("no unexpired credential\n");
	return ERR_OK;
}

static enum err run_prove(const struct options *o, struct store *s, int *status)
{
	struct buf out = BUF_INIT(2 * RECORD_MAX);
	struct refusal why = {0};
	enum err e = prove(&out, s, o->id ? o->id : "", o->known, &why);

	if (!e)
		printf("%s\n", buf_cstr(&out));
	buf_free(&out);
	if (!why.err)
		return e;
	fprintf(stderr, "dcsign ledger: %s\n", why.detail);
	*status = EXIT_WRONG;
	return ERR_OK;
}

/* ---- the command line ---- */

#define NOTES_MAX (1 << 20)
#define MANY	  65536 /* options' values above all letters */
enum {
	OPT_LEDGER = MANY,
	OPT_CHAIN,
	OPT_KEY,
	OPT_CLIENT,
	OPT_FROM,
	OPT_TO,
	OPT_JSON,
	OPT_HELP,
	OPT_CHECKPOINT,
	OPT_VERIFIER_KEY,
	OPT_AT,
	OPT_SPKI,
	OPT_CERTIFICATE,
	OPT_CSV,
	OPT_ID
};

static const struct option options[] = {{"ledger", required_argument, NULL, OPT_LEDGER},
	{"chain", required_argument, NULL, OPT_CHAIN}, {"key", required_argument, NULL, OPT_KEY},
	{"client", required_argument, NULL, OPT_CLIENT},
	{"from", required_argument, NULL, OPT_FROM}, {"to", required_argument, NULL, OPT_TO},
	{"json", no_argument, NULL, OPT_JSON}, {"help", no_argument, NULL, OPT_HELP},
	{"checkpoint", required_argument, NULL, OPT_CHECKPOINT},
	{"verifier-key", required_argument, NULL, OPT_VERIFIER_KEY},
	{"at", required_argument, NULL, OPT_AT}, {"spki-sha256", required_argument, NULL, OPT_SPKI},
	{"certificate-sha256", required_argument, NULL, OPT_CERTIFICATE},
	{"csv", no_argument, NULL, OPT_CSV}, {"id", required_argument, NULL, OPT_ID},
	{NULL, 0, NULL, 0}};

#define BIT(option) (1u << ((option)-MANY))
#define COMMON	    (BIT(OPT_LEDGER) | BIT(OPT_CHAIN))
#define TIMES	    (BIT(OPT_FROM) | BIT(OPT_TO))
#define FILTERS                                                                                    \
	(BIT(OPT_KEY) | BIT(OPT_CLIENT) | BIT(OPT_SPKI) | BIT(OPT_CERTIFICATE) | BIT(OPT_JSON) |   \
		BIT(OPT_CSV))

static const struct command {
	const char *name;
	unsigned takes;
	enum err (*run)(const struct options *o, struct store *s, int *status);
} commands[] = {
	{"verify", COMMON | BIT(OPT_JSON) | BIT(OPT_CHECKPOINT) | BIT(OPT_VERIFIER_KEY),
		run_verify},
	{"list", COMMON | TIMES | FILTERS, run_list},
	{"live", COMMON | FILTERS | BIT(OPT_AT), run_live},
	{"prove", BIT(OPT_LEDGER) | BIT(OPT_ID) | BIT(OPT_CHECKPOINT), run_prove},
	{"export", COMMON | TIMES | BIT(OPT_JSON), run_export},
};

static const char usage[] =
	"usage: dcsign ledger verify [--ledger URL] [--chain NAME] [--checkpoint FILE]\n"
	"                            [--verifier-key KEY] [--json]\n"
	"       dcsign ledger list   [--ledger URL] [--chain NAME] [--key ID] [--client NAME]\n"
	"                            [--spki-sha256 HEX] [--certificate-sha256 HEX]\n"
	"                            [--from TIME] [--to TIME] [--json | --csv]\n"
	"       dcsign ledger live   the same, with [--at TIME] and without --from and --to\n"
	"       dcsign ledger prove  --id ID [--ledger URL] [--checkpoint FILE]\n"
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
	uint8_t digest[SHA256_SIZE];
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
	case OPT_CHECKPOINT:
		o->checkpoint = value;
		break;
	case OPT_VERIFIER_KEY:
		o->verifier_key = value;
		return checkpoint_vkey_read(value, strlen(value), NULL, o->public_key) == ERR_OK;
	case OPT_SPKI:
		o->list.spki_sha256 = value;
		return hex_decode(digest, sizeof(digest), value);
	case OPT_CERTIFICATE:
		o->list.certificate_sha256 = value;
		return hex_decode(digest, sizeof(digest), value);
	case OPT_AT:
		return time_parse(value, &o->list.live_at);
	case OPT_CSV:
		o->list.csv = true;
		break;
	case OPT_ID:
		o->id = value;
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

static bool notes_read(struct options *o)
{
	FILE *file = o->checkpoint ? fopen(o->checkpoint, "re") : NULL;
	uint8_t octets[4096];
	size_t n;
	enum err e;

	if (!o->checkpoint)
		return true;
	if (!file) {
		fprintf(stderr, "dcsign ledger: %s: %s\n", o->checkpoint, strerror(errno));
		return false;
	}
	while ((n = fread(octets, 1, sizeof(octets), file)) > 0)
		buf_put(&o->notes, octets, n);
	fclose(file);
	e = known_read(&o->known, (const char *)o->notes.octets, o->notes.len);
	if (e || !o->known || o->notes.err)
		fprintf(stderr, "dcsign ledger: %s is not a file of signed notes\n", o->checkpoint);
	return !e && o->known && !o->notes.err;
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
		.list = {
			.from = INT64_MIN, .to = INT64_MAX, .live_at = RECORD_NONE, .out = stdout}};
	const struct command *c = command_named(argc > 1 ? argv[1] : NULL);
	int option;

	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(usage, stdout);
		return EXIT_GOOD;
	}
	if (!c)
		return misused("give a command: verify, list, live, prove or export", "");
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
			return misused(optarg, " is not a value of this option");
	}
	if (optind < argc)
		return misused("what is this: ", argv[optind]);
	if (!o.url || !*o.url)
		return misused("say which: --ledger or $DCSIGN_LEDGER", "");
	if (c->run == run_prove && !o.id)
		return misused("say which credential: --id", "");
	o.notes.max = NOTES_MAX;

	int status = notes_read(&o) ? run(c, &o) : EXIT_UNEXPECTED;

	known_free(o.known);
	buf_free(&o.notes);
	return status;
}
