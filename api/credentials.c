/* POST /v1/keys/{key}/credentials, alone and as a batch. */
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "metrics.h"
#include "pages.h"

static void refuse_request(struct exchange *x, const struct refusal *why)
{
	reply_problem(&x->reply, why, x->id);
}

static struct exchange *exchange_of(struct signer_call *call)
{
	return (struct exchange *)(void *)((char *)call - offsetof(struct exchange, call));
}

static struct rules_of rules_of(
	const struct exchange *x, struct policy *policy, const struct msg_grant *grant)
{
	config_effective_policy(policy, x->snapshot->config, x->key, x->client);
	return (struct rules_of){.policy = policy,
		.client = x->client,
		.key = x->key,
		.item = &x->request.item,
		.grant = grant};
}

/* The chain of the certificate that issued; a newer one is perhaps in a newer configuration. */
static const struct chain *chain_of(
	const struct exchange *x, const struct snapshot *newer, const struct msg_grant *grant)
{
	const struct chain *chain = snapshot_chain(x->snapshot, x->key, grant->certificate_sha256);
	const struct config_key *key =
		newer != NULL ? config_key(newer->config, x->key->name) : NULL;

	return chain == NULL && key != NULL ? snapshot_chain(newer, key, grant->certificate_sha256)
					    : chain;
}

static void count(const struct exchange *x, enum err err)
{
	if (!x->query.dry_run)
		metrics_credential(x->key->name, x->client->name, err);
	else
		metrics_dry_run();
}

/* --- one --- */

static void reply_grant(struct exchange *x, const struct msg_grant *grant)
{
	struct snapshot *newer = snapshot_current();
	bool raw = x->header.accept != NULL &&
		   strcasecmp(x->header.accept, "application/octet-stream") == 0;
	char note[CHECKPOINT_MAX + 1];

	reply_credential(&x->reply, grant, x->key->name, chain_of(x, newer, grant),
		signer_note(x->service->signer, grant->chain, note) ? note : NULL, raw);
	snapshot_unref(newer);
}

static void issue_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);
	const struct msg_grant *grant = call->grant;
	struct policy policy;
	struct rules_of of;

	if (call->refusal.err != ERR_OK) {
		refuse_request(x, &call->refusal);
	} else if (x->query.dry_run && reply_is_decision(grant->refusal.err)) {
		of = rules_of(x, &policy, grant);
		reply_decision(&x->reply, &of);
	} else if (grant->refusal.err != ERR_OK) {
		refuse_request(x, &grant->refusal);
	} else {
		reply_grant(x, grant);
	}
	count(x, x->reply.err);
	x->resume(x);
}

/* Asks the signer; call.done gets the answer. */
static void ask_signer(struct exchange *x, const struct msg_issue_item *item, uint16_t n)
{
	struct signer_issue issue = {.request = x->id,
		.client = x->client->name,
		.peer = x->peer,
		.dry_run = x->query.dry_run,
		.count = n,
		.item = item};
	struct refusal why;

	x->call.deadline = x->deadline;
	x->hold(x);
	if (signer_issue(x->service->signer, x->key->token, &issue, &x->call, &why) != ERR_OK) {
		refuse_request(x, &why);
		x->resume(x);
	}
}

bool page_issue(struct exchange *x)
{
	struct refusal why;

	if (request_parse(&x->request, x->key->name, x->header.idempotency_key, x->body.octets,
		    x->body.len, &why) != ERR_OK) {
		refuse_request(x, &why);
		return true;
	}
	x->call.done = issue_done;
	ask_signer(x, &x->request.item, 1);
	return false;
}

/* --- a batch --- */

/* One key, one token, one chain: a replay from an older chain goes without its note. */
static void set_notes(struct exchange *x, char note[CHECKPOINT_MAX + 1])
{
	const char *chain = NULL;

	for (size_t i = 0; i < x->batch.count; i++) {
		const struct msg_grant *grant = x->result[i].grant;

		if (grant == NULL || grant->refusal.err != ERR_OK)
			continue;
		if (chain == NULL && signer_note(x->service->signer, grant->chain, note))
			chain = grant->chain;
		if (chain != NULL && strcmp(chain, grant->chain) == 0)
			x->result[i].note = note;
	}
}

static void reply_results(struct exchange *x)
{
	struct policy policy;
	struct rules_of of = rules_of(x, &policy, NULL);
	char note[CHECKPOINT_MAX + 1];

	set_notes(x, note);
	reply_batch(&x->reply, &of, x->result, x->batch.count, x->query.dry_run);
	for (size_t i = 0; i < x->batch.count; i++)
		count(x, x->result[i].grant != NULL ? x->result[i].grant->refusal.err
						    : x->result[i].refusal.err);
}

static void batch_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);
	struct snapshot *newer = snapshot_current();
	size_t next = 0;

	if (call->refusal.err != ERR_OK) {
		refuse_request(x, &call->refusal);
	} else {
		for (size_t i = 0; i < x->batch.count; i++) {
			struct result *result = &x->result[i];

			if (result->refusal.err != ERR_OK)
				continue;
			result->grant = &call->grant[next++];
			result->chain = chain_of(x, newer, result->grant);
		}
		reply_results(x);
	}
	snapshot_unref(newer);
	x->resume(x);
}

/* Each credential counts as a request of its client; the first was counted with the header. */
static uint16_t admit(struct exchange *x)
{
	uint16_t n = 0;

	for (size_t i = 0; i < x->batch.count; i++) {
		struct batch_item *item = &x->batch.item[i];
		struct result *result = &x->result[i];

		result->refusal = item->refusal;
		result->item = &item->request.item;
		if (result->refusal.err == ERR_OK && i > 0)
			(void)rates_take(
				x->service->rates, x->client, x->started, &result->refusal);
		if (result->refusal.err == ERR_OK)
			x->ask[n++] = item->request.item;
	}
	return n;
}

bool page_batch(struct exchange *x)
{
	struct refusal why;
	uint16_t n;

	if (batch_parse(&x->batch, x->key->name, x->header.idempotency_key, x->body.octets,
		    x->body.len, &why) != ERR_OK) {
		refuse_request(x, &why);
		return true;
	}
	x->ask = calloc(x->batch.count, sizeof(*x->ask));
	x->result = calloc(x->batch.count, sizeof(*x->result));
	if (x->ask == NULL || x->result == NULL)
		return routes_problem(x, ERR_NOMEM, "", "");
	n = admit(x);
	if (n == 0) {
		reply_results(x);
		return true;
	}
	x->call.done = batch_done;
	ask_signer(x, x->ask, n);
	return false;
}
