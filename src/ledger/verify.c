#include "verify.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "bookmark.h"
#include "leaves.h"
#include "state.h"
#include "tree.h"
#include "verify_walk.h"

#define PROGRESS_EVERY 4096 /* records */

void verify_wrong(void *arg, int64_t idx, const char *what)
{
	struct walk *w = arg;

	w->problems++;
	w->v->problems++;
	w->v->problem(w->v->arg, w->chain->chain, idx, what);
}

/* ---- places and hashes ---- */

static void place_check(struct walk *w, int64_t idx)
{
	char text[128];

	if (idx != w->next) {
		snprintf(text, sizeof(text), "%lld record%s missing before it",
			(long long)(idx - w->next), idx - w->next == 1 ? " is" : "s are");
		verify_wrong(w, idx, text);
	}
	if (idx >= (int64_t)w->chain->tree.size)
		verify_wrong(w, idx, "stands behind the end of its chain");
	w->next = idx + 1;
}

static void root_now(void *arg, uint8_t out[SHA256_SIZE])
{
	const struct walk *w = arg;

	merkle_root(&w->tree, out);
}

/* The inner nodes that the store keeps for proofs. */
static void node_check(void *arg, unsigned level, uint64_t index, const uint8_t hash[SHA256_SIZE])
{
	struct walk *w = arg;
	uint8_t kept[SHA256_SIZE];

	if (level == 0 || level % TREE_STEP)
		return;
	if (w->store->engine->node_get(w->store, w->chain->chain, level, index, kept) ||
		memcmp(kept, hash, sizeof(kept)) != 0)
		verify_wrong(w, (int64_t)w->tree.size,
			"an inner node that is kept for proofs is not that of the records");
}

static void tree_append(struct walk *w, const uint8_t leaf[SHA256_SIZE])
{
	const char *what;

	merkle_append_seen(&w->tree, leaf, node_check, w);
	if (w->tree.size < w->next_known)
		return;
	what = witness_size(&w->witness, w->v->known, w->tree.size, root_now, w);
	w->next_known = witness_next(&w->witness, w->v->known, w->tree.size);
	if (what)
		verify_wrong(w, (int64_t)w->tree.size - 1, what);
}

static bool names_chain(const struct walk *w, const struct record *r)
{
	return r->chain.len == strlen(w->chain->chain) &&
	       memcmp(r->chain.at, w->chain->chain, r->chain.len) == 0;
}

/* A CHECKPOINT record, told by its second member. Canonical form leaves no other way to write it.
 */
static bool is_head(const struct leaf *l)
{
	static const char begin[] = "{\"chain\":\"", note[] = ",\"note\":\"";
	const char *end = l->json + l->len, *at;

	if (l->len < sizeof(begin) || memcmp(l->json, begin, sizeof(begin) - 1) != 0)
		return false;
	at = memchr(l->json + sizeof(begin) - 1, ',', l->len - sizeof(begin) + 1);
	at = at ? memchr(at + 1, ',', (size_t)(end - at - 1)) : NULL;
	return at && (size_t)(end - at) > sizeof(note) && memcmp(at, note, sizeof(note) - 1) == 0;
}

/* Of the types that the ledger process writes itself, some are sent to it, too. */
static void time_take(struct walk *w, const struct record *r)
{
	bool same = r->time == w->chain->last_time;

	switch (r->type) {
	case RECORD_STOP:
	case RECORD_CONFIG:
	case RECORD_UNKNOWN:
	case RECORD_REFUSED:
	case RECORD_HELD:
	case RECORD_RELEASED:
	case RECORD_CHECKPOINT:
		w->time_good = w->time_good || same;
		break;
	default:
		w->time_known = true;
		w->time_good = same;
	}
}

/* What the record says, in its place in the tree; root: of what stands before it. */
static enum err record_check(struct walk *w, const struct leaf *l)
{
	struct record r;
	const char *what;

	buf_reset(&w->text);
	if (record_parse(&r, &w->text, l->json, l->len)) {
		verify_wrong(w, l->idx, "is not a record in canonical form");
		return ERR_OK;
	}
	if (r.idx != l->idx || !names_chain(w, &r)) {
		verify_wrong(w, l->idx, "names another place than its own");
		return ERR_OK;
	}
	if (r.type == RECORD_CHECKPOINT && (what = witness_record(&w->witness, &r, w->root)))
		verify_wrong(w, l->idx, what);
	time_take(w, &r);
	return w->v->chain_only ? ERR_OK : judge_take(&w->judge, &r, l->json, l->len);
}

#define SAVE_SECONDS 30

/* Now and then, and when this run is to end. */
static enum err rest(struct walk *w)
{
	struct verify *v = w->v;
	bool end = v->stop && *v->stop;

