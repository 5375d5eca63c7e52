/*
 * The process that runs `checkpoint { command }`: born before the ledger process closes its door,
 * it gets each note over a socket and runs the command with the note on its standard input, one
 * after the other. It holds nothing of the ledger, and ends when the ledger process has gone and
 * what was sent is done.
 */
#ifndef DCSIGN_COURIER_H
#define DCSIGN_COURIER_H

#include "buf.h"

#define COURIER_TIMEOUT_S 60 /* then the command is killed */

/* The socket to a new courier; -1: errno. */
int courier_start(const char *command);
/* ERR_TIMEOUT: too many wait. ERR_CLOSED: it has gone. Never waits. */
enum err courier_send(int fd, const void *note, size_t len);
/* Closes the socket and waits this long for what was sent to be done. */
void courier_stop(int fd, int timeout_ms);

#endif
