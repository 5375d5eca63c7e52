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
		size_t room = 2 * t->room + 1024;
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
	enum err (*one)(void *arg, const char *key, const char *client, int64_t expiry), void *arg)
{
	enum err e = ERR_OK;

	for (size_t i = 0; !e && i < t->lives; i++)
		e = one(arg, t->name[t->live[i].key].name, t->name[t->live[i].client].name,
			t->live[i].expiry);
	return e;
}

void tally_save(const struct tally *t, struct buf *out)
{
	buf_u32(out, (uint32_t)t->names);
	for (size_t i = 0; i < t->names; i++) {
		buf_u8(out, (uint8_t)t->name[i].kind);
		buf_str(out, t->name[i].name);
		buf_u64(out, t->name[i].live);
	}
	buf_u64(out, t->lives);
	for (size_t i = 0; i < t->lives; i++) {
		buf_u64(out, (uint64_t)t->live[i].expiry);
		buf_u32(out, (uint32_t)t->live[i].key);
		buf_u32(out, (uint32_t)t->live[i].client);
	}
	buf_u64(out, t->uses);
	for (size_t i = 0; i < t->slots; i++) {
		if (!t->used[i].time)
			continue;
		buf_put(out, t->used[i].of, SHA256_SIZE);
		buf_put(out, t->used[i].id, ID_SIZE);
		buf_u64(out, (uint64_t)t->used[i].time);
	}
}

static bool used_load(struct tally *t, struct reader *in)
{
	size_t count = reader_u64(in);

	t->slots = 1024;
	while (t->slots < 2 * count && t->slots < SIZE_MAX / 256)
		t->slots *= 2;
	if (in->failed || count > in->left / (SHA256_SIZE + ID_SIZE) ||
		!(t->used = calloc(t->slots, sizeof(*t->used))))
		return false;
	for (t->uses = 0; t->uses < count; t->uses++) {
		const uint8_t *of = reader_take(in, SHA256_SIZE), *id = reader_take(in, ID_SIZE);
		int64_t time = (int64_t)reader_u64(in);

		if (in->failed || time == 0)
			return false;

		struct tally_used *u = slot_of(t, of);

		memcpy(u->of, of, SHA256_SIZE);
		memcpy(u->id, id, ID_SIZE);
		u->time = time;
	}
	return true;
}

bool tally_load(struct tally *t, struct reader *in)
{
	t->names = reader_u32(in);
	if (in->failed || t->names > in->left ||
		!(t->name = calloc(t->names + 1, sizeof(*t->name))))
		return false;
	for (size_t i = 0; i < t->names; i++) {
		t->name[i].kind = (char)reader_u8(in);
		reader_str(in, t->name[i].name, sizeof(t->name[i].name));
		t->name[i].live = reader_u64(in);
	}
	t->lives = t->room = reader_u64(in);
	if (in->failed || t->lives > in->left / 16 ||
		!(t->live = calloc(t->lives + 1, sizeof(*t->live))))
		return false;
	for (size_t i = 0; i < t->lives; i++) {
		t->live[i].expiry = (int64_t)reader_u64(in);
		t->live[i].key = reader_u32(in);
		t->live[i].client = reader_u32(in);
		if (t->live[i].key >= t->names || t->live[i].client >= t->names)
			return false;
	}
	return used_load(t, in);
}
