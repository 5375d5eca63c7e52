/* Ends the process when a call of the module does not come back in time: nothing else can end such
 * a call. A thread, because a module may change how signals are handled. */
#ifndef DCSIGN_WATCHDOG_H
#define DCSIGN_WATCHDOG_H

/* From now on the process ends with this exit code in so many milliseconds; one at a time. */
void watchdog_begin(int ms, int code);
void watchdog_end(void);

#endif
