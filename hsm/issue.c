#include "issue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "credential.h"
#include "sign.h"

#define HELPERS 32 /* threads that sign for one batch beside its worker */
/* Octets of a grant in the answer beyond SubjectPublicKeyInfo and signature: the longest texts of
 * message.h, and what dc_build and the DER of an ECDSA signature add. */
#define GRANT_OVERHEAD	   400
#define SIGNATURE_OVERHEAD 24

static void refused(struct batch *b, struct credential *c, const struct refusal *why)
{
	c->step = STEP_REFUSED;
	c->again = false;
	c->grant->refusal = *why;
	deadline_otherwise(b->deadline, (size_t)(c - b->item), why->err);
}

static void decide_all(struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct credential *c = &b->item[i];
		struct refusal why = {.err = ERR_OK};

		if (decide(b, c, &why) == ERR_OK)
			c->step = STEP_DECIDED;
		else
			refused(b, c, &why);
	}
}

/* What the ledger says to an AUTHORISED record. */
static void authorised(
	struct batch *b, struct credential *c, const char *chain, const struct msg_appended *said)
{
	struct refusal why = said->refusal;

	if (said->replay_issued.len > 0) {
		if (grant_replay(b, c, chain, said, &why) == ERR_OK)
			c->step = STEP_GRANTED;
		else
			refused(b, c, &why);
	} else if (why.err != ERR_OK) {
		refused(b, c, &why);
	} else {
		c->step = STEP_AUTHORISED;
		c->shared = said->shared;
	}
}

/* The answer must fit into one message: known before anything is written down. */
static void fit(struct batch *b)
{
	struct refusal why = {.err = ERR_OK};
	size_t octets = 0;

	for (size_t i = 0; i < b->count; i++) {
		const struct credential *c = &b->item[i];

		octets += GRANT_OVERHEAD;
		if (c->step == STEP_DECIDED)
			octets +=
				c->fields.spki_len + SIGNATURE_OVERHEAD + c->use.key.signature_len;
	}
	if (octets <= MSG_MAX)
		return;
	refuse(&why, ERR_TOO_LARGE, "requests", "split the batch");
	for (size_t i = 0; i < b->count; i++)
		if (b->item[i].step == STEP_DECIDED)
			refused(b, &b->item[i], &why);
}

/* Has written down what is about to be signed, after the ledger's judgement; of a dry run only asks
 * for that. False: there is nothing. */
static bool authorise(struct batch *b)
{
	struct submission *s = submission_new(b->count);
	struct refusal why = {.err = ERR_OK};

	for (size_t i = 0; i < b->count; i++) {
		struct credential *c = &b->item[i];

		if (c->step != STEP_DECIDED)
			continue;
		why = (struct refusal){.err = ERR_OK};
		c->attempt = b->attempt;
		if (s == NULL)
			refuse(&why, ERR_NOMEM, "", "%s", "");
		else if (deadline_passed(b->deadline))
			refuse(&why, ERR_TIMEOUT, "", "%s", "");
		else if (evidence_authorised(b, c) != ERR_OK)
			refuse(&why, ERR_INTERNAL, "", "the record can't be written");
		if (why.err != ERR_OK) {
			refused(b, c, &why);
			continue;
		}
		if (!b->ask->dry_run)
			deadline_otherwise(b->deadline, i, ERR_OUTCOME_UNKNOWN);
		submit(b, s, c);
	}
	return submission_begin(b, s);
}

/* True when there is something to sign. */
static bool authorised_all(struct batch *b)
{
	struct submission *s = b->sent;
	struct refusal why = {.err = ERR_OK};
	bool durable = submission_finish(b, &why) == ERR_OK, any = false;

	for (size_t i = 0; i < s->count; i++) {
		if (durable)
			authorised(b, s->of[i], s->chain, &s->answers.item[i]);
		else
			refused(b, s->of[i], &why);
		any = any || s->of[i]->step == STEP_AUTHORISED;
	}
	return any;
}

