#include "pages.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "metrics.h"
#include "monitor.h"

static const uint8_t openapi[] = {
#include "openapi_yaml.inc"
};

static struct exchange *exchange_of(struct signer_call *call)
{
	return (struct exchange *)(void *)((char *)call - offsetof(struct exchange, call));
}

/* --- GET /v1/keys, /v1/keys/{key}, /v1/whoami: with counts from the ledger --- */

static void fill_view(const struct exchange *x, struct key_view *view, const struct config_key *key)
{
	const struct snapshot *s = x->snapshot;

	view->key = key;
	config_effective_policy(&view->policy, s->config, key, x->client);
	signer_key(x->service->signer, key->token, key->name, &view->state);
	view->held = signer_held(x->service->signer, true, key->name, view->hold_reason);
	view->chain = snapshot_chain(
		s, key, view->state.has_certificate ? view->state.certificate_sha256 : NULL);
}

static void reply_views(struct exchange *x)
{
	if (x->key != NULL)
		reply_key(&x->reply, &x->view[0]);
	else
		reply_keys(&x->reply, x->view, x->view_count);
}

static void next_live(struct exchange *x);

static void live_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);
	struct key_view *view = &x->view[x->view_next++];

	view->has_live = call->refusal.err == ERR_OK;
	if (view->has_live)
		view->live = call->read->live;
	next_live(x);
}

/* One question after the other; without an answer the count stays unknown (null). */
static void next_live(struct exchange *x)
{
	x->call.done = live_done;
	x->call.deadline = x->deadline;
	for (; x->view_next < x->view_count; x->view_next++)
		if (signer_live(x->service->signer, x->view[x->view_next].key->name,
			    x->client->name, &x->call, NULL) == ERR_OK)
			return;
	reply_views(x);
	x->resume(x);
}

bool page_keys(struct exchange *x)
{
	size_t count = x->key != NULL ? 1 : x->client->key_count;

	x->view = calloc(count + 1, sizeof(*x->view));
	if (x->view == NULL)
		return routes_problem(x, ERR_NOMEM, "", "");
	for (size_t i = 0; i < count; i++) {
		const struct config_key *key =
			x->key != NULL ? x->key
				       : config_key(x->snapshot->config, x->client->keys[i]);

		if (key != NULL)
			fill_view(x, &x->view[x->view_count++], key);
	}
	x->hold(x);
	next_live(x);
	return false;
}

static void reply_client(struct exchange *x, bool has_live, uint64_t live)
{
	struct whoami who = {.client = x->client,
		.peer = x->peer,
		.rate_left = rates_left(x->service->rates, x->client, monotonic_ms()),
		.has_live = has_live,
		.live = live};

	who.held = signer_held(x->service->signer, false, x->client->name, who.hold_reason);
	reply_whoami(&x->reply, &who);
	x->resume(x);
}

static void whoami_done(struct signer_call *call)
{
	bool known = call->refusal.err == ERR_OK;

	reply_client(exchange_of(call), known, known ? call->read->live : 0);
}

bool page_whoami(struct exchange *x)
{
	x->call.done = whoami_done;
	x->call.deadline = x->deadline;
	x->hold(x);
	if (signer_live(x->service->signer, "", x->client->name, &x->call, NULL) != ERR_OK)
		reply_client(x, false, 0);
	return false;
}

/* --- what is answered at once --- */

bool page_certificate(struct exchange *x)
{
	const char *none_match = x->header.if_none_match;
	struct signer_key state;
	const struct chain *chain;

	signer_key(x->service->signer, x->key->token, x->key->name, &state);
	chain = snapshot_chain(
		x->snapshot, x->key, state.has_certificate ? state.certificate_sha256 : NULL);
	if (chain == NULL)
		return routes_problem(x, ERR_KEY_UNAVAILABLE, "",
			"it is not known yet which of the key's certificates issues");
	reply_octets(&x->reply, "application/pem-certificate-chain", chain->pem, chain->pem_len,
		chain->etag);
	if (none_match != NULL &&
		(strcmp(none_match, "*") == 0 || strstr(none_match, chain->etag) != NULL)) {
		buf_reset(&x->reply.body);
		x->reply.status = 304;
	}
	return true;
}

bool page_openapi(struct exchange *x)
{
	reply_octets(&x->reply, "application/yaml", openapi, sizeof(openapi), "");
	return true;
}

bool page_healthz(struct exchange *x)
{
	reply_octets(&x->reply, "text/plain; charset=utf-8", "ok\n", 3, "");
	return true;
}

bool page_readyz(struct exchange *x)
{
	const char *key = x->query.given != 0 ? x->query.key : NULL;

	if (!monitor_ready(&x->reply, x->snapshot, x->service->signer, x->service->stopping, key))
		return routes_problem(x, ERR_NO_KEY, "key", "there is no key of this name");
	return true;
}

bool page_metrics(struct exchange *x)
{
	struct buf page = BUF_INIT(REPLY_MAX);

	metrics_write(&page, x->snapshot, x->service->signer, x->service->connections);
	if (page.err == ERR_OK)
		reply_octets(&x->reply, "text/plain; version=0.0.4; charset=utf-8", page.octets,
			page.len, "");
	else
		(void)routes_problem(x, page.err, "", "");
	buf_free(&page);
	return true;
}
