/*
 * Public keys of delegation certificates as libcrypto wants them. One takes about 4 KB and some
 * microseconds to make, so that with thousands of certificates only those used last are kept, for
 * all threads of the process.
 */
#ifndef DCSIGN_PUBLIC_KEYS_H
#define DCSIGN_PUBLIC_KEYS_H

#include "certificate.h"

#define PUBLIC_KEYS_MOST 64

/* The key of certificate->spki: one reference, to be given up with EVP_PKEY_free; others may take
 * the key's place meanwhile. NULL: no memory, or no key that libcrypto knows. Any thread. */
EVP_PKEY *public_key(const struct certificate *certificate);
/* How many are kept: at most PUBLIC_KEYS_MOST. */
size_t public_keys_kept(void);

#endif
