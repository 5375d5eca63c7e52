/* The configurations that a chain announced, and what they allowed: the policy of its time applied
 * to each AUTHORISED record anew. */
#ifndef DCSIGN_RULES_H
#define DCSIGN_RULES_H

#include "certificate.h"
#include "policy.h"
#include "record.h"

struct rules;

/* A CONFIG record; one of the same generation is replaced. ERR_FORMAT: its config can't be read,
 * the generation is known all the same. ERR_NOMEM. */
enum err rules_add(struct rules **list, const struct record *r);
void rules_free(struct rules *list);
/* What this record's generation announced; NULL. */
const struct rules *rules_find(const struct rules *list, const struct record *r);

/* AUTHORISED: was its client allowed to, does the policy decide so anew, with the same figures? say
 * is called for each thing that is wrong. */
void rules_check(const struct rules *g, const struct record *r, const struct certificate *c,
	void (*say)(void *arg, const char *what), void *arg);
/* How many unexpired credentials its key and its client may have; 0: any number. */
void rules_limits(
	const struct rules *g, const struct record *r, uint64_t *of_key, uint64_t *of_client);

#endif
