#include "csr.h"

#include <ctype.h>
#include <openssl/bio.h>
#include <openssl/objects.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "pubkey.h"

#define TAKE_MS	   10000
#define SAN_OCTETS 8192
#define VALUE_SIZE 256

/* AlgorithmIdentifier parameters of RSASSA-PSS with SHA-256, MGF1 with SHA-256, salt of 32 octets
 * (RFC 4055). */
static const uint8_t pss_sha256[] = {0x30, 0x34, 0xa0, 0x0f, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86,
	0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0xa1, 0x1c, 0x30, 0x1a, 0x06, 0x09,
	0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x08, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86,
	0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01, 0x05, 0x00, 0xa2, 0x03, 0x02, 0x01, 0x20};

/* How the key signs its own request. */
static const struct {
	enum key_type type;
	uint16_t scheme;
	int nid;
} signers[] = {
	{KEY_EC_P256, SCHEME_ECDSA_P256, NID_ecdsa_with_SHA256},
	{KEY_EC_P384, SCHEME_ECDSA_P384, NID_ecdsa_with_SHA384},
	{KEY_EC_P521, SCHEME_ECDSA_P521, NID_ecdsa_with_SHA512},
	{KEY_ED25519, SCHEME_ED25519, NID_ED25519},
	{KEY_RSA, 0x0804, NID_rsassaPss},
};

/* One TYPE=value; returns what follows it, NULL when it is malformed. */
static const char *subject_part(X509_NAME *name, const char *at)
{
	char type[32], value[VALUE_SIZE];
	size_t n = strcspn(at, "="), len = 0;

	if (at[n] != '=' || n == 0 || n >= sizeof type)
		return NULL;
	memcpy(type, at, n);
	type[n] = '\0';
	for (at += n + 1; *at != '\0' && *at != ',' && len < sizeof value - 1; at++) {
		if (*at == '\\' && at[1] != '\0')
			at++;
		value[len++] = *at;
	}
	value[len] = '\0';
	if (len == 0 || (*at != '\0' && *at != ',') ||
		X509_NAME_add_entry_by_txt(
			name, type, MBSTRING_UTF8, (const uint8_t *)value, -1, -1, 0) != 1)
		return NULL;
	return *at == ',' ? at + 1 : at;
}

static enum err put_subject(X509_REQ *req, const char *subject, struct refusal *why)
{
	X509_NAME *name = X509_NAME_new();
	const char *at = subject;
	enum err e = ERR_OK;

	while (name != NULL && at != NULL && *at != '\0')
		at = subject_part(name, at);
	if (name == NULL || at == NULL || X509_REQ_set_subject_name(req, name) != 1)
		e = refuse(why, ERR_FORMAT, "subject",
			"it must be like CN=www.example.com,O=Example; a comma in a value is \\,");
	X509_NAME_free(name);
	return e;
}

static enum err san_text(
	char text[SAN_OCTETS], const char *const *dns, size_t count, struct refusal *why)
{
	size_t used = 0;

	for (size_t i = 0; i < count; i++) {
		for (const char *c = dns[i]; *c != '\0'; c++)
			if (!isalnum((unsigned char)*c) && strchr("-.*_", *c) == NULL)
				return refuse(
					why, ERR_FORMAT, "dns", "%s is not a DNS name", dns[i]);
		if (dns[i][0] == '\0' || used + strlen(dns[i]) + 6 > SAN_OCTETS)
			return refuse(why, ERR_FORMAT, "dns", "an empty name, or too many names");
		used += (size_t)snprintf(
			text + used, SAN_OCTETS - used, "%sDNS:%s", i > 0 ? "," : "", dns[i]);
	}
	return ERR_OK;
}

static X509_EXTENSION *delegation_usage(void)
{
	static const uint8_t null[] = {0x05, 0x00};
	ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.4.1.44363.44", 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *x = NULL;

	if (oid != NULL && value != NULL && ASN1_OCTET_STRING_set(value, null, sizeof null) == 1)
		x = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, value);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(oid);
	return x;
}

/* Takes x over. */
static bool push(STACK_OF(X509_EXTENSION) * list, X509_EXTENSION *x)
{
	if (x != NULL && sk_X509_EXTENSION_push(list, x) > 0)
		return true;
	X509_EXTENSION_free(x);
	return false;
}

static enum err put_extensions(X509_REQ *req, const struct csr_wish *wish, struct refusal *why)
{
	STACK_OF(X509_EXTENSION) *list = sk_X509_EXTENSION_new_null();
	char san[SAN_OCTETS] = "";
	enum err e = san_text(san, wish->dns, wish->dns_count, why);
	bool ok = list != NULL && e == ERR_OK && push(list, delegation_usage()) &&
		  push(list, X509V3_EXT_conf_nid(
				     NULL, NULL, NID_key_usage, "critical,digitalSignature"));

