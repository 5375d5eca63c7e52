#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pem.h"
#include "policy.h"
#include "request_private.h"

struct reading {
	struct request *request;
	struct refusal *why;
};

static enum err bad(const struct reading *r, const char *member, const char *expected)
{
	return refuse(r->why, ERR_MALFORMED, member, "%s: expected %s", member, expected);
}

/* The text of a string member without NUL inside (jansson refuses those), or NULL. */
static const char *text_of(const json_t *value, size_t *len)
{
	*len = json_string_length(value);
	return json_string_value(value);
}

static enum err take_key(const struct reading *r, const char *member, const json_t *value,
	enum msg_proof proof, const char *label, const char *expected)
{
	struct request *q = r->request;
	size_t len;
	const char *text = text_of(value, &len);
	enum err err;

	if (text == NULL)
		return bad(r, member, expected);
	if (q->spki.len != 0)
		return refuse(
			r->why, ERR_MALFORMED, member, "give either csr or public_key, not both");
	err = proof == PROOF_NONE && !pem_begins(text, len)
		      ? base64_decode(&q->spki, text, len)
		      : pem_decode(&q->spki, label, text, len);
	if (err == ERR_NOMEM)
		return refuse(r->why, err, member, "%s", err_text(err));
	if (err != ERR_OK || q->spki.len == 0)
		return bad(r, member, expected);
	q->item.proof = (uint8_t)proof;
	q->item.spki.at = q->spki.octets;
	q->item.spki.len = q->spki.len;
	return ERR_OK;
}

static enum err take_csr(const struct reading *r, const char *member, const json_t *value)
{
	return take_key(r, member, value, PROOF_CSR, "CERTIFICATE REQUEST",
		"a PKCS#10 request as strict PEM (RFC 7468: CERTIFICATE REQUEST, lines of 64 "
		"characters, LF), at most 8192 octets of DER");
}

static enum err take_public_key(const struct reading *r, const char *member, const json_t *value)
{
	return take_key(r, member, value, PROOF_NONE, "PUBLIC KEY",
		"a SubjectPublicKeyInfo as strict PEM (RFC 7468: PUBLIC KEY, lines of 64 "
		"characters, LF) or as base64 of its DER, at most 8192 octets");
}

static enum err take_algorithm(const struct reading *r, const char *member, const json_t *value)
{
	const char *name = json_string_value(value);
	const struct scheme *scheme;

	if (name == NULL)
		return bad(r, member, "the name of a TLS SignatureScheme");
	scheme = scheme_by_name(name);
	if (scheme == NULL)
		return refuse(r->why, ERR_ALGORITHM, member,
			"not a SignatureScheme that a delegated credential can name here; GET the "
			"key "
			"to see what its policy takes");
	r->request->item.algorithm = scheme->code;
	return ERR_OK;
}

static enum err take_role(const struct reading *r, const char *member, const json_t *value)
{
	const char *name = json_string_value(value);
	enum dc_role role;

	if (name == NULL)
		return bad(r, member, "\"server\" or \"client\"");
	if (!dc_role_parse(name, &role))
		return refuse(r->why, ERR_ROLE, member, "a role is \"server\" or \"client\"");
	r->request->item.role = (uint8_t)role;
	return ERR_OK;
}

static enum err take_term(
	const struct reading *r, const char *member, enum policy_term term, int64_t value)
{
	if (r->request->item.term != TERM_DEFAULT)
		return refuse(r->why, ERR_MALFORMED, member,
			"give either lifetime or not_after, not both");
	r->request->item.term = (uint8_t)term;
	r->request->item.term_value = value;
	return ERR_OK;
}

static enum err take_lifetime(const struct reading *r, const char *member, const json_t *value)
{
	if (!json_is_integer(value) || json_integer_value(value) < 1)
		return bad(
			r, member, "a positive integer of seconds, without fraction or exponent");
	return take_term(r, member, TERM_LIFETIME, json_integer_value(value));
}

