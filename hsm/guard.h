/*
 * When is the wall clock to be trusted? The rules alone, pure: readings go in, a judgement comes
 * out. A wrong clock would sign delegated credentials that open in the future (RFC 9345 section
 * 7.6).
 */
#ifndef DCSIGN_GUARD_H
#define DCSIGN_GUARD_H

#include <stdbool.h>

#include "err.h"

#define CLOCK_STEP_MS	2000   /* allowed difference ... */
#define CLOCK_DRIFT_PPM 500    /* ... and per time elapsed since the reference */
#define CLOCK_STEADY_MS 60000  /* this long without a step, then a new reference is taken */
#define CLOCK_LARGE_MS	300000 /* a person has to accept steps that add up to more */
#define CLOCK_AHEAD_S	604800 /* and a clock that stands so far after the ledger's last record */

struct clock_reading {
	int64_t wall_ms; /* CLOCK_REALTIME */
	int64_t boot_ms; /* CLOCK_BOOTTIME */
};

/* One judgement: ERR_CLOCK with retry_after when wall and boot clock have come apart since `from`,
 * or the wall clock stands before the ledger's last record (seconds; 0: none). */
enum err clock_judge(const struct clock_reading *from, const struct clock_reading *at,
	int64_t floor, int64_t *drift_ms, struct refusal *why);

struct guard {
	struct clock_reading first;	/* the first that was trusted in this boot of the machine */
	struct clock_reading reference; /* the one that readings are compared with */
	struct clock_reading steady;	/* no step since then */
	bool ever;			/* first and reference hold */
	bool trusted;
	bool same_boot; /* the reference is older than this process */
	bool placed;	/* a reading was held against the ledger's last record, and stood near it */
	bool accepted; /* `steady` is a reading that a person said is right; not yet written down */
	bool need_sync; /* the kernel must call its clock synchronised to begin or begin again */
	int64_t steady_ms;
	int64_t floor;	    /* the ledger's last record */
	struct refusal why; /* while it is not trusted */
};

/* A process begins. first, reference: of an earlier process in the same boot, or NULL. */
void guard_begin(struct guard *g, const struct clock_reading *first,
	const struct clock_reading *reference, const struct clock_reading *at, bool need_sync,
	bool synchronised, int64_t steady_ms);
/* After guard_begin: a person said that this reading, of this boot, is right, whatever was before.
 * It is trusted when that is written down (guard_settled, guard_resume), unless the clock has moved
 * since: then the rules hold as ever, from this reading on. */
void guard_accept(struct guard *g, const struct clock_reading *said);
/* May a credential be decided at this reading? ERR_CLOCK, and from then on until guard_resume. */
enum err guard_judge(struct guard *g, const struct clock_reading *at, int64_t *drift_ms);
/* Seconds for records while it is not trusted: what the reference says, or else the ledger's last
 * record, so that a wrong clock does not bind a right one by standing in the ledger. */
int64_t guard_estimate(const struct guard *g, const struct clock_reading *at);
/* Every second while it is not trusted: true when it could be again. */
bool guard_settled(struct guard *g, const struct clock_reading *at, bool synchronised);
/* That is written down: it is trusted again. */
void guard_resume(struct guard *g);

#endif
