#include "pin.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "digest.h"

#define FILE_PREFIX  "pin-breaker."
#define TAKEN_PREFIX "pin-taken."
#define SALT_SIZE    16
#define ITERATIONS   20000
#define TRIES	     2 /* with an unseen end */
#define TRIES_TAKEN  6 /* the same, of a PIN that the token took before */

void pin_wipe(struct pin *pin)
{
	OPENSSL_cleanse(pin->text, sizeof pin->text);
	pin->len = 0;
	munlock(pin, sizeof *pin);
}

enum err pin_read(struct pin *pin, int fd, struct refusal *why)
{
	struct stat st;
	ssize_t n;

	memset(pin, 0, sizeof *pin);
	if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
		return refuse(why, ERR_PIN, "pin", "the PIN must come from a regular file");
	mlock(pin, sizeof *pin); /* at best: the limit of locked memory may be 0 */
	n = pread(fd, pin->text, sizeof pin->text, 0);
	if (n > 0 && pin->text[n - 1] == '\n')
		n--;
	if (n <= 0 || n >= (ssize_t)sizeof pin->text || st.st_size > (off_t)sizeof pin->text ||
		memchr(pin->text, 0, (size_t)n) != NULL) {
		pin_wipe(pin);
		return refuse(why, ERR_PIN, "pin",
			"the PIN must be 1 to %d octets without NUL, in one line", PIN_SIZE - 1);
	}
	pin->text[n] = '\0';
	pin->len = (size_t)n;
	/* the time of the last change of the inode can't be set back by who writes the file */
	snprintf(pin->source, sizeof pin->source, "%ju %ju %jd.%09ld\n", (uintmax_t)st.st_dev,
		(uintmax_t)st.st_ino, (intmax_t)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	return ERR_OK;
}

/* A line of the file: "tried|refused COUNT SALT DIGEST\n". The first is of the PIN that was tried
 * last; those of other values that were refused follow, so that none is tried twice. */
#define LINES_MAX 16
#define LINE_SIZE 128
struct line {
	bool refused;
	unsigned count;
	uint8_t salt[SALT_SIZE], digest[SHA256_SIZE];
};
struct breaker {
	struct line line[LINES_MAX];
	unsigned count;
};

static bool state_path(char path[4096], const char *folder, const char *prefix, const char *serial)
{
	char name[64];
	size_t n = 0;
	int len;

	for (; *serial != '\0' && n < sizeof name - 4; serial++)
		if (isalnum((unsigned char)*serial) || strchr("-_", *serial) != NULL)
			name[n++] = *serial;
		else
			n += (size_t)snprintf(
				name + n, sizeof name - n, "_%02x", (unsigned char)*serial);
	name[n] = '\0';
	len = snprintf(path, 4096, "%s/%s%s", folder, prefix, name);
	return len > 0 && len < 4096;
}

static bool breaker_path(char path[4096], const char *folder, const char *serial)
{
	return state_path(path, folder, FILE_PREFIX, serial);
}

static enum err breaker_digest(
	const struct pin *pin, const uint8_t salt[SALT_SIZE], uint8_t out[SHA256_SIZE])
{
	return PKCS5_PBKDF2_HMAC(pin->text, (int)pin->len, salt, SALT_SIZE, ITERATIONS,
		       EVP_sha256(), SHA256_SIZE, out) == 1
		       ? ERR_OK
		       : ERR_CRYPTO;
}

static bool line_read(struct line *l, const char *text)
{
	char state[8], salt[2 * SALT_SIZE + 1], digest[2 * SHA256_SIZE + 1];

	if (sscanf(text, "%7s %u %32s %64s", state, &l->count, salt, digest) != 4 ||
		!hex_decode(l->salt, SALT_SIZE, salt) ||
		!hex_decode(l->digest, SHA256_SIZE, digest))
		return false;
	l->refused = strcmp(state, "tried") != 0;
	return true;
}

static size_t breaker_text(const struct breaker *b, char text[LINES_MAX * LINE_SIZE])
{
	char salt[2 * SALT_SIZE + 1], digest[2 * SHA256_SIZE + 1];
	size_t len = 0;

	for (unsigned i = 0; i < b->count; i++) {
		const struct line *l = &b->line[i];

		hex_encode(salt, l->salt, SALT_SIZE);
		hex_encode(digest, l->digest, SHA256_SIZE);
		len += (size_t)snprintf(text + len, LINES_MAX * LINE_SIZE - len, "%s %u %s %s\n",
			l->refused ? "refused" : "tried", l->count, salt, digest);
	}
	return len;
}

/* ERR_NOT_FOUND: there is none. ERR_FORMAT: it is not what breaker_text writes. */
static enum err breaker_load(struct breaker *b, const char *path)
{
	char text[LINES_MAX * LINE_SIZE], whole[sizeof text], *rest = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	b->count = 0;
	if (fd < 0)
		return errno == ENOENT ? ERR_NOT_FOUND : ERR_SYSTEM;
	n = read(fd, text, sizeof text - 1);
	close(fd);
	if (n <= 0)
		return ERR_FORMAT;
	text[n] = '\0';
	memcpy(whole, text, (size_t)n);
	for (char *at = strtok_r(text, "\n", &rest); at != NULL; at = strtok_r(NULL, "\n", &rest))
		if (b->count == LINES_MAX || !line_read(&b->line[b->count++], at))
			return ERR_FORMAT;
	return b->count > 0 && breaker_text(b, text) == (size_t)n &&
			       memcmp(text, whole, (size_t)n) == 0
		       ? ERR_OK
		       : ERR_FORMAT;
}

static bool folder_sync(const char *folder)
{
	int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool ok = fd >= 0 && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

static bool write_synced(const char *path, const char *text, size_t len)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	bool ok = fd >= 0 && write(fd, text, len) == (ssize_t)len && fsync(fd) == 0;

	if (fd >= 0)
		close(fd);
	return ok;
}

static enum err state_store(
	const char *folder, const char *path, const char *text, size_t len, struct refusal *why)
{
	char temporary[4096 + 8];

	snprintf(temporary, sizeof temporary, "%s.new", path);
	if ((mkdir(folder, 0700) == 0 || errno == EEXIST) && write_synced(temporary, text, len) &&
		rename(temporary, path) == 0 && folder_sync(folder))
		return ERR_OK;
	return refuse(why, ERR_SYSTEM, "state",
		"%s can't be written (%s), so no login is tried: the folder must belong to this "
		"process's user",
		path, strerror(errno));
}

static enum err breaker_store(
	const struct breaker *b, const char *folder, const char *path, struct refusal *why)
{
	char text[LINES_MAX * LINE_SIZE];
	size_t len = breaker_text(b, text);

	return state_store(folder, path, text, len, why);
}

/* Whether the token took what this source said when it was asked last. */
static bool taken_before(const char *folder, const char *serial, const char *source)
{
	char path[4096], text[PIN_SOURCE_SIZE] = "";
	ssize_t n = -1;
	int fd = state_path(path, folder, TAKEN_PREFIX, serial)
			 ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
			 : -1;

	if (fd >= 0) {
		n = read(fd, text, sizeof text - 1);
		close(fd);
	}
	return n > 0 && strcmp(text, source) == 0;
}

/* The line of this PIN comes first, a new one where there is none. */
static enum err breaker_choose(struct breaker *b, const struct pin *pin)
{
	uint8_t digest[SHA256_SIZE];
	struct line l = {.count = 0};
	unsigned i = 0;

