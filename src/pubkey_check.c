#include "pubkey.h"
#include "pubkey_curves.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <string.h>

#define SMALL_FACTOR_LIMIT 752
#define ROCA_PRIME_LIMIT   167

/* All these curves have a prime order: a point on the curve that is not its zero has that order. */
static enum err check_ec(const struct spki *spki)
{
	const EC_GROUP *curve = pubkey_curve(spki->key);
	EC_POINT *point = curve == NULL ? NULL : EC_POINT_new(curve);
	enum err e = ERR_SPKI_INVALID;

	if (point == NULL)
		return ERR_CRYPTO;
	/* refuses coordinates that are not below the field's prime, and points off the curve */
	if (EC_POINT_oct2point(curve, point, spki->point, spki->point_len, NULL) == 1 &&
		!EC_POINT_is_at_infinity(curve, point))
		e = ERR_OK;
	EC_POINT_free(point);
	ERR_clear_error();
	return e;
}

/* Edwards curves a x^2 + y^2 = 1 + d x^2 y^2 of RFC 8032 sections 5.1 and 5.2. */
static const struct edwards {
	enum key_type key;
	const char *p, *a, *d;
} edwards_curves[] = {
	{KEY_ED25519, "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffed",
		"7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffec", /* -1 */
		"52036cee2b6ffe738cc740797779e89800700a4d4141d8ab75eb4dca135978a3"},
	{KEY_ED448,
		"fffffffffffffffffffffffffffffffffffffffffffffffffffffffe"
		"ffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"1",
		"fffffffffffffffffffffffffffffffffffffffffffffffffffffffe"
		"ffffffffffffffffffffffffffffffffffffffffffffffffffff6756"},
};

/*
 * On the curve x^2 = w / z with w = 1 - y^2 and z = a - d y^2. y is that of a point when w / z,
 * thus also w z, is a square. The points of low order have y = 0, or y = +-1 (then w, and with it
 * the symbol of Kronecker, is 0), or double to y = 0, which is to say y^2 = a x^2, y^2 z = a w.
 */
static enum err judge_edwards(const struct edwards *curve, BIGNUM *y, BN_CTX *ctx)
{
	BIGNUM *p = BN_CTX_get(ctx), *a = BN_CTX_get(ctx), *d = BN_CTX_get(ctx);
	BIGNUM *y2 = BN_CTX_get(ctx);
	BIGNUM *w = BN_CTX_get(ctx), *z = BN_CTX_get(ctx), *t = BN_CTX_get(ctx);

	if (t == NULL || BN_hex2bn(&p, curve->p) == 0 || BN_hex2bn(&a, curve->a) == 0 ||
		BN_hex2bn(&d, curve->d) == 0)
		return ERR_CRYPTO;
	if (BN_cmp(y, p) >= 0)
		return ERR_SPKI_INVALID;
	if (!BN_mod_sqr(y2, y, p, ctx) || !BN_mod_sub(w, BN_value_one(), y2, p, ctx) ||
		!BN_mod_mul(z, d, y2, p, ctx) || !BN_mod_sub(z, a, z, p, ctx))
		return ERR_CRYPTO;

	if (BN_is_zero(y))
		return ERR_SPKI_INVALID;
	if (!BN_mod_mul(t, w, z, p, ctx))
		return ERR_CRYPTO;
	if (BN_kronecker(t, p, ctx) != 1)
		return ERR_SPKI_INVALID;
	if (!BN_mod_mul(t, y2, z, p, ctx) || !BN_mod_mul(w, a, w, p, ctx))
		return ERR_CRYPTO;
	return BN_cmp(t, w) == 0 ? ERR_SPKI_INVALID : ERR_OK;
}

static enum err check_edwards(const struct spki *spki)
{
	const struct edwards *curve = &edwards_curves[spki->key == KEY_ED25519 ? 0 : 1];
	uint8_t octets[57];
	BN_CTX *ctx = BN_CTX_new();
	enum err e = ERR_CRYPTO;

	memcpy(octets, spki->point, spki->point_len);
	octets[spki->point_len - 1] &= 0x7f; /* the sign of x */
	if (ctx != NULL) {
		BN_CTX_start(ctx);
		BIGNUM *y = BN_CTX_get(ctx);
		if (y != NULL && BN_lebin2bn(octets, (int)spki->point_len, y) != NULL)
			e = judge_edwards(curve, y, ctx);
		BN_CTX_end(ctx);
	}
	BN_CTX_free(ctx);
	ERR_clear_error();
	return e;
}

static bool is_prime(unsigned n)
{
	for (unsigned i = 2; i * i <= n; i++)
		if (n % i == 0)
			return false;
	return n >= 2;
}

/* Whether n is a power of 65537 modulo this prime. */
static bool is_power(unsigned n, unsigned prime)
{
	unsigned power = 1;

	do {
		if (power == n)
			return true;
		power = power * (65537 % prime) % prime;
	} while (power != 1);
	return false;
}

/*
 * No factor below the limit; and not the fingerprint of CVE-2017-15361 ("ROCA"): primes of that
 * generator are powers of 65537 modulo every small prime, so their product is too, and a modulus
 * made otherwise is so by chance once in 2^50 times or less.
 */
static enum err check_rsa(const struct spki *spki)
{
	BIGNUM *n = BN_bin2bn(spki->modulus, (int)spki->modulus_len, NULL);
	bool fingerprint = true;
	enum err e = ERR_OK;

	if (n == NULL)
		return ERR_CRYPTO;
	for (unsigned prime = 2; prime < SMALL_FACTOR_LIMIT; prime++) {
		if (!is_prime(prime))
			continue;
		unsigned rest = (unsigned)BN_mod_word(n, prime);
		if (rest == 0)
			e = ERR_SPKI_WEAK;
		if (prime > 2 && prime <= ROCA_PRIME_LIMIT && !is_power(rest, prime))
			fingerprint = false;
	}
	BN_free(n);
	return fingerprint ? ERR_SPKI_WEAK : e;
}

enum err pubkey_check(const struct spki *spki)
{
	switch (spki->key) {
	case KEY_EC_P256:
	case KEY_EC_P384:
	case KEY_EC_P521:
	case KEY_BP256:
	case KEY_BP384:
	case KEY_BP512:
		return check_ec(spki);
	case KEY_ED25519:
	case KEY_ED448:
		return check_edwards(spki);
	case KEY_RSA:
	case KEY_RSA_PSS:
		return check_rsa(spki);
	default:
		return ERR_OK;
	}
}
