#include "watchdog.h"

#include <pthread.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "token.h"

static struct {
	pthread_mutex_t lock;
	pthread_cond_t ended;
	pthread_t thread;
	bool runs, stop;
	int64_t until;
	int code;
} dog = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *watch(void *arg)
{
	struct timespec at = {dog.until / 1000, dog.until % 1000 * 1000000};
	bool late = false;

	(void)arg;
	pthread_mutex_lock(&dog.lock);
	while (!dog.stop && !late)
		late = pthread_cond_timedwait(&dog.ended, &dog.lock, &at) != 0;
	if (!dog.stop) {
		LOG(LOG_LEVEL_ERROR, "a call of the module does not come back");
		_exit(dog.code);
	}
	pthread_mutex_unlock(&dog.lock);
	return NULL;
}

void watchdog_begin(int ms, int code)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&dog.ended, &monotonic);
	pthread_condattr_destroy(&monotonic);
	dog.stop = false;
	dog.until = monotonic_ms() + ms;
	dog.code = code;
	dog.runs = pthread_create(&dog.thread, NULL, watch, NULL) == 0;
}

void watchdog_end(void)
{
	if (!dog.runs)
		return;
	pthread_mutex_lock(&dog.lock);
	dog.stop = true;
	pthread_cond_signal(&dog.ended);
	pthread_mutex_unlock(&dog.lock);
	pthread_join(dog.thread, NULL);
	dog.runs = false;
	pthread_cond_destroy(&dog.ended);
}
