#include "counters.h"

#include <time.h>

_Atomic uint64_t counters[COUNTER_COUNT];

static struct {
	_Atomic uint64_t sum_us, bucket[MSG_BUCKETS];
} spans[SPAN_COUNT];

int64_t monotonic_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void span_end(enum msg_span which, int64_t start)
{
	uint64_t us = (uint64_t)(monotonic_us() - start);
	unsigned i = 0;

	while (i < MSG_BUCKETS - 1 && us > msg_bound_us[i])
		i++;
	atomic_fetch_add_explicit(&spans[which].bucket[i], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&spans[which].sum_us, us, memory_order_relaxed);
}

void spans_read(struct msg_histogram out[SPAN_COUNT])
{
	for (unsigned i = 0; i < SPAN_COUNT; i++) {
		out[i].sum_us = atomic_load_explicit(&spans[i].sum_us, memory_order_relaxed);
		for (unsigned j = 0; j < MSG_BUCKETS; j++)
			out[i].bucket[j] =
				atomic_load_explicit(&spans[i].bucket[j], memory_order_relaxed);
	}
}
