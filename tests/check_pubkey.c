/* ECDSA signatures of a token, and certificate files and chains. */
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <string.h>

#include "certificate.h"
#include "pubkey.h"
#include "run_suite.h"
#include "table.h"

static const struct {
	enum key_type key;
	int curve;
	size_t size;
} curves[] = {
	{KEY_EC_P256, NID_X9_62_prime256v1, 32},
	{KEY_EC_P384, NID_secp384r1, 48},
	{KEY_EC_P521, NID_secp521r1, 66},
};

static void put_number(uint8_t *out, const BIGNUM *n, int delta, size_t size)
{
	BIGNUM *v = BN_dup(n);

	ck_assert(delta < 0 ? BN_sub_word(v, (BN_ULONG)-delta) : BN_add_word(v, (BN_ULONG)delta));
	ck_assert_int_eq(BN_bn2binpad(v, out, (int)size), (int)size);
	BN_free(v);
}

static enum err to_der(unsigned i, const uint8_t *raw, struct buf *out)
{
	buf_reset(out);
	return pubkey_ecdsa_der(curves[i].key, raw, 2 * curves[i].size, out);
}

START_TEST(ecdsa_der)
{
	struct buf out = BUF_INIT(256);
	uint8_t raw[132], back[132];

	for (unsigned i = 0; i < 3; i++) {
		size_t size = curves[i].size;
		EC_GROUP *group = EC_GROUP_new_by_curve_name(curves[i].curve);
		const BIGNUM *n = EC_GROUP_get0_order(group);
		for (int r = -1; r <= 1; r++) {
			for (int s = -1; s <= 1; s++) {
				put_number(raw, n, r, size);
				put_number(raw + size, n, s, size);
				bool ok = r < 0 && s < 0;
				ck_assert_int_eq(
					to_der(i, raw, &out), ok ? ERR_OK : ERR_DC_SIGNATURE);
				ck_assert_uint_eq(out.len > 0, ok);
			}
		}
		for (unsigned form = 0; form < 4; form++) {
			memset(raw, 0, sizeof raw);
			raw[size - 1] = form & 1;
			raw[2 * size - 1] = (uint8_t)((form & 2) << 6);
			ck_assert_int_eq(
				to_der(i, raw, &out), form == 3 ? ERR_OK : ERR_DC_SIGNATURE);
		}
		ck_assert_mem_eq(out.octets, "\x30\x07\x02\x01\x01\x02\x02\x00\x80", 9);
		const uint8_t *at = out.octets;
		ECDSA_SIG *sig = d2i_ECDSA_SIG(NULL, &at, (long)out.len);
		BN_bn2binpad(ECDSA_SIG_get0_r(sig), back, (int)size);
		BN_bn2binpad(ECDSA_SIG_get0_s(sig), back + size, (int)size);
		ck_assert_mem_eq(back, raw, 2 * size);
		ECDSA_SIG_free(sig);
		EC_GROUP_free(group);
		for (size_t len = 0; len <= 140; len++)
			if (len != 2 * size)
				ck_assert_int_eq(pubkey_ecdsa_der(curves[i].key, raw, len, &out),
					ERR_LENGTH);
	}
	ck_assert_int_eq(pubkey_ecdsa_der(KEY_ED25519, raw, 64, &out), ERR_LENGTH);
	ck_assert_int_eq(pubkey_ecdsa_der(KEY_NONE, raw, 64, &out), ERR_LENGTH);
	buf_free(&out);
}
END_TEST

/* A signature of another scheme's kind never verifies, and a missing key is no crash. */
START_TEST(verify_binds_key)
{
	EVP_PKEY *key = EVP_EC_gen("P-384");
	uint8_t signature[200] = {0};

	ck_assert_int_eq(pubkey_verify(key, scheme_by_code(0x0403), signature, 10, signature, 10),
		ERR_DC_ALGORITHM);
	ck_assert_int_eq(pubkey_verify(key, scheme_by_code(0x0503), signature, 10, signature, 10),
		ERR_DC_SIGNATURE);
	ck_assert_int_eq(pubkey_verify(NULL, scheme_by_code(0x0503), signature, 10, signature, 10),
		ERR_DC_ALGORITHM);
	ck_assert_int_eq(pubkey_verify(key, scheme_by_code(0x0904), signature, 10, signature, 10),
		ERR_DC_ALGORITHM);
	EVP_PKEY_free(key);
}
END_TEST

