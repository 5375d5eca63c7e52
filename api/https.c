#include "settings.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "https_private.h"
#include "intake.h"
#include "linger.h"
#include "log.h"

#define POOL_MAX 24576 /* octets that libmicrohttpd keeps for a connection */

/* --- connections --- */

static struct client_connection *connection_of(struct session *s)
{
	return (struct client_connection *)(void *)((char *)s -
						    offsetof(struct client_connection, session));
}

static void on_octets(struct session *s)
{
	struct client_connection *c = connection_of(s);

	if (c->x == NULL && c->head_began == 0 && sieve_begun(&s->sieve))
		https_head_began(c);
}

static void on_verified(struct session *s)
{
	struct client_connection *c = connection_of(s);

	connections_deadline(
		c->https->service->connections, &c->entry, monotonic_ms() + HTTPS_IDLE_MS);
}

static bool begin_tls(struct client_connection *c)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(c->mhd, MHD_CONNECTION_INFO_GNUTLS_SESSION);

	c->session.on_verified = on_verified;
	if (info == NULL || !session_begin(&c->session, info->tls_session, c->https->listen))
		return false;
	intake_handshake(&c->session, c->mhd);
	return true;
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

static bool begin_plain(struct client_connection *c, int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (!intake_plain(fd, &c->session))
		return false;
	if (c->https->kind == HTTPS_MONITOR)
		return true;
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
	c->session.on_octets = on_octets;
	info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
	address = info != NULL ? info->client_addr : NULL;
	set_address(c, address);
	connections_open(h->service->connections, &c->entry, fd,
		h->kind == HTTPS_MONITOR ? NULL : address, monotonic_ms() + HTTPS_HANDSHAKE_MS);
	if (!(c->session.plain ? begin_plain(c, fd) : begin_tls(c)))
		(void)shutdown(fd, SHUT_RDWR);
}

static void close_connection(void **context)
{
	struct client_connection *c = *context;

	*context = NULL;
	if (c == NULL)
		return;
	if (c->session.plain)
		intake_forget(c->entry.fd);
	intake_handshake_done(&c->session);
	connections_close(c->https->service->connections, &c->entry);
	if (c->https->kind == HTTPS_TLS && !c->session.verified) {
		session_log_refused(&c->session);
		c->turned_away = true;
	}
	if (c->turned_away)
		linger(c->entry.fd, monotonic_ms());
	https_end_exchange(c);
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
	struct connections *open = h->service->connections;
	unsigned cap = s != NULL ? s->config->limits.connections_per_address : 0;
	bool admitted = h->kind == HTTPS_MONITOR ||
			(connections_count(open) < h->connections + HTTPS_MONITOR_CONNECTIONS &&
				connections_admit(open, len > 0 ? address : NULL, cap));

	snapshot_unref(s);
	return admitted ? MHD_YES : MHD_NO;
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
	unsigned flags = MHD_USE_ITC | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG;
	struct MHD_OptionItem tls[] = {
		{MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)session_no_certificate},
		{MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)(uintptr_t)TLS_PRIORITIES},
		{MHD_OPTION_END, 0, NULL}};
	struct MHD_OptionItem none[] = {{MHD_OPTION_END, 0, NULL}};

	flags |= h->kind == HTTPS_TLS ? MHD_USE_TLS | MHD_USE_EPOLL_INTERNAL_THREAD
				      : MHD_USE_POLL_INTERNAL_THREAD;
	return MHD_start_daemon(flags, 0, on_accept, h, https_request, h,
		MHD_OPTION_EXTERNAL_LOGGER, on_log, NULL, MHD_OPTION_LISTEN_SOCKET, options->fd,
		MHD_OPTION_CONNECTION_LIMIT, options->connections, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned)(HTTPS_IDLE_MS / 1000), MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)POOL_MAX, MHD_OPTION_NOTIFY_CONNECTION, on_connection, h,
		MHD_OPTION_NOTIFY_COMPLETED, https_completed, h, MHD_OPTION_URI_LOG_CALLBACK,
		https_request_line, h, MHD_OPTION_STRICT_FOR_CLIENT, 0, MHD_OPTION_ARRAY,
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
	h->connections = options->connections;
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
	int fd;

	if (h->kind == HTTPS_MONITOR)
		return;
	fd = (int)MHD_quiesce_daemon(h->daemon);
	/* What waits in the queue is refused now, not when this process ends. The number stays
	 * taken until the thread that may still look at it has gone. */
	if (fd >= 0)
		(void)dup2(STDERR_FILENO, fd);
}

void https_stop(struct https *h)
{
	if (h == NULL)
		return;
	MHD_stop_daemon(h->daemon);
	free(h);
}
