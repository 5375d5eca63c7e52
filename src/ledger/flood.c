#include "flood.h"

#include <string.h>

static bool same(const char *text, const struct octets *o)
{
	return strlen(text) == o->len && (o->len == 0 || memcmp(text, o->at, o->len) == 0);
}

static bool copy(char *text, size_t size, const struct octets *o)
{
	if (o->len >= size)
		return false;
	if (o->len)
		memcpy(text, o->at, o->len);
	text[o->len] = '\0';
	return true;
}

static bool over(const struct flood_entry *e, int64_t now_ms)
{
	return e->until_ms <= now_ms;
}

static struct flood_entry *find(
	struct flood *f, const char *chain, const struct record *r, struct flood_entry **unused)
{
	for (int i = 0; i < FLOOD_ENTRIES; i++) {
		struct flood_entry *e = &f->entry[i];

		if (!*e->chain)
			*unused = e;
		else if (strcmp(e->chain, chain) == 0 && same(e->client, &r->client) &&
			 same(e->key, &r->key) && same(e->reason, &r->reason))
			return e;
	}
	return NULL;
}

bool flood_take(struct flood *f, const char *chain, const struct record *r, int64_t now_ms)
{
	struct flood_entry *unused = NULL, *e = find(f, chain, r, &unused);

	if (e && !(over(e, now_ms) && e->counted == 0 && e->pending == 0)) {
		e->pending++;
		return false;
	}
	if (e)
		unused = e;
	if (!unused)
		return true;
	e = unused;
	memset(e, 0, sizeof(*e));
	if (!copy(e->client, sizeof(e->client), &r->client) ||
		!copy(e->key, sizeof(e->key), &r->key) ||
		!copy(e->reason, sizeof(e->reason), &r->reason))
		return true;
	strcpy(e->chain, chain);
	e->until_ms = now_ms + FLOOD_MS;
	e->fresh = true;
	return true;
}

struct flood_entry *flood_due(struct flood *f, int64_t now_ms, bool all)
{
	for (int i = 0; i < FLOOD_ENTRIES; i++) {
		struct flood_entry *e = &f->entry[i];

		if (*e->chain && !e->written && e->counted > 0 && (all || over(e, now_ms))) {
			e->written = true;
			return e;
		}
	}
	return NULL;
}

void flood_settle(struct flood *f, bool committed, int64_t now_ms)
{
	for (int i = 0; i < FLOOD_ENTRIES; i++) {
		struct flood_entry *e = &f->entry[i];

		if (!*e->chain)
			continue;
		if (committed)
			e->counted = (e->written ? 0 : e->counted) + e->pending;
		if ((!committed && e->fresh) || (committed && e->counted == 0 && over(e, now_ms)))
			memset(e, 0, sizeof(*e));
		else if (committed && e->written)
			e->until_ms = now_ms + FLOOD_MS;
		e->pending = 0;
		e->fresh = e->written = false;
	}
}

int64_t flood_wait(const struct flood *f, int64_t now_ms)
{
	int64_t wait = -1;

	for (int i = 0; i < FLOOD_ENTRIES; i++) {
		const struct flood_entry *e = &f->entry[i];

		if (!*e->chain || e->counted == 0)
			continue;

		int64_t left = over(e, now_ms) ? 0 : e->until_ms - now_ms;

		if (wait < 0 || left < wait)
			wait = left;
	}
	return wait;
}
