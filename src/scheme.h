/*
 * SignatureSchemes of the TLS registry that can stand in a delegated credential (RFC 8446 section
 * 4.2.3, RFC 8734, RFC 9345 section 4), as one table.
 */
#ifndef DCSIGN_SCHEME_H
#define DCSIGN_SCHEME_H

#include <stdbool.h>
#include <stdint.h>

#include "digest.h"

enum key_type {
	KEY_NONE,
	KEY_EC_P256,
	KEY_EC_P384,
	KEY_EC_P521,
	KEY_ED25519,
	KEY_ED448,
	KEY_RSA,     /* rsaEncryption */
	KEY_RSA_PSS, /* id-RSASSA-PSS */
	KEY_BP256,
	KEY_BP384,
	KEY_BP512,
	KEY_MLDSA44,
	KEY_MLDSA65,
	KEY_MLDSA87
};

struct scheme {
	uint16_t code;
	const char *name; /* as the TLS registry spells it */
	enum key_type key;
	enum digest digest; /* of the signature; DIGEST_NONE: the scheme takes the whole message */
	bool dc_key; /* may be the dc_cert_verify_algorithm of a DC (RFC 9345 section 4: never rsae)
		      */
	bool signs;  /* may be `algorithm`: a delegation key of this type can sign DCs here */
};

#define SCHEME_ECDSA_P256 0x0403
#define SCHEME_ECDSA_P384 0x0503
#define SCHEME_ECDSA_P521 0x0603
#define SCHEME_ED25519	  0x0807

#define SCHEME_MAX 32 /* fewer schemes than this: a set of them is one uint32_t of bits */

/* NULL when there is none. */
const struct scheme *scheme_by_code(uint16_t code);
const struct scheme *scheme_by_name(const char *name);
/* The table, in the registry's order; index < scheme_count(). */
unsigned scheme_count(void);
const struct scheme *scheme_at(unsigned index);
/* The bit of this code in a set; 0 when unknown. */
uint32_t scheme_bit(uint16_t code);
/* The scheme that a DC key of this type uses when the client names none; 0: must be named. */
uint16_t scheme_default(enum key_type key);
/* The names in a set, as "a, b, c", for error texts. text is always ended with a NUL. */
void scheme_set_text(uint32_t set, char *text, size_t size);
const char *key_type_name(enum key_type key);

#endif
