/* One HTTPS call to the service, over libcurl. */
#ifndef DCSIGN_CLIENT_SERVICE_H
#define DCSIGN_CLIENT_SERVICE_H

#include "buf.h"

#define SERVICE_ANSWER_MAX (1u << 20)

struct service {
	const char *url;     /* https://host:port, without a path */
	const char *ca;	     /* PEM file: the only anchors of the service's certificate */
	const char *cert;    /* PEM file: this client's certificate (and chain) */
	const char *tls_key; /* PEM file: its private key */
};

struct service_answer {
	long status;
	char media_type[64];
	bool replayed;	  /* Idempotency-Replayed: true */
	long retry_after; /* seconds; 0: not said */
	struct buf body;  /* free with buf_free */
};

/*
 * POSTs a JSON body to url + path. TLS 1.3 only, no redirects, no proxy, no other CAs, 5 s to
 * connect and 15 s in all. idempotency: NULL for none. ERR_OK for any HTTP answer; ERR_CLOSED when
 * none came, ERR_FORMAT for an URL that is not taken, each with *why.
 */
enum err service_post(const struct service *s, const char *path, const char *body,
	const char *idempotency, struct service_answer *answer, struct refusal *why);

#endif
