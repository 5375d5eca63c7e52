#include "settings.h"

#include "ledger_help.h"

#include <check.h>
#include <ftw.h>
#include <libpq-fe.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dc.h"
#include "ledger/store.h"

void help_folder(char path[64])
{
	const char *base = getenv("TMPDIR");

	ck_assert_int_lt(snprintf(path, 64, "%s/dcsign-test-XXXXXX", base ? base : "/tmp"), 64);
	ck_assert_ptr_nonnull(mkdtemp(path));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
	(void)st;
	(void)kind;
	(void)at;
	return remove(path);
}

void help_folder_remove(const char *path)
{
	ck_assert_int_eq(nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS), 0);
}

bool help_postgres(void)
{
	return getenv("DCSIGN_TEST_POSTGRES") != NULL;
}

void help_url(char url[HELP_URL], const char *role)
{
	ck_assert_int_lt(snprintf(url, HELP_URL, "postgresql://%s@/dcsign?host=%s", role,
				 getenv("DCSIGN_TEST_POSTGRES")),
		HELP_URL);
}

void help_sql(const char *sql)
{
	char url[HELP_URL];
	PGconn *c;
	PGresult *r;

	help_url(url, "owner");
	c = PQconnectdb(url);
	r = PQexec(c, sql);
	ck_assert_msg(PQresultStatus(r) == PGRES_COMMAND_OK || PQresultStatus(r) == PGRES_TUPLES_OK,
		"%s: %s", sql, PQerrorMessage(c));
	PQclear(r);
	PQfinish(c);
}

void help_ledger(char url[HELP_URL], const char *folder, const char *name)
{
	struct refusal why = {.err = ERR_OK};
	char owner[HELP_URL];

	if (!help_postgres()) {
		ck_assert_int_lt(snprintf(url, HELP_URL, "sqlite:%s/%s", folder, name), HELP_URL);
		return;
	}
	help_sql("SET client_min_messages = error; DROP SCHEMA IF EXISTS dcsign CASCADE");
	help_url(owner, "owner");
	ck_assert_msg(
		store_postgres.init(owner, "node", "auditor", &why) == ERR_OK, "%s", why.detail);
	help_url(url, "node");
}

