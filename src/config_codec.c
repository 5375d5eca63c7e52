#include "config.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* One table per structure: encoding, decoding and freeing walk it. */
enum kind { UINT, FLAG, NAME, STRING, BLOB, LIST, END };

struct field {
	enum kind kind;
	bool optional; /* NAME: may be empty; STRING, BLOB: may be NULL */
	size_t at;     /* offset in the structure */
	size_t size;   /* UINT: of the member; LIST: of one item */
	size_t of;     /* BLOB, LIST: offset of the size_t that counts */
	const struct field *item;
};

#define AT(s, member) .at = offsetof(struct s, member), .size = sizeof(((struct s *)NULL)->member)
#define NUMBER(s, member)                                                                          \
	{                                                                                          \
		.kind = UINT, AT(s, member)                                                        \
	}
#define BOOLEAN(s, member)                                                                         \
	{                                                                                          \
		.kind = FLAG, AT(s, member)                                                        \
	}
#define A_NAME(s, member)                                                                          \
	{                                                                                          \
		.kind = NAME, AT(s, member)                                                        \
	}
#define A_NAME_OR_EMPTY(s, member)                                                                 \
	{                                                                                          \
		.kind = NAME, .optional = true, AT(s, member)                                      \
	}
#define TEXT(s, member)                                                                            \
	{                                                                                          \
		.kind = STRING, AT(s, member)                                                      \
	}
#define TEXT_OR_NULL(s, member)                                                                    \
	{                                                                                          \
		.kind = STRING, .optional = true, AT(s, member)                                    \
	}
#define FILE_PARTS(s, path_member, octets_member, len_member)                                      \
	TEXT_OR_NULL(s, path_member),                                                              \
	{                                                                                          \
		.kind = BLOB, .optional = true, AT(s, octets_member),                              \
		.of = offsetof(struct s, len_member)                                               \
	}
#define A_FILE(s, member) FILE_PARTS(s, member.path, member.octets, member.len)
#define ITEMS(s, member, count, fields)                                                            \
	{                                                                                          \
		.kind = LIST, .at = offsetof(struct s, member),                                    \
		.size = sizeof(((struct s *)NULL)->member[0]), .of = offsetof(struct s, count),    \
		.item = (fields)                                                                   \
	}
#define FIELDS_END                                                                                 \
	{                                                                                          \
		.kind = END                                                                        \
	}

struct text {
	char *s;
};
static const struct field text[] = {TEXT(text, s), FIELDS_END};
static const struct field file[] = {FILE_PARTS(config_file, path, octets, len), FIELDS_END};
static const struct field listen[] = {TEXT(config_listen, address), BOOLEAN(config_listen, is_unix),
	A_FILE(config_listen, certificate), TEXT_OR_NULL(config_listen, private_key),
	A_FILE(config_listen, client_ca), ITEMS(config_listen, client_crl, client_crl_count, file),
	FIELDS_END};
static const struct field token[] = {A_NAME(config_token, name), TEXT(config_token, module),
	TEXT_OR_NULL(config_token, module_args), TEXT(config_token, uri), TEXT(config_token, pin),
	ITEMS(config_token, environment, environment_count, text), NUMBER(config_token, sessions),
	NUMBER(config_token, workers), NUMBER(config_token, concurrency),
	NUMBER(config_token, sign_timeout_ms), FIELDS_END};
static const struct field policy[] = {A_NAME(policy, name), NUMBER(policy, max_lifetime),
	NUMBER(policy, min_lifetime), NUMBER(policy, clock_skew), NUMBER(policy, max_start_ahead),
	NUMBER(policy, roles), NUMBER(policy, schemes), BOOLEAN(policy, possession_required),
	NUMBER(policy, max_live), FIELDS_END};
static const struct field key[] = {A_NAME(config_key, name), A_NAME(config_key, token),
	TEXT(config_key, uri), ITEMS(config_key, certificate, certificate_count, file),
	A_FILE(config_key, issuer_ca), A_NAME(config_key, policy),
	ITEMS(config_key, accept_weak_key, accept_weak_key_count, text), FIELDS_END};
static const struct field match[] = {
	NUMBER(config_match, kind), TEXT(config_match, value), FIELDS_END};
static const struct field client_fields[] = {A_NAME(config_client, name),
	ITEMS(config_client, match, match_count, match), NUMBER(config_client, may),
	ITEMS(config_client, keys, key_count, text), A_NAME_OR_EMPTY(config_client, policy),
	NUMBER(config_client, rate_count), NUMBER(config_client, rate_seconds),
	NUMBER(config_client, max_live), FIELDS_END};
