/* GET /v1/credentials and /v1/ledger/...: what the ledger says, a page at a time. */
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "pages.h"
#include "record.h"

#define RECORDS_MAX  1000	  /* in one answer */
#define RECORDS_FULL (256 * 1024) /* octets; no further record is begun after them */

static struct exchange *exchange_of(struct signer_call *call)
{
	return (struct exchange *)(void *)((char *)call - offsetof(struct exchange, call));
}

static bool may_read_all(const struct exchange *x)
{
	return (x->client->may & RIGHT_READ) != 0;
}

static void end(struct exchange *x)
{
	x->resume(x);
}

static void ask(struct exchange *x)
{
	struct refusal why;

	if (signer_read(x->service->signer, &x->read, &x->call, &why) == ERR_OK)
		return;
	reply_problem(&x->reply, &why, x->id);
	end(x);
}

static bool begin(struct exchange *x, uint8_t kind, void (*done)(struct signer_call *call))
{
	const struct query *q = &x->query;

	x->read.kind = kind;
	memcpy(x->read.chain, q->chain, sizeof(x->read.chain));
	memcpy(x->read.id, q->id, sizeof(x->read.id));
	x->read.from = q->from;
	x->read.to = q->to;
	x->call.done = done;
	x->call.deadline = x->deadline;
	x->hold(x);
	ask(x);
	return false;
}

/* What the ledger has not, in the words of the query. */
static bool answered(struct exchange *x, const char *field, const char *missing)
{
	const struct refusal *why = &x->call.refusal;

	if (why->err == ERR_OK)
		return true;
	if (why->err == ERR_NOT_FOUND)
		(void)routes_problem(x, ERR_NOT_FOUND, field, missing);
	else
		reply_problem(&x->reply, why, x->id);
	return false;
}

static void unreadable(struct exchange *x)
{
	(void)routes_problem(x, ERR_INTERNAL, "", "a record of the ledger can't be read");
}

/* --- credentials --- */

static void credentials_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);

	if (answered(x, "", "") && !reply_released_page(&x->reply, call->read))
		unreadable(x);
	end(x);
}

/* Who may not read has the own ones alone. */
bool page_credentials(struct exchange *x)
{
	const struct query *q = &x->query;
	struct msg_read *read = &x->read;
	struct refusal why;

	if ((q->given & QUERY_LIMIT) != 0 && q->limit > READ_PAGE) {
		(void)refuse(&why, ERR_MALFORMED, "limit", "limit is at most %d", READ_PAGE);
		reply_problem(&x->reply, &why, x->id);
		return true;
	}
	if (!may_read_all(x) && (q->given & QUERY_CLIENT) != 0 &&
		strcmp(q->client, x->client->name) != 0)
		return routes_problem(x, ERR_NO_RIGHT, "client",
			"the credentials of other clients are for who has the right read");
	memcpy(read->key, q->key, sizeof(read->key));
	memcpy(read->client, may_read_all(x) ? q->client : x->client->name, sizeof(read->client));
	read->live_at = q->live_at;
	read->after = q->after;
	read->limit = (uint16_t)q->limit;
	return begin(x, READ_CREDENTIALS, credentials_done);
}

/* Another client's is as one that is not there. */
static bool may_see(const struct exchange *x, const struct msg_released *released)
{
	struct record a;
	size_t len = strlen(x->client->name);

	return may_read_all(x) ||
	       (record_decode(&a, released->authorised.at, released->authorised.len) == ERR_OK &&
		       a.client.len == len && memcmp(a.client.at, x->client->name, len) == 0);
}

static bool found(struct exchange *x, const struct msg_read_answer *answer)
{
	static const char missing[] = "no credential of this id was released to this client";

	if (!answered(x, "id", missing))
		return false;
	if (answer->released_count == 1 && may_see(x, &answer->released[0]))
		return true;
	return !routes_problem(x, ERR_NOT_FOUND, "id", missing);
}

