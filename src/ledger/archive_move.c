#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive_move.h"
#include "folder.h"
#include "state.h"

static enum err damaged(struct move *m, int64_t idx, const char *what)
{
	return refuse(m->why, ERR_FORMAT, "ledger", "%s, record %lld: %s", m->chain->chain,
		(long long)idx, what);
}

enum err archive_parse(struct move *m, struct record *r, int64_t idx, const char *json, size_t len)
{
	buf_reset(&m->text);
	return record_parse(r, &m->text, json, len)
		       ? damaged(m, idx, "is not a record in canonical form")
		       : ERR_OK;
}

/* ---- first: how far ---- */

static enum err border_row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct move *m = arg;
	uint8_t hash[SHA256_SIZE], root[SHA256_SIZE];
	const char *what = NULL;
	struct record r;

	if (idx >= (int64_t)m->chain->tree.size) /* written since: nodes go on */
		return ERR_TIMEOUT;
	if (idx != (int64_t)m->tree.size)
		return damaged(m, idx, "records are missing before it");
	if (len == 0) {
		m->moved->from = idx + 1;
		merkle_append(&m->tree, leaf);
		return ERR_OK;
	}
	merkle_leaf(json, len, hash);
	if (memcmp(hash, leaf, sizeof(hash)) != 0)
		return damaged(m, idx, "the stored leaf hash is not that of the record");

	enum err e = archive_parse(m, &r, idx, json, len);

	if (e)
		return e;
	m->passed = m->passed || r.time >= m->before;
	if (r.type == RECORD_CHECKPOINT && !m->passed) {
		merkle_root(&m->tree, root);
		what = witness_record(&m->witness, &r, root);
		m->moved->to = idx;
	}
	merkle_append(&m->tree, leaf);
	return what ? damaged(m, idx, what) : ERR_OK;
}

/* ---- then: what must stay ---- */

enum err archive_keep(struct move *m, const struct record *r, enum archive_stay why)
{
	if (m->count == m->room) {
		size_t room = m->room ? 2 * m->room : 1024;
		struct kept *more = reallocarray(m->kept, room, sizeof(*more));

		if (!more)
			return ERR_NOMEM;
		m->kept = more;
		m->room = room;
	}

	struct kept *k = &m->kept[m->count];

	k->why = why;
	m->count += state_text(k->id, sizeof(k->id), &r->id);
	return ERR_OK;
}

static enum err is_open(struct move *m, const struct record *r, bool *open)
{
	struct store_attempt a;
	char id[ID_SIZE];
	enum err e = state_text(id, sizeof(id), &r->id) ? ERR_OK : ERR_FORMAT;

	if (!e)
		e = m->s->engine->attempt_get(m->s, id, r->attempt, &a);
	*open = !e && a.issued == NO_IDX;
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* As long as the store remembers the key. */
static enum err is_remembered(struct move *m, const struct record *r, bool *remembered)
{
	struct store_idempotency i = {.time = 0};
	enum err e = ERR_NOT_FOUND;

	if (r->idempotency.len && state_text(i.client, sizeof(i.client), &r->client) &&
		state_text(i.key, sizeof(i.key), &r->key) &&
		state_text(i.idempotency, sizeof(i.idempotency), &r->idempotency))
		e = m->s->engine->idempotency_get(m->s, &i);
	*remembered = !e && i.time > m->alive - IDEMPOTENCY_TERM;
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err keep_row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct move *m = arg;
	bool open = false, remembered = false;
	struct record r;
	enum err e = len ? archive_parse(m, &r, idx, json, len) : ERR_OK;

	(void)leaf;
	if (e || !len || r.id.len == 0)
		return e;
	if (idx >= m->moved->to)
		return archive_keep(m, &r, STAY_LATER);
	if (r.type == RECORD_SELF_TEST)
		return archive_keep(m, &r, STAY_BASE);
	if (r.type != RECORD_AUTHORISED)
		return ERR_OK;
	e = is_open(m, &r, &open);
	if (!e)
		e = is_remembered(m, &r, &remembered);
	if (e)
		return e;
	if (open || r.expiry > m->alive)
		return archive_keep(m, &r, STAY_ALIVE);
	return remembered ? archive_keep(m, &r, STAY_IDEMPOTENCY) : ERR_OK;
}

int archive_compare(const void *a, const void *b)
{
	const struct kept *x = a, *y = b;

	return strcmp(x->id, y->id);
}

/* STAYS: it does not. */
static enum archive_stay stay_of(const struct move *m, const struct record *r)
{
	struct kept want = {.id = ""}, *k;

	switch (r->type) {
	case RECORD_AUTHORISED:
	case RECORD_ISSUED:
	case RECORD_FAILED:
	case RECORD_UNKNOWN:
	case RECORD_LATE:
	case RECORD_REFUSED:
	case RECORD_CLOCK:
	case RECORD_CHECKPOINT:
		break;
	default:
		return STAY_BASE;
	}
	if (r->id.len == 0 || m->count == 0)
		return STAYS;
	state_text(want.id, sizeof(want.id), &r->id);
	k = bsearch(&want, m->kept, m->count, sizeof(want), archive_compare);
	return k ? k->why : STAYS;
}

/* ---- the file ---- */

static enum err leave(struct move *m, const struct record *r)
{
	struct gone *g = m->leaves;

	if (g->count == g->room) {
		size_t room = g->room ? 2 * g->room : 1024;
		struct gone_record *more = reallocarray(g->record, room, sizeof(*more));

		if (!more)
			return ERR_NOMEM;
		g->record = more;
		g->room = room;
	}

