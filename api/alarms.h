/* Certificates that end soon: of keys, TLS servers and client CAs. */
#ifndef DCSIGN_ALARMS_H
#define DCSIGN_ALARMS_H

#include "snapshot.h"

#define ALARM_DAYS	 30
#define ALARM_DAYS_CLOSE 7

struct alarm {
	const char *kind; /* "delegation", "server", "client_ca" */
	const char *name; /* of the key; of others the listen address */
	int64_t not_after;
	unsigned days; /* it ends within so many: ALARM_DAYS or ALARM_DAYS_CLOSE */
};
/* Calls back for each certificate that ends within ALARM_DAYS of now. Of a key's several
 * certificates the one that ends last counts. */
void alarms_each(const struct snapshot *s, int64_t now,
	void (*each)(void *arg, const struct alarm *alarm), void *arg);
/* Writes them to the log when a new configuration or a new day (86400 s) has begun since the last
 * call. One thread. */
void alarms_log(const struct snapshot *s, int64_t now);

#endif
