#include "settings.h" /* environ */

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define COMMAND_SECONDS 60

bool agent_reload_wanted(const struct agent_reload *r)
{
	return r->command || r->unit || r->pid_file;
}

/* In a process group of its own, so that all of it can be ended. */
static int spawn(pid_t *pid, char *const argv[])
{
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attributes;
	int e;

	posix_spawn_file_actions_init(&files);
	posix_spawnattr_init(&attributes);
	posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&files, STDERR_FILENO, STDOUT_FILENO);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
	posix_spawnattr_setpgroup(&attributes, 0);
	e = posix_spawnp(pid, argv[0], &files, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&files);
	return e;
}

static enum err run(char *const argv[], struct refusal *why)
{
	const struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
	int64_t end = agent_mono() + COMMAND_SECONDS;
	int status = 0, e;
	pid_t pid = 0, done;

	e = spawn(&pid, argv);
	if (e)
		return refuse(why, ERR_SYSTEM, "reload", "%s: %s", argv[0], strerror(e));
	while ((done = waitpid(pid, &status, WNOHANG)) == 0 && agent_mono() < end)
		nanosleep(&moment, NULL);
	if (done == 0) {
		kill(-pid, SIGKILL);
		waitpid(pid, &status, 0);
		return refuse(why, ERR_TIMEOUT, "reload", "%s: not done after %d s", argv[0],
			COMMAND_SECONDS);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return ERR_OK;
	return refuse(why, ERR_SYSTEM, "reload", "%s: ended with %s %d", argv[0],
		WIFEXITED(status) ? "status" : "signal",
		WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

/* Who may write the file decides who gets the signal: so only root or the agent's user. */
static enum err read_pid(const char *path, pid_t *pid, struct refusal *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char text[32] = "", *end = text;
	struct stat st;
	ssize_t n;
	long value;

	if (fd < 0 || fstat(fd, &st) != 0) {
		enum err e =
			refuse(why, ERR_SYSTEM, "reload_pid_file", "%s: %s", path, strerror(errno));
		if (fd >= 0)
			close(fd);
		return e;
	}
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (!S_ISREG(st.st_mode) || (st.st_uid != 0 && st.st_uid != geteuid()) || st.st_mode & 022)
		return refuse(why, ERR_FORMAT, "reload_pid_file",
			"%s: must belong to root or to the agent's user and be writable by no one "
			"else",
			path);
	text[n > 0 ? n : 0] = 0;
	value = strtol(text, &end, 10);
	if (end == text || (*end && *end != '\n') || value <= 1 || value > 1 << 30)
		return refuse(why, ERR_FORMAT, "reload_pid_file", "%s: no process id in it", path);
	*pid = (pid_t)value;
	return ERR_OK;
}

static enum err send_signal(const struct agent_reload *r, struct refusal *why)
{
	pid_t pid;
	enum err e = read_pid(r->pid_file, &pid, why);

	if (!e && kill(pid, r->signal) != 0)
		e = refuse(why, ERR_SYSTEM, "reload_pid_file", "%s: process %ld: %s", r->pid_file,
			(long)pid, strerror(errno));
	return e;
}

enum err agent_reload(const struct agent_reload *r, struct refusal *why)
{
	static char systemctl[] = "systemctl", quiet[] = "--no-ask-password", reload[] = "reload",
		    end[] = "--";
	char *const unit[] = {systemctl, quiet, reload, end, r->unit, NULL};

	if (r->pid_file)
		return send_signal(r, why);
	if (r->unit)
		return run(unit, why);
	return r->command ? run(r->command, why) : ERR_OK;
}
