#include "checkpoint.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <string.h>

#define KEY_ID	  4
#define SIGNATURE 64
#define ED25519	  1 /* signature types of signed-note */
#define COSIGNED  4 /* tlog-cosignature, version 1 */
#define TIME	  8 /* octets of a cosignature's time */
#define DASH	  "\xe2\x80\x94 "
#define DASH_LEN  4

/* ---- Ed25519 ---- */

enum err checkpoint_key_make(uint8_t seed[CHECKPOINT_KEY])
{
	return RAND_priv_bytes(seed, CHECKPOINT_KEY) == 1 ? ERR_OK : ERR_CRYPTO;
}

enum err checkpoint_key_public(
	const uint8_t seed[CHECKPOINT_KEY], uint8_t public_key[CHECKPOINT_KEY])
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, CHECKPOINT_KEY);
	size_t len = CHECKPOINT_KEY;
	bool ok = key && EVP_PKEY_get_raw_public_key(key, public_key, &len) == 1;

	EVP_PKEY_free(key);
	return ok ? ERR_OK : ERR_CRYPTO;
}

static enum err sign(uint8_t out[SIGNATURE], const uint8_t seed[CHECKPOINT_KEY], const void *octets,
	size_t octet_count)
{
	EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, CHECKPOINT_KEY);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	size_t len = SIGNATURE;
	bool ok = key && ctx && EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) == 1 &&
		  EVP_DigestSign(ctx, out, &len, octets, octet_count) == 1 && len == SIGNATURE;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return ok ? ERR_OK : ERR_CRYPTO;
}

static bool signature_good(const uint8_t public_key[CHECKPOINT_KEY],
	const uint8_t signature[SIGNATURE], const void *octets, size_t len)
{
	EVP_PKEY *key =
		EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, public_key, CHECKPOINT_KEY);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool ok = key && ctx && EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
		  EVP_DigestVerify(ctx, signature, SIGNATURE, octets, len) == 1;

	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	return ok;
}

/* ---- names and ids ---- */

static bool name_good(const char *name, size_t len)
{
	if (len == 0 || len >= CHECKPOINT_ORIGIN_SIZE || !utf8_valid((const uint8_t *)name, len))
		return false;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)name[i] <= ' ' || name[i] == '+' || name[i] == 0x7f)
			return false;
	}
	return true;
}

static void key_id(uint8_t out[KEY_ID], const char *name, size_t len, uint8_t type,
	const uint8_t public_key[CHECKPOINT_KEY])
{
	const struct digest_part parts[] = {
		{name, len}, {"\n", 1}, {&type, 1}, {public_key, CHECKPOINT_KEY}};
	uint8_t digest[SHA256_SIZE];

	sha256_parts(parts, 4, digest);
	memcpy(out, digest, KEY_ID);
}

void checkpoint_vkey_write(
	struct buf *out, const char *name, const uint8_t public_key[CHECKPOINT_KEY])
{
	uint8_t id[KEY_ID], key[1 + CHECKPOINT_KEY] = {ED25519};

	key_id(id, name, strlen(name), ED25519, public_key);
	memcpy(key + 1, public_key, CHECKPOINT_KEY);
	buf_printf(out, "%s+", name);
	buf_hex(out, id, sizeof id);
	buf_u8(out, '+');
	buf_base64(out, key, sizeof key);
}

static enum err vkey_read(const char *vkey, size_t len, uint8_t type,
	char name[CHECKPOINT_ORIGIN_SIZE], uint8_t public_key[CHECKPOINT_KEY])
{
	const char *plus = memchr(vkey, '+', len);
	size_t name_len = plus ? (size_t)(plus - vkey) : 0;
	uint8_t id[KEY_ID];
	char want[2 * KEY_ID + 1];
	struct buf key = BUF_INIT(1 + CHECKPOINT_KEY);
	enum err e = ERR_FORMAT;

	if (!plus || !name_good(vkey, name_len) || len - name_len < 2 * KEY_ID + 3 ||
		plus[1 + 2 * KEY_ID] != '+')
		return ERR_FORMAT;
	if (!base64_decode(&key, plus + 2 * KEY_ID + 2, len - name_len - 2 * KEY_ID - 2) &&
		key.len == 1 + CHECKPOINT_KEY && key.octets[0] == type) {
		key_id(id, vkey, name_len, type, key.octets + 1);
		hex_encode(want, id, sizeof id);
		e = memcmp(want, plus + 1, 2 * KEY_ID) == 0 ? ERR_OK : ERR_FORMAT;
	}
	if (!e)
		memcpy(public_key, key.octets + 1, CHECKPOINT_KEY);
	if (!e && name) {
		memcpy(name, vkey, name_len);
		name[name_len] = '\0';
	}
	buf_free(&key);
	return e;
}

