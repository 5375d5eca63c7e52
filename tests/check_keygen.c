#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "client/keygen.h"
#include "pubkey.h"

static const char *const names[] = {"ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384",
	"ecdsa_secp521r1_sha512", "ed25519", "rsa_pss_pss_sha256"};

/* The service's own check of the proof accepts the request; the key is one for this scheme. */
START_TEST(the_request_proves_possession)
{
	const struct scheme *scheme = keygen_scheme(names[_i]);
	struct buf pem = BUF_INIT(65536), spki_octets = BUF_INIT(SPKI_MAX), der = BUF_INIT(CSR_MAX);
	EVP_PKEY *key = keygen_make(scheme);
	struct spki spki;
	BIO *bio;
	X509_REQ *req;
	unsigned char *octets = NULL;
	int len;

	ck_assert_ptr_nonnull(key);
	ck_assert_int_eq(keygen_csr_pem(&pem, key, scheme), ERR_OK);
	bio = BIO_new_mem_buf(pem.octets, (int)pem.len);
	req = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	ck_assert_ptr_nonnull(req);
	len = i2d_X509_REQ(req, &octets);
	ck_assert_int_eq(pubkey_csr(octets, (size_t)len, &spki_octets), ERR_OK);
	ck_assert_int_eq(spki_recognise(&spki, spki_octets.octets, spki_octets.len), ERR_OK);
	ck_assert_int_eq(spki_matches(&spki, scheme), ERR_OK);
	ck_assert_int_eq(pubkey_check(&spki), ERR_OK);
	ck_assert_int_eq(EVP_PKEY_eq(X509_REQ_get0_pubkey(req), key), 1);
	OPENSSL_free(octets);
	X509_REQ_free(req);
	BIO_free(bio);
	EVP_PKEY_free(key);
	buf_free(&pem);
	buf_free(&spki_octets);
	buf_free(&der);
}
END_TEST

START_TEST(the_private_key_is_pkcs8)
{
	const struct scheme *scheme = keygen_scheme(names[_i]);
	struct buf pem = BUF_INIT(65536);
	EVP_PKEY *key = keygen_make(scheme), *again;
	BIO *bio;
	ck_assert_int_eq(keygen_private_pem(&pem, key), ERR_OK);
	ck_assert(strncmp((char *)pem.octets, "-----BEGIN PRIVATE KEY-----\n", 28) == 0);
	bio = BIO_new_mem_buf(pem.octets, (int)pem.len);
	again = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
	ck_assert_ptr_nonnull(again);
	ck_assert_int_eq(EVP_PKEY_eq(again, key), 1);
	EVP_PKEY_free(again);
	EVP_PKEY_free(key);
	BIO_free(bio);
	buf_wipe(&pem);
}
END_TEST

START_TEST(names_and_short_forms)
{
	char text[512];
	size_t i;
	ck_assert_uint_eq(keygen_scheme("P-256")->code, 0x0403);
	ck_assert_uint_eq(keygen_scheme("P-384")->code, 0x0503);
	ck_assert_uint_eq(keygen_scheme("P-521")->code, 0x0603);
	ck_assert_ptr_null(keygen_scheme("p-256"));
	ck_assert_ptr_null(keygen_scheme(""));
	ck_assert_ptr_null(keygen_scheme("mldsa44"));
	keygen_names(text, sizeof text);
	for (i = 0; i < 5; i++)
		ck_assert_ptr_nonnull(strstr(text, names[i]));
}
END_TEST

START_TEST(two_keys_differ)
{
	EVP_PKEY *a = keygen_make(keygen_scheme("P-256")), *b = keygen_make(keygen_scheme("P-256"));
	ck_assert_int_ne(EVP_PKEY_eq(a, b), 1);
	EVP_PKEY_free(a);
	EVP_PKEY_free(b);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("keygen");
	TCase *t = tcase_create("keygen");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_loop_test(t, the_request_proves_possession, 0, 5);
	tcase_add_loop_test(t, the_private_key_is_pkcs8, 0, 5);
	tcase_add_test(t, names_and_short_forms);
	tcase_add_test(t, two_keys_differ);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
