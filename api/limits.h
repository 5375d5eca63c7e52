/* What one client, one address and one slow connection may take: rates, connections, deadlines. */
#ifndef DCSIGN_LIMITS_H
#define DCSIGN_LIMITS_H

#include <sys/socket.h>

#include "config.h"

/* CLOCK_MONOTONIC in milliseconds: the clock of every deadline here. */
int64_t monotonic_ms(void);
int64_t monotonic_us(void); /* for durations */

#define LIMITS_OWN_DESCRIPTORS 288 /* channels, listeners, the monitor's 32, log; api/linger.h */

/*
 * Descriptors for `connections` at once and the service's own are there (the soft limit is raised
 * as far as the hard one allows), or ERR_NO_ROOM with the numbers in why->detail.
 */
enum err limits_descriptors(unsigned connections, struct refusal *why);

/* Rates: a token bucket for each client that has one, as large as rate_count, full at first. */
struct rates;
struct rates *rates_new(void); /* NULL: out of memory */
void rates_free(struct rates *r);
/* Takes the clients of a configuration; buckets of clients that stay keep their level. ERR_NOMEM:
 * nothing changes. */
enum err rates_configure(struct rates *r, const struct config *config);
/* One request of this client at now (milliseconds). ERR_RATE with why->retry_after. Thread-safe. */
enum err rates_take(
	struct rates *r, const struct config_client *client, int64_t now, struct refusal *why);
/* Requests that the client could make at once; 0 too for a client without a rate. Thread-safe. */
uint32_t rates_left(struct rates *r, const struct config_client *client, int64_t now);

/* Connections: the open ones with their deadlines. Thread-safe. */
struct connection {
	int fd;
	uint8_t address[16]; /* IPv4 mapped, IPv6 without its last 64 bits; zeros: not counted */
	int64_t deadline;    /* milliseconds */
	void (*resume)(struct connection *entry); /* of one that pauses; else NULL */
	struct connection *next, *previous, *awake;
};
struct connections;
struct connections *connections_new(void); /* NULL: out of memory */
void connections_free(struct connections *c);
/* May one more come from this address (addrlen 0 or not IP: yes)? cap 0: no cap. An IPv6 /64 is one
 * address. */
bool connections_admit(struct connections *c, const struct sockaddr *address, unsigned cap);
/* The entry is borrowed until connections_close. */
void connections_open(struct connections *c, struct connection *entry, int fd,
	const struct sockaddr *address, int64_t deadline);
void connections_deadline(struct connections *c, struct connection *entry, int64_t deadline);
/* Not shut down at this deadline, but resumed, once; then it has none until it gets a new one. It
 * must not be closed before. */
void connections_pause(struct connections *c, struct connection *entry, int64_t until,
	void (*resume)(struct connection *entry));
void connections_close(struct connections *c, struct connection *entry);
/* Shuts down the descriptors whose deadline has passed; the owner then closes them. Returns how
 * many. Resumes those whose pause is over. */
unsigned connections_reap(struct connections *c, int64_t now);
unsigned connections_count(struct connections *c);

/* Log lines that strangers can cause: so many a second, and the number of those left out. */
struct log_gate {
	unsigned per_second;
	int64_t until; /* of the second that is counted */
	unsigned count;
	uint64_t left_out;
};
/* True when the line may be written; *left_out: lines left out since the last one. Thread-safe. */
bool log_gate_open(struct log_gate *gate, int64_t now, uint64_t *left_out);

#endif
