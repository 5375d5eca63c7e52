#include "issue.h"

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "counters.h"
#include "credential.h"
#include "identity.h"
#include "sign.h"

/* Octets that one grant takes in the answer beyond its credential: bounds the batch. */
#define GRANT_OVERHEAD 1024

static void refused(struct batch *b, struct credential *c, const struct refusal *why)
{
	c->step = STEP_REFUSED;
	c->again = false;
	c->grant->refusal = *why;
	deadline_otherwise(b->deadline, (size_t)(c - b->item), why->err);
}

/* Records of one step, made durable together. */
struct submission {
	size_t count;
	struct append_item item[MSG_ITEMS];
	struct credential *of[MSG_ITEMS];
	struct append_answers answers;
	char chain[2 * NAME_SIZE + 8];
};

static void submit(struct submission *s, struct credential *c)
{
	s->of[s->count] = c;
	s->item[s->count++] = (struct append_item){
		.record = octets_of(c->record.octets, c->record.len),
		.max_live_key = c->policy.max_live,
		.max_live_client = c->client == NULL ? 0 : c->client->max_live,
	};
}

static enum err submission_send(struct batch *b, struct submission *s, struct refusal *why)
{
	int64_t before = monotonic_ms();
	enum err e = append_records(b->issuer->ledger, s->item, s->count, &s->answers, why);

	append_chain(b->issuer->ledger, s->chain);
	counter_add(COUNTER_LEDGER_US, (uint64_t)(monotonic_ms() - before) * 1000);
	return e;
}

