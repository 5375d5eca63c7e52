/* The id of one credential: 128 random bits as 32 lowercase hex digits. */
#ifndef DCSIGN_IDENTITY_H
#define DCSIGN_IDENTITY_H

#include "message.h"

/* ERR_CRYPTO when there is no randomness. */
enum err identity_new(char id[ID_SIZE]);

#endif
