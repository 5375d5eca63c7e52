#include "limits.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#define ROUNDING 1e-6 /* of a sum of fractions that should be whole */

int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t monotonic_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

enum err limits_descriptors(unsigned connections, struct refusal *why)
{
	rlim_t need = (rlim_t)connections + LIMITS_OWN_DESCRIPTORS;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return refuse(why, ERR_SYSTEM, "limits", "getrlimit fails");
	if (limit.rlim_cur >= need)
		return ERR_OK;
	limit.rlim_cur = need;
	if (need <= limit.rlim_max && setrlimit(RLIMIT_NOFILE, &limit) == 0)
		return ERR_OK;
	return refuse(why, ERR_NO_ROOM, "limits",
		"connections = %u needs %lu descriptors, the limit is %lu: lower it, or raise "
		"LimitNOFILE (ulimit -n)",
		connections, (unsigned long)need, (unsigned long)limit.rlim_max);
}

/* A bucket holds so many requests at time `at`. */
struct bucket {
	char name[NAME_SIZE];
	uint32_t count, seconds;
	double level;
	int64_t at;
};

struct rates {
	pthread_mutex_t lock;
	struct bucket *bucket; /* sorted by name, as the configuration's clients */
	size_t count;
};

struct rates *rates_new(void)
{
	struct rates *r = calloc(1, sizeof(*r));

	if (r != NULL)
		pthread_mutex_init(&r->lock, NULL);
	return r;
}

void rates_free(struct rates *r)
{
	if (r == NULL)
		return;
	pthread_mutex_destroy(&r->lock);
	free(r->bucket);
	free(r);
}

static int compare_bucket(const void *name, const void *bucket)
{
	return strcmp(name, ((const struct bucket *)bucket)->name);
}

static struct bucket *find(const struct rates *r, const char *name)
{
	return r->count == 0
		       ? NULL
		       : bsearch(name, r->bucket, r->count, sizeof(*r->bucket), compare_bucket);
}

enum err rates_configure(struct rates *r, const struct config *config)
{
	struct bucket *fresh = calloc(config->client_count + 1, sizeof(*fresh)), *old;
	int64_t now = monotonic_ms();

	if (fresh == NULL)
		return ERR_NOMEM;
	pthread_mutex_lock(&r->lock);
	for (size_t i = 0; i < config->client_count; i++) {
		const struct config_client *client = &config->client[i];

		memcpy(fresh[i].name, client->name, NAME_SIZE);
		fresh[i].count = client->rate_count;
		fresh[i].seconds = client->rate_seconds;
		old = find(r, client->name);
		if (old != NULL && old->count == fresh[i].count &&
			old->seconds == fresh[i].seconds) {
			fresh[i] = *old;
			continue;
		}
		fresh[i].level = fresh[i].count;
		fresh[i].at = now;
	}
	free(r->bucket);
	r->bucket = fresh;
	r->count = config->client_count;
	pthread_mutex_unlock(&r->lock);
	return ERR_OK;
}

static void fill(struct bucket *b, int64_t now)
{
	if (now <= b->at)
		return;
	b->level += (double)(now - b->at) * b->count / (b->seconds * 1000.0);
	if (b->level > b->count)
		b->level = b->count;
	b->at = now;
}

static struct bucket *limited(struct rates *r, const struct config_client *client)
{
	struct bucket *b = find(r, client->name);

	return b != NULL && b->count != 0 && b->seconds != 0 ? b : NULL;
}

enum err rates_take(
	struct rates *r, const struct config_client *client, int64_t now, struct refusal *why)
{
	struct bucket *b;
	enum err err = ERR_OK;

	pthread_mutex_lock(&r->lock);
	b = limited(r, client);
	if (b != NULL) {
		fill(b, now);
		if (b->level >= 1 - ROUNDING) {
			b->level -= 1;
		} else {
			err = refuse(why, ERR_RATE, "", "this client may make %u requests in %u s",
				b->count, b->seconds);
			why->retry_after =
				(uint32_t)((1 - b->level) * b->seconds / b->count + 1 - ROUNDING);
		}
	}
	pthread_mutex_unlock(&r->lock);
	return err;
}

uint32_t rates_left(struct rates *r, const struct config_client *client, int64_t now)
{
	struct bucket *b;
	uint32_t left = 0;

	pthread_mutex_lock(&r->lock);
	b = limited(r, client);
	if (b != NULL) {
		fill(b, now);
		left = (uint32_t)(b->level + ROUNDING);
	}
	pthread_mutex_unlock(&r->lock);
	return left;
}

struct connections {
	pthread_mutex_t lock;
	struct connection *first;
	unsigned count;
	int64_t soonest; /* no deadline is sooner: those that are put off leave it as it is */
};