static void submission_free(struct submission *s)
{
	if (s != NULL)
		append_answers_free(&s->answers);
	free(s);
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

/* Writes down what is about to be signed. True when there is something to sign. */
static bool authorise(struct batch *b, int64_t attempt)
{
	struct submission *s = calloc(1, sizeof *s);
	struct refusal why = {.err = ERR_OK};
	bool any = false;

	for (size_t i = 0; i < b->count; i++) {
		struct credential *c = &b->item[i];

		if (c->step != STEP_DECIDED)
			continue;
		why = (struct refusal){.err = ERR_OK};
		c->attempt = attempt;
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
		deadline_otherwise(b->deadline, i, ERR_OUTCOME_UNKNOWN);
		submit(s, c);
	}
	if (s != NULL && s->count > 0) {
		bool durable = submission_send(b, s, &why) == ERR_OK;

		for (size_t i = 0; i < s->count; i++) {
			if (durable)
				authorised(b, s->of[i], s->chain, &s->answers.item[i]);
			else
				refused(b, s->of[i], &why);
			any = any || s->of[i]->step == STEP_AUTHORISED;
		}
	}
	submission_free(s);
	return any;
}

static void sign_one(struct batch *b, struct credential *c, struct token_session *session)
{
	struct refusal why = {.err = ERR_OK};
	enum sign_result made;

	if (deadline_passed(b->deadline)) {
		refuse(&c->grant->refusal, ERR_TIMEOUT, "", "nothing was signed");
		c->step = STEP_FAILED;
		return;
	}
	buf_reset(&c->signature);
	made = sign_and_verify(
		session, &c->use.key, c->use.certificate, &c->tbs, &c->signature, &c->again, &why);
	c->grant->refusal = why;
	c->step = made == SIGN_GOOD	? STEP_SIGNED
		  : made == SIGN_FAILED ? STEP_FAILED
					: STEP_UNKNOWN;
}

/* Signs what is written down, on one session; the next one after an error. */
static void sign_all(struct batch *b)
{
	struct token_session *session = NULL;

	for (size_t i = 0; i < b->count; i++) {
		struct credential *c = &b->item[i];

		if (c->step != STEP_AUTHORISED)
			continue;
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
		grant_fill(c, chain, said);
		c->step = STEP_GRANTED;
	}
}

/* Writes down what became of every signature. What is not written down does not leave. */
static void conclude(struct batch *b)
{
	struct submission *s = calloc(1, sizeof *s);
	struct refusal why = {.err = ERR_OK};
	bool late = deadline_passed(b->deadline), durable = false;

	for (size_t i = 0; i < b->count; i++) {
		struct credential *c = &b->item[i];
		enum err e = ERR_NOMEM;

		if (c->step != STEP_SIGNED && c->step != STEP_FAILED && c->step != STEP_UNKNOWN)
			continue;
		if (s != NULL)
			e = c->step == STEP_SIGNED ? evidence_signed(b, c, late)
						   : evidence_unsigned(b, c);
		if (e == ERR_OK) {
			submit(s, c);
			continue;
		}
		refuse(&why, ERR_OUTCOME_UNKNOWN, "", "%s", "");
		refused(b, c, &why);
	}
	if (s != NULL && s->count > 0)
		durable = submission_send(b, s, &why) == ERR_OK;
	for (size_t i = 0; s != NULL && i < s->count; i++) {
		if (durable) {
			concluded(b, s->of[i], late, s->chain, &s->answers.item[i]);
			continue;
		}
		if (s->of[i]->step != STEP_FAILED)
			refuse(&why, ERR_OUTCOME_UNKNOWN, "", "%s", "");
		refused(b, s->of[i], &why);
	}
	submission_free(s);
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

/* The answer must fit into one message: known before anything is signed. */
static bool fits(const struct msg_issue *ask)
{
	size_t octets = 0;

	for (uint16_t i = 0; i < ask->count; i++)
		octets += ask->item[i].spki.len + GRANT_OVERHEAD;
	return ask->count == 1 || octets <= MSG_MAX;
}

static enum err batch_begin(struct batch *b, const struct issuer *issuer,
	const struct msg_issue *ask, struct deadline *deadline, struct refusal *why)
{
	enum err e = ERR_OK;

	*b = (struct batch){
		.issuer = issuer, .ask = ask, .deadline = deadline, .count = ask->count};
	b->item = calloc(ask->count, sizeof *b->item);
	b->answer = calloc(1, sizeof *b->answer);
	if (b->item == NULL || b->answer == NULL)
		return refuse(why, ERR_NOMEM, "", "%s", "");
	if (!fits(ask))
		return refuse(why, ERR_TOO_LARGE, "requests", "split the batch");
	memcpy(b->answer->request, ask->request, sizeof ask->request);
	b->answer->count = ask->count;
	for (size_t i = 0; e == ERR_OK && i < b->count; i++) {
		struct credential *c = &b->item[i];

		c->ask = &ask->item[i];
		c->grant = &b->answer->grant[i];
		c->csr_spki = (struct buf)BUF_INIT(SPKI_MAX);
		c->tbs = (struct buf)BUF_INIT(DC_TBS_MAX);
		c->signature = (struct buf)BUF_INIT(TOKEN_SIGNATURE_MAX + 16);
		c->dc = (struct buf)BUF_INIT(DC_MAX);
		c->record = (struct buf)BUF_INIT(RECORD_MAX);
		e = identity_new(c->id);
	}
	return e == ERR_OK ? clock_now(&b->now, why) : refuse(why, e, "", "%s", "");
}

static void batch_end(struct batch *b)
{
	for (size_t i = 0; b->item != NULL && i < b->count; i++) {
		struct credential *c = &b->item[i];

		buf_free(&c->csr_spki);
		buf_free(&c->tbs);
		buf_free(&c->signature);
		buf_free(&c->dc);
		buf_free(&c->record);
	}
	free(b->item);
	free(b->answer);
}

static void grant_dry_run(struct batch *b)
{
	for (size_t i = 0; i < b->count; i++)
		if (b->item[i].step == STEP_DECIDED)
			grant_fill(&b->item[i], "", NULL);
}

void issue(const struct issuer *issuer, const struct msg_issue *ask, struct deadline *deadline,
	struct buf *answer)
{
	struct refusal why = {.err = ERR_OK};
	struct batch b;

	if (batch_begin(&b, issuer, ask, deadline, &why) != ERR_OK) {
		issue_refuse_all(ask, &why, answer);
	} else {
		decide_all(&b);
		if (ask->dry_run) {
			grant_dry_run(&b);
		} else {
			record_refusals(&b);
			for (int64_t attempt = 1; authorise(&b, attempt); attempt++) {
				sign_all(&b);
				conclude(&b);
			}
		}
		msg_issue_answer_write(answer, b.answer);
	}
	batch_end(&b);
}

void issue_refuse_all(const struct msg_issue *ask, const struct refusal *why, struct buf *answer)
{
	struct msg_issue_answer *a = calloc(1, sizeof *a);

	if (a == NULL) {
		answer->err = ERR_NOMEM;
		return;
	}
	memcpy(a->request, ask->request, sizeof ask->request);
	a->count = ask->count;
	for (uint16_t i = 0; i < ask->count; i++)
		a->grant[i].refusal = *why;
	msg_issue_answer_write(answer, a);
	free(a);
}
