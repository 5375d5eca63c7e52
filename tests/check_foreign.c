/*
 * Delegated credentials, certificates and keys that others made: the folder $DCSIGN_VECTORS with
 * its manifest.json. Each parses or not, hashes, verifies and expires as the manifest says.
 */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certificate.h"
#include "pubkey.h"

static const char *folder, *id;
static json_t *manifest;

#define expect(condition, ...) ck_assert_msg(condition, __VA_ARGS__)

static struct buf read_octets(const char *name)
{
	struct buf out = BUF_INIT(1 << 20);
	uint8_t octets[4096];
	char path[4096];
	size_t n;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	FILE *file = fopen(path, "rb");
	expect(file != NULL, "can't open %s", path);
	while ((n = fread(octets, 1, sizeof octets, file)) > 0)
		buf_put(&out, octets, n);
	fclose(file);
	return out;
}

static const char *text_of(const json_t *object, const char *name)
{
	const char *text = json_string_value(json_object_get(object, name));

	return text == NULL ? "" : text;
}

static int64_t number_of(const json_t *object, const char *name)
{
	const json_t *value = json_object_get(object, name);

	expect(json_is_integer(value), "%s: no integer %s", id, name);
	return json_integer_value(value);
}

static void check_fields(const struct dc *dc, size_t len, const json_t *fields)
{
	expect(dc->valid_time == number_of(fields, "valid_time"), "%s: valid_time", id);
	expect((int64_t)dc->spki_len == number_of(fields, "spki_len"), "%s: spki_len", id);
	expect((int64_t)dc->signature_len == number_of(fields, "signature_len"),
		"%s: signature_len", id);
	expect((int64_t)len == number_of(fields, "total_len"), "%s: total_len", id);
	expect(dc->scheme == strtoul(text_of(fields, "dc_cert_verify_algorithm"), NULL, 16),
		"%s: dc_cert_verify_algorithm", id);
	expect(dc->algorithm == strtoul(text_of(fields, "algorithm"), NULL, 16), "%s: algorithm",
		id);
}

static void check_facts(const struct certificate *c, const json_t *facts)
{
	const json_t *use = json_object_get(facts, "delegationUsage");
	const json_t *eku = json_object_get(facts, "eku"), *purpose;
	bool server = false, client = false;
	size_t i;

	expect(c->not_before == number_of(facts, "notBefore"), "%s: notBefore", id);
	expect(c->not_after == number_of(facts, "notAfter"), "%s: notAfter", id);
	expect(c->has_delegation == json_is_object(use), "%s: DelegationUsage", id);
	if (c->has_delegation) {
		expect(c->delegation_critical == json_is_true(json_object_get(use, "critical")),
			"%s: critical", id);
		expect(c->delegation_null == (strcmp(text_of(use, "extnValue"), "0500") == 0),
			"%s: value", id);
	}
	expect(c->digital_signature ==
			json_is_true(json_object_get(facts, "keyUsage_digitalSignature")),
		"%s: digitalSignature", id);
	expect(c->is_ca == json_is_true(json_object_get(facts, "basicConstraints_CA")), "%s: CA",
		id);
	json_array_foreach(eku, i, purpose)
	{
		server |= strcmp(json_string_value(purpose), "serverAuth") == 0;
		client |= strcmp(json_string_value(purpose), "clientAuth") == 0;
	}
	expect(c->eku_server == server && c->eku_client == client, "%s: extended key usage", id);
}

static enum err verify(
	const struct certificate *c, const struct dc *dc, const struct buf *tbs, uint16_t code)
{
	const struct scheme *scheme = scheme_by_code(code);

	return scheme == NULL ? ERR_DC_ALGORITHM
			      : pubkey_verify(c->key, scheme, tbs->octets, tbs->len, dc->signature,
					dc->signature_len);
}

