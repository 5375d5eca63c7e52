/*
 * Listening sockets, TLS and the form of HTTP requests: the only module that knows libmicrohttpd.
 * One thread for each listening socket (with TLS in epoll mode, see intake.h); it never signs and
 * never waits.
 */
#ifndef DCSIGN_HTTPS_H
#define DCSIGN_HTTPS_H

#include "routes.h"

#define HTTPS_HANDSHAKE_MS 5000	 /* from the connection to a verified client certificate */
#define HTTPS_IDLE_MS	   60000 /* from there, or from an answer, to the next request line */
#define HTTPS_ANSWER_MS	   5000	 /* to take an answer */

/* From an answer that the service is overloaded to what the next request of this connection gets:
 * who does not heed Retry-After takes little from the others. */
#define HTTPS_PAUSE_MS 250

#define HTTPS_MONITOR_CONNECTIONS 32

enum https_kind { HTTPS_TLS, HTTPS_UNIX, HTTPS_MONITOR };

struct https;
struct https_options {
	struct service *service; /* borrowed */
	enum https_kind kind;
	size_t listen;	      /* index of the listen section; its credentials are looked up by it */
	int fd;		      /* bound and listening; taken over on success */
	unsigned connections; /* at once, over all listeners but the monitor */
};
/* Begins to accept. A snapshot must have been published. ERR_SYSTEM. */
enum err https_start(struct https **out, const struct https_options *options);
/* Accepts no more connections and closes the listening socket here; those that are there go on.
 * The monitor accepts on. */
void https_quiesce(struct https *h);
/* Closes everything. No exchange may wait for the signer any more. NULL is allowed. */
void https_stop(struct https *h);

#endif
