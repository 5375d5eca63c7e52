#include "failing_store.h"

static const struct store_engine *real;
static struct store_engine failing;
static unsigned left;
static bool failed, for_good;
static enum err error, rollback_error, tell_error;
static const char *news;
static unsigned told;

void failing_store_at(unsigned n, enum err e)
{
	left = n;
	error = e;
	failed = for_good = false;
}

void failing_store_from(unsigned n, enum err e)
{
	failing_store_at(n, e);
	for_good = true;
}

void failing_store_rollback(enum err e)
{
	rollback_error = e;
}

static enum err rollback(struct store *s)
{
	enum err e = real->rollback(s);

	return rollback_error ? rollback_error : e;
}

static enum err hold_tell(struct store *s, const void *json, size_t len)
{
	(void)s;
	(void)json;
	(void)len;
	told++;
	return tell_error;
}

static enum err hold_news(struct store *s, struct buf *json)
{
	(void)s;
	if (!news)
		return ERR_NOT_FOUND;
	buf_text(json, news);
	news = NULL;
	return json->err;
}

void failing_store_shared(const char *text, enum err e)
{
	news = text;
	tell_error = e;
	failing.hold_tell = hold_tell;
	failing.hold_news = hold_news;
}

unsigned failing_store_told(void)
{
	return told;
}

bool failing_store_failed(void)
{
	return failed;
}

static bool fails(void)
{
	if (left == 0 || --left > 0)
		return false;
	failed = true;
	left = for_good ? 1 : 0;
	return true;
}

/* A member of the table that asks first whether it fails. */
#define FAILING(name, parameters, ...)                                                             \
	static enum err name parameters                                                            \
	{                                                                                          \
		return fails() ? error : real->name(__VA_ARGS__);                                  \
	}

FAILING(begin, (struct store * s), s)
FAILING(commit, (struct store * s), s)
FAILING(chain_get, (struct store * s, const char *chain, struct store_chain *out), s, chain, out)
FAILING(chain_put, (struct store * s, const struct store_chain *c), s, c)
FAILING(record_put,
	(struct store * s, const char *chain, int64_t idx, const void *json, size_t len,
		const uint8_t leaf[SHA256_SIZE]),
	s, chain, idx, json, len, leaf)
FAILING(record_get,
	(struct store * s, const char *chain, int64_t idx, struct buf *json,
		uint8_t leaf[SHA256_SIZE]),
	s, chain, idx, json, leaf)
FAILING(attempt_put, (struct store * s, const struct store_attempt *a), s, a)
FAILING(attempt_get, (struct store * s, const char *id, int64_t attempt, struct store_attempt *out),
	s, id, attempt, out)
FAILING(attempt_issue, (struct store * s, const char *id, int64_t attempt, int64_t issued), s, id,
	attempt, issued)
FAILING(attempt_drop, (struct store * s, const struct store_attempt *a), s, a)
FAILING(live_count,
	(struct store * s, const char *key, const char *client, int64_t now, uint64_t *count), s,
	key, client, now, count)
FAILING(live_shared,
	(struct store * s, const uint8_t spki[SHA256_SIZE], const char *client, int64_t now,
		bool *shared),
	s, spki, client, now, shared)
FAILING(purge, (struct store * s, int64_t expired, int64_t forgotten), s, expired, forgotten)
FAILING(idempotency_get, (struct store * s, struct store_idempotency *out), s, out)
FAILING(idempotency_put, (struct store * s, const struct store_idempotency *i), s, i)
FAILING(hold_put, (struct store * s, const char *key, const char *client, const char *reason), s,
	key, client, reason)
FAILING(hold_drop, (struct store * s, const char *key, const char *client), s, key, client)
FAILING(hold_find, (struct store * s, const char *key, const char *client, struct buf *reason), s,
	key, client, reason)
FAILING(node_put,
	(struct store * s, const char *chain, unsigned level, uint64_t index,
		const uint8_t hash[SHA256_SIZE]),
	s, chain, level, index, hash)
FAILING(checkpoint_put, (struct store * s, const char *chain, const void *note, size_t len), s,
	chain, note, len)
FAILING(credential_put, (struct store * s, const struct store_credential *c), s, c)

void failing_store(struct store *s)
{
	real = s->engine;
	failing = *real;
	failing.begin = begin;
	failing.commit = commit;
	failing.rollback = rollback;
	failing.chain_get = chain_get;
	failing.chain_put = chain_put;
	failing.record_put = record_put;
	failing.record_get = record_get;
	failing.attempt_put = attempt_put;
	failing.attempt_get = attempt_get;
	failing.attempt_issue = attempt_issue;
	failing.attempt_drop = attempt_drop;
	failing.live_count = live_count;
	failing.live_shared = live_shared;
	failing.purge = purge;
	failing.idempotency_get = idempotency_get;
	failing.idempotency_put = idempotency_put;
	failing.hold_put = hold_put;
	failing.hold_drop = hold_drop;
	failing.hold_find = hold_find;
	failing.node_put = node_put;
	failing.checkpoint_put = checkpoint_put;
	failing.credential_put = credential_put;
	s->engine = &failing;
	told = 0;
	news = NULL;
	rollback_error = tell_error = ERR_OK;
	failing_store_at(0, ERR_OK);
}
