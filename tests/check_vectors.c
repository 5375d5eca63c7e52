/* Replays tests/vectors, which make_vectors.py made without any of this code. */
#include <check.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "certificate.h"
#include "policy.h"
#include "pubkey.h"
#include "table.h"

static const char *id;

#define expect_text(got, b, field)                                                                 \
	ck_assert_msg(strcmp(got, block_get(b, field)) == 0, "%s: %s is %s, not %s", id, field,    \
		got, block_get(b, field))
#define expect_number(got, b, field)                                                               \
	ck_assert_msg((got) == block_number(b, field), "%s: %s is %lld, not %s", id, field,        \
		(long long)(got), block_get(b, field))

static void expect_octets(const void *got, size_t len, const struct block *b, const char *field)
{
	struct buf hex = BUF_INIT(1 << 20);

	buf_hex(&hex, got, len);
	ck_assert(buf_cstr(&hex) != NULL);
	expect_text(buf_cstr(&hex), b, field);
	buf_free(&hex);
}

static bool listed(const char *list, const char *name)
{
	size_t len = strlen(name);

	for (const char *at = list; (at = strstr(at, name)) != NULL; at++)
		if ((at == list || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0'))
			return true;
	return false;
}

static void check_matches(const struct spki *spki, const char *list)
{
	for (unsigned i = 0; i < scheme_count(); i++) {
		const struct scheme *s = scheme_at(i);
		enum err want = listed(list, s->name) ? ERR_OK
				: s->dc_key	      ? ERR_SPKI_MISMATCH
						      : ERR_SPKI_FORBIDDEN;
		enum err e = spki_matches(spki, s);
		ck_assert_msg(e == want, "%s under %s: %s", id, s->name, err_name(e));
	}
}

/* What libcrypto makes of a key that we accept is the very same octets. */
static void check_canonical(const struct spki *spki)
{
	const uint8_t *at = spki->octets;
	EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)spki->len);
	uint8_t *again = NULL;

	if (strncmp(key_type_name(spki->key), "ML-DSA", 6) == 0)
		return;
	ck_assert_msg(key != NULL, "%s: libcrypto does not take it", id);
	int len = i2d_PUBKEY(key, &again);
	ck_assert_msg(len == (int)spki->len && memcmp(again, spki->octets, spki->len) == 0,
		"%s: libcrypto encodes it otherwise", id);
	OPENSSL_free(again);
	EVP_PKEY_free(key);
}

static void replay_spki(const struct block *b)
{
	struct buf octets = block_octets(b, "spki");
	struct spki spki;

	id = block_get(b, "id");
	enum err e = spki_recognise(&spki, octets.octets, octets.len);
	expect_text(err_name(e), b, "recognise");
	if (e == ERR_OK) {
		expect_text(key_type_name(spki.key), b, "key");
		expect_text(err_name(pubkey_check(&spki)), b, "check");
		check_matches(&spki, block_get(b, "matches"));
		if (strcmp(block_get(b, "check"), "ok") == 0)
			check_canonical(&spki);
	}
	buf_free(&octets);
}

START_TEST(spki_table)
{
	ck_assert_uint_gt(table_each("spki.txt", replay_spki), 150);
}
END_TEST

static void replay_certificate(const struct block *b)
{
	struct buf der = block_octets(b, "der");
	struct certificate c;
	struct refusal why;
	char algorithm[8];

	id = block_get(b, "id");
	enum err e = certificate_read(&c, der.octets, der.len);
	expect_text(err_name(e), b, "read");
	if (e == ERR_OK) {
		ck_assert_msg(c.len == der.len && memcmp(c.der, der.octets, der.len) == 0,
			"%s: other octets", id);
		expect_octets(c.sha256, sizeof c.sha256, b, "sha256");
		expect_octets(c.spki_sha256, sizeof c.spki_sha256, b, "spki_sha256");
		expect_number(c.not_before, b, "not_before");
		expect_number(c.not_after, b, "not_after");
		expect_text(key_type_name(c.key_type), b, "key");
		snprintf(algorithm, sizeof algorithm, "%04x", c.algorithm);
		expect_text(algorithm, b, "algorithm");
		expect_text(err_name(certificate_may_delegate(&c, AS_ISSUER, &why)), b, "issuer");
		expect_text(
			err_name(certificate_may_delegate(&c, AS_VERIFIER, &why)), b, "verifier");
		expect_text(err_name(certificate_allows_role(&c, DC_SERVER)), b, "server");
		expect_text(err_name(certificate_allows_role(&c, DC_CLIENT)), b, "client");
	}
	certificate_free(&c);
	buf_free(&der);
}

START_TEST(certificate_table)
{
	ck_assert_uint_gt(table_each("certificate.txt", replay_certificate), 40);
}
END_TEST

static struct certificate wanted;
static const char *wanted_id;

static void keep_certificate(const struct block *b)
{
	if (strcmp(block_get(b, "id"), wanted_id) != 0)
		return;
	struct buf der = block_octets(b, "der");
	ck_assert_int_eq(certificate_read(&wanted, der.octets, der.len), ERR_OK);
	buf_free(&der);
}

static enum err verify(const struct dc *dc, const struct buf *tbs)
{
	const struct scheme *scheme = scheme_by_code(dc->algorithm);

