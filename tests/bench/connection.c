#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void broken(struct connection *c)
{
	c->load->broken++;
	c->state = BROKEN;
}

void connection_open(struct connection *c)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
	char host[] = "localhost"; /* libssl's macro casts const away */
	int one = 1;

	c->opened_ns = clock_ns();
	c->ssl = NULL;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->fd < 0) {
		broken(c);
		return;
	}
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->ssl = SSL_new(c->load->tls);
	if (!c->ssl || SSL_set_fd(c->ssl, c->fd) != 1 ||
		SSL_set_tlsext_host_name(c->ssl, host) != 1 ||
		SSL_set1_host(c->ssl, "localhost") != 1 ||
		(connect(c->fd, (const struct sockaddr *)&c->load->to, sizeof(c->load->to)) != 0 &&
			errno != EINPROGRESS) ||
		epoll_ctl(c->load->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0) {
		broken(c);
		return;
	}
	c->state = OPENING;
}

void connection_close(struct connection *c)
{
	if (c->ssl && c->state == FREE)
		SSL_shutdown(c->ssl);
	SSL_free(c->ssl);
	if (c->fd >= 0)
		close(c->fd);
	c->ssl = NULL;
	c->fd = -1;
}

/* Whether a call must be made again later; else the connection has broken. */
static bool later(struct connection *c, int result)
{
	int e = SSL_get_error(c->ssl, result);

	if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
		return true;
	ERR_clear_error();
	broken(c);
	return false;
}

static void go_open(struct connection *c)
{
	int error = 0;
	socklen_t len = sizeof(error);
	struct sockaddr_in peer;
	socklen_t peer_len = sizeof(peer);

	if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0 || error != 0) {
		broken(c);
		return;
	}
	if (getpeername(c->fd, (struct sockaddr *)&peer, &peer_len) == 0)
		c->state = SHAKING;
}

static void go_shake(struct connection *c)
{
	int result = SSL_connect(c->ssl);

	if (result != 1) {
		later(c, result);
		return;
	}
	latency_add(&c->load->handshake, clock_ns() - c->opened_ns);
	c->state = FREE;
}

static void go_write(struct connection *c)
{
	const struct load *l = c->load;

	while (c->written < l->request_len[c->request]) {
		int n = SSL_write(c->ssl, l->request[c->request] + c->written,
			(int)(l->request_len[c->request] - c->written));

		if (n <= 0) {
			later(c, n);
			return;
		}
		c->written += (size_t)n;
	}
	c->got = 0;
	c->state = READING;
}

void connection_ask(struct connection *c, uint64_t asked_ns)
{
	c->asked_ns = asked_ns;
	c->request = c->load->turn++ % c->load->requests;
	c->written = 0;
	c->state = WRITING;
	go_write(c);
}

/* The length of the whole answer; 0: not known yet. */
static size_t answer_len(const struct connection *c)
{
	const char *end = strstr(c->answer, "\r\n\r\n");
	const char *at = c->answer;

	if (!end)
		return 0;
	for (; at && at < end; at = strstr(at + 1, "\r\n")) {
		if (strncasecmp(at, "\r\ncontent-length:", 17) == 0)
			return (size_t)(end + 4 - c->answer) + strtoul(at + 17, NULL, 10);
	}
	return (size_t)(end + 4 - c->answer);
}

static void answered(struct connection *c)
{
	struct load *l = c->load;
	unsigned long status = strlen(c->answer) > 12 ? strtoul(c->answer + 9, NULL, 10) : 0;

	latency_add(&l->latency, clock_ns() - c->asked_ns);
	l->status[status < LOAD_STATUSES ? status : 0]++;
	for (const char *at = c->answer; l->count && (at = strstr(at, l->count)) != NULL; at++)
		l->counted++;
	c->state = FREE;
	if (l->fresh) {
		connection_close(c);
		connection_open(c);
	}
}

static void go_read(struct connection *c)
{
	while (c->state == READING) {
		int n = SSL_read(c->ssl, c->answer + c->got, (int)(ANSWER_MAX - c->got));

		if (n <= 0) {
			later(c, n);
			return;
		}
		c->got += (size_t)n;
		c->answer[c->got] = '\0';

		size_t len = answer_len(c);

		if (len != 0 && c->got >= len) {
			answered(c);
			return;
		}
		if (c->got == ANSWER_MAX)
			broken(c);
	}
}

void connection_go(struct connection *c)
{
	enum connection_state before;

	do {
		before = c->state;
		if (c->state == OPENING)
			go_open(c);
		else if (c->state == SHAKING)
			go_shake(c);
		else if (c->state == WRITING)
			go_write(c);
		else if (c->state == READING)
			go_read(c);
	} while (c->state != before && c->state != FREE && c->state != BROKEN);
}
