/*
 * powercut.so: LD_PRELOAD recorder of what a process does to the files under POWERCUT_FOLDER, in
 * the order in which it does it, appended to the file POWERCUT_TRACE. One thread writes.
 * POWERCUT_ROOM: a file with a number: more octets than that the files together can't have.
 * POWERCUT_SYNC: from when that file is there, this sync (1, 2 ...) fails with EIO, and no later
 * one.
 */
#define _GNU_SOURCE
#include "powercut.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FILES 4096

static int trace = -1;
static const char *folder;
static uint64_t known[FILES]; /* inode numbers under the folder */
static uint64_t sizes[FILES]; /* of these, in octets */
static unsigned long sync_fails, syncs;
static size_t known_count;

static void fail(const char *what)
{
	fprintf(stderr, "powercut: %s: %s\n", what, strerror(errno));
	abort();
}

static void put(uint32_t type, uint64_t file, uint64_t at, const void *path, size_t path_len,
	const void *octets, size_t len)
{
	static uint8_t event[(1 << 18) + 16384];
	struct powercut_head h = {type, (uint32_t)path_len, file, at, len};
	size_t all = sizeof(h) + path_len + len;
	int error = errno;

	if (trace < 0)
		return;
	if (all > sizeof(event))
		fail("an event is too long");
	memcpy(event, &h, sizeof(h));
	if (path_len)
		memcpy(event + sizeof(h), path, path_len);
	if (len)
		memcpy(event + sizeof(h) + path_len, octets, len);
	if (syscall(SYS_write, trace, event, all) != (long)all)
		fail("the trace can't be written");
	errno = error;
}

__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("POWERCUT_TRACE");

	folder = getenv("POWERCUT_FOLDER");
	if (getenv("POWERCUT_SYNC"))
		sync_fails = strtoul(getenv("POWERCUT_SYNC"), NULL, 10);
	if (!path || !folder)
		return;
	trace = (int)syscall(
		SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (trace < 0)
		fail(path);
	put(POWERCUT_BEGIN, 0, 0, NULL, 0, NULL, 0);
}

static int inside(const char *path)
{
	size_t len = folder ? strlen(folder) : 0;

	return trace >= 0 && len && strncmp(path, folder, len) == 0 &&
	       (path[len] == '/' || !path[len]);
}

