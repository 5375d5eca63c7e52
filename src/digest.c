#include "digest.h"

#include <openssl/evp.h>
#include <pthread.h>
#include <stdlib.h>

size_t digest_size(enum digest d)
{
	static const size_t sizes[] = {
		[DIGEST_NONE] = 0,
		[DIGEST_SHA256] = 32,
		[DIGEST_SHA384] = 48,
		[DIGEST_SHA512] = 64,
	};

	return sizes[d];
}

static const EVP_MD *implementation(enum digest d)
{
	switch (d) {
	case DIGEST_SHA256:
		return EVP_sha256();
	case DIGEST_SHA384:
		return EVP_sha384();
	case DIGEST_SHA512:
		return EVP_sha512();
	case DIGEST_NONE:
		break;
	}
	abort();
}

/* Nothing but a lack of memory, which ends a program before (memory.h), lets a digest fail; no
 * caller could go on. */
size_t digest_compute(enum digest d, const void *octets, size_t len, uint8_t out[DIGEST_MAX])
{
	unsigned written = 0;

	if (d == DIGEST_SHA256) {
		sha256(octets, len, out);
		return SHA256_SIZE;
	}
	if (EVP_Digest(octets, len, out, &written, implementation(d), NULL) != 1 ||
		written != digest_size(d))
		abort();
	return written;
}

void sha256(const void *octets, size_t len, uint8_t out[SHA256_SIZE])
{
	const struct digest_part whole = {octets, len};

	sha256_parts(&whole, 1, out);
}

/* Fetched once, and one context a thread: to look up EVP_sha256() and to make a context at each use
 * takes longer than a short input. What is left in a context is the last digest. */
static EVP_MD *fetched;
static pthread_key_t contexts;

static void context_free(void *ctx)
{
	EVP_MD_CTX_free(ctx);
}

static void fetch(void)
{
	fetched = EVP_MD_fetch(NULL, "SHA256", NULL);
	if (fetched == NULL || pthread_key_create(&contexts, context_free) != 0)
		abort();
}

static EVP_MD_CTX *context(void)
{
	EVP_MD_CTX *ctx = pthread_getspecific(contexts);

	if (ctx != NULL)
		return ctx;
	ctx = EVP_MD_CTX_new();
	if (ctx == NULL || pthread_setspecific(contexts, ctx) != 0)
		abort();
	return ctx;
}

void sha256_parts(const struct digest_part *parts, size_t n, uint8_t out[SHA256_SIZE])
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	EVP_MD_CTX *ctx;

	pthread_once(&once, fetch);
	ctx = context();
	if (EVP_DigestInit_ex(ctx, fetched, NULL) != 1)
		abort();
	for (size_t i = 0; i < n; i++)
		if (EVP_DigestUpdate(ctx, parts[i].octets, parts[i].len) != 1)
			abort();
	if (EVP_DigestFinal_ex(ctx, out, NULL) != 1)
		abort();
}