	for (; i < b->count; i++) {
		if (breaker_digest(pin, b->line[i].salt, digest) != ERR_OK)
			return ERR_CRYPTO;
		if (CRYPTO_memcmp(digest, b->line[i].digest, sizeof digest) == 0)
			break;
	}
	if (i < b->count)
		l = b->line[i];
	else if (RAND_bytes(l.salt, SALT_SIZE) != 1 ||
		 breaker_digest(pin, l.salt, l.digest) != ERR_OK)
		return ERR_CRYPTO;
	else if (b->count < LINES_MAX)
		b->count++;
	else
		i--; /* the oldest is forgotten */
	memmove(b->line + 1, b->line, i * sizeof *b->line);
	b->line[0] = l;
	return ERR_OK;
}

static enum err refused_before(const struct line *l, struct refusal *why)
{
	return refuse(why, ERR_PIN, "",
		"the token %s this PIN before, it is not tried again: put the right PIN in place, "
		"or after a change on the token run dcsign keys reset-pin-breaker",
		l->refused ? "refused" : "did not answer");
}

/* The breaker with the line of this PIN first. */
static enum err breaker_of(struct breaker *b, char path[4096], const char *folder,
	const char *serial, const struct pin *pin, struct refusal *why)
{
	enum err e;

	if (!breaker_path(path, folder, serial))
		return refuse(why, ERR_SYSTEM, "state", "the path of the folder is too long");
	e = breaker_load(b, path);
	if (e == ERR_SYSTEM || e == ERR_FORMAT)
		return refuse(why, ERR_PIN, "",
			"%s can't be read, so no login is tried; if the PIN is right, dcsign keys "
			"reset-pin-breaker removes it",
			path);
	return breaker_choose(b, pin) == ERR_OK ? ERR_OK : refuse(why, ERR_CRYPTO, "pin", "%s", "");
}

enum err breaker_arm(
	const char *folder, const char *serial, const struct pin *pin, struct refusal *why)
{
	struct breaker b;
	char path[4096];
	unsigned tries = taken_before(folder, serial, pin->source) ? TRIES_TAKEN : TRIES;
	enum err e = breaker_of(&b, path, folder, serial, pin, why);

	if (e != ERR_OK)
		return e;
	if (b.line[0].refused || b.line[0].count >= tries)
		return refused_before(&b.line[0], why);
	b.line[0].count++;
	return breaker_store(&b, folder, path, why);
}

enum err breaker_trip(const char *folder, const char *serial, struct refusal *why)
{
	struct breaker b;
	char path[4096];
	enum err e;

