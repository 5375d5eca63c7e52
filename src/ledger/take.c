#include "take.h"

#include <string.h>

#include "tree.h"

static void chain_touch(struct chain *c)
{
	if (!c->touched)
		c->saved = c->stored;
	c->touched = true;
}

enum err take_append(struct group *g, struct commit_item *it, struct record *r)
{
	struct ledger *l = g->l;
	struct chain *c = it->chain;
	uint8_t leaf[SHA256_SIZE];

	r->chain = octets_text(c->stored.chain);
	r->idx = (int64_t)c->stored.tree.size;
	buf_reset(&l->json);

	enum err e = record_write(&l->json, r);

	if (e) /* the writer is broken; ERR_NO_ROOM would mean the disk */
		return e == ERR_NO_ROOM ? ERR_FORMAT : e;
	merkle_leaf(l->json.octets, l->json.len, leaf);
	e = l->store->engine->record_put(
		l->store, c->stored.chain, r->idx, l->json.octets, l->json.len, leaf);
	if (e)
		return e;
	chain_touch(c);

	struct tree tree = {.store = l->store, .chain = c->stored.chain};

	merkle_append_seen(&c->stored.tree, leaf, tree_keep, &tree);
	if (tree.err)
		return tree.err;
	if (!it->own)
		c->stored.last_time = r->time;
	it->answer.idx = (uint64_t)r->idx;
	memcpy(it->answer.leaf_hash, leaf, SHA256_SIZE);
	return ERR_OK;
}

/* ---- one record each ---- */

static enum err take_plain(struct group *g, struct commit_item *it, struct record *r)
{
	return take_append(g, it, r);
}

static enum err take_refused(struct group *g, struct commit_item *it, struct record *r)
{
	if (!flood_take(&g->l->flood, it->chain->stored.chain, r, g->ms))
		return ERR_OK;
	return take_append(g, it, r);
}

/* An AUTHORISED that is refused leaves a REFUSED record. */
static enum err turn_down(struct group *g, struct commit_item *it, struct record *r)
{
	const struct refusal *why = &it->answer.refusal;

	r->type = RECORD_REFUSED;
	r->spki = r->tbs_sha256 = (struct octets){0};
	r->boottime = RECORD_NONE;
	r->reason = octets_text(err_name(why->err));
	r->field = octets_text(why->field);
	r->detail = octets_text(why->detail);
	return take_refused(g, it, r);
}

static enum err replay(struct group *g, struct commit_item *it, const struct verdict *v)
{
	struct buf authorised = BUF_INIT(RECORD_MAX);
	enum err e = state_replay(
		g->l->store, &v->idempotency, &authorised, &it->replay, it->answer.leaf_hash);
	size_t issued = it->replay.len;

	if (!e)
		buf_put(&it->replay, authorised.octets, authorised.len);
	if (!e)
		e = it->replay.err;
	buf_free(&authorised);
	if (e)
		return e;
	it->answer.replay_issued = octets_of(it->replay.octets, issued);
	it->answer.replay_authorised =
		octets_of(it->replay.octets + issued, it->replay.len - issued);
	it->answer.idx = (uint64_t)v->idempotency.issued;
	return ERR_OK;
}

enum err take_no_room(struct commit_item *it)
{
	refuse(&it->answer.refusal, ERR_LEDGER_UNAVAILABLE, "",
		"the disk of the ledger is full: make room there");
	it->answer.refusal.retry_after = 10;
	return ERR_OK;
}

static enum err take_authorised(struct group *g, struct commit_item *it, struct record *r)
{
	struct store *s = g->l->store;
	struct verdict v;

	if (g->full)
		return take_no_room(it);

	enum err e = state_authorise(s, r, it->max_live_key, it->max_live_client, &v);

	if (e)
		return e;
	it->answer.refusal = v.refusal;
	it->answer.shared = v.shared;
	if (it->judge_only && !v.replay)
		return ERR_OK;
	if (v.refusal.err)
		return turn_down(g, it, r);
	if (v.replay)
		return replay(g, it, &v);
	if (!r->retry_of.len)
		r->retry_of = octets_text(v.retry_of);
	e = take_append(g, it, r);
	return e ? e : state_authorised(s, r, it->chain->stored.chain, r->idx);
}

static enum err take_self_test(struct group *g, struct commit_item *it, struct record *r)
{
	if (g->full)
		return take_no_room(it);

	enum err e = take_append(g, it, r);

	return e ? e : state_self_test(g->l->store, r, it->chain->stored.chain, r->idx);
}

static enum err take_issued(struct group *g, struct commit_item *it, struct record *r)
{
	struct store *s = g->l->store;
	struct verdict v;
	enum err e = state_issue(s, r, it->chain->stored.chain, &v);

	if (e)
		return e;
	it->answer.refusal = v.refusal;
	if (!v.refusal.err) {
		e = take_append(g, it, r);
		return e ? e : state_issued(s, r, r->idx);
	}

