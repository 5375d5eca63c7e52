/*
 * What a key ceremony must not run beside. SoftHSM's C_Login truncates a file of the token and
 * writes it again: a process that opens the token in that moment does not see it, and one that is
 * killed in it loses the token with its keys. So a token that we could write must have no other
 * user. p11-kit's proxy is every registered module in one: keys would be made by whichever answers.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys.h"

#define SOFTHSM		"/libsofthsm2"
#define SOFTHSM_CONF	"SOFTHSM2_CONF="
#define SOFTHSM_DEFAULT "/etc/softhsm/softhsm2.conf"
#define SMALL		65536

enum err hazard_of_module(const char *module, struct refusal *why)
{
	static const char *const proxies[] = {"p11-kit-proxy.so", "libp11-kit.so"};
	char path[PATH_MAX];
	const char *name;

	if (realpath(module, path) == NULL)
		return ERR_OK; /* dlopen says what is wrong with it */
	name = strrchr(path, '/') + 1;
	for (size_t i = 0; i < sizeof proxies / sizeof *proxies; i++)
		if (strncmp(name, proxies[i], strlen(proxies[i])) == 0)
			return refuse(why, ERR_KEY_UNAVAILABLE, "module",
				"%s is all registered modules in one: name the token's own module",
				module);
	return ERR_OK;
}

/* Appends a NUL. NULL: it can't be read. The caller frees it. */
static char *read_whole(const char *path, size_t *len)
{
	size_t room = SMALL;
	char *text = malloc(room);
	int fd = text == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	*len = 0;
	while (fd >= 0 && (n = read(fd, text + *len, room - 1 - *len)) > 0) {
		char *more;

		*len += (size_t)n;
		if (*len < room - 1)
			continue;
		more = realloc(text, room *= 2);
		if (more == NULL)
			break;
		text = more;
	}
	if (fd >= 0)
		close(fd);
	if (n == 0) {
		text[*len] = '\0';
		return text;
	}
	free(text);
	return NULL;
}

/* 1: this process has SoftHSM loaded, 0: not, -1: it can't be seen. */
static int has_softhsm(const char *pid)
{
	char path[300], *maps;
	size_t len;
	int has;

	snprintf(path, sizeof path, "/proc/%s/maps", pid);
	maps = read_whole(path, &len);
	if (maps == NULL)
		return errno == EACCES || errno == EPERM ? -1 : 0;
	has = strstr(maps, SOFTHSM) != NULL;
	free(maps);
	return has;
}

/* The folder of the tokens of this process. */
static bool token_folder(const char *pid, struct stat *folder, char path[PATH_MAX])
{
	static const char option[] = "directories.tokendir";
	char name[300], *environ_text, *conf, *at;
	const char *conf_path = SOFTHSM_DEFAULT;
	size_t len;
	bool found = false;

	snprintf(name, sizeof name, "/proc/%s/environ", pid);
	environ_text = read_whole(name, &len);
	for (at = environ_text; at != NULL && at < environ_text + len; at += strlen(at) + 1)
		if (strncmp(at, SOFTHSM_CONF, sizeof SOFTHSM_CONF - 1) == 0)
			conf_path = at + sizeof SOFTHSM_CONF - 1;
	conf = read_whole(conf_path, &len);
	at = conf == NULL ? NULL : strstr(conf, option);
	if (at != NULL) {
		at += sizeof option - 1;
		at += strspn(at, " \t=");
		at[strcspn(at, "\r\n")] = '\0';
		snprintf(path, PATH_MAX, "%s", at);
		found = stat(path, folder) == 0;
	}
	free(conf);
	free(environ_text);
	return found;
}

/* Would our C_Login write a token there? */
static bool may_write(const char *folder)
{
	char path[PATH_MAX + 300];
	struct dirent *entry;
	bool may = false;
	DIR *d = opendir(folder);

	while (d != NULL && (entry = readdir(d)) != NULL && !may) {
		snprintf(path, sizeof path, "%s/%s/token.object", folder, entry->d_name);
		may = faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) == 0;
	}
	if (d != NULL)
		closedir(d);
	return may;
}

static void name_of(const char *pid, char name[32])
{
	char path[300], *text;
	size_t len;

	snprintf(path, sizeof path, "/proc/%s/comm", pid);
	text = read_whole(path, &len);
	snprintf(name, 32, "%.*s", text == NULL ? 0 : (int)strcspn(text, "\n"),
		text == NULL ? "" : text);
	free(text);
}

/* ERR_KEY_UNAVAILABLE when this process uses the tokens in `ours`. */
static enum err look_at(const char *pid, const struct stat *ours, struct refusal *why)
{
	char path[PATH_MAX], name[32];
	struct stat theirs;
	int has = has_softhsm(pid);

	if (has == 0)
		return ERR_OK;
	name_of(pid, name);
	if (has < 0) {
		if (strcmp(name, "dcsignd-hsm") == 0)
			fprintf(stderr,
				"dcsign keys: process %s (%s) can't be looked at: stop it first if "
				"it uses this token\n",
				pid, name);
		return ERR_OK;
	}
	if (!token_folder(pid, &theirs, path) || theirs.st_dev != ours->st_dev ||
		theirs.st_ino != ours->st_ino)
		return ERR_OK;
	return refuse(why, ERR_KEY_UNAVAILABLE, "token",
		"process %s (%s) uses the same SoftHSM token, and a login writes into it: a "
		"process that starts meanwhile does not see the token, and a crash can lose it; "
		"stop the service, or say --while-running",
		pid, name);
}

enum err hazard_of_others(struct refusal *why)
{
	char folder[PATH_MAX], self[16];
	struct stat ours;
	struct dirent *entry;
	enum err e = ERR_OK;
	DIR *proc;

	snprintf(self, sizeof self, "%d", (int)getpid());
	if (has_softhsm("self") != 1 || !token_folder("self", &ours, folder) || !may_write(folder))
		return ERR_OK;
	proc = opendir("/proc");
	while (proc != NULL && e == ERR_OK && (entry = readdir(proc)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]) && strcmp(entry->d_name, self) != 0)
			e = look_at(entry->d_name, &ours, why);
	if (proc != NULL)
		closedir(proc);
	return e;
}
