#include "answers.h"

#include <string.h>

#include "heads.h"
#include "tree.h"

#define TEXT_MAX      (96 * 1024)  /* octets of records in an answer */
#define ANSWER_MAX    (136 * 1024) /* octets that an answer borrows */
#define RELEASED_ROOM (32 * 1024)  /* what one credential can need */
#define LIFE_MAX      (8 * 86400)  /* seconds: longer than any credential lives */

/* What an answer is made with. */
struct asked {
	struct ledger *l;
	const struct msg_read *m;
	int64_t now, ms;
	struct buf *text; /* what the answer borrows from */
	struct msg_read_answer *a;
};

static enum err answer_live(struct asked *q)
{
	return live_answer(q->l, q->m, q->now, q->ms, q->a);
}

static enum err answer_holds(struct asked *q)
{
	struct store *s = q->l->store;
	const char *key = q->m->key, *client = q->m->client;
	enum err e = ERR_OK;

	while (!e && q->a->held_count < READ_HELD) {
		struct msg_held *h = &q->a->held[q->a->held_count];

		e = s->engine->hold_after(s, key, client, h);
		if (e)
			break;
		q->a->held_count++;
		key = h->key;
		client = h->client;
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static void head_of_chain(struct msg_read_answer *a, const struct store_chain *c)
{
	struct msg_head_of_chain *h = &a->head[a->count++];

	strcpy(h->chain, c->chain);
	h->size = c->tree.size;
	h->last_time = c->last_time;
	memcpy(h->root, c->root, SHA256_SIZE);
}

/* Of a store that nodes share, the chains of all of them. */
static enum err answer_heads(struct asked *q)
{
	const struct store_engine *engine = q->l->store->engine;
	struct msg_read_answer *a = q->a;
	const size_t most = sizeof(a->head) / sizeof(a->head[0]);
	struct store_chain shared = {.chain = ""};
	enum err e = ERR_OK;

	a->octets = engine->octets(q->l->store);
	while (engine->claim && !e && a->count < most) {
		e = engine->chain_after(q->l->store, shared.chain, &shared);
		if (!e)
			head_of_chain(a, &shared);
	}
	for (const struct chain *c = q->l->chains; !engine->claim && c && a->count < most;
		c = c->next)
		head_of_chain(a, &c->stored);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* ---- credentials ---- */

/* ERR_TIMEOUT: there is no room for another one. ERR_NOT_FOUND: it is archived. */
static enum err released_add(struct asked *q, const struct store_credential *c)
{
	struct msg_released *r = &q->a->released[q->a->released_count];
	struct store *s = q->l->store;
	size_t start = q->text->len, middle;
	uint8_t leaf[SHA256_SIZE];

	if (q->text->len + RELEASED_ROOM > TEXT_MAX)
		return ERR_TIMEOUT;

	enum err e = state_record(s, c->chain, c->authorised, q->text, leaf);

	middle = q->text->len;
	if (!e)
		e = state_record(s, c->chain, c->issued, q->text, r->leaf_hash);
	if (e)
		return e;
	strcpy(r->chain, c->chain);
	r->idx = (uint64_t)c->issued;
	r->authorised = octets_of(q->text->octets + start, middle - start);
	r->issued = octets_of(q->text->octets + middle, q->text->len - middle);
	q->a->released_count++;
	return ERR_OK;
}

struct page {
	struct asked *q;
	unsigned limit, looked_at;
};

/* ERR_TIMEOUT: the page is full, and this one is not in it. */
static enum err page_row(void *arg, const struct store_credential *c)
{
	struct page *p = arg;
	const struct msg_read *m = p->q->m;
	bool fits = (!*m->key || strcmp(m->key, c->key) == 0) &&
		    (!*m->client || strcmp(m->client, c->client) == 0) &&
		    (!m->live_at || (c->time <= m->live_at && c->expiry > m->live_at));

	if (p->looked_at == READ_SCAN || (fits && p->q->a->released_count == p->limit))
		return ERR_TIMEOUT;

	enum err e = fits ? released_add(p->q, c) : ERR_OK;

	if (e && e != ERR_NOT_FOUND)
		return e;
	p->looked_at++;
	p->q->a->next = (uint64_t)c->number;
	return ERR_OK;
}

static enum err answer_credentials(struct asked *q)
{
	struct page p = {.q = q, .limit = q->m->limit ? q->m->limit : READ_PAGE};
	struct store *s = q->l->store;
	int64_t after = (int64_t)q->m->after;
	enum err e = ERR_OK;

	if (q->m->live_at > LIFE_MAX && !after)
		e = s->engine->credential_since(s, q->m->live_at - LIFE_MAX, &after);
	if (!e)
		e = s->engine->credential_walk(s, after, page_row, &p);
	if (e == ERR_TIMEOUT)
		return ERR_OK;
	q->a->next = 0;
	return e;
}

static enum err answer_credential(struct asked *q)
{
	struct store_credential c;
	enum err e = q->l->store->engine->credential_get(q->l->store, q->m->id, &c);

	return e ? e : released_add(q, &c);
}

/* ---- heads and proofs ---- */

/* The kept head of a chain. ERR_LEDGER_UNAVAILABLE: there is none. */
static enum err note_add(struct asked *q, const struct chain *c)
{
	struct checkpoint head;
	size_t start = q->text->len;

	if (c->note.len == 0 || checkpoint_read(&head, (const char *)c->note.octets, c->note.len))
		return ERR_LEDGER_UNAVAILABLE;
	buf_put(q->text, c->note.octets, c->note.len);
	if (q->text->err)
		return q->text->err;
	q->a->text = octets_of(q->text->octets + start, c->note.len);
	q->a->to = head.size;
	return ERR_OK;
}

/* The signed head of a chain, so that it covers every record. ERR_LEDGER_UNAVAILABLE. */
static enum err head_add(struct asked *q, struct chain *c)
{
	enum err e = heads_fresh(q->l, c, q->now, q->ms);

	return e ? e : note_add(q, c);
}

static enum err answer_note(struct asked *q)
{
	const struct chain *c = ledger_find(q->l, q->m->chain);

	if (!c)
		return ERR_NOT_FOUND;
	return c->note.len == 0 ? ERR_OK : note_add(q, c);
}

/* The key of another node stands in the CHECKPOINT record of the note. */
static enum err key_of_other(struct asked *q, const struct chain *c, struct buf *vkey)
{
	struct buf json = BUF_INIT(RECORD_MAX), text = BUF_INIT(RECORD_MAX);
	struct store *s = q->l->store;
	uint8_t leaf[SHA256_SIZE];
	struct record r;
	enum err e = s->engine->record_get(s, c->stored.chain, (int64_t)q->a->to, &json, leaf);

	if (!e)
		e = record_parse(&r, &text, (const char *)json.octets, json.len);
	if (!e)
		buf_put(vkey, r.public_key.at, r.public_key.len);
	buf_free(&json);
	buf_free(&text);
	return e == ERR_NOT_FOUND ? ERR_FORMAT : e;
}

static enum err answer_checkpoint(struct asked *q)
{
	struct chain *c = ledger_find(q->l, q->m->chain);
	struct buf vkey = BUF_INIT(sizeof(q->a->verifier_key) - 1);
	char origin[CHECKPOINT_ORIGIN_SIZE];
	enum err e = c ? head_add(q, c) : ERR_NOT_FOUND;

	if (!e && c == &q->l->other) {
		e = key_of_other(q, c, &vkey);
	} else if (!e) {
		signer_origin(&q->l->signer, c->stored.chain, origin);
		checkpoint_vkey_write(&vkey, origin, q->l->signer.public_key);
	}
	if (!e && !vkey.err)
		memcpy(q->a->verifier_key, vkey.octets, vkey.len);
	buf_free(&vkey);
	return e;
}

static void proof_add(struct asked *q, const struct merkle_proof *proof)
{
	q->a->proof_count = (uint16_t)proof->count;
	memcpy(q->a->proof, proof->hash, proof->count * sizeof(proof->hash[0]));
}

static enum err answer_proof(struct asked *q)
{
	struct store_credential c;
	struct merkle_proof proof;
	struct store *s = q->l->store;
	enum err e = s->engine->credential_get(s, q->m->id, &c);
	struct chain *chain = e ? NULL : ledger_find(q->l, c.chain);
	struct tree t = {.store = s, .chain = c.chain};

	if (!e)
		e = chain ? released_add(q, &c) : ERR_FORMAT;
	if (!e)
		e = head_add(q, chain);
	if (!e && q->a->to <= (uint64_t)c.issued)
		e = ERR_LEDGER_UNAVAILABLE;
	if (!e)
		e = merkle_inclusion(&proof, (uint64_t)c.issued, q->a->to, tree_subtree, &t);
	if (!e)
		proof_add(q, &proof);
	return e;
}

static enum err answer_consistency(struct asked *q)
{
	struct chain *c = ledger_find(q->l, q->m->chain);
	struct tree t = {.store = q->l->store, .chain = q->m->chain};
	struct merkle_proof proof;
	enum err e = c ? ERR_OK : ERR_NOT_FOUND;

	if (!e && q->m->to > c->stored.tree.size)
		e = ERR_NOT_FOUND;
	if (!e && !q->m->to)
		e = head_add(q, c);
	else
		q->a->to = q->m->to;
	if (!e)
		e = merkle_consistency(&proof, q->m->from, q->a->to, tree_subtree, &t);
	if (!e)
		proof_add(q, &proof);
	return e;
}

/* ---- records ---- */

struct stream {
	struct asked *q;
	uint64_t skip; /* octets of the first record */
};

static enum err stream_row(
	void *arg, int64_t idx, const char *json, size_t len, const uint8_t leaf[SHA256_SIZE])
{
	struct stream *s = arg;
	struct asked *q = s->q;
	uint64_t line = len + 1, left;
	size_t room = TEXT_MAX - q->text->len, n;

	(void)leaf;
	if (len == 0) { /* archived */
		q->a->next = (uint64_t)idx + 1;
		return ERR_OK;
	}
	if (s->skip > line)
		return ERR_NOT_FOUND;
	left = line - s->skip;
	n = left > room ? room : (size_t)left;
	/* the end of the line is the last octet of it */
	buf_put(q->text, json + s->skip, n == left ? n - 1 : n);
	if (n == left && n > 0)
		buf_u8(q->text, '\n');
	q->a->next = (uint64_t)idx + (n == left);
	q->a->next_offset = n == left ? 0 : s->skip + n;
	s->skip = 0;
	return q->text->len == TEXT_MAX ? ERR_TIMEOUT : q->text->err;
}

static enum err answer_records(struct asked *q)
{
	struct stream s = {.q = q, .skip = q->m->offset};
	const struct chain *c = ledger_find(q->l, q->m->chain);

	q->a->next = q->m->from;
	if (!c || q->m->from > c->stored.tree.size || q->m->offset > RECORD_MAX)
		return ERR_NOT_FOUND;

	enum err e = q->l->store->engine->record_walk(
		q->l->store, q->m->chain, (int64_t)q->m->from, stream_row, &s);

	q->a->text = octets_of(q->text->octets, q->text->len);
	return e == ERR_TIMEOUT ? ERR_OK : e;
}

/* All of it at once: what the answer borrows must not move. */
static enum err room_make(struct buf *text)
{
	static const uint8_t nothing[ANSWER_MAX];

	buf_reset(text);
	text->max = sizeof(nothing);
	buf_put(text, nothing, sizeof(nothing));

	enum err e = text->err;

	buf_reset(text);
	return e;
}

enum err answer_read(struct ledger *l, const struct msg_read *m, int64_t now, int64_t ms,
	struct buf *text, struct msg_read_answer *a)
{
	static enum err (*const kinds[])(struct asked *) = {[READ_LIVE] = answer_live,
		[READ_HEADS] = answer_heads,
		[READ_HOLDS] = answer_holds,
		[READ_CREDENTIALS] = answer_credentials,
		[READ_CREDENTIAL] = answer_credential,
		[READ_CHECKPOINT] = answer_checkpoint,
		[READ_PROOF] = answer_proof,
		[READ_CONSISTENCY] = answer_consistency,
		[READ_RECORDS] = answer_records,
		[READ_NOTE] = answer_note};
	struct asked q = {.l = l, .m = m, .now = now, .ms = ms, .text = text, .a = a};

	enum err e = room_make(text);

	memset(a, 0, sizeof(*a));
	if (!e)
		e = l->lost ? ERR_CLOSED : kinds[m->kind](&q);
	if (text->err == ERR_NO_ROOM) /* of one message, not of the disk */
		e = ERR_LEDGER_UNAVAILABLE;
	if (e == ERR_CLOSED) {
		ledger_lose(l, ms);
		e = ERR_LEDGER_UNAVAILABLE;
	}
	if (e == ERR_NOT_FOUND || e == ERR_LEDGER_UNAVAILABLE) {
		memset(a, 0, sizeof(*a));
		a->err = e;
		e = ERR_OK;
	}
	a->kind = m->kind;
	return e;
}
