#include "settings.h" /* memmem */

#include "certificate.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/provider.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define USAGE_DIGITAL_SIGNATURE 0 /* bits of KeyUsage: RFC 5280 section 4.2.1.3 */
#define USAGE_KEY_ENCIPHERMENT	2
#define USAGE_KEY_CERT_SIGN	5

/* DelegationUsage, 1.3.6.1.4.1.44363.44: RFC 9345 section 4.2 */
static const uint8_t delegation_oid[] = {0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0xda, 0x4b, 0x2c};
static const uint8_t der_null[] = {0x05, 0x00};

static bool same_octets(const void *a, size_t a_len, const void *b, size_t b_len)
{
	return a_len == b_len && memcmp(a, b, a_len) == 0;
}

/* The forms of RFC 5280 section 4.1.2.5: YYMMDDHHMMSSZ, YYYYMMDDHHMMSSZ. */
static bool read_time(const ASN1_TIME *time, int64_t *out)
{
	size_t digits = ASN1_STRING_type(time) == V_ASN1_UTCTIME ? 12 : 14;
	const uint8_t *text = ASN1_STRING_get0_data(time);
	struct tm tm;

	if ((size_t)ASN1_STRING_length(time) != digits + 1 || text[digits] != 'Z')
		return false;
	for (size_t i = 0; i < digits; i++)
		if (text[i] < '0' || text[i] > '9')
			return false;
	if (ASN1_TIME_to_tm(time, &tm) != 1)
		return false;
	*out = timegm(&tm);
	return true;
}

static bool read_serial(struct certificate *c, const X509 *x)
{
	const ASN1_INTEGER *serial = X509_get0_serialNumber(x);
	size_t len = (size_t)ASN1_STRING_length(serial);
	bool negative = ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER;

	if (len == 0 || 2 * len + 2 > sizeof c->serial)
		return false;
	c->serial[0] = '-';
	hex_encode(c->serial + negative, ASN1_STRING_get0_data(serial), len);
	return true;
}

static bool read_subject(struct certificate *c, const X509 *x)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	bool ok = false;

	if (bio != NULL &&
		X509_NAME_print_ex(bio, X509_get_subject_name(x), 0, XN_FLAG_RFC2253) >= 0) {
		size_t len = (size_t)BIO_get_mem_data(bio, &text);
		if (len >= sizeof c->subject)
			len = sizeof c->subject - 1;
		if (len > 0)
			memcpy(c->subject, text, len);
		c->subject[len] = '\0';
		ok = true;
	}
	BIO_free(bio);
	return ok;
}

/* The SignatureScheme of what this key signs: RFC 8446 section 4.2.3. */
static uint16_t signing_scheme(const struct certificate *c, const struct spki *spki)
{
	const enum digest wanted =
		spki->pss_digest == DIGEST_NONE ? DIGEST_SHA256 : spki->pss_digest;

	if (c->key == NULL || (c->key_type == KEY_RSA && EVP_PKEY_get_bits(c->key) < 2048))
		return 0;
	for (unsigned i = 0; i < scheme_count(); i++) {
		const struct scheme *s = scheme_at(i);
		if (!s->signs || s->key != c->key_type)
			continue;
		if (s->key != KEY_RSA_PSS || s->digest == wanted)
			return s->code;
	}
	return 0;
}

static bool read_key(struct certificate *c, const X509 *x)
{
	uint8_t *der = NULL;
	struct spki spki;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &der);

	if (len <= 0)
		return false;
	c->spki = malloc((size_t)len);
	if (c->spki != NULL) {
		memcpy(c->spki, der, (size_t)len);
		c->spki_len = (size_t)len;
	}
	OPENSSL_free(der);
	if (c->spki == NULL)
		return false;
	sha256(c->spki, c->spki_len, c->spki_sha256);
	enum err e = spki_recognise(&spki, c->spki, c->spki_len);
	if (e == ERR_OK || e == ERR_SPKI_FORBIDDEN)
		c->key_type = spki.key;
	c->key = certificate_key(c);
	c->algorithm = signing_scheme(c, &spki);
	return true;
}

static bool is_delegation(const X509_EXTENSION *ext)
{
	const ASN1_OBJECT *oid = X509_EXTENSION_get_object((X509_EXTENSION *)(uintptr_t)ext);

	return same_octets(
		OBJ_get0_data(oid), OBJ_length(oid), delegation_oid, sizeof delegation_oid);
}

