#include "dc_maker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#define NEED(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "dc_maker: line %d: %s\n", __LINE__, #condition);          \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

const struct cert_wish good_certificate = {
	"P-256", "0500", "critical,digitalSignature", "serverAuth,clientAuth", MAKER_NB, MAKER_NA};

const struct dc_wish good_dc = {86400, 0x0403, "P-256", NULL, 0x0403, DC_SERVER};

static EVP_PKEY *make_pss_key(void)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
	EVP_PKEY *key = NULL;
	NEED(ctx && EVP_PKEY_keygen_init(ctx) > 0 && EVP_PKEY_generate(ctx, &key) > 0);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

EVP_PKEY *make_key(const char *type)
{
	EVP_PKEY *key;
	if (strcmp(type, "ED25519") == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
	else if (strcmp(type, "RSA") == 0)
		key = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)2048);
	else if (strcmp(type, "RSA-PSS") == 0)
		key = make_pss_key();
	else
		key = EVP_PKEY_Q_keygen(NULL, NULL, "EC", type);
	NEED(key);
	return key;
}

static void extend(X509 *x, const char *name, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;
	X509V3_set_ctx(&ctx, x, x, NULL, NULL, 0);
	e = X509V3_EXT_conf(NULL, &ctx, name, value);
	NEED(e && X509_add_ext(x, e, -1));
	X509_EXTENSION_free(e);
}

void make_certificate(struct made_certificate *out, const struct cert_wish *wish)
{
	X509 *x = X509_new();
	char der_value[64];
	unsigned char *der = NULL;
	int len;

	memset(out, 0, sizeof *out);
	out->key = make_key(wish->type);
	NEED(x && X509_set_version(x, X509_VERSION_3) &&
		ASN1_INTEGER_set(X509_get_serialNumber(x), 7) &&
		ASN1_TIME_set(X509_getm_notBefore(x), wish->not_before) &&
		ASN1_TIME_set(X509_getm_notAfter(x), wish->not_after) &&
		X509_set_pubkey(x, out->key));
	NEED(X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
		(const unsigned char *)"dc.example.test", -1, -1, 0));
	if (wish->delegation) {
		snprintf(der_value, sizeof der_value, "DER:%s", wish->delegation);
		extend(x, "1.3.6.1.4.1.44363.44", der_value);
	}
	if (wish->key_usage)
		extend(x, "keyUsage", wish->key_usage);
	if (wish->purpose)
		extend(x, "extendedKeyUsage", wish->purpose);
	NEED(X509_sign(x, out->key, strcmp(wish->type, "ED25519") ? EVP_sha256() : NULL) > 0);
	len = i2d_X509(x, &der);
	NEED(len > 0 && certificate_read(&out->certificate, der, (size_t)len) == ERR_OK);
	OPENSSL_free(der);
	X509_free(x);
}

void made_certificate_free(struct made_certificate *in)
{
	EVP_PKEY_free(in->key);
	certificate_free(&in->certificate);
}

static const EVP_MD *digest_of(EVP_PKEY *key)
{
	if (EVP_PKEY_is_a(key, "ED25519"))
		return NULL;
	if (EVP_PKEY_is_a(key, "RSA"))
		return EVP_sha256();
	return EVP_PKEY_get_bits(key) == 256   ? EVP_sha256()
	       : EVP_PKEY_get_bits(key) == 384 ? EVP_sha384()
					       : EVP_sha512();
}

static void sign(struct buf *out, EVP_PKEY *key, const struct buf *message)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *p;
	uint8_t signature[1024];
	size_t len = sizeof signature;
	NEED(ctx && EVP_DigestSignInit(ctx, &p, digest_of(key), NULL, key) > 0);
	if (EVP_PKEY_is_a(key, "RSA"))
		NEED(EVP_PKEY_CTX_set_rsa_padding(p, RSA_PKCS1_PSS_PADDING) > 0 &&
			EVP_PKEY_CTX_set_rsa_pss_saltlen(p, RSA_PSS_SALTLEN_DIGEST) > 0);
	NEED(EVP_DigestSign(ctx, signature, &len, message->octets, message->len) > 0);
	buf_u16(out, (uint16_t)len);
	buf_put(out, signature, len);
	EVP_MD_CTX_free(ctx);
}

static void put_key(struct buf *out, const struct dc_wish *wish)
{
	EVP_PKEY *key;
	unsigned char *der = NULL;
	int len;
	if (!wish->type) {
		buf_u24(out, (uint32_t)wish->spki->len);
		buf_put(out, wish->spki->octets, wish->spki->len);
		return;
	}
	key = make_key(wish->type);
	len = i2d_PUBKEY(key, &der);
	NEED(len > 0);
	buf_u24(out, (uint32_t)len);
	buf_put(out, der, (size_t)len);
	OPENSSL_free(der);
	EVP_PKEY_free(key);
}

void make_dc(struct buf *out, const struct made_certificate *by, const struct dc_wish *wish)
{
	struct buf message = BUF_INIT(1 << 18);
	size_t begin = out->len;
	int i;

	buf_u32(out, wish->valid_time);
	buf_u16(out, wish->scheme);
	put_key(out, wish);
	buf_u16(out, wish->algorithm);
	for (i = 0; i < 64; i++)
		buf_u8(&message, 0x20);
	buf_text(&message, wish->role == DC_CLIENT ? "TLS, client delegated credentials"
						   : "TLS, server delegated credentials");
	buf_u8(&message, 0);
	buf_put(&message, by->certificate.der, by->certificate.len);
	buf_put(&message, out->octets + begin, out->len - begin);
	sign(out, by->key, &message);
	NEED(!out->err && !message.err);
	buf_free(&message);
}
