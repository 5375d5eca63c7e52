/* A PKCS#10 request: one that proves possession holds its key once, as SubjectPublicKeyInfo. */
#include "settings.h" /* memmem */

#include <stdlib.h>
#include <string.h>

#include "pubkey.h"

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	struct buf spki = BUF_INIT(CSR_MAX);
	struct spki key;
	enum err e = pubkey_csr(octets, len, &spki);

	if ((e == ERR_OK) != (spki.len > 0))
		abort();
	if (e == ERR_OK && memmem(octets, len, spki.octets, spki.len) == NULL)
		abort();
	if (e == ERR_OK)
		spki_recognise(&key, spki.octets, spki.len);
	buf_free(&spki);
	return 0;
}
