#include "settings.h"

#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "framing.h"
#include "https_private.h"
#include "intake.h"
#include "log.h"

#define ONE_RECORD 12288 /* octets of a body that fits into one TLS record with its head */

/* An idle connection has none. x is the first member. */
struct exchange_of_connection {
	struct exchange x;
	struct client_connection *connection;
};

static struct exchange_of_connection *of(struct exchange *x)
{
	return (struct exchange_of_connection *)(void *)x;
}

void https_end_exchange(struct client_connection *c)
{
	if (c->x == NULL)
		return;
	routes_free(c->x);
	buf_free(&c->x->body);
	snapshot_unref(c->x->snapshot);
	free(of(c->x));
	c->x = NULL;
	c->https->service->in_progress--;
}

/* The signer ends each call by its deadline; an exchange that is held can't be shut down. */
static void hold(struct exchange *x)
{
	struct client_connection *c = of(x)->connection;

	c->stage = STAGE_HELD;
	connections_deadline(c->https->service->connections, &c->entry, INT64_MAX);
	MHD_suspend_connection(c->mhd);
}

static void resume(struct exchange *x)
{
	MHD_resume_connection(of(x)->connection->mhd);
}

static void end_pause(struct connection *entry)
{
	struct client_connection *c = (struct client_connection *)(void *)entry;

	MHD_resume_connection(c->mhd);
}

/* Did this connection hear just now that it should come later? Then its request waits. */
static bool pauses(struct client_connection *c)
{
	int64_t half = c->x->started + (c->x->deadline - c->x->started) / 2;
	int64_t until = c->pause < half ? c->pause : half;

	if (until <= monotonic_ms())
		return false;
	c->pause = 0;
	MHD_suspend_connection(c->mhd);
	connections_pause(c->https->service->connections, &c->entry, until, end_pause);
	return true;
}

static bool new_id(char id[ID_SIZE])
{
	uint8_t octets[(ID_SIZE - 1) / 2];

	if (gnutls_rnd(GNUTLS_RND_NONCE, octets, sizeof(octets)) != 0)
		return false;
	hex_encode(id, octets, sizeof(octets));
	return true;
}

void https_head_began(struct client_connection *c)
{
	struct snapshot *s = snapshot_current();

	c->head_began = monotonic_ms();
	if (s != NULL)
		connections_deadline(c->https->service->connections, &c->entry,
			c->head_began + s->config->limits.request_deadline_ms);
	snapshot_unref(s);
}

/* Has the sieve let this head pass, or put its own in its place? */
static bool passed_sieve(const struct client_connection *c)
{
	if (c->heads <= c->session.sieve.heads)
		return true;
	LOG(LOG_LEVEL_ERROR, "libmicrohttpd reads past the sieve: nothing is answered");
	return false;
}

static bool refused_by_sieve(const struct client_connection *c)
{
	return c->session.sieve.refusal.err != ERR_OK && c->heads == c->session.sieve.heads;
}

static void refuse_form(struct client_connection *c)
{
	static struct log_gate gate = {.per_second = 1};
	const struct refusal *why = &c->session.sieve.refusal;
	uint64_t left_out;

	c->x->target[0] = '\0';
	if (log_gate_open(&gate, monotonic_ms(), &left_out))
		LOG(LOG_LEVEL_WARNING, "no HTTP request", LS("request", c->x->id),
			LS("peer", c->session.peer.address), LS("reason", why->detail),
			LN("left_out", left_out));
	routes_refuse(c->x, why->err, why->field, why->detail);
}

static struct exchange *exchange_new(struct client_connection *c)
{
	struct exchange_of_connection *e = calloc(1, sizeof(*e));

	if (e == NULL)
		return NULL;
	e->connection = c;
	e->x.snapshot = snapshot_current();
	if (e->x.snapshot == NULL || !new_id(e->x.id)) {
		snapshot_unref(e->x.snapshot);
		free(e);
		return NULL;
	}
	c->x = &e->x;
	return c->x;
}

/* The request line is there, and its time began at the latest now. */
void *https_request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	struct https *h = cls;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct client_connection *c = info != NULL ? info->socket_context : NULL;
	struct exchange *x;

	if (c == NULL)
		return NULL;
	c->heads++;
	if (!passed_sieve(c))
		return NULL;
	https_end_exchange(c);
	x = exchange_new(c);
	if (x == NULL)
		return NULL;
	h->service->in_progress++;
	c->stage = STAGE_HEAD;
	x->service = h->service;
	x->peer = h->kind == HTTPS_MONITOR ? NULL : &c->session.peer;
	x->body = (struct buf)BUF_INIT(BATCH_MAX);
	x->hold = hold;
	x->resume = resume;
	x->started = c->head_began != 0 ? c->head_began : monotonic_ms();
	c->head_began = 0;
	x->started_us = monotonic_us();
	x->deadline = x->started + x->snapshot->config->limits.request_deadline_ms;
	reply_init(&x->reply);
	if (strlen(uri) <= TARGET_MAX)
		memcpy(x->target, uri, strlen(uri) + 1);
	connections_deadline(h->service->connections, &c->entry, x->deadline);
	return c;
}

