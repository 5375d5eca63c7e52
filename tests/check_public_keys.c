/* The public keys that the process keeps: bounded, and the right one whatever was kept before. */
#include "public_keys.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "digest.h"
#include "pubkey.h"
#include "run_suite.h"

#define MANY	(3 * PUBLIC_KEYS_MOST)
#define THREADS 4

static const uint8_t message[] = "what was signed";

struct signer {
	struct certificate certificate; /* of which only the key is known */
	const struct scheme *scheme;
	uint8_t signature[512];
	size_t len;
};
static struct signer many[MANY];

static void signer_make(struct signer *s, EVP_PKEY *key, enum key_type type, uint16_t scheme)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *parameters;
	const EVP_MD *md = type == KEY_ED25519 ? NULL : EVP_sha256();
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);

	ck_assert_int_gt(len, 0);
	s->certificate = (struct certificate){
		.spki = der, .spki_len = (size_t)len, .key_type = type, .algorithm = scheme};
	sha256(der, (size_t)len, s->certificate.spki_sha256);
	s->scheme = scheme_by_code(scheme);
	if (s->scheme->digest == DIGEST_SHA384)
		md = EVP_sha384();
	s->len = sizeof s->signature;
	ck_assert_int_eq(EVP_DigestSignInit(ctx, &parameters, md, NULL, key), 1);
	if (type == KEY_RSA) {
		EVP_PKEY_CTX_set_rsa_padding(parameters, RSA_PKCS1_PSS_PADDING);
		EVP_PKEY_CTX_set_rsa_pss_saltlen(parameters, RSA_PSS_SALTLEN_DIGEST);
	}
	ck_assert_int_eq(EVP_DigestSign(ctx, s->signature, &s->len, message, sizeof message), 1);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
}

static void many_make(void)
{
	for (size_t i = 0; i < MANY; i++)
		signer_make(&many[i], EVP_EC_gen(i % 2 == 0 ? "P-256" : "P-384"),
			i % 2 == 0 ? KEY_EC_P256 : KEY_EC_P384, i % 2 == 0 ? 0x0403 : 0x0503);
}

static void many_free(void)
{
	for (size_t i = 0; i < MANY; i++)
		OPENSSL_free(many[i].certificate.spki);
}

static enum err verify(const struct signer *s, const struct certificate *c)
{
	EVP_PKEY *key = public_key(c);
	enum err e = key == NULL ? ERR_CRYPTO
				 : pubkey_verify(key, s->scheme, message, sizeof message,
					   s->signature, s->len);

	EVP_PKEY_free(key);
	return e;
}

START_TEST(right_after_others_took_its_place)
{
	many_make();
	ck_assert_uint_eq(public_keys_kept(), 0);
	for (int round = 0; round < 2; round++)
		for (size_t i = 0; i < MANY; i++) {
			const struct signer *other = &many[(i + 2) % MANY];

			ck_assert_int_eq(verify(&many[i], &many[i].certificate), ERR_OK);
			ck_assert_int_eq(verify(&many[i], &other->certificate), ERR_DC_SIGNATURE);
			ck_assert_uint_le(public_keys_kept(), PUBLIC_KEYS_MOST);
		}
	ck_assert_uint_eq(public_keys_kept(), PUBLIC_KEYS_MOST);
	many_free();
}
END_TEST

START_TEST(those_used_last_stay)
{
	EVP_PKEY *first, *again;

	many_make();
	first = public_key(&many[0].certificate);
	for (size_t i = 1; i < MANY; i++) {
		EVP_PKEY_free(public_key(&many[i].certificate));
		if (i % (PUBLIC_KEYS_MOST / 2) != 0)
			continue;
		again = public_key(&many[0].certificate);
		ck_assert_ptr_eq(first, again);
		EVP_PKEY_free(again);
	}
	/* a key that has lost its place is still good for who holds it */
	for (size_t i = 1; i < MANY; i++)
		EVP_PKEY_free(public_key(&many[i].certificate));
	again = public_key(&many[0].certificate);
	ck_assert_ptr_ne(first, again);
	ck_assert_int_eq(pubkey_verify(first, many[0].scheme, message, sizeof message,
				 many[0].signature, many[0].len),
		ERR_OK);
	EVP_PKEY_free(again);
	EVP_PKEY_free(first);
	many_free();
}
END_TEST

static void *use(void *arg)
{
	unsigned at = *(unsigned *)arg;
	uintptr_t bad = 0;

	for (unsigned i = 0; i < 1500; i++) {
		at = at * 1103515245 + 12345;
		/* some of them most of the time */
		const struct signer *s = &many[(at >> 16) % (i % 4 == 0 ? MANY : 8)];

		bad += verify(s, &s->certificate) != ERR_OK;
	}
	return (void *)bad;
}

START_TEST(from_many_threads)
{
	unsigned seed[THREADS];
	pthread_t thread[THREADS];
	void *bad;

	many_make();
	for (unsigned i = 0; i < THREADS; i++) {
		seed[i] = i;
		ck_assert_int_eq(pthread_create(&thread[i], NULL, use, &seed[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(thread[i], &bad);
		ck_assert_ptr_null(bad);
	}
	ck_assert_uint_le(public_keys_kept(), PUBLIC_KEYS_MOST);
	many_free();
}
END_TEST

START_TEST(other_types)
{
	static struct signer other[2];
	uint8_t nonsense[] = {0x30, 0x00};
	struct certificate none = {0}, bad = {.spki = nonsense, .spki_len = sizeof nonsense};

	many_make();
	signer_make(&other[0], EVP_RSA_gen(2048), KEY_RSA, 0x0804);
	signer_make(&other[1], EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), KEY_ED25519, 0x0807);
	for (size_t i = 0; i < 2; i++) {
		ck_assert_int_eq(verify(&other[i], &other[i].certificate), ERR_OK);
		ck_assert_int_eq(verify(&other[i], &many[0].certificate), ERR_DC_ALGORITHM);
		OPENSSL_free(other[i].certificate.spki);
	}
	ck_assert_ptr_null(public_key(&none));
	ck_assert_ptr_null(public_key(&bad));
	many_free();
}
END_TEST

RUN_SUITE("public keys", right_after_others_took_its_place, those_used_last_stay, from_many_threads,
	other_types)
