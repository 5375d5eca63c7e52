#include "settings.h"

#include "report.h"

#include <stdlib.h>
#include <string.h>

#include "certificate.h"
#include "list.h"

#define HOUR	  3600
#define HOURS_MAX (200 * 366 * 24)
#define NOTES_MAX (16 << 20)

const int64_t report_lifetimes[REPORT_LIFETIMES] = {
	HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR, 48 * HOUR, 96 * HOUR, 168 * HOUR, INT64_MAX};

/* The figure of this name, a new one if need be. */
static struct figure *figure_of(struct report *r, struct figures *f, const char *name, size_t len)
{
	struct figure *more;

	len = len < sizeof(more->name) ? len : sizeof(more->name) - 1;
	for (size_t i = 0; i < f->count; i++) {
		if (strlen(f->at[i].name) == len && memcmp(f->at[i].name, name, len) == 0)
			return &f->at[i];
	}
	more = reallocarray(f->at, f->count + 1, sizeof(*more));
	if (!more) {
		r->err = ERR_NOMEM;
		return NULL;
	}
	f->at = more;
	more += f->count++;
	memset(more, 0, sizeof(*more));
	if (len)
		memcpy(more->name, name, len);
	return more;
}

static struct figure *figure_for(struct report *r, struct figures *f, const struct octets *name)
{
	return figure_of(r, f, (const char *)name->at, name->len);
}

/* An hour that can't be shown counts for the first or the last one. */
static void hour_count(struct report *r, int64_t time)
{
	int64_t hour = time / HOUR, at;
	uint64_t *more;

	if (!r->hours)
		r->first_hour = hour;
	at = hour < r->first_hour ? 0 : hour - r->first_hour;
	at = at < HOURS_MAX ? at : HOURS_MAX;
	if ((size_t)at >= r->hours) {
		more = reallocarray(r->hour, (size_t)at + 1, sizeof(*more));
		if (!more) {
			r->err = ERR_NOMEM;
			return;
		}
		memset(more + r->hours, 0, ((size_t)at + 1 - r->hours) * sizeof(*more));
		r->hour = more;
		r->hours = (size_t)at + 1;
	}
	r->hour[at]++;
}

static void live_count(struct report *r, int64_t expiry)
{
	if (r->lives == r->lives_room) {
		size_t room = r->lives_room ? 2 * r->lives_room : 256;
		int64_t *more = reallocarray(r->live, room, sizeof(*more));

		if (!more) {
			r->err = ERR_NOMEM;
			return;
		}
		r->live = more;
		r->lives_room = room;
	}
	r->live[r->lives++] = expiry;
}

static void figure_issue(const struct report *r, struct figure *f, int64_t time, int64_t expiry)
{
	if (!f)
		return;
	f->count++;
	f->last = time > f->last ? time : f->last;
	if (expiry <= r->now || time > r->now)
		return;
	f->live++;
	f->until = expiry > f->until ? expiry : f->until;
}

static void issued(struct report *r, const struct record *i, const struct record *a)
{
	unsigned class = 0;

	hour_count(r, i->time);
	if (!a || a->type != RECORD_AUTHORISED)
		return;
	figure_issue(r, figure_for(r, &r->keys, &a->key), i->time, a->expiry);
	figure_issue(r, figure_for(r, &r->clients, &a->client), i->time, a->expiry);
	while (a->lifetime_granted > report_lifetimes[class])
		class ++;
	r->lifetime[class]++;
	if (a->expiry > r->now && i->time <= r->now)
		live_count(r, a->expiry);
}

static void refused(struct report *r, const struct record *o)
{
	uint64_t n = o->count == RECORD_NONE || o->count < 1 ? 1 : (uint64_t)o->count;
	struct figure *f = figure_for(r, &r->reasons, &o->reason);

	if (f)
		f->count += n;
	f = o->key.len ? figure_for(r, &r->keys, &o->key) : NULL;
	if (f)
		f->refused += n;
	f = o->client.len ? figure_for(r, &r->clients, &o->client) : NULL;
	if (f)
		f->refused += n;
}

static void certificate_note(
	struct report *r, const struct certificate *c, const struct octets *key)
{
	struct report_certificate *more;
	char hex[2 * SHA256_SIZE + 1];

	hex_encode(hex, c->sha256, SHA256_SIZE);
	for (size_t i = 0; i < r->certificates; i++) {
		if (strcmp(r->certificate[i].sha256, hex) == 0 &&
			strlen(r->certificate[i].key) == key->len &&
			memcmp(r->certificate[i].key, key->at, key->len) == 0)
			return;
	}
	more = reallocarray(r->certificate, r->certificates + 1, sizeof(*more));
	if (!more) {
		r->err = ERR_NOMEM;
		return;
	}
	r->certificate = more;
	more += r->certificates++;
	snprintf(more->key, sizeof(more->key), "%.*s", (int)key->len, (const char *)key->at);
	snprintf(more->subject, sizeof(more->subject), "%s", c->subject);
	memcpy(more->sha256, hex, sizeof(hex));
	more->not_before = c->not_before;
	more->not_after = c->not_after;
}

