#include "spki.h"

#include <string.h>

#include "buf.h"

#define BITS(octets) octets, sizeof octets - 1

/* Everything before the key's own octets, and how many of those there are. */
static const struct form {
	enum key_type key;
	const char *prefix;
	size_t prefix_len;
	size_t key_len;
	bool point; /* the key's first octet is 04: uncompressed */
} forms[] = {
	/* RFC 5480 */
	{KEY_EC_P256,
		BITS("\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce"
		     "\x3d\x03\x01\x07\x03\x42\x00"),
		65, true},
	{KEY_EC_P384,
		BITS("\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00"
		     "\x22\x03\x62\x00"),
		97, true},
	{KEY_EC_P521,
		BITS("\x30\x81\x9b\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04"
		     "\x00\x23\x03\x81\x86\x00"),
		133, true},
	/* RFC 8410 */
	{KEY_ED25519, BITS("\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"), 32, false},
	{KEY_ED448, BITS("\x30\x43\x30\x05\x06\x03\x2b\x65\x71\x03\x3a\x00"), 57, false},
	/* RFC 5639 */
	{KEY_BP256,
		BITS("\x30\x5a\x30\x14\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x09\x2b\x24\x03\x03"
		     "\x02\x08\x01\x01\x07\x03\x42\x00"),
		65, true},
	{KEY_BP384,
		BITS("\x30\x7a\x30\x14\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x09\x2b\x24\x03\x03"
		     "\x02\x08\x01\x01\x0b\x03\x62\x00"),
		97, true},
	{KEY_BP512,
		BITS("\x30\x81\x9b\x30\x14\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x09\x2b\x24\x03"
		     "\x03\x02\x08\x01\x01\x0d\x03\x81\x82\x00"),
		129, true},
	/* RFC 9881 */
	{KEY_MLDSA44,
		BITS("\x30\x82\x05\x32\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x11\x03\x82"
		     "\x05\x21\x00"),
		1312, false},
	{KEY_MLDSA65,
		BITS("\x30\x82\x07\xb2\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12\x03\x82"
		     "\x07\xa1\x00"),
		1952, false},
	{KEY_MLDSA87,
		BITS("\x30\x82\x0a\x32\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x13\x03\x82"
		     "\x0a\x21\x00"),
		2592, false},
};

static bool take_form(struct spki *out, const struct form *f)
{
	if (out->len != f->prefix_len + f->key_len ||
		memcmp(out->octets, f->prefix, f->prefix_len) != 0)
		return false;
	if (f->point && out->octets[f->prefix_len] != 4)
		return false;
	out->key = f->key;
	out->point = out->octets + f->prefix_len;
	out->point_len = f->key_len;
	return true;
}

#define DER_INTEGER	0x02
#define DER_BITS	0x03
#define DER_SEQUENCE	0x30
#define DER_CONTEXT(n)	(0xa0 | (n))
#define RSA_BITS_MIN	2048
#define RSA_BITS_MAX	8192
#define RSA_OCTETS_MAX	(RSA_BITS_MAX / 8)
#define RSA_MIN_EXP	65537
#define PSS_SALT_NO_PAR 20 /* RFC 4055 section 3.1: the default */

/* The length octets of DER in their shortest form, to 65535. */
static size_t der_length(struct reader *r)
{
	uint8_t first = reader_u8(r);

	if (first < 0x80)
		return first;
	size_t len = first == 0x81 ? reader_u8(r) : first == 0x82 ? reader_u16(r) : 0;
	if (len < (first == 0x81 ? 0x80U : 0x100U))
		r->failed = true;
	return len;
}

/* The value with this tag; fails when there is another. */
static struct reader der_take(struct reader *r, uint8_t tag)
{
	struct reader value = {.failed = true};

	if (reader_u8(r) != tag)
		r->failed = true;
	size_t len = der_length(r);
	const uint8_t *at = reader_take(r, len);
	if (at != NULL)
		reader_init(&value, at, len);
	return value;
}

static bool der_next_is(const struct reader *r, uint8_t tag)
{
	return !r->failed && r->left > 0 && r->at[0] == tag;
}

static bool skip_equal(struct reader *r, const char *octets, size_t len)
{
	const uint8_t *at = reader_take(r, len);

	if (at != NULL && memcmp(at, octets, len) == 0)
		return true;
	r->failed = true;
	return false;
}

/* A non-negative INTEGER in its shortest form, without the leading zero of its sign. */
static const uint8_t *der_natural(struct reader *r, size_t *len)
{
	struct reader value = der_take(r, DER_INTEGER);

	if (value.failed || value.left == 0 || value.at[0] >= 0x80)
		goto bad;
	if (value.at[0] == 0 && value.left > 1) {
		if (value.at[1] < 0x80)
			goto bad;
		value.at++;
		value.left--;
	}
	*len = value.left;
	return value.at;
bad:
	r->failed = true;
	*len = 0;
	return NULL;
}

static uint64_t number(const uint8_t *at, size_t len)
{
	uint64_t v = 0;

	if (len > sizeof v)
		return UINT64_MAX;
	for (size_t i = 0; i < len; i++)
		v = v << 8 | at[i];
	return v;
}

