#include <pthread.h>
#include <stdlib.h>

#include "p11fault.h"

#define BUCKETS 1024

struct session {
	struct session *next;
	CK_SESSION_HANDLE handle;
	CK_SLOT_ID slot;
	int thread; /* that is using it; 0: none */
	unsigned depth;
	struct operation op;
};

static struct session *table[BUCKETS];
static unsigned count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static struct session **find(CK_SESSION_HANDLE handle)
{
	struct session **at = &table[handle % BUCKETS];

	while (*at != NULL && (*at)->handle != handle)
		at = &(*at)->next;
	return at;
}

static void drop(struct session **at)
{
	struct session *gone = *at;

	*at = gone->next;
	free(gone);
	count--;
}

void session_opened(CK_SESSION_HANDLE handle, CK_SLOT_ID slot)
{
	struct session *s = calloc(1, sizeof *s);

	if (s == NULL)
		fatal("out of memory");
	s->handle = handle;
	s->slot = slot;
	pthread_mutex_lock(&lock);
	struct session **at = find(handle);
	if (*at != NULL)
		drop(at);
	s->next = table[handle % BUCKETS];
	table[handle % BUCKETS] = s;
	count++;
	pthread_mutex_unlock(&lock);
}

void session_closed(CK_SESSION_HANDLE handle)
{
	pthread_mutex_lock(&lock);
	struct session **at = find(handle);
	if (*at != NULL)
		drop(at);
	pthread_mutex_unlock(&lock);
}

void sessions_closed(const CK_SLOT_ID *slot)
{
	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < BUCKETS; i++)
		for (struct session **at = &table[i]; *at != NULL;) {
			if (slot == NULL || (*at)->slot == *slot)
				drop(at);
			else
				at = &(*at)->next;
		}
	pthread_mutex_unlock(&lock);
}

unsigned sessions_count(void)
{
	unsigned n;

	pthread_mutex_lock(&lock);
	n = count;
	pthread_mutex_unlock(&lock);
	return n;
}

bool session_any(CK_SESSION_HANDLE *handle, CK_SLOT_ID *slot)
{
	bool found = false;

	pthread_mutex_lock(&lock);
	for (unsigned i = 0; i < BUCKETS && !found; i++)
		if (table[i] != NULL) {
			*handle = table[i]->handle;
			*slot = table[i]->slot;
			found = true;
		}
	pthread_mutex_unlock(&lock);
	return found;
}

bool session_slot(CK_SESSION_HANDLE handle, CK_SLOT_ID *slot)
{
	bool found;

	pthread_mutex_lock(&lock);
	struct session *s = *find(handle);
	found = s != NULL;
	if (found)
		*slot = s->slot;
	pthread_mutex_unlock(&lock);
	return found;
}

int session_enter(CK_SESSION_HANDLE handle, int thread)
{
	int rival = 0;

	pthread_mutex_lock(&lock);
	struct session *s = *find(handle);
	if (s != NULL && s->thread != 0 && s->thread != thread) {
		rival = s->thread;
	} else if (s != NULL) {
		s->thread = thread;
		s->depth++;
	}
	pthread_mutex_unlock(&lock);
	return rival;
}

void session_leave(CK_SESSION_HANDLE handle, int thread)
{
	pthread_mutex_lock(&lock);
	struct session *s = *find(handle);
	if (s != NULL && s->thread == thread && --s->depth == 0)
		s->thread = 0;
	pthread_mutex_unlock(&lock);
}

void session_begin(CK_SESSION_HANDLE handle, const struct operation *op)
{
	pthread_mutex_lock(&lock);
	struct session *s = *find(handle);
	if (s != NULL)
		s->op = *op;
	pthread_mutex_unlock(&lock);
}

void session_operation(CK_SESSION_HANDLE handle, struct operation *op)
{
	pthread_mutex_lock(&lock);
	struct session *s = *find(handle);
	if (s != NULL)
		*op = s->op;
	pthread_mutex_unlock(&lock);
}
