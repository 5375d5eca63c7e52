/*
 * The id of one credential: 48 bits of milliseconds since the epoch and 80 random bits as 32
 * lowercase hex digits. The ids of one hour stand together in the ledger's indexes, so that a new
 * one costs the same however many there are. Nothing is decided by that time.
 */
#ifndef DCSIGN_IDENTITY_H
#define DCSIGN_IDENTITY_H

#include "message.h"

/* ERR_CRYPTO when there is no randomness. */
enum err identity_new(char id[ID_SIZE]);

#endif
