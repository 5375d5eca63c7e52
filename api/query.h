/* The query of a request target: strict, each parameter known, once, of its form. Pure. */
#ifndef DCSIGN_QUERY_H
#define DCSIGN_QUERY_H

#include "message.h"

enum query_param {		/* as bits */
	QUERY_DRY_RUN = 1 << 0, /* true */
	QUERY_KEY = 1 << 1,
	QUERY_CLIENT = 1 << 2,
	QUERY_LIVE_AT = 1 << 3, /* RFC 3339, as in bodies */
	QUERY_AFTER = 1 << 4,
	QUERY_LIMIT = 1 << 5,
	QUERY_CHAIN = 1 << 6,
	QUERY_ID = 1 << 7, /* of a credential */
	QUERY_FROM = 1 << 8,
	QUERY_TO = 1 << 9,
};

struct query {
	unsigned given; /* bits; the members of what was not given are zeros */
	bool dry_run;
	char key[NAME_SIZE], client[NAME_SIZE];
	char chain[2 * NAME_SIZE + 8];
	char id[ID_SIZE];
	int64_t live_at;
	uint64_t after, limit, from, to; /* decimal, no sign, no leading zeros */
};

/*
 * text: what follows the "?"; NULL: there was none. In a value %XX stands for one octet of visible
 * ASCII, which is the only way to write '#', '%' and '&'. takes: the parameters that there may be;
 * needs: those of them that there must be. ERR_MALFORMED: why->field names the parameter, where
 * there is one, why->detail what is expected.
 */
enum err query_parse(
	struct query *q, unsigned takes, unsigned needs, const char *text, struct refusal *why);

#endif
