#include "token_keygen.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <string.h>

#include "token_private.h"

#define TEMPLATE_MAX   24
#define MECHANISMS_MAX 1024

static CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

/* What every private key has, and what a token may refuse to know, in the order in which it is
 * given up. */
static const CK_ATTRIBUTE must_have[] = {
	{CKA_TOKEN, &yes, sizeof yes},
	{CKA_PRIVATE, &yes, sizeof yes},
	{CKA_SENSITIVE, &yes, sizeof yes},
	{CKA_EXTRACTABLE, &no, sizeof no},
	{CKA_SIGN, &yes, sizeof yes},
	{CKA_DECRYPT, &no, sizeof no},
	{CKA_UNWRAP, &no, sizeof no},
	{CKA_SIGN_RECOVER, &no, sizeof no},
	{CKA_DERIVE, &no, sizeof no},
};
static const struct {
	const char *name;
	CK_ATTRIBUTE attribute; /* pValue NULL: the list of mechanisms */
} may_have[] = {
	{"modifiable", {CKA_MODIFIABLE, &no, sizeof no}},
	{"allowed_mechanisms", {CKA_ALLOWED_MECHANISMS, NULL, sizeof(CK_MECHANISM_TYPE)}},
	{"copyable", {CKA_COPYABLE, &no, sizeof no}},
};
#define MAY_HAVE (sizeof may_have / sizeof *may_have)

struct generation {
	struct token *token;
	CK_SESSION_HANDLE session;
	CK_MECHANISM mechanism;
	CK_MECHANISM_TYPE allowed;
	CK_ATTRIBUTE public[8];
	CK_ULONG public_count;
	CK_ATTRIBUTE named[2]; /* label and id */
};

static CK_RV generate(struct generation *g, const bool kept[MAY_HAVE], CK_OBJECT_HANDLE *private)
{
	CK_ATTRIBUTE t[TEMPLATE_MAX];
	CK_OBJECT_HANDLE public;
	CK_ULONG n = 0;

	for (size_t i = 0; i < sizeof must_have / sizeof *must_have; i++)
		t[n++] = must_have[i];
	for (size_t i = 0; i < MAY_HAVE; i++)
		if (kept[i]) {
			t[n] = may_have[i].attribute;
			if (t[n].pValue == NULL)
				t[n].pValue = &g->allowed;
			n++;
		}
	t[n++] = g->named[0];
	t[n++] = g->named[1];
	return g->token->p11->C_GenerateKeyPair(
		g->session, &g->mechanism, g->public, g->public_count, t, n, &public, private);
}

/* Codes that say something else than that an attribute is not taken: asking again is no use. */
static bool final_code(CK_RV rv)
{
	static const CK_RV codes[] = {CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID,
		CKR_FUNCTION_NOT_SUPPORTED, CKR_KEY_SIZE_RANGE, CKR_DOMAIN_PARAMS_INVALID,
		CKR_TOKEN_WRITE_PROTECTED, CKR_TOKEN_NOT_PRESENT, CKR_DEVICE_ERROR,
		CKR_DEVICE_MEMORY, CKR_DEVICE_REMOVED, CKR_HOST_MEMORY, CKR_SESSION_HANDLE_INVALID,
		CKR_SESSION_CLOSED, CKR_SESSION_READ_ONLY, CKR_SESSION_READ_ONLY_EXISTS,
		CKR_USER_NOT_LOGGED_IN, CKR_CRYPTOKI_NOT_INITIALIZED};

	for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
		if (codes[i] == rv)
			return true;
	return false;
}

/* All attributes that narrow the key; then all but one, all but two, ...: what the token refuses is
 * found attribute by attribute, and nothing else is left out. */
static CK_RV generate_as_narrow_as_possible(
	struct generation *g, const struct token_new_key *k, CK_OBJECT_HANDLE *private)
{
	bool kept[MAY_HAVE];
	CK_RV rv = CKR_GENERAL_ERROR, refused = CKR_OK;
	unsigned left_out = 0;