static const struct field config[] = {A_NAME(config, node), TEXT(config, origin),
	TEXT(config, state), TEXT(config, ledger), TEXT_OR_NULL(config, monitor),
	BOOLEAN(config, require_clock_sync), BOOLEAN(config, single_user), TEXT(config, users.api),
	TEXT(config, users.hsm), TEXT(config, users.ledger), NUMBER(config, limits.max_lifetime),
	NUMBER(config, limits.request_deadline_ms), NUMBER(config, limits.queue),
	NUMBER(config, limits.connections), NUMBER(config, limits.connections_per_address),
	TEXT_OR_NULL(config, checkpoint.key), NUMBER(config, checkpoint.every),
	NUMBER(config, checkpoint.interval), TEXT_OR_NULL(config, checkpoint.file),
	TEXT_OR_NULL(config, checkpoint.command), BOOLEAN(config, log.json),
	NUMBER(config, log.level), ITEMS(config, listen, listen_count, listen),
	ITEMS(config, token, token_count, token), ITEMS(config, policy, policy_count, policy),
	ITEMS(config, key, key_count, key), ITEMS(config, client, client_count, client_fields),
	FIELDS_END};

static const char magic[] = "dcsign bundle 1\n";

/* Members are reached by their offset: the host's integers, pointers and counts. */
static uint64_t load(const void *at, size_t size)
{
	uint64_t v8;
	uint32_t v4;

	if (size == sizeof v8) {
		memcpy(&v8, at, sizeof v8);
		return v8;
	}
	memcpy(&v4, at, sizeof v4);
	return v4;
}

static void store(void *at, size_t size, uint64_t value)
{
	uint32_t v4 = (uint32_t)value;

	if (size == sizeof value)
		memcpy(at, &value, sizeof value);
	else
		memcpy(at, &v4, sizeof v4);
}

static void *load_pointer(const void *at)
{
	void *p;

	memcpy(&p, at, sizeof p);
	return p;
}

static size_t load_count(const void *at)
{
	size_t n;

	memcpy(&n, at, sizeof n);
	return n;
}

static bool load_flag(const void *at)
{
	bool v;

	memcpy(&v, at, sizeof v);
	return v;
}

/* Encoding. */
static void put_fields(struct buf *out, const struct field *f, const uint8_t *base);

static void put_pointer(struct buf *out, const struct field *f, const uint8_t *base)
{
	const void *p = load_pointer(base + f->at);

	if (f->optional)
		buf_u8(out, p != NULL);
	else if (p == NULL && out->err == ERR_OK)
		out->err = ERR_FORMAT;
	if (p != NULL)
		buf_vec(out, p, f->kind == STRING ? strlen(p) : load_count(base + f->of));
}

static void put_list(struct buf *out, const struct field *f, const uint8_t *base)
{
	const uint8_t *items = load_pointer(base + f->at);
	size_t count = load_count(base + f->of);

	if (count > UINT32_MAX && out->err == ERR_OK)
		out->err = ERR_NO_ROOM;
	buf_u32(out, (uint32_t)count);
	for (size_t i = 0; i < count && out->err == ERR_OK; i++)
		put_fields(out, f->item, items + i * f->size);
}

static void put_fields(struct buf *out, const struct field *f, const uint8_t *base)
{
	for (; f->kind != END && out->err == ERR_OK; f++) {
		const uint8_t *at = base + f->at;

		switch (f->kind) {
		case UINT:
			buf_u64(out, load(at, f->size));
			break;
		case FLAG:
			buf_u8(out, load_flag(at));
			break;
		case NAME:
			buf_str(out, (const char *)at);
			break;
		case STRING:
		case BLOB:
			put_pointer(out, f, base);
			break;
		case LIST:
			put_list(out, f, base);
			break;
		case END:
			break;
		}
	}
}

enum err config_encode(struct buf *out, const struct config *c)
{
	buf_text(out, magic);
	put_fields(out, config, (const uint8_t *)c);
	return out->err;
}

/* Decoding. The reader's failure stands for malformed octets, nomem for the other. */
struct decoder {
	struct reader r;
	bool nomem;
};

static void get_fields(struct decoder *d, const struct field *f, uint8_t *base);

static bool get_flag(struct decoder *d)
{
	uint8_t v = reader_u8(&d->r);

	if (v > 1)
		d->r.failed = true;
	return v == 1;
}

static void get_pointer(struct decoder *d, const struct field *f, uint8_t *base)
{
	const uint8_t *octets;
	uint8_t *copy;
	size_t len;

	if (f->optional && !get_flag(d))
		return;
	octets = reader_vec(&d->r, &len, CONFIG_BUNDLE_MAX);
	if (octets == NULL || (f->kind == STRING && memchr(octets, '\0', len) != NULL)) {
		d->r.failed = true;
		return;
	}
	if ((copy = malloc(len + 1)) == NULL) {
		d->nomem = true;
		return;
	}
	memcpy(copy, octets, len);
	copy[len] = '\0';
	memcpy(base + f->at, &copy, sizeof copy);
	if (f->kind == BLOB)
		memcpy(base + f->of, &len, sizeof len);
	/* cppcheck-suppress memleak ; base holds it now */
}

