/*
 * SQLite writes each page of a transaction, and a header before it, to the write-ahead log with a
 * call of its own. Here what follows one another there is put together, and goes to the file when
 * it must: before a sync, a read, a question for the size or a change of it, and the end. All other
 * files are the default's.
 */
#include "sqlite.h"

#include <stdlib.h>
#include <string.h>

#define VFS_NAME     "dcsign"
#define JOURNAL_ROOM (128 << 10) /* octets */

struct journal {
	sqlite3_file base;
	sqlite3_file *real; /* behind this struct */
	uint8_t *octets;    /* JOURNAL_ROOM */
	int len;
	sqlite3_int64 at;
};

static struct journal *of(sqlite3_file *f)
{
	return (struct journal *)(void *)f;
}

/* What can't be written is given up: the transaction that it is of has failed, and may not appear
 * later. */
static int flush(struct journal *j)
{
	int len = j->len;

	j->len = 0;
	return len ? j->real->pMethods->xWrite(j->real, j->octets, len, j->at) : SQLITE_OK;
}

static int journal_write(sqlite3_file *file, const void *octets, int len, sqlite3_int64 at)
{
	struct journal *j = of(file);
	int rc = SQLITE_OK;

	if (j->len && (at != j->at + j->len || len > JOURNAL_ROOM - j->len))
		rc = flush(j);
	if (rc != SQLITE_OK)
		return rc;
	if (len > JOURNAL_ROOM)
		return j->real->pMethods->xWrite(j->real, octets, len, at);
	if (!j->len)
		j->at = at;
	memcpy(j->octets + j->len, octets, (size_t)len);
	j->len += len;
	return SQLITE_OK;
}

static int journal_read(sqlite3_file *file, void *octets, int len, sqlite3_int64 at)
{
	int rc = flush(of(file));

	return rc ? rc : of(file)->real->pMethods->xRead(of(file)->real, octets, len, at);
}

static int journal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
	int rc = flush(of(file));

	return rc ? rc : of(file)->real->pMethods->xTruncate(of(file)->real, size);
}

static int journal_sync(sqlite3_file *file, int flags)
{
	int rc = flush(of(file));

	return rc ? rc : of(file)->real->pMethods->xSync(of(file)->real, flags);
}

static int journal_size(sqlite3_file *file, sqlite3_int64 *size)
{
	int rc = flush(of(file));

	return rc ? rc : of(file)->real->pMethods->xFileSize(of(file)->real, size);
}

static int journal_close(sqlite3_file *file)
{
	struct journal *j = of(file);
	int rc = flush(j), end = j->real->pMethods->xClose(j->real);

	free(j->octets);
	return rc ? rc : end;
}

static int journal_lock(sqlite3_file *file, int level)
{
	return of(file)->real->pMethods->xLock(of(file)->real, level);
}

static int journal_unlock(sqlite3_file *file, int level)
{
	return of(file)->real->pMethods->xUnlock(of(file)->real, level);
}

static int journal_reserved(sqlite3_file *file, int *is)
{
	return of(file)->real->pMethods->xCheckReservedLock(of(file)->real, is);
}

static int journal_control(sqlite3_file *file, int what, void *arg)
{
	return of(file)->real->pMethods->xFileControl(of(file)->real, what, arg);
}

static int journal_sector(sqlite3_file *file)
{
	return of(file)->real->pMethods->xSectorSize(of(file)->real);
}

static int journal_device(sqlite3_file *file)
{
	return of(file)->real->pMethods->xDeviceCharacteristics(of(file)->real);
}

static const sqlite3_io_methods journal_methods = {
	.iVersion = 1, /* no shared memory, no mapping */
	.xClose = journal_close,
	.xRead = journal_read,
	.xWrite = journal_write,
	.xTruncate = journal_truncate,
	.xSync = journal_sync,
	.xFileSize = journal_size,
	.xLock = journal_lock,
	.xUnlock = journal_unlock,
	.xCheckReservedLock = journal_reserved,
	.xFileControl = journal_control,
	.xSectorSize = journal_sector,
	.xDeviceCharacteristics = journal_device,
};

static sqlite3_vfs *original;

static int file_open(
	sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *flags_out)
{
	struct journal *j = of(file);
	int rc;

	(void)vfs;
	if (!(flags & SQLITE_OPEN_WAL))
		return original->xOpen(original, name, file, flags, flags_out);
	memset(j, 0, sizeof(*j));
	j->real = (sqlite3_file *)(void *)(j + 1);
	j->octets = malloc(JOURNAL_ROOM);
	rc = j->octets ? original->xOpen(original, name, j->real, flags, flags_out) : SQLITE_NOMEM;
	if (rc != SQLITE_OK) {
		free(j->octets);
		return rc;
	}
	j->base.pMethods = &journal_methods;
	return SQLITE_OK;
}

const char *sqlite_vfs(void)
{
	static sqlite3_vfs vfs;

	if (original)
		return VFS_NAME;

	sqlite3_vfs *found = sqlite3_vfs_find(NULL);

	if (!found)
		return NULL;
	vfs = *found;
	vfs.pNext = NULL;
	vfs.zName = VFS_NAME;
	vfs.szOsFile += (int)sizeof(struct journal);
	vfs.xOpen = file_open;
	if (sqlite3_vfs_register(&vfs, 0) != SQLITE_OK)
		return NULL;
	original = found;
	return VFS_NAME;
}
