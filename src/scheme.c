#include "scheme.h"

#include <stdio.h>
#include <string.h>

/* clang-format off */
static const struct scheme schemes[] = {
	/* code    name                                  key          digest         dc_key signs */
	{0x0403, "ecdsa_secp256r1_sha256",             KEY_EC_P256, DIGEST_SHA256, true,  true},
	{0x0503, "ecdsa_secp384r1_sha384",             KEY_EC_P384, DIGEST_SHA384, true,  true},
	{0x0603, "ecdsa_secp521r1_sha512",             KEY_EC_P521, DIGEST_SHA512, true,  true},
	{0x0804, "rsa_pss_rsae_sha256",                KEY_RSA,     DIGEST_SHA256, false, true},
	{0x0805, "rsa_pss_rsae_sha384",                KEY_RSA,     DIGEST_SHA384, false, false},
	{0x0806, "rsa_pss_rsae_sha512",                KEY_RSA,     DIGEST_SHA512, false, false},
	{0x0807, "ed25519",                            KEY_ED25519, DIGEST_NONE,   true,  true},
	{0x0808, "ed448",                              KEY_ED448,   DIGEST_NONE,   true,  false},
	{0x0809, "rsa_pss_pss_sha256",                 KEY_RSA_PSS, DIGEST_SHA256, true,  true},
	{0x080a, "rsa_pss_pss_sha384",                 KEY_RSA_PSS, DIGEST_SHA384, true,  true},
	{0x080b, "rsa_pss_pss_sha512",                 KEY_RSA_PSS, DIGEST_SHA512, true,  true},
	{0x081a, "ecdsa_brainpoolP256r1tls13_sha256",  KEY_BP256,   DIGEST_SHA256, true,  false},
	{0x081b, "ecdsa_brainpoolP384r1tls13_sha384",  KEY_BP384,   DIGEST_SHA384, true,  false},
	{0x081c, "ecdsa_brainpoolP512r1tls13_sha512",  KEY_BP512,   DIGEST_SHA512, true,  false},
	{0x0904, "mldsa44",                            KEY_MLDSA44, DIGEST_NONE,   true,  false},
	{0x0905, "mldsa65",                            KEY_MLDSA65, DIGEST_NONE,   true,  false},
	{0x0906, "mldsa87",                            KEY_MLDSA87, DIGEST_NONE,   true,  false},
};
/* clang-format on */

#define COUNT (sizeof schemes / sizeof *schemes)
_Static_assert(COUNT < SCHEME_MAX, "a set of schemes is one uint32_t");

const struct scheme *scheme_by_code(uint16_t code)
{
	for (unsigned i = 0; i < COUNT; i++)
		if (schemes[i].code == code)
			return &schemes[i];
	return NULL;
}

const struct scheme *scheme_by_name(const char *name)
{
	for (unsigned i = 0; i < COUNT; i++)
		if (strcmp(schemes[i].name, name) == 0)
			return &schemes[i];
	return NULL;
}

unsigned scheme_count(void)
{
	return COUNT;
}

const struct scheme *scheme_at(unsigned index)
{
	return &schemes[index];
}

uint32_t scheme_bit(uint16_t code)
{
	const struct scheme *s = scheme_by_code(code);

	return s == NULL ? 0 : UINT32_C(1) << (s - schemes);
}

uint16_t scheme_default(enum key_type key)
{
	uint16_t code = 0;

	for (unsigned i = 0; i < COUNT; i++) {
		if (schemes[i].key != key || !schemes[i].dc_key)
			continue;
		if (code != 0)
			return 0;
		code = schemes[i].code;
	}
	return code;
}

void scheme_set_text(uint32_t set, char *text, size_t size)
{
	size_t at = 0;

	text[0] = '\0';
	for (unsigned i = 0; i < COUNT; i++) {
		if ((set >> i & 1) == 0)
			continue;
		int n = snprintf(
			text + at, size - at, "%s%s", at == 0 ? "" : ", ", schemes[i].name);
		if (n < 0 || (size_t)n >= size - at) {
			text[at] = '\0'; /* whole names only */
			return;
		}
		at += (size_t)n;
	}
}

const char *key_type_name(enum key_type key)
{
	static const char *const names[] = {
		[KEY_NONE] = "none",
		[KEY_EC_P256] = "P-256",
		[KEY_EC_P384] = "P-384",
		[KEY_EC_P521] = "P-521",
		[KEY_ED25519] = "Ed25519",
		[KEY_ED448] = "Ed448",
		[KEY_RSA] = "RSA",
		[KEY_RSA_PSS] = "RSASSA-PSS",
		[KEY_BP256] = "brainpoolP256r1",
		[KEY_BP384] = "brainpoolP384r1",
		[KEY_BP512] = "brainpoolP512r1",
		[KEY_MLDSA44] = "ML-DSA-44",
		[KEY_MLDSA65] = "ML-DSA-65",
		[KEY_MLDSA87] = "ML-DSA-87",
	};

	return (unsigned)key < sizeof names / sizeof *names ? names[key] : names[KEY_NONE];
}