static void get_list(struct decoder *d, const struct field *f, uint8_t *base)
{
	size_t count = reader_u32(&d->r);
	uint8_t *items;

	if (count > d->r.left) /* no item is shorter than an octet */
		d->r.failed = true;
	if (d->r.failed || count == 0)
		return;
	if ((items = calloc(count, f->size)) == NULL) {
		d->nomem = true;
		return;
	}
	memcpy(base + f->at, &items, sizeof items);
	memcpy(base + f->of, &count, sizeof count);
	for (size_t i = 0; i < count && !d->r.failed && !d->nomem; i++)
		get_fields(d, f->item, items + i * f->size);
}

static void get_uint(struct decoder *d, const struct field *f, uint8_t *at)
{
	uint64_t value = reader_u64(&d->r);

	if (f->size < sizeof value && value > UINT32_MAX)
		d->r.failed = true;
	store(at, f->size, value);
}

static void get_name(struct decoder *d, const struct field *f, char *name)
{
	reader_str(&d->r, name, NAME_SIZE);
	if (!d->r.failed && !(f->optional && name[0] == '\0') && !name_valid(name))
		d->r.failed = true;
}

static void get_fields(struct decoder *d, const struct field *f, uint8_t *base)
{
	for (; f->kind != END && !d->r.failed && !d->nomem; f++) {
		uint8_t *at = base + f->at;
		bool flag;

		switch (f->kind) {
		case UINT:
			get_uint(d, f, at);
			break;
		case FLAG:
			flag = get_flag(d);
			memcpy(at, &flag, sizeof flag);
			break;
		case NAME:
			get_name(d, f, (char *)at);
			break;
		case STRING:
		case BLOB:
			get_pointer(d, f, base);
			break;
		case LIST:
			get_list(d, f, base);
			break;
		case END:
			break;
		}
	}
}

static void free_fields(const struct field *f, uint8_t *base)
{
	for (; f->kind != END; f++) {
		if (f->kind != STRING && f->kind != BLOB && f->kind != LIST)
			continue;
		uint8_t *p = load_pointer(base + f->at);
		if (f->kind == LIST && p != NULL)
			for (size_t i = 0, n = load_count(base + f->of); i < n; i++)
				free_fields(f->item, p + i * f->size);
		free(p);
	}
}

/* Sorted by name, each name once: the name stands first in these structures. */
static bool sorted(const void *items, size_t count, size_t size)
{
	for (size_t i = 1; i < count; i++) {
		const char *at = (const char *)items + i * size;

		if (strcmp(at - size, at) >= 0)
			return false;
	}
	return true;
}

static bool client_sound(const struct config *c, const struct config_client *client)
{
	for (size_t i = 0; i < client->match_count; i++)
		if (client->match[i].kind > MATCH_PEER_UID)
			return false;
	for (size_t i = 0; i < client->key_count; i++)
		if (config_key(c, client->keys[i]) == NULL ||
			(i > 0 && strcmp(client->keys[i - 1], client->keys[i]) >= 0))
			return false;
	return client->may < 2 * RIGHT_RELEASE &&
	       (client->policy[0] == '\0' || config_policy(c, client->policy) != NULL);
}

/* What everybody relies on without asking again: order, references, possible policies. */
static bool config_sound(const struct config *c)
{
	if (!sorted(c->token, c->token_count, sizeof *c->token) ||
		!sorted(c->policy, c->policy_count, sizeof *c->policy) ||
		!sorted(c->key, c->key_count, sizeof *c->key) ||
		!sorted(c->client, c->client_count, sizeof *c->client))
		return false;
	for (size_t i = 0; i < c->policy_count; i++)
		if (policy_check(&c->policy[i], NULL) != ERR_OK)
			return false;
	for (size_t i = 0; i < c->key_count; i++)
		if (config_token(c, c->key[i].token) == NULL ||
			config_policy(c, c->key[i].policy) == NULL)
			return false;
	for (size_t i = 0; i < c->client_count; i++)
		if (!client_sound(c, &c->client[i]))
			return false;
	return true;
}

enum err config_decode(struct config **out, const uint8_t *octets, size_t len)
{
	struct decoder d = {.nomem = false};
	struct config *c = calloc(1, sizeof *c);
	const uint8_t *start;

	*out = NULL;
	if (c == NULL)
		return ERR_NOMEM;
	c->references = 1;
	reader_init(&d.r, octets, len);
	start = reader_take(&d.r, sizeof magic - 1);
	if (start != NULL && memcmp(start, magic, sizeof magic - 1) == 0)
		get_fields(&d, config, (uint8_t *)c);
	else
		d.r.failed = true;
	if (d.nomem || !reader_done(&d.r) || !config_sound(c)) {
		config_unref(c);
		return d.nomem ? ERR_NOMEM : ERR_FORMAT;
	}
	*out = c;
	return ERR_OK;
}

void config_unref(struct config *c)
{
	if (c == NULL || __atomic_sub_fetch(&c->references, 1, __ATOMIC_ACQ_REL) > 0)
		return;
	free_fields(config, (uint8_t *)c);
	free(c);
}