static void sign_one(struct batch *b, struct credential *c, struct token_session *session)
{
	struct refusal why = {.err = ERR_OK};
	struct attempt attempt = {.number = c->attempt};
	size_t i = (size_t)(c - b->item);
	enum sign_result made;

	if (deadline_passed(b->deadline)) {
		refuse(&c->grant->refusal, ERR_TIMEOUT, "", "nothing was signed");
		c->step = STEP_FAILED;
		return;
	}
	buf_reset(&c->signature);
	memcpy(attempt.id, c->id, sizeof attempt.id);
	deadline_signing(b->deadline, i, &attempt);
	made = sign_and_verify(
		session, &c->use.key, c->use.certificate, &c->tbs, &c->signature, &c->again, &why);
	deadline_signing(b->deadline, i, NULL);
	c->grant->refusal = why;
	c->step = made == SIGN_GOOD	? STEP_SIGNED
		  : made == SIGN_FAILED ? STEP_FAILED
					: STEP_UNKNOWN;
}

/* The next item that is to be signed; NULL: none. Each is given once. */
static struct credential *next_to_sign(struct batch *b)
{
	for (size_t i = b->next++; i < b->count; i = b->next++)
		if (b->item[i].step == STEP_AUTHORISED)
			return &b->item[i];
	return NULL;
}

/* Signs until nothing is left, on one session; on the next one after an error. */
static void sign_on(struct batch *b, struct token_session *session)
{
	struct credential *c;

	while ((c = next_to_sign(b)) != NULL) {
		if (session == NULL && token_session_take(b->issuer->token, b->deadline->at,
					       &session, &c->grant->refusal) != ERR_OK) {
			c->step = STEP_FAILED;
			continue;
		}
		sign_one(b, c, session);
		if (c->step != STEP_SIGNED) {
			token_session_give(session);
			session = NULL;
		}
	}
	if (session != NULL)
		token_session_give(session);
}

struct helper {
	pthread_t thread;
	struct batch *batch;
	struct token_session *session;
};

static void *help(void *arg)
{
	struct helper *h = arg;

	sign_on(h->batch, h->session);
	return NULL;
}

/* Signs what is written down: a batch on as many sessions as are free now and can sign at once. */
static void sign_all(struct batch *b)
{
	struct helper helper[HELPERS];
	size_t count = 0, width = token_width(b->issuer->token);

	b->next = 0;
	for (; count < HELPERS && count + 1 < width && count + 1 < b->count; count++) {
		struct helper *h = &helper[count];

		h->batch = b;
		if (token_session_take(b->issuer->token, 0, &h->session, NULL) != ERR_OK)
			break;
		token_session_until(h->session, b->deadline->at);
		if (pthread_create(&h->thread, NULL, help, h) != 0) {
			token_session_give(h->session);
			break;
		}
	}
	sign_on(b, NULL);
	while (count > 0)
		pthread_join(helper[--count].thread, NULL);
}

/* What the ledger says to an outcome. */
static void concluded(struct batch *b, struct credential *c, bool late, const char *chain,
	const struct msg_appended *said)
{
	struct refusal why = said->refusal;

	if (c->step == STEP_FAILED || c->step == STEP_UNKNOWN) {
		if (c->again && c->attempt < ISSUE_ATTEMPTS && why.err == ERR_OK)
			c->step = STEP_DECIDED;
		else
			refused(b, c, &c->grant->refusal);
	} else if (said->replay_issued.len > 0) {
		if (grant_replay(b, c, chain, said, &why) == ERR_OK)
			c->step = STEP_GRANTED;
		else
			refused(b, c, &why);
	} else if (late || why.err != ERR_OK) {
		refuse(&why, ERR_OUTCOME_UNKNOWN, "", "the credential came too late");
		refused(b, c, &why);
	} else {
		grant_fill(b, c, chain, said);
		c->step = STEP_GRANTED;
	}
}

/* Has written down what became of every signature. What is not written down does not leave. */
static bool conclude(struct batch *b)
{
	struct submission *s = submission_new(b->count);
	struct refusal why = {.err = ERR_OK};

	b->late = deadline_passed(b->deadline);
	for (size_t i = 0; i < b->count; i++) {
		struct credential *c = &b->item[i];
		enum err e = ERR_NOMEM;

		if (c->step != STEP_SIGNED && c->step != STEP_FAILED && c->step != STEP_UNKNOWN)
			continue;
		if (s != NULL)
			e = c->step == STEP_SIGNED ? evidence_signed(b, c, b->late)
						   : evidence_unsigned(b, c);
		if (e == ERR_OK) {
			submit(b, s, c);
			continue;
		}
		refuse(&why, ERR_OUTCOME_UNKNOWN, "", "%s", "");
		refused(b, c, &why);
	}
	return submission_begin(b, s);
}

