/* What a leaking module takes from this process. */
#ifndef DCSIGN_RESOURCES_H
#define DCSIGN_RESOURCES_H

#include <stdbool.h>
#include <stddef.h>

struct resources {
	size_t octets; /* resident */
	unsigned descriptors;
};
struct resources resources_now(void);
/* Has it grown so much that a new process should take over? Beyond twice what it was at the
 * beginning and RESOURCES_OCTETS more; RESOURCES_DESCRIPTORS more, or half of those that may be
 * open. */
#define RESOURCES_OCTETS      (512u << 20)
#define RESOURCES_DESCRIPTORS 4096
bool resources_leak(const struct resources *begin, const struct resources *now);

#endif
