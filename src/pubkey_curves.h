/* Inside of pubkey: the curves, made once in a process and kept until it ends. */
#ifndef DCSIGN_PUBKEY_CURVES_H
#define DCSIGN_PUBKEY_CURVES_H

#include <openssl/ec.h>
#include <stddef.h>

#include "scheme.h"

/* Octets of the order of an ECDSA key's group; 0: not ECDSA. */
size_t pubkey_order(enum key_type key);
/* NULL: not ECDSA, or libcrypto can't make it. Threads may share it. */
const EC_GROUP *pubkey_curve(enum key_type key);

#endif
