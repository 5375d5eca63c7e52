/* The load generator: what was asked for on the command line, and one connection. */
#ifndef DCSIGN_BENCH_LOAD_H
#define DCSIGN_BENCH_LOAD_H

#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "latency.h"

#define LOAD_STATUSES 600
#define ANSWER_MAX    (1024 * 1024)

struct load {
	struct sockaddr_in to;
	SSL_CTX *tls;
	char **request; /* complete requests, sent in turn */
	size_t *request_len;
	size_t requests;
	const char *count; /* text that is counted in each answer; NULL: none */
	bool fresh;	   /* a new TLS connection for each request */
	int epoll;

	/* what came back */
	size_t turn;
	uint64_t status[LOAD_STATUSES];
	uint64_t counted;
	uint64_t broken; /* connections that ended before their answer, or were refused */
	struct latency latency, handshake;
};

enum connection_state { OPENING, SHAKING, FREE, WRITING, READING, BROKEN };

struct connection {
	struct load *load;
	enum connection_state state;
	int fd;
	SSL *ssl;
	uint64_t opened_ns, asked_ns;
	size_t request, written;
	char *answer; /* ANSWER_MAX + 1 octets */
	size_t got;
};

uint64_t clock_ns(void);
/* Opens a socket and begins the handshake. state is BROKEN when that fails. */
void connection_open(struct connection *c);
void connection_close(struct connection *c);
/* Sends the next request. asked_ns: when it was due. The connection is FREE. */
void connection_ask(struct connection *c, uint64_t asked_ns);
/* As far as it goes without waiting. An answer that is complete is counted: then the connection is
 * FREE again, or open anew when `fresh` is set. */
void connection_go(struct connection *c);

#endif
