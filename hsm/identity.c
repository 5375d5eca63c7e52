#include "identity.h"

#include <openssl/rand.h>
#include <time.h>

#define TIME_OCTETS 6

enum err identity_new(char id[ID_SIZE])
{
	uint8_t octets[(ID_SIZE - 1) / 2];
	struct timespec t;
	uint64_t ms;

	clock_gettime(CLOCK_REALTIME, &t);
	ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
	for (int i = 0; i < TIME_OCTETS; i++)
		octets[i] = (uint8_t)(ms >> 8 * (TIME_OCTETS - 1 - i));
	if (RAND_bytes(octets + TIME_OCTETS, sizeof octets - TIME_OCTETS) != 1)
		return ERR_CRYPTO;
	hex_encode(id, octets, sizeof octets);
	return ERR_OK;
}
