/* dcsign ledger: reads a stopped ledger or a copy of one. See dcsign-ledger(8). */
#include "settings.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "accept.h"
#include "archived.h"
#include "bookmark.h"
#include "init.h"
#include "memory.h"
#include "options.h"
#include "prove.h"
#include "report.h"
#include "say.h"
#include "succeed_tool.h"

#define PAGE_MAX (64 << 20)

static volatile sig_atomic_t stop;

static void stop_take(int number)
{
	(void)number;
	stop = 1;
}

static int verdict(const struct verify *v)
{
	return v->problems ? EXIT_WRONG : v->archived ? EXIT_ARCHIVED : EXIT_GOOD;
}

static enum err run_verify(const struct options *o, struct store *s, int *status)
{
	struct verify v = {.known = o->known,
		.verifier = o->verifier,
		.verifiers = o->verifiers,
		.witness = o->witness,
		.witnesses = o->witnesses,
		.chain_only = o->chain_only};

	struct refusal why = {0};
	struct bookmark resume = {0};
	enum err e = ERR_OK;

	say_to(&v, o->list.json);
	if (o->progress || isatty(STDERR_FILENO))
		say_progress(&v);
	if (o->resume) {
		e = bookmark_open(&resume, o->resume, &why);
		v.resume = &resume;
		v.stop = &stop;
		signal(SIGINT, stop_take);
		signal(SIGTERM, stop_take);
	}
	if (!e)
		e = verify_store(&v, s, o->list.chain);
	if (o->resume && resume.unwritten)
		refuse(&why, ERR_SYSTEM, "resume", "%s can't be written: %s", o->resume,
			strerror(resume.unwritten));
	if (o->resume)
		bookmark_close(&resume);
	if (why.err || (e == ERR_CLOSED && stop)) {
		fprintf(stderr, "dcsign ledger: %s\n",
			why.err ? why.detail : "stopped; the same --resume goes on from here");
		*status = EXIT_UNEXPECTED;
		return ERR_OK;
	}
	if (e)
		return e;
	say_summary(&v, o->list.json);
	*status = verdict(&v);
	return ERR_OK;
}

/* What is not among the lines, on standard error. */
static void left_out(const struct list *l, int *status)
{
	archived_say(l);
	if (!l->unreadable)
		return;
	fprintf(stderr,
		"dcsign ledger: %llu records can't be read: dcsign ledger verify says which\n",
		(unsigned long long)l->unreadable);
	*status = EXIT_WRONG;
}

static enum err run_list(const struct options *o, struct store *s, int *status)
{
	struct list l = o->list;
	enum err e = list_credentials(&l, s);

	left_out(&l, status);
	return e;
}

static enum err run_export(const struct options *o, struct store *s, int *status)
{
	struct list l = o->list;

	enum err e = list_records(&l, s);

	left_out(&l, status);
	return e;
}

static enum err run_live(const struct options *o, struct store *s, int *status)
{
	struct list l = o->list;
	char text[21];

	if (l.live_at == RECORD_NONE)
		l.live_at = (int64_t)time(NULL);

	enum err e = list_credentials(&l, s);

	left_out(&l, status);
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
	enum err e = prove(&out, s, o->list.id ? o->list.id : "", o->known, &why);

	if (!e)
		printf("%s\n", buf_cstr(&out));
	buf_free(&out);
	if (!why.err)
		return e;
	fprintf(stderr, "dcsign ledger: %s\n", why.detail);
	*status = EXIT_WRONG;
	return ERR_OK;
}

/* "-": standard output. */
static enum err page_write(const char *path, const struct buf *page)
{
	FILE *file = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
	bool good = file && fwrite(page->octets, 1, page->len, file) == page->len;

	if (file && file != stdout)
		good = fclose(file) == 0 && good;
	if (!good)
		fprintf(stderr, "dcsign ledger: %s: %s\n", path, strerror(errno));
	return good ? ERR_OK : ERR_CLOSED;
}

static enum err run_report(const struct options *o, struct store *s, int *status)
{
	struct buf page = BUF_INIT(PAGE_MAX);
	struct report r = {
		.now = o->list.live_at == RECORD_NONE ? (int64_t)time(NULL) : o->list.live_at,
		.verify = {.known = o->known,
			.verifier = o->verifier,
			.verifiers = o->verifiers,
			.witness = o->witness,
			.witnesses = o->witnesses}};
	enum err e;

	if (o->progress || isatty(STDERR_FILENO))
		say_progress(&r.verify);
	e = report_gather(&r, s);
	if (!e) {
		report_html(&page, &r);
		e = page.err ? page.err : page_write(o->html, &page);
	}
	if (!e)
		*status = verdict(&r.verify);
	buf_free(&page);
	report_free(&r);
	return e;
}

