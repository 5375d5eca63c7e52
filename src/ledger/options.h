/* The command line of `dcsign ledger`: one struct for all commands, a bit for each option. */
#ifndef DCSIGN_OPTIONS_H
#define DCSIGN_OPTIONS_H

#include "list.h"
#include "witness.h"

enum { EXIT_GOOD = 0, EXIT_WRONG = 1, EXIT_USAGE = 2, EXIT_ARCHIVED = 3, EXIT_UNEXPECTED = 4 };

#define VERIFIERS_MAX 64
#define WITNESSES_MAX 16
#define ARCHIVES_MAX  64

struct options {
	const char *url;
	struct list list; /* chain, key, client, from, to, json ... */
	const char *checkpoint, *html, *reason, *resume;
	bool chain_only, progress;
	char spki_sha256[2 * SHA256_SIZE + 1], certificate_sha256[2 * SHA256_SIZE + 1];
	struct buf notes;    /* what the file `checkpoint` holds */
	struct known *known; /* the same */
	struct verifier verifier[VERIFIERS_MAX];
	size_t verifiers;
	struct checkpoint_witness witness[WITNESSES_MAX];
	size_t witnesses;
	const char *state; /* of succeed: the folder of a dcsignd that runs */
	const char *to;	   /* of archive: its file */
	bool to_file;
	int64_t before; /* RECORD_NONE: not given */
	const char *archive[ARCHIVES_MAX];
	size_t archives;
};

#define OPTIONS_MANY 65536 /* options' values are above all letters */
enum {
	OPT_LEDGER = OPTIONS_MANY,
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
	OPT_ID,
	OPT_CHAIN_ONLY,
	OPT_PROGRESS,
	OPT_TYPE,
	OPT_PUBLIC_KEY,
	OPT_CERTIFICATE_FILE,
	OPT_HTML,
	OPT_WITNESS_KEY,
	OPT_REASON,
	OPT_RESUME,
	OPT_BEFORE,
	OPT_ARCHIVE,
	OPT_STATE
};

#define OPTION(option) (UINT64_C(1) << ((option)-OPTIONS_MANY))

enum options_read { OPTIONS_GOOD, OPTIONS_HELP, OPTIONS_BAD };
/* argv[2] and what follows, for a command that takes these options. OPTIONS_BAD: *why says why. */
enum options_read options_read(
	struct options *o, int argc, char **argv, uint64_t takes, struct refusal *why);
/* The files that options name. False: it has been said why not. */
bool options_files(struct options *o);
void options_free(struct options *o);

#endif
