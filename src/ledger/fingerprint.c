#include "fingerprint.h"

#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>

static void name(char hex[2 * SHA256_SIZE + 1], unsigned char *der, int len)
{
	uint8_t hash[SHA256_SIZE];

	sha256(der, (size_t)len, hash);
	hex_encode(hex, hash, sizeof(hash));
	OPENSSL_free(der);
}

static X509 *certificate_of(BIO *file)
{
	X509 *x = PEM_read_bio_X509(file, NULL, NULL, NULL);

	if (!x && BIO_reset(file) == 0)
		x = d2i_X509_bio(file, NULL);
	return x;
}

/* A passphrase is asked of nobody. */
static int nobody(char *at, int size, int writes, void *arg)
{
	(void)at;
	(void)size;
	(void)writes;
	(void)arg;
	return -1;
}

static EVP_PKEY *key_of(BIO *file)
{
	EVP_PKEY *key = PEM_read_bio_PUBKEY(file, NULL, NULL, NULL);

	if (!key && BIO_reset(file) == 0)
		key = d2i_PUBKEY_bio(file, NULL);
	if (!key && BIO_reset(file) == 0)
		key = PEM_read_bio_PrivateKey(file, NULL, nobody, NULL);
	if (!key && BIO_reset(file) == 0) {
		X509 *x = certificate_of(file);

		key = x ? X509_get_pubkey(x) : NULL;
		X509_free(x);
	}
	return key;
}

bool fingerprint_public_key(char hex[2 * SHA256_SIZE + 1], const char *path)
{
	BIO *file = BIO_new_file(path, "rb");
	EVP_PKEY *key = file ? key_of(file) : NULL;
	unsigned char *der = NULL;
	int len = key ? i2d_PUBKEY(key, &der) : -1;

	EVP_PKEY_free(key);
	BIO_free(file);
	if (len > 0)
		name(hex, der, len);
	return len > 0;
}

bool fingerprint_certificate(char hex[2 * SHA256_SIZE + 1], const char *path)
{
	BIO *file = BIO_new_file(path, "rb");
	X509 *x = file ? certificate_of(file) : NULL;
	unsigned char *der = NULL;
	int len = x ? i2d_X509(x, &der) : -1;

	X509_free(x);
	BIO_free(file);
	if (len > 0)
		name(hex, der, len);
	return len > 0;
}
