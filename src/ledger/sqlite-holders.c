#include "settings.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "sqlite.h"

#define HOLDERS_RUN   4096 /* records; as the statements have it, a shift by 12 */
#define HOLDERS_RUNS  32
#define READ_AT_ONCE  16   /* runs */
#define TAIL	      512  /* entries that are not in order yet */
#define ROOM_MORE     4096 /* entries */
#define SEGMENTS_MORE 16

/* An entry: 32 bits of the key's hash, and the number of the client. */
struct segment {
	int64_t number; /* its first run is the HOLDERS_RUNS-fold */
	int64_t read;	/* so many runs of it; all that came later are in it anyway */
	uint64_t *entry;
	size_t sorted, count, room; /* the first `sorted` are in order, and none is twice */
	size_t rows, gone;	    /* attempts that are noted, and that left the table since */
};

struct client {
	char name[NAME_SIZE]; /* first: a name alone is enough to look for */
	uint32_t number;      /* from 1 */
};

/* ---- clients ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* 0: it has none. */
static uint32_t number_of(const struct holders *h, const char *client)
{
	struct client *const *found = tfind(client, &h->clients, by_name);

	return found ? (*found)->number : 0;
}

/* 0: no memory. */
static uint32_t number_make(struct holders *h, const char *client)
{
	uint32_t known = number_of(h, client);
	struct client *c;

	if (known)
		return known;
	c = calloc(1, sizeof(*c));
	if (!c)
		return 0;
	strncpy(c->name, client, sizeof(c->name) - 1);
	c->number = h->client_count + 1;
	if (!tsearch(c, &h->clients, by_name)) {
		free(c);
		return 0;
	}
	return ++h->client_count;
}

/* ---- a segment ---- */

static uint64_t first_entry(const uint8_t spki_sha256[])
{
	uint64_t e = 0;

	for (unsigned i = 0; i < 4; i++)
		e = e << 8 | spki_sha256[i];
	return e << 32;
}

