/* A life of dcsignd-ledger that may end at any moment, and what must hold of its remains. The rig's
 * program is started by the caller. */
#ifndef SYSCALLS_LIFE_H
#define SYSCALLS_LIFE_H

#include <stdbool.h>

#include "err.h"

/* An empty ledger and what is going to be written into it. */
void life_make(void);
void life_remove(void);
/* Start, and a writer's first records. Anything but ERR_OK: it ended there. */
enum err life_start(void);
/* The same, then a request, a batch, a hold and its end, a signed head, SIGHUP. */
enum err life_whole(void);
/* Ends it with SIGTERM; else it is killed. */
void life_end(bool in_order);
/* A life of its own that dies with attempts under way. */
void life_cut(void);
/* What is left starts by itself, has all that was acknowledged, and verifies. */
void life_check(const char *what);

#endif
