#include "tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "state.h"

struct tables_hold {
	char key[NAME_SIZE], client[NAME_SIZE]; /* "" = any */
	int64_t time;
	char chain[CHAIN_SIZE]; /* that said so last */
	bool held;
	struct tables_hold *next;
};

/* Of one delegation key or one client, what may be unexpired. */
struct tables_live {
	bool of_client;
	char name[NAME_SIZE];
	int64_t *expiry;
	size_t count, room;
	struct tables_live *next;
};

void tables_free(struct tables *t)
{
	while (t->hold) {
		struct tables_hold *next = t->hold->next;

		free(t->hold);
		t->hold = next;
	}
	while (t->live) {
		struct tables_live *next = t->live->next;

		free(t->live->expiry);
		free(t->live);
		t->live = next;
	}
	recall_free(&t->recall);
}

void tables_time(struct tables *t, int64_t time)
{
	t->now = time > t->now ? time : t->now;
}

static bool is(const struct octets *o, const char *text)
{
	return o->len == strlen(text) && (o->len == 0 || memcmp(o->at, text, o->len) == 0);
}

enum err tables_hold(struct tables *t, const struct record *r)
{
	char key[NAME_SIZE], client[NAME_SIZE];
	struct tables_hold *h = t->hold;

	if (!state_text(key, sizeof(key), &r->key) ||
		!state_text(client, sizeof(client), &r->client))
		return ERR_OK;
	while (h && (strcmp(h->key, key) != 0 || strcmp(h->client, client) != 0))
		h = h->next;
	if (!h) {
		h = calloc(1, sizeof(*h));
		if (!h)
			return ERR_NOMEM;
		strcpy(h->key, key);
		strcpy(h->client, client);
		h->time = INT64_MIN;
		h->next = t->hold;
		t->hold = h;
	}
	/* Within a chain its order counts, whatever the clock did. */
	if (is(&r->chain, h->chain) || r->time >= h->time) {
		h->time = r->time;
		h->held = r->type == RECORD_HELD;
		state_text(h->chain, sizeof(h->chain), &r->chain);
	}
	return ERR_OK;
}

const char *tables_credential(
	struct tables *t, const struct record *r, const struct record *authorised)
{
	struct store_credential c;
	char id[ID_SIZE];

	t->credentials++;
	if (!state_text(id, sizeof(id), &r->id) ||
		t->store->engine->credential_get(t->store, id, &c))
		return "the table of credentials does not list it";
	if (!is(&r->chain, c.chain) || c.issued != r->idx || c.authorised != authorised->idx ||
		!is(&authorised->key, c.key) || !is(&authorised->client, c.client) ||
		c.expiry != authorised->expiry || c.time != r->time)
		return "the table of credentials lists it with other members";
	return NULL;
}

static enum err live_add(
	struct tables *t, bool of_client, const struct octets *name, int64_t expiry)
{
	struct tables_live *l = t->live;

	while (l && (l->of_client != of_client || !is(name, l->name)))
		l = l->next;
	if (!l) {
		l = calloc(1, sizeof(*l));
		if (!l)
			return ERR_NOMEM;
		l->of_client = of_client;
		state_text(l->name, sizeof(l->name), name);
		l->next = t->live;
		t->live = l;
	}
	if (l->count == l->room) {
		size_t room = l->room ? 2 * l->room : 1024;
		int64_t *more = reallocarray(l->expiry, room, sizeof(*more));

		if (!more)
			return ERR_NOMEM;
		l->expiry = more;
		l->room = room;
	}
	l->expiry[l->count++] = expiry;
	return ERR_OK;
}

static enum err released(void *arg, const char *key, const char *client, int64_t expiry)
{
	struct octets k = octets_text(key), c = octets_text(client);
	enum err e = live_add(arg, false, &k, expiry);

	return e ? e : live_add(arg, true, &c, expiry);
}

enum err tables_chain(struct tables *t, const struct tally *tally, const struct attempts *open)
{
	struct buf text = BUF_INIT(RECORD_MAX);
	enum err e = tally_each(tally, released, t);
	struct record r;

	for (size_t i = 0; !e && i < open->size; i++) {
		const struct attempt *at = &open->slot[i];

		buf_reset(&text);
		t->open += at->state == ATTEMPT_OPEN;
		if (at->state != ATTEMPT_OPEN || !at->number ||
			record_parse(&r, &text, at->json, at->len))
			continue;
		e = live_add(t, false, &r.key, r.expiry);
		if (!e)
			e = live_add(t, true, &r.client, r.expiry);
	}
	buf_free(&text);
	return e;
}

struct rows {
	struct tables *tables;
	uint64_t count;
};

/* Those of archived records are not counted. */
static enum err count_row(void *arg, const struct store_credential *c)
{
	struct buf json = BUF_INIT(RECORD_MAX);
	struct rows *rows = arg;
	struct store *s = rows->tables->store;
	uint8_t leaf[SHA256_SIZE];
	bool archived = rows->tables->archived &&
			!s->engine->record_get(s, c->chain, c->issued, &json, leaf) &&
			json.len == 0;

	rows->count += !archived;
	buf_free(&json);
	return ERR_OK;
}

static enum err lives_check(struct tables *t, void (*say)(void *arg, const char *what), void *arg)
{
	enum err e = ERR_OK;
	char text[256];

	for (const struct tables_live *l = t->live; !e && l; l = l->next) {
		uint64_t want = 0, has = 0;

		for (size_t i = 0; i < l->count; i++)
			want += l->expiry[i] > t->now;
		e = t->store->engine->live_count(t->store, l->of_client ? "" : l->name,
			l->of_client ? l->name : "", t->now, &has);
		if (e || want == has)
			continue;
		snprintf(text, sizeof(text),
			"the %s %s has %llu unexpired credentials by the records, the tables "
			"count %llu",
			l->of_client ? "client" : "key", l->name, (unsigned long long)want,
			(unsigned long long)has);
		say(arg, text);
	}
	return e;
}

