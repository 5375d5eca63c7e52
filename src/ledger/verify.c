#include "verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attempts.h"
#include "inforce.h"
#include "rebuild.h"
#include "tree.h"

struct generation {
	uint8_t sha256[SHA256_SIZE];
	struct generation *next;
};

/* One chain while it is read. */
struct walk {
	struct verify *v;
	const struct store_chain *chain;
	int64_t next;
	struct merkle tree;
	struct attempts attempts;
	struct proved *proved;
	struct generation *generations;
	struct buf text, opened, tbs;
	const char *json; /* the record at hand */
	size_t len;
	bool stopped;
	struct store *store;
	struct witness witness;
	uint8_t root[SHA256_SIZE]; /* before a CHECKPOINT record */
	struct inforce *holds;
};

static void wrong(struct walk *w, int64_t idx, const char *what)
{
	w->v->problems++;
	w->v->problem(w->v->arg, w->chain->chain, idx, what);
}

/* ---- attempts and outcomes ---- */

static enum err begin(struct walk *w, const struct record *r)
{
	const struct attempt *before = attempts_find(&w->attempts, r);
	char text[128];

	if (before) {
		snprintf(text, sizeof(text), "its id and attempt were used before, in record %lld",
			(long long)before->idx);
		wrong(w, r->idx, text);
		return ERR_OK;
	}
	return attempts_begin(&w->attempts, r, w->json, w->len) ? ERR_OK : ERR_NOMEM;
}

/* The record that this outcome belongs to, read again; false: there is none that is open. */
static bool opening(
	struct walk *w, const struct record *r, struct attempt **at, struct record *opened)
{
	bool late = r->type == RECORD_LATE;

	*at = attempts_find(&w->attempts, r);
	if (!*at) {
		wrong(w, r->idx, "nothing was authorised under its id and attempt");
		return false;
	}
	if ((*at)->state != ATTEMPT_OPEN && !(late && (*at)->state == ATTEMPT_UNKNOWN)) {
		wrong(w, r->idx, "its attempt has an outcome already");
		return false;
	}
	buf_reset(&w->opened);
	return record_parse(opened, &w->opened, (*at)->json, (*at)->len) == ERR_OK;
}

static enum err take_authorised(struct walk *w, const struct record *r)
{
	const struct certificate *c = proved_find(w->proved, r);
	const struct generation *g = w->generations;
	const struct inforce *hold = inforce_find(w->holds, r);
	const char *what = NULL;
	char text[128];

	if (hold) {
		snprintf(text, sizeof(text), "was authorised against the hold of record %lld",
			(long long)hold->idx);
		wrong(w, r->idx, text);
	}

	while (g && memcmp(g->sha256, r->generation.at, SHA256_SIZE) != 0)
		g = g->next;
	if (!g)
		wrong(w, r->idx, "no CONFIG record announced its generation");
	buf_reset(&w->tbs);
	if (!c)
		what = "no KEY-PROVED record shows its certificate for its key";
	else
		what = rebuild_authorised(r, c, &w->tbs);
	if (what)
		wrong(w, r->idx, what);
	return begin(w, r);
}

/* ISSUED and LATE. */
static enum err take_credential(struct walk *w, const struct record *r)
{
	struct record authorised;
	struct attempt *at;

	if (!opening(w, r, &at, &authorised))
		return ERR_OK;

	const struct certificate *c = proved_find(w->proved, &authorised);
	const char *what = c ? rebuild_credential(r, &authorised, c) : NULL;

	if (what)
		wrong(w, r->idx, what);
	w->v->credentials += r->type == RECORD_ISSUED;
	attempts_end(&w->attempts, at, ATTEMPT_CLOSED);
	return ERR_OK;
}

/* FAILED, UNKNOWN, KEY-REFUSED. */
static enum err take_end(struct walk *w, const struct record *r)
{
	struct record opened;
	struct attempt *at;

	if (r->id.len && opening(w, r, &at, &opened))
		attempts_end(&w->attempts, at,
			r->type == RECORD_UNKNOWN ? ATTEMPT_UNKNOWN : ATTEMPT_CLOSED);
	return ERR_OK;
}

