#include "settings.h"

#include "agent_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "keygen.h"
#include "request.h"

#define PENDING	     ".pending"
#define PENDING_NEXT ".pending.next"
#define RELOAD	     ".reload"
#define LOCK	     ".lock"

static enum err system_failed(struct refusal *why, const char *what, const char *name)
{
	return refuse(why, ERR_SYSTEM, "", "%s %s: %s", what, name, strerror(errno));
}

int agent_folder_open(const char *path, int *lock, struct refusal *why)
{
	int folder;

	*lock = -1;
	if (mkdir(path, 0755) != 0 && errno != EEXIST) {
		system_failed(why, "can't make the folder", path);
		return -1;
	}
	folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder >= 0)
		*lock = openat(folder, LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*lock >= 0 && flock(*lock, LOCK_EX | LOCK_NB) == 0)
		return folder;
	if (*lock >= 0 && errno == EWOULDBLOCK)
		refuse(why, ERR_SYSTEM, "output",
			"%s: another dcsign agent looks after this folder", path);
	else
		system_failed(why, "can't open and lock", path);
	if (*lock >= 0)
		close(*lock);
	if (folder >= 0)
		close(folder);
	*lock = -1;
	return -1;
}

char *agent_wish(const struct agent_credential *c)
{
	char *line = NULL;
	int n = asprintf(&line,
		"service=%s key=%s algorithm=%s role=%s lifetime=%" PRId64
		" formats=%x uid=%ld gid=%ld mode=%o",
		c->service_name, c->key, c->scheme->name, dc_role_name(c->role), c->lifetime,
		c->formats, c->uid == (uid_t)-1 ? -1L : (long)c->uid,
		c->gid == (gid_t)-1 ? -1L : (long)c->gid, (unsigned)c->mode);
	return n < 0 ? NULL : line;
}

enum err pending_make(
	struct agent_pending *p, const struct agent_credential *c, int64_t now, struct refusal *why)
{
	struct request r = {
		.key = c->key,
		.new_key = c->scheme->name,
		.lifetime = c->lifetime ? "" : NULL, /* seconds says it */
		.seconds = c->lifetime,
		.reference = c->reference,
		.asked.role = c->role,
		.csr_pem = BUF_INIT(2 * FORMAT_FILE_MAX),
		.spki = BUF_INIT(FORMAT_FILE_MAX),
	};
	uint8_t random[16];
	enum err e = request_key(&r, why);

	*p = (struct agent_pending){.made_at = now, .spki = BUF_INIT(SPKI_MAX)};
	if (e)
		goto out;
	e = ERR_NOMEM;
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		goto out;
	hex_encode(p->id, random, sizeof random);
	p->wish = agent_wish(c);
	p->body = request_body(&r);
	buf_put(&p->spki, r.spki.octets, r.spki.len);
	p->key = r.made;
	r.made = NULL;
	e = p->wish && p->body ? p->spki.err : ERR_NOMEM;
out:
	request_free(&r);
	return e ? refuse(why, e, "", "the request can't be made: %s", err_text(e)) : ERR_OK;
}

void pending_free(struct agent_pending *p)
{
	EVP_PKEY_free(p->key);
	free(p->wish);
	free(p->body);
	buf_free(&p->spki);
	*p = (struct agent_pending){0};
}

/* The whole file; ERR_NOT_FOUND when there is none. */
static enum err read_file(struct buf *out, int folder, const char *name)
{
	int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	uint8_t part[8192];
	ssize_t n = 0;

	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM;
	while (!out->err && (n = read(fd, part, sizeof part)) > 0)
		buf_put(out, part, (size_t)n);
	OPENSSL_cleanse(part, sizeof part);
	close(fd);
	return n < 0 ? ERR_SYSTEM : out->err;
}

static EVP_PKEY *key_of_pem(const char *pem, size_t len)
{
	BIO *bio = BIO_new_mem_buf(pem, (int)len);
	EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
	BIO_free(bio);
	return key;
}

static enum err spki_of_key(struct buf *out, EVP_PKEY *key)
{
	unsigned char *der = NULL;
	int len = key ? i2d_PUBKEY(key, &der) : -1;
	if (len > 0)
		buf_put(out, der, (size_t)len);
	OPENSSL_free(der);
	return len > 0 ? out->err : ERR_FORMAT;
}