	struct record open = *r;

	r->type = open.type = RECORD_LATE;
	r->detail = octets_text(v.refusal.detail);
	e = take_append(g, it, r);
	if (!e)
		e = state_close(s, &open, it->chain->stored.chain);
	if (e && e != ERR_NOT_FOUND)
		return e;
	return v.replay ? replay(g, it, &v) : ERR_OK;
}

/* An outcome without a credential. LATE is evidence and is written even when the attempt has an
 * outcome; the others would contradict it. */
static enum err take_outcome(struct group *g, struct commit_item *it, struct record *r)
{
	enum err e = ERR_NOT_FOUND;

	if (r->id.len)
		e = state_close(g->l->store, r, it->chain->stored.chain);
	if (e == ERR_NOT_FOUND && r->id.len && r->type != RECORD_LATE) {
		refuse(&it->answer.refusal, ERR_OUTCOME_UNKNOWN, "",
			"this attempt is not open any more");
		return ERR_OK;
	}
	return e && e != ERR_NOT_FOUND ? e : take_append(g, it, r);
}

static enum err take_config(struct group *g, struct commit_item *it, struct record *r)
{
	struct ledger *l = g->l;

	for (int i = 0; i < GENERATIONS && l->generation[i]; i++) {
		const struct config *c = l->generation[i];

		if (memcmp(c->generation, r->generation.at, SHA256_SIZE) != 0)
			continue;
		buf_reset(&l->config);
		config_json(&l->config, c, it->chain->token);
		r->config = octets_of(l->config.octets, l->config.len);
		return l->config.err ? ERR_FORMAT : take_append(g, it, r);
	}
	refuse(&it->answer.refusal, ERR_LEDGER_UNAVAILABLE, "",
		"the ledger does not know this generation of the configuration");
	return ERR_OK;
}

static enum err take_hold(struct group *g, struct commit_item *it, struct record *r)
{
	struct ledger *l = g->l;
	enum err e = take_append(g, it, r);

	if (!e && !g->told && l->store->engine->hold_tell)
		e = l->store->engine->hold_tell(l->store, l->json.octets, l->json.len);
	g->told = true;
	return e ? e : state_hold(l->store, r);
}

/* The head of all that stands before it, what this transaction has written included. The note is
 * left in it->replay; nobody gets it before it is durable. */
static enum err take_checkpoint(struct group *g, struct commit_item *it, struct record *r)
{
	struct ledger *l = g->l;
	const struct store_chain *c = &it->chain->stored;
	struct checkpoint head = {.size = c->tree.size};

	if (g->full)
		return take_no_room(it);
	signer_origin(&l->signer, c->chain, head.origin);
	merkle_root(&c->tree, head.root);

	enum err e = checkpoint_sign(&it->replay, &head, l->signer.seed);

	if (e)
		return e;
	buf_reset(&l->config);
	checkpoint_vkey_write(&l->config, head.origin, l->signer.public_key);
	r->size = (int64_t)head.size;
	r->root = octets_of(head.root, SHA256_SIZE);
	r->note = octets_of(it->replay.octets, it->replay.len);
	r->public_key = octets_of(l->config.octets, l->config.len);
	e = take_append(g, it, r);
	return e ? e
		 : l->store->engine->checkpoint_put(
			   l->store, c->chain, it->replay.octets, it->replay.len);
}

/* writer: an hsm process may send it. */
static const struct {
	enum err (*take)(struct group *g, struct commit_item *it, struct record *r);
	bool writer;
} types[RECORD_TYPES] = {
	[RECORD_START] = {take_plain, true},
	[RECORD_STOP] = {take_plain, false},
	[RECORD_CONFIG] = {take_config, true},
	[RECORD_KEY_PROVED] = {take_outcome, true},
	[RECORD_KEY_REFUSED] = {take_outcome, true},
	[RECORD_SELF_TEST] = {take_self_test, true},
	[RECORD_AUTHORISED] = {take_authorised, true},
	[RECORD_ISSUED] = {take_issued, true},
	[RECORD_FAILED] = {take_outcome, true},
	[RECORD_UNKNOWN] = {take_outcome, true},
	[RECORD_LATE] = {take_outcome, true},
	[RECORD_REFUSED] = {take_refused, true},
	[RECORD_HELD] = {take_hold, false},
	[RECORD_RELEASED] = {take_hold, false},
	[RECORD_CLOCK] = {take_plain, true},
	[RECORD_CHECKPOINT] = {take_checkpoint, false},
	[RECORD_SUCCEEDED] = {take_plain, false},
};

enum err take_record(struct group *g, struct commit_item *it)
{
	struct record r = it->record;

	return types[r.type].take(g, it, &r);
}

bool commit_takes(const struct record *r)
{
	return types[r->type].writer && state_sound(r);
}