static void concluded_all(struct batch *b)
{
	struct submission *s = b->sent;
	struct refusal why = {.err = ERR_OK};
	bool durable = submission_finish(b, &why) == ERR_OK;

	for (size_t i = 0; i < s->count; i++) {
		if (durable) {
			concluded(b, s->of[i], b->late, s->chain, &s->answers.item[i]);
			continue;
		}
		if (s->of[i]->step != STEP_FAILED)
			refuse(&why, ERR_OUTCOME_UNKNOWN, "", "%s", "");
		refused(b, s->of[i], &why);
	}
}

/* Refusals of our own; what the ledger refused it has written down itself. */
static void record_refusals(struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct credential *c = &b->item[i];

		if (c->step == STEP_REFUSED && evidence_refused(b, c) == ERR_OK) {
			struct append_item item = {
				.record = octets_of(c->record.octets, c->record.len)};

			append_post(b->issuer->ledger, &item, 1);
		}
	}
}

/* The verdict that the real request would get now, the ledger's part too. */
static void grant_dry_run(struct batch *b)
{
	for (size_t i = 0; i < b->count; i++) {
		struct credential *c = &b->item[i];

		if (c->step == STEP_AUTHORISED)
			grant_fill(b, c, "", NULL);
		if (c->step == STEP_GRANTED)
			grant_hide(c);
	}
}

struct batch *issue_begin(const struct issuer *issuer, const struct msg_issue *ask,
	struct deadline *deadline, void (*ready)(void *arg), void *arg, struct refusal *why)
{
	struct batch *b = calloc(1, sizeof *b);

	if (b == NULL) {
		refuse(why, ERR_NOMEM, "", "%s", "");
		return NULL;
	}
	b->ready = ready;
	b->arg = arg;
	if (batch_begin(b, issuer, ask, deadline, why) == ERR_OK)
		return b;
	issue_end(b);
	return NULL;
}

/* The ledger's answers have been taken. */
static void answered(struct batch *b, enum phase next)
{
	submission_free(b->sent);
	b->sent = NULL;
	b->phase = next;
}

/* One phase. False: the next one is for when the ledger has answered, by whatever thread: from then
 * on this one must not touch the batch. */
static bool advance(struct batch *b)
{
	switch (b->phase) {
	case PHASE_DECIDE:
		decide_all(b);
		fit(b);
		if (!b->ask->dry_run)
			record_refusals(b);
		b->phase = PHASE_AUTHORISE;
		return true;
	case PHASE_AUTHORISE:
		b->attempt++;
		b->phase = PHASE_AUTHORISED;
		if (authorise(b))
			return false;
		answered(b, PHASE_ANSWER);
		return true;
	case PHASE_AUTHORISED:
		answered(b, authorised_all(b) && !b->ask->dry_run ? PHASE_SIGN : PHASE_ANSWER);
		return true;
	case PHASE_SIGN:
		sign_all(b);
		b->phase = PHASE_CONCLUDED;
		if (conclude(b))
			return false;
		answered(b, PHASE_AUTHORISE);
		return true;
	case PHASE_CONCLUDED:
		concluded_all(b);
		answered(b, PHASE_AUTHORISE);
		return true;
	case PHASE_ANSWER:
		break;
	}
	return true;
}

bool issue_go_on(struct batch *b, struct buf *answer)
{
	while (b->phase != PHASE_ANSWER)
		if (!advance(b))
			return false;
	if (b->ask->dry_run)
		grant_dry_run(b);
	msg_issue_answer_write(answer, b->answer);
	return true;
}

bool issue_signs(const struct batch *b)
{
	return b->phase == PHASE_AUTHORISED && !b->ask->dry_run;
}

void issue_end(struct batch *b)
{
	batch_end(b);
	free(b);
}

void issue_refuse_all(const struct msg_issue *ask, const struct refusal *why, struct buf *answer)
{
	struct msg_issue_answer *a = answer_new(ask);

	if (a == NULL) {
		answer->err = ERR_NOMEM;
		return;
	}
	for (uint16_t i = 0; i < ask->count; i++)
		a->grant[i].refusal = *why;
	msg_issue_answer_write(answer, a);
	free(a);
}