void https_completed(
	void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode how)
{
	struct client_connection *c = *context;
	struct https *h = cls;

	(void)mhd;
	(void)how;
	if (c == NULL)
		return;
	https_end_exchange(c);
	if (sieve_begun(&c->session.sieve))
		https_head_began(c);
	else
		connections_deadline(
			h->service->connections, &c->entry, monotonic_ms() + HTTPS_IDLE_MS);
}

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
	if (value != NULL && value[0] != '\0')
		(void)MHD_add_response_header(response, name, value);
}

static enum MHD_Result send_reply(struct client_connection *c)
{
	struct reply *r = &c->x->reply;
	char seconds[16] = "";
	enum MHD_Result result;
	struct MHD_Response *response =
		MHD_create_response_from_buffer(r->body.len, r->body.octets, MHD_RESPMEM_MUST_COPY);

	if (response == NULL)
		return MHD_NO;
	if (r->retry_after != 0)
		snprintf(seconds, sizeof(seconds), "%" PRIu32, r->retry_after);
	if (r->status != 304)
		add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, r->content_type);
	add_header(response, "X-Request-Id", c->x->id);
	add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
		r->etag[0] != '\0' ? "private, no-cache" : "no-store");
	add_header(response, MHD_HTTP_HEADER_ETAG, r->etag);
	add_header(response, MHD_HTTP_HEADER_ALLOW, r->allow);
	add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	add_header(response, "Idempotency-Replayed", r->replayed ? "true" : NULL);
	add_header(response, MHD_HTTP_HEADER_CONNECTION, r->close ? "close" : NULL);
	c->turned_away = r->close || (c->stage == STAGE_HEAD && c->x->length > 0);
	c->stage = STAGE_ANSWERED;
	c->pause = r->err == ERR_OVERLOADED ? monotonic_ms() + HTTPS_PAUSE_MS : 0;
	connections_deadline(
		c->https->service->connections, &c->entry, monotonic_ms() + HTTPS_ANSWER_MS);
	if (c->https->kind == HTTPS_TLS && r->body.len > 0 && r->body.len <= ONE_RECORD &&
		strcmp(c->x->method, MHD_HTTP_METHOD_HEAD) != 0)
		intake_send_both(&c->session);
	result = MHD_queue_response(c->mhd, r->status, response);
	MHD_destroy_response(response);
	routes_done(c->x);
	return result;
}

static enum MHD_Result on_field(void *cls, enum MHD_ValueKind kind, const char *name,
	size_t name_len, const char *value, size_t value_len)
{
	(void)kind;
	framing_field(cls, name, name_len, value, value_len);
	return MHD_YES;
}

static enum MHD_Result take_head(
	struct client_connection *c, const char *method, const char *version)
{
	struct exchange *x = c->x;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	struct framing framing;
	struct refusal why = {.err = ERR_OK};

	x->method = method;
	if (refused_by_sieve(c)) {
		refuse_form(c);
		return send_reply(c);
	}
	framing_init(&framing, &x->header);
	(void)MHD_get_connection_values_n(c->mhd, MHD_HEADER_KIND, on_field, &framing);
	x->length = framing.length;
	if (info == NULL || info->header_size > FRAMING_HEADER_MAX)
		routes_refuse(x, ERR_HEADERS, "", "at most 16384 octets of header are taken");
	else if (framing_end(&framing, method, version) != ERR_OK)
		routes_refuse(
			x, framing.refusal.err, framing.refusal.field, framing.refusal.detail);
	else if (!session_accepted(&c->session, x->snapshot, &why))
		routes_refuse(x, why.err, "", why.detail);
	else if (routes_head(x)) {
		c->stage = STAGE_BODY;
		return MHD_YES;
	}
	return send_reply(c);
}

/* More than Content-Length said, which was checked, can't come; if it does, the connection ends. */
static enum MHD_Result take_body(struct client_connection *c, const char *octets, size_t *len)
{
	buf_put(&c->x->body, octets, *len);
	*len = 0;
	return c->x->body.err == ERR_OK ? MHD_YES : MHD_NO;
}

enum MHD_Result https_request(void *cls, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_len,
	void **context)
{
	struct client_connection *c = *context;

	(void)cls;
	(void)mhd;
	(void)url;
	if (c == NULL || c->x == NULL)
		return MHD_NO;
	switch (c->stage) {
	case STAGE_HEAD:
		return take_head(c, method, version);
	case STAGE_BODY:
		if (*upload_len > 0)
			return take_body(c, upload, upload_len);
		if (pauses(c))
			return MHD_YES;
		return routes_run(c->x) ? send_reply(c) : MHD_YES;
	case STAGE_HELD:
		return send_reply(c);
	case STAGE_ANSWERED:
		*upload_len = 0;
		return MHD_YES;
	}
	return MHD_NO;
}