/* ---- rows of attempts ---- */

struct attempts_rows {
	struct tables *tables;
	void (*say)(void *arg, const char *what);
	void *arg;
	uint64_t open;
	struct buf json, text;
};

/* ERR_NOT_FOUND: it is archived; ERR_FORMAT: it is not there, or is none. */
static enum err record_of(
	struct attempts_rows *rows, const char *chain, int64_t idx, struct record *r)
{
	struct store *s = rows->tables->store;
	uint8_t leaf[SHA256_SIZE];

	buf_reset(&rows->json);
	buf_reset(&rows->text);

	enum err e = s->engine->record_get(s, chain, idx, &rows->json, leaf);

	if (e)
		return e == ERR_NOT_FOUND ? ERR_FORMAT : e;
	if (rows->json.len == 0)
		return ERR_NOT_FOUND;
	return record_parse(r, &rows->text, (const char *)rows->json.octets, rows->json.len)
		       ? ERR_FORMAT
		       : ERR_OK;
}

static bool begins(const struct record *r, const struct store_attempt *a)
{
	bool test = r->type == RECORD_SELF_TEST;

	return (test || r->type == RECORD_AUTHORISED) && is(&r->id, a->id) &&
	       (test ? 0 : r->attempt) == a->attempt && is(&r->key, a->key) &&
	       is(&r->client, a->client) && is(&r->idempotency, a->idempotency) &&
	       (test ? 0 : r->expiry) == a->expiry &&
	       (test || (r->spki_sha256.len == SHA256_SIZE &&
				memcmp(r->spki_sha256.at, a->spki_sha256, SHA256_SIZE) == 0));
}

static bool is_release(const struct record *r, const struct store_attempt *a)
{
	return r->type == RECORD_ISSUED && is(&r->id, a->id) && r->attempt == a->attempt;
}

static enum err attempt_row(void *arg, const struct store_attempt *a)
{
	struct attempts_rows *rows = arg;
	struct record r;
	char text[256];
	enum err e = record_of(rows, a->chain, a->idx, &r);
	bool good = e == ERR_NOT_FOUND || (!e && begins(&r, a));

	rows->open += a->issued == NO_IDX;
	if (good && a->issued != NO_IDX) {
		e = record_of(rows, a->chain, a->issued, &r);
		good = e == ERR_NOT_FOUND || (!e && is_release(&r, a));
	}
	if (e && e != ERR_NOT_FOUND && e != ERR_FORMAT)
		return e;
	if (good)
		return ERR_OK;
	snprintf(text, sizeof(text),
		"the table of attempts has one that is not what its records say (id %s, attempt "
		"%lld)",
		a->id, (long long)a->attempt);
	rows->say(rows->arg, text);
	return ERR_OK;
}

static enum err attempts_check(
	struct tables *t, void (*say)(void *arg, const char *what), void *arg)
{
	struct attempts_rows rows = {.tables = t,
		.say = say,
		.arg = arg,
		.json = BUF_INIT(RECORD_MAX),
		.text = BUF_INIT(RECORD_MAX)};
	enum err e = t->store->engine->attempt_walk(t->store, attempt_row, &rows);
	char text[128];

	buf_free(&rows.json);
	buf_free(&rows.text);
	if (e || rows.open == t->open)
		return e;
	snprintf(text, sizeof(text),
		"the table of attempts has %llu without an outcome, the records %llu",
		(unsigned long long)rows.open, (unsigned long long)t->open);
	say(arg, text);
	return ERR_OK;
}

static enum err holds_check(struct tables *t, void (*say)(void *arg, const char *what), void *arg)
{
	char text[256 + HOLD_REASON_MAX];
	struct msg_held row = {.key = ""};
	struct tables_hold *h;
	enum err e;

	while (!(e = t->store->engine->hold_after(t->store, row.key, row.client, &row))) {
		for (h = t->hold; h; h = h->next) {
			if (strcmp(h->key, row.key) == 0 && strcmp(h->client, row.client) == 0)
				break;
		}
		if (h && h->held) {
			h->held = false;
			continue;
		}
		snprintf(text, sizeof(text),
			"the table of holds has one (key \"%s\", client \"%s\") that is not in "
			"force by the records",
			row.key, row.client);
		say(arg, text);
	}
	for (h = t->hold; e == ERR_NOT_FOUND && h; h = h->next) {
		if (!h->held)
			continue;
		snprintf(text, sizeof(text),
			"the table of holds lacks one (key \"%s\", client \"%s\") that is in force "
			"by the records",
			h->key, h->client);
		say(arg, text);
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

enum err tables_check(struct tables *t, void (*say)(void *arg, const char *what), void *arg)
{
	struct rows rows = {.tables = t};
	enum err e = t->store->engine->credential_walk(t->store, 0, count_row, &rows);
	char text[128];

	if (!e && rows.count != t->credentials) {
		snprintf(text, sizeof(text),
			"the table of credentials has %llu rows, %llu were released by the "
			"records",
			(unsigned long long)rows.count, (unsigned long long)t->credentials);
		say(arg, text);
	}
	if (!e)
		e = attempts_check(t, say, arg);
	if (!e)
		e = lives_check(t, say, arg);
	if (!e)
		e = recall_check(&t->recall, t->store, t->now, say, arg);
	return e ? e : holds_check(t, say, arg);
}
