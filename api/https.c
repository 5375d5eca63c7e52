#include "settings.h"

#include "https.h"

#include <arpa/inet.h>
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "framing.h"
#include "linger.h"
#include "log.h"
#include "metrics.h"
#include "session.h"

#define POOL_MAX 32768 /* octets that libmicrohttpd keeps for a connection */

struct https {
	struct service *service;
	enum https_kind kind;
	size_t listen;
	int fd;
	struct MHD_Daemon *daemon;
};

enum stage { STAGE_HEAD, STAGE_BODY, STAGE_HELD, STAGE_ANSWERED };

struct client_connection {
	struct connection entry;
	struct https *https;
	struct MHD_Connection *mhd;

	struct session session;

	bool busy; /* the exchange below is under way */
	enum stage stage;
	struct exchange x;
};

/* --- connections --- */

static void on_verified(struct session *s)
{
	struct client_connection *c =
		(struct client_connection *)(void *)((char *)s -
						     offsetof(struct client_connection, session));

	connections_deadline(
		c->https->service->connections, &c->entry, monotonic_ms() + HTTPS_IDLE_MS);
}

static bool begin_tls(struct client_connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);

	c->session.on_verified = on_verified;
	return info != NULL && session_begin(&c->session, info->tls_session, c->https->listen);
}

static void set_address(struct client_connection *c, const struct sockaddr *address)
{
	char text[INET6_ADDRSTRLEN] = "?";
	struct peer *peer = &c->session.peer;

	if (address != NULL && address->sa_family == AF_INET) {
		const struct sockaddr_in *a = (const struct sockaddr_in *)(const void *)address;

		inet_ntop(AF_INET, &a->sin_addr, text, sizeof(text));
		snprintf(peer->address, sizeof(peer->address), "%s:%u", text, ntohs(a->sin_port));
	} else if (address != NULL && address->sa_family == AF_INET6) {
		const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)(const void *)address;

		inet_ntop(AF_INET6, &a->sin6_addr, text, sizeof(text));
		snprintf(
			peer->address, sizeof(peer->address), "[%s]:%u", text, ntohs(a->sin6_port));
	} else {
		snprintf(peer->address, sizeof(peer->address), "unix");
	}
}

static bool begin_unix(struct client_connection *c, int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) != 0)
		return false;
	c->session.peer.uid = who.uid;
	return true;
}

static void open_connection(struct https *h, struct MHD_Connection *mhd, void **context)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
	int fd = info != NULL ? info->connect_fd : -1;
	struct client_connection *c = calloc(1, sizeof(*c));
	const struct sockaddr *address;

	*context = c;
	if (c == NULL) {
		(void)shutdown(fd, SHUT_RDWR);
		return;
	}
	c->https = h;
	c->mhd = mhd;
	c->session.plain = h->kind != HTTPS_TLS;
	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	address = info != NULL ? info->client_addr : NULL;
	set_address(c, address);
	connections_open(h->service->connections, &c->entry, fd,
		h->kind == HTTPS_MONITOR ? NULL : address, monotonic_ms() + HTTPS_HANDSHAKE_MS);
	if ((h->kind == HTTPS_TLS && !begin_tls(c)) ||
		(h->kind == HTTPS_UNIX && !begin_unix(c, fd)))
		(void)shutdown(fd, SHUT_RDWR);
}

static void end_exchange(struct client_connection *c)
{
	if (!c->busy)
		return;
	routes_free(&c->x);
	buf_free(&c->x.body);
	snapshot_unref(c->x.snapshot);
	c->busy = false;
	c->https->service->in_progress--;
}

static void close_connection(void **context)
{
	struct client_connection *c = *context;

	*context = NULL;
	if (c == NULL)
		return;
	connections_close(c->https->service->connections, &c->entry);
	if (c->https->kind == HTTPS_TLS && !c->session.verified) {
		session_log_refused(&c->session);
		linger(c->entry.fd, monotonic_ms());
	}
	end_exchange(c);
	session_end(&c->session);
	free(c);
}

