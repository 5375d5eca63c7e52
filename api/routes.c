#include "routes.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "log.h"
#include "metrics.h"
#include "pages.h"

struct route {
	const char *pattern; /* '*' is the name of a key or client, or the id of a credential */
	const char *method;
	bool monitor;	       /* of the monitor, else of the API */
	unsigned takes, needs; /* QUERY_; a route that takes none is not found with a query */
	unsigned right;	       /* RIGHT_, any of these; 0: any client */
	size_t body;	       /* octets at most; 0: none */
	bool (*run)(struct exchange *x);
};

bool routes_problem(struct exchange *x, enum err err, const char *field, const char *detail)
{
	struct refusal why;

	(void)refuse(&why, err, field, "%s", detail);
	reply_problem(&x->reply, &why, x->id);
	return true;
}

void routes_refuse(struct exchange *x, enum err err, const char *field, const char *detail)
{
	(void)routes_problem(x, err, field, detail);
	x->reply.close = true;
}

static void refuse_request(struct exchange *x, const struct refusal *why)
{
	reply_problem(&x->reply, why, x->id);
}

#define OWN_OR_READ (RIGHT_ISSUE | RIGHT_READ) /* without RIGHT_READ only what is the client's */

static const struct route routes[] = {
	{"/v1/keys/*/credentials", "POST", false, QUERY_DRY_RUN, 0, RIGHT_ISSUE, REQUEST_MAX,
		page_issue},
	{"/v1/keys/*/credentials/batch", "POST", false, QUERY_DRY_RUN, 0, RIGHT_ISSUE, BATCH_MAX,
		page_batch},
	{"/v1/keys/*/hold", "POST", false, 0, 0, RIGHT_HOLD, REQUEST_MAX, page_hold},
	{"/v1/keys/*/release", "POST", false, 0, 0, RIGHT_RELEASE, REQUEST_MAX, page_release},
	{"/v1/clients/*/hold", "POST", false, 0, 0, RIGHT_HOLD, REQUEST_MAX, page_hold},
	{"/v1/clients/*/release", "POST", false, 0, 0, RIGHT_RELEASE, REQUEST_MAX, page_release},
	{"/v1/keys", "GET", false, 0, 0, 0, 0, page_keys},
	{"/v1/keys/*", "GET", false, 0, 0, 0, 0, page_keys},
	{"/v1/keys/*/certificate", "GET", false, 0, 0, 0, 0, page_certificate},
	{"/v1/credentials", "GET", false,
		QUERY_KEY | QUERY_CLIENT | QUERY_LIVE_AT | QUERY_AFTER | QUERY_LIMIT, 0,
		OWN_OR_READ, 0, page_credentials},
	{"/v1/credentials/*", "GET", false, 0, 0, OWN_OR_READ, 0, page_credential},
	{"/v1/ledger/heads", "GET", false, 0, 0, OWN_OR_READ, 0, page_heads},
	{"/v1/ledger/checkpoint", "GET", false, QUERY_CHAIN, QUERY_CHAIN, OWN_OR_READ, 0,
		page_checkpoint},
	{"/v1/ledger/proof", "GET", false, QUERY_ID, QUERY_ID, OWN_OR_READ, 0, page_proof},
	{"/v1/ledger/consistency", "GET", false, QUERY_CHAIN | QUERY_FROM | QUERY_TO,
		QUERY_CHAIN | QUERY_FROM, OWN_OR_READ, 0, page_consistency},
	{"/v1/ledger/records", "GET", false, QUERY_CHAIN | QUERY_FROM | QUERY_LIMIT, QUERY_CHAIN,
		RIGHT_READ, 0, page_records},
	{"/v1/whoami", "GET", false, 0, 0, 0, 0, page_whoami},
	{"/openapi.yaml", "GET", false, 0, 0, 0, 0, page_openapi},
	{"/healthz", "GET", true, 0, 0, 0, 0, page_healthz},
	{"/readyz", "GET", true, QUERY_KEY, 0, 0, 0, page_readyz},
	{"/metrics", "GET", true, 0, 0, 0, 0, page_metrics},
};

/* --- from the target to the route --- */

/* Takes a name off the front of *at. */
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
		if (strcmp(route->method, x->method) != 0)
			continue;
		x->route = x->target[len] == '\0' || route->takes != 0 ? route : NULL;
		if (x->route != NULL)
			return true;
		allow = NULL;
	}
	if (allow == NULL)
		(void)routes_problem(x, ERR_NOT_FOUND, "", "");
	else
		(void)routes_problem(x, ERR_METHOD, "", "");
	x->reply.allow = allow;
	return false;
}

static bool take_query(struct exchange *x)
{
	const char *mark = strchr(x->target, '?');
	struct refusal why;

	if (query_parse(&x->query, x->route->takes, x->route->needs, mark != NULL ? mark + 1 : NULL,
		    &why) == ERR_OK)
		return true;
	refuse_request(x, &why);
	return false;
}

/* --- who may --- */

