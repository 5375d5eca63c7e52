/*
 * How many threads are inside C_Sign. Some modules sign faster when fewer threads are in them
 * (SoftHSM's P-256 convoys on a lock), a distant HSM only when many are. So while threads wait at
 * the gate, its width is a hill climb: the rate of windows of signatures is compared at the width
 * in force and at one three quarters or half as much again; the narrower of two equal ones wins.
 * Threads that do little but wait for a distant HSM are not hindered by each other: no narrower
 * width is tried then, which would cost a quarter of a window. Where the first stays show threads
 * that work inside, the climb begins at one, whether others wait or not: a convoy of two takes
 * twice the processor time for each signature long before anybody has to wait.
 */
#ifndef DCSIGN_TOKEN_GATE_H
#define DCSIGN_TOKEN_GATE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct pass { /* one thread's stay */
	struct pass *next;
	int64_t since; /* microseconds */
	int64_t cpu;   /* of the thread until then, microseconds */
	bool forgotten;
};

struct gate {
	pthread_mutex_t lock;
	pthread_cond_t left;
	unsigned most; /* threads at any time */
	bool adapts;
	_Atomic unsigned width; /* allowed now */
	unsigned inside, waiting;
	_Atomic bool crowd; /* others wait elsewhere to be inside */
	struct pass *passes;
	_Atomic int64_t mean;  /* microseconds that a stay takes */
	unsigned seen, worked; /* of the first stays; in how many the thread worked */
	int64_t least;	       /* of these: microseconds of work */
	_Atomic unsigned turn; /* gate_turn */

	struct climb {
		int64_t begun; /* the window's, microseconds */
		unsigned done;
		int64_t cpu, stays; /* microseconds: what its stays worked, and lasted */
		unsigned base;
		double base_rate;
		bool trying, up;
		unsigned rest, rests; /* windows until the next try, and of the next rest */
	} climb;
};

/* width: fixed, 1..most; 0: adapted. */
void gate_init(struct gate *g, unsigned most, unsigned width);
void gate_destroy(struct gate *g);
/* Waits for room until `until` (monotonic_ms); false: there was none. A stay that does not end is
 * forgotten: it takes no room any more. */
bool gate_enter(struct gate *g, struct pass *p, int64_t until);
void gate_leave(struct gate *g, struct pass *p);
unsigned gate_width(const struct gate *g);
/*
 * How many signatures one thread makes after another before a second thread is worth its wake-up.
 * 1: each has a thread of its own, for they wait inside, are long, or nothing is known.
 */
unsigned gate_turn(const struct gate *g);
/* Somebody waits to be inside, although no thread stands at the gate for it. */
void gate_crowd(struct gate *g, bool crowd);

/* One window's end (pure): the width that follows. */
unsigned climb_step(struct climb *c, unsigned width, unsigned most, double rate);

#endif
