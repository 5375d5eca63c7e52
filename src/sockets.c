#include "settings.h"

#include "sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static enum err unix_address(struct sockaddr_storage *address, socklen_t *len, const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};

	if (path[0] != '/' || strlen(path) >= sizeof un.sun_path)
		return ERR_FORMAT;
	strcpy(un.sun_path, path);
	memcpy(address, &un, sizeof un);
	*len = sizeof un;
	return ERR_OK;
}

static bool port_parse(in_port_t *port, const char *digits)
{
	size_t len = strlen(digits);
	long value;

	if (len < 1 || len > 5 || strspn(digits, "0123456789") != len ||
		(value = strtol(digits, NULL, 10)) > 65535)
		return false;
	*port = htons((uint16_t)value);
	return true;
}

enum err address_parse(struct sockaddr_storage *address, socklen_t *len, const char *text)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	size_t host_len;

	memset(address, 0, sizeof *address);
	if (strncmp(text, "unix:", 5) == 0)
		return unix_address(address, len, text + 5);
	if (colon == NULL || (host_len = (size_t)(colon - text)) >= sizeof host)
		return ERR_FORMAT;
	memcpy(host, text, host_len);
	host[host_len] = '\0';
	if (inet_pton(AF_INET, host, &v4.sin_addr) == 1 && port_parse(&v4.sin_port, colon + 1)) {
		memcpy(address, &v4, sizeof v4);
		*len = sizeof v4;
		return ERR_OK;
	}
	if (host_len < 2 || host[0] != '[' || host[host_len - 1] != ']')
		return ERR_FORMAT;
	host[host_len - 1] = '\0';
	if (inet_pton(AF_INET6, host + 1, &v6.sin6_addr) == 1 &&
		port_parse(&v6.sin6_port, colon + 1)) {
		memcpy(address, &v6, sizeof v6);
		*len = sizeof v6;
		return ERR_OK;
	}
	return ERR_FORMAT;
}

void address_text(char text[ADDRESS_TEXT], const struct sockaddr_storage *address)
{
	char host[INET6_ADDRSTRLEN];
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un un;

	switch (address->ss_family) {
	case AF_INET:
		memcpy(&v4, address, sizeof v4);
		inet_ntop(AF_INET, &v4.sin_addr, host, sizeof host);
		snprintf(text, ADDRESS_TEXT, "%s:%u", host, (unsigned)ntohs(v4.sin_port));
		break;
	case AF_INET6:
		memcpy(&v6, address, sizeof v6);
		inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof host);
		snprintf(text, ADDRESS_TEXT, "[%s]:%u", host, (unsigned)ntohs(v6.sin6_port));
		break;
	default:
		memcpy(&un, address, sizeof un);
		snprintf(text, ADDRESS_TEXT, "unix:%s", un.sun_path);
	}
}

/* True when the path is free now: what lay there was a socket without a listener. */
static bool make_free(const struct sockaddr_storage *address, socklen_t len)
{
	struct sockaddr_un un;
	struct stat st;
	bool dead;
	int fd;

	memcpy(&un, address, sizeof un);
	if (lstat(un.sun_path, &st) != 0)
		return errno == ENOENT;
	if (!S_ISSOCK(st.st_mode)) {
		errno = EEXIST;
		return false;
	}
	if ((fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		return false;
	dead = connect(fd, (const struct sockaddr *)address, len) != 0 && errno == ECONNREFUSED;
	close(fd);
	if (!dead) {
		errno = EADDRINUSE;
		return false;
	}
	return unlink(un.sun_path) == 0;
}

static bool bind_and_listen(int fd, struct sockaddr_storage *address, socklen_t *len)
{
	const int on = 1;

	if (address->ss_family == AF_UNIX) {
		if (!make_free(address, *len))
			return false;
	} else if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) {
		return false;
	}
	/* 0.0.0.0 and [::] may both be named. */
	if (address->ss_family == AF_INET6 &&
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
		return false;
	if (bind(fd, (const struct sockaddr *)address, *len) != 0 || listen(fd, SOMAXCONN) != 0)
		return false;
	return address->ss_family == AF_UNIX ||
	       getsockname(fd, (struct sockaddr *)address, len) == 0;
}

enum err address_listen(int *fd, const char *text, char bound[ADDRESS_TEXT])
{
	struct sockaddr_storage address;
	socklen_t len;
	mode_t mask;
	bool ok;

	*fd = -1;
	if (address_parse(&address, &len, text) != ERR_OK)
		return ERR_FORMAT;
	*fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (*fd < 0)
		return ERR_SYSTEM;
	/* Who may connect to a Unix socket is decided by its folder and by match { peer_uid }. */
	mask = umask(0);
	ok = bind_and_listen(*fd, &address, &len);
	umask(mask);
	if (!ok) {
		int e = errno;

		close(*fd);
		*fd = -1;
		errno = e;
		return ERR_SYSTEM;
	}
	address_text(bound, &address);
	return ERR_OK;
}
