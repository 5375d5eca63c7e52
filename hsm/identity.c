#include "identity.h"

#include <openssl/rand.h>

enum err identity_new(char id[ID_SIZE])
{
	uint8_t random[(ID_SIZE - 1) / 2];

	if (RAND_bytes(random, sizeof random) != 1)
		return ERR_CRYPTO;
	hex_encode(id, random, sizeof random);
	return ERR_OK;
}
