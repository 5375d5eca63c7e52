#include "settings.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "archive_move.h"

void archive_cut(const char *moment)
{
#ifdef DCSIGN_TEST_HOOKS
	const char *at = getenv("DCSIGN_ARCHIVE_CUT");

	if (at && strcmp(at, moment) == 0)
		raise(SIGKILL);
#endif
	(void)moment;
}

static enum err late_row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct move *m = arg;
	struct record r;
	enum err e = archive_parse(m, &r, idx, json, len);

	(void)leaf;
	return e || r.id.len == 0 ? e : archive_keep(m, &r, STAY_LATER);
}

/* Nodes may have written since: what belongs to an attempt that went on stays. */
static enum err late_find(struct move *m, struct gone *g, bool *found)
{
	size_t left = 0;

	m->count = 0;

	enum err e = m->s->engine->record_walk(m->s, g->moved.chain, g->seen, late_row, m);

	if (e || m->count == 0)
		return e;
	qsort(m->kept, m->count, sizeof(*m->kept), archive_compare);
	for (size_t i = 0; i < g->count; i++) {
		struct kept want = {.id = ""};

		strcpy(want.id, g->record[i].id);
		if (!*want.id || !bsearch(&want, m->kept, m->count, sizeof(want), archive_compare))
			g->record[left++] = g->record[i];
	}
	*found = *found || left < g->count;
	g->moved.taken -= g->count - left;
	g->moved.stay[STAY_LATER] += g->count - left;
	g->count = left;
	return ERR_OK;
}

/* In one transaction. found: some must stay, so it is to be done again. */
static enum err blank(struct move *m, bool *found)
{
	const struct store_engine *engine = m->s->engine;
	enum err e = engine->begin(m->s);

	*found = false;
	for (const struct gone *g = m->gone; g && !e; g = g->next) {
		for (size_t i = 0; i < g->count && !e; i++)
			e = engine->record_blank(m->s, g->moved.chain, g->record[i].idx);
	}
	for (struct gone *g = m->gone; g && !e; g = g->next)
		e = late_find(m, g, found);
	if (e || *found) {
		engine->rollback(m->s);
		return e;
	}
	archive_cut("taken");
	e = engine->commit(m->s);
	if (!e)
		archive_cut("committed");
	return e;
}

enum err archive_take(struct move *m)
{
	bool found;
	enum err e;

	do {
		e = blank(m, &found);
	} while (!e && found);
	return e;
}
