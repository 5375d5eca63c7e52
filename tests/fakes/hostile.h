/* What a taken-over api says: messages that are right, at the limits of a field, or none at all. */
#ifndef DCSIGN_HOSTILE_H
#define DCSIGN_HOSTILE_H

#include "message.h"

#define HOSTILE_MAX (MSG_MAX + 4096)

/* The seed decides everything that follows. spki: DER, borrowed. */
void hostile_begin(uint64_t seed, const uint8_t *spki, size_t len);
/* below most; most > 0 */
uint64_t hostile_random(uint64_t most);
/*
 * The next message for the process of this role (ROLE_HSM, ROLE_LEDGER). Without `wild` each field
 * stands within the limits of message.h, so that it must be answered or is to be passed over; with
 * it the message is bent in one place, which may make it malformed. octets: of HOSTILE_MAX.
 * Returns its length, at least 1. *what: a word for the log.
 */
size_t hostile_message(
	uint8_t *octets, uint8_t role, uint64_t serial, bool wild, const char **what);

#endif