	if (v->progress)
		v->progress(v->arg, w->chain->chain, w->tree.size, w->chain->tree.size);
	if (v->resume && (end || time(NULL) - w->saved >= SAVE_SECONDS)) {
		enum err e = verify_save(w);

		if (e)
			return e;
	}
	return end ? ERR_CLOSED : ERR_OK;
}

/* Its leaf hash stands for it; verify --archive reads the record. */
static void archived_take(struct walk *w, const struct leaf *l)
{
	w->archived++;
	w->last_archived = l->idx;
	if (w->store->archive)
		verify_wrong(w, l->idx, "is archived, and no archive that was given has it");
}

/* Only what a signed head covers was ever archived. */
static void archived_check(struct walk *w)
{
	char text[160];

	if (w->archived == 0)
		return;
	if (w->witness.newest.size <= (uint64_t)w->last_archived)
		verify_wrong(w, w->last_archived, "has no text, and no signed head covers it");
	snprintf(text, sizeof(text),
		"%llu records before %lld are archived: their leaf hashes and the roots over them "
		"were checked, not what they say",
		(unsigned long long)w->archived, (long long)w->last_archived + 1);
	if (w->v->note && !w->store->archive)
		w->v->note(w->v->arg, w->chain->chain, text);
	w->v->archived += w->archived;
	if (w->v->tables)
		w->v->tables->archived = true;
}

static enum err take(void *arg, const struct leaf *l)
{
	struct walk *w = arg;
	bool head = is_head(l);

	w->v->records++;
	place_check(w, l->idx);
	if (l->len == 0)
		archived_take(w, l);
	if (head)
		merkle_root(&w->tree, w->root);
	tree_append(w, l->hash);
	if (memcmp(l->hash, l->stored, SHA256_SIZE) != 0)
		verify_wrong(w, l->idx, "the stored leaf hash is not that of the record");
	enum err e = l->len && (head || !w->v->chain_only) ? record_check(w, l) : ERR_OK;

	if (e || (w->tree.size % PROGRESS_EVERY && w->tree.size != w->chain->tree.size))
		return e;
	return rest(w);
}

/* The note that the store hands out is the newest one of the records. */
static void note_check(struct walk *w)
{
	struct buf note = BUF_INIT(CHECKPOINT_MAX);
	const struct checkpoint *newest = &w->witness.newest;
	struct checkpoint c;
	enum err e = w->store->engine->checkpoint_get(w->store, w->chain->chain, &note);

	if (e == ERR_NOT_FOUND && w->witness.count == 0)
		return;
	if (e || checkpoint_verify(&c, (const char *)note.octets, note.len, w->witness.key) ||
		strcmp(c.origin, newest->origin) != 0 || c.size != newest->size ||
		memcmp(c.root, newest->root, sizeof(c.root)) != 0)
		verify_wrong(w, NO_IDX,
			"the signed head that the store keeps is not the newest of the records");
	buf_free(&note);
}

static void head_check(struct walk *w)
{
	uint8_t root[SHA256_SIZE];
	char text[128];

	if (w->tree.size != w->chain->tree.size || w->next != (int64_t)w->chain->tree.size) {
		snprintf(text, sizeof(text), "it has %llu records, its head says %llu",
			(unsigned long long)w->tree.size, (unsigned long long)w->chain->tree.size);
		verify_wrong(w, NO_IDX, text);
	}
	merkle_root(&w->tree, root);
	if (memcmp(root, w->chain->root, SHA256_SIZE) != 0)
		verify_wrong(w, NO_IDX, "its root is not that of its records");
	if (memcmp(w->tree.edge, w->chain->tree.edge, merkle_edges(w->tree.size) * SHA256_SIZE) !=
		0)
		verify_wrong(w, NO_IDX, "the edge of its tree is not that of its records");
	if (w->time_known && !w->time_good && !w->v->chain_only && w->problems == 0)
		verify_wrong(w, NO_IDX, "its last_time is not that of its writer's last record");
	note_check(w);
	archived_check(w);
	w->v->open += judge_open(&w->judge);
	w->v->credentials += w->judge.credentials;
	w->v->heads += w->witness.count;
	if (w->witness.count && w->v->head)
		w->v->head(w->v->arg, &w->witness.newest, w->witness.key);
}

/* Of a chain that goes on for another one: what is missing between them. */
static enum err gap_show(struct walk *w)
{
	const struct store_engine *engine = w->store->engine;
	struct buf json = BUF_INIT(RECORD_MAX);
	uint8_t leaf[SHA256_SIZE], root[SHA256_SIZE];
	char name[CHAIN_SIZE], text[400];
	struct store_chain before;
	struct record r;
	enum err e = engine->record_get(w->store, w->chain->chain, 0, &json, leaf);

