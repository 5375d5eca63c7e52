#include "routes.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "log.h"
#include "metrics.h"
#include "monitor.h"

static const uint8_t openapi[] = {
#include "openapi_yaml.inc"
};

enum query { QUERY_NONE, QUERY_DRY_RUN, QUERY_KEY };

struct route {
	const char *pattern; /* '*' is the name of a key */
	const char *method;
	bool monitor; /* of the monitor, else of the API */
	enum query query;
	unsigned right; /* RIGHT_, 0: any client */
	bool (*run)(struct exchange *x);
};

static bool problem(struct exchange *x, enum err err, const char *field, const char *detail)
{
	struct refusal why;

	(void)refuse(&why, err, field, "%s", detail);
	reply_problem(&x->reply, &why, x->id);
	return true;
}

void routes_refuse(struct exchange *x, enum err err, const char *field, const char *detail)
{
	(void)problem(x, err, field, detail);
	x->reply.close = true;
}

static void refuse_request(struct exchange *x, const struct refusal *why)
{
	reply_problem(&x->reply, why, x->id);
}

static struct exchange *exchange_of(struct signer_call *call)
{
	return (struct exchange *)(void *)((char *)call - offsetof(struct exchange, call));
}

/* --- POST /v1/keys/{key}/credentials --- */

/* A refusal that is a decision about the request, and not trouble of the service. */
static bool is_decision(enum err err)
{
	unsigned status = err_status(err);

	return err == ERR_OK || status == 409 || status == 422 || status == 429;
}

/* The chain of the certificate that issued; a newer one is perhaps in a newer configuration. */
static void reply_grant(struct exchange *x, const struct msg_grant *grant)
{
	const struct chain *chain = snapshot_chain(x->snapshot, x->key, grant->certificate_sha256);
	bool raw = x->header.accept != NULL &&
		   strcasecmp(x->header.accept, "application/octet-stream") == 0;
	struct snapshot *newer = NULL;
	const struct config_key *key;

	if (chain == NULL && (newer = snapshot_current()) != NULL) {
		key = config_key(newer->config, x->key->name);
		if (key != NULL)
			chain = snapshot_chain(newer, key, grant->certificate_sha256);
	}
	reply_credential(&x->reply, grant, x->key->name, chain, raw);
	snapshot_unref(newer);
}

static void issue_done(struct signer_call *call)
{
	struct exchange *x = exchange_of(call);
	const struct msg_grant *grant = call->grant;

	if (call->refusal.err != ERR_OK)
		refuse_request(x, &call->refusal);
	else if (x->dry_run && is_decision(grant->refusal.err))
		reply_decision(&x->reply, grant, x->key->name);
	else if (grant->refusal.err != ERR_OK)
		refuse_request(x, &grant->refusal);
	else
		reply_grant(x, grant);
	x->resume(x);
}

static bool run_issue(struct exchange *x)
{
	struct signer_issue issue = {.request = x->id,
		.client = x->client->name,
		.peer = x->peer,
		.dry_run = x->dry_run,
		.item = &x->request.item};
	struct refusal why;

	if (request_parse(&x->request, x->key->name, x->header.idempotency_key, x->body.octets,
		    x->body.len, &why) != ERR_OK) {
		refuse_request(x, &why);
		return true;
	}
	x->call.done = issue_done;
	x->call.deadline = x->deadline;
	x->hold(x);
	if (signer_issue(x->service->signer, x->key->token, &issue, &x->call, &why) != ERR_OK) {
		refuse_request(x, &why);
		x->resume(x);
	}
	return false;
}

/* --- GET /v1/keys, /v1/keys/{key}, /v1/whoami: with counts from the ledger --- */