static void proved(struct report *r, const struct record *o)
{
	struct certificate c = {0};
	struct reader in;

	reader_init(&in, o->certificates.at, o->certificates.len);

	size_t len = reader_u24(&in);
	const uint8_t *der = reader_take(&in, len);

	if (der && certificate_read(&c, der, len) == ERR_OK) {
		certificate_note(r, &c, &o->key);
		certificate_free(&c);
	}
}

/* The holds of a chain as its records leave them at the time of the report; a name is "key NAME,
 * client NAME". */
static void hold(struct report *r, const struct record *o)
{
	char name[2 * NAME_SIZE + 32];
	struct figure *f;

	if (o->time > r->now)
		return;
	snprintf(name, sizeof(name), "%s%.*s%s%s%.*s", o->key.len ? "key " : "", (int)o->key.len,
		(const char *)o->key.at, o->key.len && o->client.len ? ", " : "",
		o->client.len ? "client " : "", (int)o->client.len, (const char *)o->client.at);
	f = figure_of(r, &r->holds, name, strlen(name));
	if (f && o->time >= f->last) {
		f->last = o->time;
		f->count = o->type == RECORD_HELD;
	}
}

static enum err take(void *arg, const struct record *o, const struct record *opened)
{
	struct report *r = arg;
	const char *type = record_type_name(o->type);
	struct figure *f = figure_of(r, &r->types, type, strlen(type));

	if (f)
		f->count++;
	r->first = r->first == RECORD_NONE || o->time < r->first ? o->time : r->first;
	r->last = r->last == RECORD_NONE || o->time > r->last ? o->time : r->last;
	switch (o->type) {
	case RECORD_ISSUED:
		issued(r, o, opened);
		break;
	case RECORD_REFUSED:
		refused(r, o);
		break;
	case RECORD_KEY_PROVED:
		proved(r, o);
		break;
	case RECORD_HELD:
	case RECORD_RELEASED:
		hold(r, o);
		break;
	default:
		break;
	}
	return r->err;
}

static void problem(void *arg, const char *chain, int64_t idx, const char *what)
{
	struct report *r = arg;
	uint64_t n = r->verify.problems - 1;

	if (n >= REPORT_PROBLEMS)
		return;
	if ((idx == NO_IDX ? asprintf(&r->problem[n], "%s: %s", chain, what)
			   : asprintf(&r->problem[n], "%s, record %lld: %s", chain, (long long)idx,
				     what)) < 0)
		r->problem[n] = NULL;
}

static void note(void *arg, const char *chain, const char *what)
{
	struct report *r = arg;

	buf_printf(&r->notes, "%s %s", chain, what);
	buf_u8(&r->notes, 0);
}

static void head(void *arg, const struct checkpoint *c, const uint8_t key[CHECKPOINT_KEY])
{
	struct report *r = arg;
	struct report_head *more = reallocarray(r->head, r->heads + 1, sizeof(*more));
	struct buf vkey = BUF_INIT(CHECKPOINT_MAX);

	if (!more) {
		r->err = ERR_NOMEM;
		return;
	}
	r->head = more;
	more += r->heads++;
	more->head = *c;
	checkpoint_vkey_write(&vkey, c->origin, key);
	snprintf(more->vkey, sizeof(more->vkey), "%s", vkey.err ? "" : buf_cstr(&vkey));
	buf_free(&vkey);
}

static int by_count(const void *a, const void *b)
{
	const struct figure *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->name, y->name);
}

static int by_time(const void *a, const void *b)
{
	const int64_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

enum err report_gather(struct report *r, struct store *s)
{
	struct figures *const all[] = {&r->keys, &r->clients, &r->reasons, &r->types, &r->holds};
	struct list l = {.live_at = RECORD_NONE};

	r->verify.problem = problem;
	r->verify.head = head;
	r->verify.note = note;
	r->notes = (struct buf)BUF_INIT(NOTES_MAX);
	r->first = r->last = RECORD_NONE;
	r->verify.arg = r;

	enum err e = verify_store(&r->verify, s, NULL);

	if (!e)
		e = list_walk(&l, s, take, r);
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i]->count)
			qsort(all[i]->at, all[i]->count, sizeof(struct figure), by_count);
	}
	if (r->lives)
		qsort(r->live, r->lives, sizeof(*r->live), by_time);
	e = e ? e : r->err;
	return e ? e : r->notes.err;
}

void report_free(struct report *r)
{
	free(r->keys.at);
	free(r->clients.at);
	free(r->reasons.at);
	free(r->types.at);
	free(r->holds.at);
	free(r->hour);
	free(r->live);
	free(r->certificate);
	free(r->head);
	buf_free(&r->notes);
	for (unsigned i = 0; i < REPORT_PROBLEMS; i++)
		free(r->problem[i]);
}
