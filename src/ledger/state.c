#include "state.h"

#include <string.h>

bool state_text(char *out, size_t size, const struct octets *o)
{
	if (o->len >= size)
		return false;
	if (o->len)
		memcpy(out, o->at, o->len);
	out[o->len] = '\0';
	return true;
}

static bool is_name(const struct octets *o)
{
	char name[NAME_SIZE];

	return o->len == 0 || (state_text(name, sizeof(name), o) && name_valid(name));
}

static bool is_word(const struct octets *o, const char *word)
{
	return o->len == strlen(word) && memcmp(o->at, word, o->len) == 0;
}

static bool is_digest_of(const struct octets *digest, const struct octets *of)
{
	uint8_t want[SHA256_SIZE];

	if (of->len == 0)
		return true;
	sha256(of->at, of->len, want);
	return digest->len == 0 || memcmp(want, digest->at, SHA256_SIZE) == 0;
}

bool state_sound(const struct record *r)
{
	if (r->chain.len || r->idx != RECORD_NONE || r->config.len)
		return false;
	if (!is_name(&r->client) || !is_name(&r->key) || !is_digest_of(&r->dc_sha256, &r->dc) ||
		!is_digest_of(&r->spki_sha256, &r->spki))
		return false;
	if (r->attempt != RECORD_NONE && (r->attempt < 1 || r->attempt > 3))
		return false;
	if (r->type != RECORD_AUTHORISED)
		return true;
	return r->idempotency.len < IDEMPOTENCY_SIZE &&
	       (r->idempotency.len == 0 || r->request_sha256.len == SHA256_SIZE) &&
	       (is_word(&r->possession, "csr") || is_word(&r->possession, "none"));
}

/* The names that a judgement needs, as C strings. state_sound has shown that they fit. */
struct names {
	char id[ID_SIZE], key[NAME_SIZE], client[NAME_SIZE];
};

static void names_of(struct names *n, const struct record *r)
{
	state_text(n->id, sizeof(n->id), &r->id);
	state_text(n->key, sizeof(n->key), &r->key);
	state_text(n->client, sizeof(n->client), &r->client);
}

static enum err judge_hold(
	struct store *s, const struct record *r, const struct names *n, struct verdict *v)
{
	struct buf reason = BUF_INIT(4096);
	enum err e = s->engine->hold_find(s, n->key, n->client, &reason);

	(void)r;
	if (!e)
		refuse(&v->refusal, ERR_HELD, "", "issuance is on hold: %s", buf_cstr(&reason));
	buf_free(&reason);
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

/* The credential that was released under this idempotency key: still alive? */
static enum err judge_replay(struct store *s, const struct record *r, struct verdict *v)
{
	struct store_idempotency *i = &v->idempotency;
	struct buf json = BUF_INIT(RECORD_MAX), text = BUF_INIT(RECORD_MAX);
	uint8_t leaf[SHA256_SIZE];
	struct record winner;
	enum err e = s->engine->record_get(s, i->chain, i->authorised, &json, leaf);

	if (!e)
		e = record_parse(&winner, &text, (const char *)json.octets, json.len);
	if (!e && winner.expiry <= r->now)
		refuse(&v->refusal, ERR_IDEMPOTENCY_EXPIRED, "Idempotency-Key",
			"the credential issued under this key has expired: use a new key");
	else if (!e)
		v->replay = true;
	buf_free(&json);
	buf_free(&text);
	return e == ERR_NOT_FOUND ? ERR_FORMAT : e;
}

static enum err judge_idempotency(
	struct store *s, const struct record *r, const struct names *n, struct verdict *v)
{
	struct store_idempotency *i = &v->idempotency;

	if (r->idempotency.len == 0)
		return ERR_OK;
	strcpy(i->client, n->client);
	strcpy(i->key, n->key);
	state_text(i->idempotency, sizeof(i->idempotency), &r->idempotency);

	enum err e = s->engine->idempotency_get(s, i);