static int by_value(const void *a, const void *b)
{
	const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void tail_sort(struct segment *g)
{
	uint64_t tail[TAIL];
	size_t n = g->count - g->sorted, at = g->sorted, to = g->count;

	memcpy(tail, g->entry + g->sorted, n * sizeof(*tail));
	qsort(tail, n, sizeof(*tail), by_value);
	while (n > 0)
		g->entry[--to] =
			at > 0 && g->entry[at - 1] > tail[n - 1] ? g->entry[--at] : tail[--n];
	g->sorted = g->count;
}

/* The first place in order that is not below this entry. */
static size_t place_of(const struct segment *g, uint64_t entry)
{
	size_t low = 0, high = g->sorted;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (g->entry[middle] < entry)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool has(const struct segment *g, uint64_t entry)
{
	size_t at = place_of(g, entry);

	if (at < g->sorted && g->entry[at] == entry)
		return true;
	for (at = g->sorted; at < g->count; at++)
		if (g->entry[at] == entry)
			return true;
	return false;
}

static bool is_other(uint64_t entry, uint64_t first, uint32_t client)
{
	return (entry ^ first) >> 32 == 0 && (uint32_t)entry != client;
}

/* Is it worth a look whether another client has the key? */
static bool may_have(const struct segment *g, uint64_t first, uint32_t client)
{
	if (g->read < HOLDERS_RUNS)
		return true;
	for (size_t at = place_of(g, first); at < g->sorted && g->entry[at] >> 32 == first >> 32;
		at++)
		if (is_other(g->entry[at], first, client))
			return true;
	for (size_t at = g->sorted; at < g->count; at++)
		if (is_other(g->entry[at], first, client))
			return true;
	return false;
}

static enum err entry_add(struct segment *g, uint64_t entry)
{
	if (has(g, entry))
		return ERR_OK;
	if (g->count == g->room) {
		uint64_t *more = reallocarray(g->entry, g->room + ROOM_MORE, sizeof(*more));

		if (!more)
			return ERR_NOMEM;
		g->entry = more;
		g->room += ROOM_MORE;
	}
	g->entry[g->count++] = entry;
	if (g->count - g->sorted == TAIL)
		tail_sort(g);
	return ERR_OK;
}

/* client "": nobody has it. */
static enum err row_add(
	struct holders *h, struct segment *g, const uint8_t spki_sha256[], const char *client)
{
	uint32_t number = *client ? number_make(h, client) : 0;

	g->rows++;
	if (!*client)
		return ERR_OK;
	return number ? entry_add(g, first_entry(spki_sha256) | number) : ERR_NOMEM;
}

/* ---- all of them ---- */

static struct segment *segment_find(const struct holders *h, int64_t number)
{
	for (size_t i = h->count; i-- > 0;)
		if (h->segment[i].number == number)
			return &h->segment[i];
	return NULL;
}

/* NULL: no memory. */
static struct segment *segment_new(struct holders *h, int64_t number, int64_t read)
{
	if (h->count == h->room) {
		struct segment *more =
			reallocarray(h->segment, h->room + SEGMENTS_MORE, sizeof(*more));

		if (!more)
			return NULL;
		h->segment = more;
		h->room += SEGMENTS_MORE;
	}
	h->segment[h->count] = (struct segment){.number = number, .read = read};
	return &h->segment[h->count++];
}

enum err sqlite_holders_find(struct sqlite *s)
{
	sqlite3_stmt *st;
	int64_t run = 0;
	enum err e;

	while (!(e = sqlite_row(&s->store, &st, S_HOLDERS_AFTER, "i", run))) {
		int64_t number = sqlite3_column_int64(st, 0) / HOLDERS_RUNS;

		sqlite3_reset(st);
		if (!segment_new(&s->holders, number, 0))
			return ERR_NOMEM;
		run = (number + 1) * HOLDERS_RUNS;
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err holders_add(struct holders *h, const struct store_attempt *a)
{
	int64_t number = a->idx / HOLDERS_RUN / HOLDERS_RUNS;
	struct segment *g = segment_find(h, number);

	if (!g)
		g = segment_new(h, number, HOLDERS_RUNS);
	return g ? row_add(h, g, a->spki_sha256, a->client) : ERR_NOMEM;
}

void holders_drop(struct holders *h, int64_t idx)
{
	struct segment *g = segment_find(h, idx / HOLDERS_RUN / HOLDERS_RUNS);

	if (!g || ++g->gone <= g->rows / 2)
		return;
	free(g->entry);
	*g = (struct segment){.number = g->number};
}

static enum err run_read(struct sqlite *s, struct segment *g)
{
	sqlite3_stmt *st;
	int64_t run = g->number * HOLDERS_RUNS + g->read;
	enum err e = sqlite_row(&s->store, &st, S_HOLDERS_RUN, "i", run);

	while (!e) {
		const uint8_t *spki = sqlite3_column_blob(st, 0);
		const char *client = (const char *)sqlite3_column_text(st, 1);

		e = sqlite3_column_bytes(st, 0) >= 4 && client
			    ? row_add(&s->holders, g, spki, client)
			    : ERR_FORMAT;
		if (e)
			break;

		int rc = sqlite3_step(st);

		e = rc == SQLITE_DONE ? ERR_NOT_FOUND : sqlite_err(s, rc);
	}
	sqlite3_reset(st);
	g->read++;
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err sqlite_holders_read(struct sqlite *s)
{
	struct holders *h = &s->holders;
	struct segment *g;
	size_t i = 0;
	enum err e = ERR_OK;

	while (i < h->count && h->segment[i].read == HOLDERS_RUNS)
		i++;
	if (i == h->count)
		return ERR_OK;
	g = &h->segment[i];
	for (int n = 0; n < READ_AT_ONCE && g->read < HOLDERS_RUNS && !e; n++)
		e = run_read(s, g);
	if (!e && g->read == HOLDERS_RUNS && g->rows == 0) {
		free(g->entry);
		*g = h->segment[--h->count];
	}
	return e;
}

static enum err segment_ask(struct sqlite *s, const struct segment *g,
	const uint8_t spki_sha256[SHA256_SIZE], const char *client, int64_t now, bool *other)
{
	sqlite3_stmt *st;
	enum err e = ERR_OK;

	for (int64_t n = HOLDERS_RUNS; n-- > 0 && !e && !*other;) {
		e = sqlite_row(&s->store, &st, S_HOLDERS_OTHER, "ihti",
			g->number * HOLDERS_RUNS + n, spki_sha256, client, now);
		if (e)
			break;
		*other = sqlite3_column_int(st, 0) != 0;
		sqlite3_reset(st);
	}
	return e;
}

enum err sqlite_holders_other(struct sqlite *s, const uint8_t spki_sha256[SHA256_SIZE],
	const char *client, int64_t now, bool *other)
{
	const struct holders *h = &s->holders;
	const uint64_t first = first_entry(spki_sha256);
	const uint32_t number = number_of(h, client);
	enum err e = ERR_OK;

	*other = false;
	for (size_t i = h->count; i-- > 0 && !e && !*other;)
		if (may_have(&h->segment[i], first, number))
			e = segment_ask(s, &h->segment[i], spki_sha256, client, now, other);
	return e;
}

void holders_free(struct holders *h)
{
	for (size_t i = 0; i < h->count; i++)
		free(h->segment[i].entry);
	free(h->segment);
	tdestroy(h->clients, free);
	memset(h, 0, sizeof(*h));
}
