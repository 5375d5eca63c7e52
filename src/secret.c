#include "settings.h"

#include "secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum err open_path(int *fd, const char *path, char *why, size_t size)
{
	/* O_NONBLOCK: a named pipe must not stop us here; it is refused below. */
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (*fd >= 0)
		return ERR_OK;
	snprintf(why, size, "%s: %s", path, strerror(errno));
	return ERR_SYSTEM;
}

static enum err open_credential(
	int *fd, const char *name, const char *folder, char *why, size_t size)
{
	char path[4096];

	if (folder == NULL || folder[0] == '\0') {
		snprintf(why, size,
			"credential '%s': CREDENTIALS_DIRECTORY is not set (the unit needs "
			"LoadCredential=)",
			name);
		return ERR_SYSTEM;
	}
	if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') != NULL ||
		snprintf(path, sizeof path, "%s/%s", folder, name) >= (int)sizeof path) {
		snprintf(why, size, "credential '%s': not a credential's name", name);
		return ERR_FORMAT;
	}
	return open_path(fd, path, why, size);
}

/* Opened again through /proc, so that each child has an offset of its own. */
static enum err open_inherited(int *fd, const char *digits, char *why, size_t size)
{
	char path[64];
	struct stat st;

	if (digits[0] == '\0' || strspn(digits, "0123456789") != strlen(digits) ||
		strlen(digits) > 6) {
		snprintf(why, size, "fd:%s: not a descriptor's number", digits);
		return ERR_FORMAT;
	}
	if (fstat(atoi(digits), &st) != 0) {
		snprintf(why, size, "fd:%s: %s", digits, strerror(errno));
		return ERR_SYSTEM;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(why, size,
			"fd:%s: not a regular file or memfd: a pipe can be read only once", digits);
		return ERR_FORMAT;
	}
	snprintf(path, sizeof path, "/proc/self/fd/%s", digits);
	return open_path(fd, path, why, size);
}

static enum err check(int fd, const char *source, bool strict, char *why, size_t size)
{
	struct stat st;

	if (fstat(fd, &st) != 0) {
		snprintf(why, size, "%s: %s", source, strerror(errno));
		return ERR_SYSTEM;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(why, size, "%s: not a regular file", source);
		return ERR_FORMAT;
	}
	if (st.st_size < 1 || st.st_size > SECRET_MAX) {
		snprintf(why, size, "%s: has %lld octets, expected 1 to %d", source,
			(long long)st.st_size, SECRET_MAX);
		return ERR_FORMAT;
	}
	if (strict && (st.st_mode & 077) != 0) {
		snprintf(why, size,
			"%s: mode %04o lets others than its owner in; chmod it to 0600 or 0400",
			source, (unsigned)st.st_mode & 07777u);
		return ERR_FORMAT;
	}
	return ERR_OK;
}

enum err secret_open(int *fd, const char *source, const char *credentials, char *why, size_t size)
{
	bool strict = false;
	enum err e;

	*fd = -1;
	if (strncmp(source, "file:", 5) == 0) {
		strict = true;
		e = open_path(fd, source + 5, why, size);
	} else if (strncmp(source, "credential:", 11) == 0) {
		e = open_credential(fd, source + 11, credentials, why, size);
	} else if (strncmp(source, "fd:", 3) == 0) {
		e = open_inherited(fd, source + 3, why, size);
	} else {
		snprintf(why, size, "'%s': expected file:PATH, credential:NAME or fd:N", source);
		return ERR_FORMAT;
	}
	if (e == ERR_OK && (e = check(*fd, source, strict, why, size)) != ERR_OK) {
		close(*fd);
		*fd = -1;
	}
	return e;
}
