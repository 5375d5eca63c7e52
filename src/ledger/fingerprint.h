/* The SHA-256 by which records name public keys and certificates, of files that an auditor has. */
#ifndef DCSIGN_FINGERPRINT_H
#define DCSIGN_FINGERPRINT_H

#include "certificate.h"

/* A public key, PEM or DER, or a certificate's, or a private key's public half: of its
 * SubjectPublicKeyInfo. False: the file has none. */
bool fingerprint_public_key(char hex[2 * SHA256_SIZE + 1], const char *path);
/* The first certificate of a file, PEM or DER: of its octets. */
bool fingerprint_certificate(char hex[2 * SHA256_SIZE + 1], const char *path);

#endif
