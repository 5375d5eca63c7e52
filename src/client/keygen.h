/* The key of a delegated credential, made where it will be used: in this process's memory. */
#ifndef DCSIGN_CLIENT_KEYGEN_H
#define DCSIGN_CLIENT_KEYGEN_H

#include <openssl/types.h>

#include "buf.h"
#include "scheme.h"

/* The scheme that a person means: a SignatureScheme's name, or a short form (P-256, P-384, P-521).
 * NULL for others, and for schemes that no key is made for here. */
const struct scheme *keygen_scheme(const char *name);
/* "a, b, c": what keygen_scheme takes. */
void keygen_names(char *text, size_t size);

/* A fresh key pair; the caller frees it with EVP_PKEY_free. NULL when libcrypto fails. */
EVP_PKEY *keygen_make(const struct scheme *scheme);
/* PKCS#8, PEM, not encrypted. Appends; wipe the buffer. */
enum err keygen_private_pem(struct buf *out, EVP_PKEY *key);
/* PKCS#10, PEM: empty subject, no attributes, signed with the key: proof of possession. Appends. */
enum err keygen_csr_pem(struct buf *out, EVP_PKEY *key, const struct scheme *scheme);

#endif
