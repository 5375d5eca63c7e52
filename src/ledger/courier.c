#include "settings.h"

#include "courier.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoint.h"
#include "log.h"

#define SOCKET 3

static void command_exec(const char *command, const void *note, size_t len)
{
	char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", name[] = "checkpoint";
	char *const environment[] = {path, NULL}, *const argv[] = {name, NULL};
	int fd = memfd_create("note", 0);

	if (fd < 0 || write(fd, note, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) != 0 ||
		dup2(fd, 0) != 0 || close_range(SOCKET, ~0u, 0) != 0)
		_exit(126);
	alarm(COURIER_TIMEOUT_S); /* outlives exec */
	execve(command, argv, environment);
	_exit(127);
}

static void command_run(const char *command, const void *note, size_t len)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0)
		command_exec(command, note, len);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status != 0)
		LOG(LOG_LEVEL_ERROR, "the checkpoint command failed", LS("command", command),
			LN("status", WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status)));
}

static void courier_life(const char *command)
{
	char note[CHECKPOINT_MAX];
	ssize_t len;

	do {
		len = recv(SOCKET, note, sizeof(note), 0);
		if (len > 0)
			command_run(command, note, (size_t)len);
	} while (len > 0 || (len < 0 && errno == EINTR));
	_exit(0);
}

int courier_start(const char *command)
{
	sigset_t none;
	int ends[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
		return -1;

	pid_t pid = fork();

	if (pid == 0) {
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		signal(SIGXFSZ, SIG_DFL);
		/* the lock and all channels are the ledger process's alone */
		if ((ends[1] != SOCKET && dup2(ends[1], SOCKET) != SOCKET) ||
			close_range(SOCKET + 1, ~0u, 0) != 0)
			_exit(126);
		courier_life(command);
	}
	close(ends[1]);
	if (pid > 0)
		return ends[0];
	close(ends[0]);
	return -1;
}

enum err courier_send(int fd, const void *note, size_t len)
{
	if (send(fd, note, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len)
		return ERR_OK;
	return errno == EAGAIN || errno == EWOULDBLOCK ? ERR_TIMEOUT : ERR_CLOSED;
}

void courier_stop(int fd, int timeout_ms)
{
	struct pollfd p = {.fd = fd, .events = 0};

	shutdown(fd, SHUT_WR);
	poll(&p, 1, timeout_ms);
	close(fd);
}
