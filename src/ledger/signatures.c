#include "signatures.h"

#include <stdlib.h>

#include "pubkey.h"

#define SETS 16
#define SET  32 /* signatures */

struct check {
	int64_t idx;
	EVP_PKEY *key;
	const struct scheme *scheme;
	size_t at, tbs, len; /* in octets: the signature follows what it signs */
	bool good;
};

struct set {
	struct job job; /* first: a job is its set */
	unsigned count;
	struct buf octets;
	struct check check[SET];
};

/* Sets [taken, filled) are with the crew. */
struct signatures {
	struct crew *crew;
	void (*bad)(void *arg, int64_t idx);
	void *arg;
	unsigned taken, filled;
	struct set set[SETS];
};

static void set_check(struct job *j)
{
	struct set *s = (struct set *)j;

	for (unsigned i = 0; i < s->count; i++) {
		struct check *c = &s->check[i];
		const uint8_t *tbs = s->octets.octets + c->at;

		c->good = !pubkey_verify(c->key, c->scheme, tbs, c->tbs, tbs + c->tbs, c->len);
	}
}

static void set_take(struct signatures *s)
{
	struct set *set = &s->set[s->taken++ % SETS];

	crew_wait(s->crew, &set->job);
	for (unsigned i = 0; i < set->count; i++) {
		if (!set->check[i].good)
			s->bad(s->arg, set->check[i].idx);
	}
	set->count = 0;
	buf_reset(&set->octets);
}

static void set_give(struct signatures *s)
{
	struct set *set = &s->set[s->filled++ % SETS];

	set->job.run = set_check;
	crew_put(s->crew, &set->job);
	if (s->filled - s->taken == SETS)
		set_take(s);
}

struct signatures *signatures_make(
	struct crew *crew, void (*bad)(void *arg, int64_t idx), void *arg)
{
	struct signatures *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->crew = crew;
	s->bad = bad;
	s->arg = arg;
	for (unsigned i = 0; i < SETS; i++)
		s->set[i].octets = (struct buf)BUF_INIT(UINT32_MAX);
	return s;
}

enum err signatures_put(struct signatures *s, int64_t idx, EVP_PKEY *key,
	const struct scheme *scheme, const struct buf *tbs, const uint8_t *signature, size_t len)
{
	struct set *set = &s->set[s->filled % SETS];

	set->check[set->count++] = (struct check){.idx = idx,
		.key = key,
		.scheme = scheme,
		.at = set->octets.len,
		.tbs = tbs->len,
		.len = len};
	buf_put(&set->octets, tbs->octets, tbs->len);
	buf_put(&set->octets, signature, len);
	if (set->octets.err)
		return ERR_NOMEM;
	if (set->count == SET)
		set_give(s);
	return ERR_OK;
}

void signatures_end(struct signatures *s)
{
	if (s->set[s->filled % SETS].count)
		set_give(s);
	while (s->taken < s->filled)
		set_take(s);
}

void signatures_free(struct signatures *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < SETS; i++)
		buf_free(&s->set[i].octets);
	free(s);
}
