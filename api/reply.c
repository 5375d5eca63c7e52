#include "reply.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "compat.h"

#define JSON_TYPE    "application/json"
#define PROBLEM_TYPE "application/problem+json"

void reply_init(struct reply *r)
{
	memset(r, 0, sizeof(*r));
	r->body = (struct buf)BUF_INIT(REPLY_MAX);
	r->content_type = JSON_TYPE;
}

void reply_free(struct reply *r)
{
	buf_free(&r->body);
}

/* An answer that is begun again forgets what it said before. */
static void begin(struct reply *r, unsigned status, const char *content_type)
{
	reply_free(r);
	reply_init(r);
	r->status = status;
	r->content_type = content_type;
}

static int append(const char *octets, size_t len, void *body)
{
	buf_put(body, octets, len);
	return ((struct buf *)body)->err == ERR_OK ? 0 : -1;
}

void reply_json(struct reply *r, unsigned status, struct json_t *body)
{
	static const char no_memory[] =
		"{\"title\":\"Service Unavailable\",\"status\":503,\"code\":\"out_of_memory\"}";

	if (body != NULL && json_dump_callback(body, append, &r->body, JSON_COMPACT) == 0) {
		r->status = status;
	} else {
		begin(r, 503, PROBLEM_TYPE);
		r->err = ERR_NOMEM;
		buf_text(&r->body, no_memory);
	}
	json_decref(body);
}

