#include "sqlite-pending.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 512
#define LOG_MAX	   (64u << 20) /* octets; more than the records of many groups leave */
#define FNV_START  0x811c9dc5

/* ---- arrays and hash tables ---- */

/* The array with room for one more; NULL: no memory. */
static void *grown(void *array, size_t count, size_t *room, size_t size)
{
	size_t next = *room ? 2 * *room : ROOM_FIRST;
	void *more;

	if (count < *room)
		return array;
	more = reallocarray(array, next, size);
	if (more)
		*room = next;
	return more;
}

static uint32_t fnv(uint32_t h, const void *octets, size_t len)
{
	for (const uint8_t *at = octets; len-- > 0; at++)
		h = (h ^ *at) * 0x01000193;
	return h;
}

static uint32_t id_bucket(const char *id)
{
	return fnv(FNV_START, id, strlen(id)) % PENDING_BUCKETS;
}

static uint32_t spki_bucket(const uint8_t spki_sha256[SHA256_SIZE])
{
	return fnv(FNV_START, spki_sha256, SHA256_SIZE) % PENDING_BUCKETS;
}

static uint32_t name_bucket(const struct store_idempotency *i)
{
	uint32_t h = fnv(FNV_START, i->client, strlen(i->client));

	h = fnv(h, i->key, strlen(i->key));
	return fnv(h, i->idempotency, strlen(i->idempotency)) % PENDING_BUCKETS;
}

/* ---- what is kept, without the log ---- */

static enum err attempt_keep(struct pending *p, const struct store_attempt *a)
{
	struct pending_attempt *all =
		grown(p->attempt, p->attempts, &p->attempt_room, sizeof(*p->attempt));
	uint32_t *id = &p->by_id[id_bucket(a->id)],
		 *spki = &p->by_spki[spki_bucket(a->spki_sha256)];

	if (!all)
		return ERR_NOMEM;
	p->attempt = all;
	all[p->attempts] = (struct pending_attempt){.a = *a, .next_id = *id, .next_spki = *spki};
	p->attempts++;
	*id = *spki = (uint32_t)p->attempts;
	if (a->expiry < p->least_expiry)
		p->least_expiry = a->expiry;
	return ERR_OK;
}

static enum err idempotency_keep(struct pending *p, const struct store_idempotency *i)
{
	uint32_t *name = &p->by_name[name_bucket(i)];
	struct store_idempotency *old = pending_idempotency_find(p, i);
	struct pending_idempotency *all;

	if (old) {
		*old = *i;
		return ERR_OK;
	}
	all = grown(
		p->idempotency, p->idempotencies, &p->idempotency_room, sizeof(*p->idempotency));
	if (!all)
		return ERR_NOMEM;
	p->idempotency = all;
	all[p->idempotencies] = (struct pending_idempotency){.i = *i, .next = *name};
	*name = (uint32_t)++p->idempotencies;
	return ERR_OK;
}

static enum err credential_keep(struct pending *p, const struct store_credential *c)
{
	struct store_credential *all =
		grown(p->credential, p->credentials, &p->credential_room, sizeof(*p->credential));

	if (!all)
		return ERR_NOMEM;
	p->credential = all;
	all[p->credentials++] = *c;
	return ERR_OK;
}

static enum err node_keep(struct pending *p, const struct pending_node *n)
{
	struct pending_node *all = grown(p->node, p->nodes, &p->node_room, sizeof(*p->node));

	if (!all)
		return ERR_NOMEM;
	p->node = all;
	all[p->nodes++] = *n;
	return ERR_OK;
}

/* ---- questions ---- */

struct pending_attempt *pending_attempt_find(
	const struct pending *p, const char *id, int64_t attempt)
{
	for (uint32_t n = p->by_id[id_bucket(id)]; n; n = p->attempt[n - 1].next_id) {
		struct pending_attempt *at = &p->attempt[n - 1];

		if (!at->dropped && at->a.attempt == attempt && strcmp(at->a.id, id) == 0)
			return at;
	}
	return NULL;
}

