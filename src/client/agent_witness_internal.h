/* Between the two files of agent_witness: what is kept, and what is asked. */
#ifndef DCSIGN_CLIENT_AGENT_WITNESS_INTERNAL_H
#define DCSIGN_CLIENT_AGENT_WITNESS_INTERNAL_H

#include "agent_witness.h"

/* One look at the ledger. */
struct look {
	const struct agent_credential *c;
	json_t *chains;	 /* chain -> {service, url, note}; borrowed */
	char alarm[400]; /* what the ledger did wrong; "": nothing */
	char trouble[400];
	bool proved; /* it was asked something and gave the proof */
};

/* The member's text; "": there is none. Borrowed. */
static inline const char *witness_text(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));
	return s ? s : "";
}

/* Asks at `url` for the inclusion of the credential in place and takes the head that comes with it.
 * false: nothing is known of its chain now. */
bool witness_ask_inclusion(struct look *l, const struct witness_before *before, int64_t now);
/* Asks for the chain's head, and takes it. */
void witness_ask_head(struct look *l, const char *chain, const char *url);

#endif
