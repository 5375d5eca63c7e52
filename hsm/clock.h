/*
 * The clock of every decision: the wall clock, guarded by CLOCK_BOOTTIME (guard.h). A thread looks
 * at both every second. The reference is kept in a file, so that a process that is born again in
 * the same boot of the machine goes on with it.
 */
#ifndef DCSIGN_CLOCK_H
#define DCSIGN_CLOCK_H

#include "guard.h"

struct clock_reading clock_sample(void);
/* The id of this boot of the machine; false: "unknown". */
bool clock_boot_id(char text[40]);

/* Takes the reference; once, before threads start. clock_begin replaces it. */
void clock_start(void);

struct clock_event {
	bool resumed; /* else: stopped */
	int64_t drift_ms;
	struct clock_reading at;
	const char *detail;
	bool accepted; /* resumed: a person said so */
};
struct clock_options {
	const char *folder, *token; /* the file is FOLDER/clock.TOKEN */
	bool need_sync;		    /* require_clock_sync */
	/* Writes it down. Issuing begins again only when that gave ERR_OK. By the clock's thread.
	 */
	enum err (*record)(void *arg, const struct clock_event *event);
	/* What clock_accept began has come to an end. By the clock's thread. */
	void (*decided)(void *arg, uint64_t serial, const struct refusal *why);
	void *arg;
};
/* Takes up the reference of this boot and starts the thread. ERR_SYSTEM. */
enum err clock_begin(const struct clock_options *options);
void clock_end(void);
/* Thread-safe. */
void clock_need_sync(bool need);

/* A person (uid, why) says that the clock is right now; decided() answers under this serial, or
 * this refuses. Thread-safe. */
enum err clock_accept(uint64_t serial, uint32_t uid, const char *reason, struct refusal *why);

/* The last record of the ledger was written at this time: no decision is made that lies more than
 * CLOCK_STEP_MS before it. 0: none. Thread-safe. */
void clock_floor(int64_t last_time);
/* One reading, in seconds since the epoch. ERR_CLOCK with retry_after when it is not to be trusted.
 * Thread-safe. */
enum err clock_now(int64_t *now, struct refusal *why);
/* Seconds since the epoch for a record that must be written whether it is trusted or not.
 * Thread-safe.
 */
int64_t clock_estimate(void);
/* Is it trusted? Else *why says why not. Thread-safe. */
bool clock_trusted(struct refusal *why);

#endif
