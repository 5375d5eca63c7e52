#include "token_gate.h"

#include <time.h>

#include "token.h"

#define FORGET_US   250000 /* a stay that lasts longer, and ... */
#define FORGET_MANY 8	   /* ... so many times the mean, is forgotten */
#define LOOK_MS	    20
#define WINDOW_US   50000
#define WINDOW_MANY 4	 /* signatures of each thread in a window */
#define DISTANT	    10	 /* a stay of which the thread works less than one part of so many */
#define FIRST	    16	 /* stays that show whether it is so */
#define TURN_US	    1000 /* of work that one thread does in turn */
#define TURN_MOST   16
#define TURN_NEVER  5000 /* microseconds of a stay in the mean: nobody stands behind another */
#define RESTS	    16
#define RESTS_MOST  128
#define BETTER	    1.05 /* a wider gate must gain this much */
#define EQUAL	    0.97 /* a narrower one may lose this much */

static int64_t clock_us(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int64_t monotonic_us(void)
{
	return clock_us(CLOCK_MONOTONIC);
}

void gate_init(struct gate *g, unsigned most, unsigned width)
{
	pthread_condattr_t monotonic;

	*g = (struct gate){.most = most,
		.adapts = width == 0,
		.width = width == 0 ? most : width,
		.least = INT64_MAX,
		.turn = 1};
	g->climb.rests = RESTS;
	pthread_mutex_init(&g->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&g->left, &monotonic);
	pthread_condattr_destroy(&monotonic);
}

void gate_destroy(struct gate *g)
{
	pthread_cond_destroy(&g->left);
	pthread_mutex_destroy(&g->lock);
}

static void forget(struct gate *g, int64_t now)
{
	int64_t long_ago = FORGET_MANY * g->mean;

	if (long_ago < FORGET_US)
		long_ago = FORGET_US;
	for (struct pass *p = g->passes; p != NULL; p = p->next)
		if (!p->forgotten && now - p->since > long_ago) {
			p->forgotten = true;
			g->inside--;
		}
}

bool gate_enter(struct gate *g, struct pass *p, int64_t until)
{
	bool room = true;

	pthread_mutex_lock(&g->lock);
	while (g->inside >= g->width && room) {
		int64_t look = monotonic_ms() + LOOK_MS;
		struct timespec at = {look / 1000, look % 1000 * 1000000};

		room = look - LOOK_MS < until;
		g->waiting++;
		if (room && pthread_cond_timedwait(&g->left, &g->lock, &at) != 0)
			forget(g, monotonic_us());
		g->waiting--;
	}
	if (room) {
		*p = (struct pass){.next = g->passes,
			.since = monotonic_us(),
			.cpu = clock_us(CLOCK_THREAD_CPUTIME_ID)};
		g->passes = p;
		g->inside++;
	}
	pthread_mutex_unlock(&g->lock);
	return room;
}

unsigned climb_step(struct climb *c, unsigned width, unsigned most, double rate)
{
	unsigned next;

	if (c->trying) {
		bool better = rate >= c->base_rate * (c->up ? BETTER : EQUAL);

		c->trying = false;
		c->rest = better ? 0 : c->rests;
		if (better) {
			c->rests = RESTS;
		} else {
			c->rests = c->rests < RESTS_MOST ? 2 * c->rests : RESTS_MOST;
			c->up = !c->up;
			return c->base;
		}
	}
	if (c->rest > 0) {
		c->rest--;
		return width;
	}
	next = c->up ? width + (width + 1) / 2 : width - (width + 3) / 4;
	if (next > most)
		next = most;
	if (next < 1 || next == width) {
		c->up = !c->up;
		c->rest = c->rests;
		return width;
	}
	c->trying = true;
	c->base = width;
	c->base_rate = rate;
	return next;
}

/* With the lock held, after each stay. */
static void window(struct gate *g, const struct pass *p, int64_t now)
{
	struct climb *c = &g->climb;
	bool distant;

	if (c->begun == 0 ||
		(g->waiting == 0 && !g->crowd)) { /* not full: the rate is the askers' */
		c->begun = now;
		c->done = 0;
		c->cpu = c->stays = 0;
		return;
	}
	c->done++;
	c->cpu += clock_us(CLOCK_THREAD_CPUTIME_ID) - p->cpu;
	c->stays += now - p->since;
	if (now - c->begun < WINDOW_US || c->done < WINDOW_MANY * g->width)
		return;
	distant = c->cpu * DISTANT < c->stays;
	c->up = c->up || (distant && !c->trying);
	if (!distant || c->trying || g->width < g->most)
		g->width =
			climb_step(c, g->width, g->most, 1e6 * c->done / (double)(now - c->begun));
	c->begun = 0; /* the next stay's end begins a window: those inside now came before */
	pthread_cond_broadcast(&g->left);
}

/* With the lock held, after each of the first stays: where does the climb begin? A stay in which
 * something else had the processor tells nothing, so the means don't. */
static void first_look(struct gate *g, const struct pass *p, int64_t now)
{
	int64_t work = clock_us(CLOCK_THREAD_CPUTIME_ID) - p->cpu;

	g->worked += work * DISTANT >= now - p->since;
	if (work < g->least)
		g->least = work;
	if (++g->seen < FIRST || 2 * g->worked < FIRST)
		return;
	if (g->least * TURN_MOST <= TURN_US)
		g->turn = TURN_MOST;
	else if (g->least < TURN_US)
		g->turn = (unsigned)(TURN_US / g->least);
	g->width = 1;
	g->climb = (struct climb){.up = true, .rests = RESTS};
}

void gate_leave(struct gate *g, struct pass *p)
{
	int64_t now = monotonic_us();
	struct pass **at = &g->passes;

	pthread_mutex_lock(&g->lock);
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	if (!p->forgotten) {
		g->inside--;
		g->mean += (now - p->since - g->mean) / 16;
	}
	if (g->adapts && g->seen < FIRST)
		first_look(g, p, now);
	else if (g->adapts)
		window(g, p, now);
	pthread_cond_signal(&g->left);
	pthread_mutex_unlock(&g->lock);
}

unsigned gate_width(const struct gate *g)
{
	return g->width;
}

unsigned gate_turn(const struct gate *g)
{
	return g->mean > TURN_NEVER ? 1 : g->turn;
}

void gate_crowd(struct gate *g, bool crowd)
{
	g->crowd = crowd;
}