static const char *text_of(const json_t *o, const char *name)
{
	const char *s = json_string_value(json_object_get(o, name));
	return s ? s : "";
}

enum err pending_load(struct agent_pending *p, int folder)
{
	struct buf file = BUF_INIT(FORMAT_FILE_MAX);
	enum err e = read_file(&file, folder, PENDING);
	json_t *o = NULL;

	*p = (struct agent_pending){.spki = BUF_INIT(SPKI_MAX)};
	if (e)
		goto out;
	e = ERR_FORMAT;
	o = json_loadb((const char *)file.octets, file.len, JSON_REJECT_DUPLICATES, NULL);
	p->wish = strdup(text_of(o, "wish"));
	p->body = strdup(text_of(o, "body"));
	p->made_at = json_integer_value(json_object_get(o, "made_at"));
	p->key = key_of_pem(text_of(o, "key"), strlen(text_of(o, "key")));
	if (!p->wish || !p->body || !*p->body || strlen(text_of(o, "id")) != sizeof p->id - 1)
		goto out;
	memcpy(p->id, text_of(o, "id"), sizeof p->id);
	e = spki_of_key(&p->spki, p->key);
out:
	json_decref(o);
	buf_wipe(&file);
	return e;
}

static bool write_all(int fd, const void *octets, size_t len)
{
	const char *at = octets;
	while (len) {
		ssize_t n = write(fd, at, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += n, len -= (size_t)n;
	}
	return true;
}

/* Written beside, flushed, renamed, the folder flushed. */
enum err agent_file_write(
	int folder, const char *name, const char *next, const void *octets, size_t len)
{
	int fd;
	bool ok;

	unlinkat(folder, next, 0);
	fd = openat(folder, next, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ok = fd >= 0 && write_all(fd, octets, len) && fsync(fd) == 0;
	if (fd >= 0)
		close(fd);
	ok = ok && renameat(folder, next, folder, name) == 0 && fsync(folder) == 0;
	return ok ? ERR_OK : ERR_SYSTEM;
}

enum err pending_save(const struct agent_pending *p, int folder, struct refusal *why)
{
	struct buf pem = BUF_INIT(65536);
	enum err e = keygen_private_pem(&pem, p->key);
	char *text = NULL;
	json_t *o = e || !buf_cstr(&pem)
			    ? NULL
			    : json_pack("{s:s, s:s, s:s, s:s, s:I}", "id", p->id, "wish", p->wish,
				      "body", p->body, "key", buf_cstr(&pem), "made_at",
				      (json_int_t)p->made_at);

	if (o)
		text = json_dumps(o, JSON_COMPACT);
	if (!text)
		e = refuse(why, ERR_NOMEM, "", "the renewal can't be written down");
	else if (agent_file_write(folder, PENDING, PENDING_NEXT, text, strlen(text)) != ERR_OK)
		e = system_failed(why, "can't write", PENDING);
	if (text)
		OPENSSL_cleanse(text, strlen(text));
	free(text);
	json_decref(o);
	buf_wipe(&pem);
	return e;
}

void pending_drop(int folder)
{
	unlinkat(folder, PENDING, 0);
	fsync(folder);
}

void pending_settle(int folder, const uint8_t spki_sha256[SHA256_SIZE])
{
	struct agent_pending p;
	uint8_t digest[SHA256_SIZE];

	if (faccessat(folder, PENDING, F_OK, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	if (pending_load(&p, folder) == ERR_OK) {
		sha256(p.spki.octets, p.spki.len, digest);
		if (memcmp(digest, spki_sha256, sizeof digest) == 0)
			pending_drop(folder);
	}
	pending_free(&p);
}

bool reload_is_due(int folder)
{
	return faccessat(folder, RELOAD, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

enum err reload_mark(int folder, bool due, struct refusal *why)
{
	int fd = -1;

	if (!due && unlinkat(folder, RELOAD, 0) != 0 && errno != ENOENT)
		return system_failed(why, "can't remove", RELOAD);
	if (due)
		fd = openat(folder, RELOAD, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if ((due && fd < 0) || fsync(folder) != 0) {
		if (fd >= 0)
			close(fd);
		return system_failed(why, "can't write", RELOAD);
	}
	if (fd >= 0)
		close(fd);
	return ERR_OK;
}