static bool read_time(const json_t *value, int64_t *t)
{
	const char *text = json_string_value(value);

	return text != NULL && time_parse(text, t);
}

#define TIME_EXPECTED "a time in UTC as RFC 3339 with whole seconds, 2030-01-31T23:59:59Z"

static enum err take_not_after(const struct reading *r, const char *member, const json_t *value)
{
	int64_t t;

	if (!read_time(value, &t))
		return bad(r, member, TIME_EXPECTED);
	return take_term(r, member, TERM_NOT_AFTER, t);
}

static enum err take_not_before(const struct reading *r, const char *member, const json_t *value)
{
	if (!read_time(value, &r->request->item.not_before))
		return bad(r, member, TIME_EXPECTED);
	r->request->item.has_not_before = 1;
	return ERR_OK;
}

static enum err take_reference(const struct reading *r, const char *member, const json_t *value)
{
	size_t len;
	const char *text = text_of(value, &len);

	if (text == NULL || len == 0 || len > REFERENCE_MAX)
		return bad(r, member, "a text of 1 to 256 octets");
	memcpy(r->request->reference, text, len + 1);
	r->request->item.reference.at = (const uint8_t *)r->request->reference;
	r->request->item.reference.len = len;
	return ERR_OK;
}

static const struct member {
	const char *name;
	enum err (*take)(const struct reading *r, const char *member, const json_t *value);
} members[] = {
	{"csr", take_csr},
	{"public_key", take_public_key},
	{"algorithm", take_algorithm},
	{"role", take_role},
	{"lifetime", take_lifetime},
	{"not_after", take_not_after},
	{"not_before", take_not_before},
	{"reference", take_reference},
};

static const struct member *find_member(const char *name)
{
	for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
		if (strcmp(members[i].name, name) == 0)
			return &members[i];
	return NULL;
}

/*
 * jansson reads -0 as the integer 0; nothing that we take may be written in two ways, so the octets
 * outside strings are searched for it.
 */
static bool has_minus_zero(const uint8_t *body, size_t len)
{
	bool inside = false;

	for (size_t i = 0; i < len; i++) {
		if (inside && body[i] == '\\')
			i++;
		else if (body[i] == '"')
			inside = !inside;
		else if (!inside && body[i] == '-' && i + 1 < len && body[i + 1] == '0')
			return true;
	}
	return false;
}

static enum err refuse_json(struct refusal *why, const json_error_t *error)
{
	static const struct {
		enum json_error_code code;
		const char *text;
	} texts[] = {
		{json_error_invalid_utf8, "not valid UTF-8"},
		{json_error_null_character, "a NUL character"},
		{json_error_null_byte_in_key, "a NUL character"},
		{json_error_duplicate_key, "a member that stands twice"},
		{json_error_numeric_overflow, "a number that is too large"},
		{json_error_end_of_input_expected, "something after the end of the object"},
		{json_error_premature_end_of_input, "the end before the object is complete"},
		{json_error_stack_overflow, "too many levels"},
	};
	const char *text = "not JSON";

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (texts[i].code == json_error_code(error))
			text = texts[i].text;
	return refuse(why, ERR_MALFORMED, "",
		"the body must be one JSON object: line %d, column %d: %s", error->line,
		error->column, text);
}

enum err request_load(json_t **out, const uint8_t *body, size_t len, struct refusal *why)
{
	json_error_t error;

	if (len == 0)
		return refuse(
			why, ERR_MALFORMED, "", "the body must be one JSON object: it is empty");
	*out = json_loadb((const char *)body, len, JSON_REJECT_DUPLICATES, &error);
	if (*out == NULL && json_error_code(&error) == json_error_out_of_memory)
		return refuse(why, ERR_NOMEM, "", "%s", err_text(ERR_NOMEM));
	if (*out == NULL)
		return refuse_json(why, &error);
	if (!json_is_object(*out))
		return refuse(why, ERR_MALFORMED, "", "the body must be one JSON object");
	if (has_minus_zero(body, len))
		return refuse(why, ERR_MALFORMED, "",
			"numbers are plain integers: -0 and -0... are not taken");
	return ERR_OK;
}

