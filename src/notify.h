/* Telling the service manager: sd_notify(3), one datagram of our own. Without NOTIFY_SOCKET nothing
 * happens. */
#ifndef DCSIGN_NOTIFY_H
#define DCSIGN_NOTIFY_H

#include <stdint.h>

/* Takes NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID from the environment; before it is cleared.
 */
void notify_open(void);
void notify_ready(const char *status);
void notify_reloading(void);
void notify_stopping(void);
void notify_status(const char *status);
/* Milliseconds between two calls of notify_alive; 0: the manager asks for none. */
int64_t notify_watchdog_ms(void);
void notify_alive(void);

#endif
