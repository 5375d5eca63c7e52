/* The process's counters and gauges (enum msg_counter), shown by STATE. */
#ifndef DCSIGN_COUNTERS_H
#define DCSIGN_COUNTERS_H

#include <stdatomic.h>

#include "message.h"

extern _Atomic uint64_t counters[COUNTER_COUNT];

static inline void counter_add(enum msg_counter which, uint64_t n)
{
	atomic_fetch_add_explicit(&counters[which], n, memory_order_relaxed);
}

/* Microseconds of CLOCK_MONOTONIC. */
int64_t monotonic_us(void);
/* One part of a request that began at start (monotonic_us) and ends now. */
void span_end(enum msg_span which, int64_t start);
void spans_read(struct msg_histogram out[SPAN_COUNT]);

static inline void counter_sub(enum msg_counter which, uint64_t n)
{
	atomic_fetch_sub_explicit(&counters[which], n, memory_order_relaxed);
}

static inline void counter_set(enum msg_counter which, uint64_t n)
{
	atomic_store_explicit(&counters[which], n, memory_order_relaxed);
}

static inline uint64_t counter_get(enum msg_counter which)
{
	return atomic_load_explicit(&counters[which], memory_order_relaxed);
}

#endif
