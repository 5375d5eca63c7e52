/* The ledger process gives up what it needs no more. */
#ifndef DCSIGN_CONFINE_H
#define DCSIGN_CONFINE_H

#include "config.h"

/* Files are written beside the ledger, its checkpoint file and its key alone; sockets are made only
 * for a ledger on a database server. Everything is open. ERR_SYSTEM with errno, ERR_NOMEM. */
enum err confine(const struct config *c);

#endif
