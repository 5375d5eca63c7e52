/* Facts of an X.509 certificate and the rules of RFC 9345 section 4.2, over libcrypto. */
#ifndef DCSIGN_CERTIFICATE_H
#define DCSIGN_CERTIFICATE_H

#include <openssl/types.h>

#include "dc.h"
#include "spki.h"

#define CERT_MAX       16384 /* octets of one certificate */
#define CERT_CHAIN_MAX 8     /* certificates in a chain file */

struct certificate {
	uint8_t *der; /* owned: the octets as they stand in the file */
	size_t len;
	uint8_t sha256[SHA256_SIZE];
	int64_t not_before, not_after; /* seconds since the epoch */
	char serial[48];	       /* lowercase hex */
	char subject[256];	       /* RFC 2253, cut at its size */
	EVP_PKEY *key;		       /* owned */
	enum key_type key_type;
	uint8_t *spki; /* owned: DER of SubjectPublicKeyInfo as in the certificate */
	size_t spki_len;
	uint8_t spki_sha256[SHA256_SIZE];
	uint16_t algorithm; /* the SignatureScheme of DCs signed by this key; 0: none */
	bool has_delegation, delegation_critical, delegation_null;
	bool duplicate_extension;
	bool has_key_usage, digital_signature, key_encipherment;
	bool is_ca;
	bool has_eku, eku_server, eku_client;
	bool weak_signature; /* signed with MD5 or SHA-1 */
};

/* One DER certificate, whole (trailing octets: ERR_CERT_MALFORMED). Free with certificate_free. */
enum err certificate_read(struct certificate *c, const uint8_t *der, size_t len);
void certificate_free(struct certificate *c);
/* The key of c->spki, c->key_type: a new one, the caller frees it. NULL: no memory, or no key that
 * libcrypto knows. */
EVP_PKEY *certificate_key(const struct certificate *c);

/* The CERTIFICATE blocks of a PEM file, leaf first, at most max. ERR_CERT_MALFORMED: none, or a
 * damaged one (nothing is kept then). */
enum err certificate_read_pem(
	struct certificate *chain, size_t max, size_t *count, const uint8_t *pem, size_t len);

/*
 * A certificate as its octets alone, of which only SubjectPublicKeyInfo is found: reading one takes
 * libcrypto hundreds of microseconds, too long for thousands of them at a start.
 */
struct certificate_outline {
	uint8_t *der; /* owned */
	size_t len;
	uint8_t sha256[SHA256_SIZE], spki_sha256[SHA256_SIZE];
};
/* As certificate_read_pem, but a certificate that passes here may still be refused there. Free with
 * certificate_outline_free. */
enum err certificate_outline_pem(struct certificate_outline *chain, size_t max, size_t *count,
	const uint8_t *pem, size_t len);
void certificate_outline_free(struct certificate_outline *chain, size_t count);

/*
 * May this certificate delegate? AS_ISSUER is the strict set: DelegationUsage present, not
 * critical, value NULL, no extension twice, digitalSignature and no keyEncipherment, not a CA,
 * signed with SHA-2 or better, a key that signs (certificate->algorithm), EKU (where present) for
 * the role. AS_VERIFIER is what RFC 9345 asks of a relying party: DelegationUsage present,
 * digitalSignature in a key usage that is present. Neither looks at the clock.
 */
enum certificate_view { AS_ISSUER, AS_VERIFIER };
enum err certificate_may_delegate(
	const struct certificate *c, enum certificate_view view, struct refusal *why);
/* EKU, where present, has serverAuth for server DCs and clientAuth for client DCs. */
enum err certificate_allows_role(const struct certificate *c, enum dc_role role);
/* ERR_CERT_NOT_YET before not_before, ERR_CERT_EXPIRED at and after not_after (strict, as an issuer
 * needs it). */
enum err certificate_valid_at(const struct certificate *c, int64_t now);
/* chain[0] signed by chain[1] ... by one of the CAs in ca_pem (trust anchors), at time now.
 * ERR_CERT_CHAIN. */
enum err certificate_chain_verify(const struct certificate *chain, size_t count,
	const uint8_t *ca_pem, size_t ca_len, int64_t now, struct refusal *why);

#endif
