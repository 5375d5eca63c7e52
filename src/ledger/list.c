#include "list.h"

#include <string.h>

#include "attempts.h"
#include "json.h"

struct walk {
	struct list *l;
	enum err (*record)(struct walk *w, const struct record *r, const char *json, size_t len);
	struct attempts attempts;
	struct buf text, opened, line;
	list_record *take; /* of list_walk */
	void *arg;
};

static bool is(const struct octets *o, const char *text)
{
	return !text || (o->len == strlen(text) && memcmp(o->at, text, o->len) == 0);
}

static bool in_time(const struct list *l, const struct record *r)
{
	return r->time >= l->from && r->time < l->to;
}

static void time_column(struct buf *out, int64_t t)
{
	char text[21];

	time_text(text, t);
	buf_printf(out, "%-21s", text);
}

static void column(struct buf *out, const struct octets *o, int width)
{
	buf_printf(out, "%-*.*s ", width, (int)o->len, (const char *)o->at);
}

static void row_text(struct buf *out, const struct record *issued, const struct record *a)
{
	time_column(out, issued->time);
	time_column(out, a->expiry);
	column(out, &a->key, 16);
	column(out, &a->client, 16);
	column(out, &a->role, 6);
	column(out, &a->algorithm, 22);
	column(out, &issued->id, 32);
	buf_printf(out, "%.*s:%lld", (int)issued->chain.len, (const char *)issued->chain.at,
		(long long)issued->idx);
}

static void member(struct buf *out, const char *name, const struct octets *o)
{
	buf_printf(out, "\"%s\":", name);
	canon_text(out, o);
	buf_u8(out, ',');
}

static void digest(struct buf *out, const char *name, const struct octets *o)
{
	buf_printf(out, "\"%s\":\"", name);
	buf_hex(out, o->at, o->len);
	buf_text(out, "\",");
}

static void row_json(struct buf *out, const struct record *issued, const struct record *a)
{
	buf_u8(out, '{');
	member(out, "algorithm", &a->algorithm);
	digest(out, "certificate_sha256", &a->certificate_sha256);
	member(out, "chain", &issued->chain);
	member(out, "client", &a->client);
	digest(out, "dc_sha256", &issued->dc_sha256);
	buf_printf(out, "\"expiry\":%lld,", (long long)a->expiry);
	member(out, "id", &issued->id);
	buf_printf(out, "\"idx\":%lld,", (long long)issued->idx);
	member(out, "key", &a->key);
	member(out, "role", &a->role);
	digest(out, "spki_sha256", &a->spki_sha256);
	buf_printf(out, "\"time\":%lld,\"window_opens\":%lld}", (long long)issued->time,
		(long long)a->window_opens);
}

/* RFC 4180; names, ids, digests and chains have nothing to quote. */
static void row_csv(struct buf *out, const struct record *issued, const struct record *a)
{
	const struct octets *columns[] = {
		&a->key, &a->client, &a->role, &a->algorithm, &issued->id, &issued->chain};
	const struct octets *digests[] = {
		&a->spki_sha256, &a->certificate_sha256, &issued->dc_sha256};
	char issue[21], expiry[21];

	time_text(issue, issued->time);
	time_text(expiry, a->expiry);
	buf_printf(out, "%s,%s", issue, expiry);
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		buf_printf(out, ",%.*s", (int)columns[i]->len, (const char *)columns[i]->at);
	buf_printf(out, ",%lld", (long long)issued->idx);
	for (size_t i = 0; i < sizeof(digests) / sizeof(digests[0]); i++) {
		buf_u8(out, ',');
		buf_hex(out, digests[i]->at, digests[i]->len);
	}
}

static bool is_hex(const struct octets *o, const char *hex)
{
	uint8_t want[SHA256_SIZE];

	return !hex || (hex_decode(want, sizeof(want), hex) && o->len == sizeof(want) &&
			       memcmp(o->at, want, sizeof(want)) == 0);
}

static bool asked_for(const struct list *l, const struct record *r, const struct record *a)
{
	return in_time(l, r) && is(&r->id, l->id) && is(&a->key, l->key) &&
	       is(&a->client, l->client) && is_hex(&a->spki_sha256, l->spki_sha256) &&
	       is_hex(&a->certificate_sha256, l->certificate_sha256) &&
	       (l->live_at == RECORD_NONE || (r->time <= l->live_at && a->expiry > l->live_at));
}

static enum err print(struct walk *w, const void *line, size_t len)
{
	bool ok = fwrite(line, 1, len, w->l->out) == len && putc('\n', w->l->out) != EOF;

	w->l->count++;
	return ok ? ERR_OK : ERR_CLOSED;
}

/* Keeps the attempts that are open. */
static enum err follow(struct walk *w, const struct record *r, const char *json, size_t len)
{
	struct attempt *at = attempts_find(&w->attempts, r);

	if (r->type == RECORD_AUTHORISED || r->type == RECORD_SELF_TEST)
		return at || attempts_begin(&w->attempts, r, json, len) ? ERR_OK : ERR_NOMEM;
	if (at && r->id.len)
		attempts_end(&w->attempts, at,
			r->type == RECORD_UNKNOWN  ? ATTEMPT_UNKNOWN
			: r->type == RECORD_FAILED ? ATTEMPT_FAILED
						   : ATTEMPT_CLOSED);
	return ERR_OK;
}

