/* dcsign-keys: delegation keys in a key ceremony. Run as `dcsign keys ...`; never by the daemon. */
#include "settings.h" /* DCSIGN_SANITIZED */

#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#include "keys.h"
#include "memory.h"

int keys_complain(const struct refusal *why)
{
	const char *text = why->detail[0] != '\0' ? why->detail : err_text(why->err);

	fprintf(stderr, "dcsign keys: %s%s%s\n", why->field, why->field[0] != '\0' ? ": " : "",
		text);
	return why->err == ERR_TOKEN || why->err == ERR_PIN ? EXIT_UNREACHABLE
	       : why->err == ERR_FORMAT			    ? EXIT_USAGE
							    : EXIT_REFUSED;
}

static const struct {
	const char *name;
	keys_command *run;
} commands[] = {
	{"generate", keys_generate},
	{"csr", keys_csr},
	{"list", keys_list},
	{"check", keys_check},
};

static void usage(FILE *to)
{
	fputs("usage: dcsign keys generate --module PATH --uri URI --pin file:PATH --type TYPE "
	      "[--json]\n"
	      "       dcsign keys csr      --module PATH --uri URI --pin file:PATH "
	      "[--subject NAME] [--dns NAME]... [-o FILE]\n"
	      "       dcsign keys check    --module PATH --uri URI --pin file:PATH "
	      "[--accept ATTRIBUTE]... [--json]\n"
	      "       dcsign keys list     --module PATH --uri URI --pin file:PATH [--json]\n"
	      "       dcsign keys reset-pin-breaker [--state FOLDER] [--serial SERIAL]\n"
	      "URI is pkcs11:token=...;object=...; instead of it --token LABEL|URI, --label LABEL\n"
	      "and --id HEX can be given. --while-running: beside a service that uses the token;\n"
	      "--final-try: though the token says that the PIN is at its last try.\n"
	      "See dcsign-keys(8).\n"
	      "Example:\n"
	      "  dcsign keys generate --module /usr/lib/softhsm/libsofthsm2.so \\\n"
	      "      --uri 'pkcs11:token=dcsign;object=www' --pin file:/etc/dcsign/pin --type "
	      "p256\n",
		to);
}

static bool add(const char **list, size_t *count, const char *value)
{
	if (*count == NAMES_MAX)
		return false;
	list[(*count)++] = value;
	return true;
}

static bool read_options(struct options *o, int argc, char **argv)
{
	static const struct option long_options[] = {{"module", 1, NULL, 'm'},
		{"module-args", 1, NULL, 'M'}, {"uri", 1, NULL, 'u'}, {"token", 1, NULL, 't'},
		{"label", 1, NULL, 'l'}, {"id", 1, NULL, 'i'}, {"pin", 1, NULL, 'p'},
		{"type", 1, NULL, 'T'}, {"subject", 1, NULL, 's'}, {"dns", 1, NULL, 'd'},
		{"accept", 1, NULL, 'a'}, {"output", 1, NULL, 'o'}, {"state", 1, NULL, 'S'},
		{"serial", 1, NULL, 'N'}, {"json", 0, NULL, 'j'}, {"while-running", 0, NULL, 'w'},
		{"final-try", 0, NULL, 'f'}, {NULL, 0, NULL, 0}};
	const struct {
		int letter;
		const char **to;
	} texts[] = {{'m', &o->module}, {'M', &o->module_args}, {'u', &o->uri}, {'t', &o->token},
		{'l', &o->label}, {'i', &o->id}, {'p', &o->pin}, {'T', &o->type},
		{'s', &o->subject}, {'o', &o->output}, {'S', &o->state}, {'N', &o->serial}};
	int letter;

	while ((letter = getopt_long(argc, argv, "o:", long_options, NULL)) != -1) {
		bool ok = letter == 'j' || letter == 'w' || letter == 'f';

		o->json = o->json || letter == 'j';
		o->while_running = o->while_running || letter == 'w';
		o->final_try = o->final_try || letter == 'f';
		for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
			if (texts[i].letter == letter) {
				*texts[i].to = optarg;
				ok = true;
			}
		if (letter == 'd')
			ok = add(o->dns, &o->dns_count, optarg);
		if (letter == 'a' && o->accept_count < NAMES_MAX) {
			o->accept[o->accept_count++] = optarg;
			ok = true;
		}
		if (!ok)
			return false;
	}
	return optind == argc;
}

/* The PIN in no core dump; a module whose peer has gone says so by its return code. */
static void close_up(void)
{
	const struct rlimit none = {0, 0};

#ifndef DCSIGN_SANITIZED /* the leak checker attaches to its process */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
#endif
	setrlimit(RLIMIT_CORE, &none);
	signal(SIGPIPE, SIG_IGN);
}

const int memory_exit = EXIT_UNEXPECTED;

int main(int argc, char **argv)
{
	struct options o = {.state = "/var/lib/dcsign"};
	struct refusal why = {.err = ERR_OK};
	struct token *t;
	size_t i = 0;
	enum err e;

	if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
		usage(stdout);
		return EXIT_OK;
	}
	if (argc < 2 || !read_options(&o, argc - 1, argv + 1)) {
		usage(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "reset-pin-breaker") == 0)
		return keys_reset_breakers(&o);
	while (i < sizeof commands / sizeof *commands && strcmp(commands[i].name, argv[1]) != 0)
		i++;
	if (i == sizeof commands / sizeof *commands) {
		usage(stderr);
		return EXIT_USAGE;
	}
	close_up();
	keys_uris(&o);
	e = keys_open(&t, &o, &why);
	if (e == ERR_OK)
		e = commands[i].run(t, &o, &why);
	token_close(t);
	if (e != ERR_OK)
		return keys_complain(&why);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "dcsign keys: standard output: %s\n", strerror(errno));
		return EXIT_UNEXPECTED;
	}
	return EXIT_OK;
}
