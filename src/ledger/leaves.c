#include "leaves.h"

#include <stdlib.h>
#include <string.h>

#define BATCHES	     12
#define BATCH_LEAVES 256
#define BATCH_OCTETS (256 << 10)

struct batch {
	struct job job; /* first: a job is its batch */
	unsigned count;
	struct buf text;
	size_t at[BATCH_LEAVES];
	struct leaf leaf[BATCH_LEAVES];
};

/* Batches [taken, filled) are with the crew; `filled` is the one that is being filled. */
struct walk {
	struct crew *crew;
	leaves_take *take;
	void *arg;
	unsigned taken, filled;
	struct batch batch[BATCHES];
};

static void batch_hash(struct job *j)
{
	struct batch *b = (struct batch *)j;

	for (unsigned i = 0; i < b->count; i++) {
		struct leaf *l = &b->leaf[i];

		l->json = (const char *)b->text.octets + b->at[i];
		if (l->len)
			merkle_leaf(l->json, l->len, l->hash);
		else
			memcpy(l->hash, l->stored, SHA256_SIZE);
	}
}

/* The oldest batch that is with the crew. */
static enum err batch_take(struct walk *w, bool heed)
{
	struct batch *b = &w->batch[w->taken++ % BATCHES];
	enum err e = ERR_OK;

	crew_wait(w->crew, &b->job);
	for (unsigned i = 0; heed && !e && i < b->count; i++)
		e = w->take(w->arg, &b->leaf[i]);
	b->count = 0;
	buf_reset(&b->text);
	return e;
}

static enum err batch_give(struct walk *w)
{
	struct batch *b = &w->batch[w->filled % BATCHES];

	b->job.run = batch_hash;
	crew_put(w->crew, &b->job);
	w->filled++;
	return w->filled - w->taken == BATCHES ? batch_take(w, true) : ERR_OK;
}

static enum err row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct walk *w = arg;
	struct batch *b = &w->batch[w->filled % BATCHES];
	struct leaf *l = &b->leaf[b->count];

	l->idx = idx;
	l->len = len;
	memcpy(l->stored, leaf, SHA256_SIZE);
	b->at[b->count++] = b->text.len;
	buf_put(&b->text, json, len);
	if (b->text.err)
		return b->text.err;
	return b->count == BATCH_LEAVES || b->text.len >= BATCH_OCTETS ? batch_give(w) : ERR_OK;
}

enum err leaves_walk(struct store *s, const char *chain, int64_t from, struct crew *crew,
	leaves_take *take, void *arg)
{
	struct walk *w = calloc(1, sizeof(*w));

	if (!w)
		return ERR_NOMEM;
	w->crew = crew;
	w->take = take;
	w->arg = arg;
	for (unsigned i = 0; i < BATCHES; i++)
		w->batch[i].text = (struct buf)BUF_INIT(UINT32_MAX);

	enum err e = s->engine->record_walk(s, chain, from, row, w);

	if (!e && w->batch[w->filled % BATCHES].count)
		e = batch_give(w);
	while (w->taken < w->filled) {
		enum err after = batch_take(w, !e);

		e = e ? e : after;
	}
	for (unsigned i = 0; i < BATCHES; i++)
		buf_free(&w->batch[i].text);
	free(w);
	return e;
}