static void on_connection(void *cls, struct MHD_Connection *mhd, void **context,
	enum MHD_ConnectionNotificationCode what)
{
	if (what == MHD_CONNECTION_NOTIFY_STARTED)
		open_connection(cls, mhd, context);
	else
		close_connection(context);
}

static enum MHD_Result on_accept(void *cls, const struct sockaddr *address, socklen_t len)
{
	struct https *h = cls;
	struct snapshot *s = snapshot_current();
	unsigned cap = s != NULL ? s->config->limits.connections_per_address : 0;
	bool admitted = h->kind == HTTPS_MONITOR ||
			connections_admit(h->service->connections, len > 0 ? address : NULL, cap);

	snapshot_unref(s);
	return admitted ? MHD_YES : MHD_NO;
}

/* --- exchanges --- */

static struct client_connection *connection_of(struct exchange *x)
{
	return (struct client_connection *)(void *)((char *)x -
						    offsetof(struct client_connection, x));
}

/* The signer ends each call by its deadline; an exchange that is held can't be shut down. */
static void hold(struct exchange *x)
{
	struct client_connection *c = connection_of(x);

	c->stage = STAGE_HELD;
	connections_deadline(c->https->service->connections, &c->entry, INT64_MAX);
	MHD_suspend_connection(c->mhd);
}

static void resume(struct exchange *x)
{
	MHD_resume_connection(connection_of(x)->mhd);
}

static bool new_id(char id[ID_SIZE])
{
	uint8_t octets[(ID_SIZE - 1) / 2];

	if (gnutls_rnd(GNUTLS_RND_NONCE, octets, sizeof(octets)) != 0)
		return false;
	hex_encode(id, octets, sizeof(octets));
	return true;
}

/* The request line is there: from here on the whole request has one deadline. */
static void *on_request_line(void *cls, const char *uri, struct MHD_Connection *mhd)
{
	struct https *h = cls;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct client_connection *c = info != NULL ? info->socket_context : NULL;
	struct exchange *x;

	if (c == NULL)
		return NULL;
	end_exchange(c);
	x = &c->x;
	memset(x, 0, sizeof(*x));
	x->snapshot = snapshot_current();
	if (x->snapshot == NULL || !new_id(x->id)) {
		snapshot_unref(x->snapshot);
		return NULL;
	}
	c->busy = true;
	h->service->in_progress++;
	c->stage = STAGE_HEAD;
	x->service = h->service;
	x->peer = h->kind == HTTPS_MONITOR ? NULL : &c->session.peer;
	x->body = (struct buf)BUF_INIT(BATCH_MAX);
	x->hold = hold;
	x->resume = resume;
	x->started = monotonic_ms();
	x->started_us = monotonic_us();
	x->deadline = x->started + x->snapshot->config->limits.request_deadline_ms;
	reply_init(&x->reply);
	if (strlen(uri) <= TARGET_MAX)
		memcpy(x->target, uri, strlen(uri) + 1);
	connections_deadline(h->service->connections, &c->entry, x->deadline);
	return c;
}

static void on_completed(
	void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode how)
{
	struct client_connection *c = *context;
	struct https *h = cls;

	(void)mhd;
	(void)how;
	if (c == NULL)
		return;
	end_exchange(c);
	connections_deadline(h->service->connections, &c->entry, monotonic_ms() + HTTPS_IDLE_MS);
}

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
	if (value != NULL && value[0] != '\0')
		(void)MHD_add_response_header(response, name, value);
}

