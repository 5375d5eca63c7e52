#include "settings.h"

#include "notify.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_un manager;
static socklen_t manager_len; /* 0: nobody listens */
static int64_t watchdog_ms;

/* "/path", or "@name" in the abstract name space. */
static void find_manager(const char *path)
{
	size_t len = path != NULL ? strlen(path) : 0;

	manager_len = 0;
	if (len < 2 || len >= sizeof manager.sun_path || (path[0] != '/' && path[0] != '@'))
		return;
	manager.sun_family = AF_UNIX;
	memcpy(manager.sun_path, path, len);
	if (path[0] == '@')
		manager.sun_path[0] = '\0';
	manager_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static int64_t number(const char *name)
{
	const char *text = getenv(name);

	return text != NULL ? strtoll(text, NULL, 10) : 0;
}

void notify_open(void)
{
	int64_t for_pid = number("WATCHDOG_PID");

	find_manager(getenv("NOTIFY_SOCKET"));
	if (manager_len > 0 && (for_pid == 0 || for_pid == getpid()))
		watchdog_ms = number("WATCHDOG_USEC") / 1000 / 2;
}

static void tell(const char *text)
{
	int fd;

	if (manager_len == 0 || (fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) < 0)
		return;
	/* A manager that does not read must not stop us. */
	(void)sendto(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
		(const struct sockaddr *)&manager, manager_len);
	close(fd);
}

void notify_ready(const char *status)
{
	char text[256];

	snprintf(text, sizeof text, "READY=1\nSTATUS=%s\nMAINPID=%ld\n", status, (long)getpid());
	tell(text);
}

void notify_reloading(void)
{
	struct timespec t;
	char text[128];

	clock_gettime(CLOCK_MONOTONIC, &t);
	snprintf(text, sizeof text,
		"RELOADING=1\nMONOTONIC_USEC=%" PRId64 "\nSTATUS=reading the configuration\n",
		(int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000);
	tell(text);
}

void notify_stopping(void)
{
	tell("STOPPING=1\nSTATUS=finishing what is under way\n");
}

void notify_status(const char *status)
{
	char text[256];

	snprintf(text, sizeof text, "STATUS=%s\n", status);
	tell(text);
}

int64_t notify_watchdog_ms(void)
{
	return watchdog_ms;
}

void notify_alive(void)
{
	tell("WATCHDOG=1\n");
}
