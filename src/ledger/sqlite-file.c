#include "settings.h"

#include "sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"

#define FORMAT_VERSION "3"
#define FORMAT_BEFORE  2	 /* lacks only the table `pending` */
#define RESERVE	       (8 << 20) /* octets kept back on the disk */
#define TIDY_PAGES     1000	 /* of 4 KiB: how long the write-ahead log may grow */

static const char *const sql[STATEMENT_COUNT] = {
#define STATEMENT_TEXT(name, text) text,
	STATEMENTS(STATEMENT_TEXT)
#undef STATEMENT_TEXT
};

/* EXCLUSIVE comes before WAL, so that there is no shared memory; the log is folded in by tidy
 * alone, so that an error of its syncs is seen. */
static const char settings[] = "PRAGMA locking_mode = EXCLUSIVE;"
			       "PRAGMA journal_mode = WAL;"
			       "PRAGMA synchronous = FULL;"
			       "PRAGMA wal_autocheckpoint = 0;"
			       "PRAGMA temp_store = MEMORY;"
			       "PRAGMA cache_size = -4096;"
			       "PRAGMA trusted_schema = OFF;";

static const char schema[] =
	"BEGIN EXCLUSIVE;"
	"CREATE TABLE IF NOT EXISTS chains (chain TEXT PRIMARY KEY NOT NULL, size INTEGER NOT NULL,"
	" edge BLOB NOT NULL, root BLOB NOT NULL, last_time INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS records (chain TEXT NOT NULL, idx INTEGER NOT NULL,"
	" record TEXT NOT NULL, leaf_hash BLOB NOT NULL, PRIMARY KEY (chain, idx));"
	"CREATE TABLE IF NOT EXISTS attempts (id TEXT NOT NULL, attempt INTEGER NOT NULL,"
	" chain TEXT NOT NULL, idx INTEGER NOT NULL, issued INTEGER NOT NULL, key TEXT NOT NULL,"
	" client TEXT NOT NULL, spki_sha256 BLOB NOT NULL, expiry INTEGER NOT NULL,"
	" idempotency TEXT NOT NULL, PRIMARY KEY (id, attempt)) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS attempts_open ON attempts (chain, idx) WHERE issued < 0;"
	"CREATE INDEX IF NOT EXISTS attempts_key ON attempts (key, expiry);"
	"CREATE INDEX IF NOT EXISTS attempts_client ON attempts (client, expiry);"
	"DROP INDEX IF EXISTS attempts_spki;"
	"DROP INDEX IF EXISTS attempts_shared;"
	"CREATE INDEX IF NOT EXISTS attempts_holders ON attempts (idx >> 12,"
	" substr(spki_sha256, 1, 8), client, expiry);"
	"CREATE INDEX IF NOT EXISTS attempts_expiry ON attempts (expiry) WHERE issued >= 0;"
	"CREATE TABLE IF NOT EXISTS counts (kind TEXT NOT NULL, name TEXT NOT NULL,"
	" live INTEGER NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS idempotency (client TEXT NOT NULL, key TEXT NOT NULL,"
	" name TEXT NOT NULL, request_sha256 BLOB NOT NULL, time INTEGER NOT NULL,"
	" id TEXT NOT NULL, chain TEXT NOT NULL, authorised INTEGER NOT NULL,"
	" issued INTEGER NOT NULL, PRIMARY KEY (client, key, name)) WITHOUT ROWID;"
	"CREATE INDEX IF NOT EXISTS idempotency_time ON idempotency (time);"
	"CREATE TABLE IF NOT EXISTS holds (key TEXT NOT NULL, client TEXT NOT NULL,"
	" reason TEXT NOT NULL, PRIMARY KEY (key, client)) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS nodes (chain TEXT NOT NULL, level INTEGER NOT NULL,"
	" idx INTEGER NOT NULL, hash BLOB NOT NULL, PRIMARY KEY (chain, level, idx))"
	" WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS checkpoints (chain TEXT PRIMARY KEY NOT NULL,"
	" note TEXT NOT NULL) WITHOUT ROWID;"
	"CREATE TABLE IF NOT EXISTS credentials (number INTEGER PRIMARY KEY, id TEXT NOT NULL,"
	" chain TEXT NOT NULL, authorised INTEGER NOT NULL, issued INTEGER NOT NULL,"
	" key TEXT NOT NULL, client TEXT NOT NULL, expiry INTEGER NOT NULL,"
	" time INTEGER NOT NULL);"
	"CREATE INDEX IF NOT EXISTS credentials_id ON credentials (id);"
	"CREATE TABLE IF NOT EXISTS pending (number INTEGER PRIMARY KEY, done BLOB NOT NULL);"
	"PRAGMA user_version = " FORMAT_VERSION ";"
	"COMMIT;";

