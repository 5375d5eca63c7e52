/*
 * What is answered to whom: from a request whose HTTP form is already checked to an answer, at once
 * or after the signer or the ledger has answered. Knows nothing of the HTTP library.
 */
#ifndef DCSIGN_ROUTES_H
#define DCSIGN_ROUTES_H

#include "limits.h"
#include "query.h"
#include "reply.h"
#include "request.h"

#define TARGET_MAX 512 /* octets of a request target; a longer one is not found */

/* What requests share. Borrowed; lives as long as the service. */
struct service {
	struct signer *signer;
	struct rates *rates;
	struct connections *connections;
	_Atomic bool stopping;
	_Atomic unsigned in_progress; /* exchanges; counted by https */
};

/* The header fields that are looked at; NULL: not sent. Valid while the request is. */
struct header {
	const char *content_type, *content_encoding, *accept, *idempotency_key, *if_none_match;
};

struct exchange {
	/* filled by https before routes_head */
	struct service *service;
	struct snapshot *snapshot; /* a reference */
	const struct peer *peer;   /* NULL on the monitor */
	char id[ID_SIZE];
	char target[TARGET_MAX + 1]; /* raw, with the query; "" when too long */
	const char *method;
	struct header header;
	uint64_t length; /* of the body, as Content-Length said */
	int64_t started; /* monotonic_ms */
	int64_t started_us;
	int64_t deadline; /* of the whole request */
	struct buf body;
	/* From hold() on the answer may come from another thread; resume() tells that it is there.
	 * hold() is called at most once, resume() exactly once after it. */
	void (*hold)(struct exchange *x);
	void (*resume)(struct exchange *x);

	/* the result */
	struct reply reply;

	/* of routes alone */
	const struct route *route;
	const struct config_client *client;
	const struct config_key *key;
	const struct config_client *named; /* by the path */
	char reason[HOLD_REASON_MAX + 1];
	struct request request;
	struct batch_request batch;
	struct msg_issue_item *ask; /* the items of the batch that are asked for */
	struct result *result;	    /* one for each item of the batch */
	struct signer_call call;
	struct query query;
	struct msg_read read;  /* what the ledger is asked */
	uint64_t lines;	       /* records in the answer, the last one perhaps not whole yet */
	struct key_view *view; /* of the keys that are shown */
	size_t view_count, view_next;
};

/* After the header: true when a body (perhaps an empty one) is to be taken and routes_run to be
 * called; false when x->reply is the answer already. */
bool routes_head(struct exchange *x);
/* With the whole body. True: x->reply is the answer; false: it will be when resume() is called. */
bool routes_run(struct exchange *x);
/* Counts and logs the answer; then frees what routes holds. For every exchange whose answer was
 * queued; routes_free alone for the others. */
void routes_done(struct exchange *x);
void routes_free(struct exchange *x);

/* A refusal as the answer; returns true. detail "": the code says it all. */
bool routes_problem(struct exchange *x, enum err err, const char *field, const char *detail);
/* The form of the request was refused before routes saw it. */
void routes_refuse(struct exchange *x, enum err err, const char *field, const char *detail);

#endif
