#include "crew.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define THREADS_MAX 8

struct crew {
	pthread_mutex_t lock;
	pthread_cond_t given, done;
	struct job *first, **last;
	bool ending;
	unsigned count;
	pthread_t thread[THREADS_MAX];
};

/* The first job, done outside the lock, which the caller holds. */
static void job_do(struct crew *c)
{
	struct job *j = c->first;

	c->first = j->next;
	if (!c->first)
		c->last = &c->first;
	pthread_mutex_unlock(&c->lock);
	j->run(j);
	pthread_mutex_lock(&c->lock);
	j->done = true;
	pthread_cond_broadcast(&c->done);
}

static void *work(void *arg)
{
	struct crew *c = arg;

	pthread_mutex_lock(&c->lock);
	while (c->first || !c->ending) {
		if (c->first)
			job_do(c);
		else
			pthread_cond_wait(&c->given, &c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	return NULL;
}

struct crew *crew_make(void)
{
	long processors = sysconf(_SC_NPROCESSORS_ONLN);
	struct crew *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->given, NULL);
	pthread_cond_init(&c->done, NULL);
	c->last = &c->first;
	while (c->count < THREADS_MAX && (long)c->count < processors &&
		pthread_create(&c->thread[c->count], NULL, work, c) == 0)
		c->count++;
	return c;
}

void crew_free(struct crew *c)
{
	if (!c)
		return;
	pthread_mutex_lock(&c->lock);
	c->ending = true;
	pthread_cond_broadcast(&c->given);
	pthread_mutex_unlock(&c->lock);
	for (unsigned i = 0; i < c->count; i++)
		pthread_join(c->thread[i], NULL);
	pthread_cond_destroy(&c->given);
	pthread_cond_destroy(&c->done);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

void crew_put(struct crew *c, struct job *j)
{
	pthread_mutex_lock(&c->lock);
	j->next = NULL;
	j->done = false;
	*c->last = j;
	c->last = &j->next;
	pthread_cond_signal(&c->given);
	pthread_mutex_unlock(&c->lock);
}

void crew_wait(struct crew *c, struct job *j)
{
	pthread_mutex_lock(&c->lock);
	while (!j->done) {
		if (c->first)
			job_do(c);
		else
			pthread_cond_wait(&c->done, &c->lock);
	}
	pthread_mutex_unlock(&c->lock);
}
