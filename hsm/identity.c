#include "identity.h"

#include <openssl/rand.h>
#include <string.h>
#include <time.h>

#define TIME_OCTETS 6
#define AT_ONCE	    16 /* ids; asking for the octets of one costs as much */

enum err identity_new(char id[ID_SIZE])
{
	static _Thread_local uint8_t random[AT_ONCE][(ID_SIZE - 1) / 2 - TIME_OCTETS];
	static _Thread_local unsigned left;
	uint8_t octets[(ID_SIZE - 1) / 2];
	struct timespec t;
	uint64_t ms;

	if (left == 0 && RAND_bytes(random[0], sizeof random) != 1)
		return ERR_CRYPTO;
	left = (left == 0 ? AT_ONCE : left) - 1;
	clock_gettime(CLOCK_REALTIME, &t);
	ms = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
	for (int i = 0; i < TIME_OCTETS; i++)
		octets[i] = (uint8_t)(ms >> 8 * (TIME_OCTETS - 1 - i));
	memcpy(octets + TIME_OCTETS, random[left], sizeof random[left]);
	hex_encode(id, octets, sizeof octets);
	return ERR_OK;
}