bool pending_shared(const struct pending *p, const uint8_t spki_sha256[SHA256_SIZE],
	const char *client, int64_t now)
{
	for (uint32_t n = p->by_spki[spki_bucket(spki_sha256)]; n;
		n = p->attempt[n - 1].next_spki) {
		const struct pending_attempt *at = &p->attempt[n - 1];

		if (!at->dropped && *at->a.client && at->a.expiry > now &&
			strcmp(at->a.client, client) != 0 &&
			memcmp(at->a.spki_sha256, spki_sha256, SHA256_SIZE) == 0)
			return true;
	}
	return false;
}

struct store_idempotency *pending_idempotency_find(
	const struct pending *p, const struct store_idempotency *i)
{
	for (uint32_t n = p->by_name[name_bucket(i)]; n; n = p->idempotency[n - 1].next) {
		struct store_idempotency *at = &p->idempotency[n - 1].i;

		if (strcmp(at->client, i->client) == 0 && strcmp(at->key, i->key) == 0 &&
			strcmp(at->idempotency, i->idempotency) == 0)
			return at;
	}
	return NULL;
}

/* ---- changes ---- */

static void forget(struct pending *p)
{
	p->least_expiry = INT64_MAX;
	p->attempts = p->idempotencies = p->credentials = p->nodes = 0;
	memset(p->by_id, 0, sizeof(p->by_id));
	memset(p->by_spki, 0, sizeof(p->by_spki));
	memset(p->by_name, 0, sizeof(p->by_name));
}

void pending_init(struct pending *p)
{
	memset(p, 0, sizeof(*p));
	p->log.max = LOG_MAX;
	forget(p);
}

static enum err keep(struct pending *p, const struct pending_done *d)
{
	struct pending_attempt *at;

	switch (d->what) {
	case PENDING_ATTEMPT:
		return attempt_keep(p, &d->attempt);
	case PENDING_IDEMPOTENCY:
		return idempotency_keep(p, &d->idempotency);
	case PENDING_CREDENTIAL:
		return credential_keep(p, &d->credential);
	case PENDING_NODE:
		return node_keep(p, &d->node);
	default:
		at = pending_attempt_find(p, d->attempt.id, d->attempt.attempt);
		if (!at)
			return ERR_FORMAT;
		if (d->what == PENDING_ISSUE)
			at->a.issued = d->attempt.issued;
		else
			at->dropped = true;
		return ERR_OK;
	}
}

enum err pending_do(struct pending *p, const struct pending_done *d)
{
	enum err e = keep(p, d);

	return e ? e : pending_log_write(&p->log, d);
}

static enum err replay(struct pending *p, size_t from)
{
	struct pending_done d;
	struct reader in;
	enum err e = ERR_OK;

	if (p->log.len == from)
		return ERR_OK;
	reader_init(&in, p->log.octets + from, p->log.len - from);
	while (!e && in.left > 0) {
		e = pending_log_read(&in, &d);
		if (!e)
			e = keep(p, &d);
	}
	return e;
}

enum err pending_read(struct pending *p, const void *log, size_t len)
{
	size_t from = p->log.len;

	buf_put(&p->log, log, len);
	p->durable = p->log.len;
	return p->log.err ? p->log.err : replay(p, from);
}

enum err pending_undo(struct pending *p)
{
	if (p->log.len == p->durable && !p->log.err)
		return ERR_OK;
	p->log.len = p->durable;
	p->log.err = ERR_OK;
	forget(p);
	return replay(p, 0);
}

void pending_clear(struct pending *p)
{
	buf_reset(&p->log);
	p->durable = 0;
	forget(p);
}

void pending_free(struct pending *p)
{
	buf_free(&p->log);
	free(p->attempt);
	free(p->idempotency);
	free(p->credential);
	free(p->node);
	memset(p, 0, sizeof(*p));
}