	if (e == ERR_NOT_FOUND || (!e && r->now - i->time >= IDEMPOTENCY_TERM))
		return ERR_OK;
	if (e)
		return e;
	if (memcmp(i->request_sha256, r->request_sha256.at, SHA256_SIZE) != 0) {
		refuse(&v->refusal, ERR_IDEMPOTENCY_MISMATCH, "Idempotency-Key",
			"this key was used for another request within 24 hours: use a new key");
		return ERR_OK;
	}
	if (i->issued != NO_IDX)
		return judge_replay(s, r, v);
	if (strcmp(i->id, n->id) != 0)
		strcpy(v->retry_of, i->id);
	return ERR_OK;
}

static enum err judge_shared(
	struct store *s, const struct record *r, const struct names *n, struct verdict *v)
{
	enum err e = s->engine->live_shared(s, r->spki_sha256.at, n->client, r->now, &v->shared);

	if (!e && v->shared && !is_word(&r->possession, "csr"))
		refuse(&v->refusal, ERR_KEY_SHARED, "public_key",
			"another client holds a live credential for this key: prove possession "
			"with a csr");
	return e;
}

static enum err judge_limit(struct store *s, const char *key, const char *client, int64_t now,
	uint64_t limit, struct verdict *v)
{
	uint64_t live = 0;
	enum err e = limit ? s->engine->live_count(s, key, client, now, &live) : ERR_OK;

	if (!e && limit && live >= limit)
		refuse(&v->refusal, ERR_QUOTA, "",
			"%s has %llu unexpired credentials; its max_live is %llu",
			*key ? "the key" : "the client", (unsigned long long)live,
			(unsigned long long)limit);
	return e;
}

enum err state_authorise(struct store *s, const struct record *r, uint64_t max_live_key,
	uint64_t max_live_client, struct verdict *v)
{
	static enum err (*const rules[])(struct store *, const struct record *,
		const struct names *,
		struct verdict *) = {judge_hold, judge_idempotency, judge_shared};
	struct names n;
	enum err e = ERR_OK;

	memset(v, 0, sizeof(*v));
	names_of(&n, r);
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
		e = rules[i](s, r, &n, v);
		if (e || v->refusal.err || v->replay)
			return e;
	}
	e = judge_limit(s, n.key, "", r->now, max_live_key, v);
	if (!e && !v->refusal.err)
		e = judge_limit(s, "", n.client, r->now, max_live_client, v);
	return e;
}

static void attempt_of(struct store_attempt *a, const struct record *r, const char *chain,
	int64_t idx, const struct names *n)
{
	memset(a, 0, sizeof(*a));
	strcpy(a->id, n->id);
	strcpy(a->key, n->key);
	strcpy(a->client, n->client);
	strcpy(a->chain, chain);
	a->attempt = r->type == RECORD_SELF_TEST ? 0 : r->attempt;
	a->idx = idx;
	a->issued = NO_IDX;
	a->expiry = r->expiry == RECORD_NONE ? 0 : r->expiry;
	state_text(a->idempotency, sizeof(a->idempotency), &r->idempotency);
	if (r->spki_sha256.len)
		memcpy(a->spki_sha256, r->spki_sha256.at, SHA256_SIZE);
}

enum err state_authorised(struct store *s, const struct record *r, const char *chain, int64_t idx)
{
	struct store_idempotency i = {.time = r->now, .authorised = idx, .issued = NO_IDX};
	struct store_attempt a;
	struct names n;

	names_of(&n, r);
	attempt_of(&a, r, chain, idx, &n);

	enum err e = s->engine->attempt_put(s, &a);

	if (e || r->idempotency.len == 0)
		return e;
	strcpy(i.client, n.client);
	strcpy(i.key, n.key);
	strcpy(i.idempotency, a.idempotency);
	strcpy(i.id, n.id);
	strcpy(i.chain, chain);
	memcpy(i.request_sha256, r->request_sha256.at, SHA256_SIZE);
	return s->engine->idempotency_put(s, &i);
}

enum err state_self_test(struct store *s, const struct record *r, const char *chain, int64_t idx)
{
	struct store_attempt a;
	struct names n;

	names_of(&n, r);
	n.client[0] = '\0';
	attempt_of(&a, r, chain, idx, &n);
	return s->engine->attempt_put(s, &a);
}

/* The open attempt that this outcome closes. An UNKNOWN without attempt is a self-test's. */
static enum err attempt_find(
	struct store *s, const struct record *r, const char *chain, struct store_attempt *a)
{
	bool tested = r->type == RECORD_KEY_PROVED || r->type == RECORD_KEY_REFUSED ||
		      r->attempt == RECORD_NONE;
	struct names n;

	names_of(&n, r);

	enum err e = s->engine->attempt_get(s, n.id, tested ? 0 : r->attempt, a);

