#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "client/load.h"
#include "client/verify.h"
#include "dc_maker.h"

#define NOW (MAKER_NB + 3600)

static enum err judge(const struct cert_wish *cw, const struct dc_wish *dw, enum dc_role role,
	int64_t now, struct refusal *why)
{
	struct made_certificate by;
	struct buf octets = BUF_INIT(1 << 18);
	struct dc dc;
	enum err e;
	make_certificate(&by, cw);
	make_dc(&octets, &by, dw);
	memset(why, 0, sizeof *why);
	e = verify_dc(&dc, octets.octets, octets.len, &by.certificate, role, now, why);
	buf_free(&octets);
	made_certificate_free(&by);
	return e;
}

static void expect(const struct cert_wish *cw, const struct dc_wish *dw, enum err expected)
{
	struct refusal why;
	enum err e = judge(cw, dw, dw->role, NOW, &why);
	ck_assert_msg(
		e == expected, "%s, expected %s: %s", err_name(e), err_name(expected), why.detail);
	if (e) {
		ck_assert_int_eq(why.err, e);
		ck_assert_msg(why.detail[0] != 0, "no sentence for %s", err_name(e));
	}
}

START_TEST(accepts_each_kind)
{
	static const struct {
		const char *type;
		uint16_t scheme;
	} dcs[] = {{"P-256", 0x0403}, {"P-384", 0x0503}, {"P-521", 0x0603}, {"ED25519", 0x0807},
		{"RSA-PSS", 0x0809}},
	  certificates[] = {{"P-256", 0x0403}, {"P-384", 0x0503}, {"P-521", 0x0603},
		  {"ED25519", 0x0807}, {"RSA", 0x0804}};
	size_t i, k;
	for (i = 0; i < 5; i++)
		for (k = 0; k < 5; k++) {
			struct cert_wish cw = good_certificate;
			struct dc_wish dw = good_dc;
			if (i && k)
				continue;
			cw.type = certificates[i].type;
			dw.algorithm = certificates[i].scheme;
			dw.type = dcs[k].type;
			dw.scheme = dcs[k].scheme;
			expect(&cw, &dw, ERR_OK);
			dw.role = DC_CLIENT;
			expect(&cw, &dw, ERR_OK);
		}
}
END_TEST

/* The certificate ends far away; valid_time such that the credential ends at MAKER_NB + 30 d. */
START_TEST(time_bounds)
{
	const int64_t expiry = MAKER_NB + 30 * 86400;
	const struct {
		int64_t now;
		enum err err;
	} cases[] = {
		{MAKER_NB - 1, ERR_CERT_NOT_YET},
		{MAKER_NB, ERR_DC_VALIDITY},
		{expiry - 604801, ERR_DC_VALIDITY},
		{expiry - 604800, ERR_OK},
		{expiry - 604799, ERR_OK},
		{expiry - 1, ERR_OK},
		{expiry, ERR_OK},
		{expiry + 1, ERR_DC_EXPIRED},
		{MAKER_NA, ERR_DC_EXPIRED},
		{MAKER_NA + 1, ERR_CERT_EXPIRED},
	};
	struct dc_wish dw = good_dc;
	struct refusal why;
	size_t i;
	dw.valid_time = 30 * 86400;
	for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		enum err e = judge(&good_certificate, &dw, DC_SERVER, cases[i].now, &why);
		ck_assert_msg(e == cases[i].err, "case %zu: %s", i, err_name(e));
	}
}
END_TEST

START_TEST(ends_before_the_certificate)
{
	struct cert_wish cw = good_certificate;
	struct dc_wish dw = good_dc;
	cw.not_after = MAKER_NB + 86400;
	dw.valid_time = 86399;
	expect(&cw, &dw, ERR_OK);
	dw.valid_time = 86400;
	expect(&cw, &dw, ERR_DC_BEYOND_CERT);
	dw.valid_time = 86401;
	expect(&cw, &dw, ERR_DC_BEYOND_CERT);
}
END_TEST

START_TEST(the_certificate_must_delegate)
{
	struct cert_wish cw = good_certificate;
	cw.delegation = NULL;
	expect(&cw, &good_dc, ERR_CERT_NO_DELEGATION);
	cw = good_certificate;
	cw.key_usage = NULL;
	expect(&cw, &good_dc, ERR_CERT_KEY_USAGE);
	cw.key_usage = "critical,keyEncipherment";
	expect(&cw, &good_dc, ERR_CERT_KEY_USAGE);
	cw = good_certificate;
	cw.purpose = "clientAuth";
	expect(&cw, &good_dc, ERR_CERT_PURPOSE);
	cw.purpose = NULL;
	expect(&cw, &good_dc, ERR_OK);
}
END_TEST

