#include "clock.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "counters.h"

static struct clock_reading reference;
static _Atomic int64_t ledger_floor;

struct clock_reading clock_sample(void)
{
	struct timespec wall, boot;

	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &wall);
	return (struct clock_reading){
		.wall_ms = (int64_t)wall.tv_sec * 1000 + wall.tv_nsec / 1000000,
		.boot_ms = (int64_t)boot.tv_sec * 1000 + boot.tv_nsec / 1000000,
	};
}

void clock_start(void)
{
	reference = clock_sample();
}

void clock_floor(int64_t last_time)
{
	atomic_store(&ledger_floor, last_time);
}

enum err clock_judge(const struct clock_reading *from, const struct clock_reading *at,
	int64_t floor, int64_t *drift_ms, struct refusal *why)
{
	int64_t elapsed = at->boot_ms - from->boot_ms;
	int64_t drift = at->wall_ms - from->wall_ms - elapsed;

	*drift_ms = llabs(drift);
	if (*drift_ms > CLOCK_STEP_MS + elapsed / (1000000 / CLOCK_DRIFT_PPM)) {
		refuse(why, ERR_CLOCK, "",
			"the wall clock moved by %lld ms against the machine's own clock",
			(long long)drift);
	} else if (floor > 0 && at->wall_ms + CLOCK_STEP_MS < floor * 1000) {
		refuse(why, ERR_CLOCK, "", "the clock stands before the last record of the ledger");
	} else {
		return ERR_OK;
	}
	if (why != NULL)
		why->retry_after = 60;
	return ERR_CLOCK;
}

enum err clock_now(int64_t *now, struct refusal *why)
{
	struct clock_reading at = clock_sample();
	int64_t drift;
	enum err e = clock_judge(&reference, &at, atomic_load(&ledger_floor), &drift, why);

	counter_set(COUNTER_CLOCK_DRIFT_MS, (uint64_t)drift);
	*now = at.wall_ms / 1000;
	return e;
}