/* ---- the command line ---- */

#define COMMON	(OPTION(OPT_LEDGER) | OPTION(OPT_CHAIN))
#define ARCHIVE OPTION(OPT_ARCHIVE)
#define TIMES	(OPTION(OPT_FROM) | OPTION(OPT_TO))
#define FORMS	(OPTION(OPT_JSON) | OPTION(OPT_CSV))
#define WHOSE	(OPTION(OPT_KEY) | OPTION(OPT_CLIENT) | OPTION(OPT_ID))
#define FILTERS                                                                                    \
	(WHOSE | FORMS | OPTION(OPT_SPKI) | OPTION(OPT_CERTIFICATE) | OPTION(OPT_PUBLIC_KEY) |     \
		OPTION(OPT_CERTIFICATE_FILE))

static const struct command {
	const char *name;
	uint64_t takes;
	enum err (*run)(const struct options *o, struct store *s, int *status);
	bool writes;
} commands[] = {
	{"verify",
		COMMON | OPTION(OPT_JSON) | OPTION(OPT_CHECKPOINT) | OPTION(OPT_VERIFIER_KEY) |
			OPTION(OPT_CHAIN_ONLY) | OPTION(OPT_PROGRESS) | OPTION(OPT_WITNESS_KEY) |
			OPTION(OPT_RESUME) | ARCHIVE,
		run_verify, false},
	{"list", COMMON | TIMES | FILTERS | ARCHIVE, run_list, false},
	{"live", COMMON | FILTERS | OPTION(OPT_AT) | ARCHIVE, run_live, false},
	{"prove", OPTION(OPT_LEDGER) | OPTION(OPT_ID) | OPTION(OPT_CHECKPOINT) | ARCHIVE, run_prove,
		false},
	{"report",
		OPTION(OPT_LEDGER) | OPTION(OPT_HTML) | OPTION(OPT_AT) | OPTION(OPT_CHECKPOINT) |
			OPTION(OPT_VERIFIER_KEY) | OPTION(OPT_PROGRESS) | OPTION(OPT_WITNESS_KEY) |
			ARCHIVE,
		run_report, false},
	{"succeed", COMMON | OPTION(OPT_CHECKPOINT) | OPTION(OPT_REASON) | OPTION(OPT_STATE),
		succeed_stopped, true},
	{"export", COMMON | TIMES | WHOSE | FORMS | OPTION(OPT_TYPE) | ARCHIVE, run_export, false},
	{"archive", OPTION(OPT_LEDGER) | OPTION(OPT_BEFORE) | OPTION(OPT_TO), archived_move, true},
};

static const char usage[] =
	"usage: dcsign ledger verify [--ledger URL] [--chain NAME] [--checkpoint FILE]\n"
	"                            [--verifier-key KEY]... [--witness-key KEY]... "
	"[--chain-only]\n"
	"                            [--resume FILE] [--progress] [--json]\n"
	"       dcsign ledger list   [--ledger URL] [--chain NAME] [--key ID] [--client NAME]\n"
	"                            [--spki-sha256 HEX | --public-key FILE] [--id ID]\n"
	"                            [--certificate-sha256 HEX | --certificate FILE]\n"
	"                            [--from TIME] [--to TIME] [--json | --csv]\n"
	"       dcsign ledger live   the same, with [--at TIME] and without --from and --to\n"
	"       dcsign ledger prove  --id ID [--ledger URL] [--checkpoint FILE]\n"
	"       dcsign ledger export [--ledger URL] [--chain NAME] [--type TYPE] [--key ID]\n"
	"                            [--client NAME] [--id ID] [--from TIME] [--to TIME] [--csv]\n"
	"       dcsign ledger report --html FILE [--ledger URL] [--at TIME] [--checkpoint FILE]\n"
	"                            [--verifier-key KEY]... [--witness-key KEY]... [--progress]\n"
	"       dcsign ledger succeed --chain NAME --reason TEXT [--ledger URL | --state FOLDER]\n"
	"                            [--checkpoint FILE]\n"
	"       dcsign ledger archive --before TIME --to FILE [--ledger URL]\n"
	"       dcsign ledger accept-clock --state FOLDER --token NAME --reason TEXT\n"
	"       dcsign ledger init   [--ledger URL] [--writer ROLE] [--reader ROLE]\n"
	"URL is sqlite:/path or a path, of a stopped ledger or a copy, or postgresql://...;\n"
	"$DCSIGN_LEDGER if not given.\n"
	"All but succeed, archive and init take [--archive FILE]...: where archived records are.\n"
	"TIME is 2027-01-15T08:00:00Z; from is included, to is not.\n"
	"Examples:\n"
	"  dcsign ledger verify --ledger sqlite:copy.db --checkpoint kept.checkpoint\n"
	"  dcsign ledger live --ledger sqlite:copy.db --key www --at 2027-01-15T08:00:00Z\n";

