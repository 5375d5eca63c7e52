/* What is answered about keys, holds and the client itself. */
#include <string.h>

#include "reply_private.h"

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

	reply_set_hex(o, "sha256", x->sha256);
	reply_set_hex(o, "public_key_sha256", x->spki_sha256);
	json_object_set_new(o, "serial", json_string(x->serial));
	/* a subject that was cut may end inside a character */
	if (utf8_valid((const uint8_t *)x->subject, strlen(x->subject)))
		json_object_set_new(o, "subject", json_string(x->subject));
	reply_set_time(o, "not_before", x->not_before);
	reply_set_time(o, "not_after", x->not_after);
	return o;
}

static json_t *health_json(const struct signer_key *state)
{
	json_t *o = json_object();

	json_object_set_new(o, "served", json_boolean(state->err == ERR_OK));
	if (state->err != ERR_OK) {
		json_object_set_new(o, "code", json_string(err_name(state->err)));
		reply_set_text(o, "detail", reply_detail(state->err, state->detail));
	}
	reply_set_text(o, "weak", state->weak);
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
	reply_set_scheme(o, "signature_algorithm", view->state.algorithm);
	json_object_set_new(o, "certificate",
		view->chain != NULL ? certificate_json(&view->chain->leaf) : json_null());
	json_object_set_new(o, "policy", policy_json(&view->policy));
	json_object_set_new(o, "live", live_json(view->has_live, view->live));
	json_object_set_new(o, "hold", hold_json(view->held, view->hold_reason));
	return o;
}

void reply_key(struct reply *r, const struct key_view *view)
{
	reply_begin(r, 200, JSON_TYPE);
	reply_json(r, 200, key_json(view));
}

void reply_keys(struct reply *r, const struct key_view *views, size_t count)
{
	json_t *list = json_array(), *o = json_object();

	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, key_json(&views[i]));
	json_object_set_new(o, "keys", list);
	reply_begin(r, 200, JSON_TYPE);
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
		reply_set_time(o, "latest_expiry", answer->latest_expiry);
	reply_begin(r, 200, JSON_TYPE);
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
	reply_begin(r, 200, JSON_TYPE);
	reply_json(r, 200, o);
}