static uint64_t number(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static int knows(uint64_t file)
{
	for (size_t i = 0; i < known_count; i++) {
		if (known[i] == file)
			return 1;
	}
	return 0;
}

static void learn(uint64_t file)
{
	if (knows(file))
		return;
	if (known_count == FILES)
		fail("too many files");
	known[known_count++] = file;
}

/* ---- room ---- */

static void size_note(int fd)
{
	struct stat st;

	for (size_t i = 0; fstat(fd, &st) == 0 && i < known_count; i++) {
		if (known[i] == st.st_ino)
			sizes[i] = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	}
}

static uint64_t limit(void)
{
	const char *path = getenv("POWERCUT_ROOM");
	char text[32] = "";
	int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY) : -1;
	long n = fd < 0 ? 0 : syscall(SYS_read, fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 ? strtoull(text, NULL, 10) : UINT64_MAX;
}

/* May the file get this size? */
static int room_for(int fd, uint64_t size)
{
	uint64_t sum = 0, now = 0;
	struct stat st;

	if (fstat(fd, &st) != 0 || !knows(st.st_ino) || (uint64_t)st.st_size >= size)
		return 1;
	now = (uint64_t)st.st_size;
	for (size_t i = 0; i < known_count; i++)
		sum += sizes[i];
	if (sum - now + size <= limit())
		return 1;
	errno = ENOSPC;
	return 0;
}

/* ---- files ---- */

static int file_open(int at, const char *path, int flags, mode_t mode)
{
	struct stat st;
	int there = inside(path) && stat(path, &st) == 0;
	int fd = (int)syscall(SYS_openat, at, path, flags, mode);

	if (fd < 0 || !inside(path))
		return fd;
	learn(number(fd));
	size_note(fd);
	put(there ? POWERCUT_OPEN : POWERCUT_MAKE, number(fd), 0, path, strlen(path), NULL, 0);
	if (there && (flags & O_TRUNC))
		put(POWERCUT_SIZE, number(fd), 0, NULL, 0, NULL, 0);
	return fd;
}

#define MODE_OF(flags, mode)                                                                       \
	mode_t mode = 0;                                                                           \
	if ((flags) & (O_CREAT | O_TMPFILE)) {                                                     \
		va_list ap;                                                                        \
		va_start(ap, flags);                                                               \
		mode = va_arg(ap, mode_t);                                                         \
		va_end(ap);                                                                        \
	}

int open(const char *path, int flags, ...)
{
	MODE_OF(flags, mode)
	return file_open(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...)
{
	MODE_OF(flags, mode)
	return file_open(AT_FDCWD, path, flags, mode);
}

int openat(int at, const char *path, int flags, ...)
{
	MODE_OF(flags, mode)
	return file_open(at, path, flags, mode);
}

int openat64(int at, const char *path, int flags, ...)
{
	MODE_OF(flags, mode)
	return file_open(at, path, flags, mode);
}

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);

int __open_2(const char *path, int flags)
{
	return file_open(AT_FDCWD, path, flags, 0);
}

int __open64_2(const char *path, int flags)
{
	return file_open(AT_FDCWD, path, flags, 0);
}

ssize_t pwrite64(int fd, const void *octets, size_t len, off64_t at)
{
	if (!room_for(fd, (uint64_t)at + len))
		return -1;

	ssize_t n = syscall(SYS_pwrite64, fd, octets, len, at);

	size_note(fd);
	if (n > 0 && knows(number(fd)))
		put(POWERCUT_WRITE, number(fd), (uint64_t)at, NULL, 0, octets, (size_t)n);
	return n;
}

ssize_t pwrite(int fd, const void *octets, size_t len, off_t at)
{
	return pwrite64(fd, octets, len, at);
}

ssize_t write(int fd, const void *octets, size_t len)
{
	int ours = fd != trace && knows(number(fd));
	off_t at = ours ? lseek(fd, 0, SEEK_CUR) : 0;

	if (ours && !room_for(fd, (uint64_t)at + len))
		return -1;

	ssize_t n = syscall(SYS_write, fd, octets, len);

	if (ours)
		size_note(fd);

	if (n > 0 && ours)
		put(POWERCUT_WRITE, number(fd), (uint64_t)at, NULL, 0, octets, (size_t)n);
	return n;
}

static int resized(int fd, int rc, uint32_t type, uint64_t size)
{
	size_note(fd);
	if (rc == 0 && knows(number(fd)))
		put(type, number(fd), size, NULL, 0, NULL, 0);
	return rc;
}

int ftruncate64(int fd, off64_t size)
{
	return resized(fd, (int)syscall(SYS_ftruncate, fd, size), POWERCUT_SIZE, (uint64_t)size);
}

int ftruncate(int fd, off_t size)
{
	return ftruncate64(fd, size);
}

int posix_fallocate64(int fd, off64_t at, off64_t len)
{
	if (!room_for(fd, (uint64_t)(at + len)))
		return ENOSPC;

	int rc = syscall(SYS_fallocate, fd, 0, at, len) == 0 ? 0 : errno;

	return resized(fd, rc, POWERCUT_ROOM, (uint64_t)(at + len));
}

int posix_fallocate(int fd, off_t at, off_t len)
{
	return posix_fallocate64(fd, at, len);
}

static int sync_fail(int fd)
{
	if (!sync_fails || !knows(number(fd)) || !getenv("POWERCUT_ROOM") ||
		access(getenv("POWERCUT_ROOM"), F_OK) != 0 || ++syncs != sync_fails)
		return 0;
	put(POWERCUT_FAILED, number(fd), 0, NULL, 0, NULL, 0);
	errno = EIO;
	return 1;
}

int fsync(int fd)
{
	if (sync_fail(fd))
		return -1;
	return resized(fd, (int)syscall(SYS_fsync, fd), POWERCUT_SYNC, 0);
}

int fdatasync(int fd)
{
	if (sync_fail(fd))
		return -1;
	return resized(fd, (int)syscall(SYS_fdatasync, fd), POWERCUT_SYNC, 0);
}

int mkdir(const char *path, mode_t mode)
{
	int rc = (int)syscall(SYS_mkdir, path, mode);
	struct stat st;

	if (rc == 0 && inside(path) && stat(path, &st) == 0) {
		learn(st.st_ino);
		put(POWERCUT_FOLDER, st.st_ino, 0, path, strlen(path), NULL, 0);
	}
	return rc;
}

int unlink(const char *path)
{
	struct stat st;
	int there = inside(path) && stat(path, &st) == 0;
	int rc = (int)syscall(SYS_unlink, path);

	for (size_t i = 0; rc == 0 && there && i < known_count; i++)
		sizes[i] = known[i] == st.st_ino ? 0 : sizes[i];
	if (rc == 0 && inside(path))
		put(POWERCUT_UNLINK, 0, 0, path, strlen(path), NULL, 0);
	return rc;
}

int rename(const char *from, const char *to)
{
	int rc = (int)syscall(SYS_rename, from, to);
	char both[8192];
	int len = snprintf(both, sizeof(both), "%s%c%s", from, 0, to);

	if (rc == 0 && inside(to))
		put(POWERCUT_RENAME, 0, 0, both, (size_t)len, NULL, 0);
	return rc;
}

ssize_t sendmsg(int fd, const struct msghdr *m, int flags)
{
	char octets[1 << 18];
	size_t len = 0;

	for (size_t i = 0; i < m->msg_iovlen; i++) {
		if (m->msg_iov[i].iov_len > sizeof(octets) - len)
			fail("a message is too long");
		memcpy(octets + len, m->msg_iov[i].iov_base, m->msg_iov[i].iov_len);
		len += m->msg_iov[i].iov_len;
	}
	put(POWERCUT_SAID, 0, 0, NULL, 0, octets, len);
	return syscall(SYS_sendmsg, fd, m, flags);
}

ssize_t send(int fd, const void *octets, size_t len, int flags)
{
	put(POWERCUT_SAID, 0, 0, NULL, 0, octets, len);
	return syscall(SYS_sendto, fd, octets, len, flags, NULL, 0);
}
