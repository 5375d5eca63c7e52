#include "hsm_fixture.h"

#include <check.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certificate.h"
#include "scheme.h"

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	ck_assert_ptr_nonnull(e);
	ck_assert_int_eq(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
}

static void add_delegation_usage(X509 *x)
{
	static const uint8_t null[] = {0x05, 0x00};
	ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.4.1.44363.44", 1);
	ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
	X509_EXTENSION *e;

	ASN1_OCTET_STRING_set(value, null, sizeof null);
	e = X509_EXTENSION_create_by_OBJ(NULL, oid, 0, value);
	ck_assert_int_eq(X509_add_ext(x, e, -1), 1);
	X509_EXTENSION_free(e);
	ASN1_OCTET_STRING_free(value);
	ASN1_OBJECT_free(oid);
}

static X509 *new_certificate(EVP_PKEY *key, const char *name, int64_t nb, int64_t na)
{
	static long serial = 1000;
	X509 *x = X509_new();
	X509_NAME *n = X509_NAME_new();

	X509_NAME_add_entry_by_txt(n, "CN", MBSTRING_ASC, (const uint8_t *)name, -1, -1, 0);
	ck_assert_int_eq(X509_set_version(x, 2), 1);
	ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
	ASN1_TIME_set(X509_getm_notBefore(x), (time_t)nb);
	ASN1_TIME_set(X509_getm_notAfter(x), (time_t)na);
	X509_set_subject_name(x, n);
	X509_set_issuer_name(x, n);
	X509_set_pubkey(x, key);
	X509_NAME_free(n);
	return x;
}

static void put_pem(struct buf *pem, X509 *x)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;

	PEM_write_bio_X509(bio, x);
	len = BIO_get_mem_data(bio, &text);
	buf_put(pem, text, (size_t)len);
	BIO_free(bio);
}

void fixture_certify(struct buf *pem, EVP_PKEY *key, const struct fixture_certificate *what)
{
	EVP_PKEY *ca_key = EVP_EC_gen("P-256");
	X509 *ca = new_certificate(
		ca_key, "test CA", what->not_before - 86400, what->not_after + 86400);
	X509 *x = new_certificate(key, "www.example.com", what->not_before, what->not_after);

	add_extension(ca, ca, NID_basic_constraints, "critical,CA:TRUE");
	add_extension(ca, ca, NID_key_usage, "critical,keyCertSign");
	ck_assert_int_gt(X509_sign(ca, ca_key, EVP_sha256()), 0);
	X509_set_issuer_name(x, X509_get_subject_name(ca));
	add_extension(x, ca, NID_key_usage, "critical,digitalSignature");
	add_extension(x, ca, NID_subject_alt_name, "DNS:www.example.com");
	if (what->eku != NULL)
		add_extension(x, ca, NID_ext_key_usage, what->eku);
	if (!what->no_delegation)
		add_delegation_usage(x);
	ck_assert_int_gt(X509_sign(x, ca_key, EVP_sha256()), 0);
	put_pem(pem, x);
	put_pem(pem, ca);
	X509_free(x);
	X509_free(ca);
	EVP_PKEY_free(ca_key);
}

static char *text(const char *s)
{
	return (char *)(uintptr_t)s;
}

static void config_keys(
	struct config_key *out, const struct fixture_key *keys, size_t count, char **accept)
{
	static struct config_file files[32][2];

	ck_assert_uint_le(count, 32);
	for (size_t i = 0; i < count; i++) {
		snprintf(out[i].name, NAME_SIZE, "%s", keys[i].name);
		snprintf(out[i].token, NAME_SIZE, "main");
		snprintf(out[i].policy, NAME_SIZE, "default");
		out[i].uri = text(keys[i].uri);
		out[i].certificate = files[i];
		for (size_t j = 0; j < 2 && keys[i].pem[j] != NULL; j++)
			files[i][out[i].certificate_count++] =
				(struct config_file){.path = text("test.pem"),
					.octets = keys[i].pem[j]->octets,
					.len = keys[i].pem[j]->len};
		accept[i] = text(keys[i].accept);
		out[i].accept_weak_key = &accept[i];
		out[i].accept_weak_key_count = keys[i].accept != NULL;
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct config_key *)a)->name, ((const struct config_key *)b)->name);
}