	if (scheme == NULL)
		return ERR_DC_ALGORITHM;
	return pubkey_verify(
		wanted.key, scheme, tbs->octets, tbs->len, dc->signature, dc->signature_len);
}

static void check_tbs(const struct dc *dc, const struct block *b)
{
	struct buf tbs = BUF_INIT(DC_TBS_MAX);
	uint8_t hash[SHA256_SIZE];
	enum dc_role role, role_again;
	struct dc again;

	ck_assert(dc_role_parse(block_get(b, "role"), &role));
	ck_assert_int_eq(dc_build_tbs(&tbs, role, wanted.der, wanted.len, dc), ERR_OK);
	expect_number((int64_t)tbs.len, b, "tbs_len");
	sha256(tbs.octets, tbs.len, hash);
	expect_octets(hash, sizeof hash, b, "tbs_sha256");
	expect_text(err_name(verify(dc, &tbs)), b, "verify");

	ck_assert_int_eq(
		dc_parse_tbs(&again, &role_again, tbs.octets, tbs.len, wanted.der, wanted.len),
		ERR_OK);
	ck_assert_int_eq(role_again, role);
	ck_assert_uint_eq(again.valid_time, dc->valid_time);
	ck_assert_uint_eq(again.algorithm, dc->algorithm);
	expect_octets(again.spki, again.spki_len, b, "spki");
	buf_free(&tbs);
}

static void check_credential(const struct dc *dc, const struct buf *octets, const struct block *b)
{
	struct buf again = BUF_INIT(DC_MAX);

	ck_assert_int_eq(dc_build(&again, dc), ERR_OK);
	ck_assert(
		again.len == octets->len && memcmp(again.octets, octets->octets, octets->len) == 0);
	buf_free(&again);
	if (block_get(b, "certificate")[0] == '\0')
		return;
	wanted_id = block_get(b, "certificate");
	table_each("certificate.txt", keep_certificate);
	ck_assert(wanted.der != NULL);
	expect_number((int64_t)dc->valid_time, b, "valid_time");
	ck_assert_uint_eq(dc->scheme, block_code(b, "scheme"));
	ck_assert_uint_eq(dc->algorithm, block_code(b, "algorithm"));
	expect_octets(dc->spki, dc->spki_len, b, "spki");
	expect_number(dc_expiry(dc, wanted.not_before), b, "expiry");
	expect_number(dc_window_opens(wanted.not_before, dc_expiry(dc, wanted.not_before)), b,
		"window_opens");
	check_tbs(dc, b);
	certificate_free(&wanted);
}

static void replay_credential(const struct block *b)
{
	struct buf octets = block_octets(b, "dc");
	struct dc dc;

	id = block_get(b, "id");
	enum err e = dc_parse(&dc, octets.octets, octets.len);
	expect_text(err_name(e), b, "parse");
	if (e == ERR_OK)
		check_credential(&dc, &octets, b);
	buf_free(&octets);
}

START_TEST(credential_table)
{
	ck_assert_uint_gt(table_each("dc.txt", replay_credential), 90);
}
END_TEST

static void replay_request(const struct block *b)
{
	struct buf csr = block_octets(b, "csr"), spki = BUF_INIT(SPKI_MAX);

	id = block_get(b, "id");
	expect_text(err_name(pubkey_csr(csr.octets, csr.len, &spki)), b, "verify");
	expect_octets(spki.octets, spki.len, b, "spki");
	buf_free(&csr);
	buf_free(&spki);
}

START_TEST(request_table)
{
	ck_assert_uint_gt(table_each("csr.txt", replay_request), 18);
}
END_TEST

static void replay_chain(const struct block *b)
{
	struct certificate chain[CERT_CHAIN_MAX];
	struct buf anchor = block_octets(b, "anchor"), pem = BUF_INIT(1 << 20);
	struct refusal why;
	size_t count = 0;
	char field[32];

	id = block_get(b, "id");
	pem_certificate(&pem, &anchor);
	for (;; count++) {
		snprintf(field, sizeof field, "chain%zu", count);
		if (block_get(b, field)[0] == '\0')
			break;
		struct buf der = block_octets(b, field);
		ck_assert_int_eq(certificate_read(&chain[count], der.octets, der.len), ERR_OK);
		buf_free(&der);
	}
	enum err e = certificate_chain_verify(
		chain, count, pem.octets, pem.len, block_number(b, "now"), &why);
	ck_assert_msg(strcmp(err_name(e), block_get(b, "verify")) == 0, "%s: %s %s", id,
		err_name(e), why.detail);
	ck_assert_int_eq(why.err, e);
	ck_assert_int_eq(
		certificate_chain_verify(chain, 0, pem.octets, pem.len, 0, NULL), ERR_CERT_CHAIN);
	ck_assert_int_eq(certificate_chain_verify(chain, count, NULL, 0, 0, NULL), ERR_CERT_CHAIN);
	while (count > 0)
		certificate_free(&chain[--count]);
	buf_free(&pem);
	buf_free(&anchor);
}

START_TEST(chain_table)
{
	ck_assert_uint_gt(table_each("chain.txt", replay_chain), 15);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("vectors");
	TCase *cases = tcase_create("vectors");

	tcase_add_test(cases, spki_table);
	tcase_add_test(cases, certificate_table);
	tcase_add_test(cases, chain_table);
	tcase_add_test(cases, credential_table);
	tcase_add_test(cases, request_table);
	suite_add_tcase(suite, cases);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