static void check_signed(const struct certificate *c, const struct dc *dc, const json_t *v)
{
	struct buf tbs = BUF_INIT(DC_TBS_MAX);
	uint8_t hash[SHA256_SIZE];
	char hex[2 * SHA256_SIZE + 1];
	enum dc_role role;
	int64_t expiry = dc_expiry(dc, c->not_before);

	expect(dc_role_parse(text_of(v, "role"), &role), "%s: role", id);
	ck_assert_int_eq(dc_build_tbs(&tbs, role, c->der, c->len, dc), ERR_OK);
	expect((int64_t)tbs.len == number_of(v, "tbs_length"), "%s: tbs_length", id);
	sha256(tbs.octets, tbs.len, hash);
	hex_encode(hex, hash, sizeof hash);
	expect(strcmp(hex, text_of(v, "tbs_sha256")) == 0, "%s: tbs_sha256 is %s", id, hex);
	expect((verify(c, dc, &tbs, dc->algorithm) == ERR_OK) ==
			json_is_true(json_object_get(v, "signature_ok_final_rfc")),
		"%s: signature", id);
	expect(expiry == number_of(v, "expiry"), "%s: expiry", id);
	expect(dc_window_opens(c->not_before, expiry) == number_of(v, "window_opens"),
		"%s: window_opens", id);
	expect((expiry < c->not_after) ==
			json_is_true(json_object_get(v, "expiry_before_cert_notAfter")),
		"%s: expiry before notAfter", id);
	buf_free(&tbs);
}

static void check_key(const struct dc *dc, const json_t *v)
{
	struct spki spki;
	const struct scheme *scheme = scheme_by_code(dc->scheme);
	const json_t *matches = json_object_get(v, "dc_key_matches_scheme");
	enum err e = spki_recognise(&spki, dc->spki, dc->spki_len);

	if (matches == NULL)
		return;
	expect(e == ERR_OK || e == ERR_SPKI_FORBIDDEN, "%s: public key: %s", id, err_name(e));
	expect((scheme != NULL && scheme->key == spki.key) == json_is_true(matches),
		"%s: key and scheme", id);
	if (e == ERR_OK)
		expect(pubkey_check(&spki) == ERR_OK, "%s: unsound key", id);
}

static void check_credential(const struct certificate *c, const json_t *v)
{
	struct buf octets = read_octets(text_of(v, "dc_file"));
	struct buf again = BUF_INIT(DC_MAX);
	struct dc dc;
	bool parses = json_is_true(json_object_get(v, "parses_as_rfc9345"));
	enum err e = dc_parse(&dc, octets.octets, octets.len);

	expect((e == ERR_OK) == parses, "%s: %s", id, err_name(e));
	if (e == ERR_OK) {
		check_fields(&dc, octets.len, json_object_get(v, "fields"));
		check_key(&dc, v);
		if (c != NULL)
			check_signed(c, &dc, v);
		ck_assert_int_eq(dc_build(&again, &dc), ERR_OK);
		expect(again.len == octets.len &&
				memcmp(again.octets, octets.octets, again.len) == 0,
			"%s: built again it differs", id);
	}
	buf_free(&again);
	buf_free(&octets);
}

/* The manifest's verdict: only DelegationUsage's value and the CA bit count for issuers alone. */
static void check_rules(const struct certificate *c, const json_t *v)
{
	const json_t *refuse = json_object_get(v, "strict_issuer_would_also_refuse");
	enum err e = certificate_may_delegate(c, AS_ISSUER, NULL);

	if (json_array_size(refuse) > 0)
		expect(e != ERR_OK, "%s: an issuer takes it", id);
	if (strncmp(text_of(v, "verdict_strict_rfc9345"), "ACCEPT", 6) == 0)
		expect(certificate_may_delegate(c, AS_VERIFIER, NULL) == ERR_OK,
			"%s: no verifier takes it", id);
}

