#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "token_private.h"

static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
static const uint8_t p384[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
static const uint8_t p521[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23};
static const uint8_t ed25519_name[] = {
	0x13, 0x0c, 'e', 'd', 'w', 'a', 'r', 'd', 's', '2', '5', '5', '1', '9'};
static const uint8_t ed25519_oid[] = {0x06, 0x03, 0x2b, 0x65, 0x70};

static const struct token_curve curves[] = {
	{KEY_EC_P256, CKK_EC, p256, sizeof p256, 64},
	{KEY_EC_P384, CKK_EC, p384, sizeof p384, 96},
	{KEY_EC_P521, CKK_EC, p521, sizeof p521, 132},
	{KEY_ED25519, CKK_EC_EDWARDS, ed25519_name, sizeof ed25519_name, 64},
	{KEY_ED25519, CKK_EC_EDWARDS, ed25519_oid, sizeof ed25519_oid, 64},
};

const struct token_curve *curve_of_type(enum key_type type)
{
	for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
		if (curves[i].type == type)
			return &curves[i];
	return NULL;
}

const struct token_curve *curve_of_params(CK_KEY_TYPE key_type, const uint8_t *params, size_t len)
{
	for (size_t i = 0; i < sizeof curves / sizeof *curves; i++)
		if (curves[i].key_type == key_type && curves[i].params_len == len &&
			memcmp(curves[i].params, params, len) == 0)
			return &curves[i];
	return NULL;
}

CK_RV
attribute_read(struct token *t, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *value,
	size_t size, size_t *len)
{
	CK_ATTRIBUTE a = {type, value, size};
	CK_RV rv = t->p11->C_GetAttributeValue(t->keeper, object, &a, 1);

	if (rv == CKR_OK && a.ulValueLen > size) /* CK_UNAVAILABLE_INFORMATION, or nonsense */
		rv = CKR_ATTRIBUTE_TYPE_INVALID;
	*len = rv == CKR_OK ? a.ulValueLen : 0;
	return rv;
}

/* Does this code say something else than that the attribute is unknown or not to be read? */
static bool attribute_trouble(CK_RV rv)
{
	return rv != CKR_OK && rv != CKR_ATTRIBUTE_TYPE_INVALID && rv != CKR_ATTRIBUTE_SENSITIVE &&
	       rv != CKR_ATTRIBUTE_VALUE_INVALID && rv != CKR_BUFFER_TOO_SMALL &&
	       rv != CKR_FUNCTION_NOT_SUPPORTED;
}

enum err objects_find(struct token *t, CK_ATTRIBUTE *template, CK_ULONG n, CK_OBJECT_HANDLE *out,
	CK_ULONG max, CK_ULONG *count, struct refusal *why)
{
	CK_ULONG got = 1;
	CK_RV rv = t->p11->C_FindObjectsInit(t->keeper, template, n);

	*count = 0;
	if (rv != CKR_OK)
		return token_refuse(why, "C_FindObjectsInit", rv);
	while (rv == CKR_OK && *count < max && got > 0) {
		rv = t->p11->C_FindObjects(t->keeper, out + *count, max - *count, &got);
		if (rv == CKR_OK)
			*count += got;
	}
	t->p11->C_FindObjectsFinal(t->keeper);
	return rv == CKR_OK ? ERR_OK : token_refuse(why, "C_FindObjects", rv);
}

/* What a key is: value is CKA_MODULUS of an RSA key, CKA_EC_PARAMS of another. */
static enum err key_of(CK_KEY_TYPE type, const uint8_t *value, size_t len, struct token_key *key,
	struct refusal *why)
{
	const struct token_curve *curve;

	if (type == CKK_RSA) {
		for (; len > 0 && *value == 0; value++)
			len--;
		key->type = KEY_RSA;
		key->signature_len = len;
		return ERR_OK;
	}
	curve = curve_of_params(type, value, len);
	if (curve == NULL)
		return refuse(why, ERR_CERT_KEY, "uri",
			"the key's type or curve can't sign delegated credentials");
	key->type = curve->type;
	key->signature_len = curve->signature_len;
	return ERR_OK;
}

static enum err key_facts(struct token *t, struct token_key *key, struct refusal *why)
{
	CK_KEY_TYPE type = 0;
	uint8_t value[TOKEN_SIGNATURE_MAX];
	size_t len;
	CK_RV rv = attribute_read(t, key->handle, CKA_KEY_TYPE, &type, sizeof type, &len);

	if (rv != CKR_OK)
		return token_refuse(why, "CKA_KEY_TYPE", rv);
	rv = attribute_read(t, key->handle, type == CKK_RSA ? CKA_MODULUS : CKA_EC_PARAMS, value,
		sizeof value, &len);
	if (rv != CKR_OK)
		return token_refuse(why, type == CKK_RSA ? "CKA_MODULUS" : "CKA_EC_PARAMS", rv);
	return key_of(type, value, len, key, why);
}

/* The handle of the one key that a URI names. With keeper_lock. */
static enum err handle_find(struct token *t, const struct token_index *x, const char *text,
	struct token_key *key, struct refusal *why)
{
	CK_OBJECT_CLASS object_class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template[3];
	CK_OBJECT_HANDLE found[2];
	CK_ULONG count = 0, n;
	P11KitUri *uri;
	enum err e = uri_parse(&uri, text, true, why);

	if (e != ERR_OK)
		return e;
	if (!p11_kit_uri_match_token_info(uri, &t->info)) {
		p11_kit_uri_free(uri);
		return refuse(why, ERR_KEY_MISSING, "uri", "%s names another token than %s", text,
			t->facts.label);
	}
	n = uri_template(uri, &object_class, template);
	if (x != NULL)
		count = index_find(x, template, n, found);
	else
		e = objects_find(t, template, n, found, 2, &count, why);
	if (e == ERR_OK && count == 0)
		e = refuse(why, ERR_KEY_MISSING, "uri", "%s: no private key on token %s", text,
			t->facts.label);
	else if (e == ERR_OK && count > 1)
		e = refuse(why, ERR_KEY_AMBIGUOUS, "uri",
			"%s: several private keys on token %s; add id=", text, t->facts.label);
	else if (e == ERR_OK)
		key->handle = found[0];
	p11_kit_uri_free(uri);
	return e;
}

enum err token_key_find(
	struct token *t, const char *uri, struct token_key *key, struct refusal *why)
{
	enum err e;

	keeper_lock(t);
	e = handle_find(t, NULL, uri, key, why);
	if (e == ERR_OK)
		e = key_facts(t, key, why);
	keeper_unlock(t);
	return e;
}

/* What a delegation key must be. `unknown`: the verdict when the module does not know the
 * attribute; `waivable`: accept_weak_key may name it. */
static const struct rule {
	CK_ATTRIBUTE_TYPE type;
	const char *name;
	CK_BBOOL want;
	enum token_verdict unknown;
	bool waivable;
} rules_of_a_key[] = {
	{CKA_TOKEN, "token", CK_TRUE, VERDICT_REFUSED, false},
	{CKA_PRIVATE, "private", CK_TRUE, VERDICT_REFUSED, false},
	{CKA_SIGN, "sign", CK_TRUE, VERDICT_REFUSED, false},
	{CKA_SENSITIVE, "sensitive", CK_TRUE, VERDICT_REFUSED, true},
	{CKA_EXTRACTABLE, "extractable", CK_FALSE, VERDICT_REFUSED, true},
	{CKA_ALWAYS_SENSITIVE, "always_sensitive", CK_TRUE, VERDICT_REFUSED, true},
	{CKA_NEVER_EXTRACTABLE, "never_extractable", CK_TRUE, VERDICT_REFUSED, true},
	{CKA_DECRYPT, "decrypt", CK_FALSE, VERDICT_OK, true},
	{CKA_UNWRAP, "unwrap", CK_FALSE, VERDICT_OK, true},
	{CKA_DERIVE, "derive", CK_FALSE, VERDICT_OK, true},
	{CKA_SIGN_RECOVER, "sign_recover", CK_FALSE, VERDICT_OK, true},
	{CKA_ALWAYS_AUTHENTICATE, "always_authenticate", CK_FALSE, VERDICT_OK, false},
	{CKA_LOCAL, "local", CK_TRUE, VERDICT_NOTE, true},
	{CKA_MODIFIABLE, "modifiable", CK_FALSE, VERDICT_NOTE, true},
	{CKA_COPYABLE, "copyable", CK_FALSE, VERDICT_NOTE, true},
};

struct judgement {
	const struct token_key_rules *rules;
	char *weak;
	size_t size;
	struct refusal *why;
	enum err err; /* of the first attribute that was refused */
};

static bool accepted(const struct token_key_rules *rules, const char *name)
{
	for (size_t i = 0; i < rules->accept_count; i++)
		if (strcmp(rules->accept[i], name) == 0)
			return true;
	return false;
}

static void judge(struct judgement *j, const char *name, const char *value, const char *wanted,
	enum token_verdict v, bool waivable)
{
	size_t used = strlen(j->weak);

	if (v == VERDICT_REFUSED && waivable && accepted(j->rules, name))
		v = VERDICT_ACCEPTED;
	if (v == VERDICT_ACCEPTED || v == VERDICT_NOTE)
		snprintf(j->weak + used, j->size - used, "%s%s %s", used > 0 ? ", " : "", name,
			value);
	if (v == VERDICT_REFUSED && j->err == ERR_OK)
		j->err = refuse(j->why, ERR_KEY_WEAK, "accept_weak_key",
			"attribute %s of the key is %s, it must be %s%s", name, value, wanted,
			waivable ? "; make a new key with dcsign keys generate, or name the "
				   "attribute in accept_weak_key"
				 : "; make a new key with dcsign keys generate");
	if (j->rules->line != NULL)
		j->rules->line(j->rules->arg, name, value, v);
}

/* What was read of one attribute; known: the module has it. */
struct flag {
	bool known;
	CK_BBOOL value;
};

static void judge_flag(struct judgement *j, const struct flag *flag, const struct rule *r)
{
	CK_BBOOL value = flag->value;
	const char *wanted = r->want ? "true" : "false";

	if (!flag->known)
		judge(j, r->name, "unknown", wanted, r->unknown, r->waivable);
	else
		judge(j, r->name, value ? "true" : "false", wanted,
			!value == !r->want ? VERDICT_OK : VERDICT_REFUSED, r->waivable);
}

#define RULES (sizeof rules_of_a_key / sizeof *rules_of_a_key)

/* What is to be judged of a key. */
struct reading {
	struct flag flag[RULES];
	CK_MECHANISM_TYPE mechanism[64];
	size_t mechanisms_len; /* octets */
	CK_RV mechanisms_rv;   /* what the module said when it was asked for them */
};

static void judge_mechanisms(
	struct judgement *j, const struct reading *r, const struct token_key *key)
{
	CK_MECHANISM_TYPE ours = mechanism_for(key->type);
	CK_RV rv = r->mechanisms_rv;
	size_t n = r->mechanisms_len / sizeof *r->mechanism;
	bool other = rv == CKR_BUFFER_TOO_SMALL, has_ours = false;
	char text[64];

	for (size_t i = 0; i < n; i++) {
		has_ours = has_ours || r->mechanism[i] == ours;
		other = other || r->mechanism[i] != ours;
	}
	snprintf(text, sizeof text, "%s",
		rv != CKR_OK && rv != CKR_BUFFER_TOO_SMALL ? "unknown"
		: n == 0 && !other			   ? "without limit"
		: other					   ? "wider than what is used"
		: has_ours				   ? "the one that is used"
							   : "without the one that is used");
	judge(j, "allowed_mechanisms", text, "the one that is used",
		other	   ? VERDICT_REFUSED
		: has_ours ? VERDICT_OK
			   : VERDICT_NOTE,
		true);
}

static enum err judge_all(const struct reading *r, const struct token_key *key,
	const struct token_key_rules *rules, char *weak, size_t size, struct refusal *why)
{
	struct judgement j = {.rules = rules, .weak = weak, .size = size, .why = why};

	for (size_t i = 0; i < RULES; i++)
		judge_flag(&j, &r->flag[i], &rules_of_a_key[i]);
	judge_mechanisms(&j, r, key);
	return j.err;
}

/* The flags in one call; one by one when the module does not know them all, which spoils the code
 * of the whole call. The code of the first that is no answer about the attribute. */
static CK_RV flags_read(struct token *t, const struct token_key *key, struct flag flag[RULES])
{
	CK_ATTRIBUTE a[RULES];
	size_t len;
	CK_RV rv;

	for (size_t i = 0; i < RULES; i++) {
		flag[i] = (struct flag){true, CK_FALSE};
		a[i] = (CK_ATTRIBUTE){rules_of_a_key[i].type, &flag[i].value, sizeof(CK_BBOOL)};
	}
	rv = t->p11->C_GetAttributeValue(t->keeper, key->handle, a, RULES);
	for (size_t i = 0; rv == CKR_OK && i < RULES; i++)
		if (a[i].ulValueLen != sizeof(CK_BBOOL))
			rv = CKR_ATTRIBUTE_TYPE_INVALID;
	if (rv == CKR_OK)
		return CKR_OK;
	for (size_t i = 0; i < RULES; i++) {
		rv = attribute_read(t, key->handle, rules_of_a_key[i].type, &flag[i].value,
			sizeof(CK_BBOOL), &len);
		flag[i].known = rv == CKR_OK && len == sizeof(CK_BBOOL);
		if (attribute_trouble(rv))
			return rv;
	}
	return CKR_OK;
}

/* With keeper_lock. */
static enum err check(struct token *t, const struct token_key *key,
	const struct token_key_rules *rules, char *weak, size_t size, struct refusal *why)
{
	struct reading r;
	CK_RV rv = flags_read(t, key, r.flag);

	if (rv == CKR_OK) {
		r.mechanisms_rv = attribute_read(t, key->handle, CKA_ALLOWED_MECHANISMS,
			r.mechanism, sizeof r.mechanism, &r.mechanisms_len);
		rv = attribute_trouble(r.mechanisms_rv) ? r.mechanisms_rv : CKR_OK;
	}
	return rv == CKR_OK ? judge_all(&r, key, rules, weak, size, why)
			    : token_refuse(why, "C_GetAttributeValue", rv);
}

enum err token_key_check(struct token *t, const struct token_key *key,
	const struct token_key_rules *rules, char *weak, size_t size, struct refusal *why)
{
	enum err e;

	weak[0] = '\0';
	keeper_lock(t);
	e = check(t, key, rules, weak, size, why);
	keeper_unlock(t);
	return e;
}

/* Everything about an EC key in one call; false: the module does not answer so. */
static bool all_read(
	struct token *t, struct token_key *key, struct reading *r, struct refusal *why, enum err *e)
{
	CK_KEY_TYPE type = CKK_RSA;
	uint8_t params[64];
	CK_ATTRIBUTE a[RULES + 3];
	bool ok;

	for (size_t i = 0; i < RULES; i++) {
		r->flag[i] = (struct flag){true, CK_FALSE};
		a[i] = (CK_ATTRIBUTE){rules_of_a_key[i].type, &r->flag[i].value, sizeof(CK_BBOOL)};
	}
	a[RULES] = (CK_ATTRIBUTE){CKA_KEY_TYPE, &type, sizeof type};
	a[RULES + 1] = (CK_ATTRIBUTE){CKA_EC_PARAMS, params, sizeof params};
	a[RULES + 2] = (CK_ATTRIBUTE){CKA_ALLOWED_MECHANISMS, r->mechanism, sizeof r->mechanism};
	ok = t->p11->C_GetAttributeValue(t->keeper, key->handle, a, RULES + 3) == CKR_OK;
	for (size_t i = 0; ok && i < RULES; i++)
		ok = a[i].ulValueLen == sizeof(CK_BBOOL);
	if (!ok || type == CKK_RSA || a[RULES].ulValueLen != sizeof type ||
		a[RULES + 1].ulValueLen > sizeof params ||
		a[RULES + 2].ulValueLen > sizeof r->mechanism)
		return false;
	r->mechanisms_rv = CKR_OK;
	r->mechanisms_len = a[RULES + 2].ulValueLen;
	*e = key_of(type, params, a[RULES + 1].ulValueLen, key, why);
	return true;
}

enum err token_key_look(struct token *t, const struct token_index *x, const char *uri,
	const struct token_key_rules *rules, struct token_key *key, char *weak, size_t size,
	struct refusal *why)
{
	struct reading r;
	enum err e;

	weak[0] = '\0';
	keeper_lock(t);
	e = handle_find(t, x, uri, key, why);
	if (e == ERR_OK && all_read(t, key, &r, why, &e)) {
		e = e == ERR_OK ? judge_all(&r, key, rules, weak, size, why) : e;
	} else if (e == ERR_OK) {
		e = key_facts(t, key, why);
		e = e == ERR_OK ? check(t, key, rules, weak, size, why) : e;
	}
	keeper_unlock(t);
	return e;
}
