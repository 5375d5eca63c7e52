#include "attempts.h"

#include <stdlib.h>
#include <string.h>

static uint8_t number_of(const struct record *r)
{
	bool test = r->type == RECORD_SELF_TEST || r->type == RECORD_KEY_PROVED ||
		    r->type == RECORD_KEY_REFUSED || r->attempt == RECORD_NONE;

	return test ? 0 : (uint8_t)r->attempt;
}

/* FNV-1a: the ids are random already. */
static size_t hash(const uint8_t *id, size_t len, uint8_t number)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < len; i++)
		h = (h ^ id[i]) * 0x100000001b3;
	return (size_t)((h ^ number) * 0x100000001b3 >> 7);
}

/* Where it is, or the free slot where it would be. */
static struct attempt *slot_of(
	const struct attempts *a, const uint8_t *id, size_t len, uint8_t number)
{
	size_t at = hash(id, len, number) & (a->size - 1);

	while (a->slot[at].state != ATTEMPT_NONE &&
		(a->slot[at].number != number || memcmp(a->slot[at].id, id, len) != 0))
		at = (at + 1) & (a->size - 1);
	return &a->slot[at];
}

static bool grow(struct attempts *a)
{
	struct attempts next = *a;

	next.size = a->size ? 2 * a->size : 1024;
	next.slot = calloc(next.size, sizeof(*next.slot));
	if (!next.slot)
		return false;
	for (size_t i = 0; i < a->size; i++) {
		const struct attempt *from = &a->slot[i];

		if (from->state != ATTEMPT_NONE)
			*slot_of(&next, (const uint8_t *)from->id, ID_SIZE - 1, from->number) =
				*from;
	}
	free(a->slot);
	*a = next;
	return true;
}

void attempts_free(struct attempts *a)
{
	for (size_t i = 0; i < a->size; i++)
		free(a->slot[i].json);
	free(a->slot);
	memset(a, 0, sizeof(*a));
}

struct attempt *attempts_find(const struct attempts *a, const struct record *r)
{
	struct attempt *at = NULL;

	if (a->size && r->id.len == ID_SIZE - 1)
		at = slot_of(a, r->id.at, r->id.len, number_of(r));
	return at && at->state != ATTEMPT_NONE ? at : NULL;
}

const struct attempt *attempts_number(
	const struct attempts *a, const struct record *r, uint8_t number)
{
	const struct attempt *at = a->size ? slot_of(a, r->id.at, r->id.len, number) : NULL;

	return at && at->state != ATTEMPT_NONE ? at : NULL;
}

struct attempt *attempts_begin(
	struct attempts *a, const struct record *r, const char *json, size_t len)
{
	if (2 * a->used >= a->size && !grow(a))
		return NULL;

	struct attempt *at = slot_of(a, r->id.at, r->id.len, number_of(r));

	at->json = malloc(len);
	if (!at->json)
		return NULL;
	memcpy(at->json, json, len);
	memcpy(at->id, r->id.at, ID_SIZE - 1);
	at->len = len;
	at->number = number_of(r);
	at->state = ATTEMPT_OPEN;
	at->idx = r->idx;
	a->used++;
	a->open++;
	return at;
}

void attempts_end(struct attempts *a, struct attempt *at, enum attempt_state state)
{
	if (at->state == ATTEMPT_OPEN)
		a->open--;
	at->state = (uint8_t)state;
	if (state == ATTEMPT_CLOSED) {
		free(at->json);
		at->json = NULL;
	}
}
