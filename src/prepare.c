#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "parent.h"
#include "sockets.h"

#define DRAIN_MS     5000
#define LOCK_WAIT_MS 3000

void parent_say(const char *fmt, ...)
{
	char text[8192];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	dprintf(STDERR_FILENO, "dcsignd: %s\n", text);
}

int64_t parent_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* The environment. */
static bool passes(const char *variable)
{
	static const char *const names[] = {"PATH=", "TZ=",
#ifdef DCSIGN_TEST_HOOKS
		"LD_PRELOAD=", "FAKETIME", "DONT_FAKE",
		"ASAN_OPTIONS=", "UBSAN_OPTIONS=", "TSAN_OPTIONS=", "LSAN_OPTIONS=", "DCSIGN_TEST_",
#endif
		NULL};

	for (size_t i = 0; names[i] != NULL; i++)
		if (strncmp(variable, names[i], strlen(names[i])) == 0)
			return true;
	return false;
}

static char *kept(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && value[0] != '\0' ? strdup(value) : NULL;
}

int prepare_environment(struct parent *p)
{
	size_t count = 0, n = 0;

	while (environ[count] != NULL)
		count++;
	if ((p->environment = calloc(count + 1, sizeof *p->environment)) == NULL)
		return EXIT_TEMPORARY;
	for (size_t i = 0; i < count; i++)
		if (passes(environ[i]) && (p->environment[n++] = strdup(environ[i])) == NULL)
			return EXIT_TEMPORARY;
	p->watch_ms = WATCH_MS;
	p->drain_ms = DRAIN_MS;
	p->credentials = kept("CREDENTIALS_DIRECTORY");
#ifdef DCSIGN_TEST_HOOKS
	p->programs = kept("DCSIGN_LIBEXECDIR");
	const char *watch_ms = getenv("DCSIGN_WATCH_MS"), *drain_ms = getenv("DCSIGN_DRAIN_MS");

	if (watch_ms != NULL)
		p->watch_ms = atoll(watch_ms);
	if (drain_ms != NULL)
		p->drain_ms = atoll(drain_ms);
#endif
	return clearenv() == 0 ? 0 : EXIT_BROKEN;
}

/* The configuration. */
static void say_error(void *context, const char *text)
{
	(void)context;
	parent_say("%s", text);
}

static bool write_all(int fd, const uint8_t *octets, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, octets, len);

		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0) {
			octets += n;
			len -= (size_t)n;
		}
	}
	return true;
}

static int make_bundle(const struct config *c)
{
	struct buf out = BUF_INIT(CONFIG_BUNDLE_MAX);
	int fd = memfd_create("dcsign bundle", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (config_encode(&out, c) != ERR_OK || fd < 0 || !write_all(fd, out.octets, out.len) ||
		fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) !=
			0) {
		parent_say("the configuration's bundle can't be made: %s",
			out.err != ERR_OK ? err_text(out.err) : strerror(errno));
		if (fd >= 0)
			close(fd);
		fd = -1;
	}
	buf_free(&out);
	return fd;
}

int prepare_config(const struct parent *p, struct config **config, int *bundle)
{
	enum err e = conffile_read(config, p->path, p->credentials, say_error, NULL);

	*bundle = -1;
	if (e == ERR_NOMEM)
		parent_say("out of memory");
	if (e != ERR_OK)
		return e == ERR_NOMEM ? EXIT_TEMPORARY : EXIT_CONFIGURATION;
	if ((*bundle = make_bundle(*config)) >= 0)
		return 0;
	config_unref(*config);
	*config = NULL;
	return EXIT_TEMPORARY;
}

/* Users. */
static int find_user(struct parent *p, enum msg_role role, const char *name)
{
	if (sandbox_user_find(&p->user[role], name) != ERR_OK) {
		parent_say("%s: users: there is no user '%s' for %s. Make it with: useradd "
			   "--system --no-create-home --shell /usr/sbin/nologin %s",
			p->path, name, program_name(role), name);
		return EXIT_CONFIGURATION;
	}
	if (p->user[role].uid == 0 || p->user[role].gid == 0) {
		parent_say("%s: users: '%s' is root; %s needs a user of its own", p->path, name,
			program_name(role));
		return EXIT_CONFIGURATION;
	}
	for (enum msg_role other = ROLE_API; other < role; other++)
		if (p->user[other].uid == p->user[role].uid) {
			parent_say("%s: users: '%s' is given to two kinds of processes: then "
				   "each could read what is the other's",
				p->path, name);
			return EXIT_CONFIGURATION;
		}
	return 0;
}

