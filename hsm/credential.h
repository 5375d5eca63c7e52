/* One delegated credential on its way from request to answer; what issue, decide and evidence
 * share. */
#ifndef DCSIGN_CREDENTIAL_H
#define DCSIGN_CREDENTIAL_H

#include "issue.h"
#include "policy.h"
#include "spki.h"

enum step {
	STEP_REFUSED,	 /* grant->refusal says why */
	STEP_DECIDED,	 /* may be signed once that is written down */
	STEP_AUTHORISED, /* written down */
	STEP_SIGNED,	 /* the signature is good */
	STEP_FAILED,	 /* no usable signature */
	STEP_UNKNOWN,	 /* there may be a signature; nobody has it */
	STEP_GRANTED	 /* the outcome is written down, the credential may leave */
};

struct credential {
	const struct msg_issue_item *ask;
	struct msg_grant *grant; /* what its client is answered */
	enum step step;
	bool again; /* another attempt is worth while */
	int64_t attempt;
	char id[ID_SIZE];

	const struct config_client *client;
	struct keyring_use use;
	struct policy policy;
	struct policy_grant decision;
	enum dc_role role;
	struct dc fields; /* spki points into the request or csr_spki, signature into signature */
	struct spki spki;
	bool shared; /* another client holds a live credential for this DC key */
	struct buf csr_spki, tbs, signature, dc, record;
	uint8_t spki_sha256[SHA256_SIZE], tbs_sha256[SHA256_SIZE], dc_sha256[SHA256_SIZE],
		request_sha256[SHA256_SIZE];
};

struct batch {
	const struct issuer *issuer;
	const struct msg_issue *ask;
	struct deadline *deadline;
	int64_t now; /* the one clock reading */
	size_t count;
	struct credential *item;
	_Atomic size_t next; /* to be signed */
	struct msg_issue_answer *answer;

	enum phase {
		PHASE_DECIDE,
		PHASE_AUTHORISE,
		PHASE_AUTHORISED, /* the ledger has answered */
		PHASE_SIGN,
		PHASE_CONCLUDED, /* the ledger has answered */
		PHASE_ANSWER
	} phase; /* that comes next */
	int64_t attempt;
	bool late; /* when its outcomes were written down */
	struct submission *sent;
	void (*ready)(void *arg); /* the ledger has answered */
	void *arg;
};

/* Memory, ids and the one clock reading, into a batch of zeros; batch_end in any case. */
enum err batch_begin(struct batch *b, const struct issuer *issuer, const struct msg_issue *ask,
	struct deadline *deadline, struct refusal *why);
void batch_end(struct batch *b);

/* An answer to this request whose grants are all zero; the caller frees it. NULL: out of memory. */
struct msg_issue_answer *answer_new(const struct msg_issue *ask);

/* Records of one step, made durable together. */
struct submission {
	size_t count;
	struct append_item *item; /* behind it */
	struct credential **of;
	struct append_answers answers;
	int64_t begun;
	char chain[2 * NAME_SIZE + 8];
};
struct submission *submission_new(size_t most); /* empty; NULL: out of memory */
/* Adds c->record; of a dry run, to be judged and not to be written. */
void submit(const struct batch *b, struct submission *s, struct credential *c);
/* Asks the ledger to make them durable; b->ready is called when it has, by any thread and perhaps
 * before this returns. False: there are none. */
bool submission_begin(struct batch *b, struct submission *s);
/* What became of b->sent: s->answers tell of each. */
enum err submission_finish(struct batch *b, struct refusal *why);
void submission_free(struct submission *s);

/* May this credential exist? Fills it up to STEP_DECIDED with the octets to be signed. */
enum err decide(const struct batch *b, struct credential *c, struct refusal *why);

/* Records, encoded into c->record (emptied first). */
enum err evidence_authorised(const struct batch *b, struct credential *c);
/* ISSUED, or LATE when it is too late to answer. */
enum err evidence_signed(const struct batch *b, struct credential *c, bool late);
/* FAILED or UNKNOWN by c->step; why: c->grant->refusal. */
enum err evidence_unsigned(const struct batch *b, struct credential *c);
/* UNKNOWN for an attempt (number 0: a self-test) that the token does not come back from, sent and
 * not waited for. */
void evidence_abandoned(struct append *ledger, const struct attempt *attempt);
enum err evidence_refused(const struct batch *b, struct credential *c);

/* The grant of a credential whose ISSUED record stands there; issued NULL: of a dry run. */
void grant_fill(const struct batch *b, struct credential *c, const char *chain,
	const struct msg_appended *issued);
/* The grant of an earlier call, from its records; ERR_IDEMPOTENCY_EXPIRED, ERR_INTERNAL. */
enum err grant_replay(const struct batch *b, struct credential *c, const char *chain,
	const struct msg_appended *from, struct refusal *why);
/* What a dry run does not tell: the credential and its record. */
void grant_hide(struct credential *c);

#endif
