#include "failing_malloc.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#include "digest.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void __real_free(void *old);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void __wrap_free(void *old);

static unsigned left; /* allocations up to the one that fails; 0: none does */
static bool failed;
static long alive; /* what our own objects have allocated */

bool failing_malloc_fails(void)
{
	if (left == 0 || --left > 0)
		return false;
	failed = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	void *made = failing_malloc_fails() ? NULL : __real_malloc(size);

	alive += made != NULL;
	return made;
}

void *__wrap_calloc(size_t count, size_t size)
{
	void *made = failing_malloc_fails() ? NULL : __real_calloc(count, size);

	alive += made != NULL;
	return made;
}

void *__wrap_realloc(void *old, size_t size)
{
	void *made = failing_malloc_fails() ? NULL : __real_realloc(old, size);

	alive += old == NULL && made != NULL;
	return made;
}

void __wrap_free(void *old)
{
	alive -= old != NULL;
	__real_free(old);
}

static void *crypto_malloc(size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return failing_malloc_fails() ? NULL : __real_malloc(size);
}

static void *crypto_realloc(void *old, size_t size, const char *file, int line)
{
	(void)file;
	(void)line;
	return failing_malloc_fails() ? NULL : __real_realloc(old, size);
}

static void crypto_free(void *old, const char *file, int line)
{
	(void)file;
	(void)line;
	__real_free(old);
}

void __real_sha256(const void *octets, size_t len, uint8_t out[SHA256_SIZE]);
void __wrap_sha256(const void *octets, size_t len, uint8_t out[SHA256_SIZE]);
void __wrap_sha256(const void *octets, size_t len, uint8_t out[SHA256_SIZE])
{
	unsigned kept = left;

	left = 0;
	__real_sha256(octets, len, out);
	left = kept;
}

bool failing_malloc_libcrypto(void)
{
	return CRYPTO_set_mem_functions(crypto_malloc, crypto_realloc, crypto_free) == 1;
}

void failing_malloc_at(unsigned n)
{
	left = n;
	failed = false;
}

bool failing_malloc_failed(void)
{
	return failed;
}

long failing_malloc_alive(void)
{
	return alive;
}
