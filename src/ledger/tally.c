#include "tally.h"

#include <stdlib.h>
#include <string.h>

#include "state.h"

struct tally_name {
	char kind; /* k or c */
	char name[NAME_SIZE];
	uint64_t live;
};

struct tally_live {
	int64_t expiry;
	size_t key, client; /* in tally.name */
};

struct tally_used {
	uint8_t of[SHA256_SIZE]; /* client, delegation key and Idempotency-Key */
	char id[ID_SIZE];
	int64_t time; /* 0: a free slot */
};

void tally_free(struct tally *t)
{
	free(t->name);
	free(t->live);
	free(t->used);
	memset(t, 0, sizeof(*t));
}

/* SIZE_MAX: no memory. */
static size_t name_of(struct tally *t, char kind, const struct octets *o)
{
	struct tally_name *more;
	size_t i;

	for (i = 0; i < t->names; i++) {
		const struct tally_name *n = &t->name[i];

		if (n->kind == kind && strlen(n->name) == o->len &&
			memcmp(n->name, o->at, o->len) == 0)
			return i;
	}
	more = reallocarray(t->name, t->names + 1, sizeof(*more));
	if (!more)
		return SIZE_MAX;
	t->name = more;
	more[i] = (struct tally_name){.kind = kind};
	if (!state_text(more[i].name, sizeof(more[i].name), o))
		return SIZE_MAX;
	return t->names++;
}

static void swap(struct tally_live *a, struct tally_live *b)
{
	struct tally_live c = *a;

	*a = *b;
	*b = c;
}

static void heap_put(struct tally *t, struct tally_live l)
{
	size_t i = t->lives++;

	t->live[i] = l;
	for (; i && t->live[(i - 1) / 2].expiry > t->live[i].expiry; i = (i - 1) / 2)
		swap(&t->live[i], &t->live[(i - 1) / 2]);
}

static void heap_drop(struct tally *t)
{
	size_t i = 0, least;

	t->live[0] = t->live[--t->lives];
	for (;;) {
		least = i;
		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < t->lives; child++)
			least = t->live[child].expiry < t->live[least].expiry ? child : least;
		if (least == i)
			return;
		swap(&t->live[i], &t->live[least]);
		i = least;
	}
}

enum err tally_release(
	struct tally *t, const struct record *r, uint64_t *of_key, uint64_t *of_client)
{
	struct tally_live l = {.expiry = r->expiry,
		.key = name_of(t, 'k', &r->key),
		.client = name_of(t, 'c', &r->client)};

	if (l.key == SIZE_MAX || l.client == SIZE_MAX)
		return ERR_NOMEM;
	if (t->lives == t->room) {
		size_t room = t->room ? 2 * t->room : 1024;
		struct tally_live *more = reallocarray(t->live, room, sizeof(*more));

		if (!more)
			return ERR_NOMEM;
		t->live = more;
		t->room = room;
	}
	while (t->lives && t->live[0].expiry <= r->now) {
		t->name[t->live[0].key].live--;
		t->name[t->live[0].client].live--;
		heap_drop(t);
	}
	heap_put(t, l);
	*of_key = ++t->name[l.key].live;
	*of_client = ++t->name[l.client].live;
	return ERR_OK;
}

static struct tally_used *slot_of(const struct tally *t, const uint8_t of[SHA256_SIZE])
{
	size_t at;

	memcpy(&at, of, sizeof(at));
	for (at &= t->slots - 1; t->used[at].time; at = (at + 1) & (t->slots - 1)) {
		if (memcmp(t->used[at].of, of, SHA256_SIZE) == 0)
			break;
	}
	return &t->used[at];
}

/* Makes room and forgets what is older than a day. */
static enum err renew(struct tally *t, int64_t now)
{
	struct tally next = *t;

	next.slots = t->slots ? 2 * t->slots : 1024;
	next.uses = 0;
	next.used = calloc(next.slots, sizeof(*next.used));
	if (!next.used)
		return ERR_NOMEM;
	for (size_t i = 0; i < t->slots; i++) {
		const struct tally_used *u = &t->used[i];

		if (u->time && now - u->time < IDEMPOTENCY_TERM) {
			*slot_of(&next, u->of) = *u;
			next.uses++;
		}
	}
	free(t->used);
	*t = next;
	return ERR_OK;
}

enum err tally_idempotency(struct tally *t, const struct record *r, bool *before)
{
	const struct digest_part parts[] = {{r->client.at, r->client.len}, {"", 1},
		{r->key.at, r->key.len}, {"", 1}, {r->idempotency.at, r->idempotency.len}};
	uint8_t of[SHA256_SIZE];

	*before = false;
	if (2 * t->uses >= t->slots && renew(t, r->time))
		return ERR_NOMEM;
	sha256_parts(parts, sizeof(parts) / sizeof(parts[0]), of);

	struct tally_used *u = slot_of(t, of);

	t->uses += u->time == 0;
	*before = u->time && r->time - u->time < IDEMPOTENCY_TERM &&
		  memcmp(u->id, r->id.at, ID_SIZE - 1) != 0;
	memcpy(u->of, of, SHA256_SIZE);
	memcpy(u->id, r->id.at, ID_SIZE - 1);
	u->time = r->time;
	return ERR_OK;
}

enum err tally_each(const struct tally *t,
	enum err (*one)(void *arg, const char *key, int64_t expiry), void *arg)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < t->lives; i++)
		e = one(arg, t->name[t->live[i].key].name, t->live[i].expiry);
	return e;
}