static void fill_view(const struct exchange *x, struct key_view *view, const struct config_key *key)
{
	const struct snapshot *s = x->snapshot;

	view->key = key;
	config_effective_policy(&view->policy, s->config, key, x->client);
	signer_key(x->service->signer, key->token, key->name, &view->state);
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

static bool run_keys(struct exchange *x)
{
	size_t count = x->key != NULL ? 1 : x->client->key_count;

	x->view = calloc(count + 1, sizeof(*x->view));
	if (x->view == NULL)
		return problem(x, ERR_NOMEM, "", "");
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

	reply_whoami(&x->reply, &who);
	x->resume(x);
}

static void whoami_done(struct signer_call *call)
{
	bool known = call->refusal.err == ERR_OK;

	reply_client(exchange_of(call), known, known ? call->read->live : 0);
}

static bool run_whoami(struct exchange *x)
{
	x->call.done = whoami_done;
	x->call.deadline = x->deadline;
	x->hold(x);
	if (signer_live(x->service->signer, "", x->client->name, &x->call, NULL) != ERR_OK)
		reply_client(x, false, 0);
	return false;
}

/* --- what is answered at once --- */

static bool run_certificate(struct exchange *x)
{
	const char *none_match = x->header.if_none_match;
	struct signer_key state;
	const struct chain *chain;

	signer_key(x->service->signer, x->key->token, x->key->name, &state);
	chain = snapshot_chain(
		x->snapshot, x->key, state.has_certificate ? state.certificate_sha256 : NULL);
	if (chain == NULL)
		return problem(x, ERR_KEY_UNAVAILABLE, "",
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

static bool run_openapi(struct exchange *x)
{
	reply_octets(&x->reply, "application/yaml", openapi, sizeof(openapi), "");
	return true;
}

static bool run_healthz(struct exchange *x)
{
	reply_octets(&x->reply, "text/plain; charset=utf-8", "ok\n", 3, "");
	return true;
}

static bool run_readyz(struct exchange *x)
{
	const char *query = strchr(x->target, '?');
	const char *key = query != NULL ? query + strlen("?key=") : NULL;

	if (!monitor_ready(&x->reply, x->snapshot, x->service->signer, key))
		return problem(x, ERR_NO_KEY, "key", "there is no key of this name");
	return true;
}

static bool run_metrics(struct exchange *x)
{
	struct buf page = BUF_INIT(REPLY_MAX);

	metrics_write(&page, x->snapshot, x->service->signer, x->service->connections);
	if (page.err == ERR_OK)
		reply_octets(&x->reply, "text/plain; version=0.0.4; charset=utf-8", page.octets,
			page.len, "");
	else
		(void)problem(x, page.err, "", "");
	buf_free(&page);
	return true;
}

static const struct route routes[] = {
	{"/v1/keys/*/credentials", "POST", false, QUERY_DRY_RUN, RIGHT_ISSUE, run_issue},
	{"/v1/keys", "GET", false, QUERY_NONE, 0, run_keys},
	{"/v1/keys/*", "GET", false, QUERY_NONE, 0, run_keys},
	{"/v1/keys/*/certificate", "GET", false, QUERY_NONE, 0, run_certificate},
	{"/v1/whoami", "GET", false, QUERY_NONE, 0, run_whoami},
	{"/openapi.yaml", "GET", false, QUERY_NONE, 0, run_openapi},
	{"/healthz", "GET", true, QUERY_NONE, 0, run_healthz},
	{"/readyz", "GET", true, QUERY_KEY, 0, run_readyz},
	{"/metrics", "GET", true, QUERY_NONE, 0, run_metrics},
};

/* --- from the target to the route --- */

/* Takes a key's name off the front of *at. */
static bool take_name(const char **at, char name[NAME_SIZE])
{
	size_t len = strcspn(*at, "/");

	if (len == 0 || len >= NAME_SIZE)
		return false;
	memcpy(name, *at, len);
	name[len] = '\0';
	*at += len;
	return name_valid(name);
}

static bool fits(const char *pattern, const char *path, char name[NAME_SIZE])
{
	for (; *pattern != '\0'; pattern++) {
		if (*pattern == '*') {
			if (!take_name(&path, name))
				return false;
		} else if (*path++ != *pattern) {
			return false;
		}
	}
	return *path == '\0';
}

static bool take_query(struct exchange *x, enum query query)
{
	const char *text = strchr(x->target, '?');

	if (text == NULL)
		return true;
	if (query == QUERY_DRY_RUN && strcmp(text, "?dry_run=true") == 0) {
		x->dry_run = true;
		return true;
	}
	return query == QUERY_KEY && strncmp(text, "?key=", 5) == 0 && name_valid(text + 5);
}

static bool find_route(struct exchange *x, bool monitor, char name[NAME_SIZE])
{
	char path[TARGET_MAX + 1];
	size_t len = strcspn(x->target, "?");
	const char *allow = NULL;

	memcpy(path, x->target, len);
	path[len] = '\0';
	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		const struct route *route = &routes[i];

		if (route->monitor != monitor || !fits(route->pattern, path, name))
			continue;
		allow = route->method;
		if (strcmp(route->method, x->method) == 0 && take_query(x, route->query)) {
			x->route = route;
			return true;
		}
		if (strcmp(route->method, x->method) == 0)
			allow = NULL;
	}
	if (allow == NULL)
		(void)problem(x, ERR_NOT_FOUND, "", "");
	else
		(void)problem(x, ERR_METHOD, "", "");
	x->reply.allow = allow;
	return false;
}

/* --- who may --- */

static bool find_client(struct exchange *x)
{
	static struct log_gate gate = {.per_second = 1};
	bool ambiguous;
	uint64_t left_out;

	x->client = peer_client(x->snapshot->config, x->peer, &ambiguous);
	if (x->client != NULL)
		return true;
	if (log_gate_open(&gate, monotonic_ms(), &left_out))
		LOG(LOG_LEVEL_WARNING, "unknown client", LS("peer", x->peer->address),
			LS("subject", x->peer->x509.subject), LS("serial", x->peer->x509.serial),
			LS("reason", ambiguous ? "several clients match" : "no client matches"),
			LS("request", x->id), LN("left_out", left_out));
	(void)problem(x, ERR_UNKNOWN_CLIENT, "",
		ambiguous ? "the client certificate matches several clients" : "");
	return false;
}

static bool may_use(struct exchange *x, const char *name)
{
	if (strchr(x->route->pattern, '*') != NULL) {
		x->key = config_client_has_key(x->client, name)
				 ? config_key(x->snapshot->config, name)
				 : NULL;
		if (x->key == NULL)
			return !problem(x, ERR_NO_KEY, "", "");
	}
	if ((x->client->may & x->route->right) != x->route->right)
		return !problem(x, ERR_NO_RIGHT, "", "this client has no right to issue");
	return true;
}

static bool takes_body(struct exchange *x)
{
	struct refusal why;

	if (strcmp(x->route->method, "POST") != 0)
		return true;
	if (x->header.content_type == NULL ||
		strcasecmp(x->header.content_type, "application/json") != 0)
		return !problem(x, ERR_MEDIA_TYPE, "Content-Type",
			"expected application/json, without parameters");
	if (x->header.content_encoding != NULL)
		return !problem(x, ERR_MEDIA_TYPE, "Content-Encoding",
			"the body must be sent without a content coding");
	if (rates_take(x->service->rates, x->client, x->started, &why) != ERR_OK) {
		refuse_request(x, &why);
		return false;
	}
	return true;
}

bool routes_head(struct exchange *x)
{
	char name[NAME_SIZE] = "";

	if (x->peer == NULL)
		return find_route(x, true, name);
	if (x->service->stopping) {
		(void)problem(x, ERR_STOPPING, "", "");
		x->reply.close = true;
		return false;
	}
	return find_client(x) && find_route(x, false, name) && may_use(x, name) && takes_body(x);
}

bool routes_run(struct exchange *x)
{
	return x->route->run(x);
}

static void log_answer(const struct exchange *x)
{
	static struct log_gate gate = {.per_second = 50};
	enum log_level level = x->reply.err == ERR_OK ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
	uint64_t left_out = 0;

	if (x->client == NULL ||
		(level == LOG_LEVEL_INFO && !log_gate_open(&gate, monotonic_ms(), &left_out)))
		return;
	LOG(level, x->reply.err == ERR_OK ? "request" : "request refused", LS("request", x->id),
		LS("client", x->client->name), LS("peer", x->peer->address),
		LS("method", x->method), LS("target", x->target), LN("status", x->reply.status),
		LS("code", err_name(x->reply.err)), LN("took_ms", monotonic_ms() - x->started),
		LN("left_out", left_out));
}

void routes_done(struct exchange *x)
{
	if (x->peer != NULL) {
		metrics_request(x->key != NULL ? x->key->name : "",
			x->client != NULL ? x->client->name : "", x->reply.status, x->reply.err);
		if (x->route != NULL && x->route->right == RIGHT_ISSUE)
			metrics_duration(monotonic_ms() - x->started);
		log_answer(x);
	}
	routes_free(x);
}

void routes_free(struct exchange *x)
{
	request_free(&x->request);
	reply_free(&x->reply);
	free(x->view);
	x->view = NULL;
}