START_TEST(algorithms_must_fit)
{
	static const uint16_t never[] = {0x0804, 0x0805, 0x0401, 0x0201, 0x0203, 0x0a0a, 0x0000};
	struct dc_wish dw = good_dc;
	size_t i;
	for (i = 0; i < sizeof never / sizeof never[0]; i++) {
		dw.scheme = never[i];
		expect(&good_certificate, &dw, ERR_DC_ALGORITHM);
	}
	dw = good_dc;
	dw.scheme = 0x0503;
	expect(&good_certificate, &dw, ERR_SPKI_MISMATCH);
	dw = good_dc;
	dw.type = "RSA";
	dw.scheme = 0x0809;
	expect(&good_certificate, &dw, ERR_SPKI_FORBIDDEN);
	dw = good_dc;
	dw.algorithm = 0x0503;
	expect(&good_certificate, &dw, ERR_DC_ALGORITHM);
	dw.algorithm = 0x0401;
	expect(&good_certificate, &dw, ERR_DC_ALGORITHM);
}
END_TEST

START_TEST(the_key_is_sound_and_its_own)
{
	struct made_certificate by;
	struct buf octets = BUF_INIT(1 << 18), spki = BUF_INIT(8192);
	struct dc_wish dw = good_dc;
	struct refusal why = {0};
	struct dc dc;

	make_certificate(&by, &good_certificate);
	buf_put(&spki, by.certificate.spki, by.certificate.spki_len);
	dw.type = NULL;
	dw.spki = &spki;
	make_dc(&octets, &by, &dw);
	ck_assert_int_eq(
		verify_dc(&dc, octets.octets, octets.len, &by.certificate, DC_SERVER, NOW, &why),
		ERR_SPKI_REUSED);
	made_certificate_free(&by);

	spki.octets[spki.len - 1] ^= 1; /* off the curve */
	expect(&good_certificate, &dw, ERR_SPKI_INVALID);
	spki.len--;
	expect(&good_certificate, &dw, ERR_SPKI_UNKNOWN);
	buf_free(&spki);
	buf_free(&octets);
}
END_TEST

START_TEST(the_role_is_signed)
{
	struct refusal why;
	struct dc_wish dw = good_dc;
	ck_assert_int_eq(judge(&good_certificate, &dw, DC_CLIENT, NOW, &why), ERR_DC_SIGNATURE);
	dw.role = DC_CLIENT;
	ck_assert_int_eq(judge(&good_certificate, &dw, DC_SERVER, NOW, &why), ERR_DC_SIGNATURE);
}
END_TEST

/* Every single bit counts: whatever the damage, the credential is refused. */
START_TEST(any_flipped_bit_is_refused)
{
	struct made_certificate by;
	struct buf octets = BUF_INIT(1 << 18);
	struct refusal why;
	struct dc dc;
	size_t i;

	make_certificate(&by, &good_certificate);
	make_dc(&octets, &by, &good_dc);
	for (i = 0; i < 8 * octets.len; i++) {
		octets.octets[i / 8] ^= (uint8_t)(1u << i % 8);
		ck_assert_msg(verify_dc(&dc, octets.octets, octets.len, &by.certificate, DC_SERVER,
				      NOW, &why) != ERR_OK,
			"bit %zu", i);
		octets.octets[i / 8] ^= (uint8_t)(1u << i % 8);
	}
	for (i = 0; i < octets.len; i++)
		ck_assert_int_ne(
			verify_dc(&dc, octets.octets, i, &by.certificate, DC_SERVER, NOW, &why),
			ERR_OK);
	ck_assert_int_eq(
		verify_dc(&dc, octets.octets, octets.len, &by.certificate, DC_SERVER, NOW, &why),
		ERR_OK);
	buf_free(&octets);
	made_certificate_free(&by);
}
END_TEST

START_TEST(names_of_nss)
{
	ck_assert_str_eq(verify_nss_name(ERR_DC_EXPIRED), "SSL_ERROR_DC_EXPIRED");
	ck_assert_str_eq(
		verify_nss_name(ERR_DC_VALIDITY), "SSL_ERROR_DC_INAPPROPRIATE_VALIDITY_PERIOD");
	ck_assert_str_eq(verify_nss_name(ERR_DC_SIGNATURE), "SSL_ERROR_DC_BAD_SIGNATURE");
	ck_assert_str_eq(verify_nss_name(ERR_CERT_NO_DELEGATION), "SSL_ERROR_DC_INVALID_KEY_USAGE");
	ck_assert_str_eq(verify_nss_name(ERR_CERT_KEY_USAGE), "SSL_ERROR_DC_INVALID_KEY_USAGE");
	ck_assert_str_eq(
		verify_nss_name(ERR_SPKI_MISMATCH), "SSL_ERROR_DC_CERT_VERIFY_ALG_MISMATCH");
	ck_assert_str_eq(
		verify_nss_name(ERR_DC_ALGORITHM), "SSL_ERROR_UNSUPPORTED_SIGNATURE_ALGORITHM");
	ck_assert_ptr_null(verify_nss_name(ERR_DC_BEYOND_CERT));
}
END_TEST