	if (ok && wish->dns_count > 0)
		ok = push(list, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san));
	ok = ok && X509_REQ_add_extensions(req, list) == 1;
	sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
	if (!ok && e == ERR_OK)
		e = refuse(why, ERR_CRYPTO, "", "%s", "");
	return e;
}

static bool put_algorithm(X509_REQ *req, int nid)
{
	X509_ALGOR *a = X509_ALGOR_new();
	ASN1_STRING *params = NULL;
	bool ok;

	if (nid == NID_rsassaPss) {
		params = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
		ok = params != NULL && ASN1_STRING_set(params, pss_sha256, sizeof pss_sha256) == 1;
	} else {
		ok = true;
	}
	ok = ok && a != NULL &&
	     X509_ALGOR_set0(a, OBJ_nid2obj(nid), params != NULL ? V_ASN1_SEQUENCE : V_ASN1_UNDEF,
		     params) == 1;
	if (!ok)
		ASN1_STRING_free(params);
	ok = ok && X509_REQ_set1_signature_algo(req, a) == 1;
	X509_ALGOR_free(a);
	return ok;
}

/* Takes the octets of a CertificationRequestInfo, nothing else, to the token. */
static enum err sign_request(X509_REQ *req, struct token *t, const struct token_key *key,
	const struct scheme *scheme, struct refusal *why)
{
	struct buf der = BUF_INIT(TOKEN_SIGNATURE_MAX + 16);
	struct token_signature made = {.outcome = SIGN_NOT_DONE};
	struct token_session *session;
	ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
	uint8_t *info = NULL;
	int len = i2d_re_X509_REQ_tbs(req, &info);
	enum err e = len <= 0 || bits == NULL ? refuse(why, ERR_CRYPTO, "", "%s", "") : ERR_OK;

	if (e == ERR_OK)
		e = token_session_take(t, monotonic_ms() + TAKE_MS, &session, why);
	if (e == ERR_OK) {
		token_sign(session, key, scheme, info, (size_t)len, &made);
		token_session_give(session);
		if (made.outcome != SIGN_DONE) {
			*why = made.why;
			e = made.why.err;
		}
	}
	if (e == ERR_OK && scheme->key != KEY_ED25519 && key->type != KEY_RSA)
		e = pubkey_ecdsa_der(scheme->key, made.raw, made.len, &der);
	else if (e == ERR_OK)
		buf_put(&der, made.raw, made.len);
	if (e == ERR_OK && ASN1_BIT_STRING_set(bits, der.octets, (int)der.len) == 1) {
		bits->flags &= ~(ASN1_STRING_FLAG_BITS_LEFT | 0x07);
		bits->flags |= ASN1_STRING_FLAG_BITS_LEFT;
		X509_REQ_set0_signature(req, bits);
		bits = NULL;
	} else if (e == ERR_OK) {
		e = refuse(why, ERR_CRYPTO, "", "%s", "");
	}
	ASN1_BIT_STRING_free(bits);
	OPENSSL_free(info);
	buf_free(&der);
	return e;
}

static enum err write_pem(struct buf *out, X509_REQ *req)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text = NULL;
	long len = 0;

	if (bio != NULL && PEM_write_bio_X509_REQ(bio, req) == 1)
		len = BIO_get_mem_data(bio, &text);
	if (len > 0)
		buf_put(out, text, (size_t)len);
	BIO_free(bio);
	return len > 0 ? out->err : ERR_CRYPTO;
}

enum err csr_make(struct buf *out, const struct csr_wish *wish, struct token *t,
	const struct token_key *key, EVP_PKEY *public_key, struct refusal *why)
{
	X509_REQ *req = X509_REQ_new();
	size_t i = 0;
	enum err e;

	while (i < sizeof signers / sizeof *signers && signers[i].type != key->type)
		i++;
	if (req == NULL || i == sizeof signers / sizeof *signers ||
		X509_REQ_set_version(req, 0) != 1 || X509_REQ_set_pubkey(req, public_key) != 1)
		e = refuse(why, ERR_CRYPTO, "", "the public key can't be used");
	else
		e = put_subject(req, wish->subject, why);
	if (e == ERR_OK)
		e = put_extensions(req, wish, why);
	if (e == ERR_OK && !put_algorithm(req, signers[i].nid))
		e = refuse(why, ERR_CRYPTO, "", "%s", "");
	if (e == ERR_OK)
		e = sign_request(req, t, key, scheme_by_code(signers[i].scheme), why);
	if (e == ERR_OK && X509_REQ_verify(req, public_key) != 1)
		e = refuse(why, ERR_KEY_UNPROVED, "uri",
			"the signature does not verify with the public key on the token");
	if (e == ERR_OK && (e = write_pem(out, req)) != ERR_OK)
		refuse(why, e, "", "%s", "");
	X509_REQ_free(req);
	return e;
}