/* AlgorithmIdentifier of SHA-256, 384 or 512 with NULL, as RFC 4055 section 2.1 has writers do. */
static enum digest take_digest(struct reader *r)
{
	static const char oid[] = "\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02";
	struct reader id = der_take(r, DER_SEQUENCE);

	skip_equal(&id, BITS(oid));
	uint8_t last = reader_u8(&id);
	skip_equal(&id, BITS("\x05\x00"));
	if (!reader_done(&id) || last < 1 || last > 3)
		r->failed = true;
	return last == 1 ? DIGEST_SHA256 : last == 2 ? DIGEST_SHA384 : DIGEST_SHA512;
}

/*
 * RSASSA-PSS-params (RFC 4055 section 3.1). The defaults are SHA-1, so hash and mask generation
 * must stand there; DER leaves out a value that is the default, so a salt of 20 and a trailer field
 * can't.
 */
static void take_pss_parameters(struct reader *r, struct spki *out)
{
	struct reader params = der_take(r, DER_SEQUENCE);
	struct reader hash = der_take(&params, DER_CONTEXT(0));
	enum digest digest = take_digest(&hash);
	struct reader mask = der_take(&params, DER_CONTEXT(1));
	struct reader mgf = der_take(&mask, DER_SEQUENCE);
	skip_equal(&mgf, BITS("\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08"));
	enum digest mask_digest = take_digest(&mgf);
	uint64_t salt = PSS_SALT_NO_PAR;

	if (der_next_is(&params, DER_CONTEXT(2))) {
		struct reader explicit = der_take(&params, DER_CONTEXT(2));
		size_t len;
		const uint8_t *at = der_natural(&explicit, &len);
		salt = number(at, len);
		if (salt == PSS_SALT_NO_PAR || !reader_done(&explicit))
			r->failed = true;
	}
	if (!reader_done(&hash) || !reader_done(&mgf) || !reader_done(&mask) ||
		!reader_done(&params) || digest != mask_digest || salt > digest_size(digest))
		r->failed = true;
	out->pss_digest = digest;
}

static unsigned top_bits(uint8_t octet)
{
	unsigned n = 0;

	for (; octet != 0; octet >>= 1)
		n++;
	return n;
}

static enum err judge_rsa(const struct spki *s)
{
	if (s->modulus_len > RSA_OCTETS_MAX ||
		(s->modulus_len - 1) * 8 + top_bits(s->modulus[0]) < RSA_BITS_MIN)
		return ERR_SPKI_WEAK;
	if (s->exponent % 2 == 0 || s->exponent < RSA_MIN_EXP || s->exponent > UINT32_MAX)
		return ERR_SPKI_WEAK;
	return ERR_OK;
}

/* SubjectPublicKeyInfo of RSA: rsaEncryption with NULL, or id-RSASSA-PSS. */
static enum err take_rsa(struct spki *out)
{
	static const char rsa[] = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01";
	struct reader r;

	reader_init(&r, out->octets, out->len);
	struct reader whole = der_take(&r, DER_SEQUENCE);
	struct reader id = der_take(&whole, DER_SEQUENCE);
	skip_equal(&id, BITS(rsa));
	uint8_t kind = reader_u8(&id);
	if (kind == 1)
		skip_equal(&id, BITS("\x05\x00"));
	else if (kind == 10 && id.left > 0)
		take_pss_parameters(&id, out);
	struct reader bits = der_take(&whole, DER_BITS);
	skip_equal(&bits, BITS("\x00"));
	struct reader key = der_take(&bits, DER_SEQUENCE);
	out->modulus = der_natural(&key, &out->modulus_len);
	size_t len;
	const uint8_t *exponent = der_natural(&key, &len);
	if (!reader_done(&key) || !reader_done(&bits) || !reader_done(&id) ||
		!reader_done(&whole) || !reader_done(&r) || (kind != 1 && kind != 10))
		return ERR_SPKI_UNKNOWN;

	out->key = kind == 1 ? KEY_RSA : KEY_RSA_PSS;
	out->exponent = number(exponent, len);
	if (out->key == KEY_RSA)
		return ERR_SPKI_FORBIDDEN;
	return judge_rsa(out);
}

enum err spki_recognise(struct spki *out, const uint8_t *octets, size_t len)
{
	memset(out, 0, sizeof *out);
	if (len == 0 || len > SPKI_MAX)
		return ERR_SPKI_UNKNOWN;
	out->octets = octets;
	out->len = len;
	for (unsigned i = 0; i < sizeof forms / sizeof *forms; i++)
		if (take_form(out, &forms[i]))
			return ERR_OK;
	return take_rsa(out);
}

enum err spki_matches(const struct spki *spki, const struct scheme *scheme)
{
	if (!scheme->dc_key)
		return ERR_SPKI_FORBIDDEN;
	if (spki->key != scheme->key)
		return ERR_SPKI_MISMATCH;
	if (spki->pss_digest != DIGEST_NONE && spki->pss_digest != scheme->digest)
		return ERR_SPKI_MISMATCH;
	return ERR_OK;
}
