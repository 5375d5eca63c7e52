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
	int64_t date;	  /* the service's clock, seconds since the epoch; 0: not said */
	char etag[128];	  /* "": none, or too long */
	struct buf body;  /* free with buf_free */
};

struct service_call {
	const char *path;	 /* begins with / */
	const char *body;	 /* JSON to POST; NULL: GET */
	const char *idempotency; /* Idempotency-Key; NULL: none */
	const char *etag;	 /* If-None-Match; NULL or "": none */
};

/*
 * One call to url + path. TLS 1.3 only, no redirects, no proxy, no other CAs, 5 s to connect and
 * 15 s in all. ERR_OK for any HTTP answer; ERR_CLOSED when none came, ERR_FORMAT for an URL that is
 * not taken, each with *why. answer->body is to be freed in any case.
 */
enum err service_call(const struct service *s, const struct service_call *call,
	struct service_answer *answer, struct refusal *why);

/*
 * An answer that is a refusal: problem+json (RFC 9457) as the service gives it, or whatever else
 * came instead of what was asked for. *code: the member of that name, or "unexpected".
 * Returns an exit code (tool.h).
 */
struct service_problem {
	char code[64], field[32];
	char detail[512];
};
int service_problem(const struct service_answer *answer, struct service_problem *problem);

#endif