static bool find_client(struct exchange *x)
{
	static struct log_gate gate = {.per_second = 1};
	bool ambiguous;
	uint64_t left_out;

	x->client = peer_client(x->snapshot->peers, x->peer, &ambiguous);
	if (x->client != NULL)
		return true;
	if (log_gate_open(&gate, monotonic_ms(), &left_out)) {
		LOG(LOG_LEVEL_WARNING, "unknown client", LS("peer", x->peer->address),
			LS("subject", x->peer->x509.subject), LS("serial", x->peer->x509.serial),
			LS("reason", ambiguous ? "several clients match" : "no client matches"),
			LS("request", x->id), LN("left_out", left_out));
		signer_stranger(x->service->signer, x->id, x->peer, left_out);
	}
	(void)routes_problem(x, ERR_UNKNOWN_CLIENT, "",
		ambiguous ? "the client certificate matches several clients" : "");
	return false;
}

static bool named_key(struct exchange *x, const char *name)
{
	x->key = config_client_has_key(x->client, name) ? config_key(x->snapshot->config, name)
							: NULL;
	return x->key != NULL || !routes_problem(x, ERR_NO_KEY, "", "");
}

static bool named_client(struct exchange *x, const char *name)
{
	x->named = config_client(x->snapshot->config, name);
	return x->named != NULL ||
	       !routes_problem(x, ERR_NOT_FOUND, "", "there is no client of this name");
}

static bool named_credential(struct exchange *x, const char *name)
{
	if (strlen(name) != ID_SIZE - 1 || strspn(name, "0123456789abcdef") != ID_SIZE - 1)
		return !routes_problem(
			x, ERR_NOT_FOUND, "", "the id of a credential is 32 digits of 0-9 and a-f");
	strcpy(x->query.id, name);
	return true;
}

static bool has_right(struct exchange *x)
{
	static const struct {
		unsigned right;
		const char *text;
	} rights[] = {{RIGHT_ISSUE, "this client has no right to issue"},
		{RIGHT_READ, "this client has no right to read"},
		{RIGHT_HOLD, "this client has no right to hold"},
		{RIGHT_RELEASE, "this client has no right to release"},
		{OWN_OR_READ, "this client has neither the right read nor issue"}};

	if (x->route->right == 0 || (x->route->right & x->client->may) != 0)
		return true;
	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++)
		if (x->route->right == rights[i].right)
			return !routes_problem(x, ERR_NO_RIGHT, "", rights[i].text);
	return !routes_problem(x, ERR_NO_RIGHT, "", "");
}

/* A key that is not this client's does not exist for it; clients' names are for who has a right. */
static bool may_use(struct exchange *x, const char *name)
{
	const char *star = strchr(x->route->pattern, '*');

	if (star == NULL)
		return has_right(x);
	if (strncmp(x->route->pattern, "/v1/keys/", 9) == 0)
		return named_key(x, name) && has_right(x);
	if (strncmp(x->route->pattern, "/v1/credentials/", 16) == 0)
		return has_right(x) && named_credential(x, name);
	return has_right(x) && named_client(x, name);
}

/* What the ledger answers counts as a request for a credential does. */
static bool within_rate(struct exchange *x)
{
	struct refusal why;

	if (x->route->body == 0 && x->route->right == 0)
		return true;
	if (rates_take(x->service->rates, x->client, x->started, &why) == ERR_OK)
		return true;
	refuse_request(x, &why);
	return false;
}

static bool takes_body(struct exchange *x)
{
	struct refusal why;

	if (x->route->body == 0)
		return true;
	if (x->header.content_type == NULL ||
		strcasecmp(x->header.content_type, "application/json") != 0)
		return !routes_problem(x, ERR_MEDIA_TYPE, "Content-Type",
			"expected application/json, without parameters");
	if (x->length > x->route->body) {
		(void)refuse(&why, ERR_TOO_LARGE, "", "at most %zu octets are taken here",
			x->route->body);
		refuse_request(x, &why);
		x->reply.close = true;
		return false;
	}
	if (x->header.content_encoding != NULL)
		return !routes_problem(x, ERR_MEDIA_TYPE, "Content-Encoding",
			"the body must be sent without a content coding");
	return true;
}

bool routes_head(struct exchange *x)
{
	char name[NAME_SIZE] = "";

	if (x->peer == NULL)
		return find_route(x, true, name) && take_query(x);
	if (x->service->stopping) {
		(void)routes_problem(x, ERR_STOPPING, "", "");
		x->reply.close = true;
		return false;
	}
	return find_client(x) && find_route(x, false, name) && take_query(x) && may_use(x, name) &&
	       takes_body(x) && within_rate(x);
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
		LS("code", err_name(x->reply.err)), LS("detail", x->reply.detail),
		LN("took_ms", monotonic_ms() - x->started), LN("left_out", left_out));
}

void routes_done(struct exchange *x)
{
	if (x->peer != NULL) {
		metrics_request(x->key != NULL ? x->key->name : "",
			x->client != NULL ? x->client->name : "", x->reply.status, x->reply.err);
		if (x->route != NULL && x->route->right == RIGHT_ISSUE)
			metrics_duration(monotonic_us() - x->started_us);
		log_answer(x);
	}
	routes_free(x);
}

void routes_free(struct exchange *x)
{
	request_free(&x->request);
	batch_free(&x->batch);
	free(x->ask);
	free(x->result);
	x->ask = NULL;
	x->result = NULL;
	reply_free(&x->reply);
	free(x->view);
	x->view = NULL;
}
