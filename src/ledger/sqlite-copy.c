#include "settings.h"

#include "sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

/* Any lock at all: a daemon holds SQLite's lock bytes for writing as long as it lives. */
static bool held(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	return fcntl(fd, F_GETLK, &lock) != 0 || lock.l_type != F_UNLCK;
}

static enum err file_copy(const char *from, const char *folder, const char *name)
{
	char *to = NULL;
	int in = open(from, O_RDONLY | O_CLOEXEC), out = -1;
	ssize_t n = -1;

	if (in >= 0 && asprintf(&to, "%s/%s", folder, name) > 0)
		out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	while (out >= 0 && (n = sendfile(out, in, NULL, 1u << 30)) > 0)
		;
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	free(to);
	return n == 0 ? ERR_OK : ERR_SYSTEM;
}

static const char *const copy_names[] = {"ledger", "ledger-wal"};

/* What a daemon left behind when it was killed is in the write-ahead log; SQLite folds that in when
 * it opens the file, so it gets a copy to do so. */
static enum err copy_make(struct sqlite *s, const char *journal, struct refusal *why)
{
	const char *base = getenv("TMPDIR");
	char *folder = NULL, *path = NULL;

	if (asprintf(&folder, "%s/dcsign-ledger-XXXXXX", base && *base ? base : "/tmp") < 0)
		return ERR_NOMEM;
	if (!mkdtemp(folder)) {
		enum err e = refuse(
			why, ERR_SYSTEM, "TMPDIR", "no folder %s: %s", folder, strerror(errno));
		free(folder);
		return e;
	}
	s->copy = folder;
	if (file_copy(s->path, folder, copy_names[0]) || file_copy(journal, folder, copy_names[1]))
		return refuse(why, ERR_SYSTEM, "TMPDIR",
			"%s was not stopped in order and can't be copied to %s to be read: %s",
			s->path, folder, strerror(errno));
	if (asprintf(&path, "%s/%s", folder, copy_names[0]) < 0)
		return ERR_NOMEM;
	free(s->path);
	s->path = path;
	return ERR_OK;
}

void sqlite_copy_remove(struct sqlite *s)
{
	char *path;

	for (unsigned i = 0; i < 2; i++) {
		if (asprintf(&path, "%s/%s", s->copy, copy_names[i]) > 0) {
			unlink(path);
			free(path);
		}
	}
	rmdir(s->copy);
	free(s->copy);
}

/* The path as a file: URI. */
static char *uri_of(const char *path, const char *query)
{
	struct buf b = BUF_INIT(65536);

	buf_text(&b, "file:");
	for (const char *p = path; *p; p++) {
		if (strchr("%?#", *p))
			buf_printf(&b, "%%%02x", (unsigned char)*p);
		else
			buf_u8(&b, (uint8_t)*p);
	}
	buf_text(&b, query);
	if (!buf_cstr(&b))
		buf_free(&b);
	return (char *)b.octets;
}

static enum err copy_set_up(struct sqlite *s, const char *path, struct refusal *why)
{
	int fd = open(s->path, O_RDONLY | O_CLOEXEC);
	char *journal = NULL, *uri = NULL;
	struct stat st;
	enum err e = ERR_OK;

	if (fd < 0)
		return refuse(why, ERR_NOT_FOUND, "ledger", "%s: %s", s->path, strerror(errno));
	if (held(fd))
		e = refuse(why, ERR_TIMEOUT, "ledger",
			"%s is in use by a running dcsignd: stop it, or give a copy", s->path);
	close(fd);
	if (!e && asprintf(&journal, "%s-wal", s->path) < 0)
		return ERR_NOMEM;
	if (!e && stat(journal, &st) == 0 && st.st_size > 0)
		e = copy_make(s, journal, why);
	free(journal);
	if (e)
		return e;
	uri = uri_of(s->path, s->copy ? "" : "?immutable=1");
	if (!uri)
		return ERR_NOMEM;

	int rc = sqlite3_open_v2(uri, &s->db,
		(s->copy ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_URI |
			SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
		NULL);

	free(uri);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(s->db, "PRAGMA locking_mode = EXCLUSIVE;", NULL, NULL, NULL);
	if (rc == SQLITE_OK) {
		e = sqlite_version_check(s, path, false, why);
		if (e)
			return e;
		e = sqlite_prepare(s);
		if (!e)
			e = sqlite_holders_find(s);
		if (!e)
			e = sqlite_pending_load(s);
		return e ? refuse(why, e, "ledger", "%s: %s", s->path, sqlite_text(&s->store)) : e;
	}
	return refuse(why, sqlite_err(s, rc), "ledger", "%s: %s", s->path, sqlite_text(&s->store));
}

enum err sqlite_open_copy(struct store **out, const char *path, struct refusal *why)
{
	struct sqlite *s = sqlite_new(path);
	enum err e = s ? copy_set_up(s, path, why) : ERR_NOMEM;

	if (e && s)
		sqlite_abandon(&s->store);
	else if (!e)
		*out = &s->store;
	return e;
}