struct config *fixture_config(const struct fixture_key *keys, size_t count, const char *state,
	const char *module, const char *token_uri, struct buf *bundle)
{
	struct config_key key[32] = {0};
	char *accept[32], *names[32];
	struct config_token token = {.name = "main",
		.module = text(module),
		.uri = text(token_uri),
		.pin = text("file:/nowhere"),
		.sessions = 2,
		.workers = 4,
		.sign_timeout_ms = 2000};
	struct policy policy;
	struct config_client client[] = {
		{.name = "edge", .may = RIGHT_ISSUE, .keys = names, .key_count = count},
		{.name = "other", .may = RIGHT_ISSUE},
		{.name = "reader", .may = RIGHT_READ, .keys = names, .key_count = count},
	};
	struct config c = {.node = "node1",
		.origin = text("test.example"),
		.state = text(state),

		.users = {text("0"), text("0"), text("0")},
		.limits = {.max_lifetime = 604800,
			.request_deadline_ms = 3000,
			.queue = 8,
			.connections = 10},
		.checkpoint = {.interval = 60},
		.log = {.level = 1},
		.token = &token,
		.token_count = 1,
		.policy = &policy,
		.policy_count = 1,
		.key = key,
		.key_count = count,
		.client = client,
		.client_count = 3};
	struct buf octets = BUF_INIT(CONFIG_BUNDLE_MAX);
	char ledger[512];
	struct config *out;

	snprintf(ledger, sizeof ledger, "sqlite:%s/ledger.db", state);
	c.ledger = ledger;

	policy_defaults(&policy);
	snprintf(policy.name, NAME_SIZE, "default");
	policy.possession_required = false;
	policy.roles = 1u << DC_SERVER | 1u << DC_CLIENT;
	policy.schemes = scheme_bit(SCHEME_ECDSA_P256) | scheme_bit(SCHEME_ECDSA_P384);
	config_keys(key, keys, count, accept);
	qsort(key, count, sizeof *key, by_name);
	for (size_t i = 0; i < count; i++)
		names[i] = key[i].name;
	ck_assert_int_eq(config_encode(&octets, &c), ERR_OK);
	ck_assert_int_eq(config_decode(&out, octets.octets, octets.len), ERR_OK);
	sha256(octets.octets, octets.len, out->generation);
	if (bundle != NULL)
		buf_put(bundle, octets.octets, octets.len);
	buf_free(&octets);
	return out;
}

void fixture_csr(struct buf *der)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509_REQ *req = X509_REQ_new();
	uint8_t *octets = NULL;
	int len;

	X509_REQ_set_pubkey(req, key);
	ck_assert_int_gt(X509_REQ_sign(req, key, EVP_sha256()), 0);
	len = i2d_X509_REQ(req, &octets);
	ck_assert_int_gt(len, 0);
	buf_put(der, octets, (size_t)len);
	OPENSSL_free(octets);
	X509_REQ_free(req);
	EVP_PKEY_free(key);
}

void fixture_issue(struct msg_issue *ask, const char *key, struct buf *spki, uint16_t count)
{
	EVP_PKEY *dc_key = EVP_EC_gen("P-256");
	uint8_t *octets = NULL;
	int len = i2d_PUBKEY(dc_key, &octets);

	memset(ask, 0, sizeof *ask);
	buf_put(spki, octets, (size_t)len);
	OPENSSL_free(octets);
	EVP_PKEY_free(dc_key);
	snprintf(ask->request, ID_SIZE, "0123456789abcdef0123456789abcdef");
	snprintf(ask->client, NAME_SIZE, "edge");
	snprintf(ask->client_serial, sizeof ask->client_serial, "01");
	snprintf(ask->peer, PEER_SIZE, "192.0.2.1:4711");
	ask->deadline_ms = 3000;
	ask->count = count;
	for (uint16_t i = 0; i < count; i++) {
		snprintf(ask->item[i].key, NAME_SIZE, "%s", key);
		ask->item[i].proof = PROOF_NONE;
		ask->item[i].spki = (struct octets){.at = spki->octets, .len = spki->len};
		ask->item[i].term = TERM_LIFETIME;
		ask->item[i].term_value = 3600;
	}
}