static enum MHD_Result send_reply(struct client_connection *c)
{
	struct reply *r = &c->x.reply;
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
	add_header(response, "X-Request-Id", c->x.id);
	add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
		r->etag[0] != '\0' ? "private, no-cache" : "no-store");
	add_header(response, MHD_HTTP_HEADER_ETAG, r->etag);
	add_header(response, MHD_HTTP_HEADER_ALLOW, r->allow);
	add_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
	add_header(response, "Idempotency-Replayed", r->replayed ? "true" : NULL);
	add_header(response, MHD_HTTP_HEADER_CONNECTION, r->close ? "close" : NULL);
	c->stage = STAGE_ANSWERED;
	connections_deadline(
		c->https->service->connections, &c->entry, monotonic_ms() + HTTPS_ANSWER_MS);
	result = MHD_queue_response(c->mhd, r->status, response);
	MHD_destroy_response(response);
	routes_done(&c->x);
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
	struct exchange *x = &c->x;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	struct framing framing;
	struct refusal why = {.err = ERR_OK};

	x->method = method;
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
	buf_put(&c->x.body, octets, *len);
	*len = 0;
	return c->x.body.err == ERR_OK ? MHD_YES : MHD_NO;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *mhd, const char *url,
	const char *method, const char *version, const char *upload, size_t *upload_len,
	void **context)
{
	struct client_connection *c = *context;

	(void)cls;
	(void)mhd;
	(void)url;
	if (c == NULL || !c->busy)
		return MHD_NO;
	switch (c->stage) {
	case STAGE_HEAD:
		return take_head(c, method, version);
	case STAGE_BODY:
		if (*upload_len > 0)
			return take_body(c, upload, upload_len);
		return routes_run(&c->x) ? send_reply(c) : MHD_YES;
	case STAGE_HELD:
		return send_reply(c);
	case STAGE_ANSWERED:
		*upload_len = 0;
		return MHD_YES;
	}
	return MHD_NO;
}

/* --- start and stop --- */

static void on_log(void *cls, const char *format, va_list ap) __attribute__((format(printf, 2, 0)));
static void on_log(void *cls, const char *format, va_list ap)
{
	static struct log_gate gate = {.per_second = 1};
	char octets[256];
	const char *text = octets;
	uint64_t left_out;

	(void)cls;
	if (!log_gate_open(&gate, monotonic_ms(), &left_out))
		return;
	vsnprintf(octets, sizeof(octets), format, ap);
	octets[strcspn(octets, "\n")] = '\0';
	LOG(LOG_LEVEL_DEBUG, "http", LS("text", text), LN("left_out", left_out));
}

static struct MHD_Daemon *start_daemon(struct https *h, const struct https_options *options)
{
	unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME |
			 MHD_USE_ERROR_LOG;
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)session_no_certificate},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
		{MHD_OPTION_END, 0, NULL}};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

	if (h->kind == HTTPS_TLS)
		flags |= MHD_USE_TLS;
	return MHD_start_daemon(flags, 0, on_accept, h, on_request, h, MHD_OPTION_EXTERNAL_LOGGER,
		on_log, NULL, MHD_OPTION_LISTEN_SOCKET, options->fd, MHD_OPTION_CONNECTION_LIMIT,
		options->connections, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)(HTTPS_IDLE_MS / 1000), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)POOL_MAX, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_NOTIFY_COMPLETED, on_completed, h, MHD_OPTION_URI_LOG_CALLBACK,
		on_request_line, h, MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_ARRAY,
		h->kind == HTTPS_TLS ? tls : none, MHD_OPTION_END);
}

enum err https_start(struct https **out, const struct https_options *options)
{
	struct https *h = calloc(1, sizeof(*h));

	*out = NULL;
	if (h == NULL)
		return ERR_NOMEM;
	h->service = options->service;
	h->kind = options->kind;
	h->listen = options->listen;
	h->fd = options->fd;
	h->daemon = start_daemon(h, options);
	if (h->daemon == NULL) {
		free(h);
		return ERR_SYSTEM;
	}
	*out = h;
	return ERR_OK;
}

void https_quiesce(struct https *h)
{
	(void)MHD_quiesce_daemon(h->daemon);
}

void https_stop(struct https *h)
{
	if (h == NULL)
		return;
	MHD_stop_daemon(h->daemon);
	free(h);
}
