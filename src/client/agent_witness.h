/*
 * Each agent is a witness of the service's ledger. It keeps the highest signed head (checkpoint.h)
 * of each chain that its credentials were written to, in `.ledger` of the credential's folder, and
 * at each renewal asks the URL that the chain was met at: is the credential in place still in the
 * ledger, and is all that was signed before a part of what is signed now? A no, however it is said,
 * is an alarm, which stays until a person removes `.ledger`. No answer is none.
 *
 * An alarm does not stop renewals: the credential is as good as before, and servers need it.
 */
#ifndef DCSIGN_CLIENT_AGENT_WITNESS_H
#define DCSIGN_CLIENT_AGENT_WITNESS_H

#include <jansson.h>

#include "agent_conf.h"

struct agent_witness {
	int64_t alarm_since; /* seconds since the epoch; 0: there is no alarm */
	char alarm[400];
	int64_t checked_at; /* when the ledger last proved what it was asked for; 0: never */
	uint64_t size;	    /* the largest of the heads that are kept */
	int64_t said_mono;  /* when the alarm was last said */
};

/* The credential in place before a renewal. */
struct witness_before {
	bool known;
	char id[64], chain[160], url[300];
	uint64_t idx;
	uint8_t leaf_hash[32];
	int64_t expiry;
};

/* What .ledger says, for metrics and exit codes; a damaged file is an alarm too. */
void witness_load(struct agent_witness *w, int folder);
/* From the set in place: credential.json and agent.json. */
void witness_before(struct witness_before *before, int folder, int64_t expiry);
/* Asks, judges, writes .ledger and says what is wrong. `place`: the member `ledger` of the answer
 * that came from `url`. */
void witness_renewal(struct agent_witness *w, int folder, const struct agent_credential *c,
	const struct witness_before *before, const json_t *place, const char *url);
/* Says a standing alarm again, not more often than every five minutes. */
void witness_remind(struct agent_witness *w, const struct agent_credential *c);

#endif