static void credential_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);
	char note[CHECKPOINT_MAX + 1];

	if (found(x, call->read)) {
		const struct msg_released *released = &call->read->released[0];
		bool noted = signer_note(x->service->signer, released->chain, note);

		if (!reply_released(&x->reply, released, noted ? note : NULL))
			unreadable(x);
	}
	end(x);
}

bool page_credential(struct exchange *x)
{
	return begin(x, READ_CREDENTIAL, credential_done);
}

/* --- heads and proofs --- */

static void heads_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);

	if (answered(x, "", ""))
		reply_heads(&x->reply, call->read);
	end(x);
}

bool page_heads(struct exchange *x)
{
	return begin(x, READ_HEADS, heads_done);
}

static void checkpoint_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);

	if (answered(x, "chain", "there is no chain of this name; see /v1/ledger/heads"))
		reply_octets(&x->reply, "text/plain; charset=utf-8", call->read->text.at,
			call->read->text.len, "");
	end(x);
}

bool page_checkpoint(struct exchange *x)
{
	return begin(x, READ_CHECKPOINT, checkpoint_done);
}

/* Judged before the proof is made: a head is signed for it. */
static void proof_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);

	if (found(x, call->read) && !reply_proof(&x->reply, call->read))
		unreadable(x);
	end(x);
}

static void owner_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);

	if (!found(x, call->read)) {
		end(x);
		return;
	}
	x->read.kind = READ_PROOF;
	x->call.done = proof_done;
	ask(x);
}

bool page_proof(struct exchange *x)
{
	return may_read_all(x) ? begin(x, READ_PROOF, proof_done)
			       : begin(x, READ_CREDENTIAL, owner_done);
}

static void consistency_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);

	if (answered(x, "", "there is no such chain, or it has not so many records"))
		reply_consistency(&x->reply, x->query.chain, x->query.from, call->read);
	end(x);
}

bool page_consistency(struct exchange *x)
{
	const struct query *q = &x->query;

	if (q->from == 0)
		return routes_problem(x, ERR_MALFORMED, "from", "from is a size of at least 1");
	if ((q->given & QUERY_TO) != 0 && q->to < q->from)
		return routes_problem(x, ERR_MALFORMED, "to", "to is a size of at least from");
	return begin(x, READ_CONSISTENCY, consistency_done);
}

/* --- records --- */

static uint64_t wanted(const struct exchange *x)
{
	return x->query.limit != 0 ? x->query.limit : RECORDS_MAX;
}

/* Takes whole lines and the beginning of one; false when there is enough. */
static bool take_lines(struct exchange *x, const struct octets *text)
{
	const uint8_t *at = text->at, *stop = text->at + text->len, *line;

	while (at < stop && x->lines < wanted(x)) {
		line = memchr(at, '\n', (size_t)(stop - at));
		if (line == NULL) {
			buf_put(&x->reply.body, at, (size_t)(stop - at));
			return true;
		}
		buf_put(&x->reply.body, at, (size_t)(line + 1 - at));
		at = line + 1;
		x->lines++;
		if (x->reply.body.len >= RECORDS_FULL)
			return false;
	}
	return text->len > 0 && x->lines < wanted(x);
}

static void records_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);
	struct reply *r = &x->reply;

	if (!answered(x, "chain", "there is no such chain, or it has not so many records")) {
		end(x);
		return;
	}
	if (take_lines(x, &call->read->text) && r->body.err == ERR_OK) {
		x->read.from = call->read->next;
		x->read.offset = call->read->next_offset;
		ask(x);
		return;
	}
	if (r->body.err != ERR_OK)
		(void)routes_problem(x, ERR_NOMEM, "", "");
	end(x);
}

bool page_records(struct exchange *x)
{
	struct refusal why;

	if (x->query.limit > RECORDS_MAX) {
		(void)refuse(&why, ERR_MALFORMED, "limit", "limit is at most %d", RECORDS_MAX);
		reply_problem(&x->reply, &why, x->id);
		return true;
	}
	reply_lines(&x->reply, RECORDS_FULL + RECORD_MAX + MSG_MAX);
	return begin(x, READ_RECORDS, records_done);
}