enum err sqlite_err(struct sqlite *s, int rc)
{
	int no = s->db ? sqlite3_system_errno(s->db) : errno;
	bool full = rc == SQLITE_FULL ||
		    (rc == SQLITE_IOERR_WRITE && (no == ENOSPC || no == EFBIG || no == EDQUOT));

	if (rc == SQLITE_OK || rc == SQLITE_DONE || rc == SQLITE_ROW)
		return ERR_OK;
	if (full)
		return ERR_NO_ROOM;
	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return ERR_TIMEOUT;
	case SQLITE_CANTOPEN:
	case SQLITE_PERM:
	case SQLITE_READONLY:
		return ERR_NOT_FOUND;
	case SQLITE_NOMEM:
		return ERR_NOMEM;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
	case SQLITE_CONSTRAINT:
	case SQLITE_ERROR:
		return ERR_FORMAT;
	default:
		return ERR_SYSTEM;
	}
}

const char *sqlite_text(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;

	if (s->why[0])
		return s->why;
	return s->db ? sqlite3_errmsg(s->db) : "out of memory";
}

static int journal_grown(void *arg, sqlite3 *db, const char *name, int pages)
{
	(void)db;
	(void)name;
	((struct sqlite *)arg)->journal_pages = pages;
	return SQLITE_OK;
}

struct sqlite *sqlite_new(const char *path)
{
	struct sqlite *s = calloc(1, sizeof(*s));

	/* nobody asks how much memory SQLite holds: no lock for each piece of it */
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
	if (!s)
		return NULL;
	s->store.engine = &store_sqlite;
	pending_init(&s->pending);
	s->path = strdup(path);
	if (s->path)
		return s;
	free(s);
	return NULL;
}

enum err sqlite_prepare(struct sqlite *s)
{
	int rc = SQLITE_OK;

	for (int i = 0; i < STATEMENT_COUNT && rc == SQLITE_OK; i++)
		rc = sqlite3_prepare_v3(
			s->db, sql[i], -1, SQLITE_PREPARE_PERSISTENT, &s->statement[i], NULL);
	return sqlite_err(s, rc);
}

enum err sqlite_version_check(
	struct sqlite *s, const char *path, bool may_be_new, struct refusal *why)
{
	sqlite3_stmt *st = NULL;
	const int mine = atoi(FORMAT_VERSION);
	int version = -1;
	int rc = sqlite3_prepare_v2(s->db, "PRAGMA user_version", -1, &st, NULL);

	if (rc == SQLITE_OK && (rc = sqlite3_step(st)) == SQLITE_ROW)
		version = sqlite3_column_int(st, 0);
	sqlite3_finalize(st);
	if (version < 0)
		return refuse(
			why, sqlite_err(s, rc), "ledger", "%s: %s", path, sqlite3_errmsg(s->db));
	if (version == mine || (may_be_new && (!version || version == FORMAT_BEFORE)))
		return ERR_OK;
	if (version == FORMAT_BEFORE)
		return refuse(why, ERR_FORMAT, "ledger",
			"%s has the format of an older version (%d, not %d): `dcsign ledger init` "
			"brings it, or a copy, up to date, and so does a start of dcsignd",
			path, version, mine);
	return refuse(why, ERR_FORMAT, "ledger",
		"%s is not a ledger that this version can read (its format is %d, not %d)%s", path,
		version, mine, version > mine ? ": a newer version made it" : "");
}

/* ---- the files are where they were ---- */

static enum err file_check(struct sqlite *s, const char *suffix, struct sqlite_file *f)
{
	char path[4200];
	struct stat st;
	const char *what = NULL;

	snprintf(path, sizeof(path), "%s%s", s->path, suffix);
	if (stat(path, &st) != 0)
		what = "is not there any more";
	else if (f->ino && (st.st_ino != f->ino || st.st_dev != f->dev))
		what = "is another file than the one that was opened";
	else if (!(st.st_mode & S_IWUSR))
		what = "must not be written any more";
	if (what) {
		snprintf(s->why, sizeof(s->why), "%.100s %s", path, what);
		return ERR_SYSTEM;
	}
	*f = (struct sqlite_file){st.st_dev, st.st_ino};
	return ERR_OK;
}

enum err sqlite_in_place(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;
	enum err e = file_check(s, "", &s->file);

	return e ? e : file_check(s, "-wal", &s->journal);
}

/* A ledger whose file is gone must not begin anew: what stands beside it says that it was there. */
static enum err lost_check(const struct sqlite *s, struct refusal *why)
{
	char beside[4200];

	snprintf(beside, sizeof(beside), "%s-reserve", s->path);
	if (access(s->path, F_OK) == 0 || access(beside, F_OK) != 0)
		return ERR_OK;
	return refuse(why, ERR_FORMAT, "ledger",
		"%s is gone, and %s is there: put the ledger back; to begin a new one, remove that "
		"file",
		s->path, beside);
}

static enum err sqlite_set_up(struct sqlite *s, struct refusal *why)
{
	enum err e = lost_check(s, why);

	if (e)
		return e;

