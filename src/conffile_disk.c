#include "settings.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conffile.h"
#include "secret.h"

struct disk {
	const char *credentials;
	void (*complain)(void *context, const char *text);
	void *context;
};

/* All of a regular file, with a NUL behind it. */
static enum err read_all(int fd, size_t most, uint8_t **octets, size_t *len)
{
	struct stat st;
	uint8_t *all;
	ssize_t n = 1;

	if (fstat(fd, &st) != 0)
		return ERR_SYSTEM;
	if (!S_ISREG(st.st_mode)) {
		errno = S_ISDIR(st.st_mode) ? EISDIR : EINVAL;
		return ERR_SYSTEM;
	}
	if (st.st_size < 0 || (uint64_t)st.st_size > most) {
		errno = EFBIG;
		return ERR_SYSTEM;
	}
	if ((all = malloc((size_t)st.st_size + 1)) == NULL)
		return ERR_NOMEM;
	for (*len = 0; *len < (size_t)st.st_size && n > 0; *len += n > 0 ? (size_t)n : 0)
		n = read(fd, all + *len, (size_t)st.st_size - *len);
	if (n < 0) {
		free(all);
		return ERR_SYSTEM;
	}
	all[*len] = '\0';
	*octets = all;
	return ERR_OK;
}

static enum err load_file(
	const char *path, size_t most, uint8_t **octets, size_t *len, char *why, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	enum err e = fd < 0 ? ERR_SYSTEM : read_all(fd, most, octets, len);

	if (e != ERR_OK)
		snprintf(why, size, "%s: %s", path, strerror(e == ERR_NOMEM ? ENOMEM : errno));
	if (fd >= 0)
		close(fd);
	return e;
}

static enum err disk_load(
	void *context, const char *path, uint8_t **octets, size_t *len, char *why, size_t size)
{
	(void)context;
	return load_file(path, CONFFILE_FILE_MAX, octets, len, why, size);
}

static enum err disk_there(void *context, const char *path, char *why, size_t size)
{
	struct stat st;

	(void)context;
	if (stat(path, &st) != 0)
		snprintf(why, size, "%s: %s", path, strerror(errno));
	else if (!S_ISREG(st.st_mode))
		snprintf(why, size, "%s: not a regular file", path);
	else
		return ERR_OK;
	return ERR_SYSTEM;
}

static enum err disk_secret(void *context, const char *source, char *why, size_t size)
{
	const struct disk *d = context;
	int fd;
	enum err e = secret_open(&fd, source, d->credentials, why, size);

	if (e == ERR_OK)
		close(fd);
	return e;
}

static void disk_complain(void *context, const char *text)
{
	const struct disk *d = context;

	d->complain(d->context, text);
}

enum err conffile_read(struct config **out, const char *path, const char *credentials,
	void (*complain)(void *context, const char *text), void *context)
{
	struct disk d = {credentials, complain, context};
	const struct conffile_source source = {
		&d, disk_load, disk_secret, disk_there, disk_complain};
	char why[4400] = "", full[PATH_MAX];
	uint8_t *text = NULL;
	size_t len = 0;
	enum err e;

	*out = NULL;
	/* Relative paths must mean the same wherever a child stands. */
	if (realpath(path, full) == NULL) {
		snprintf(why, sizeof why, "%.4000s: %s", path, strerror(errno));
		e = ERR_SYSTEM;
	} else {
		e = load_file(full, CONFFILE_MAX, &text, &len, why, sizeof why);
	}
	if (e != ERR_OK) {
		complain(context, why);
		return e == ERR_NOMEM ? e : ERR_FORMAT;
	}
	e = conffile_parse(out, full, (const char *)text, len, &source);
	free(text);
	return e;
}
