/*
 * inside.so: preloaded into a process of the service, it does there what somebody would who has
 * taken the process over. A thread of its own reads lines `ACTION [PATH]` from the FIFO $INSIDE.ask
 * and appends `ACTION ERRNO` to $INSIDE.answer (0: it could be done), unless the process has ended
 * before. `main ACTION [PATH]`: the main thread does it, in a signal's handler.
 */
#define _GNU_SOURCE 1

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>

static int ask = -1, answer = -1;
static pthread_t main_thread;
static char line[512];

static int do_execute(const char *path)
{
	char *const argv[] = {(char[]){"true"}, NULL};

	return execve(path, argv, NULL);
}

static int do_fork(const char *path)
{
	pid_t pid = fork();

	(void)path;
	if (pid == 0)
		_exit(0);
	return pid < 0 ? -1 : 0;
}

static int do_inet(const char *path)
{
	(void)path;
	return socket(AF_INET, SOCK_STREAM, 0);
}

static int do_unix(const char *path)
{
	(void)path;
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int do_listen(const char *path)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	int fd = do_inet(path);

	return fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof(any)) != 0 ? -1 : listen(fd, 1);
}

static int do_read(const char *path)
{
	return open(path, O_RDONLY | O_CLOEXEC);
}

static int do_write(const char *path)
{
	return open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
}

static int do_ptrace(const char *path)
{
	(void)path;
	return (int)ptrace(PTRACE_TRACEME, 0, NULL, NULL); /* which only a filter forbids */
}

static pid_t parent; /* getppid may be forbidden, too */

static int do_kill(const char *path)
{
	(void)path;
	return kill(parent, 0);
}

static int do_memory(const char *path)
{
	(void)path;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		       0) == MAP_FAILED
		       ? -1
		       : 0;
}

static const struct {
	const char *name;
	int (*act)(const char *path);
} actions[] = {{"execute", do_execute}, {"fork", do_fork}, {"inet", do_inet}, {"unix", do_unix},
	{"listen", do_listen}, {"read", do_read}, {"write", do_write}, {"ptrace", do_ptrace},
	{"kill", do_kill}, {"memory", do_memory}};

static void act(char *words)
{
	char *path = words + strcspn(words, " \n"), text[64];
	int error = ENOENT, len;

	path[strcspn(path, "\n")] = '\0';
	if (*path != '\0')
		*path++ = '\0';
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
		if (strcmp(actions[i].name, words) == 0)
			error = actions[i].act(path) < 0 ? errno : 0;
	}
	len = snprintf(text, sizeof(text), "%.32s %d\n", words, error);
	if (len > 0 && write(answer, text, (size_t)len) != len)
		_exit(99);
}

static void on_signal(int number)
{
	int error = errno;

	(void)number;
	act(line + strlen("main "));
	errno = error;
}

static void *listener(void *arg)
{
	ssize_t len;

	while ((len = read(ask, line, sizeof(line) - 1)) > 0) {
		line[len] = '\0';
		if (strncmp(line, "main ", 5) == 0)
			pthread_kill(main_thread, SIGUSR1);
		else
			act(line);
	}
	return arg;
}

static void __attribute__((constructor)) start(void)
{
	const char *where = getenv("INSIDE");
	char name[512];
	struct sigaction taken = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
	pthread_t thread;

	if (!where)
		return;
	main_thread = pthread_self();
	parent = getppid();
	sigaction(SIGUSR1, &taken, NULL);
	snprintf(name, sizeof(name), "%s.ask", where);
	ask = open(name, O_RDWR | O_CLOEXEC);
	snprintf(name, sizeof(name), "%s.answer", where);
	answer = open(name, O_WRONLY | O_APPEND | O_CLOEXEC);
	if (ask < 0 || answer < 0 || pthread_create(&thread, NULL, listener, NULL) != 0)
		_exit(98);
}
