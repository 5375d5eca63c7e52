/* READ_LIVE: how many credentials live. */
#include "answers.h"

#include <string.h>
#include <time.h>

static int64_t clock_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
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
	int64_t worked_us, waited_us;
	bool many;
	enum err e;

	if (known(l, m, ms, a))
		return ERR_OK;
	worked_us = clock_us(CLOCK_THREAD_CPUTIME_ID);
	waited_us = clock_us(CLOCK_MONOTONIC);
	e = s->engine->live_latest(s, m->key, m->client, false, now, &a->live, &a->latest_expiry);
	worked_us = clock_us(CLOCK_THREAD_CPUTIME_ID) - worked_us;
	waited_us = clock_us(CLOCK_MONOTONIC) - waited_us;
	many = a->live >= l->live_many;
	if (!e && (many || worked_us >= l->live_dear_us)) {
		int64_t hold_ms = LIVE_SHARE * (many ? waited_us : worked_us) / 1000 + 1;

		keep(l, m, ms + (hold_ms < LIVE_MOST_MS ? hold_ms : LIVE_MOST_MS), a);
	}
	return e;
}