void fixture_run(const char *format, ...)
{
	char command[4096];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof command, format, args);
	va_end(args);
	if (system(command) != 0)
		ck_abort_msg("failed: %s", command);
}

bool fixture_file(const char *path, struct buf *out)
{
	FILE *f = fopen(path, "r");
	uint8_t octets[4096];
	size_t n;

	if (f == NULL)
		return false;
	while ((n = fread(octets, 1, sizeof octets, f)) > 0)
		buf_put(out, octets, n);
	fclose(f);
	return true;
}

bool fixture_token(struct fixture_token *t)
{
	const char *tmp = getenv("TMPDIR");
	char path[256];
	FILE *f;

	if (access(FIXTURE_MODULE, R_OK) != 0) {
		printf("skipped: %s is missing (package softhsm2)\n", FIXTURE_MODULE);
		return false;
	}
	snprintf(t->folder, sizeof t->folder, "%s/dcsign-hsm.XXXXXX",
		tmp != NULL && strlen(tmp) < 64 ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(t->folder));
	fixture_run("mkdir %s/tokens %s/state", t->folder, t->folder);
	snprintf(path, sizeof path, "%s/softhsm2.conf", t->folder);
	f = fopen(path, "w");
	fprintf(f,
		"directories.tokendir = %s/tokens\nobjectstore.backend = file\n"
		"log.level = ERROR\n",
		t->folder);
	fclose(f);
	setenv("SOFTHSM2_CONF", path, 1);
	fixture_run("softhsm2-util --init-token --free --label test --pin " FIXTURE_PIN
		    " --so-pin 97531 >/dev/null");
	fixture_run("umask 077; echo " FIXTURE_PIN " >%s/pin", t->folder);
	return true;
}

void fixture_token_key(const struct fixture_token *t, const char *label, const char *type,
	const struct fixture_certificate *what, struct buf *pem)
{
	struct buf csr = BUF_INIT(65536);
	char path[256];
	X509_REQ *req;
	BIO *bio;

	snprintf(path, sizeof path, "%s/%s.csr", t->folder, label);
	for (int i = 0; i < 2; i++) /* SoftHSM itself leaks in the generation of Ed25519 keys */
		fixture_run("ASAN_OPTIONS=detect_leaks=0 \"$TOP_BUILDDIR\"/hsm/dcsign-keys %s "
			    "--module " FIXTURE_MODULE
			    " --uri 'pkcs11:token=test;object=%s' --pin file:%s/pin %s %s %s"
			    " >/dev/null",
			i == 0 ? "generate" : "csr", label, t->folder,
			i == 0 ? "--type" : "--subject CN=www.example.com -o", i == 0 ? type : path,
			"");
	ck_assert(fixture_file(path, &csr));
	bio = BIO_new_mem_buf(csr.octets, (int)csr.len);
	req = PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL);
	ck_assert_ptr_nonnull(req);
	fixture_certify(pem, X509_REQ_get0_pubkey(req), what);
	X509_REQ_free(req);
	BIO_free(bio);
	buf_free(&csr);
}

void fixture_token_read_only(const struct fixture_token *t)
{
	fixture_run("chmod -R a-w %s/tokens", t->folder);
}

void fixture_token_end(struct fixture_token *t)
{
	fixture_run("chmod -R u+w %s && rm -r %s", t->folder, t->folder);
	unsetenv("SOFTHSM2_CONF");
}
