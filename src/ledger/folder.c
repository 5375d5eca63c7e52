#include "settings.h"

#include "folder.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Owned by the caller; NULL: no memory. */
static char *folder_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	if (!slash)
		return strdup(".");
	return slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
}

enum err folder_sync(const char *path)
{
	char *folder = folder_of(path);
	int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
	int rc = fd >= 0 ? fsync(fd) : -1;

	free(folder);
	if (fd >= 0)
		close(fd);
	return rc == 0 ? ERR_OK : ERR_SYSTEM;
}

enum err folder_make(const char *path)
{
	char *folder = folder_of(path);
	enum err e = ERR_OK;

	if (!folder)
		return ERR_NOMEM;
	if (mkdir(folder, 0700) != 0 && errno != EEXIST)
		e = ERR_SYSTEM;
	/* One that is there may have been made by a process that was killed before its sync. */
	else if (folder_sync(folder) && errno != EACCES)
		e = ERR_SYSTEM;
	free(folder);
	return e;
}
