/* dcsignd-hsm: the process that holds the delegation keys of one token. Started by dcsignd. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "clock.h"
#include "log.h"
#include "memory.h"
#include "pin.h"
#include "service.h"
#include "watchdog.h"

#define FILES	      1024  /* descriptors: our own, the module's, ... */
#define FILES_SESSION 8	    /* ... and those of its sessions */
#define START_MS      30000 /* a module that hangs in its start is left and tried again */

static int configuration_refused(uint64_t serial, const struct refusal *why)
{
	child_answer_config(serial, why);
	LOG(LOG_LEVEL_ERROR, "configuration refused", LS("option", why->field),
		LS("detail", why->detail));
	return EXIT_CONFIG;
}

static enum err check_tokens(const struct config *config, struct refusal *why)
{
	for (size_t i = 0; i < config->token_count; i++) {
		const struct config_token *t = &config->token[i];
		struct refusal uri;

		if (token_uri_check(t->uri, &uri) != ERR_OK)
			return refuse(
				why, uri.err, "uri", "token %s: uri: %s", t->name, uri.detail);
	}
	return ERR_OK;
}

/* `-n`: is this bundle one that every hsm process would take? */
static int check_only(struct config *config, uint64_t serial)
{
	struct refusal why = {.err = ERR_OK};
	struct keyring *keys = NULL;

	if (check_tokens(config, &why) != ERR_OK ||
		keyring_new(&keys, config, NULL, &why) != ERR_OK)
		return configuration_refused(serial, &why);
	keyring_unref(keys);
	child_answer_config(serial, NULL);
	return EXIT_DRAINED;
}

/* Logs in, at most once per PIN: the breaker is durable before. */
static enum err log_in(struct token *t, int fd, const char *folder, struct refusal *why)
{
	const char *serial = token_facts(t)->serial;
	enum login_result result;
	struct pin pin;
	enum err e = token_login_allowed(t, RISK_NONE, why);

	if (e == ERR_OK)
		e = pin_read(&pin, fd, why);
	if (e != ERR_OK)
		return e;
	e = breaker_arm(folder, serial, &pin, why);
	result = e == ERR_OK ? token_login(t, pin.text, why) : LOGIN_NOT_TRIED;
	pin_wipe(&pin);
	if (e != ERR_OK)
		return e;
	if (result == LOGIN_REFUSED) {
		breaker_trip(folder, serial, NULL);
		return why->err;
	}
	if (result == LOGIN_UNSURE) {
		breaker_doubt(folder, serial);
		return why->err;
	}
	if (result == LOGIN_DONE)
		return breaker_taken(folder, serial, &pin, why);
	breaker_disarm(folder, serial, NULL);
	return why->err;
}

/* Logged in; or start->token_why says why not, start->absent whether that may pass by itself. */
static void token_start(struct service_start *start, int pin)
{
	const struct config_token *c = config_token(start->config, start->token_name);
	const struct token_spec spec = {.module = c->module,
		.module_args = c->module_args,
		.uri = c->uri,
		.sessions = c->sessions,
		.concurrency = c->concurrency};
	struct refusal *why = &start->token_why;
	enum err e;

	watchdog_begin(START_MS, EXIT_ABSENT);
	e = token_open(&start->token, &spec, why);
	start->no_room = e == ERR_OVERLOADED;
	if (e == ERR_OK) {
		snprintf(start->serial, sizeof start->serial, "%s",
			token_facts(start->token)->serial);
		e = log_in(start->token, pin, start->breaker_folder, why);
	}
	watchdog_end();
	if (e == ERR_OK)
		return;
	LOG(LOG_LEVEL_ERROR, "no token", LS("token", start->token_name), LS("reason", err_name(e)),
		LS("detail", why->detail));
	token_close(start->token);
	start->token = NULL;
	if (e == ERR_SYSTEM || e == ERR_CRYPTO)
		why->err = ERR_PIN; /* the breaker can't be written: no login, but no loop either */
	start->absent = why->err != ERR_PIN;
}

static int serve(struct config *config, struct child_secrets *secrets, uint64_t serial,
	const char *token_name)
{
	struct service_start start = {.config = config, .token_name = token_name};
	struct refusal why = {.err = ERR_OK};
	char folder[4096];
	int code;

	if (config_token(config, token_name) == NULL) {
		refuse(&why, ERR_FORMAT, "token", "there is no token %s", token_name);
		return configuration_refused(serial, &why);
	}
	if (check_tokens(config, &why) != ERR_OK ||
		keyring_new(&start.keys, config, token_name, &why) != ERR_OK)
		return configuration_refused(serial, &why);
	child_answer_config(serial, NULL);
	snprintf(folder, sizeof folder, "%s/hsm", config->state);
	start.breaker_folder = folder;
	if (sandbox_limits(FILES + FILES_SESSION * config_token(config, token_name)->sessions, 0,
		    0) != ERR_OK) {
		LOG(LOG_LEVEL_ERROR, "the process's limits can't be set");
		keyring_unref(start.keys);
		return EXIT_ABSENT;
	}
	keyring_read_ahead(start.keys);
	token_start(&start, child_secret(secrets, "pin", 0));
	child_secrets_close(secrets);
	code = service_run(&start);
	token_close(start.token);
	watchdog_end();
	return code;
}

const int memory_exit = EXIT_ABSENT;

int main(int argc, char **argv)
{
	struct child_secrets secrets;
	struct config *config;
	uint64_t serial;
	sigset_t signals;
	int code;

	log_open("dcsignd-hsm", LOG_LEVEL_INFO, false);
	if (argc != 2) {
		fprintf(stderr, "dcsignd-hsm is started by dcsignd, not by hand\n");
		return 2;
	}
	/* Before the module can start threads of its own: SIGTERM is for the main thread alone, and
	 * a module that takes the handler of SIGPIPE away does not end the process. */
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGPIPE);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	clock_start();
	if (child_start(&config, &secrets, &serial, sha256) != ERR_OK) {
		LOG(LOG_LEVEL_ERROR, "no configuration from the parent");
		return EXIT_MALFORMED;
	}
	log_open("dcsignd-hsm", (enum log_level)config->log.level, config->log.json);
	code = strcmp(argv[1], "-n") == 0 ? check_only(config, serial)
					  : serve(config, &secrets, serial, argv[1]);
	child_secrets_close(&secrets);
	config_unref(config);
	return code;
}
