/*
 * Recognising the SubjectPublicKeyInfo of a DC key by its octets alone (pure). Only the one DER
 * form of each type is taken: named curve, uncompressed point, exact prefix, exact length (ML-DSA
 * likewise); RSASSA-PSS through a strict DER walk. RFC 9345 section 4, RFC 5480, RFC 8410, RFC
 * 4055, RFC 9881.
 */
#ifndef DCSIGN_SPKI_H
#define DCSIGN_SPKI_H

#include "err.h"
#include "scheme.h"

#define SPKI_MAX 8192

struct spki {
	enum key_type key;
	const uint8_t *octets; /* the whole SubjectPublicKeyInfo, borrowed */
	size_t len;
	const uint8_t *point; /* the key itself: EC point with its 04, Ed25519 key, ...; borrowed */
	size_t point_len;
	enum digest pss_digest; /* RSASSA-PSS with parameters: their digest; else DIGEST_NONE */
	const uint8_t *modulus; /* RSA: without leading zero, borrowed; else NULL */
	size_t modulus_len;
	uint64_t exponent; /* RSA */
};

/*
 * ERR_OK and *out; ERR_SPKI_UNKNOWN for anything that is not exactly one accepted form (trailing
 * octets too); ERR_SPKI_FORBIDDEN for an rsaEncryption key (recognised, never a DC key);
 * ERR_SPKI_WEAK for RSA outside 2048..8192 bits or an exponent even, < 65537 or >= 2^32.
 */
enum err spki_recognise(struct spki *out, const uint8_t *octets, size_t len);

/* Whether this key may stand under this dc_cert_verify_algorithm. ERR_SPKI_MISMATCH,
 * ERR_SPKI_FORBIDDEN (scheme->dc_key is false), or ERR_OK. */
enum err spki_matches(const struct spki *spki, const struct scheme *scheme);

#endif
