/* What a dry run tells: the rules that were applied, in order, each with its limit. */
#ifndef DCSIGN_RULES_H
#define DCSIGN_RULES_H

#include "config.h"
#include "message.h"

struct rules_of {
	const struct policy *policy; /* effective */
	const struct config_client *client;
	const struct config_key *key;
	const struct msg_issue_item *item;
	const struct msg_grant *grant;
};
struct rule_applied {
	const char *name; /* stable */
	bool passed;
	char detail[256]; /* the limit, or why it was refused */
};
#define RULES_MAX 16
/* Fills out[0..); returns how many. The last one is the one that refused, if one did. */
size_t rules_applied(const struct rules_of *of, struct rule_applied out[RULES_MAX]);

#endif