static int misused(const char *what)
{
	fprintf(stderr, "dcsign ledger: %s\nTry: dcsign help ledger\n", what);
	return EXIT_USAGE;
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
	struct archive *archive = NULL;
	int status = EXIT_GOOD;
	char *url = absolute(o->url);

	if (!url) {
		fprintf(stderr, "dcsign ledger: %s: %s\n", o->url, strerror(errno));
		return EXIT_UNEXPECTED;
	}

	enum err e = store_engine_of(url, &engine, &where, &why);

	if (!e)
		e = (c->writes ? engine->open : engine->open_copy)(&s, where, &why);
	free(url);
	if (e) {
		fprintf(stderr, "dcsign ledger: %s\n", why.detail);
		return e == ERR_FORMAT ? EXIT_WRONG : EXIT_UNEXPECTED;
	}
	e = archived_open(o, &archive, &why) ? ERR_OK : ERR_CLOSED;
	s->archive = archive;
	if (e) {
		fprintf(stderr, "dcsign ledger: %s\n", why.detail);
		engine->abandon(s);
		return EXIT_UNEXPECTED;
	}
	e = c->run(o, s, &status);
	archive_free(archive);
	s->archive = NULL;
	if (!e && fflush(stdout) != 0)
		e = ERR_CLOSED;
	if (e == ERR_NOT_FOUND)
		fprintf(stderr, "dcsign ledger: there is no chain \"%s\"\n", o->list.chain);
	else if (e == ERR_CLOSED && engine == &store_postgres && !ferror(stdout))
		fprintf(stderr, "dcsign ledger: the database: %s\n", engine->text(s));
	else if (e == ERR_CLOSED)
		fprintf(stderr, "dcsign ledger: the output can't be written\n");
	else if (e == ERR_NOMEM)
		fprintf(stderr, "dcsign ledger: out of memory\n");
	else if (e)
		fprintf(stderr, "dcsign ledger: the store is damaged: %s\n", engine->text(s));
	if (c->writes && !e)
		e = engine->stop(s);
	else
		engine->abandon(s);
	return !e ? status : e == ERR_FORMAT ? EXIT_WRONG : EXIT_UNEXPECTED;
}

const int memory_exit = EXIT_UNEXPECTED;

int main(int argc, char **argv)
{
	struct options o = {.url = getenv("DCSIGN_LEDGER"),
		.list = {
			.from = INT64_MIN, .to = INT64_MAX, .live_at = RECORD_NONE, .out = stdout}};
	const struct command *c = command_named(argc > 1 ? argv[1] : NULL);
	struct refusal why = {0};

	if (argc > 1 && strcmp(argv[1], "init") == 0)
		return init_main(argc, argv);
	if (argc > 1 && strcmp(argv[1], "accept-clock") == 0)
		return accept_main(argc, argv);
	if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		fputs(usage, stdout);
		return EXIT_GOOD;
	}
	if (!c)
		return misused("give a command: verify, list, live, prove, export, report, init, "
			       "archive, accept-clock or succeed");
	switch (options_read(&o, argc, argv, c->takes, &why)) {
	case OPTIONS_HELP:
		fputs(usage, stdout);
		return EXIT_GOOD;
	case OPTIONS_BAD:
		return misused(why.detail);
	case OPTIONS_GOOD:
		break;
	}
	if (c->run == succeed_stopped && o.state)
		return succeed_fits(&o) ? succeed_running(&o)
					: misused("with --state go --chain and --reason, in "
						  "printable ASCII, the "
						  "reason in 100 characters at most");
	if (!o.url || !*o.url)
		return misused("say which: --ledger or $DCSIGN_LEDGER");
	if (c->run == run_prove && !o.list.id)
		return misused("say which credential: --id");

	if (o.witnesses && !o.checkpoint)
		return misused("a --witness-key is for the heads of a --checkpoint");
	if (c->run == succeed_stopped && (!o.list.chain || !o.reason || !*o.reason))
		return misused("say which chain and why: --chain and --reason");
	if (c->run == archived_move && (!o.to || o.before == RECORD_NONE))
		return misused("say what and where: --before and --to");
	if (c->run == run_report && !o.html)
		return misused("say where the page goes: --html");

	int status = options_files(&o) ? run(c, &o) : EXIT_UNEXPECTED;

	options_free(&o);
	return status;
}