static enum err take_proved(struct walk *w, const struct record *r)
{
	const char *what = proved_add(&w->proved, r);
	const struct certificate *c = proved_find(w->proved, r);
	struct record test;
	struct attempt *at;

	if (what)
		wrong(w, r->idx, what);
	if (!opening(w, r, &at, &test))
		return ERR_OK;
	if (memcmp(test.certificate_sha256.at, r->certificate_sha256.at, SHA256_SIZE) != 0)
		wrong(w, r->idx, "its certificate is not that of its SELF-TEST");
	else if (c && r->dc.len && (what = rebuild_credential(r, &test, c)))
		wrong(w, r->idx, what);
	attempts_end(&w->attempts, at, ATTEMPT_CLOSED);
	return ERR_OK;
}

static enum err take_config(struct walk *w, const struct record *r)
{
	struct generation *g = calloc(1, sizeof(*g));

	if (!g)
		return ERR_NOMEM;
	memcpy(g->sha256, r->generation.at, SHA256_SIZE);
	g->next = w->generations;
	w->generations = g;
	return ERR_OK;
}

/* START and STOP: nothing may be open here. */
static enum err take_border(struct walk *w, const struct record *r)
{
	for (size_t i = 0; i < w->attempts.size && w->attempts.open; i++) {
		struct attempt *at = &w->attempts.slot[i];
		char text[128];

		if (at->state != ATTEMPT_OPEN)
			continue;
		snprintf(text, sizeof(text), "it has no outcome, and the %s record %lld follows",
			record_type_name(r->type), (long long)r->idx);
		wrong(w, at->idx, text);
		attempts_end(&w->attempts, at, ATTEMPT_CLOSED);
	}
	return ERR_OK;
}

static enum err take_checkpoint(struct walk *w, const struct record *r)
{
	const char *what = witness_record(&w->witness, r, w->root);

	if (what)
		wrong(w, r->idx, what);
	return ERR_OK;
}

/* HELD and RELEASED. */
static enum err take_hold(struct walk *w, const struct record *r)
{
	return inforce_take(&w->holds, r) ? ERR_OK : ERR_NOMEM;
}

static enum err (*const types[RECORD_TYPES])(struct walk *w, const struct record *r) = {
	[RECORD_START] = take_border,
	[RECORD_STOP] = take_border,
	[RECORD_CONFIG] = take_config,
	[RECORD_KEY_PROVED] = take_proved,
	[RECORD_KEY_REFUSED] = take_end,
	[RECORD_SELF_TEST] = begin,
	[RECORD_AUTHORISED] = take_authorised,
	[RECORD_ISSUED] = take_credential,
	[RECORD_FAILED] = take_end,
	[RECORD_UNKNOWN] = take_end,
	[RECORD_LATE] = take_credential,
	[RECORD_HELD] = take_hold,
	[RECORD_RELEASED] = take_hold,
	[RECORD_CHECKPOINT] = take_checkpoint,
};

/* ---- places and hashes ---- */

static void place_check(struct walk *w, int64_t idx)
{
	char text[128];

	if (idx != w->next) {
		snprintf(text, sizeof(text), "%lld record%s missing before it",
			(long long)(idx - w->next), idx - w->next == 1 ? " is" : "s are");
		wrong(w, idx, text);
	}
	if (idx >= (int64_t)w->chain->tree.size)
		wrong(w, idx, "stands behind the end of its chain");
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
		wrong(w, (int64_t)w->tree.size,
			"an inner node that is kept for proofs is not that of the records");
}

static void tree_append(struct walk *w, const uint8_t leaf[SHA256_SIZE])
{
	const char *what;

	merkle_append_seen(&w->tree, leaf, node_check, w);
	what = witness_size(&w->witness, w->v->known, w->tree.size, root_now, w);
	if (what)
		wrong(w, (int64_t)w->tree.size - 1, what);
}