static enum err issued(struct walk *w, const struct record *r)
{
	const struct attempt *at = attempts_find(&w->attempts, r);
	struct list *l = w->l;
	struct record a;

	buf_reset(&w->opened);
	if (!at || !at->json || record_parse(&a, &w->opened, at->json, at->len) ||
		!asked_for(l, r, &a))
		return ERR_OK;
	buf_reset(&w->line);
	(l->json ? row_json : l->csv ? row_csv : row_text)(&w->line, r, &a);
	l->latest = a.expiry > l->latest ? a.expiry : l->latest;
	return w->line.err ? w->line.err : print(w, w->line.octets, w->line.len);
}

static enum err credential(struct walk *w, const struct record *r, const char *json, size_t len)
{
	enum err e = r->type == RECORD_ISSUED ? issued(w, r) : ERR_OK;

	return e ? e : follow(w, r, json, len);
}

/* The record that says which key and client this one is about: itself, or what opened its attempt.
 */
static const struct record *about(struct walk *w, const struct record *r, struct record *opened)
{
	const struct attempt *at = r->key.len ? NULL : attempts_find(&w->attempts, r);

	buf_reset(&w->opened);
	if (at && at->json && record_parse(opened, &w->opened, at->json, at->len) == ERR_OK)
		return opened;
	return r;
}

static bool wanted(struct walk *w, const struct record *r)
{
	const struct list *l = w->l;
	struct record opened;
	const struct record *a = l->key || l->client ? about(w, r, &opened) : r;

	return in_time(l, r) && (!l->type || l->type == r->type) && is(&r->id, l->id) &&
	       is(&a->key, l->key) && is(&a->client, l->client);
}

static enum err line(struct walk *w, const struct record *r, const char *json, size_t len)
{
	enum err e = ERR_OK;

	if (wanted(w, r) && w->l->csv) {
		buf_reset(&w->line);
		export_row(&w->line, r);
		e = w->line.err ? w->line.err : print(w, w->line.octets, w->line.len);
	} else if (wanted(w, r)) {
		e = print(w, json, len);
	}
	return e || !(w->l->key || w->l->client) ? e : follow(w, r, json, len);
}

static enum err row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct walk *w = arg;
	struct record r;

	(void)idx;
	(void)leaf;
	if (len == 0) {
		w->l->archived++;
		return ERR_OK;
	}
	buf_reset(&w->text);
	if (record_parse(&r, &w->text, json, len)) {
		w->l->unreadable++;
		return ERR_OK;
	}
	return w->record(w, &r, json, len);
}

static enum err walk_chain(struct walk *w, struct store *s, const char *chain)
{
	enum err e = s->engine->record_walk(s, chain, 0, row, w);

	attempts_free(&w->attempts);
	return e;
}

static enum err walk_all(struct walk *w, struct store *s)
{
	struct store_chain c = {.chain = ""};
	enum err e;

	w->text = w->opened = w->line = (struct buf)BUF_INIT(RECORD_MAX);
	if (w->l->chain) {
		e = s->engine->chain_get(s, w->l->chain, &c);
		if (!e)
			e = walk_chain(w, s, c.chain);
	} else {
		while (!(e = s->engine->chain_after(s, c.chain, &c))) {
			e = walk_chain(w, s, c.chain);
			if (e)
				break;
		}
		e = e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	buf_free(&w->text);
	buf_free(&w->opened);
	buf_free(&w->line);
	return e;
}

enum err list_credentials(struct list *l, struct store *s)
{
	struct walk w = {.l = l, .record = credential};

	if (l->csv)
		fprintf(l->out, "issued,expires,key,client,role,algorithm,id,chain,record,"
				"spki_sha256,certificate_sha256,dc_sha256\n");
	else if (!l->json)
		fprintf(l->out, "%-20s %-20s %-16s %-16s %-6s %-22s %-32s %s\n", "ISSUED",
			"EXPIRES", "KEY", "CLIENT", "ROLE", "ALGORITHM", "ID", "RECORD");
	return walk_all(&w, s);
}

enum err list_records(struct list *l, struct store *s)
{
	struct walk w = {.l = l, .record = line};

	if (l->csv)
		fprintf(l->out, "%s\n", export_names);
	return walk_all(&w, s);
}

static enum err give(struct walk *w, const struct record *r, const char *json, size_t len)
{
	const struct attempt *at =
		r->type == RECORD_AUTHORISED ? NULL : attempts_find(&w->attempts, r);
	struct record opened;
	bool has;

	buf_reset(&w->opened);
	has = at && at->json && !record_parse(&opened, &w->opened, at->json, at->len);

	enum err e = w->take(w->arg, r, has ? &opened : NULL);

	return e ? e : follow(w, r, json, len);
}

enum err list_walk(struct list *l, struct store *s, list_record *take, void *arg)
{
	struct walk w = {.l = l, .record = give, .take = take, .arg = arg};

	return walk_all(&w, s);
}