static const char *phrase(unsigned status)
{
	static const struct {
		unsigned status;
		const char *phrase; /* RFC 9110, RFC 6585 */
	} phrases[] = {
		{400, "Bad Request"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{409, "Conflict"},
		{413, "Content Too Large"},
		{415, "Unsupported Media Type"},
		{417, "Expectation Failed"},
		{422, "Unprocessable Content"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{503, "Service Unavailable"},
		{504, "Gateway Timeout"},
	};

	for (size_t i = 0; i < sizeof(phrases) / sizeof(phrases[0]); i++)
		if (phrases[i].status == status)
			return phrases[i].phrase;
	return "Internal Server Error";
}

/* Adds a member only when there is something to say. */
static void set_text(json_t *object, const char *name, const char *text)
{
	if (text[0] != '\0')
		json_object_set_new(object, name, json_string(text));
}

static json_t *problem_json(const struct refusal *why, unsigned status)
{
	json_t *o = json_object();

	json_object_set_new(o, "type", json_string("about:blank"));
	json_object_set_new(o, "title", json_string(phrase(status)));
	json_object_set_new(o, "status", json_integer(status));
	json_object_set_new(o, "code", json_string(err_name(why->err)));
	set_text(o, "detail", why->detail[0] != '\0' ? why->detail : err_text(why->err));
	set_text(o, "field", why->field);
	return o;
}

static unsigned status_of(enum err err)
{
	unsigned status = err_status(err);

	return status < 400 ? 500 : status;
}

static uint32_t retry_after(const struct refusal *why, unsigned status)
{
	return status == 503 && why->retry_after == 0 ? 1 : why->retry_after;
}

void reply_problem(struct reply *r, const struct refusal *why, const char *request)
{
	unsigned status = status_of(why->err);
	json_t *o;

	begin(r, status, PROBLEM_TYPE);
	r->err = why->err;
	r->retry_after = retry_after(why, status);
	o = problem_json(why, status);
	set_text(o, "request", request);
	reply_json(r, status, o);
}

static void set_hex(json_t *o, const char *name, const uint8_t digest[SHA256_SIZE])
{
	char text[2 * SHA256_SIZE + 1];

	hex_encode(text, digest, SHA256_SIZE);
	json_object_set_new(o, name, json_string(text));
}

static void set_time(json_t *o, const char *name, int64_t t)
{
	char text[21];

	time_text(text, t);
	json_object_set_new(o, name, json_string(text));
}

static void set_scheme(json_t *o, const char *name, uint16_t code)
{
	const struct scheme *scheme = scheme_by_code(code);

	json_object_set_new(o, name, scheme != NULL ? json_string(scheme->name) : json_null());
}

/* "CODE: sentence" each. */
static json_t *warnings(const struct msg_grant *grant)
{
	json_t *list = json_array();

	if ((grant->flags & GRANT_KEY_SHARED) != 0)
		json_array_append_new(list,
			json_string("KEY-SHARED: another client holds a live credential for this "
				    "public key"));
	for (unsigned i = 0; i < compat_rule_count(); i++)
		if ((grant->compat & UINT32_C(1) << i) != 0)
			json_array_append_new(list,
				json_sprintf("%s: %s", compat_rule(i)->code, compat_rule(i)->text));
	return list;
}

static json_t *base64(const struct octets *octets)
{
	struct buf text = BUF_INIT(2 * MSG_MAX);
	json_t *string = NULL;

	buf_base64(&text, octets->at, octets->len);
	if (text.err == ERR_OK)
		string = json_stringn((const char *)text.octets, text.len);
	buf_free(&text);
	return string;
}

static void set_grant(json_t *o, const struct msg_grant *grant, const char *key)
{
	json_object_set_new(o, "key", json_string(key));
	json_object_set_new(o, "role", json_string(dc_role_name((enum dc_role)grant->role)));
	set_scheme(o, "algorithm", grant->scheme);
	set_scheme(o, "signature_algorithm", grant->algorithm);
	set_time(o, "not_before", grant->not_before);
	set_time(o, "not_after", grant->not_after);
	json_object_set_new(o, "valid_time", json_integer(grant->valid_time));
	set_hex(o, "public_key_sha256", grant->spki_sha256);
	set_hex(o, "certificate_sha256", grant->certificate_sha256);
}

/* No note is made yet of this chain's head when checkpoint is null. */
static json_t *ledger(const struct msg_grant *grant)
{
	json_t *o = json_object();

	json_object_set_new(o, "chain", json_string(grant->chain));
	json_object_set_new(o, "index", json_integer((json_int_t)grant->idx));
	set_hex(o, "leaf_hash", grant->leaf_hash);
	json_object_set_new(o, "checkpoint", json_null());
	return o;
}

static json_t *credential_json(const struct msg_grant *grant, const char *key)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", json_string(grant->id));
	set_grant(o, grant, key);
	json_object_set_new(o, "credential", base64(&grant->dc));
	json_object_set_new(o, "warnings", warnings(grant));
	json_object_set_new(o, "ledger", ledger(grant));
	return o;
}

static json_t *chain_json(const struct chain *chain)
{
	return chain != NULL ? json_stringn(chain->pem, chain->pem_len) : json_null();
}

void reply_credential(struct reply *r, const struct msg_grant *grant, const char *key,
	const struct chain *chain, bool raw)
{
	json_t *o;

	begin(r, 201, raw ? "application/octet-stream" : JSON_TYPE);
	r->replayed = (grant->flags & GRANT_REPLAYED) != 0;
	if (raw) {
		buf_put(&r->body, grant->dc.at, grant->dc.len);
		if (r->body.err != ERR_OK)
			reply_json(r, 503, NULL);
		return;
	}
	o = credential_json(grant, key);
	json_object_set_new(o, "chain", chain_json(chain));
	reply_json(r, 201, o);
	r->replayed = r->status == 201 && (grant->flags & GRANT_REPLAYED) != 0;
}

bool reply_is_decision(enum err err)
{
	unsigned status = err_status(err);

	return err == ERR_OK || status == 409 || status == 422 || status == 429;
}

static json_t *rules_json(const struct rules_of *of)
{
	struct rule_applied rules[RULES_MAX];
	json_t *list = json_array(), *o;

	for (size_t i = 0, n = rules_applied(of, rules); i < n; i++) {
		o = json_object();
		json_object_set_new(o, "rule", json_string(rules[i].name));
		json_object_set_new(o, "passed", json_boolean(rules[i].passed));
		set_text(o, "detail", rules[i].detail);
		json_array_append_new(list, o);
	}
	return list;
}

static json_t *decision_json(const struct rules_of *of)
{
	const struct msg_grant *grant = of->grant;
	const struct refusal *why = &grant->refusal;
	json_t *o = json_object();

	json_object_set_new(o, "dry_run", json_true());
	json_object_set_new(o, "allowed", json_boolean(why->err == ERR_OK));
	if (why->err == ERR_OK) {
		set_grant(o, grant, of->key->name);
		json_object_set_new(
			o, "replayed", json_boolean((grant->flags & GRANT_REPLAYED) != 0));
		json_object_set_new(o, "warnings", warnings(grant));
	} else {
		json_object_set_new(o, "key", json_string(of->key->name));
		json_object_set_new(o, "status", json_integer(err_status(why->err)));
		json_object_set_new(o, "code", json_string(err_name(why->err)));
		set_text(o, "detail", why->detail[0] != '\0' ? why->detail : err_text(why->err));
		set_text(o, "field", why->field);
	}
	json_object_set_new(o, "rules", rules_json(of));
	return o;
}

void reply_decision(struct reply *r, const struct rules_of *of)
{
	begin(r, 200, JSON_TYPE);
	reply_json(r, 200, decision_json(of));
	r->err = of->grant->refusal.err;
}

static json_t *result_problem(const struct refusal *why)
{
	unsigned status = status_of(why->err);
	json_t *o = problem_json(why, status);

	if (retry_after(why, status) != 0)
		json_object_set_new(o, "retry_after", json_integer(retry_after(why, status)));
	return o;
}

static json_t *result_json(
	const struct rules_of *of, const struct result *result, const struct chain **first)
{
	const struct msg_grant *grant = result->grant;
	json_t *o = credential_json(grant, of->key->name);

	json_object_set_new(o, "replayed", json_boolean((grant->flags & GRANT_REPLAYED) != 0));
	if (*first == NULL)
		*first = result->chain;
	else if (result->chain != *first)
		json_object_set_new(o, "chain", chain_json(result->chain));
	return o;
}

void reply_batch(struct reply *r, const struct rules_of *of, const struct result *results,
	size_t count, bool dry_run)
{
	const struct chain *first = NULL;
	struct rules_of each = *of;
	json_t *list = json_array(), *o = json_object();

	for (size_t i = 0; i < count; i++) {
		const struct result *result = &results[i];
		const struct refusal *why =
			result->grant != NULL ? &result->grant->refusal : &result->refusal;

		each.grant = result->grant;
		each.item = result->item;
		if (dry_run && result->grant != NULL && reply_is_decision(why->err))
			json_array_append_new(list, decision_json(&each));
		else if (why->err != ERR_OK)
			json_array_append_new(list, result_problem(why));
		else
			json_array_append_new(list, result_json(of, result, &first));
	}
	json_object_set_new(o, "results", list);
	if (!dry_run)
		json_object_set_new(o, "chain", chain_json(first));
	begin(r, 200, JSON_TYPE);
	reply_json(r, 200, o);
}

void reply_octets(
	struct reply *r, const char *content_type, const void *octets, size_t len, const char *etag)
{
	begin(r, 200, content_type);
	snprintf(r->etag, sizeof(r->etag), "%s", etag);
	buf_put(&r->body, octets, len);
	if (r->body.err != ERR_OK)
		reply_json(r, 503, NULL);
}

static json_t *policy_json(const struct policy *p)
{
	json_t *o = json_object(), *roles = json_array(), *algorithms = json_array();

	for (unsigned role = DC_SERVER; role <= DC_CLIENT; role++)
		if ((p->roles & (1u << role)) != 0)
			json_array_append_new(roles, json_string(dc_role_name((enum dc_role)role)));
	for (unsigned i = 0; i < scheme_count(); i++)
		if ((p->schemes & scheme_bit(scheme_at(i)->code)) != 0)
			json_array_append_new(algorithms, json_string(scheme_at(i)->name));
	json_object_set_new(o, "max_lifetime", json_integer(p->max_lifetime));
	json_object_set_new(o, "min_lifetime", json_integer(p->min_lifetime));
	json_object_set_new(o, "clock_skew", json_integer(p->clock_skew));
	json_object_set_new(o, "max_start_ahead", json_integer(p->max_start_ahead));
	json_object_set_new(o, "roles", roles);
	json_object_set_new(o, "algorithms", algorithms);
	json_object_set_new(o, "proof_of_possession",
		json_string(p->possession_required ? "required" : "optional"));
	json_object_set_new(o, "max_live", json_integer((json_int_t)p->max_live));
	return o;
}

static json_t *certificate_json(const struct x509 *x)
{
	json_t *o = json_object();

	set_hex(o, "sha256", x->sha256);
	set_hex(o, "public_key_sha256", x->spki_sha256);
	json_object_set_new(o, "serial", json_string(x->serial));
	/* a subject that was cut may end inside a character */
	if (utf8_valid((const uint8_t *)x->subject, strlen(x->subject)))
		json_object_set_new(o, "subject", json_string(x->subject));
	set_time(o, "not_before", x->not_before);
	set_time(o, "not_after", x->not_after);
	return o;
}

static json_t *health_json(const struct signer_key *state)
{
	json_t *o = json_object();

	json_object_set_new(o, "served", json_boolean(state->err == ERR_OK));
	if (state->err != ERR_OK) {
		json_object_set_new(o, "code", json_string(err_name(state->err)));
		set_text(o, "detail", state->detail);
	}
	set_text(o, "weak", state->weak);
	return o;
}

static json_t *live_json(bool has_live, uint64_t live)
{
	return has_live ? json_integer((json_int_t)live) : json_null();
}

/* null, or why there is a hold. */
static json_t *hold_json(bool held, const char *reason)
{
	return held ? json_pack("{s:s}", "reason", reason) : json_null();
}

static json_t *key_json(const struct key_view *view)
{
	json_t *o = json_object();

	json_object_set_new(o, "key", json_string(view->key->name));
	json_object_set_new(o, "health", health_json(&view->state));
	set_scheme(o, "signature_algorithm", view->state.algorithm);
	json_object_set_new(o, "certificate",
		view->chain != NULL ? certificate_json(&view->chain->leaf) : json_null());
	json_object_set_new(o, "policy", policy_json(&view->policy));
	json_object_set_new(o, "live", live_json(view->has_live, view->live));
	json_object_set_new(o, "hold", hold_json(view->held, view->hold_reason));
	return o;
}

void reply_key(struct reply *r, const struct key_view *view)
{
	begin(r, 200, JSON_TYPE);
	reply_json(r, 200, key_json(view));
}

void reply_keys(struct reply *r, const struct key_view *views, size_t count)
{
	json_t *list = json_array(), *o = json_object();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, key_json(&views[i]));
	json_object_set_new(o, "keys", list);
	begin(r, 200, JSON_TYPE);
	reply_json(r, 200, o);
}