	if (!e && (a->issued != NO_IDX || strcmp(a->chain, chain) != 0))
		e = ERR_NOT_FOUND;
	return e;
}

/* The idempotency row of an attempt, as long as it is there. */
static enum err idempotency_of(
	struct store *s, const struct store_attempt *a, struct store_idempotency *i)
{
	if (!*a->idempotency)
		return ERR_NOT_FOUND;
	strcpy(i->client, a->client);
	strcpy(i->key, a->key);
	strcpy(i->idempotency, a->idempotency);
	return s->engine->idempotency_get(s, i);
}

enum err state_issue(struct store *s, const struct record *r, const char *chain, struct verdict *v)
{
	struct store_attempt a;

	memset(v, 0, sizeof(*v));

	enum err e = attempt_find(s, r, chain, &a);

	if (e == ERR_NOT_FOUND) {
		refuse(&v->refusal, ERR_OUTCOME_UNKNOWN, "",
			"this attempt has an outcome already; its signature is not released");
		return ERR_OK;
	}
	if (!e)
		e = idempotency_of(s, &a, &v->idempotency);
	if (!e && v->idempotency.issued != NO_IDX) {
		v->replay = true;
		refuse(&v->refusal, ERR_OUTCOME_UNKNOWN, "Idempotency-Key",
			"another attempt under this key was released first");
	}
	return e == ERR_NOT_FOUND ? ERR_OK : e;
}

static enum err credential_put(
	struct store *s, const struct store_attempt *a, int64_t idx, int64_t time)
{
	struct store_credential c = {
		.authorised = a->idx, .issued = idx, .expiry = a->expiry, .time = time};

	strcpy(c.id, a->id);
	strcpy(c.chain, a->chain);
	strcpy(c.key, a->key);
	strcpy(c.client, a->client);
	return s->engine->credential_put(s, &c);
}

enum err state_issued(struct store *s, const struct record *r, int64_t idx)
{
	struct store_idempotency i;
	struct store_attempt a;
	struct names n;

	names_of(&n, r);

	enum err e = s->engine->attempt_get(s, n.id, r->attempt, &a);

	if (!e)
		e = s->engine->attempt_issue(s, n.id, r->attempt, idx);
	if (e)
		return e;
	e = credential_put(s, &a, idx, r->time);
	if (!e)
		e = idempotency_of(s, &a, &i);
	if (e)
		return e == ERR_NOT_FOUND ? ERR_OK : e;
	strcpy(i.id, a.id);
	strcpy(i.chain, a.chain);
	i.authorised = a.idx;
	i.issued = idx;
	return s->engine->idempotency_put(s, &i);
}

enum err state_close(struct store *s, const struct record *r, const char *chain)
{
	struct store_attempt a;
	enum err e = attempt_find(s, r, chain, &a);

	return e ? e : s->engine->attempt_drop(s, &a);
}

enum err state_hold(struct store *s, const struct record *r)
{
	char reason[HOLD_REASON_MAX + 1] = "";
	struct names n;

	names_of(&n, r);
	if (r->type == RECORD_RELEASED)
		return s->engine->hold_drop(s, n.key, n.client);
	if (!state_text(reason, sizeof(reason), &r->reason))
		return ERR_FORMAT;
	return s->engine->hold_put(s, n.key, n.client, reason);
}

enum err state_record(
	struct store *s, const char *chain, int64_t idx, struct buf *out, uint8_t leaf[SHA256_SIZE])
{
	struct buf json = BUF_INIT(RECORD_MAX), text = BUF_INIT(RECORD_MAX);
	struct record r;
	enum err e = s->engine->record_get(s, chain, idx, &json, leaf);
	bool archived = !e && json.len == 0;

	if (!e)
		e = record_parse(&r, &text, (const char *)json.octets, json.len);
	if (!e)
		e = record_encode(out, &r);
	buf_free(&json);
	buf_free(&text);
	return archived ? ERR_NOT_FOUND : e == ERR_NOT_FOUND ? ERR_FORMAT : e;
}

enum err state_replay(struct store *s, const struct store_idempotency *i, struct buf *authorised,
	struct buf *issued, uint8_t leaf[SHA256_SIZE])
{
	enum err e = state_record(s, i->chain, i->authorised, authorised, leaf);

	return e ? e : state_record(s, i->chain, i->issued, issued, leaf);
}
