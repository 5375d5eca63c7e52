/* What needs arithmetic on public keys, over libcrypto: never a private key. */
#ifndef DCSIGN_PUBKEY_H
#define DCSIGN_PUBKEY_H

#include <openssl/types.h>

#include "buf.h"
#include "spki.h"

/*
 * Is the key sound: an EC point on its curve, an Ed25519 key that decodes to a point of large order
 * in its canonical encoding, an RSA modulus without small factor (< 752). Types that libcrypto does
 * not know (ML-DSA) pass: their form was checked by spki_recognise. ERR_SPKI_INVALID, ERR_CRYPTO
 * (no memory), ERR_SPKI_WEAK.
 */
enum err pubkey_check(const struct spki *spki);

/*
 * Verifies a signature over the whole message (the scheme's own hashing is done here; RSA-PSS: MGF1
 * with the same digest, salt as long as the digest). key: borrowed. ERR_DC_SIGNATURE when it does
 * not verify, ERR_DC_ALGORITHM when the key is not of the scheme's type.
 */
enum err pubkey_verify(EVP_PKEY *key, const struct scheme *scheme, const uint8_t *message,
	size_t message_len, const uint8_t *signature, size_t signature_len);

#define CSR_MAX 8192

/*
 * PKCS#10 (RFC 2986) as proof of possession: strict DER (it re-encodes to the same octets, no
 * trailing ones), and its signature verifies under its own key. On success the SubjectPublicKeyInfo
 * is appended to spki_out. ERR_PROOF_INVALID (not a request, or the signature is wrong),
 * ERR_PROOF_UNSUPPORTED (key type that libcrypto does not know). SHA-1 and weaker signature digests
 * are ERR_PROOF_INVALID.
 */
enum err pubkey_csr(const uint8_t *der, size_t len, struct buf *spki_out);

/* r||s as PKCS#11 gives it (len = 2 * size of the order) to DER ECDSA-Sig-Value (RFC 3279 section
 * 2.2.3). ERR_LENGTH when len is not that of the type; ERR_DC_SIGNATURE for r or s of zero or not
 * below the order. Appends. */
enum err pubkey_ecdsa_der(enum key_type key, const uint8_t *raw, size_t len, struct buf *out);

#endif
