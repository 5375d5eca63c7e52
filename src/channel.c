#include "channel.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* A kernel that grants less than a whole message to a socket can't carry ours. */
static bool set_buffer(int fd, int option)
{
	int wanted = 4 * MSG_MAX, got = 0;
	socklen_t len = sizeof got;

	if (setsockopt(fd, SOL_SOCKET, option, &wanted, sizeof wanted) != 0 ||
		getsockopt(fd, SOL_SOCKET, option, &got, &len) != 0)
		return false;
	if (got < MSG_MAX + 4096) {
		errno = ENOBUFS;
		return false;
	}
	return true;
}

enum err channel_pair(int ends[2])
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return ERR_SYSTEM;
	for (int i = 0; i < 2; i++)
		if (!set_buffer(ends[i], SO_SNDBUF) || !set_buffer(ends[i], SO_RCVBUF)) {
			int e = errno;

			close(ends[0]);
			close(ends[1]);
			ends[0] = ends[1] = -1;
			errno = e;
			return ERR_SYSTEM;
		}
	return ERR_OK;
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* until: of now_ms; -1 = for ever. A socket in error or at its end counts as ready. */
static enum err wait_for(int fd, short events, int64_t until)
{
	for (;;) {
		struct pollfd p = {.fd = fd, .events = events};
		int64_t left = until < 0 ? -1 : until - now_ms();

		if (until >= 0 && left < 0)
			left = 0;
		switch (poll(&p, 1, (int)left)) {
		case 1:
			return ERR_OK;
		case 0:
			return ERR_TIMEOUT;
		default:
			if (errno != EINTR)
				return ERR_SYSTEM;
		}
	}
}

static enum err from_errno(void)
{
	if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN)
		return ERR_CLOSED;
	return errno == EMSGSIZE ? ERR_NO_ROOM : ERR_SYSTEM;
}

union control {
	struct cmsghdr align;
	char octets[CMSG_SPACE(MSG_FDS * sizeof(int))];
};

static void attach(struct msghdr *m, union control *control, const int *fds, size_t count)
{
	struct cmsghdr *c;

	memset(control, 0, sizeof *control);
	m->msg_control = control->octets;
	m->msg_controllen = CMSG_SPACE(count * sizeof *fds);
	c = CMSG_FIRSTHDR(m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(count * sizeof *fds);
	memcpy(CMSG_DATA(c), fds, count * sizeof *fds);
}

enum err channel_send(
	int fd, const struct buf *message, const int *fds, size_t count, int timeout_ms)
{
	int64_t until = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	struct iovec part = {.iov_base = message->octets, .iov_len = message->len};
	struct msghdr m = {.msg_iov = &part, .msg_iovlen = 1};
	union control control;
	enum err e;

	if (message->err != ERR_OK)
		return message->err;
	if (message->len == 0) /* would read as the end of the stream */
		return ERR_FORMAT;
	if (message->len > MSG_MAX || count > MSG_FDS)
		return ERR_NO_ROOM;
	if (count > 0)
		attach(&m, &control, fds, count);
	while (sendmsg(fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return from_errno();
		if ((e = wait_for(fd, POLLOUT, until)) != ERR_OK)
			return e;
	}
	return ERR_OK;
}

/* Descriptors that came along go to fds, or are closed. */
static size_t take_descriptors(struct msghdr *m, int *fds, bool keep)
{
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c != NULL; c = CMSG_NXTHDR(m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t at = CMSG_LEN(0); at + sizeof(int) <= c->cmsg_len; at += sizeof(int)) {
			int fd;

			memcpy(&fd, (const char *)c + at, sizeof fd);
			if (keep && count < MSG_FDS)
				fds[count++] = fd;
			else
				close(fd);
		}
	}
	return count;
}

enum err channel_receive(
	int fd, uint8_t *octets, size_t size, size_t *len, int *fds, size_t *count, int timeout_ms)
{
	int64_t until = timeout_ms < 0 ? -1 : now_ms() + timeout_ms;
	union control control;
	struct iovec part = {.iov_base = octets, .iov_len = size};
	struct msghdr m;
	ssize_t got;
	bool whole;
	enum err e;

	*len = 0;
	if (count != NULL)
		*count = 0;
	for (;;) {
		m = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1};
		m.msg_control = control.octets;
		m.msg_controllen = sizeof control.octets;
		got = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (got >= 0)
			break;
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return from_errno();
		if (timeout_ms == 0)
			return ERR_TIMEOUT;
		if ((e = wait_for(fd, POLLIN, until)) != ERR_OK)
			return e;
	}
	whole = (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
	if (fds == NULL)
		whole = whole && m.msg_controllen == 0;
	{
		size_t n = take_descriptors(&m, fds, whole && fds != NULL);

		if (count != NULL)
			*count = n;
	}
	if (!whole)
		return ERR_FORMAT;
	*len = (size_t)got;
	return got == 0 ? ERR_CLOSED : ERR_OK;
}
