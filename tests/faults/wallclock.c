/*
 * wallclock.so, for LD_PRELOAD: clocks that stand where a file says, which libfaketime can't do for
 * CLOCK_BOOTTIME alone. WALLCLOCK names the file, one line "REALTIME BOOTTIME SYNCHRONISED": what
 * is added to the two clocks, in milliseconds, and whether the kernel calls its clock synchronised
 * (1 or 0). Replace it by rename(2). Without it nothing is changed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

struct shift {
	long long wall_ms, boot_ms;
	int synchronised;
};

static int read_shift(struct shift *s)
{
	const char *path = getenv("WALLCLOCK");
	char line[128] = "";
	int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof line - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 &&
	       sscanf(line, "%lld %lld %d", &s->wall_ms, &s->boot_ms, &s->synchronised) == 3;
}

static void add(struct timespec *t, long long ms)
{
	long long ns = t->tv_nsec + ms % 1000 * 1000000;

	t->tv_sec += (time_t)(ms / 1000);
	if (ns < 0) {
		ns += 1000000000;
		t->tv_sec--;
	}
	t->tv_sec += (time_t)(ns / 1000000000);
	t->tv_nsec = (long)(ns % 1000000000);
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	struct shift s;
	int rc = (int)syscall(SYS_clock_gettime, id, t);

	if (rc != 0 || (id != CLOCK_REALTIME && id != CLOCK_BOOTTIME) || !read_shift(&s))
		return rc;
	add(t, id == CLOCK_REALTIME ? s.wall_ms : s.boot_ms);
	return 0;
}

int adjtimex(struct timex *t)
{
	struct shift s;
	int rc = (int)syscall(SYS_adjtimex, t);

	if (!read_shift(&s))
		return rc;
	t->status = s.synchronised ? 0 : STA_UNSYNC;
	return s.synchronised ? TIME_OK : TIME_ERROR;
}
