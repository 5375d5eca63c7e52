/* READ_LIVE: how many credentials live. */
#include "answers.h"

#include <string.h>
#include <time.h>

static int64_t processor_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static bool known(
	const struct ledger *l, const struct msg_read *m, int64_t ms, struct msg_read_answer *a)
{
	for (unsigned i = 0; i < LIVE_KEPT; i++) {
		const struct live_kept *k = &l->live[i];

		if (k->until_ms <= ms || strcmp(k->key, m->key) != 0 ||
			strcmp(k->client, m->client) != 0)
			continue;
		a->live = k->live;
		a->latest_expiry = k->latest_expiry;
		return true;
	}
	return false;
}

static void keep(struct ledger *l, const struct msg_read *m, int64_t until_ms,
	const struct msg_read_answer *a)
{
	struct live_kept *k = &l->live[l->live_next++ % LIVE_KEPT];

	*k = (struct live_kept){
		.live = a->live, .latest_expiry = a->latest_expiry, .until_ms = until_ms};
	strcpy(k->key, m->key);
	strcpy(k->client, m->client);
}

enum err live_answer(struct ledger *l, const struct msg_read *m, int64_t now, int64_t ms,
	struct msg_read_answer *a)
{
	struct store *s = l->store;
	int64_t before, took_us;
	enum err e;

	if (known(l, m, ms, a))
		return ERR_OK;
	before = processor_us();
	e = s->engine->live_latest(s, m->key, m->client, false, now, &a->live, &a->latest_expiry);
	took_us = processor_us() - before;
	if (!e && took_us >= l->live_dear_us)
		keep(l, m, ms + LIVE_SHARE * took_us / 1000 + 1, a);
	return e;
}
