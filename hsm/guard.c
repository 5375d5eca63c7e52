#include "guard.h"

#include <stdlib.h>

#define STEADY_STEP_MS 50 /* what two readings take, and slewing */

static int64_t drift(const struct clock_reading *from, const struct clock_reading *at)
{
	return at->wall_ms - from->wall_ms - (at->boot_ms - from->boot_ms);
}

static int64_t allowed(
	int64_t step, const struct clock_reading *from, const struct clock_reading *at)
{
	return step + (at->boot_ms - from->boot_ms) / (1000000 / CLOCK_DRIFT_PPM);
}

enum err clock_judge(const struct clock_reading *from, const struct clock_reading *at,
	int64_t floor, int64_t *drift_ms, struct refusal *why)
{
	int64_t d = drift(from, at);

	*drift_ms = llabs(d);
	if (*drift_ms > allowed(CLOCK_STEP_MS, from, at)) {
		refuse(why, ERR_CLOCK, "",
			"the wall clock moved by %lld ms against the machine's own clock",
			(long long)d);
	} else if (floor > 0 && at->wall_ms + CLOCK_STEP_MS < floor * 1000) {
		refuse(why, ERR_CLOCK, "",
			"the clock stands %lld s before the last record of the ledger",
			(long long)(floor - at->wall_ms / 1000));
	} else {
		return ERR_OK;
	}
	if (why != NULL)
		why->retry_after = 60;
	return ERR_CLOCK;
}

static enum err distrust(struct guard *g, const struct clock_reading *at)
{
	g->trusted = false;
	g->steady = *at;
	g->why.retry_after = 60;
	return ERR_CLOCK;
}

/* In another boot nothing but the ledger tells how much time may have passed. */
static bool too_far_ahead(const struct guard *g, const struct clock_reading *at)
{
	return g->floor > 0 && !g->same_boot && !g->placed &&
	       at->wall_ms / 1000 > g->floor + CLOCK_AHEAD_S;
}

void guard_begin(struct guard *g, const struct clock_reading *first,
	const struct clock_reading *reference, const struct clock_reading *at, bool need_sync,
	bool synchronised, int64_t steady_ms)
{
	*g = (struct guard){.need_sync = need_sync, .steady_ms = steady_ms};
	g->same_boot = g->ever = first != NULL && reference != NULL;
	g->trusted = g->same_boot || !need_sync || synchronised;
	g->first = g->same_boot ? *first : *at;
	g->reference = g->same_boot ? *reference : *at;
	g->ever = g->trusted;
	if (g->trusted)
		return;
	refuse(&g->why, ERR_CLOCK, "", "the kernel does not call its clock synchronised");
	(void)distrust(g, at);
}

void guard_accept(struct guard *g, const struct clock_reading *said)
{
	g->accepted = g->same_boot = g->ever = true;
	g->trusted = false;
	g->first = g->reference = g->steady = *said;
	refuse(&g->why, ERR_CLOCK, "", "a person accepted the clock: that is not written down yet");
	g->why.retry_after = 60;
}

enum err guard_judge(struct guard *g, const struct clock_reading *at, int64_t *drift_ms)
{
	*drift_ms = llabs(drift(&g->reference, at));
	if (!g->trusted)
		return ERR_CLOCK;
	if (clock_judge(&g->reference, at, g->floor, drift_ms, &g->why) != ERR_OK)
		return distrust(g, at);
	if (!too_far_ahead(g, at)) {
		g->placed = g->placed || g->floor > 0;
		return ERR_OK;
	}
	refuse(&g->why, ERR_CLOCK, "",
		"the clock stands more than 7 days after the last record of the ledger: a person "
		"has to accept it");
	return distrust(g, at);
}

bool guard_settled(struct guard *g, const struct clock_reading *at, bool synchronised)
{
	if (g->accepted && llabs(drift(&g->steady, at)) <= allowed(CLOCK_STEP_MS, &g->steady, at))
		return g->floor == 0 || at->wall_ms + CLOCK_STEP_MS >= g->floor * 1000;
	g->accepted = false;
	if (llabs(drift(&g->steady, at)) > allowed(STEADY_STEP_MS, &g->steady, at))
		g->steady = *at;
	if (at->boot_ms - g->steady.boot_ms < g->steady_ms || (g->need_sync && !synchronised))
		return false;
	if (g->ever && llabs(drift(&g->first, at)) > CLOCK_LARGE_MS) {
		refuse(&g->why, ERR_CLOCK, "",
			"the wall clock moved by %lld ms against the machine's own clock: a person "
			"has to accept that, or set it right",
			(long long)drift(&g->first, at));
		g->why.retry_after = 60;
		return false;
	}
	return !too_far_ahead(g, at) &&
	       (g->floor == 0 || at->wall_ms + CLOCK_STEP_MS >= g->floor * 1000);
}

void guard_resume(struct guard *g)
{
	g->reference = g->steady;
	if (!g->ever)
		g->first = g->steady;
	g->ever = g->trusted = true;
	g->accepted = false;
}

int64_t guard_estimate(const struct guard *g, const struct clock_reading *at)
{
	if (g->ever && !g->trusted && !too_far_ahead(g, &g->reference))
		return (g->reference.wall_ms + at->boot_ms - g->reference.boot_ms) / 1000;
	return g->trusted || g->floor == 0 ? at->wall_ms / 1000 : g->floor;
}