enum err checkpoint_vkey_read(const char *vkey, size_t len, char name[CHECKPOINT_ORIGIN_SIZE],
	uint8_t public_key[CHECKPOINT_KEY])
{
	return vkey_read(vkey, len, ED25519, name, public_key);
}

enum err checkpoint_witness_read(struct checkpoint_witness *w, const char *vkey, size_t len)
{
	return vkey_read(vkey, len, COSIGNED, w->name, w->public_key);
}

/* ---- the note ---- */

enum err checkpoint_sign(
	struct buf *out, const struct checkpoint *c, const uint8_t seed[CHECKPOINT_KEY])
{
	uint8_t public_key[CHECKPOINT_KEY], signature[KEY_ID + SIGNATURE];
	size_t from = out->len, len = strlen(c->origin);
	enum err e = checkpoint_key_public(seed, public_key);

	if (!name_good(c->origin, len))
		return ERR_FORMAT;
	buf_printf(out, "%s\n%llu\n", c->origin, (unsigned long long)c->size);
	buf_base64(out, c->root, SHA256_SIZE);
	buf_u8(out, '\n');
	if (!e)
		e = out->err;
	if (!e)
		e = sign(signature + KEY_ID, seed, out->octets + from, out->len - from);
	if (e)
		return e;
	key_id(signature, c->origin, len, ED25519, public_key);
	buf_printf(out, "\n" DASH "%s ", c->origin);
	buf_base64(out, signature, sizeof signature);
	buf_u8(out, '\n');
	return out->err;
}

/* A line without its end; false: none is left. */
static bool line_take(const char **at, const char *end, const char **line, size_t *len)
{
	const char *stop = *at < end ? memchr(*at, '\n', (size_t)(end - *at)) : NULL;

	if (!stop)
		return false;
	*line = *at;
	*len = (size_t)(stop - *at);
	*at = stop + 1;
	return true;
}

static bool is_signature(const char *line, size_t len)
{
	return len > DASH_LEN && memcmp(line, DASH, DASH_LEN) == 0;
}

size_t checkpoint_length(const char *text, size_t len)
{
	const char *at = text, *end = text + len, *line, *before;
	size_t n;

	do {
		if (!line_take(&at, end, &line, &n))
			return 0;
	} while (n != 0);
	before = at;
	while (line_take(&at, end, &line, &n) && is_signature(line, n))
		before = at;
	return (size_t)(before - text);
}

static bool size_read(uint64_t *size, const char *line, size_t len)
{
	if (len == 0 || len > 19 || (line[0] == '0' && len > 1))
		return false;
	*size = 0;
	for (size_t i = 0; i < len; i++) {
		if (line[i] < '0' || line[i] > '9')
			return false;
		*size = *size * 10 + (uint64_t)(line[i] - '0');
	}
	return true;
}

static bool root_read(uint8_t root[SHA256_SIZE], const char *line, size_t len)
{
	struct buf out = BUF_INIT(SHA256_SIZE);
	bool ok = !base64_decode(&out, line, len) && out.len == SHA256_SIZE;

	if (ok)
		memcpy(root, out.octets, SHA256_SIZE);
	buf_free(&out);
	return ok;
}

/* The three lines and the empty one; *at: behind them. */
static bool text_read(struct checkpoint *c, const char **at, const char *end)
{
	const char *line;
	size_t len;

	if (!line_take(at, end, &line, &len) || !name_good(line, len))
		return false;
	memcpy(c->origin, line, len);
	c->origin[len] = '\0';
	return line_take(at, end, &line, &len) && size_read(&c->size, line, len) &&
	       line_take(at, end, &line, &len) && root_read(c->root, line, len) &&
	       line_take(at, end, &line, &len) && len == 0;
}

