#undef _FORTIFY_SOURCE /* its poll and recv are inline functions: here they are defined */
#include "settings.h"

#include "intake.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "limits.h"
#include "log.h"

#define PIECE	16384	  /* octets that are read at once where there is no TLS */
#define SHAKING 1024	  /* lists of connections in their handshake */
#define REST_NS 20000000L /* of a thread that can't even close what waits */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int reserve = -1;
static atomic_ulong shed;
static _Atomic(struct session *) plain[INTAKE_PLAIN_MAX]; /* by descriptor */
static struct session *shaking[SHAKING];		  /* by key */

/* --- TLS --- */

/* One record to the sieve. 1, 0 (the client has ended), or an error of GnuTLS. */
static ssize_t pull(gnutls_session_t gnutls, struct session *s)
{
	gnutls_packet_t packet = NULL;
	gnutls_datum_t octets = {NULL, 0};
	ssize_t rc = gnutls_record_recv_packet(gnutls, &packet);
	enum err err;

	if (rc <= 0)
		return rc;
	gnutls_packet_get(packet, &octets, NULL);
	err = sieve_put(&s->sieve, octets.data, octets.size);
	gnutls_packet_deinit(packet);
	if (err != ERR_OK)
		return GNUTLS_E_MEMORY_ERROR;
	s->on_octets(s);
	return 1;
}

ssize_t gnutls_record_recv(gnutls_session_t gnutls, void *data, size_t size)
{
	struct session *s = gnutls_session_get_ptr(gnutls);
	ssize_t rc;

	if (s == NULL)
		return GNUTLS_E_INVALID_SESSION;
	if (sieve_ready(&s->sieve) == 0) {
		rc = pull(gnutls, s);
		if (rc <= 0)
			return rc;
		if (sieve_ready(&s->sieve) == 0)
			return GNUTLS_E_INTERRUPTED; /* AGAIN would say that no more is there */
	}
	return (ssize_t)sieve_take(&s->sieve, data, size);
}

size_t gnutls_record_check_pending(gnutls_session_t gnutls)
{
	const struct session *s = gnutls_session_get_ptr(gnutls);

	return s != NULL ? sieve_ready(&s->sieve) : 0;
}

/* The head of an answer and its body leave in one record. Of what GnuTLS holds already the library
 * hears when it has gone. */
static ssize_t send_both(gnutls_session_t gnutls, struct session *s, const void *data, size_t size)
{
	ssize_t rc;

	if (s->sending == SENDING_HEAD) {
		gnutls_record_cork(gnutls);
		s->sending = SENDING_BODY;
		return gnutls_record_send2(gnutls, data, size, 0, 0);
	}
	if (s->sending == SENDING_BODY) {
		rc = gnutls_record_send2(gnutls, data, size, 0, 0);
		if (rc < 0)
			return rc;
		s->rest = (size_t)rc;
	}
	s->sending = SENDING_AS_ASKED; /* GnuTLS itself sends through us */
	rc = gnutls_record_uncork(gnutls, 0);
	if (rc >= 0)
		return (ssize_t)s->rest;
	s->sending = SENDING_REST;
	return rc;
}

ssize_t gnutls_record_send(gnutls_session_t gnutls, const void *data, size_t size)
{
	struct session *s = gnutls_session_get_ptr(gnutls);

	if (s == NULL || s->sending == SENDING_AS_ASKED)
		return gnutls_record_send2(gnutls, data, size, 0, 0);
	return send_both(gnutls, s, data, size);
}

void intake_send_both(struct session *s)
{
	s->sending = SENDING_HEAD;
}

/* --- handshakes --- */

static struct session **bucket_of(const void *key)
{
	return &shaking[((uintptr_t)key >> 6) % SHAKING];
}

void intake_handshake(struct session *s, const void *key)
{
	struct session **bucket = bucket_of(key);

	s->key = key;
	pthread_mutex_lock(&lock);
	s->next = *bucket;
	*bucket = s;
	pthread_mutex_unlock(&lock);
}

void intake_handshake_done(struct session *s)
{
	struct session **at;

	if (s->key == NULL)
		return;
	pthread_mutex_lock(&lock);
	for (at = bucket_of(s->key); *at != s; at = &(*at)->next)
		;
	*at = s->next;
	pthread_mutex_unlock(&lock);
	s->key = NULL;
}

/* The session lives on without the lock: the thread that asks is the one that closes it. */
static struct session *session_of(const void *key)
{
	struct session *s;

	pthread_mutex_lock(&lock);
	for (s = *bucket_of(key); s != NULL && s->key != key; s = s->next)
		;
	pthread_mutex_unlock(&lock);
	return s;
}