int prepare_users(struct parent *p, const struct config *c)
{
	int code;

	p->separate = geteuid() == 0 && !c->single_user;
	if (!p->separate && !c->single_user) {
		parent_say("%s: started without root's rights, so that all processes would share "
			   "one user: that needs single_user = yes",
			p->path);
		return EXIT_CONFIGURATION;
	}
	if (!p->separate)
		return 0;
	if ((code = find_user(p, ROLE_API, c->users.api)) != 0 ||
		(code = find_user(p, ROLE_HSM, c->users.hsm)) != 0)
		return code;
	return find_user(p, ROLE_LEDGER, c->users.ledger);
}

/* The name of a new folder must be as durable as what it will hold. */
static bool sync_parent(const char *path)
{
	char *folder = strdup(path);
	char *slash = folder != NULL ? strrchr(folder, '/') : NULL;
	int fd = -1;

	if (slash != NULL) {
		slash[slash == folder] = '\0';
		fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	}
	free(folder);

	bool ok = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

/* The state folder. What is there stays as it is. */
static int make_folder(const struct parent *p, const char *path, mode_t mode, enum msg_role owner)
{
	struct stat st;

	if (mkdir(path, 0700) == 0) {
		if ((!p->separate || chown(path, p->user[owner].uid, p->user[owner].gid) == 0) &&
			chmod(path, mode) == 0 && sync_parent(path))
			return 0;
	} else if (errno == EEXIST && stat(path, &st) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		errno = ENOTDIR;
	}
	parent_say("%s: %s", path, strerror(errno));
	return EXIT_CONFIGURATION;
}

static int take_lock(struct parent *p, const char *path)
{
	int64_t until = parent_now() + LOCK_WAIT_MS;

	p->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (p->lock < 0) {
		parent_say("%s: %s", path, strerror(errno));
		return EXIT_CONFIGURATION;
	}
	/* The processes of a parent that was just killed may not be gone yet. */
	while (flock(p->lock, LOCK_EX | LOCK_NB) != 0) {
		if (errno != EWOULDBLOCK && errno != EINTR) {
			parent_say("%s: %s", path, strerror(errno));
			return EXIT_TEMPORARY;
		}
		if (parent_now() >= until) {
			parent_say("another dcsignd already runs on this state folder: %s is "
				   "locked",
				path);
			return EXIT_TEMPORARY;
		}
		nanosleep(&(struct timespec){0, 20 * 1000 * 1000}, NULL);
	}
	return 0;
}

int prepare_state(struct parent *p)
{
	char path[4096];
	int code = make_folder(p, p->config->state, 0711, ROLE_LEDGER);

	if (code != 0)
		return code;
	snprintf(path, sizeof path, "%s/hsm", p->config->state);
	if ((code = make_folder(p, path, 0700, ROLE_HSM)) != 0)
		return code;
	snprintf(path, sizeof path, "%s/lock", p->config->state);
	return take_lock(p, path);
}

/* Sockets. */
static int listen_on(int *fd, const char *address, const char *what)
{
	char bound[ADDRESS_TEXT];
	int64_t until = parent_now() + LOCK_WAIT_MS;
	enum err e;

	/* As with the lock: an api process whose parent was just killed still ends. */
	while ((e = address_listen(fd, address, bound)) != ERR_OK && errno == EADDRINUSE &&
		parent_now() < until)
		nanosleep(&(struct timespec){0, 20 * 1000 * 1000}, NULL);
	if (e != ERR_OK) {
		parent_say("%s %s: %s", what, address, strerror(errno));
		return errno == EADDRINUSE ? EXIT_TEMPORARY : EXIT_CONFIGURATION;
	}
	LOG(LOG_LEVEL_INFO, "listening", LS("for", what), LS("address", bound));
	return 0;
}

int prepare_sockets(struct parent *p)
{
	int code;

	for (size_t i = 0; i < p->config->listen_count; i++)
		if ((code = listen_on(&p->listen[i], p->config->listen[i].address, "listen")) != 0)
			return code;
	return p->config->monitor != NULL ? listen_on(&p->monitor, p->config->monitor, "monitor")
					  : 0;
}