	buf_reset(&w->text);
	if (e || record_parse(&r, &w->text, (const char *)json.octets, json.len) ||
		r.type != RECORD_SUCCEEDED || !state_text(name, sizeof(name), &r.previous)) {
		buf_free(&json);
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	}
	e = engine->chain_get(w->store, name, &before);

	uint64_t there = e ? 0 : before.tree.size, known = (uint64_t)r.size;
	struct tree tree = {.store = w->store, .chain = name};

	if (there < known)
		snprintf(text, sizeof(text),
			"goes on for %s, of which %llu records were known: %llu of them, from %llu "
			"on, are missing for ever (\"%.*s\")",
			name, (unsigned long long)known, (unsigned long long)(known - there),
			(unsigned long long)there, (int)(r.reason.len < 100 ? r.reason.len : 100),
			(const char *)r.reason.at);
	else
		snprintf(text, sizeof(text), "goes on for %s after its %llu records (\"%.*s\")",
			name, (unsigned long long)known,
			(int)(r.reason.len < 100 ? r.reason.len : 100), (const char *)r.reason.at);
	if (w->v->note)
		w->v->note(w->v->arg, w->chain->chain, text);
	if (there > known)
		verify_wrong(
			w, 0, "the chain that it goes on for has more records than were known");
	else if (there == known && known > 0 &&
		 (merkle_root_at(known, tree_subtree, &tree, root) ||
			 memcmp(root, r.root.at, SHA256_SIZE) != 0))
		verify_wrong(w, 0, "the chain that it goes on for has another root than was known");
	buf_free(&json);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err chain_verify(struct verify *v, struct store *s, const struct store_chain *c)
{
	struct walk w = {.v = v,
		.chain = c,
		.store = s,
		.witness = {.chain = c->chain, .verifier = v->verifier, .verifiers = v->verifiers},
		.text = BUF_INIT(RECORD_MAX)};

	const struct buf *before = v->resume ? bookmark_find(v->resume, c->chain) : NULL;
	enum err e = judge_init(&w.judge, v->crew, verify_wrong, &w);

	merkle_init(&w.tree);
	v->chains++;
	w.saved = time(NULL);
	w.judge.tables = v->tables;
	if (!e && before)
		e = verify_load(&w, before);
	w.next_known = witness_next(&w.witness, v->known, w.tree.size);
	if (!e)
		e = leaves_walk(s, c->chain, (int64_t)w.tree.size, v->crew, take, &w);
	if (!e)
		e = judge_end(&w.judge);
	if (!e && v->resume)
		e = verify_save(&w);
	if (!e)
		head_check(&w);
	if (!e && strchr(c->chain, '#'))
		e = gap_show(&w);
	/* what was verified before is gone: said, and the other chains are looked at */
	if (e == ERR_NOT_FOUND)
		e = ERR_OK;
	judge_free(&w.judge);
	buf_free(&w.text);
	return e;
}

/* Records of a chain that the store does not list. */
static enum err strays_find(struct verify *v, struct store *s)
{
	char name[CHAIN_SIZE] = "";
	struct store_chain c;
	enum err e;

	while (!(e = s->engine->record_chain_after(s, name, name))) {
		e = s->engine->chain_get(s, name, &c);
		if (e && e != ERR_NOT_FOUND)
			return e;
		if (e) {
			v->problems++;
			v->problem(v->arg, name, NO_IDX, "there are records of it, but no head");
		}
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static void table_wrong(void *arg, const char *what)
{
	struct verify *v = arg;

	v->problems++;
	v->problem(v->arg, "the ledger", NO_IDX, what);
}

static enum err chains_verify(struct verify *v, struct store *s, const char *chain)
{
	struct store_chain c = {.chain = ""};
	enum err e;

	if (chain) {
		e = s->engine->chain_get(s, chain, &c);
		if (!e)
			e = chain_verify(v, s, &c);
		if (!e)
			verify_known(v, chain);
		return e;
	}
	while (!(e = s->engine->chain_after(s, c.chain, &c))) {
		e = chain_verify(v, s, &c);
		if (e)
			return e;
	}
	if (e == ERR_NOT_FOUND)
		e = strays_find(v, s);
	if (!e)
		verify_known(v, NULL);
	return e || !v->tables ? e : tables_check(v->tables, table_wrong, v);
}

enum err verify_store(struct verify *v, struct store *s, const char *chain)
{
	struct tables tables = {.store = s};

	v->crew = crew_make();
	if (!v->crew)
		return ERR_NOMEM;
	verify_cosigned(v);
	v->tables = chain || v->chain_only || v->resume ? NULL : &tables;

	enum err e = chains_verify(v, s, chain);

	tables_free(&tables);
	v->tables = NULL;
	crew_free(v->crew);
	v->crew = NULL;
	return e;
}
