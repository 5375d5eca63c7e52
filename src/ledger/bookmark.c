#include "settings.h"

#include "bookmark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "signer.h"

static const char magic[] = "dcsign ledger verify 1\n";

/* The file's text, its SHA-256 checked and taken off. */
static enum err file_read(struct buf *b, const char *path, struct refusal *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	uint8_t octets[65536], want[SHA256_SIZE];
	struct stat st;
	ssize_t n = -1;

	if (fd < 0)
		return errno == ENOENT
			       ? ERR_NOT_FOUND
			       : refuse(why, ERR_SYSTEM, "resume", "%s: %s", path, strerror(errno));
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid() ||
		(st.st_mode & 022)) {
		close(fd);
		return refuse(why, ERR_FORMAT, "resume",
			"%s must be a file of this user that nobody else can write", path);
	}
	while ((n = read(fd, octets, sizeof(octets))) > 0)
		buf_put(b, octets, (size_t)n);
	close(fd);
	if (n < 0 || b->err)
		return refuse(why, ERR_SYSTEM, "resume", "%s can't be read", path);
	if (b->len < sizeof(magic) - 1 + SHA256_SIZE ||
		memcmp(b->octets, magic, sizeof(magic) - 1) != 0)
		return refuse(why, ERR_FORMAT, "resume", "%s was not written by verify", path);
	b->len -= SHA256_SIZE;
	sha256(b->octets, b->len, want);
	if (memcmp(want, b->octets + b->len, SHA256_SIZE) != 0)
		return refuse(why, ERR_FORMAT, "resume", "%s is damaged", path);
	return ERR_OK;
}

enum err bookmark_open(struct bookmark *r, const char *path, struct refusal *why)
{
	struct buf b = BUF_INIT(UINT32_MAX), one = BUF_INIT(UINT32_MAX);
	char chain[CHAIN_SIZE];
	struct reader in;
	size_t len;

	*r = (struct bookmark){.path = path};

	enum err e = file_read(&b, path, why);

	if (e == ERR_NOT_FOUND)
		return ERR_OK;
	if (!e) {
		reader_init(&in, b.octets + sizeof(magic) - 1, b.len - sizeof(magic) + 1);
		while (!e && in.left && !in.failed) {
			reader_str(&in, chain, sizeof(chain));

			const uint8_t *at = reader_vec(&in, &len, UINT32_MAX);

			one = (struct buf)BUF_INIT(UINT32_MAX);
			if (at)
				buf_put(&one, at, len);
			e = at ? bookmark_put(r, chain, &one) : ERR_FORMAT;
		}
		if (e == ERR_FORMAT || in.failed)
			e = refuse(why, ERR_FORMAT, "resume", "%s is damaged", path);
	}
	buf_free(&b);
	return e;
}

void bookmark_close(struct bookmark *r)
{
	while (r->chains) {
		struct bookmark_chain *next = r->chains->next;

		buf_free(&r->chains->octets);
		free(r->chains);
		r->chains = next;
	}
}

const struct buf *bookmark_find(const struct bookmark *r, const char *chain)
{
	for (const struct bookmark_chain *c = r->chains; c; c = c->next) {
		if (strcmp(c->chain, chain) == 0)
			return &c->octets;
	}
	return NULL;
}

enum err bookmark_put(struct bookmark *r, const char *chain, struct buf *octets)
{
	struct bookmark_chain *c = r->chains;

	while (c && strcmp(c->chain, chain) != 0)
		c = c->next;
	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c) {
			buf_free(octets);
			return ERR_NOMEM;
		}
		snprintf(c->chain, sizeof(c->chain), "%s", chain);
		c->next = r->chains;
		r->chains = c;
	}
	buf_free(&c->octets);
	c->octets = *octets;
	*octets = (struct buf)BUF_INIT(UINT32_MAX);
	return c->octets.err;
}

enum err bookmark_write(struct bookmark *r)
{
	struct buf b = BUF_INIT(UINT32_MAX);
	uint8_t hash[SHA256_SIZE];

	buf_text(&b, magic);
	for (const struct bookmark_chain *c = r->chains; c; c = c->next) {
		buf_str(&b, c->chain);
		buf_vec(&b, c->octets.octets, c->octets.len);
	}
	if (!b.err) {
		sha256(b.octets, b.len, hash);
		buf_put(&b, hash, sizeof(hash));
	}

	char *path = NULL;
	enum err e = b.err;

	/* the folder's name is needed to make the new name durable */
	if (!e && asprintf(&path, "%s%s", strchr(r->path, '/') ? "" : "./", r->path) < 0)
		path = NULL;
	if (!e)
		e = !path ? ERR_NOMEM : file_replace(path, b.octets, b.len);
	if (e == ERR_SYSTEM)
		r->unwritten = errno;
	free(path);
	buf_free(&b);
	return e;
}