/* With the lock held. */
static void set_deadline(struct connections *c, struct connection *entry, int64_t deadline)
{
	entry->deadline = deadline;
	if (deadline < c->soonest)
		c->soonest = deadline;
}

struct connections *connections_new(void)
{
	struct connections *c = calloc(1, sizeof(*c));

	if (c != NULL)
		pthread_mutex_init(&c->lock, NULL);
	return c;
}

void connections_free(struct connections *c)
{
	if (c == NULL)
		return;
	pthread_mutex_destroy(&c->lock);
	free(c);
}

/* False when connections from there are not counted. */
static bool address_of(uint8_t out[16], const struct sockaddr *address)
{
	memset(out, 0, 16);
	if (address != NULL && address->sa_family == AF_INET) {
		out[10] = out[11] = 0xff;
		memcpy(out + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr, 4);
		return true;
	}
	if (address != NULL && address->sa_family == AF_INET6) {
		const struct in6_addr *a =
			&((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;

		memcpy(out, a, IN6_IS_ADDR_V4MAPPED(a) ? 16 : 8);
		return true;
	}
	return false;
}

bool connections_admit(struct connections *c, const struct sockaddr *address, unsigned cap)
{
	uint8_t key[16];
	unsigned n = 0;

	if (cap == 0 || !address_of(key, address))
		return true;
	pthread_mutex_lock(&c->lock);
	for (const struct connection *e = c->first; e != NULL; e = e->next)
		n += memcmp(e->address, key, sizeof(key)) == 0;
	pthread_mutex_unlock(&c->lock);
	return n < cap;
}

void connections_open(struct connections *c, struct connection *entry, int fd,
	const struct sockaddr *address, int64_t deadline)
{
	entry->fd = fd;
	(void)address_of(entry->address, address);
	entry->previous = NULL;
	entry->resume = NULL;
	pthread_mutex_lock(&c->lock);
	set_deadline(c, entry, deadline);
	entry->next = c->first;
	if (c->first != NULL)
		c->first->previous = entry;
	c->first = entry;
	c->count++;
	pthread_mutex_unlock(&c->lock);
}

void connections_deadline(struct connections *c, struct connection *entry, int64_t deadline)
{
	pthread_mutex_lock(&c->lock);
	set_deadline(c, entry, deadline);
	pthread_mutex_unlock(&c->lock);
}

void connections_pause(struct connections *c, struct connection *entry, int64_t until,
	void (*resume)(struct connection *entry))
{
	pthread_mutex_lock(&c->lock);
	entry->resume = resume;
	set_deadline(c, entry, until);
	pthread_mutex_unlock(&c->lock);
}

void connections_close(struct connections *c, struct connection *entry)
{
	pthread_mutex_lock(&c->lock);
	if (entry->previous != NULL)
		entry->previous->next = entry->next;
	else
		c->first = entry->next;
	if (entry->next != NULL)
		entry->next->previous = entry->previous;
	c->count--;
	pthread_mutex_unlock(&c->lock);
}

static void resume_all(struct connection *awake)
{
	struct connection *next;
	void (*resume)(struct connection * entry);

	for (struct connection *e = awake; e != NULL; e = next) {
		next = e->awake; /* e may be gone when it was resumed */
		resume = e->resume;
		e->resume = NULL;
		resume(e);
	}
}

unsigned connections_reap(struct connections *c, int64_t now)
{
	int64_t soonest = INT64_MAX;
	struct connection *awake = NULL;
	unsigned n = 0;

	pthread_mutex_lock(&c->lock);
	for (struct connection *e = now < c->soonest ? NULL : c->first; e != NULL; e = e->next) {
		if (e->deadline <= now && e->resume != NULL) {
			e->awake = awake;
			awake = e;
			e->deadline = INT64_MAX;
		} else if (e->deadline <= now) {
			(void)shutdown(e->fd, SHUT_RDWR);
			e->deadline = INT64_MAX;
			n++;
		}
		if (e->deadline < soonest)
			soonest = e->deadline;
	}
	if (now >= c->soonest)
		c->soonest = soonest;
	pthread_mutex_unlock(&c->lock);
	resume_all(awake);
	return n;
}

unsigned connections_count(struct connections *c)
{
	unsigned n;

	pthread_mutex_lock(&c->lock);
	n = c->count;
	pthread_mutex_unlock(&c->lock);
	return n;
}

bool log_gate_open(struct log_gate *gate, int64_t now, uint64_t *left_out)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	bool open;

	pthread_mutex_lock(&lock);
	if (now >= gate->until) {
		gate->until = now + 1000;
		gate->count = 0;
	}
	open = gate->count < gate->per_second;
	if (open) {
		gate->count++;
		*left_out = gate->left_out;
		gate->left_out = 0;
	} else {
		gate->left_out++;
	}
	pthread_mutex_unlock(&lock);
	return open;
}
