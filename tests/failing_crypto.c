/* The calls of libcrypto that fail without an allocation, or by none that could fail: counted and
 * failing as allocations do, in a program that is linked with FAILING_CRYPTO. */
#include <openssl/bn.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "failing_malloc.h"

#define FAILING(name, parameters, ...)                                                             \
	int __real_##name parameters;                                                              \
	int __wrap_##name parameters;                                                              \
	int __wrap_##name parameters                                                               \
	{                                                                                          \
		return failing_malloc_fails() ? 0 : __real_##name(__VA_ARGS__);                    \
	}

FAILING(BN_mod_mul, (BIGNUM * r, const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, BN_CTX *ctx), r,
	a, b, m, ctx)
FAILING(BN_mod_sqr, (BIGNUM * r, const BIGNUM *a, const BIGNUM *m, BN_CTX *ctx), r, a, m, ctx)
FAILING(BN_mod_sub, (BIGNUM * r, const BIGNUM *a, const BIGNUM *b, const BIGNUM *m, BN_CTX *ctx), r,
	a, b, m, ctx)
FAILING(EVP_PKEY_CTX_set_rsa_padding, (EVP_PKEY_CTX * ctx, int mode), ctx, mode)
FAILING(EVP_PKEY_CTX_set_rsa_mgf1_md, (EVP_PKEY_CTX * ctx, const EVP_MD *md), ctx, md)
FAILING(EVP_PKEY_fromdata_init, (EVP_PKEY_CTX * ctx), ctx)
FAILING(i2d_X509_PUBKEY, (const X509_PUBKEY *key, uint8_t **out), key, out)
FAILING(X509_STORE_CTX_init,
	(X509_STORE_CTX * ctx, X509_STORE *store, X509 *x, STACK_OF(X509) * chain), ctx, store, x,
	chain)