static enum err judge_vector(
	const struct certificate *c, const struct buf *octets, enum dc_role role, int64_t now)
{
	struct refusal why;
	struct dc dc;
	return verify_dc(&dc, octets->octets, octets->len, c, role, now, &why);
}

static const char *string(const json_t *v, const char *name)
{
	const char *s = json_string_value(json_object_get(v, name));
	return s ? s : "";
}

/* The manifest's verdict leaves the purpose of the certificate out. */
static bool purpose_fits(const json_t *v, enum dc_role role)
{
	const json_t *list = json_object_get(json_object_get(v, "certificate"), "eku"), *purpose;
	const char *wanted = role == DC_CLIENT ? "clientAuth" : "serverAuth";
	size_t i;
	if (!json_is_array(list))
		return true;
	json_array_foreach(
		list, i, purpose) if (strcmp(json_string_value(purpose), wanted) == 0) return true;
	return false;
}

static void accepted_between(const char *id, const struct certificate *c, const struct buf *dc,
	enum dc_role role, int64_t begin, int64_t end)
{
	enum err other = judge_vector(c, dc, !role, end);
	ck_assert_msg(judge_vector(c, dc, role, begin - 1) == ERR_DC_VALIDITY, "%s", id);
	ck_assert_msg(judge_vector(c, dc, role, begin) == ERR_OK, "%s", id);
	ck_assert_msg(judge_vector(c, dc, role, end) == ERR_OK, "%s", id);
	ck_assert_msg(judge_vector(c, dc, role, end + 1) == ERR_DC_EXPIRED, "%s", id);
	ck_assert_msg(other == ERR_DC_SIGNATURE || other == ERR_CERT_PURPOSE,
		"%s in the other role: %s", id, err_name(other));
}

/* "ACCEPT for T1 <= T <= T2", or "REJECT at every T: ..." */
static void check_vector(const char *folder, const json_t *v)
{
	const char *verdict = string(v, "verdict_strict_rfc9345"), *id = string(v, "id");
	enum dc_role role = strcmp(string(v, "role"), "client") ? DC_SERVER : DC_CLIENT;
	int64_t expiry = json_integer_value(json_object_get(v, "expiry"));
	struct certificate c = {0};
	struct refusal why = {0};
	struct loaded_dc dc;
	char path[4096], from[21], to[21];
	int64_t begin, end;

	snprintf(path, sizeof path, "%s/%s", folder, string(v, "cert_file"));
	ck_assert_msg(load_certificate(&c, path, &why) == ERR_OK, "%s: %s", path, why.detail);
	snprintf(path, sizeof path, "%s/%s", folder, string(v, "dc_file"));
	if (load_dc(&dc, path, &why) != ERR_OK) {
		ck_assert_msg(!json_is_true(json_object_get(v, "parses_as_rfc9345")), "%s", id);
	} else if (sscanf(verdict, "ACCEPT for %20s <= T <= %20s", from, to) == 2) {
		ck_assert(time_parse(from, &begin) && time_parse(to, &end));
		if (purpose_fits(v, role))
			accepted_between(id, &c, &dc.octets, role, begin, end);
		else
			ck_assert_msg(judge_vector(&c, &dc.octets, role, end) == ERR_CERT_PURPOSE,
				"%s", id);
	} else {
		enum err e = judge_vector(&c, &dc.octets, role, expiry);
		enum err expected =
			strstr(verdict, "expiry not <") ? ERR_DC_BEYOND_CERT : ERR_DC_SIGNATURE;
		ck_assert_msg(e == expected, "%s: %s", id, err_name(e));
	}
	load_dc_free(&dc);
	load_certificate_free(&c);
}

START_TEST(foreign_vectors)
{
	const char *folder = getenv("DCSIGN_VECTORS");
	char path[4096];
	json_t *root, *v;
	size_t i, done = 0;

	if (!folder) {
		fprintf(stderr, "DCSIGN_VECTORS is unset: foreign vectors are skipped\n");
		return;
	}
	snprintf(path, sizeof path, "%s/manifest.json", folder);
	root = json_load_file(path, 0, NULL);
	ck_assert_ptr_nonnull(root);
	json_array_foreach(json_object_get(root, "vectors"), i, v)
	{
		if (!json_object_get(v, "dc_file") || !json_object_get(v, "cert_file"))
			continue;
		check_vector(folder, v);
		done++;
	}
	ck_assert_uint_gt(done, 20);
	json_decref(root);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("verify");
	TCase *t = tcase_create("verify");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_add_test(t, accepts_each_kind);
	tcase_add_test(t, time_bounds);
	tcase_add_test(t, ends_before_the_certificate);
	tcase_add_test(t, the_certificate_must_delegate);
	tcase_add_test(t, algorithms_must_fit);
	tcase_add_test(t, the_key_is_sound_and_its_own);
	tcase_add_test(t, the_role_is_signed);
	tcase_add_test(t, any_flipped_bit_is_refused);
	tcase_add_test(t, names_of_nss);
	tcase_add_test(t, foreign_vectors);
	suite_add_tcase(s, t);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