static void check_vector(const json_t *v)
{
	struct certificate c;
	bool has_certificate = text_of(v, "cert_file")[0] != '\0';

	id = text_of(v, "id");
	if (has_certificate) {
		struct buf der = read_octets(text_of(v, "cert_file"));
		enum err e = certificate_read(&c, der.octets, der.len);
		expect(e == ERR_OK, "%s: certificate: %s", id, err_name(e));
		buf_free(&der);
		if (json_object_get(v, "certificate") != NULL)
			check_facts(&c, json_object_get(v, "certificate"));
		check_rules(&c, v);
	}
	if (text_of(v, "dc_file")[0] != '\0')
		check_credential(has_certificate ? &c : NULL, v);
	if (has_certificate)
		certificate_free(&c);
}

START_TEST(vector)
{
	check_vector(json_array_get(json_object_get(manifest, "vectors"), (size_t)_i));
}
END_TEST

/* spki/: file, what it must be recognised as, whether it may stand in a DC. */
static const struct {
	const char *file;
	enum err recognise;
	enum key_type key;
} samples[] = {
	{"mldsa44.spki.der", ERR_OK, KEY_MLDSA44},
	{"mldsa65.spki.der", ERR_OK, KEY_MLDSA65},
	{"mldsa87.spki.der", ERR_OK, KEY_MLDSA87},
	{"tlslite-serverBrainpoolP256r1ECCert.spki.der", ERR_OK, KEY_BP256},
	{"tlslite-serverBrainpoolP384r1ECCert.spki.der", ERR_OK, KEY_BP384},
	{"tlslite-serverBrainpoolP512r1ECCert.spki.der", ERR_OK, KEY_BP512},
	{"tlslite-serverDelCredEd25519.spki.der", ERR_OK, KEY_ED25519},
	{"tlslite-serverDelCredRSAPSS.spki.der", ERR_OK, KEY_RSA_PSS},
	{"tlslite-serverDelCredSECP256r1.spki.der", ERR_OK, KEY_EC_P256},
	{"tlslite-serverDelCredSECP384r1.spki.der", ERR_OK, KEY_EC_P384},
	{"tlslite-serverEd448Cert.spki.der", ERR_OK, KEY_ED448},
	{"tlslite-serverMldsa65Cert.spki.der", ERR_OK, KEY_MLDSA65},
	{"tlslite-serverP521ECCert.spki.der", ERR_OK, KEY_EC_P521},
	{"tlslite-serverRSAPSSCert.spki.der", ERR_OK, KEY_RSA_PSS},
	{"tlslite-serverRSAPSSSigCert.spki.der", ERR_SPKI_FORBIDDEN, KEY_RSA},
};

START_TEST(sample)
{
	char name[128];
	struct spki spki;

	snprintf(name, sizeof name, "spki/%s", samples[_i].file);
	struct buf octets = read_octets(name);
	enum err e = spki_recognise(&spki, octets.octets, octets.len);
	expect(e == samples[_i].recognise, "%s: %s", name, err_name(e));
	ck_assert_int_eq(spki.key, samples[_i].key);
	expect(pubkey_check(&spki) == ERR_OK, "%s: unsound", name);
	buf_free(&octets);
}
END_TEST

int main(void)
{
	char path[4096];

	folder = getenv("DCSIGN_VECTORS");
	if (folder == NULL || folder[0] == '\0') {
		puts("skipped: DCSIGN_VECTORS names no folder of foreign vectors");
		return 77;
	}
	snprintf(path, sizeof path, "%s/manifest.json", folder);
	manifest = json_load_file(path, JSON_REJECT_DUPLICATES, NULL);
	int count = (int)json_array_size(json_object_get(manifest, "vectors"));
	if (count < 30) {
		fprintf(stderr, "%s: no manifest with 30 vectors or more\n", path);
		return EXIT_FAILURE;
	}
	Suite *suite = suite_create("foreign vectors");
	TCase *cases = tcase_create("manifest");
	tcase_add_loop_test(cases, vector, 0, count);
	tcase_add_loop_test(cases, sample, 0, (int)(sizeof samples / sizeof *samples));
	suite_add_tcase(suite, cases);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	json_decref(manifest);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
