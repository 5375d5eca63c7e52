/*
 * Refused connections, kept half closed for a moment. Closing one at once would answer what the
 * client still has under way with a reset, and the reset would take from it the alert that says
 * why.
 */
#ifndef DCSIGN_LINGER_H
#define DCSIGN_LINGER_H

#include <stdint.h>

#define LINGER_MAX 64 /* the oldest goes when there are more */
#define LINGER_MS  500

/* Keeps a duplicate of fd until now + LINGER_MS (CLOCK_MONOTONIC, milliseconds). Thread-safe. */
void linger(int fd, int64_t now);
/* Closes those whose time is over. Thread-safe. */
void linger_end(int64_t now);

#endif
