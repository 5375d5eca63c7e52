#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

#include "fingerprint.h"

#define NOTES_MAX (1 << 20)

static const struct option options[] = {{"ledger", required_argument, NULL, OPT_LEDGER},
	{"chain", required_argument, NULL, OPT_CHAIN}, {"key", required_argument, NULL, OPT_KEY},
	{"client", required_argument, NULL, OPT_CLIENT},
	{"from", required_argument, NULL, OPT_FROM}, {"to", required_argument, NULL, OPT_TO},
	{"json", no_argument, NULL, OPT_JSON}, {"help", no_argument, NULL, OPT_HELP},
	{"checkpoint", required_argument, NULL, OPT_CHECKPOINT},
	{"reason", required_argument, NULL, OPT_REASON},
	{"verifier-key", required_argument, NULL, OPT_VERIFIER_KEY},
	{"at", required_argument, NULL, OPT_AT}, {"spki-sha256", required_argument, NULL, OPT_SPKI},
	{"certificate-sha256", required_argument, NULL, OPT_CERTIFICATE},
	{"csv", no_argument, NULL, OPT_CSV}, {"id", required_argument, NULL, OPT_ID},
	{"chain-only", no_argument, NULL, OPT_CHAIN_ONLY},
	{"resume", required_argument, NULL, OPT_RESUME},
	{"witness-key", required_argument, NULL, OPT_WITNESS_KEY},
	{"type", required_argument, NULL, OPT_TYPE},
	{"public-key", required_argument, NULL, OPT_PUBLIC_KEY},
	{"certificate", required_argument, NULL, OPT_CERTIFICATE_FILE},
	{"html", required_argument, NULL, OPT_HTML}, {"progress", no_argument, NULL, OPT_PROGRESS},
	{"before", required_argument, NULL, OPT_BEFORE},
	{"archive", required_argument, NULL, OPT_ARCHIVE},
	{"state", required_argument, NULL, OPT_STATE}, {NULL, 0, NULL, 0}};

static bool type_named(const char *name, enum record_type *type)
{
	for (unsigned t = RECORD_START; t < RECORD_TYPES; t++) {
		if (strcmp(name, record_type_name((enum record_type)t)) == 0) {
			*type = (enum record_type)t;
			return true;
		}
	}
	return false;
}

/* Where the text of an option goes as it is; NULL: it is not one of these. */
static const char **text_of(struct options *o, int option)
{
	switch (option) {
	case OPT_LEDGER:
		return &o->url;
	case OPT_CHAIN:
		return &o->list.chain;
	case OPT_KEY:
		return &o->list.key;
	case OPT_CLIENT:
		return &o->list.client;
	case OPT_ID:
		return &o->list.id;
	case OPT_CHECKPOINT:
		return &o->checkpoint;
	case OPT_REASON:
		return &o->reason;
	case OPT_RESUME:
		return &o->resume;
	case OPT_HTML:
		return &o->html;
	case OPT_STATE:
		return &o->state;
	default:
		return NULL;
	}
}

/* What an option without a value sets; NULL: it has one. */
static bool *flag_of(struct options *o, int option)
{
	switch (option) {
	case OPT_CSV:
		return &o->list.csv;
	case OPT_JSON:
		return &o->list.json;
	case OPT_CHAIN_ONLY:
		return &o->chain_only;
	case OPT_PROGRESS:
		return &o->progress;
	default:
		return NULL;
	}
}

static bool verifier_read(struct verifier *v, const char *text)
{
	return checkpoint_vkey_read(text, strlen(text), v->name, v->key) == ERR_OK;
}

