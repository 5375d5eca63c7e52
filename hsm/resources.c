#include "resources.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

struct resources resources_now(void)
{
	struct resources r = {0};
	unsigned long size, resident;
	FILE *f = fopen("/proc/self/statm", "re");
	DIR *d = opendir("/proc/self/fd");

	if (f != NULL && fscanf(f, "%lu %lu", &size, &resident) == 2)
		r.octets = resident * (size_t)sysconf(_SC_PAGESIZE);
	if (f != NULL)
		fclose(f);
	while (d != NULL && readdir(d) != NULL)
		r.descriptors++;
	if (d != NULL)
		closedir(d);
	return r;
}

bool resources_leak(const struct resources *begin, const struct resources *now)
{
	struct rlimit limit = {.rlim_cur = RLIM_INFINITY};

	getrlimit(RLIMIT_NOFILE, &limit);
	return now->octets > 2 * begin->octets + RESOURCES_OCTETS ||
	       now->descriptors > begin->descriptors + RESOURCES_DESCRIPTORS ||
	       now->descriptors > limit.rlim_cur / 2;
}
