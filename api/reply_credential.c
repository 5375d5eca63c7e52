/* What is answered about credentials: granted, refused, judged, many at once. */
#include <string.h>

#include "compat.h"
#include "reply_private.h"

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

json_t *reply_base64(const struct octets *octets)
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
	reply_set_scheme(o, "algorithm", grant->scheme);
	reply_set_scheme(o, "signature_algorithm", grant->algorithm);
	reply_set_time(o, "not_before", grant->not_before);
	reply_set_time(o, "not_after", grant->not_after);
	json_object_set_new(o, "valid_time", json_integer(grant->valid_time));
	reply_set_hex(o, "public_key_sha256", grant->spki_sha256);
	reply_set_hex(o, "certificate_sha256", grant->certificate_sha256);
}

static json_t *ledger(const struct msg_grant *grant, const char *note)
{
	json_t *o = json_object();

	json_object_set_new(o, "chain", json_string(grant->chain));
	json_object_set_new(o, "index", json_integer((json_int_t)grant->idx));
	reply_set_hex(o, "leaf_hash", grant->leaf_hash);
	json_object_set_new(o, "checkpoint", note != NULL ? json_string(note) : json_null());
	return o;
}

static json_t *credential_json(const struct msg_grant *grant, const char *key, const char *note)
{
	json_t *o = json_object();

	json_object_set_new(o, "id", json_string(grant->id));
	set_grant(o, grant, key);
	json_object_set_new(o, "credential", reply_base64(&grant->dc));
	json_object_set_new(o, "warnings", warnings(grant));
	json_object_set_new(o, "ledger", ledger(grant, note));
	return o;
}

static json_t *chain_json(const struct chain *chain)
{
	return chain != NULL ? json_stringn(chain->pem, chain->pem_len) : json_null();
}

void reply_credential(struct reply *r, const struct msg_grant *grant, const char *key,
	const struct chain *chain, const char *note, bool raw)
{
	json_t *o;

	reply_begin(r, 201, raw ? "application/octet-stream" : JSON_TYPE);
	r->replayed = (grant->flags & GRANT_REPLAYED) != 0;
	if (raw) {
		buf_put(&r->body, grant->dc.at, grant->dc.len);
		if (r->body.err != ERR_OK)
			reply_json(r, 503, NULL);
		return;
	}
	o = credential_json(grant, key, note);
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
		reply_set_text(o, "detail", rules[i].detail);
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
		reply_set_text(
			o, "detail", why->detail[0] != '\0' ? why->detail : err_text(why->err));
		reply_set_text(o, "field", why->field);
	}
	json_object_set_new(o, "rules", rules_json(of));
	return o;
}

void reply_decision(struct reply *r, const struct rules_of *of)
{
	reply_begin(r, 200, JSON_TYPE);
	reply_json(r, 200, decision_json(of));
	r->err = of->grant->refusal.err;
}

static json_t *result_problem(const struct refusal *why)
{
	unsigned status = reply_status(why->err);
	json_t *o = reply_problem_json(why, status);

	if (reply_retry_after(why, status) != 0)
		json_object_set_new(o, "retry_after", json_integer(reply_retry_after(why, status)));
	return o;
}

static json_t *result_json(
	const struct rules_of *of, const struct result *result, const struct chain **first)
{
	const struct msg_grant *grant = result->grant;
	json_t *o = credential_json(grant, of->key->name, result->note);

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
	reply_begin(r, 200, JSON_TYPE);
	reply_json(r, 200, o);
}
