#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "counters.h"
#include "credential.h"
#include "identity.h"

struct submission *submission_new(size_t most)
{
	struct submission *s =
		calloc(1, sizeof *s + most * (sizeof *s->item + sizeof(struct credential *)));

	if (s != NULL) {
		s->item = (struct append_item *)(void *)(s + 1);
		s->of = (struct credential **)(void *)(s->item + most);
	}
	return s;
}

struct msg_issue_answer *answer_new(const struct msg_issue *ask)
{
	struct msg_issue_answer *a =
		calloc(1, offsetof(struct msg_issue_answer, grant) + ask->count * sizeof *a->grant);

	if (a != NULL) {
		memcpy(a->request, ask->request, sizeof ask->request);
		a->count = ask->count;
	}
	return a;
}

void submit(const struct batch *b, struct submission *s, struct credential *c)
{
	s->of[s->count] = c;
	s->item[s->count++] = (struct append_item){
		.record = octets_of(c->record.octets, c->record.len),
		.max_live_key = c->policy.max_live,
		.max_live_client = c->client->max_live,
		.judge_only = b->ask->dry_run,
	};
}

bool submission_begin(struct batch *b, struct submission *s)
{
	b->sent = s;
	if (s == NULL || s->count == 0)
		return false;
	s->begun = monotonic_us();
	append_begin(b->issuer->ledger, s->item, s->count, &s->answers, b->ready, b->arg);
	return true;
}

enum err submission_finish(struct batch *b, struct refusal *why)
{
	struct submission *s = b->sent;
	enum err e = append_finish(&s->answers, why);

	append_chain(b->issuer->ledger, s->chain);
	span_end(SPAN_LEDGER, s->begun);
	counter_add(COUNTER_LEDGER_US, (uint64_t)(monotonic_us() - s->begun));
	return e;
}

void submission_free(struct submission *s)
{
	if (s != NULL)
		append_answers_free(&s->answers);
	free(s);
}

enum err batch_begin(struct batch *b, const struct issuer *issuer, const struct msg_issue *ask,
	struct deadline *deadline, struct refusal *why)
{
	enum err e = ERR_OK;

	b->issuer = issuer;
	b->ask = ask;
	b->deadline = deadline;
	b->count = ask->count;
	b->item = calloc(ask->count, sizeof *b->item);
	b->answer = answer_new(ask);
	if (b->item == NULL || b->answer == NULL)
		return refuse(why, ERR_NOMEM, "", "%s", "");
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

void batch_end(struct batch *b)
{
	for (size_t i = 0; b->item != NULL && i < b->count; i++) {
		struct credential *c = &b->item[i];

		buf_free(&c->csr_spki);
		buf_free(&c->tbs);
		buf_free(&c->signature);
		buf_free(&c->dc);
		buf_free(&c->record);
	}
	submission_free(b->sent);
	free(b->item);
	free(b->answer);
}
