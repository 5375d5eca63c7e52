/* Archives on the command line of `dcsign ledger`. */
#ifndef DCSIGN_ARCHIVED_H
#define DCSIGN_ARCHIVED_H

#include "archive.h"
#include "options.h"

/* The files of --archive. False: *why says why not, and *list is NULL. */
bool archived_open(const struct options *o, struct archive **list, struct refusal *why);
/* On standard error: what a list can't show. */
void archived_say(const struct list *l);
/* The command `archive`. Errors as in store.h; what has been said is in *status. */
enum err archived_move(const struct options *o, struct store *s, int *status);

#endif
