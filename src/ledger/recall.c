#include "recall.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

/* Seconds between the clock by which rows are forgotten and that of the newest record. */
#define SLACK 600

struct recalled {
	bool taken;
	bool met;     /* its row was */
	bool several; /* chains: which of them came last is not known */
	struct store_idempotency is;
};

void recall_free(struct recall *k)
{
	free(k->slot);
	memset(k, 0, sizeof(*k));
}

static bool same_name(const struct store_idempotency *a, const struct store_idempotency *b)
{
	return strcmp(a->client, b->client) == 0 && strcmp(a->key, b->key) == 0 &&
	       strcmp(a->idempotency, b->idempotency) == 0;
}

static uint64_t hash_text(uint64_t h, const char *text)
{
	do
		h = (h ^ (uint8_t)*text) * 0x100000001b3;
	while (*text++);
	return h;
}

static struct recalled *slot_of(const struct recall *k, const struct store_idempotency *i)
{
	uint64_t h = hash_text(0xcbf29ce484222325, i->idempotency);
	size_t at;

	h = hash_text(hash_text(h, i->client), i->key);
	for (at = (h >> 20) & (k->size - 1); k->slot[at].taken; at = (at + 1) & (k->size - 1)) {
		if (same_name(&k->slot[at].is, i))
			break;
	}
	return &k->slot[at];
}

/* Makes room and leaves out what is older than a day. */
static enum err renew(struct recall *k, int64_t newest)
{
	struct recall next = {.size = k->size ? k->size : 256};
	size_t young = 0;

	for (size_t i = 0; i < k->size; i++)
		young += k->slot[i].taken && k->slot[i].is.time > newest - IDEMPOTENCY_TERM;
	while (next.size < 4 * young)
		next.size *= 2;
	next.slot = calloc(next.size, sizeof(*next.slot));
	if (!next.slot)
		return ERR_NOMEM;
	for (size_t i = 0; i < k->size; i++) {
		if (!k->slot[i].taken || k->slot[i].is.time <= newest - IDEMPOTENCY_TERM)
			continue;
		*slot_of(&next, &k->slot[i].is) = k->slot[i];
		next.used++;
	}
	free(k->slot);
	*k = next;
	return ERR_OK;
}

static bool read_name(struct store_idempotency *i, const struct record *r)
{
	return state_text(i->client, sizeof(i->client), &r->client) &&
	       state_text(i->key, sizeof(i->key), &r->key) &&
	       state_text(i->idempotency, sizeof(i->idempotency), &r->idempotency) &&
	       state_text(i->id, sizeof(i->id), &r->id) &&
	       state_text(i->chain, sizeof(i->chain), &r->chain);
}

enum err recall_authorised(struct recall *k, const struct record *r, int64_t newest)
{
	struct store_idempotency i = {.time = r->now, .authorised = r->idx, .issued = NO_IDX};

	if (!read_name(&i, r) || r->request_sha256.len != SHA256_SIZE ||
		i.time <= newest - IDEMPOTENCY_TERM)
		return ERR_OK;
	memcpy(i.request_sha256, r->request_sha256.at, SHA256_SIZE);
	if (2 * k->used >= k->size && renew(k, newest))
		return ERR_NOMEM;

	struct recalled *to = slot_of(k, &i);
	bool there = to->taken && i.time - to->is.time < IDEMPOTENCY_TERM;

	k->used += !to->taken;
	to->several = there && (to->several || strcmp(to->is.chain, i.chain) != 0);
	to->taken = true;
	if (there && to->is.issued != NO_IDX) /* a second signature, which will be LATE */
		to->is.time = i.time;
	else
		to->is = i;
	return ERR_OK;
}

void recall_issued(struct recall *k, const struct record *r, const struct record *authorised)
{
	struct store_idempotency i = {.authorised = authorised->idx, .issued = r->idx};
	struct recalled *to;

	if (k->size == 0 || !read_name(&i, authorised))
		return;
	to = slot_of(k, &i);
	if (!to->taken)
		return;
	i.time = to->is.time;
	memcpy(i.request_sha256, to->is.request_sha256, SHA256_SIZE);
	to->is = i;
}

/* NULL: it is the row that the records say. */
static const char *differs(const struct recalled *k, const struct store_idempotency *row)
{
	const struct store_idempotency *is = &k->is;

	if (memcmp(row->request_sha256, is->request_sha256, SHA256_SIZE) != 0)
		return "another request";
	if (row->issued != is->issued)
		return is->issued == NO_IDX ? "a credential that was not released"
					    : "another credential, or none";
	if (k->several && is->issued == NO_IDX)
		return NULL;
	if (strcmp(row->id, is->id) != 0 || strcmp(row->chain, is->chain) != 0 ||
		row->authorised != is->authorised)
		return "another attempt";
	return k->several || row->time == is->time ? NULL : "another time";
}

struct rows {
	struct recall *known;
	int64_t newest;
	void (*say)(void *arg, const char *what);
	void *arg;
};

static void say(const struct rows *rows, const struct store_idempotency *i, const char *what)
{
	char text[512];

	snprintf(text, sizeof(text),
		"the table of Idempotency-Keys has %s than the records say (client %s, key %s, "
		"\"%s\")",
		what, i->client, i->key, i->idempotency);
	rows->say(rows->arg, text);
}

static enum err row_check(void *arg, const struct store_idempotency *row)
{
	struct rows *rows = arg;
	struct recalled *k = rows->known->size ? slot_of(rows->known, row) : NULL;
	const char *what;

	if (k && k->taken) {
		k->met = true;
		what = differs(k, row);
		if (what)
			say(rows, row, what);
	} else if (row->time > rows->newest - IDEMPOTENCY_TERM) {
		say(rows, row, "one more");
	}
	return ERR_OK;
}

enum err recall_check(struct recall *k, struct store *s, int64_t newest,
	void (*tell)(void *arg, const char *what), void *arg)
{
	struct rows rows = {.known = k, .newest = newest, .say = tell, .arg = arg};
	enum err e = s->engine->idempotency_walk(s, row_check, &rows);

	for (size_t i = 0; i < k->size && !e; i++) {
		const struct recalled *at = &k->slot[i];

		if (at->taken && !at->met && at->is.time > newest - IDEMPOTENCY_TERM + SLACK)
			say(&rows, &at->is, "one less");
	}
	return e;
}
