#include "install.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"

#define CURRENT	   ".current"
#define NEXT	   ".current.next"
#define SET_PREFIX ".set-"

const char *const install_names[] = {"chain.pem", "key.pem", "credential.dc", "credential.pem",
	"credential.hex", "fizz.pem", "agent.json", "credential.json", NULL};

static enum err system_failed(struct refusal *why, const char *what, const char *name)
{
	return refuse(why, ERR_SYSTEM, "", "%s %s: %s", what, name, strerror(errno));
}

static void link_target(char target[64], const char *name)
{
	snprintf(target, 64, CURRENT "/%s", name);
}

/* What stands under this name: 0 nothing, 1 our link, -1 something else. */
static int link_state(int folder, const char *name)
{
	char target[64], found[64];
	ssize_t n = readlinkat(folder, name, found, sizeof found);
	if (n < 0)
		return errno == ENOENT ? 0 : -1;
	link_target(target, name);
	return (size_t)n == strlen(target) && memcmp(found, target, (size_t)n) == 0 ? 1 : -1;
}

static void remove_set(int folder, const char *set)
{
	int fd = openat(folder, set, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	size_t i;
	if (fd < 0)
		return;
	for (i = 0; install_names[i]; i++)
		unlinkat(fd, install_names[i], 0);
	close(fd);
	unlinkat(folder, set, AT_REMOVEDIR);
}

static void read_current(const struct install *in, char set[64])
{
	ssize_t n = readlinkat(in->folder, CURRENT, set, 63);
	set[n > 0 ? n : 0] = 0;
}

/* Sets that are neither in place nor being written nor to be kept: of a run that was killed, or
 * replaced. */
static void remove_old_sets(const struct install *in, const char *keep)
{
	char current[64];
	int fd = openat(in->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *d;

	read_current(in, current);
	while (dir && (d = readdir(dir)) != NULL)
		if (strncmp(d->d_name, SET_PREFIX, sizeof SET_PREFIX - 1) == 0 &&
			strcmp(d->d_name, current) != 0 && strcmp(d->d_name, in->set) != 0 &&
			strcmp(d->d_name, keep) != 0)
			remove_set(in->folder, d->d_name);
	if (dir)
		closedir(dir);
	else if (fd >= 0)
		close(fd);
}

static enum err make_set(struct install *in, struct refusal *why)
{
	uint8_t random[8];
	char name[sizeof in->set], digits[2 * sizeof random + 1];

	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return system_failed(why, "getrandom", "");
	hex_encode(digits, random, sizeof random);
	snprintf(name, sizeof name, SET_PREFIX "%s", digits);
	if (mkdirat(in->folder, name, 0755) != 0)
		return system_failed(why, "can't make the folder", name);
	snprintf(in->set, sizeof in->set, "%s", name);
	in->fd = openat(in->folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return in->fd < 0 ? system_failed(why, "can't open the folder", name) : ERR_OK;
}

enum err install_open(struct install *in, const char *path, struct refusal *why)
{
	size_t i;
	*in = INSTALL_INIT;
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return system_failed(why, "can't make the folder", path);
	in->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (in->folder < 0)
		return system_failed(why, "can't open the folder", path);
	if (flock(in->folder, LOCK_EX | LOCK_NB) != 0)
		return refuse(why, ERR_SYSTEM, "",
			"%s: another dcsign writes to this folder (or it can't be locked)", path);
	for (i = 0; install_names[i]; i++)
		if (link_state(in->folder, install_names[i]) < 0)
			return refuse(why, ERR_FORMAT, "",
				"%s/%s is there and was not put there by dcsign: name a folder of "
				"its own",
				path, install_names[i]);
	remove_old_sets(in, "");
	return make_set(in, why);
}

static enum err write_file(
	const struct install *in, const struct install_file *f, struct refusal *why)
{
	const char *at = f->octets;
	size_t left = f->len;
	int fd = openat(in->fd, f->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, f->mode);
	bool ok = fd >= 0;

	if (ok && (in->uid != (uid_t)-1 || in->gid != (gid_t)-1) &&
		fchown(fd, in->uid, in->gid) != 0) {
		system_failed(why, "can't give to its owner", f->name);
		close(fd);
		return ERR_SYSTEM;
	}
	while (ok && left) {
		ssize_t n = write(fd, at, left);
		if (n < 0 && errno == EINTR)
			continue;
		ok = n > 0;
		if (ok)
			at += n, left -= (size_t)n;
	}
	ok = ok && fsync(fd) == 0;
	if (!ok)
		system_failed(why, "can't write", f->name);
	if (fd >= 0)
		close(fd);
	return ok ? ERR_OK : ERR_SYSTEM;
}

/* One link for each file of the set in place, in the order of install_names: the JSON, which tells
 * that a set is complete, comes last. */
enum err install_links(int folder)
{
	enum err e = ERR_OK;
	char target[64];
	size_t i;
	for (i = 0; install_names[i]; i++) {
		const char *name = install_names[i];
		int state = link_state(folder, name);
		bool wanted;
		link_target(target, name);
		wanted = faccessat(folder, target, F_OK, 0) == 0;
		if ((wanted && state == 0 && symlinkat(target, folder, name) != 0) ||
			(!wanted && state == 1 && unlinkat(folder, name, 0) != 0))
			e = ERR_SYSTEM;
	}
	return e;
}

enum err install_set(
	struct install *in, const struct install_file *files, size_t count, struct refusal *why)
{
	char previous[64];
	enum err e;
	size_t i;

	read_current(in, previous);
	for (i = 0; i < count; i++)
		if ((e = write_file(in, &files[i], why)) != ERR_OK)
			return e;
	if (fsync(in->fd) != 0 || fsync(in->folder) != 0)
		return system_failed(why, "can't flush", in->set);
	unlinkat(in->folder, NEXT, 0);
	if (symlinkat(in->set, in->folder, NEXT) != 0 ||
		renameat(in->folder, NEXT, in->folder, CURRENT) != 0)
		return system_failed(why, "can't switch to", in->set);
	in->set[0] = 0;
	if (install_links(in->folder) != ERR_OK || fsync(in->folder) != 0)
		return refuse(why, ERR_SYSTEM, "",
			"the set is in place as " CURRENT
			", but a link to it could not be made: %s",
			strerror(errno));
	remove_old_sets(in, in->keep_previous ? previous : "");
	return ERR_OK;
}

void install_close(struct install *in)
{
	if (in->set[0])
		remove_set(in->folder, in->set);
	if (in->fd >= 0)
		close(in->fd);
	if (in->folder >= 0)
		close(in->folder);
	*in = INSTALL_INIT;
}
