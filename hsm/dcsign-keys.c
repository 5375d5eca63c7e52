/* dcsign-keys: delegation keys in a key ceremony. Run as `dcsign keys ...`; never by the daemon. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "csr.h"
#include "pin.h"
#include "token_keygen.h"

enum { EXIT_OK, EXIT_REFUSED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_UNEXPECTED };

#define NAMES_MAX 64
#define URI_SIZE  1024

struct options {
	const char *module, *module_args, *uri, *token, *label, *id, *pin, *type, *subject, *output;
	const char *state, *serial;
	const char *dns[NAMES_MAX];
	char *accept[NAMES_MAX];
	size_t dns_count, accept_count;
	char token_uri[URI_SIZE], key_uri[URI_SIZE];
};

static int complain(const struct refusal *why)
{
	const char *text = why->detail[0] != '\0' ? why->detail : err_text(why->err);

	fprintf(stderr, "dcsign keys: %s%s%s\n", why->field, why->field[0] != '\0' ? ": " : "",
		text);
	return why->err == ERR_TOKEN || why->err == ERR_PIN ? EXIT_UNREACHABLE
	       : why->err == ERR_FORMAT			    ? EXIT_USAGE
							    : EXIT_REFUSED;
}

static void append_encoded(char *uri, const char *name, const char *value)
{
	size_t n = strlen(uri);

	n += (size_t)snprintf(uri + n, URI_SIZE - n, "%s%s=", uri[n - 1] == ':' ? "" : ";", name);
	for (; *value != '\0' && n < URI_SIZE - 4; value++)
		if (isalnum((unsigned char)*value) || strchr("-._~", *value) != NULL)
			uri[n++] = *value;
		else
			n += (size_t)snprintf(
				uri + n, URI_SIZE - n, "%%%02X", (unsigned char)*value);
	uri[n] = '\0';
}

/* --id is hex; in a URI each octet is %XX. */
static void append_id(char *uri, const char *hex)
{
	size_t n = strlen(uri);

	n += (size_t)snprintf(uri + n, URI_SIZE - n, "%sid=", uri[n - 1] == ':' ? "" : ";");
	for (; isxdigit((unsigned char)hex[0]) && isxdigit((unsigned char)hex[1]) &&
		n < URI_SIZE - 4;
		hex += 2)
		n += (size_t)snprintf(uri + n, URI_SIZE - n, "%%%.2s", hex);
	if (*hex != '\0')
		snprintf(uri + n, URI_SIZE - n, " "); /* refused when the URI is read */
}

/* The attributes of --uri that name the token: the rest names the key. */
static void split_uri(struct options *o)
{
	static const char *const of_token[] = {"token=", "serial=", "manufacturer=", "model="};
	const char *at = strncmp(o->uri, "pkcs11:", 7) == 0 ? o->uri + 7 : "";

	while (*at != '\0') {
		size_t len = strcspn(at, ";");

		for (size_t i = 0; i < sizeof of_token / sizeof *of_token; i++)
			if (strncmp(at, of_token[i], strlen(of_token[i])) == 0) {
				size_t n = strlen(o->token_uri);

				snprintf(o->token_uri + n, URI_SIZE - n, "%s%.*s",
					o->token_uri[n - 1] == ':' ? "" : ";", (int)len, at);
			}
		at += len + (at[len] == ';');
	}
	snprintf(o->key_uri, URI_SIZE, "%s", o->uri);
}

static void make_uris(struct options *o)
{
	snprintf(o->token_uri, URI_SIZE, "pkcs11:");
	snprintf(o->key_uri, URI_SIZE, "pkcs11:");
	if (o->uri != NULL)
		split_uri(o);
	if (o->token != NULL && strncmp(o->token, "pkcs11:", 7) == 0)
		snprintf(o->token_uri, URI_SIZE, "%s", o->token);
	else if (o->token != NULL)
		append_encoded(o->token_uri, "token", o->token);
	if (o->label != NULL)
		append_encoded(o->key_uri, "object", o->label);
	if (o->id != NULL)
		append_id(o->key_uri, o->id);
}

static enum err read_pin(struct pin *pin, const char *source, struct refusal *why)
{
	struct stat st;
	int fd;
	enum err e;

	if (source == NULL || strncmp(source, "file:", 5) != 0)
		return refuse(why, ERR_FORMAT, "pin", "--pin file:PATH names the file of the PIN");
	fd = open(source + 5, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		e = refuse(why, ERR_FORMAT, "pin", "%s: %s", source + 5, strerror(errno));
	} else if (st.st_mode & (S_IROTH | S_IWOTH)) {
		e = refuse(why, ERR_PIN, "pin", "%s: others can read it (chmod o-rw)", source + 5);
	} else {
		e = pin_read(pin, fd, why);
	}
	if (fd >= 0)
		close(fd);
	return e;
}

