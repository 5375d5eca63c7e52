/*
 * The running process: the main thread reads the channels (control, api, ledger) and keeps the
 * deadlines, workers issue, and the keeper looks after token, keys, configuration and the ledger's
 * opening. Only the main thread reads a channel; nothing that it does waits for token or ledger.
 */
#ifndef DCSIGN_SERVICE_H
#define DCSIGN_SERVICE_H

#include "keyring.h"

#define EXIT_DRAINED   0
#define EXIT_MALFORMED 70 /* a malformed message, or a broken invariant */
#define EXIT_ABSENT    75 /* token absent for now, or a new process is wanted */
#define EXIT_CONFIG    78

struct service_start {
	struct config *config; /* borrowed */
	struct keyring *keys;  /* one reference, taken over */
	const char *token_name;
	struct token *token;	    /* logged in; NULL: see token_why */
	bool absent;		    /* no token now; else, without one, no login may be tried */
	bool no_room;		    /* it is absent because it has no session for this process */
	struct refusal token_why;   /* why there is no token */
	char serial[17];	    /* of the token */
	const char *breaker_folder; /* where the PIN breaker of this token is */
};

/*
 * Serves until SIGTERM (drained: EXIT_DRAINED), the token is lost (EXIT_ABSENT) or a malformed
 * message arrives. Returns the process's exit code when all threads have ended, with the watchdog
 * begun; ends the process itself when a thread is stuck in the module. SIGTERM is blocked.
 */
int service_run(const struct service_start *start);

#endif
