/* dcsign-keys: what its parts share. Exit codes are those of dcsign(1). */
#ifndef DCSIGN_KEYS_H
#define DCSIGN_KEYS_H

#include "token.h"

enum { EXIT_OK, EXIT_REFUSED, EXIT_USAGE, EXIT_UNREACHABLE, EXIT_UNEXPECTED };

#define NAMES_MAX 64
#define URI_SIZE  1024

struct options {
	const char *module, *module_args, *uri, *token, *label, *id, *pin, *type, *subject, *output;
	const char *state, *serial;
	const char *dns[NAMES_MAX];
	char *accept[NAMES_MAX];
	size_t dns_count, accept_count;
	bool json, while_running, final_try;
	char token_uri[URI_SIZE], key_uri[URI_SIZE]; /* RFC 7512, by keys_uris */
};

/* A command on the open token, logged in. Prints on standard output; standard error is for what it
 * could not do as asked. */
typedef enum err keys_command(struct token *t, const struct options *o, struct refusal *why);
keys_command keys_generate, keys_csr, keys_list, keys_check;

/* Breakers of all tokens, or of --serial. Gives the exit code. */
int keys_reset_breakers(const struct options *o);

/* Fills token_uri and key_uri from --uri, or from --token, --label and --id. What is wrong in them
 * is found when they are read (token_uri_check). */
void keys_uris(struct options *o);

/*
 * Opens the token and logs in, once. Refused before the login: a hazard (keys_hazard.c), a PIN
 * that the token refused before or that it says is at its last try. The caller closes *t.
 */
enum err keys_open(struct token **t, const struct options *o, struct refusal *why);

/* Is the module one that must not be provisioned through? Before it is loaded. */
enum err hazard_of_module(const char *module, struct refusal *why);
/* Would the login write into a token that another process is using? After the module is loaded. */
enum err hazard_of_others(struct refusal *why);

/* Says it on standard error; gives the exit code. */
int keys_complain(const struct refusal *why);

#endif