void reply_hold(struct reply *r, bool held, const char *key, const char *client, const char *reason,
	const struct msg_hold_answer *answer)
{
	json_t *o = json_object();

	json_object_set_new(o, "held", json_boolean(held));
	if (key != NULL)
		json_object_set_new(o, "key", json_string(key));
	if (client != NULL)
		json_object_set_new(o, "client", json_string(client));
	json_object_set_new(o, "reason", json_string(reason));
	json_object_set_new(o, "live", json_integer((json_int_t)answer->live));
	json_object_set_new(o, "latest_expiry", json_null());
	if (answer->latest_expiry != 0)
		set_time(o, "latest_expiry", answer->latest_expiry);
	begin(r, 200, JSON_TYPE);
	reply_json(r, 200, o);
}

static json_t *rights_json(unsigned may)
{
	static const struct {
		unsigned right;
		const char *name;
	} rights[] = {{RIGHT_ISSUE, "issue"}, {RIGHT_READ, "read"}, {RIGHT_HOLD, "hold"},
		{RIGHT_RELEASE, "release"}};
	json_t *list = json_array();

	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++)
		if ((may & rights[i].right) != 0)
			json_array_append_new(list, json_string(rights[i].name));
	return list;
}

static json_t *limits_json(const struct whoami *who)
{
	const struct config_client *client = who->client;
	json_t *o = json_object(), *rate = json_null();

	if (client->rate_count != 0)
		rate = json_pack("{s:I,s:I,s:I}", "requests", (json_int_t)client->rate_count,
			"seconds", (json_int_t)client->rate_seconds, "left",
			(json_int_t)who->rate_left);
	json_object_set_new(o, "rate", rate);
	json_object_set_new(o, "max_live",
		client->max_live != 0 ? json_integer((json_int_t)client->max_live) : json_null());
	json_object_set_new(o, "live", live_json(who->has_live, who->live));
	return o;
}

void reply_whoami(struct reply *r, const struct whoami *who)
{
	json_t *o = json_object(), *keys = json_array();

	for (size_t i = 0; i < who->client->key_count; i++)
		json_array_append_new(keys, json_string(who->client->keys[i]));
	json_object_set_new(o, "client", json_string(who->client->name));
	json_object_set_new(o, "rights", rights_json(who->client->may));
	json_object_set_new(o, "keys", keys);
	json_object_set_new(o, "peer", json_string(who->peer->address));
	json_object_set_new(o, "certificate",
		who->peer->has_certificate ? certificate_json(&who->peer->x509) : json_null());
	json_object_set_new(o, "limits", limits_json(who));
	json_object_set_new(o, "hold", hold_json(who->held, who->hold_reason));
	begin(r, 200, JSON_TYPE);
	reply_json(r, 200, o);
}
