/* The only hash functions of the project, over libcrypto. They abort when libcrypto has none. */
#ifndef DCSIGN_DIGEST_H
#define DCSIGN_DIGEST_H

#include <stddef.h>
#include <stdint.h>

#define SHA256_SIZE 32
#define DIGEST_MAX  64

enum digest { DIGEST_NONE, DIGEST_SHA256, DIGEST_SHA384, DIGEST_SHA512 };

size_t digest_size(enum digest d); /* octets; 0 for DIGEST_NONE */
/* One shot. Returns the octets written to out. */
size_t digest_compute(enum digest d, const void *octets, size_t len, uint8_t out[DIGEST_MAX]);
void sha256(const void *octets, size_t len, uint8_t out[SHA256_SIZE]);

struct digest_part {
	const void *octets;
	size_t len;
};
/* SHA-256 over several parts, in order. */
void sha256_parts(const struct digest_part *parts, size_t n, uint8_t out[SHA256_SIZE]);

#endif