	struct gone_record *to = &g->record[g->count++];

	to->idx = r->idx;
	state_text(to->id, sizeof(to->id), &r->id);
	m->moved->taken++;
	return ERR_OK;
}

/* Ends the walk behind the last record. What stayed at an earlier run and need not any more is in
 * this file, too. */
static enum err file_row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct move *m = arg;
	struct record r;
	enum err e = len ? archive_parse(m, &r, idx, json, len) : ERR_OK;

	(void)leaf;
	if (e || !len)
		return e;

	enum archive_stay stay = idx < m->moved->to ? stay_of(m, &r) : STAYS;

	if (stay != STAYS)
		m->moved->stay[stay]++;
	if (stay != STAYS && idx < m->moved->from)
		return ERR_OK;
	if (fwrite(json, 1, len, m->file) != len || putc('\n', m->file) == EOF)
		return refuse(m->why, ERR_NOT_FOUND, "to", "%s.new: %s", m->path, strerror(errno));
	if (idx >= m->moved->to) /* the head that covers them */
		return ERR_TIMEOUT;
	return stay == STAYS ? leave(m, &r) : ERR_OK;
}

static enum err chain_file(struct move *m)
{
	const struct store_engine *engine = m->s->engine;
	const char *chain = m->chain->chain;
	enum err e = engine->record_walk(m->s, chain, 0, keep_row, m);

	if (!e && m->count)
		qsort(m->kept, m->count, sizeof(*m->kept), archive_compare);
	if (!e)
		e = engine->record_walk(m->s, chain, 0, file_row, m);
	return e == ERR_TIMEOUT ? ERR_OK : e;
}

static enum err chain_move(struct move *m, const struct store_chain *c, int64_t now)
{
	struct gone *g = calloc(1, sizeof(*g)), **last = &m->gone;

	if (!g)
		return ERR_NOMEM;
	while (*last)
		last = &(*last)->next;
	*last = m->leaves = g;
	m->chain = c;
	m->moved = &g->moved;
	strcpy(g->moved.chain, c->chain);
	merkle_init(&m->tree);
	m->witness = (struct witness){.chain = c->chain};
	m->passed = false;
	m->count = 0;
	/* a clock that was set back and one that was ahead: neither makes a credential old */
	m->alive = now < c->last_time ? now : c->last_time;

	enum err e = m->s->engine->record_walk(m->s, c->chain, 0, border_row, m);
	uint8_t root[SHA256_SIZE];

	if (e && e != ERR_TIMEOUT)
		return e;
	g->seen = (int64_t)m->tree.size;
	merkle_root(&m->tree, root);
	if (m->tree.size != c->tree.size || memcmp(root, c->root, sizeof(root)) != 0)
		return damaged(
			m, (int64_t)m->tree.size, "the chain's head is not that of its records");
	if (m->moved->to < m->moved->from)
		m->moved->to = m->moved->from;
	return m->moved->to > m->moved->from ? chain_file(m) : ERR_OK;
}

static enum err file_end(struct move *m, const char *fresh)
{
	bool good = fflush(m->file) == 0 && fsync(fileno(m->file)) == 0;

	if (good)
		archive_cut("written");
	good = good && rename(fresh, m->path) == 0 && folder_sync(m->path) == ERR_OK;
	return good ? ERR_OK
		    : refuse(m->why, ERR_NOT_FOUND, "to", "%s: %s", m->path, strerror(errno));
}

static enum err chains_move(struct move *m, int64_t now, bool *any)
{
	struct store_chain c = {.chain = ""};
	enum err e;

	while (!(e = m->s->engine->chain_after(m->s, c.chain, &c))) {
		e = chain_move(m, &c, now);
		if (e)
			return e;
		*any = *any || m->moved->taken;
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static void move_free(struct move *m)
{
	struct gone *next;

	for (struct gone *g = m->gone; g; g = next) {
		next = g->next;
		free(g->record);
		free(g);
	}
	free(m->kept);
	buf_free(&m->text);
}

enum err archive_move(struct store *s, const char *path, int64_t before, int64_t now,
	void (*told)(void *arg, const struct archive_moved *m), void *arg, struct refusal *why)
{
	struct move m = {.s = s, .path = path, .before = before, .why = why};
	char *fresh = NULL;
	bool any = false;
	int fd;

	enum err may = s->engine->may_blank ? s->engine->may_blank(s, why) : ERR_OK;

	if (may)
		return may;
	if (access(path, F_OK) == 0)
		return refuse(why, ERR_NOT_FOUND, "to",
			"%s is there already: name a new file, an archive is never written over",
			path);
	if (asprintf(&fresh, "%s.new", path) < 0)
		return ERR_NOMEM;
	fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	m.file = fd < 0 ? NULL : fdopen(fd, "w");
	m.text = (struct buf)BUF_INIT(RECORD_MAX);

	enum err e = m.file ? chains_move(&m, now, &any)
			    : refuse(why, ERR_NOT_FOUND, "to", "%s: %s", fresh, strerror(errno));

	if (!e && any)
		e = file_end(&m, fresh);
	else if (m.file)
		unlink(fresh);
	if (m.file)
		fclose(m.file);
	if (!e && any)
		e = archive_take(&m);
	for (const struct gone *g = e ? NULL : m.gone; g; g = g->next)
		told(arg, &g->moved);
	move_free(&m);
	free(fresh);
	return e;
}
