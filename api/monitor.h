/* The pages of the monitor: is the service alive, is it ready, and why not. */
#ifndef DCSIGN_MONITOR_H
#define DCSIGN_MONITOR_H

#include "reply.h"

/* /readyz: 200 while at least one key can be served (key not NULL: while that one can) and the
 * service is not stopping, else 503. False: there is no key of this name. */
bool monitor_ready(struct reply *r, const struct snapshot *snapshot, struct signer *signer,
	bool stopping, const char *key);

#endif