static bool names_chain(const struct walk *w, const struct record *r)
{
	return r->chain.len == strlen(w->chain->chain) &&
	       memcmp(r->chain.at, w->chain->chain, r->chain.len) == 0;
}

static enum err row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct walk *w = arg;
	uint8_t hash[SHA256_SIZE];
	struct record r;

	w->v->records++;
	place_check(w, idx);
	merkle_leaf(json, len, hash);
	buf_reset(&w->text);

	enum err e = record_parse(&r, &w->text, json, len);

	if (!e && r.type == RECORD_CHECKPOINT)
		merkle_root(&w->tree, w->root);
	tree_append(w, hash);
	if (memcmp(hash, leaf, SHA256_SIZE) != 0)
		wrong(w, idx, "the stored leaf hash is not that of the record");
	if (e) {
		wrong(w, idx, "is not a record in canonical form");
		return ERR_OK;
	}
	if (r.idx != idx || !names_chain(w, &r)) {
		wrong(w, idx, "names another place than its own");
		return ERR_OK;
	}
	w->json = json;
	w->len = len;
	w->stopped = r.type == RECORD_STOP || (w->stopped && r.type == RECORD_CHECKPOINT);
	return types[r.type] ? types[r.type](w, &r) : ERR_OK;
}

static void head_check(struct walk *w)
{
	uint8_t root[SHA256_SIZE];
	char text[128];

	if (w->tree.size != w->chain->tree.size || w->next != (int64_t)w->chain->tree.size) {
		snprintf(text, sizeof(text), "it has %llu records, its head says %llu",
			(unsigned long long)w->tree.size, (unsigned long long)w->chain->tree.size);
		wrong(w, NO_IDX, text);
	}
	merkle_root(&w->tree, root);
	if (memcmp(root, w->chain->root, SHA256_SIZE) != 0)
		wrong(w, NO_IDX, "its root is not that of its records");
	if (!w->stopped)
		w->v->open += w->attempts.open;
	w->v->heads += w->witness.count;
	if (w->witness.count && w->v->head)
		w->v->head(w->v->arg, &w->witness.newest, w->witness.key);
}

static void walk_free(struct walk *w)
{
	while (w->generations) {
		struct generation *next = w->generations->next;

		free(w->generations);
		w->generations = next;
	}
	inforce_free(w->holds);
	proved_free(w->proved);
	attempts_free(&w->attempts);
	buf_free(&w->text);
	buf_free(&w->opened);
	buf_free(&w->tbs);
}

static enum err chain_verify(struct verify *v, struct store *s, const struct store_chain *c)
{
	struct walk w = {.v = v,
		.chain = c,
		.store = s,
		.witness = {.chain = c->chain, .public_key = v->public_key},
		.text = BUF_INIT(RECORD_MAX),
		.opened = BUF_INIT(RECORD_MAX),
		.tbs = BUF_INIT(DC_TBS_MAX)};

	merkle_init(&w.tree);
	v->chains++;

	enum err e = s->engine->record_walk(s, c->chain, 0, row, &w);

	if (!e)
		head_check(&w);
	walk_free(&w);
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

static void known_left(struct verify *v)
{
	char text[128];

	for (const struct known *k = v->known; k; k = k->next) {
		if (k->seen || k->head.size == 0)
			continue;
		snprintf(text, sizeof(text),
			"a kept checkpoint has %llu records of it: records are missing at its end",
			(unsigned long long)k->head.size);
		v->problems++;
		v->problem(v->arg, k->head.origin, NO_IDX, text);
	}
}

enum err verify_store(struct verify *v, struct store *s, const char *chain)
{
	struct store_chain c = {.chain = ""};
	enum err e;

	if (chain) {
		e = s->engine->chain_get(s, chain, &c);
		return e ? e : chain_verify(v, s, &c);
	}
	while (!(e = s->engine->chain_after(s, c.chain, &c))) {
		e = chain_verify(v, s, &c);
		if (e)
			return e;
	}
	if (e == ERR_NOT_FOUND)
		e = strays_find(v, s);
	if (!e)
		known_left(v);
	return e;
}
