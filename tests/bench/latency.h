/* Durations counted in buckets whose width is at most 1/64 of their value. */
#ifndef DCSIGN_BENCH_LATENCY_H
#define DCSIGN_BENCH_LATENCY_H

#include <stdint.h>

#define LATENCY_BUCKETS (64 * 40)

struct latency {
	uint64_t count, sum_ns, max_ns;
	uint64_t bucket[LATENCY_BUCKETS];
};

void latency_add(struct latency *l, uint64_t ns);
/* The smallest duration in ns that a share (0 to 1) of all don't exceed, rounded up to the end of
 * its bucket; 0: nothing was counted. */
uint64_t latency_quantile(const struct latency *l, double share);

#endif