/* A person is here: COUNT_LOW is no obstacle, FINAL_TRY is. */
static enum err open_token(struct token **t, const struct options *o, struct refusal *why)
{
	const struct token_spec spec = {.module = o->module,
		.module_args = o->module_args,
		.uri = o->token_uri,
		.sessions = 1};
	struct pin pin;
	enum err e;

	*t = NULL;
	if (o->module == NULL)
		return refuse(why, ERR_FORMAT, "module", "--module PATH names the PKCS#11 module");
	e = token_uri_check(o->token_uri, why);
	if (e == ERR_OK)
		e = token_open(t, &spec, why);
	if (e == ERR_OK)
		e = token_login_allowed(*t, true, why);
	if (e == ERR_OK)
		e = read_pin(&pin, o->pin, why);
	if (e == ERR_OK) {
		if (token_login(*t, pin.text, why) != LOGIN_DONE)
			e = why->err;
		pin_wipe(&pin);
	}
	if (e != ERR_OK) {
		token_close(*t);
		*t = NULL;
	}
	return e;
}

static const struct {
	const char *name;
	enum key_type type;
	unsigned bits;
} types[] = {
	{"P-256", KEY_EC_P256, 0},
	{"P-384", KEY_EC_P384, 0},
	{"P-521", KEY_EC_P521, 0},
	{"P256", KEY_EC_P256, 0},
	{"P384", KEY_EC_P384, 0},
	{"P521", KEY_EC_P521, 0},
	{"Ed25519", KEY_ED25519, 0},
	{"RSA-2048", KEY_RSA, 2048},
	{"RSA-3072", KEY_RSA, 3072},
	{"RSA-4096", KEY_RSA, 4096},
};

static void tell_dropped(void *arg, const char *attribute, const char *why)
{
	(void)arg;
	fprintf(stderr, "dcsign keys: the token does not take %s (%s): left out\n", attribute, why);
}

static enum err do_generate(struct token *t, const struct options *o, struct refusal *why)
{
	struct token_new_key k = {.uri = o->key_uri, .dropped = tell_dropped};
	enum err e;

	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		if (o->type != NULL && strcasecmp(o->type, types[i].name) == 0) {
			k.type = types[i].type;
			k.bits = types[i].bits;
		}
	if (k.type == KEY_NONE)
		return refuse(why, ERR_FORMAT, "type",
			"it must be P-256, P-384, P-521, Ed25519, RSA-2048, RSA-3072 or RSA-4096");
	e = token_key_generate(t, &k, why);
	if (e == ERR_OK)
		printf("made %s %s\n", o->type, o->key_uri);
	return e;
}

static enum err write_out(const char *path, const struct buf *text, struct refusal *why)
{
	FILE *f = path == NULL ? stdout : fopen(path, "w");
	bool ok = f != NULL && fwrite(text->octets, 1, text->len, f) == text->len;

	if (f != NULL && (f == stdout ? fflush(f) : fclose(f)) != 0)
		ok = false;
	if (ok)
		return ERR_OK;
	return refuse(why, ERR_SYSTEM, "output", "%s: %s", path == NULL ? "standard output" : path,
		strerror(errno));
}

static enum err do_csr(struct token *t, const struct options *o, struct refusal *why)
{
	struct csr_wish wish = {.subject = o->subject, .dns = o->dns, .dns_count = o->dns_count};
	struct buf pem = BUF_INIT(65536);
	EVP_PKEY *public_key = NULL;
	struct token_key key;
	enum err e;

	if (o->subject == NULL && o->dns_count == 0)
		return refuse(why, ERR_FORMAT, "subject", "--subject or --dns must be given");
	if (wish.subject == NULL)
		wish.subject = "";
	e = token_key_find(t, o->key_uri, &key, why);
	if (e == ERR_OK)
		e = token_key_public(t, o->key_uri, &public_key, why);
	if (e == ERR_OK)
		e = csr_make(&pem, &wish, t, &key, public_key, why);
	if (e == ERR_OK)
		e = write_out(o->output, &pem, why);
	EVP_PKEY_free(public_key);
	buf_free(&pem);
	return e;
}

static void print_listed(void *arg, const struct token_listed *key)
{
	(void)arg;
	printf("%-10s id=%-24s %s\n", key->type, key->id, key->label);
}