	if (!breaker_path(path, folder, serial) || breaker_load(&b, path) != ERR_OK)
		return refuse(why, ERR_SYSTEM, "state", "the PIN breaker can't be read");
	b.line[0].refused = true;
	e = breaker_store(&b, folder, path, why);
	breaker_doubt(folder, serial);
	return e;
}

void breaker_doubt(const char *folder, const char *serial)
{
	char path[4096];

	if (state_path(path, folder, TAKEN_PREFIX, serial))
		unlink(path);
}

enum err breaker_taken(
	const char *folder, const char *serial, const struct pin *pin, struct refusal *why)
{
	char path[4096];

	/* not being able to note it takes nothing away but tries */
	if (!taken_before(folder, serial, pin->source) &&
		state_path(path, folder, TAKEN_PREFIX, serial))
		state_store(folder, path, pin->source, strlen(pin->source), NULL);
	return breaker_clear(folder, serial, NULL, why);
}

enum err breaker_disarm(const char *folder, const char *serial, struct refusal *why)
{
	struct breaker b;
	char path[4096];

	if (!breaker_path(path, folder, serial) || breaker_load(&b, path) != ERR_OK)
		return refuse(why, ERR_SYSTEM, "state", "the PIN breaker can't be read");
	if (b.count == 1)
		return breaker_clear(folder, serial, NULL, why);
	memmove(b.line, b.line + 1, --b.count * sizeof *b.line);
	return breaker_store(&b, folder, path, why);
}

enum err breaker_holds(
	const char *folder, const char *serial, const struct pin *pin, struct refusal *why)
{
	struct breaker b;
	char path[4096];

	if (breaker_of(&b, path, folder, serial, pin, NULL) == ERR_OK && b.line[0].refused)
		return refused_before(&b.line[0], why);
	return ERR_OK;
}

void breaker_leave(const char *folder, const char *serial, const struct pin *pin)
{
	struct stat owner;
	char path[4096];

	if (stat(folder, &owner) != 0 || breaker_arm(folder, serial, pin, NULL) != ERR_OK ||
		breaker_trip(folder, serial, NULL) != ERR_OK || !breaker_path(path, folder, serial))
		return;
	/* the service's process has to read it */
	if (lchown(path, owner.st_uid, owner.st_gid) != 0)
		unlink(path);
}

enum err breaker_clear(const char *folder, const char *serial, bool *was, struct refusal *why)
{
	char path[4096];
	bool gone;

	if (!breaker_path(path, folder, serial))
		return refuse(why, ERR_SYSTEM, "state", "the path of the folder is too long");
	gone = unlink(path) == 0;
	if (was != NULL)
		*was = gone;
	if ((gone && folder_sync(folder)) || (!gone && errno == ENOENT))
		return ERR_OK;
	return refuse(why, ERR_SYSTEM, "state", "%s can't be removed: %s", path, strerror(errno));
}

const char *breaker_serial(const char *file_name)
{
	const char *serial = file_name + sizeof FILE_PREFIX - 1;

	if (strncmp(file_name, FILE_PREFIX, sizeof FILE_PREFIX - 1) != 0 ||
		strchr(serial, '.') != NULL)
		return NULL;
	return serial;
}

bool breaker_present(const char *folder, const char *serial)
{
	char path[4096];

	return breaker_path(path, folder, serial) && access(path, F_OK) == 0;
}
