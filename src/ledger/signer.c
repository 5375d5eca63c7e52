#include "settings.h"

#include "signer.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "folder.h"

/* ---- a file that is replaced as a whole ---- */

static bool write_all(int fd, const uint8_t *octets, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, octets, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		octets += n;
		len -= (size_t)n;
	}
	return true;
}

enum err file_replace(const char *path, const void *octets, size_t len)
{
	char *fresh = NULL;
	int fd = -1;
	bool ok = false;

	if (asprintf(&fresh, "%s.new", path) < 0)
		return ERR_NOMEM;
	if (unlink(fresh) == 0 || errno == ENOENT)
		fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd >= 0) {
		ok = write_all(fd, octets, len) && fsync(fd) == 0;
		ok = close(fd) == 0 && ok;
	}
	ok = ok && rename(fresh, path) == 0 && folder_sync(path) == ERR_OK;
	free(fresh);
	return ok ? ERR_OK : ERR_SYSTEM;
}

/* ---- the key ---- */

static enum err key_write(const char *path, const uint8_t seed[CHECKPOINT_KEY])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, CHECKPOINT_KEY);
	BIO *pem = BIO_new(BIO_s_secmem());
	enum err e = ERR_CRYPTO;
	char *text;

	if (key && pem && PEM_write_bio_PKCS8PrivateKey(pem, key, NULL, NULL, 0, NULL, NULL) == 1) {
		long len = BIO_get_mem_data(pem, &text);

		e = file_replace(path, text, (size_t)len);
	}
	BIO_free(pem);
	EVP_PKEY_free(key);
	return e;
}

static enum err key_make(struct signer *s, const char *path, struct refusal *why)
{
	enum err e = folder_make(path);

	if (!e)
		e = checkpoint_key_make(s->seed);
	if (!e)
		e = key_write(path, s->seed);
	return e ? refuse(why, ERR_NOT_FOUND, "checkpoint", "the key %s can't be made: %s", path,
			   strerror(errno))
		 : ERR_OK;
}

static enum err key_read(struct signer *s, int fd, const char *path, struct refusal *why)
{
	struct stat st;
	FILE *file = fdopen(fd, "r");
	EVP_PKEY *key = NULL;
	size_t len = CHECKPOINT_KEY;
	bool ok;

	if (!file) {
		close(fd);
		return ERR_NOMEM;
	}
	ok = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && (st.st_mode & 077) == 0 &&
	     st.st_uid == geteuid();
	if (ok)
		key = PEM_read_PrivateKey(file, NULL, NULL, NULL);
	fclose(file);
	if (!ok)
		return refuse(why, ERR_FORMAT, "checkpoint",
			"the key %s must be a file of the ledger's user that nobody else can read: "
			"chmod 0600",
			path);
	ok = key && EVP_PKEY_is_a(key, "ED25519") &&
	     EVP_PKEY_get_raw_private_key(key, s->seed, &len) == 1 && len == CHECKPOINT_KEY;
	EVP_PKEY_free(key);
	return ok ? ERR_OK
		  : refuse(why, ERR_FORMAT, "checkpoint", "%s is not an Ed25519 private key in PEM",
			    path);
}

enum err signer_open(
	struct signer *s, const char *path, const char *origin, bool *made, struct refusal *why)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	enum err e;

	memset(s, 0, sizeof(*s));
	*made = fd < 0 && errno == ENOENT;
	if (fd < 0 && !*made)
		return refuse(why, ERR_NOT_FOUND, "checkpoint", "the key %s can't be opened: %s",
			path, strerror(errno));
	e = *made ? key_make(s, path, why) : key_read(s, fd, path, why);
	if (!e)
		e = checkpoint_key_public(s->seed, s->public_key);
	snprintf(s->origin, sizeof(s->origin), "%s", origin);
	s->ready = !e;
	return e;
}

void signer_close(struct signer *s)
{
	OPENSSL_cleanse(s, sizeof(*s));
}

void signer_origin(const struct signer *s, const char *chain, char out[CHECKPOINT_ORIGIN_SIZE])
{
	size_t room = CHECKPOINT_ORIGIN_SIZE - strlen(chain) - 2;

	snprintf(out, CHECKPOINT_ORIGIN_SIZE, "%.*s/%s", (int)room, s->origin, chain);
}