static enum err do_list(struct token *t, const struct options *o, struct refusal *why)
{
	(void)o;
	return token_key_list(t, print_listed, NULL, why);
}

static void print_verdict(void *arg, const char *attribute, const char *value, enum token_verdict v)
{
	static const char *const verdicts[] = {[VERDICT_OK] = "ok",
		[VERDICT_NOTE] = "note",
		[VERDICT_ACCEPTED] = "accepted",
		[VERDICT_REFUSED] = "REFUSED"};

	(void)arg;
	printf("%-20s %-32s %s\n", attribute, value, verdicts[v]);
}

static enum err do_check(struct token *t, const struct options *o, struct refusal *why)
{
	struct token_key_rules rules = {
		.accept = o->accept, .accept_count = o->accept_count, .line = print_verdict};
	struct token_key key;
	char weak[512];
	enum err e = token_key_find(t, o->key_uri, &key, why);

	if (e != ERR_OK)
		return e;
	printf("%-20s %-32s ok\n", "key type", key_type_name(key.type));
	return token_key_check(t, &key, &rules, weak, sizeof weak, why);
}

/* Breakers of all tokens, or of one. */
static int reset_breakers(const struct options *o)
{
	char folder[URI_SIZE];
	struct refusal why = {.err = ERR_OK};
	unsigned cleared = 0;
	struct dirent *entry;
	DIR *d;

	snprintf(folder, sizeof folder, "%s/hsm", o->state);
	d = opendir(folder);
	if (d == NULL && errno != ENOENT) {
		fprintf(stderr, "dcsign keys: %s: %s\n", folder, strerror(errno));
		return EXIT_REFUSED;
	}
	while (d != NULL && (entry = readdir(d)) != NULL) {
		const char *serial = breaker_serial(entry->d_name);
		bool was = false;

		if (serial == NULL || (o->serial != NULL && strcmp(serial, o->serial) != 0))
			continue;
		if (breaker_clear(folder, serial, &was, &why) != ERR_OK) {
			closedir(d);
			return complain(&why);
		}
		printf("cleared the PIN breaker of token %s\n", serial);
		cleared++;
	}
	if (d != NULL)
		closedir(d);
	if (cleared == 0)
		printf("no PIN breaker is set in %s\n", folder);
	return EXIT_OK;
}

static const struct {
	const char *name;
	enum err (*run)(struct token *t, const struct options *o, struct refusal *why);
} commands[] = {
	{"generate", do_generate},
	{"csr", do_csr},
	{"list", do_list},
	{"check", do_check},
};

static void usage(FILE *to)
{
	fputs("usage: dcsign keys generate --module PATH --uri URI --pin file:PATH --type TYPE\n"
	      "       dcsign keys csr      --module PATH --uri URI --pin file:PATH "
	      "[--subject NAME] [--dns NAME]... [-o FILE]\n"
	      "       dcsign keys check    --module PATH --uri URI --pin file:PATH "
	      "[--accept ATTRIBUTE]...\n"
	      "       dcsign keys list     --module PATH --uri URI --pin file:PATH\n"
	      "       dcsign keys reset-pin-breaker [--state FOLDER] [--serial SERIAL]\n"
	      "URI is pkcs11:token=...;object=...; instead of it --token LABEL|URI, --label LABEL\n"
	      "and --id HEX can be given. See dcsign-keys(8).\n",
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
		{"serial", 1, NULL, 'N'}, {NULL, 0, NULL, 0}};
	const struct {
		int letter;
		const char **to;
	} texts[] = {{'m', &o->module}, {'M', &o->module_args}, {'u', &o->uri}, {'t', &o->token},
		{'l', &o->label}, {'i', &o->id}, {'p', &o->pin}, {'T', &o->type},
		{'s', &o->subject}, {'o', &o->output}, {'S', &o->state}, {'N', &o->serial}};
	int letter;

	while ((letter = getopt_long(argc, argv, "o:", long_options, NULL)) != -1) {
		bool ok = false;

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
		return reset_breakers(&o);
	while (i < sizeof commands / sizeof *commands && strcmp(commands[i].name, argv[1]) != 0)
		i++;
	if (i == sizeof commands / sizeof *commands) {
		usage(stderr);
		return EXIT_USAGE;
	}
	make_uris(&o);
	e = open_token(&t, &o, &why);
	if (e == ERR_OK)
		e = commands[i].run(t, &o, &why);
	token_close(t);
	if (e != ERR_OK)
		return complain(&why);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		fprintf(stderr, "dcsign keys: standard output: %s\n", strerror(errno));
		return EXIT_UNEXPECTED;
	}
	return EXIT_OK;
}
