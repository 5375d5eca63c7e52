/* Answers: JSON (RFC 8259) and problem+json (RFC 9457), as openapi.yaml describes them. */
#ifndef DCSIGN_REPLY_H
#define DCSIGN_REPLY_H

#include "rules.h"
#include "signer.h"
#include "snapshot.h"

#define REPLY_MAX (4u << 20)

struct reply {
	unsigned status;
	const char *content_type; /* static */
	struct buf body;
	const char *allow; /* static; the methods, of a 405 */
	char etag[2 * SHA256_SIZE + 3];
	uint32_t retry_after; /* seconds; 0: not said */
	bool replayed;	      /* Idempotency-Replayed: true */
	bool close;	      /* the connection ends with this answer */
	enum err err;	      /* for log and metrics; of a dry run, what it would have been */
	char detail[256];     /* for the log: of a problem, in the words of who refused */
};

/* Starts an answer: an empty body. reply_free frees it. */
void reply_init(struct reply *r);
void reply_free(struct reply *r);

/* Every function below fills *r whole and never fails: without memory it is a 503 of fixed text. */

void reply_problem(struct reply *r, const struct refusal *why, const char *request);
/* 201; raw: the DC's octets alone as application/octet-stream. chain NULL: of a certificate that
 * this process does not know yet (member chain is null). note: the newest signed head of the
 * ledger's chain; NULL: none is known. */
void reply_credential(struct reply *r, const struct msg_grant *grant, const char *key,
	const struct chain *chain, const char *note, bool raw);
/* 200: what the decision is, granted or refused, and by which rules. */
void reply_decision(struct reply *r, const struct rules_of *of);

/* One item of a batch. */
struct result {
	struct refusal refusal;	       /* before it was asked for; ERR_OK: look at grant */
	const struct msg_grant *grant; /* NULL with a refusal */
	const struct chain *chain;     /* as of reply_credential */
	const char *note;
	const struct msg_issue_item *item;
};
/* 200: {"results":[...],"chain":...}: credentials or problems (dry_run: decisions) in the order of
 * the requests. The chain is that of the first credential; one of another certificate has its own.
 */
void reply_batch(struct reply *r, const struct rules_of *of, const struct result *results,
	size_t count, bool dry_run);
/* A refusal that is a decision about the request, and not trouble of the service. */
bool reply_is_decision(enum err err);
/* Octets as they are, 200. */
void reply_octets(struct reply *r, const char *content_type, const void *octets, size_t len,
	const char *etag);

/* 200, application/jsonl; the caller appends at most `max` octets to r->body. */
void reply_lines(struct reply *r, size_t max);

/* What a client sees of a key. */
struct key_view {
	const struct config_key *key;
	struct policy policy; /* effective */
	struct signer_key state;
	const struct chain *chain; /* NULL: not known which certificate issues */
	bool has_live;
	uint64_t live; /* this client's unexpired DCs of this key */
	bool held;
	char hold_reason[HOLD_REASON_MAX + 1];
};
void reply_key(struct reply *r, const struct key_view *view);
void reply_keys(struct reply *r, const struct key_view *views, size_t count);

/* 200: what a hold (or its end) means; key or client NULL. */
void reply_hold(struct reply *r, bool held, const char *key, const char *client, const char *reason,
	const struct msg_hold_answer *answer);

/*
 * What the ledger tells of, 200. The records of a credential are those of msg_released. False: they
 * can't be read.
 */
bool reply_released(struct reply *r, const struct msg_released *released, const char *note);
bool reply_released_page(struct reply *r, const struct msg_read_answer *page);
bool reply_proof(struct reply *r, const struct msg_read_answer *proof);
void reply_consistency(
	struct reply *r, const char *chain, uint64_t from, const struct msg_read_answer *proof);
void reply_heads(struct reply *r, const struct msg_read_answer *heads);

struct whoami {
	const struct config_client *client;
	const struct peer *peer;
	uint32_t rate_left;
	bool has_live;
	uint64_t live;
	bool held;
	char hold_reason[HOLD_REASON_MAX + 1];
};
void reply_whoami(struct reply *r, const struct whoami *who);

/* The body of /readyz; status 200 when ready. Takes the reference of body. */
struct json_t;
void reply_json(struct reply *r, unsigned status, struct json_t *body);

#endif