static bool read_key_usage(struct certificate *c, X509_EXTENSION *ext)
{
	ASN1_BIT_STRING *usage = X509V3_EXT_d2i(ext);

	if (usage == NULL)
		return false;
	c->has_key_usage = true;
	c->digital_signature = ASN1_BIT_STRING_get_bit(usage, USAGE_DIGITAL_SIGNATURE) == 1;
	c->key_encipherment = ASN1_BIT_STRING_get_bit(usage, USAGE_KEY_ENCIPHERMENT) == 1;
	if (ASN1_BIT_STRING_get_bit(usage, USAGE_KEY_CERT_SIGN) == 1)
		c->is_ca = true;
	ASN1_BIT_STRING_free(usage);
	return true;
}

static bool read_constraints(struct certificate *c, X509_EXTENSION *ext)
{
	BASIC_CONSTRAINTS *constraints = X509V3_EXT_d2i(ext);

	if (constraints == NULL)
		return false;
	if (constraints->ca != 0)
		c->is_ca = true;
	BASIC_CONSTRAINTS_free(constraints);
	return true;
}

static bool read_eku(struct certificate *c, X509_EXTENSION *ext)
{
	EXTENDED_KEY_USAGE *purposes = X509V3_EXT_d2i(ext);

	if (purposes == NULL)
		return false;
	c->has_eku = true;
	for (int i = 0; i < sk_ASN1_OBJECT_num(purposes); i++) {
		int nid = OBJ_obj2nid(sk_ASN1_OBJECT_value(purposes, i));
		c->eku_server |= nid == NID_server_auth;
		c->eku_client |= nid == NID_client_auth;
	}
	EXTENDED_KEY_USAGE_free(purposes);
	return true;
}

static bool read_delegation(struct certificate *c, X509_EXTENSION *ext)
{
	const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(ext);

	c->has_delegation = true;
	c->delegation_critical = X509_EXTENSION_get_critical(ext) != 0;
	c->delegation_null = same_octets(ASN1_STRING_get0_data(value),
		(size_t)ASN1_STRING_length(value), der_null, sizeof der_null);
	return true;
}

static bool stands_before(const X509 *x, int index, const ASN1_OBJECT *oid)
{
	for (int i = 0; i < index; i++)
		if (OBJ_cmp(X509_EXTENSION_get_object(X509_get_ext(x, i)), oid) == 0)
			return true;
	return false;
}

/* Of an extension that stands there twice the first is read; duplicate_extension says so. */
static bool read_extensions(struct certificate *c, const X509 *x)
{
	static const struct {
		int nid;
		bool (*read)(struct certificate *, X509_EXTENSION *);
	} readers[] = {
		{NID_key_usage, read_key_usage},
		{NID_basic_constraints, read_constraints},
		{NID_ext_key_usage, read_eku},
	};
	bool ok = true;

	for (int i = 0; ok && i < X509_get_ext_count(x); i++) {
		X509_EXTENSION *ext = X509_get_ext(x, i);
		const ASN1_OBJECT *oid = X509_EXTENSION_get_object(ext);
		if (stands_before(x, i, oid)) {
			c->duplicate_extension = true;
			continue;
		}
		if (is_delegation(ext))
			ok = read_delegation(c, ext);
		for (unsigned j = 0; ok && j < sizeof readers / sizeof *readers; j++)
			if (OBJ_obj2nid(oid) == readers[j].nid)
				ok = readers[j].read(c, ext);
	}
	return ok;
}

static bool signature_weak(X509 *x)
{
	static const int weak[] = {
		NID_md2, NID_md4, NID_md5, NID_md5_sha1, NID_mdc2, NID_ripemd160, NID_sha1};
	int digest = NID_undef, type = NID_undef;

	/* no answer for RSASSA-PSS: its parameters make no sense */
	if (X509_get_signature_info(x, &digest, &type, NULL, NULL) != 1 &&
		X509_get_signature_nid(x) == NID_rsassaPss)
		return true;
	for (unsigned i = 0; i < sizeof weak / sizeof *weak; i++)
		if (digest == weak[i])
			return true;
	return false;
}

static OSSL_LIB_CTX *no_keys;

static void no_keys_make(void)
{
	no_keys = OSSL_LIB_CTX_new();
	if (no_keys == NULL || OSSL_PROVIDER_load(no_keys, "null") != NULL)
		return;
	OSSL_LIB_CTX_free(no_keys);
	no_keys = NULL;
}

/* One whose reading does not find out what its public key is, for which libcrypto takes four times
 * as long as for all the rest: in a library context without providers it can't. */
static X509 *new_x509(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, no_keys_make);
	return X509_new_ex(no_keys, NULL);
}

