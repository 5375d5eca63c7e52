#include "dc.h"

#include <string.h>

#define PAD_SIZE     64
#define CONTEXT_SIZE 33
#define SPKI_AT	     9 /* octets of a Credential before its SubjectPublicKeyInfo */
#define CERT_LIMIT   65536

static const char *const contexts[] = {
	[DC_SERVER] = "TLS, server delegated credentials",
	[DC_CLIENT] = "TLS, client delegated credentials",
};

static const char *const role_names[] = {
	[DC_SERVER] = "server",
	[DC_CLIENT] = "client",
};

static bool role_known(enum dc_role role)
{
	return role == DC_SERVER || role == DC_CLIENT;
}

/* Credential and algorithm: what the signed octets and the DelegatedCredential have in common. */
static void read_fields(struct reader *r, struct dc *dc)
{
	memset(dc, 0, sizeof *dc);
	dc->valid_time = reader_u32(r);
	dc->scheme = reader_u16(r);
	dc->spki_len = reader_u24(r);
	dc->spki = reader_take(r, dc->spki_len);
	dc->algorithm = reader_u16(r);
}

static void write_fields(struct buf *out, const struct dc *dc)
{
	buf_u32(out, dc->valid_time);
	buf_u16(out, dc->scheme);
	buf_u24(out, (uint32_t)dc->spki_len);
	buf_put(out, dc->spki, dc->spki_len);
	buf_u16(out, dc->algorithm);
}

enum err dc_parse(struct dc *dc, const uint8_t *octets, size_t len)
{
	struct reader r;

	if (len > DC_MAX)
		return ERR_LENGTH;
	reader_init(&r, octets, len);
	read_fields(&r, dc);
	dc->signature_len = reader_u16(&r);
	dc->signature = reader_take(&r, dc->signature_len);
	if (r.failed)
		return ERR_TRUNCATED;
	if (dc->spki_len == 0 || dc->signature_len == 0)
		return ERR_LENGTH;
	return reader_done(&r) ? ERR_OK : ERR_TRAILING;
}

static bool spki_fits(const struct dc *dc)
{
	return dc->spki_len > 0 && dc->spki_len <= DC_MAX - SPKI_AT - 5;
}

enum err dc_build(struct buf *out, const struct dc *dc)
{
	if (!spki_fits(dc) || dc->signature_len == 0 ||
		dc->signature_len > DC_MAX - SPKI_AT - 4 - dc->spki_len)
		return ERR_LENGTH;
	write_fields(out, dc);
	buf_u16(out, (uint16_t)dc->signature_len);
	buf_put(out, dc->signature, dc->signature_len);
	return out->err;
}

static void write_prefix(struct buf *out, enum dc_role role)
{
	uint8_t pad[PAD_SIZE];

	memset(pad, 0x20, sizeof pad);
	buf_put(out, pad, sizeof pad);
	buf_put(out, contexts[role], CONTEXT_SIZE + 1); /* with its NUL */
}

enum err dc_build_tbs(struct buf *out, enum dc_role role, const uint8_t *cert, size_t cert_len,
	const struct dc *dc)
{
	if (!role_known(role))
		return ERR_INTERNAL;
	if (cert_len == 0 || cert_len > CERT_LIMIT || !spki_fits(dc))
		return ERR_LENGTH;
	write_prefix(out, role);
	buf_put(out, cert, cert_len);
	write_fields(out, dc);
	return out->err;
}

static bool take_equal(struct reader *r, const void *octets, size_t len)
{
	const uint8_t *at = reader_take(r, len);

	return at != NULL && memcmp(at, octets, len) == 0;
}

static bool read_prefix(struct reader *r, enum dc_role *role)
{
	const uint8_t *pad = reader_take(r, PAD_SIZE);
	const uint8_t *context = reader_take(r, CONTEXT_SIZE + 1);

	if (pad == NULL || context == NULL)
		return false;
	for (unsigned i = 0; i < PAD_SIZE; i++)
		if (pad[i] != 0x20)
			return false;
	for (unsigned i = DC_SERVER; i <= DC_CLIENT; i++) {
		if (memcmp(context, contexts[i], CONTEXT_SIZE + 1) != 0)
			continue;
		*role = (enum dc_role)i;
		return true;
	}
	return false;
}

enum err dc_parse_tbs(struct dc *dc, enum dc_role *role, const uint8_t *tbs, size_t tbs_len,
	const uint8_t *cert, size_t cert_len)
{
	struct reader r;

	if (cert_len == 0 || cert_len > CERT_LIMIT)
		return ERR_LENGTH;
	reader_init(&r, tbs, tbs_len);
	if (!read_prefix(&r, role) || !take_equal(&r, cert, cert_len))
		return ERR_FORMAT;
	read_fields(&r, dc);
	if (r.failed)
		return ERR_TRUNCATED;
	if (!spki_fits(dc))
		return ERR_LENGTH;
	return reader_done(&r) ? ERR_OK : ERR_TRAILING;
}

int64_t dc_expiry(const struct dc *dc, int64_t not_before)
{
	int64_t expiry;

	if (__builtin_add_overflow(not_before, (int64_t)dc->valid_time, &expiry))
		return INT64_MAX;
	return expiry;
}

int64_t dc_window_opens(int64_t not_before, int64_t expiry)
{
	int64_t opens;

	if (__builtin_sub_overflow(expiry, (int64_t)DC_MAX_VALID, &opens) || opens < not_before)
		return not_before;
	return opens;
}

const char *dc_role_name(enum dc_role role)
{
	return role_known(role) ? role_names[role] : "unknown";
}

bool dc_role_parse(const char *text, enum dc_role *role)
{
	for (unsigned i = DC_SERVER; i <= DC_CLIENT; i++) {
		if (strcmp(text, role_names[i]) != 0)
			continue;
		*role = (enum dc_role)i;
		return true;
	}
	return false;
}
