/* For fuzz targets of files: a folder of their own, in memory where there is such a place, and a
 * standard error that does not tell what is wrong in each of a million files. */
#ifndef FUZZ_FILES_H
#define FUZZ_FILES_H

#include "settings.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"

static inline void insist(bool ok)
{
	if (!ok)
		abort();
}

static char fuzz_folder_path[64];

static inline int fuzz_remove(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

static inline void fuzz_folder_remove(void)
{
	nftw(fuzz_folder_path, fuzz_remove, 8, FTW_DEPTH | FTW_PHYS);
}

/* The folder, made at the first call, removed at exit. */
static inline const char *fuzz_folder(void)
{
	if (fuzz_folder_path[0] == '\0') {
		snprintf(fuzz_folder_path, sizeof fuzz_folder_path, "%s/dcsign-fuzz.XXXXXX",
			access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
		insist(mkdtemp(fuzz_folder_path) != NULL);
		atexit(fuzz_folder_remove);
	}
	return fuzz_folder_path;
}

/* The path of a name in it; of the last call alone. */
static inline const char *fuzz_path(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", fuzz_folder(), name);
	return path;
}

static inline void fuzz_write(const char *name, const void *octets, size_t len)
{
	int fd = open(fuzz_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

	insist(fd >= 0 && write(fd, octets, len) == (ssize_t)len);
	close(fd);
}

/* Its octets, cut at size; -1: there is none. */
static inline ssize_t fuzz_read(const char *name, void *octets, size_t size)
{
	int fd = open(fuzz_path(name), O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, octets, size);

	if (fd >= 0)
		close(fd);
	return n;
}

/* What stdio and the log write to standard error goes nowhere; the sanitizers write to its
 * descriptor. */
static inline void fuzz_hush(void)
{
	static FILE *nowhere;

	if (nowhere == NULL) {
		nowhere = fopen("/dev/null", "w");
		insist(nowhere != NULL);
		stderr = nowhere;
		log_open("fuzz", (enum log_level)(LOG_LEVEL_ERROR + 1), false);
	}
}

#endif