/* DER, and nothing behind it: taken apart and put together again it is the same. */
static X509 *read_x509(const uint8_t *der, size_t len)
{
	const uint8_t *at = der;
	X509 *x = new_x509();
	uint8_t *inner = NULL, *whole = NULL;
	int whole_len = -1;

	if (x != NULL && d2i_X509(&x, &at, (long)len) == NULL)
		x = NULL; /* it has been freed */

	/* the first call drops the kept octets of the inner part, so that the second makes them */
	if (x != NULL && i2d_re_X509_tbs(x, &inner) > 0)
		whole_len = i2d_X509(x, &whole);
	if (whole_len < 0 || !same_octets(whole, (size_t)whole_len, der, len)) {
		X509_free(x);
		x = NULL;
	}
	OPENSSL_free(inner);
	OPENSSL_free(whole);
	return x;
}

static enum err read_facts(struct certificate *c, X509 *x)
{
	const X509_ALGOR *outer;

	X509_get0_signature(NULL, &outer, x);
	if (X509_ALGOR_cmp(outer, X509_get0_tbs_sigalg(x)) != 0)
		return ERR_CERT_MALFORMED;
	if (!read_time(X509_get0_notBefore(x), &c->not_before) ||
		!read_time(X509_get0_notAfter(x), &c->not_after) || !read_serial(c, x) ||
		!read_subject(c, x) || !read_key(c, x) || !read_extensions(c, x))
		return ERR_CERT_MALFORMED;
	c->weak_signature = signature_weak(x);
	return ERR_OK;
}

enum err certificate_read(struct certificate *c, const uint8_t *der, size_t len)
{
	enum err e = ERR_CERT_MALFORMED;

	memset(c, 0, sizeof *c);
	X509 *x = len == 0 || len > CERT_MAX ? NULL : read_x509(der, len);
	if (x == NULL)
		goto out;
	e = ERR_NOMEM;
	c->der = malloc(len);
	if (c->der == NULL)
		goto out;
	memcpy(c->der, der, len);
	c->len = len;
	sha256(der, len, c->sha256);
	e = read_facts(c, x);
out:
	X509_free(x);
	ERR_clear_error();
	if (e != ERR_OK)
		certificate_free(c);
	return e;
}

void certificate_free(struct certificate *c)
{
	free(c->der);
	free(c->spki);
	EVP_PKEY_free(c->key);
	memset(c, 0, sizeof *c);
}

/* The next CERTIFICATE block. ERR_CLOSED at the end of the file. */
static enum err read_block(BIO *bio, struct certificate *c)
{
	char *label = NULL, *header = NULL;
	uint8_t *data = NULL;
	long len;
	enum err e = ERR_CLOSED;

	for (;;) {
		if (PEM_read_bio(bio, &label, &header, &data, &len) != 1)
			return ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE
				       ? ERR_CLOSED
				       : ERR_CERT_MALFORMED;
		bool wanted = strcmp(label, PEM_STRING_X509) == 0;
		if (wanted)
			e = header[0] == '\0' ? certificate_read(c, data, (size_t)len)
					      : ERR_CERT_MALFORMED;
		OPENSSL_free(label);
		OPENSSL_free(header);
		OPENSSL_clear_free(data, (size_t)len);
		if (wanted)
			return e;
	}
}

static size_t count_of(const char *text, const uint8_t *pem, size_t len)
{
	size_t n = 0;

	for (const uint8_t *at = pem;
		(at = memmem(at, len - (size_t)(at - pem), text, strlen(text))); at++)
		n++;
	return n;
}

/* libcrypto passes over a block whose first line is damaged: then the lines do not add up. */
static bool all_taken(size_t count, const uint8_t *pem, size_t len)
{
	return count_of("-----BEGIN CERTIFICATE-----", pem, len) == count &&
	       count_of("-----END CERTIFICATE-----", pem, len) == count;
}

enum err certificate_read_pem(
	struct certificate *chain, size_t max, size_t *count, const uint8_t *pem, size_t len)
{
	struct certificate extra;
	enum err e = ERR_CERT_MALFORMED;

	*count = 0;
	ERR_clear_error();
	BIO *bio = len == 0 || len > INT32_MAX ? NULL : BIO_new_mem_buf(pem, (int)len);
	while (bio != NULL) {
		bool room = *count < max;
		e = read_block(bio, room ? &chain[*count] : &extra);
		if (e == ERR_OK && room) {
			++*count;
			continue;
		}
		if (e == ERR_OK) {
			certificate_free(&extra);
			e = ERR_CERT_MALFORMED;
		}
		break;
	}
	BIO_free(bio);
	ERR_clear_error();
	if (e == ERR_CLOSED && *count > 0 && all_taken(*count, pem, len))
		return ERR_OK;
	while (*count > 0)
		certificate_free(&chain[--*count]);
	return e == ERR_CLOSED ? ERR_CERT_MALFORMED : e;
}
