/*
 * A token and a ledger for issue.c that write down in which order they are asked. Signatures are
 * real (keys in memory), records are decoded, and both can be told to fail.
 */
#ifndef DCSIGN_FAKE_ORDER_H
#define DCSIGN_FAKE_ORDER_H

#include <openssl/types.h>

#include "append.h"
#include "issue.h"
#include "token.h"

#define FAKE_EVENTS 4096

struct fake_event {
	enum fake_what { EVENT_DURABLE, EVENT_SENT, EVENT_JUDGED, EVENT_SIGN, EVENT_ANSWER } what;
	enum record_type type; /* DURABLE (waited for) and SENT (not waited for) */
	char id[ID_SIZE];      /* of the record */
	int64_t attempt;
	int64_t time;	     /* of the record */
	uint32_t valid_time; /* of its credential */
	char reason[64];
	uint8_t tbs_sha256[SHA256_SIZE]; /* AUTHORISED, SELF-TEST: as recorded; SIGN: of what was
					    signed */
};
extern struct {
	struct fake_event event[FAKE_EVENTS];
	size_t count;
} fake_log;

extern struct {
	EVP_PKEY *key;
	enum key_type type;
	size_t signature_len; /* that the key is said to have */
	enum err find, check; /* of the key */
	int look_ms;	      /* how long it takes to look for it */
	unsigned looks;	      /* how often that was done */
	/* each signature takes the first plan that is left */
	enum fake_plan {
		PLAN_GOOD,
		PLAN_FLIP,
		PLAN_INIT_BUSY,
		PLAN_SIGN_ERROR,
		PLAN_FOREIGN
	} plan[16];
	size_t plans, planned;
	int64_t delay_ms;	  /* of each signature */
	struct deadline *expires; /* within one; NULL: in none */
	unsigned expires_in;	  /* 1: within the next */
	enum err take;		  /* of a session */
	unsigned width;		  /* how many can sign at once */
	unsigned asked;		  /* how often for a session */
	bool lost;
	unsigned spoiled, taken;
} fake_token;

extern struct {
	enum err fail_type_err; /* whole APPEND with this type fails */
	enum record_type fail_type;
	int64_t delay_ms; /* of each APPEND */
	enum err refuse_authorised, refuse_issued;
	bool replay;	   /* AUTHORISED is answered with the records in replay_* */
	bool replay_later; /* and only ISSUED is: the other attempt was quicker */
	struct buf replay_authorised, replay_issued;
	bool shared;
	uint64_t max_live_key, max_live_client; /* of the last AUTHORISED */
} fake_append;

void fake_reset(void);
/* One request from its beginning to its answer. */
void fake_issue(const struct issuer *issuer, const struct msg_issue *ask, struct deadline *deadline,
	struct buf *answer);
void fake_answered(void);
/*
 * The rule: each signature is preceded by a durable AUTHORISED (or SELF-TEST) of exactly these
 * octets, which no other signature used; at an answer every granted id has its ISSUED durable.
 * Returns what is broken, or NULL.
 */
const char *fake_order_broken(const char *const *granted, size_t count);
size_t fake_count(enum record_type type);

#endif
