/* `dcsign ledger succeed`: a chain that can't go on is closed, and one opened that goes on for it.
 */
#ifndef DCSIGN_SUCCEED_TOOL_H
#define DCSIGN_SUCCEED_TOOL_H

#include "options.h"

/* In a stopped ledger, as its user. *status: the exit status. Errors as in store.h. */
enum err succeed_stopped(const struct options *o, struct store *s, int *status);
/* Whether the options are those of succeed_running. */
bool succeed_fits(const struct options *o);
/* By a dcsignd that runs: it knows the records that its database came back without. Gives the exit
 * status. */
int succeed_running(const struct options *o);

#endif