/* The name is the client's text: whole in the field or not at all, and last in the sentence, where
 * refuse() cuts it on a UTF-8 border. */
static enum err refuse_member(struct refusal *why, const char *name)
{
	return refuse(why, ERR_MALFORMED, strlen(name) < sizeof(why->field) ? name : "",
		"the members are csr, public_key, algorithm, role, lifetime, not_after, not_before "
		"and reference; there is none of the name %s",
		name);
}

enum err request_members(struct request *request, json_t *object, struct refusal *why)
{
	struct reading r = {.request = request, .why = why};
	const struct member *member;
	const char *name;
	json_t *value;
	enum err err;

	json_object_foreach(object, name, value)
	{
		member = find_member(name);
		if (member == NULL)
			return refuse_member(why, name);
		err = member->take(&r, name, value);
		if (err != ERR_OK)
			return err;
	}
	if (request->spki.len == 0)
		return refuse(why, ERR_MALFORMED, "csr",
			"csr (a PKCS#10 request in PEM) or public_key is missing");
	return ERR_OK;
}

enum err request_idempotency(const char *value, size_t most, struct refusal *why)
{
	size_t len = value != NULL ? strlen(value) : 1;
	bool good = len > 0 && len <= most;

	for (size_t i = 0; good && value != NULL && i < len; i++)
		good = value[i] >= 0x21 && value[i] <= 0x7e;
	if (good)
		return ERR_OK;
	return refuse(why, ERR_MALFORMED, "Idempotency-Key",
		"Idempotency-Key: expected 1 to %zu visible ASCII characters", most);
}

void request_begin(struct request *request, const char *key)
{
	memset(request, 0, sizeof(*request));
	request->spki = (struct buf)BUF_INIT(8192);
	request->item.role = DC_SERVER;
	request->item.term = TERM_DEFAULT;
	snprintf(request->item.key, sizeof(request->item.key), "%s", key);
}

enum err request_parse(struct request *request, const char *key, const char *idempotency,
	const uint8_t *body, size_t len, struct refusal *why)
{
	json_t *object = NULL;
	enum err err;

	request_begin(request, key);
	if (strlen(key) >= NAME_SIZE)
		return refuse(why, ERR_NO_KEY, "", "%s", err_text(ERR_NO_KEY));
	err = request_idempotency(idempotency, IDEMPOTENCY_SIZE - 1, why);
	if (err == ERR_OK && idempotency != NULL)
		memcpy(request->item.idempotency, idempotency, strlen(idempotency) + 1);
	if (err == ERR_OK)
		err = request_load(&object, body, len, why);
	if (err == ERR_OK)
		err = request_members(request, object, why);
	json_decref(object);
	return err;
}

void request_free(struct request *request)
{
	buf_free(&request->spki);
}

enum err reason_parse(
	char reason[HOLD_REASON_MAX + 1], const uint8_t *body, size_t len, struct refusal *why)
{
	json_t *object = NULL;
	enum err err = request_load(&object, body, len, why);
	size_t octets = 0;
	const char *text = NULL;

	if (err == ERR_OK && json_object_size(object) == 1)
		text = text_of(json_object_get(object, "reason"), &octets);
	if (err == ERR_OK && (text == NULL || octets == 0 || octets > HOLD_REASON_MAX))
		err = refuse(why, ERR_MALFORMED, "reason",
			"the one member is reason, a text of 1 to %d octets", HOLD_REASON_MAX);
	if (err == ERR_OK)
		memcpy(reason, text, octets + 1);
	json_decref(object);
	return err;
}