static struct buf pem;

static void add_pem(const struct buf *der)
{
	struct buf text = BUF_INIT(1 << 20);

	buf_base64(&text, der->octets, der->len);
	buf_text(&pem, "-----BEGIN CERTIFICATE-----\n");
	for (size_t at = 0; at < text.len; at += 64)
		buf_printf(&pem, "%.64s\n", buf_cstr(&text) + at);
	buf_text(&pem, "-----END CERTIFICATE-----\n");
	buf_free(&text);
}

static void add_good(const struct block *b)
{
	if (strcmp(block_get(b, "id"), "p256") != 0 && strcmp(block_get(b, "id"), "p384") != 0)
		return;
	struct buf der = block_octets(b, "der");
	add_pem(&der);
	buf_free(&der);
}

static enum err read_text(const char *text, size_t *count)
{
	struct certificate chain[CERT_CHAIN_MAX];
	enum err e = certificate_read_pem(
		chain, CERT_CHAIN_MAX, count, (const uint8_t *)text, strlen(text));

	for (size_t i = 0; i < *count; i++)
		certificate_free(&chain[i]);
	return e;
}

START_TEST(pem_files)
{
	struct certificate chain[2];
	size_t count;

	pem = (struct buf)BUF_INIT(1 << 20);
	table_each("certificate.txt", add_good);
	ck_assert_int_eq(certificate_read_pem(chain, 2, &count, pem.octets, pem.len), ERR_OK);
	ck_assert_uint_eq(count, 2);
	ck_assert_int_eq(chain[0].key_type, KEY_EC_P256);
	ck_assert_str_eq(chain[0].subject, "CN=p256");
	ck_assert_str_eq(chain[0].serial, "1001");
	ck_assert_int_eq(chain[1].key_type, KEY_EC_P384);
	certificate_free(&chain[0]);
	certificate_free(&chain[1]);
	ck_assert_int_eq(
		certificate_read_pem(chain, 1, &count, pem.octets, pem.len), ERR_CERT_MALFORMED);
	ck_assert_uint_eq(count, 0);
	ck_assert_int_eq(certificate_read_pem(chain, 2, &count, NULL, 0), ERR_CERT_MALFORMED);

	char *text = strdup(buf_cstr(&pem));
	ck_assert_int_eq(read_text(text, &count), ERR_OK);
	/* a changed or missing character anywhere: two whole certificates or none */
	size_t len = strlen(text);
	for (size_t i = 0; i < len; i += 7) {
		char kept = text[i];
		text[i] = kept == '#' ? '!' : '#';
		enum err e = read_text(text, &count);
		ck_assert_msg(e != ERR_OK, "changed at %zu: %zu certificates", i, count);
		text[i] = '\0';
		e = read_text(text, &count);
		ck_assert(e != ERR_OK || count == 1);
		text[i] = kept;
	}
	free(text);
	buf_free(&pem);
}
END_TEST

/* The outline says what the whole reading says, or refuses what that refuses, too; it never takes
 * octets that are not there. */
static void outline_agrees(const char *id, const struct buf *der)
{
	struct certificate_outline outline;
	struct certificate whole;
	size_t count, read = 0;
	enum err e;

	pem = (struct buf)BUF_INIT(1 << 20);
	add_pem(der);
	e = certificate_outline_pem(&outline, 1, &count, pem.octets, pem.len);
	ck_assert(e == ERR_OK ? count == 1 : count == 0);
	if (certificate_read_pem(&whole, 1, &read, pem.octets, pem.len) == ERR_OK) {
		ck_assert_msg(e == ERR_OK, "%s: %s", id, err_name(e));
		ck_assert_mem_eq(outline.sha256, whole.sha256, SHA256_SIZE);
		ck_assert_mem_eq(outline.spki_sha256, whole.spki_sha256, SHA256_SIZE);
		certificate_free(&whole);
	}
	certificate_outline_free(&outline, count);
	buf_free(&pem);
}

