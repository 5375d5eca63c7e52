/* What is answered about credentials: granted, refused, judged, many at once. */
#include <stdio.h>
#include <string.h>

#include "compat.h"
#include "json.h"
#include "record.h"
#include "reply_private.h"

#define KEY_SHARED   "KEY-SHARED: another client holds a live credential for this public key"
#define WARNING_SIZE 512

/* "CODE: sentence" each. */
static json_t *warnings(const struct msg_grant *grant)
{
	json_t *list = json_array();

	if ((grant->flags & GRANT_KEY_SHARED) != 0)
		json_array_append_new(list, json_string(KEY_SHARED));
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

/* The same as text: what is answered most often is not made as a tree first. */

static void put_text(struct buf *b, const char *begin, const char *text)
{
	const struct octets o = octets_text(text);

	buf_text(b, begin);
	canon_text(b, &o);
}

static void put_scheme(struct buf *b, const char *begin, uint16_t code)
{
	const struct scheme *scheme = scheme_by_code(code);

	if (scheme != NULL)
		put_text(b, begin, scheme->name);
	else
		buf_printf(b, "%snull", begin);
}

static void put_time(struct buf *b, const char *begin, int64_t t)
{
	char text[21];

	time_text(text, t);
	put_text(b, begin, text);
}

static void put_hex(struct buf *b, const char *begin, const uint8_t digest[SHA256_SIZE])
{
	char text[2 * SHA256_SIZE + 1];

	hex_encode(text, digest, SHA256_SIZE);
	put_text(b, begin, text);
}

static void put_warnings(struct buf *b, const struct msg_grant *grant)
{
	const char *begin = "";

	buf_text(b, ",\"warnings\":[");
	if ((grant->flags & GRANT_KEY_SHARED) != 0) {
		put_text(b, begin, KEY_SHARED);
		begin = ",";
	}
	for (unsigned i = 0; i < compat_rule_count(); i++) {
		char text[WARNING_SIZE];

		if ((grant->compat & UINT32_C(1) << i) == 0)
			continue;
		snprintf(text, sizeof(text), "%s: %s", compat_rule(i)->code, compat_rule(i)->text);
		put_text(b, begin, text);
		begin = ",";
	}
	buf_text(b, "]");
}

static void put_ledger(struct buf *b, const struct msg_grant *grant, const char *note)
{
	put_text(b, ",\"ledger\":{\"chain\":", grant->chain);
	buf_text(b, ",\"index\":");
	buf_decimal(b, (int64_t)grant->idx);
	put_hex(b, ",\"leaf_hash\":", grant->leaf_hash);
	if (note != NULL)
		put_text(b, ",\"checkpoint\":", note);
	else
		buf_text(b, ",\"checkpoint\":null");
	buf_text(b, "}");
}

/* Without the end of the object. */
static void put_credential(
	struct buf *b, const struct msg_grant *grant, const char *key, const char *note)
{
	put_text(b, "{\"id\":", grant->id);
	put_text(b, ",\"key\":", key);
	put_text(b, ",\"role\":", dc_role_name((enum dc_role)grant->role));
	put_scheme(b, ",\"algorithm\":", grant->scheme);
	put_scheme(b, ",\"signature_algorithm\":", grant->algorithm);
	put_time(b, ",\"not_before\":", grant->not_before);
	put_time(b, ",\"not_after\":", grant->not_after);
	buf_text(b, ",\"valid_time\":");
	buf_decimal(b, grant->valid_time);
	put_hex(b, ",\"public_key_sha256\":", grant->spki_sha256);
	put_hex(b, ",\"certificate_sha256\":", grant->certificate_sha256);
	buf_text(b, ",\"credential\":\"");
	buf_base64(b, grant->dc.at, grant->dc.len);
	buf_text(b, "\"");
	put_warnings(b, grant);
	put_ledger(b, grant, note);
}

static void put_chain(struct buf *b, const struct chain *chain)
{
	buf_text(b, ",\"chain\":");
	if (chain != NULL)
		canon_text(b, &(const struct octets){(const uint8_t *)chain->pem, chain->pem_len});
	else
		buf_text(b, "null");
}

void reply_credential(struct reply *r, const struct msg_grant *grant, const char *key,
	const struct chain *chain, const char *note, bool raw)
{
	reply_begin(r, 201, raw ? "application/octet-stream" : JSON_TYPE);
	r->replayed = (grant->flags & GRANT_REPLAYED) != 0;
	if (raw) {
		buf_put(&r->body, grant->dc.at, grant->dc.len);
	} else {
		put_credential(&r->body, grant, key, note);
		put_chain(&r->body, chain);
		buf_text(&r->body, "}");
	}
	if (r->body.err != ERR_OK)
		reply_json(r, 503, NULL);
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
		reply_set_why(o, why);
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

static void put_result(struct buf *b, const struct rules_of *of, const struct result *result,
	const struct chain **first)
{
	const struct msg_grant *grant = result->grant;

	put_credential(b, grant, of->key->name, result->note);
	buf_text(b, (grant->flags & GRANT_REPLAYED) != 0 ? ",\"replayed\":true"
							 : ",\"replayed\":false");
	if (*first == NULL)
		*first = result->chain;
	else if (result->chain != *first)
		put_chain(b, result->chain);
	buf_text(b, "}");
}

void reply_batch(struct reply *r, const struct rules_of *of, const struct result *results,
	size_t count, bool dry_run)
{
	const struct chain *first = NULL;
	struct rules_of each = *of;
	bool whole = true;

	reply_begin(r, 200, JSON_TYPE);
	buf_text(&r->body, "{\"results\":[");
	for (size_t i = 0; i < count; i++) {
		const struct result *result = &results[i];
		const struct refusal *why =
			result->grant != NULL ? &result->grant->refusal : &result->refusal;

		each.grant = result->grant;
		each.item = result->item;
		if (i > 0)
			buf_text(&r->body, ",");
		if (dry_run && result->grant != NULL && reply_is_decision(why->err))
			whole = reply_put_json(r, decision_json(&each)) && whole;
		else if (why->err != ERR_OK)
			whole = reply_put_json(r, result_problem(why)) && whole;
		else
			put_result(&r->body, of, result, &first);
	}
	buf_text(&r->body, "]");
	if (!dry_run)
		put_chain(&r->body, first);
	buf_text(&r->body, "}");
	if (!whole || r->body.err != ERR_OK)
		reply_json(r, 503, NULL);
}
