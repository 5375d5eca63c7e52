#include "keygen.h"

#include <string.h>

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

static const struct kind {
	const char *scheme;
	const char *alias;  /* NULL: none */
	const char *type;   /* of libcrypto */
	const char *curve;  /* NULL: no EC key */
	const char *digest; /* of the signature; NULL: the type brings its own */
	int bits;	    /* RSA */
} kinds[] = {
	{"ecdsa_secp256r1_sha256", "P-256", "EC", "P-256", "SHA256", 0},
	{"ecdsa_secp384r1_sha384", "P-384", "EC", "P-384", "SHA384", 0},
	{"ecdsa_secp521r1_sha512", "P-521", "EC", "P-521", "SHA512", 0},
	{"ed25519", NULL, "ED25519", NULL, NULL, 0},
	{"rsa_pss_pss_sha256", NULL, "RSA-PSS", NULL, "SHA256", 2048},
};

#define KINDS (sizeof kinds / sizeof kinds[0])

static const struct kind *kind_of(const char *name)
{
	size_t i;
	for (i = 0; i < KINDS; i++)
		if (strcmp(name, kinds[i].scheme) == 0 ||
			(kinds[i].alias && strcmp(name, kinds[i].alias) == 0))
			return &kinds[i];
	return NULL;
}

const struct scheme *keygen_scheme(const char *name)
{
	const struct kind *k = kind_of(name);
	return k ? scheme_by_name(k->scheme) : NULL;
}

void keygen_names(char *text, size_t size)
{
	struct buf b = BUF_INIT(512);
	const char *all;
	size_t i;
	for (i = 0; i < KINDS; i++) {
		buf_printf(&b, "%s%s", i ? ", " : "", kinds[i].scheme);
		if (kinds[i].alias)
			buf_printf(&b, " (%s)", kinds[i].alias);
	}
	all = buf_cstr(&b);
	snprintf(text, size, "%s", all ? all : "");
	buf_free(&b);
}

/* The key says in its parameters what it may be used for: one digest, MGF1 with it, its length as
 * the salt (RFC 4055 section 3.1). */
static int restrict_pss(EVP_PKEY_CTX *ctx, const struct kind *k)
{
	const EVP_MD *md = EVP_get_digestbyname(k->digest);
	return md && EVP_PKEY_CTX_set_rsa_keygen_bits(ctx, k->bits) > 0 &&
	       EVP_PKEY_CTX_set_rsa_pss_keygen_md(ctx, md) > 0 &&
	       EVP_PKEY_CTX_set_rsa_pss_keygen_mgf1_md(ctx, md) > 0 &&
	       EVP_PKEY_CTX_set_rsa_pss_keygen_saltlen(ctx, EVP_MD_get_size(md)) > 0;
}

EVP_PKEY *keygen_make(const struct scheme *scheme)
{
	const struct kind *k = kind_of(scheme->name);
	EVP_PKEY_CTX *ctx = k ? EVP_PKEY_CTX_new_from_name(NULL, k->type, NULL) : NULL;
	EVP_PKEY *key = NULL;

	if (!ctx || EVP_PKEY_keygen_init(ctx) <= 0)
		goto out;
	if (k->curve && EVP_PKEY_CTX_set_group_name(ctx, k->curve) <= 0)
		goto out;
	if (k->bits && !restrict_pss(ctx, k))
		goto out;
	if (EVP_PKEY_generate(ctx, &key) <= 0)
		key = NULL;
out:
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static enum err take_bio(struct buf *out, BIO *bio)
{
	char *text = NULL;
	long n = BIO_get_mem_data(bio, &text);
	buf_put(out, text, (size_t)n);
	return out->err;
}

enum err keygen_private_pem(struct buf *out, EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_secmem());
	enum err e = ERR_CRYPTO;
	if (bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) > 0)
		e = take_bio(out, bio);
	BIO_free(bio);
	return e;
}

enum err keygen_csr_pem(struct buf *out, EVP_PKEY *key, const struct scheme *scheme)
{
	const struct kind *k = kind_of(scheme->name);
	X509_REQ *req = X509_REQ_new();
	BIO *bio = BIO_new(BIO_s_mem());
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	enum err e = ERR_CRYPTO;

	if (!k || !req || !bio || !ctx || !X509_REQ_set_version(req, X509_REQ_VERSION_1) ||
		!X509_REQ_set_pubkey(req, key))
		goto out;
	if (EVP_DigestSignInit_ex(ctx, NULL, k->digest, NULL, NULL, key, NULL) <= 0 ||
		X509_REQ_sign_ctx(req, ctx) <= 0 || !PEM_write_bio_X509_REQ(bio, req))
		goto out;
	e = take_bio(out, bio);
out:
	EVP_MD_CTX_free(ctx);
	BIO_free(bio);
	X509_REQ_free(req);
	return e;
}
