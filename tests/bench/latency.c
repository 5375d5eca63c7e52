#include "latency.h"

/* Values below 128 have a bucket each; above, 64 buckets for each power of two. */
static unsigned bucket_of(uint64_t ns)
{
	unsigned shift = 0;

	while (ns >> shift >= 128)
		shift++;

	unsigned at = 64 * shift + (unsigned)(ns >> shift);

	return at < LATENCY_BUCKETS ? at : LATENCY_BUCKETS - 1;
}

static uint64_t bucket_end(unsigned at)
{
	if (at < 128)
		return at;

	unsigned shift = at / 64 - 1;

	return ((uint64_t)(at - 64 * shift + 1) << shift) - 1;
}

void latency_add(struct latency *l, uint64_t ns)
{
	l->count++;
	l->sum_ns += ns;
	if (ns > l->max_ns)
		l->max_ns = ns;
	l->bucket[bucket_of(ns)]++;
}

uint64_t latency_quantile(const struct latency *l, double share)
{
	uint64_t want = (uint64_t)(share * (double)l->count);
	uint64_t seen = 0;

	if (l->count == 0)
		return 0;
	if (want == 0)
		want = 1;
	for (unsigned at = 0; at < LATENCY_BUCKETS; at++) {
		seen += l->bucket[at];
		if (seen >= want)
			return bucket_end(at) < l->max_ns ? bucket_end(at) : l->max_ns;
	}
	return l->max_ns;
}
