/* A conffile_source without a disk: every file is there and holds the same octets, but for names
 * that begin with "absent"; secrets are good but for names that hold "open-to-all". Complaints are
 * gathered, one a line. */
#ifndef MEMORY_SOURCE_H
#define MEMORY_SOURCE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conffile.h"

static enum err memory_load(
	void *context, const char *path, uint8_t **octets, size_t *len, char *why, size_t size)
{
	const char *name = strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 : path;

	(void)context;
	if (strncmp(name, "absent", 6) == 0) {
		snprintf(why, size, "%s: No such file or directory", path);
		return ERR_SYSTEM;
	}
	*len = 4;
	*octets = (uint8_t *)strdup("PEM\n");
	return *octets != NULL ? ERR_OK : ERR_NOMEM;
}

static enum err memory_secret(void *context, const char *source, char *why, size_t size)
{
	(void)context;
	if (strncmp(source, "file:", 5) != 0 && strncmp(source, "credential:", 11) != 0 &&
		strncmp(source, "fd:", 3) != 0) {
		snprintf(why, size, "expected file:PATH, credential:NAME or fd:N");
		return ERR_FORMAT;
	}
	if (strstr(source, "open-to-all") == NULL)
		return ERR_OK;
	snprintf(why, size, "mode 0644");
	return ERR_FORMAT;
}

static enum err memory_there(void *context, const char *path, char *why, size_t size)
{
	(void)context;
	if (strstr(path, "absent") == NULL)
		return ERR_OK;
	snprintf(why, size, "%s: No such file or directory", path);
	return ERR_SYSTEM;
}

static void memory_complain(void *context, const char *text)
{
	struct buf *out = context;

	buf_text(out, text);
	buf_text(out, "\n");
}

#endif