	for (int out = 0; out <= (int)MAY_HAVE && rv != CKR_OK && !final_code(rv); out++)
		for (unsigned set = 0; set < 1u << MAY_HAVE && rv != CKR_OK; set++) {
			if (__builtin_popcount(set) != out)
				continue;
			for (size_t i = 0; i < MAY_HAVE; i++)
				kept[i] = (set >> i & 1) == 0;
			rv = generate(g, kept, private);
			left_out = set;
			if (set == 0)
				refused = rv;
			if (final_code(rv))
				return rv;
		}
	for (size_t i = 0; i < MAY_HAVE && rv == CKR_OK; i++)
		if (left_out >> i & 1)
			k->dropped(k->arg, may_have[i].name, p11_kit_strerror(refused));
	return rv;
}

/* tpm2-pkcs11 has facts about mechanisms that its TPM does not do: the list is right. */
static bool mechanism_listed(const struct token *t, CK_MECHANISM_TYPE m)
{
	CK_MECHANISM_TYPE list[MECHANISMS_MAX];
	CK_ULONG n = MECHANISMS_MAX;

	if (t->p11->C_GetMechanismList(t->slot_id, list, &n) != CKR_OK)
		return true; /* can't be known */
	for (CK_ULONG i = 0; i < n; i++)
		if (list[i] == m)
			return true;
	return false;
}

enum err token_type_offered(
	const struct token *t, enum key_type type, unsigned bits, struct refusal *why)
{
	CK_MECHANISM_TYPE m = mechanism_for(type);
	CK_MECHANISM_INFO info;
	CK_RV rv = mechanism_listed(t, m) ? t->p11->C_GetMechanismInfo(t->slot_id, m, &info)
					  : CKR_MECHANISM_INVALID;

	if (rv == CKR_MECHANISM_INVALID || (rv == CKR_OK && !(info.flags & CKF_SIGN)))
		return refuse(why, ERR_CERT_KEY, "type",
			"the token does not sign with the mechanism 0x%lx, which %s keys need", m,
			key_type_name(type));
	if (rv == CKR_OK && bits > 0 && info.ulMaxKeySize > 0 &&
		(bits < info.ulMinKeySize || bits > info.ulMaxKeySize))
		return refuse(why, ERR_CERT_KEY, "type",
			"the token signs with keys of %lu to %lu bits", info.ulMinKeySize,
			info.ulMaxKeySize);
	return ERR_OK; /* a token that can't tell has to try */
}

static CK_MECHANISM generation_mechanism(enum key_type type)
{
	return (CK_MECHANISM){type == KEY_RSA	    ? CKM_RSA_PKCS_KEY_PAIR_GEN
			      : type == KEY_ED25519 ? CKM_EC_EDWARDS_KEY_PAIR_GEN
						    : CKM_EC_KEY_PAIR_GEN,
		NULL, 0};
}

static enum err label_is_free(struct token *t, P11KitUri *uri, struct refusal *why)
{
	CK_OBJECT_CLASS object_class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template[3];
	CK_OBJECT_HANDLE found;
	CK_ULONG count;
	enum err e;

	keeper_lock(t);
	e = objects_find(
		t, template, uri_template(uri, &object_class, template), &found, 1, &count, why);
	keeper_unlock(t);
	if (e == ERR_OK && count > 0)
		return refuse(why, ERR_KEY_AMBIGUOUS, "uri",
			"the token has such a key already; nothing was made");
	return e;
}