	int rc = sqlite3_open_v2(s->path, &s->db,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
			SQLITE_OPEN_EXRESCODE,
		sqlite_vfs());

	if (rc == SQLITE_OK)
		rc = sqlite3_exec(s->db, settings, NULL, NULL, NULL);
	if (rc == SQLITE_OK) {
		e = sqlite_version_check(s, s->path, true, why);
		if (e)
			return e;
		rc = sqlite3_exec(s->db, schema, NULL, NULL, NULL);
	}
	e = sqlite_err(s, rc);
	if (e == ERR_TIMEOUT)
		return refuse(why, e, "ledger", "another process holds %s", s->path);
	if (!e)
		e = sqlite_prepare(s);
	if (!e)
		e = sqlite_holders_find(s);
	if (!e)
		e = sqlite_pending_load(s);
	if (!e)
		e = file_check(s, "", &s->file);
	if (!e && folder_sync(s->path))
		return refuse(why, ERR_SYSTEM, "ledger", "the folder of %s can't be synced: %s",
			s->path, strerror(errno));
	if (e)
		return refuse(why, e, "ledger", "%s: %s", s->path, sqlite_text(&s->store));
	sqlite3_wal_hook(s->db, journal_grown, s);
	return ERR_OK;
}

enum err sqlite_open(struct store **out, const char *path, struct refusal *why)
{
	enum err e = folder_make(path);
	struct sqlite *s;

	if (e == ERR_SYSTEM)
		return refuse(why, ERR_NOT_FOUND, "ledger", "the folder of %s can't be made: %s",
			path, strerror(errno));
	if (e)
		return e;
	s = sqlite_new(path);
	if (!s)
		return ERR_NOMEM;
	e = sqlite_set_up(s, why);
	if (e)
		sqlite_abandon(&s->store);
	else
		*out = &s->store;
	return e;
}

enum err sqlite_init(const char *path, const char *writer, const char *reader, struct refusal *why)
{
	struct store *s;
	enum err e = writer || reader ? refuse(why, ERR_NOT_FOUND, "ledger",
						"a file has no roles: it belongs to its user")
				      : sqlite_open(&s, path, why);

	if (!e && (e = sqlite_stop(s)))
		refuse(why, e, "ledger", "%s can't be closed", path);
	return e;
}

static void sqlite_free(struct sqlite *s)
{
	if (s->copy)
		sqlite_copy_remove(s);
	pending_free(&s->pending);
	holders_free(&s->holders);
	free(s->path);
	free(s);
}

void sqlite_abandon(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;

	for (int i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(s->statement[i]);
	if (s->db)
		sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_close_v2(s->db);
	sqlite_free(s);
}

enum err sqlite_tidy(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;
	enum err e = sqlite_holders_read(s);

	if (e || s->journal_pages < TIDY_PAGES)
		return e;
	s->journal_pages = 0;
	e = sqlite_err(
		s, sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL));
	return e == ERR_NO_ROOM ? ERR_OK : e;
}

enum err sqlite_stop(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;
	enum err e = sqlite_settle(s);
	int rc;

	if (!e) {
		rc = sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
		e = sqlite_err(s, rc);
	}
	if (e) { /* closing would try the sync again, and drop the journal when that one is good */
		sqlite_abandon(store);
		return e;
	}
	for (int i = 0; i < STATEMENT_COUNT; i++)
		sqlite3_finalize(s->statement[i]);
	rc = sqlite3_close(s->db);
	if (rc != SQLITE_OK)
		e = ERR_SYSTEM;
	if (!e)
		e = folder_sync(s->path);
	sqlite_free(s);
	return e;
}

static int reserve_file(struct store *store)
{
	char *path = NULL;
	int fd = -1;

	if (asprintf(&path, "%s-reserve", ((struct sqlite *)store)->path) > 0)
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	free(path);
	return fd;
}

bool sqlite_reserve_fill(struct store *store)
{
	int fd = reserve_file(store);

	if (fd < 0)
		return false;

	bool ok = posix_fallocate(fd, 0, RESERVE) == 0;

	/* What a failed attempt took would be missing elsewhere. */
	if (!ok && ftruncate(fd, 0) != 0)
		ok = false;
	close(fd);
	return ok;
}

void sqlite_reserve_spend(struct store *store)
{
	int fd = reserve_file(store);

	if (fd < 0)
		return;
	if (ftruncate(fd, 0) == 0)
		fsync(fd);
	close(fd);
}

uint64_t sqlite_octets(struct store *store)
{
	struct sqlite *s = (struct sqlite *)store;
	struct stat st;
	uint64_t sum = 0;
	char *journal = NULL;

	if (stat(s->path, &st) == 0)
		sum += (uint64_t)st.st_size;
	if (asprintf(&journal, "%s-wal", s->path) > 0 && stat(journal, &st) == 0)
		sum += (uint64_t)st.st_size;
	free(journal);
	return sum;
}
