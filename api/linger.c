#include "linger.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
	int fd;
	int64_t until;
} kept[LINGER_MAX]; /* a ring: count of them from first on */
static unsigned first, count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void drop_first(void)
{
	close(kept[first].fd);
	first = (first + 1) % LINGER_MAX;
	count--;
}

void linger(int fd, int64_t now)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

	if (copy < 0)
		return;
	(void)shutdown(copy, SHUT_WR);
	pthread_mutex_lock(&lock);
	if (count == LINGER_MAX)
		drop_first();
	kept[(first + count) % LINGER_MAX].fd = copy;
	kept[(first + count) % LINGER_MAX].until = now + LINGER_MS;
	count++;
	pthread_mutex_unlock(&lock);
}

void linger_end(int64_t now)
{
	pthread_mutex_lock(&lock);
	while (count > 0 && kept[first].until <= now)
		drop_first();
	pthread_mutex_unlock(&lock);
}