static enum err generate_named(struct token *t, const struct token_new_key *k, P11KitUri *uri,
	const CK_ATTRIBUTE *label, struct refusal *why)
{
	static uint8_t exponent[] = {1, 0, 1};
	struct generation g = {.token = t,
		.mechanism = generation_mechanism(k->type),
		.allowed = mechanism_for(k->type)};
	const struct token_curve *curve = curve_of_type(k->type);
	const CK_ATTRIBUTE *id = p11_kit_uri_get_attribute(uri, CKA_ID);
	CK_ULONG bits = k->bits;
	CK_OBJECT_HANDLE private;
	uint8_t random[8];
	CK_RV rv;

	if (curve == NULL && k->type != KEY_RSA)
		return refuse(why, ERR_CERT_KEY, "type", "%s", "");
	if (RAND_bytes(random, sizeof random) != 1)
		return refuse(why, ERR_CRYPTO, "", "%s", "");
	g.named[0] = *label;
	g.named[1] = id != NULL ? *id : (CK_ATTRIBUTE){CKA_ID, random, sizeof random};
	g.public[g.public_count++] = (CK_ATTRIBUTE){CKA_TOKEN, &yes, sizeof yes};
	g.public[g.public_count++] = g.named[0];
	g.public[g.public_count++] = g.named[1];
	if (curve != NULL) {
		g.public[g.public_count++] = (CK_ATTRIBUTE){
			CKA_EC_PARAMS, (void *)(uintptr_t)curve->params, curve->params_len};
	} else {
		g.public[g.public_count++] = (CK_ATTRIBUTE){CKA_MODULUS_BITS, &bits, sizeof bits};
		g.public[g.public_count++] =
			(CK_ATTRIBUTE){CKA_PUBLIC_EXPONENT, exponent, sizeof exponent};
	}
	rv = t->p11->C_OpenSession(
		t->slot_id, CKF_SERIAL_SESSION | CKF_RW_SESSION, NULL, NULL, &g.session);
	if (rv != CKR_OK)
		return token_refuse(why, "C_OpenSession", rv);
	rv = generate_as_narrow_as_possible(&g, k, &private);
	t->p11->C_CloseSession(g.session);
	return rv == CKR_OK ? ERR_OK : token_refuse(why, "C_GenerateKeyPair", rv);
}

enum err token_key_generate(struct token *t, const struct token_new_key *k, struct refusal *why)
{
	const CK_ATTRIBUTE *label;
	P11KitUri *uri;
	enum err e = uri_parse(&uri, k->uri, true, why);

	if (e != ERR_OK)
		return e;
	label = p11_kit_uri_get_attribute(uri, CKA_LABEL);
	if (label == NULL || label->ulValueLen == 0)
		e = refuse(why, ERR_FORMAT, "uri", "object= must name the new key");
	if (e == ERR_OK)
		e = token_type_offered(t, k->type, k->bits, why);
	if (e == ERR_OK)
		e = label_is_free(t, uri, why);
	if (e == ERR_OK)
		e = generate_named(t, k, uri, label, why);
	p11_kit_uri_free(uri);
	return e;
}

static EVP_PKEY *key_from(const char *type, OSSL_PARAM_BLD *build)
{
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY *key = NULL;

	if (ctx != NULL && params != NULL && EVP_PKEY_fromdata_init(ctx) == 1 &&
		EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
		key = NULL;
	OSSL_PARAM_free(params);
	EVP_PKEY_CTX_free(ctx);
	return key;
}

static EVP_PKEY *ec_key(const struct token_curve *curve, const uint8_t *point, size_t len)
{
	static const char *const groups[] = {
		[KEY_EC_P256] = "P-256", [KEY_EC_P384] = "P-384", [KEY_EC_P521] = "P-521"};
	OSSL_PARAM_BLD *build;
	EVP_PKEY *key = NULL;

	if (curve->type == KEY_ED25519)
		return EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, point, len);
	build = OSSL_PARAM_BLD_new();
	if (build != NULL &&
		OSSL_PARAM_BLD_push_utf8_string(
			build, OSSL_PKEY_PARAM_GROUP_NAME, groups[curve->type], 0) == 1 &&
		OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, len) == 1)
		key = key_from("EC", build);
	OSSL_PARAM_BLD_free(build);
	return key;
}

static EVP_PKEY *rsa_key(const uint8_t *n, size_t n_len, const uint8_t *e, size_t e_len)
{
	BIGNUM *modulus = BN_bin2bn(n, (int)n_len, NULL),
	       *exponent = BN_bin2bn(e, (int)e_len, NULL);
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY *key = NULL;

	if (modulus != NULL && exponent != NULL && build != NULL &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, modulus) == 1 &&
		OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, exponent) == 1)
		key = key_from("RSA", build);
	OSSL_PARAM_BLD_free(build);
	BN_free(modulus);
	BN_free(exponent);
	return key;
}