static bool value_take(struct options *o, int option, const char *value)
{
	uint8_t digest[SHA256_SIZE];

	switch (option) {
	case OPT_VERIFIER_KEY:
		return o->verifiers < VERIFIERS_MAX &&
		       verifier_read(&o->verifier[o->verifiers++], value);
	case OPT_WITNESS_KEY:
		return o->witnesses < WITNESSES_MAX &&
		       checkpoint_witness_read(&o->witness[o->witnesses++], value, strlen(value)) ==
			       ERR_OK;
	case OPT_SPKI:
		o->list.spki_sha256 = value;
		return hex_decode(digest, sizeof(digest), value);
	case OPT_CERTIFICATE:
		o->list.certificate_sha256 = value;
		return hex_decode(digest, sizeof(digest), value);
	case OPT_PUBLIC_KEY:
		o->list.spki_sha256 = o->spki_sha256;
		return fingerprint_public_key(o->spki_sha256, value);
	case OPT_CERTIFICATE_FILE:
		o->list.certificate_sha256 = o->certificate_sha256;
		return fingerprint_certificate(o->certificate_sha256, value);
	case OPT_TYPE:
		return type_named(value, &o->list.type);
	case OPT_AT:
		return time_parse(value, &o->list.live_at);
	case OPT_BEFORE:
		return time_parse(value, &o->before);
	case OPT_FROM:
		return time_parse(value, &o->list.from);
	case OPT_TO: /* of `archive` it is a file */
		o->to = value;
		return o->to_file || time_parse(value, &o->list.to);
	case OPT_ARCHIVE:
		if (o->archives == ARCHIVES_MAX)
			return false;
		o->archive[o->archives++] = value;
		return true;
	default:
		return false;
	}
}

static bool option_take(struct options *o, int option, const char *value)
{
	const char **text = text_of(o, option);
	bool *flag = flag_of(o, option);

	if (text)
		*text = value;
	else if (flag)
		*flag = true;
	else
		return value_take(o, option, value);
	return true;
}

bool options_files(struct options *o)
{
	FILE *file = o->checkpoint ? fopen(o->checkpoint, "re") : NULL;
	uint8_t octets[4096];
	size_t n;
	enum err e;

	o->notes.max = NOTES_MAX;
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

void options_free(struct options *o)
{
	known_free(o->known);
	buf_free(&o->notes);
}

/* What a value of the option is, in words. */
static const char *value_is(int option)
{
	switch (option) {
	case OPT_VERIFIER_KEY:
		return "no verifier key, as `dcsign ledger verify` prints it";
	case OPT_WITNESS_KEY:
		return "no verifier key of a witness, NAME+ID+BASE64";
	case OPT_SPKI:
	case OPT_CERTIFICATE:
		return "no SHA-256 in hex";
	case OPT_PUBLIC_KEY:
		return "no file with a public key, PEM or DER";
	case OPT_CERTIFICATE_FILE:
		return "no file with a certificate, PEM or DER";
	case OPT_TYPE:
		return "no type of record, as ISSUED";
	case OPT_ARCHIVE:
		return "one file too many";
	default:
		return "no time, as 2027-01-15T08:00:00Z";
	}
}

/* One option of those that are to be taken. False: *why says what is wrong. */
static bool option_check(
	struct options *o, int option, const char *name, uint64_t takes, struct refusal *why)
{
	if (option == ':')
		refuse(why, ERR_FORMAT, "", "%s needs a value", name);
	else if (option == '?')
		refuse(why, ERR_FORMAT, "", "there is no option %s", name);
	else if (!(takes & OPTION(option)))
		refuse(why, ERR_FORMAT, "", "this command does not take %s", name);
	else if (!option_take(o, option, optarg))
		refuse(why, ERR_FORMAT, "", "%s: \"%s\" is %s", name, optarg, value_is(option));
	return !why->err;
}

enum options_read options_read(
	struct options *o, int argc, char **argv, uint64_t takes, struct refusal *why)
{
	int option, at = 0;
	char name[64];

	optind = 2;
	opterr = 0;
	o->to_file = strcmp(argv[1], "archive") == 0;
	o->before = RECORD_NONE;
	while ((option = getopt_long(argc, argv, ":", options, &at)) != -1) {
		if (option == OPT_HELP)
			return OPTIONS_HELP;
		snprintf(name, sizeof(name), "%s%s", option < OPTIONS_MANY ? "" : "--",
			option < OPTIONS_MANY ? argv[optind - 1] : options[at].name);
		if (!option_check(o, option, name, takes, why))
			return OPTIONS_BAD;
	}
	if (optind < argc)
		refuse(why, ERR_FORMAT, "", "what is this: %s", argv[optind]);
	else if (o->list.json && o->list.csv)
		refuse(why, ERR_FORMAT, "", "--json or --csv, not both");
	return why->err ? OPTIONS_BAD : OPTIONS_GOOD;
}