static void extension_add(X509 *x, const char *oid, const void *value, int len)
{
	ASN1_OBJECT *o = OBJ_txt2obj(oid, 0);
	ASN1_OCTET_STRING *s = ASN1_OCTET_STRING_new();
	X509_EXTENSION *e;

	ASN1_OCTET_STRING_set(s, value, len);
	e = X509_EXTENSION_create_by_OBJ(NULL, o, 0, s);
	ck_assert_int_eq(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
	ASN1_OCTET_STRING_free(s);
	ASN1_OBJECT_free(o);
}

static void certificate_make(struct issuer *i)
{
	X509 *x = X509_new();
	X509_NAME *name = X509_get_subject_name(x);
	uint8_t *der = NULL;
	int len;

	X509_set_version(x, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_NAME_add_entry_by_txt(
		name, "CN", MBSTRING_ASC, (const unsigned char *)"www", -1, -1, 0);
	X509_set_issuer_name(x, name);
	ASN1_TIME_set(X509_getm_notBefore(x), i->not_before);
	ASN1_TIME_set(X509_getm_notAfter(x), i->not_before + 100 * 86400);
	X509_set_pubkey(x, i->key);
	extension_add(x, "1.3.6.1.4.1.44363.44", "\x05", 2);
	extension_add(x, "2.5.29.15", "\x03\x02\x07\x80", 4);
	ck_assert_int_gt(X509_sign(x, i->key, EVP_sha256()), 0);
	len = i2d_X509(x, &der);
	ck_assert(len > 0 && (size_t)len <= sizeof(i->certificate));
	memcpy(i->certificate, der, (size_t)len);
	i->certificate_len = (size_t)len;
	OPENSSL_free(der);
	X509_free(x);
}

void issuer_make(struct issuer *i)
{
	memset(i, 0, sizeof(*i));
	i->key = EVP_EC_gen("P-256");
	ck_assert_ptr_nonnull(i->key);
	i->not_before = HELP_NOW - 86400;
	certificate_make(i);
	sha256(i->certificate, i->certificate_len, i->certificate_sha256);
	memset(i->generation, 0x47, SHA256_SIZE);
	i->certificates = (struct buf)BUF_INIT(65536);
	buf_u24(&i->certificates, (uint32_t)i->certificate_len);
	buf_put(&i->certificates, i->certificate, i->certificate_len);
}

void issuer_free(struct issuer *i)
{
	EVP_PKEY_free(i->key);
	buf_free(&i->certificates);
}

/* A P-256 SubjectPublicKeyInfo in form; the point is made of n. */
static void spki_make(struct sample *s, unsigned n)
{
	static const uint8_t prefix[] = {0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce,
		0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03,
		0x42, 0x00, 0x04};
	uint8_t half[SHA256_SIZE];

	sha256(&n, sizeof(n), half);
	buf_put(&s->spki, prefix, sizeof(prefix));
	buf_put(&s->spki, half, sizeof(half));
	buf_put(&s->spki, half, sizeof(half));
}

static void dc_sign(const struct sample *s, const struct issuer *i, uint32_t valid_time,
	struct buf *tbs, struct buf *out)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	uint8_t signature[128];
	size_t len = sizeof(signature);
	struct dc dc = {.valid_time = valid_time,
		.scheme = SCHEME_ECDSA_P256,
		.spki = s->spki.octets,
		.spki_len = s->spki.len,
		.algorithm = SCHEME_ECDSA_P256};

	ck_assert_int_eq(dc_build_tbs(tbs, DC_SERVER, i->certificate, i->certificate_len, &dc), 0);
	ck_assert_int_eq(EVP_DigestSignInit(c, NULL, EVP_sha256(), NULL, i->key), 1);
	ck_assert_int_eq(EVP_DigestSign(c, signature, &len, tbs->octets, tbs->len), 1);
	EVP_MD_CTX_free(c);
	dc.signature = signature;
	dc.signature_len = len;
	ck_assert_int_eq(dc_build(out, &dc), 0);
}

static void both_sign(struct sample *s, const struct issuer *i)
{
	dc_sign(s, i, (uint32_t)(HELP_NOW + 3600 - i->not_before), &s->tbs, &s->dc);
	dc_sign(s, i, 0, &s->test_tbs, &s->test_dc);
	sha256(s->spki.octets, s->spki.len, s->spki_sha256);
	sha256(s->tbs.octets, s->tbs.len, s->tbs_sha256);
	sha256(s->dc.octets, s->dc.len, s->dc_sha256);
	sha256(s->test_tbs.octets, s->test_tbs.len, s->test_tbs_sha256);
	sha256(s->test_dc.octets, s->test_dc.len, s->test_dc_sha256);
}

static void record_begin(
	struct record *r, enum record_type type, const struct sample *s, int64_t attempt)
{
	record_init(r, type);
	r->time = HELP_NOW;
	r->id = octets_text(s->id);
	r->attempt = attempt;
}

static void authorised_make(struct record *r, const struct sample *s, const struct issuer *i)
{
	record_begin(r, RECORD_AUTHORISED, s, 1);
	r->request = octets_text("5b3f1e8a7c6d4e2fb0a1928374655647");
	r->client = octets_text("edge");
	r->client_sha256 = octets_of(i->generation, SHA256_SIZE);
	r->client_serial = octets_text("0a1b");
	r->peer = octets_text("192.0.2.7:40001");
	r->key = octets_text("www");
	r->role = octets_text("server");
	r->algorithm = r->signature_algorithm = octets_text("ecdsa_secp256r1_sha256");
	r->spki = octets_of(s->spki.octets, s->spki.len);
	r->spki_sha256 = octets_of(s->spki_sha256, SHA256_SIZE);
	r->possession = octets_text("csr");
	r->lifetime_asked = r->lifetime_granted = 3600;
	r->now = HELP_NOW;
	r->cert_not_before = i->not_before;
	r->expiry = HELP_NOW + 3600;
	r->valid_time = r->expiry - i->not_before;
	r->window_opens = i->not_before;
	r->certificate_sha256 = octets_of(i->certificate_sha256, SHA256_SIZE);
	r->tbs_sha256 = octets_of(s->tbs_sha256, SHA256_SIZE);
	r->policy = octets_text("default");
	r->generation = octets_of(i->generation, SHA256_SIZE);
}

static void self_test_make(struct sample *s, const struct issuer *i)
{
	struct record *r = &s->self_test;

	record_begin(r, RECORD_SELF_TEST, s, RECORD_NONE);
	r->key = octets_text("www");
	r->certificate_sha256 = octets_of(i->certificate_sha256, SHA256_SIZE);
	r->tbs_sha256 = octets_of(s->test_tbs_sha256, SHA256_SIZE);
	r->spki = octets_of(s->spki.octets, s->spki.len);
	r->valid_time = 0;
	r->now = HELP_NOW;
	r->cert_not_before = i->not_before;
	r->generation = octets_of(i->generation, SHA256_SIZE);
	r = &s->proved;
	record_begin(r, RECORD_KEY_PROVED, s, RECORD_NONE);
	r->key = octets_text("www");
	r->certificate_sha256 = octets_of(i->certificate_sha256, SHA256_SIZE);
	r->certificates = octets_of(i->certificates.octets, i->certificates.len);
	r->dc = octets_of(s->test_dc.octets, s->test_dc.len);
	r->dc_sha256 = octets_of(s->test_dc_sha256, SHA256_SIZE);
	r->generation = octets_of(i->generation, SHA256_SIZE);
}

void sample_make(struct sample *s, const struct issuer *i, unsigned n)
{
	memset(s, 0, sizeof(*s));
	s->spki = s->tbs = s->dc = s->test_tbs = s->test_dc = (struct buf)BUF_INIT(65536);
	snprintf(s->id, sizeof(s->id), "%032x", n);
	spki_make(s, n);
	both_sign(s, i);
	memset(s->request_sha256, (int)n, SHA256_SIZE);
	authorised_make(&s->authorised, s, i);
	self_test_make(s, i);
	record_begin(&s->issued, RECORD_ISSUED, s, 1);
	s->issued.dc = octets_of(s->dc.octets, s->dc.len);
	s->issued.dc_sha256 = octets_of(s->dc_sha256, SHA256_SIZE);
	record_begin(&s->failed, RECORD_FAILED, s, 1);
	s->failed.reason = octets_text("token_unavailable");
	record_begin(&s->unknown, RECORD_UNKNOWN, s, 1);
	record_begin(&s->refused, RECORD_REFUSED, s, RECORD_NONE);
	s->refused.client = octets_text("edge");
	s->refused.key = octets_text("www");
	s->refused.reason = octets_text("lifetime_too_long");
}

void sample_free(struct sample *s)
{
	buf_free(&s->spki);
	buf_free(&s->tbs);
	buf_free(&s->dc);
	buf_free(&s->test_tbs);
	buf_free(&s->test_dc);
}

void help_start(struct record *r, const struct issuer *i)
{
	record_init(r, RECORD_START);
	r->time = HELP_NOW;
	r->node = octets_text("sign1");
	r->token = octets_text("main");
	r->version = octets_text("0.1.0");
	r->boot_id = octets_text("6f0e1a52-0a5c-4f6e-9d0b-0c3f3f1e2d4c");
	r->boottime = 12345;
	r->generation = octets_of(i->generation, SHA256_SIZE);
}

void help_config(struct record *r, const struct issuer *i)
{
	record_init(r, RECORD_CONFIG);
	r->time = HELP_NOW;
	r->generation = octets_of(i->generation, SHA256_SIZE);
}
