/* A public key: what is recognised points into the input, and where libcrypto knows the type and
 * the key is sound, libcrypto encodes it to the same octets. */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "pubkey.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

static void insist(bool ok)
{
	if (!ok)
		abort();
}

static void same_as_libcrypto(const struct spki *spki)
{
	const uint8_t *at = spki->octets;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)spki->len);
	uint8_t *again = NULL;

	if (spki->key >= KEY_MLDSA44)
		return;
	insist(key != NULL);
	int n = i2d_PUBKEY(key, &again);
	insist(n == (int)spki->len && memcmp(again, spki->octets, spki->len) == 0);
	OPENSSL_free(again);
	EVP_PKEY_free(key);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct spki spki;
	unsigned fits = 0;

	if (spki_recognise(&spki, octets, len) != ERR_OK)
		return 0;
	insist(spki.octets == octets && spki.len == len && spki.key != KEY_NONE);
	insist(spki.key != KEY_RSA && (spki.modulus != NULL) == (spki.key == KEY_RSA_PSS));
	for (unsigned i = 0; i < scheme_count(); i++)
		fits += spki_matches(&spki, scheme_at(i)) == ERR_OK;
	insist(fits >= 1 && fits <= 3);
	if (pubkey_check(&spki) == ERR_OK)
		same_as_libcrypto(&spki);
	return 0;
}