/* CKA_EC_POINT is the point in an OCTET STRING of short or one-octet long length. */
static EVP_PKEY *point_key(const struct token_curve *curve, const uint8_t *value, size_t len)
{
	size_t head = len > 2 && value[1] == 0x81 ? 3 : 2;

	if (curve == NULL || len <= head || value[0] != 0x04 || value[head - 1] != len - head)
		return NULL;
	return ec_key(curve, value + head, len - head);
}

static EVP_PKEY *public_read(struct token *t, CK_OBJECT_HANDLE object)
{
	uint8_t a[TOKEN_SIGNATURE_MAX], b[TOKEN_SIGNATURE_MAX];
	CK_KEY_TYPE type;
	size_t a_len, b_len;

	if (attribute_read(t, object, CKA_KEY_TYPE, &type, sizeof type, &a_len) != CKR_OK)
		return NULL;
	if (attribute_read(t, object, type == CKK_RSA ? CKA_MODULUS : CKA_EC_PARAMS, a, sizeof a,
		    &a_len) != CKR_OK ||
		attribute_read(t, object, type == CKK_RSA ? CKA_PUBLIC_EXPONENT : CKA_EC_POINT, b,
			sizeof b, &b_len) != CKR_OK)
		return NULL;
	return type == CKK_RSA ? rsa_key(a, a_len, b, b_len)
			       : point_key(curve_of_params(type, a, a_len), b, b_len);
}

enum err token_key_public(struct token *t, const char *text, EVP_PKEY **out, struct refusal *why)
{
	CK_OBJECT_CLASS object_class = CKO_PUBLIC_KEY;
	CK_ATTRIBUTE template[3];
	CK_OBJECT_HANDLE found[2];
	CK_ULONG count = 0;
	P11KitUri *uri;
	enum err e = uri_parse(&uri, text, true, why);

	*out = NULL;
	if (e != ERR_OK)
		return e;
	keeper_lock(t);
	e = objects_find(
		t, template, uri_template(uri, &object_class, template), found, 2, &count, why);
	if (e == ERR_OK && count == 1)
		*out = public_read(t, found[0]);
	keeper_unlock(t);
	p11_kit_uri_free(uri);
	if (e == ERR_OK && *out == NULL)
		e = refuse(why, count == 0 ? ERR_KEY_MISSING : ERR_KEY_AMBIGUOUS, "uri",
			"%lu public keys of this name on the token, one that can be read is needed",
			count);
	return e;
}

static const char *type_text(CK_KEY_TYPE type, const uint8_t *params, size_t len)
{
	const struct token_curve *curve = curve_of_params(type, params, len);

	return type == CKK_RSA ? "RSA" : curve == NULL ? "other" : key_type_name(curve->type);
}

static void list_one(struct token *t, CK_OBJECT_HANDLE object, struct token_listed *out)
{
	uint8_t value[128];
	CK_KEY_TYPE type = CK_UNAVAILABLE_INFORMATION;
	size_t len;

	memset(out, 0, sizeof *out);
	attribute_read(t, object, CKA_KEY_TYPE, &type, sizeof type, &len);
	attribute_read(t, object, CKA_EC_PARAMS, value, sizeof value, &len);
	out->type = type_text(type, value, len);
	attribute_read(t, object, CKA_LABEL, value, sizeof value - 1, &len);
	for (size_t i = 0; i < len; i++)
		out->label[i] = (char)(value[i] >= 0x20 && value[i] < 0x7f ? value[i] : '?');
	attribute_read(t, object, CKA_ID, value, sizeof value, &len);
	hex_encode(out->id, value, len < 32 ? len : 32);
}

enum err token_key_list(struct token *t, void (*each)(void *arg, const struct token_listed *key),
	void *arg, struct refusal *why)
{
	static CK_OBJECT_HANDLE found[4096];
	CK_OBJECT_CLASS object_class = CKO_PRIVATE_KEY;
	CK_ATTRIBUTE template = {CKA_CLASS, &object_class, sizeof object_class};
	CK_ULONG count;
	enum err e;

	keeper_lock(t);
	e = objects_find(t, &template, 1, found, sizeof found / sizeof *found, &count, why);
	for (CK_ULONG i = 0; e == ERR_OK && i < count; i++) {
		struct token_listed key;

		list_one(t, found[i], &key);
		each(arg, &key);
	}
	keeper_unlock(t);
	return e;
}