/* The handshake goes on as far as it can. False: the library need not know of this event. */
static bool go_on(struct epoll_event *event)
{
	struct session *s = session_of(event->data.ptr);
	int rc;

	if (s == NULL)
		return true;
	rc = gnutls_handshake(s->gnutls);
	if (rc == GNUTLS_E_AGAIN) /* the end of the client inside a record: no other event tells */
		rc = gnutls_handshake(s->gnutls);
	if (rc == GNUTLS_E_AGAIN || rc == GNUTLS_E_INTERRUPTED)
		return (event->events & (EPOLLERR | EPOLLHUP)) != 0;
	event->events |= rc == GNUTLS_E_SUCCESS ? EPOLLIN : EPOLLHUP;
	intake_handshake_done(s);
	return true;
}

int epoll_wait(int fd, struct epoll_event *events, int most, int timeout)
{
	int n = epoll_pwait(fd, events, most > 1 ? most - 1 : most, timeout, NULL), kept = 0;

	for (int i = 0; i < n; i++)
		if (go_on(&events[i]))
			events[kept++] = events[i];
	return n < 0 ? n : kept;
}

/* --- without TLS --- */

bool intake_plain(int fd, struct session *s)
{
	if (fd < 0 || fd >= INTAKE_PLAIN_MAX)
		return false;
	atomic_store(&plain[fd], s);
	return true;
}

void intake_forget(int fd)
{
	if (fd >= 0 && fd < INTAKE_PLAIN_MAX)
		atomic_store(&plain[fd], NULL);
}

static struct session *plain_session(int fd)
{
	return fd >= 0 && fd < INTAKE_PLAIN_MAX ? atomic_load(&plain[fd]) : NULL;
}

static ssize_t receive(int fd, void *data, size_t size, int flags)
{
	return recvfrom(fd, data, size, flags, NULL, NULL);
}

ssize_t recv(int fd, void *data, size_t size, int flags)
{
	struct session *s = plain_session(fd);
	uint8_t octets[PIECE];
	ssize_t n;

	if (s == NULL)
		return receive(fd, data, size, flags);
	if (sieve_ready(&s->sieve) == 0) {
		n = receive(fd, octets, sizeof(octets), flags);
		if (n <= 0)
			return n;
		if (sieve_put(&s->sieve, octets, (size_t)n) != ERR_OK) {
			errno = ECONNRESET;
			return -1;
		}
		s->on_octets(s);
	}
	if (sieve_ready(&s->sieve) == 0) {
		errno = EAGAIN;
		return -1;
	}
	return (ssize_t)sieve_take(&s->sieve, data, size);
}

/* Of a connection that the sieve still has something for. */
static bool has_more(const struct pollfd *p)
{
	const struct session *s = (p->events & POLLIN) != 0 ? plain_session(p->fd) : NULL;

	return s != NULL && sieve_ready(&s->sieve) > 0;
}

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	struct timespec wait = {.tv_sec = timeout / 1000, .tv_nsec = timeout % 1000 * 1000000L};
	bool more = false;
	int ready;

	for (nfds_t i = 0; i < count && !more; i++)
		more = has_more(&fds[i]);
	if (more)
		wait = (struct timespec){0, 0};
	ready = ppoll(fds, count, more || timeout >= 0 ? &wait : NULL, NULL);
	for (nfds_t i = 0; more && ready >= 0 && i < count; i++)
		if (has_more(&fds[i])) {
			ready += fds[i].revents == 0;
			fds[i].revents |= POLLIN;
		}
	return ready;
}

/* --- connections --- */

enum err intake_open(void)
{
	reserve = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	return reserve >= 0 ? ERR_OK : ERR_SYSTEM;
}

void intake_close(void)
{
	if (reserve >= 0)
		close(reserve);
	reserve = -1;
}

unsigned long intake_shed(void)
{
	return atomic_load(&shed);
}

/* Takes the connection that waits with the descriptor that was kept back, and closes it. */
static bool turn_away(int fd)
{
	int connection = -1;

	pthread_mutex_lock(&lock);
	if (reserve >= 0)
		close(reserve);
	connection = (int)syscall(SYS_accept4, fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (connection >= 0)
		close(connection);
	reserve = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	pthread_mutex_unlock(&lock);
	return connection >= 0;
}

static void no_descriptor(int fd)
{
	static struct log_gate gate = {.per_second = 1};
	struct timespec rest = {.tv_nsec = REST_NS};
	uint64_t left_out;
	bool done = turn_away(fd);

	if (done)
		atomic_fetch_add(&shed, 1);
	else
		nanosleep(&rest, NULL);
	if (log_gate_open(&gate, monotonic_ms(), &left_out))
		LOG(LOG_LEVEL_ERROR, "no descriptor is free: connections are closed unheard",
			LN("left_out", left_out));
}

int accept4(int fd, __SOCKADDR_ARG address, socklen_t *len, int flags)
{
	int connection = (int)syscall(SYS_accept4, fd, address.__sockaddr__, len, flags);

	if (connection >= 0 ||
		(errno != EMFILE && errno != ENFILE && errno != ENOBUFS && errno != ENOMEM))
		return connection;
	no_descriptor(fd);
	errno = EAGAIN;
	return -1;
}