/* One signature line: the name and its length, the octets after it. */
static bool signature_read(
	const char *line, size_t len, const char **name, size_t *name_len, struct buf *octets)
{
	const char *space;

	if (!is_signature(line, len))
		return false;
	*name = line + DASH_LEN;
	space = memchr(*name, ' ', len - DASH_LEN);
	if (!space)
		return false;
	*name_len = (size_t)(space - *name);
	buf_reset(octets);
	return name_good(*name, *name_len) &&
	       !base64_decode(octets, space + 1, len - DASH_LEN - *name_len - 1) &&
	       octets->len > KEY_ID;
}

/* Whose signature is looked for. */
struct wanted {
	const char *name; /* NULL: nobody's, the form alone */
	uint8_t type, id[KEY_ID];
	const uint8_t *public_key;
	int64_t time; /* of a good cosignature */
};

/* Octets of a signature line, with the key id. */
static bool ours_good(struct wanted *w, const struct buf *octets, const char *note, size_t text)
{
	const uint8_t *at = octets->octets + KEY_ID;
	struct buf message = BUF_INIT(2 * CHECKPOINT_MAX);
	struct reader in;
	uint64_t time;
	bool good;

	if (w->type == ED25519)
		return octets->len == KEY_ID + SIGNATURE &&
		       signature_good(w->public_key, at, note, text);
	if (octets->len != KEY_ID + TIME + SIGNATURE)
		return false;
	reader_init(&in, at, TIME);
	time = reader_u64(&in);
	buf_printf(&message, "cosignature/v1\ntime %llu\n", (unsigned long long)time);
	buf_put(&message, note, text);
	good = time <= INT64_MAX && !message.err &&
	       signature_good(w->public_key, at + TIME, message.octets, message.len);
	if (good)
		w->time = (int64_t)time;
	buf_free(&message);
	return good;
}

static bool is_ours(const struct wanted *w, const char *name, size_t len, const struct buf *octets)
{
	return w->name && len == strlen(w->name) && memcmp(name, w->name, len) == 0 &&
	       memcmp(octets->octets, w->id, KEY_ID) == 0;
}

static enum err signatures_read(
	struct wanted *w, const char *at, const char *note, size_t len, size_t text)
{
	const char *end = note + len, *line, *name;
	struct buf octets = BUF_INIT(CHECKPOINT_MAX);
	unsigned lines = 0, good = 0, bad = 0;
	size_t line_len, name_len;
	enum err e = ERR_OK;

	for (; !e && at < end; lines++) {
		if (!line_take(&at, end, &line, &line_len) ||
			!signature_read(line, line_len, &name, &name_len, &octets))
			e = ERR_FORMAT;
		else if (!is_ours(w, name, name_len, &octets))
			continue;
		else if (ours_good(w, &octets, note, text))
			good++;
		else
			bad++;
	}
	buf_free(&octets);
	if (!e && lines == 0)
		e = ERR_FORMAT;
	if (!e && w->name && (good != 1 || bad != 0))
		e = ERR_DC_SIGNATURE;
	return e;
}

static enum err note_read(struct checkpoint *c, const char *note, size_t len, struct wanted *w)
{
	const char *at = note;

	if (len > CHECKPOINT_MAX || !text_read(c, &at, note + len))
		return ERR_FORMAT;
	if (w->type == ED25519)
		w->name = c->origin;
	if (w->name)
		key_id(w->id, w->name, strlen(w->name), w->type, w->public_key);
	return signatures_read(w, at, note, len, (size_t)(at - note) - 1);
}

enum err checkpoint_read(struct checkpoint *c, const char *note, size_t len)
{
	struct wanted nobody = {0};

	return note_read(c, note, len, &nobody);
}

enum err checkpoint_verify(struct checkpoint *c, const char *note, size_t len,
	const uint8_t public_key[CHECKPOINT_KEY])
{
	struct wanted origin = {.type = ED25519, .public_key = public_key};

	return note_read(c, note, len, &origin);
}

enum err checkpoint_cosigned(
	const char *note, size_t len, const struct checkpoint_witness *w, int64_t *time)
{
	struct wanted witness = {.name = w->name, .type = COSIGNED, .public_key = w->public_key};
	struct checkpoint c;
	enum err e = note_read(&c, note, len, &witness);

	if (!e && time)
		*time = witness.time;
	return e;
}
