/* The PIN: read once from a descriptor, kept in locked memory until the login, then overwritten;
 * and the breaker that keeps a wrong PIN from being tried twice. */
#ifndef DCSIGN_PIN_H
#define DCSIGN_PIN_H

#include <stdbool.h>
#include <stddef.h>

#include "err.h"

#define PIN_SIZE	256
#define PIN_SOURCE_SIZE 128

struct pin {
	char text[PIN_SIZE];
	size_t len;
	char source[PIN_SOURCE_SIZE]; /* which state of which file it was read from; no secret */
};

/*
 * Reads a regular file or memfd whole, from its start; one trailing newline is no part of the PIN.
 * ERR_PIN (field `pin`): empty, over 255 octets, a NUL in it, or not a regular file. The memory is
 * locked; pin_wipe overwrites all but the source, and unlocks it.
 */
enum err pin_read(struct pin *pin, int fd, struct refusal *why);
void pin_wipe(struct pin *pin);

/*
 * The breaker is a file in `folder`, one per token serial: a salted, slow digest of the PIN that is
 * being tried, and of those that were refused. It is durable before C_Login and removed after
 * success, so at most one C_Login fails per value of the PIN, across restarts. An attempt whose end
 * nobody saw (the process died in it, or the token said neither yes nor no) is repeated once, in
 * all lives: a machine that lost its power while it logged in is to serve again without a person.
 * Was that PIN wrong, then a token that tells so (CKF_USER_PIN_COUNT_LOW) is not asked again
 * (token_login_allowed); of one that doesn't, two of its tries are gone, where three lock the PIN
 * as a rule. It is repeated five times when this token took this PIN before from a file that nobody
 * has touched since: then no end that was not seen says that it is wrong.
 */
/* ERR_OK: durable, log in now. ERR_PIN: this PIN was refused before. ERR_SYSTEM: the file can't be
 * written, so no login may be tried. */
enum err breaker_arm(
	const char *folder, const char *serial, const struct pin *pin, struct refusal *why);
/* The token refused the PIN: it will not be tried again until breaker_clear, whatever other values
 * (up to 15) are tried and refused in between. */
enum err breaker_trip(const char *folder, const char *serial, struct refusal *why);
/* The token took the PIN: the breaker is removed, and the PIN's source noted. */
enum err breaker_taken(
	const char *folder, const char *serial, const struct pin *pin, struct refusal *why);
/* The token's answer leaves open whether it refused the PIN: that it took it before counts no more.
 */
void breaker_doubt(const char *folder, const char *serial);
/* The token did not look at the PIN: what breaker_arm wrote is taken back. */
enum err breaker_disarm(const char *folder, const char *serial, struct refusal *why);
/* For a login by a person, who needs no breaker: ERR_PIN when the token refused this PIN before.
 * And one more value that is not to be tried: the breaker is left as breaker_trip does, for the
 * owner of the folder; without the folder nothing is done. */
enum err breaker_holds(
	const char *folder, const char *serial, const struct pin *pin, struct refusal *why);
void breaker_leave(const char *folder, const char *serial, const struct pin *pin);
/* Removes it. *was (may be NULL): there was one. */
enum err breaker_clear(const char *folder, const char *serial, bool *was, struct refusal *why);
/* The serial (as it stands in file names) of a breaker's file; NULL when it is none. */
const char *breaker_serial(const char *file_name);
/* Whether there is one. */
bool breaker_present(const char *folder, const char *serial);

#endif