/* Each certificate, cut everywhere, and with each octet of its outer parts changed. */
static void try_outline(const struct block *b)
{
	struct buf der = block_octets(b, "der");
	size_t len = der.len;
	bool first = strcmp(block_get(b, "id"), "p256") == 0;

	outline_agrees(block_get(b, "id"), &der);
	for (size_t i = 0; i < len && first; i++) {
		static const uint8_t others[] = {0x00, 0x30, 0x7f, 0x80, 0x81, 0x83, 0xff};
		uint8_t kept = der.octets[i];

		der.len = i;
		outline_agrees("cut", &der);
		der.len = len;
		for (size_t k = 0; i < 200 && k < sizeof others; k++) {
			der.octets[i] = others[k];
			outline_agrees("changed", &der);
		}
		der.octets[i] = kept;
	}
	buf_free(&der);
}

START_TEST(outlines)
{
	struct certificate_outline chain[2];
	size_t count;
	char text[8192];

	table_each("certificate.txt", try_outline);
	/* other blocks are passed over; one certificate too many and a header are refused */
	pem = (struct buf)BUF_INIT(1 << 20);
	table_each("certificate.txt", add_good);
	ck_assert_int_eq(certificate_outline_pem(chain, 2, &count, pem.octets, pem.len), ERR_OK);
	ck_assert_uint_eq(count, 2);
	certificate_outline_free(chain, count);
	ck_assert_int_eq(
		certificate_outline_pem(chain, 1, &count, pem.octets, pem.len), ERR_CERT_MALFORMED);
	ck_assert_uint_eq(count, 0);
	snprintf(text, sizeof text, "-----BEGIN X-----\nAAAA\n-----END X-----\n%s", buf_cstr(&pem));
	ck_assert_int_eq(
		certificate_outline_pem(chain, 2, &count, (const uint8_t *)text, strlen(text)),
		ERR_OK);
	certificate_outline_free(chain, count);
	ck_assert_int_eq(read_text(text, &count), ERR_OK);
	ck_assert_int_eq(certificate_outline_pem(chain, 2, &count, (const uint8_t *)text, 40),
		ERR_CERT_MALFORMED);
	snprintf(text, sizeof text, "-----BEGIN CERTIFICATE-----\nProc-Type: 4,CLEAR\n\n%s",
		buf_cstr(&pem) + strlen("-----BEGIN CERTIFICATE-----\n"));
	ck_assert_int_eq(
		certificate_outline_pem(chain, 2, &count, (const uint8_t *)text, strlen(text)),
		ERR_CERT_MALFORMED);
	ck_assert_int_eq(read_text(text, &count), ERR_CERT_MALFORMED);
	ck_assert_int_eq(certificate_outline_pem(chain, 2, &count, NULL, 0), ERR_CERT_MALFORMED);
	buf_free(&pem);
}
END_TEST

START_TEST(validity)
{
	struct certificate c = {.not_before = 1000, .not_after = 2000};

	ck_assert_int_eq(certificate_valid_at(&c, 999), ERR_CERT_NOT_YET);
	ck_assert_int_eq(certificate_valid_at(&c, 1000), ERR_OK);
	ck_assert_int_eq(certificate_valid_at(&c, 1999), ERR_OK);
	ck_assert_int_eq(certificate_valid_at(&c, 2000), ERR_CERT_EXPIRED);
	ck_assert_int_eq(certificate_valid_at(&c, 2001), ERR_CERT_EXPIRED);
}
END_TEST

RUN_SUITE("pubkey", ecdsa_der, verify_binds_key, pem_files, outlines, validity)
