/*
 * The clock of every decision: the wall clock, guarded by CLOCK_BOOTTIME. A wrong clock would sign
 * delegated credentials that open in the future (RFC 9345 section 7.6), so when the two clocks
 * disagree nothing is signed.
 */
#ifndef DCSIGN_CLOCK_H
#define DCSIGN_CLOCK_H

#include "err.h"

#define CLOCK_STEP_MS	2000 /* allowed difference ... */
#define CLOCK_DRIFT_PPM 500  /* ... and per time elapsed since clock_start */

struct clock_reading {
	int64_t wall_ms; /* CLOCK_REALTIME */
	int64_t boot_ms; /* CLOCK_BOOTTIME */
};
struct clock_reading clock_sample(void);

/* Takes the reference; once, before threads start. */
void clock_start(void);
/* The last record of the ledger was written at this time: no decision is made that lies more than
 * CLOCK_STEP_MS before it. 0: none. Thread-safe. */
void clock_floor(int64_t last_time);
/*
 * One reading, in seconds since the epoch. ERR_CLOCK with retry_after when the clocks differ by
 * more than is allowed, or the ledger is ahead. Thread-safe.
 */
enum err clock_now(int64_t *now, struct refusal *why);
/* The judgement alone (pure). */
enum err clock_judge(const struct clock_reading *reference, const struct clock_reading *at,
	int64_t floor, int64_t *drift_ms, struct refusal *why);

#endif
