/* Bounds of the core that no table of vectors reaches: octets that nobody sends, structures that
 * contradict themselves, lengths beyond all, failures below. */
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#include "certificate.h"
#include "merkle.h"
#include "message_fields.h"
#include "pubkey.h"
#include "record.h"
#include "run_suite.h"
#include "table.h"

/* ---- the key of a certificate ---- */

static struct buf p384, mldsa, pss;

static void take_spki(const struct block *b)
{
	const char *id = block_get(b, "id");
	struct buf *to = strcmp(id, "P-384") == 0		     ? &p384
			 : strcmp(id, "ML-DSA-44") == 0		     ? &mldsa
			 : strcmp(id, "pss-sha256-salt-digest") == 0 ? &pss
								     : NULL;

	if (to != NULL)
		*to = block_octets(b, "spki");
}

static void spkis_take(void)
{
	table_each("spki.txt", take_spki);
	ck_assert_uint_gt(p384.len, 0);
	ck_assert_uint_gt(mldsa.len, 0);
	ck_assert_uint_gt(pss.len, 0);
}

static void spkis_free(void)
{
	buf_free(&p384);
	buf_free(&mldsa);
	buf_free(&pss);
}

/* What is said of the key and the key itself are not of one kind: none is made of them. */
START_TEST(key_of_a_certificate)
{
	struct certificate c = {.key_type = KEY_EC_P256};
	EVP_PKEY *key;

	spkis_take();
	ck_assert_ptr_null(certificate_key(&c)); /* it has none */
	c.spki = p384.octets;
	c.spki_len = p384.len;
	ck_assert_ptr_null(certificate_key(&c));
	c.key_type = KEY_EC_P384;
	key = certificate_key(&c);
	ck_assert_ptr_nonnull(key);
	EVP_PKEY_free(key);
	c.spki_len--;
	ck_assert_ptr_null(certificate_key(&c));
	c.spki = mldsa.octets;
	c.spki_len = mldsa.len;
	ck_assert_ptr_null(certificate_key(&c));
	spkis_free();
}
END_TEST

/* ---- subjects ---- */

static void subject_of(X509_NAME *name, char out[256])
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = X509_new();
	struct certificate c;
	uint8_t *der = NULL;
	int len;

	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), 7);
	X509_set_subject_name(x, name);
	X509_set_issuer_name(x, name);
	ASN1_TIME_set_string_X509(X509_getm_notBefore(x), "20260101000000Z");
	ASN1_TIME_set_string_X509(X509_getm_notAfter(x), "20270101000000Z");
	X509_set_pubkey(x, key);
	ck_assert_int_gt(X509_sign(x, key, EVP_sha256()), 0);
	len = i2d_X509(x, &der);
	ck_assert_int_eq(certificate_read(&c, der, (size_t)len), ERR_OK);
	memcpy(out, c.subject, sizeof c.subject);
	certificate_free(&c);
	OPENSSL_free(der);
	X509_free(x);
	EVP_PKEY_free(key);
}

/* None, and one that is longer than what is kept of it. */
START_TEST(subjects)
{
	X509_NAME *name = X509_NAME_new();
	const unsigned char unit[61] = "0123456789abcdefghijklmnopqrstuvwxyz"
				       "0123456789abcdefghijklmn";
	char out[256];

	subject_of(name, out);
	ck_assert_str_eq(out, "");
	for (int i = 0; i < 8; i++)
		ck_assert_int_eq(
			X509_NAME_add_entry_by_txt(name, "OU", MBSTRING_ASC, unit, 60, -1, 0), 1);
	subject_of(name, out);
	ck_assert_uint_eq(strlen(out), 255);
	ck_assert_mem_eq(out, "OU=0123", 7);
	X509_NAME_free(name);
}
END_TEST

/* ---- lengths ---- */

/* More octets than there can be: not one of them is read. */
START_TEST(longer_than_anything)
{
	const uint8_t one = 0x30;
	struct certificate chain[CERT_CHAIN_MAX];
	struct certificate_outline outline[CERT_CHAIN_MAX];
	struct buf out = BUF_INIT(SPKI_MAX), big = BUF_INIT(2 * SPKI_MAX);
	struct spki spki;
	size_t count = 7;

	ck_assert_int_eq(certificate_read(&chain[0], &one, SIZE_MAX), ERR_CERT_MALFORMED);
	ck_assert_int_eq(certificate_read_pem(chain, CERT_CHAIN_MAX, &count, &one, SIZE_MAX),
		ERR_CERT_MALFORMED);
	ck_assert_uint_eq(count, 0);
	ck_assert_int_eq(certificate_outline_pem(outline, CERT_CHAIN_MAX, &count, &one, SIZE_MAX),
		ERR_CERT_MALFORMED);
	ck_assert_uint_eq(count, 0);
	ck_assert_int_ne(certificate_chain_verify(chain, 0, &one, SIZE_MAX, 0, NULL), ERR_OK);
	ck_assert_int_eq(pubkey_csr(&one, SIZE_MAX, &out), ERR_PROOF_INVALID);
	ck_assert_int_eq(spki_recognise(&spki, &one, SIZE_MAX), ERR_SPKI_UNKNOWN);
	/* one octet more than a key may have */
	spkis_take();
	buf_put(&big, mldsa.octets, mldsa.len);
	while (big.len <= SPKI_MAX)
		buf_u8(&big, 0);
	ck_assert_int_eq(spki_recognise(&spki, big.octets, big.len), ERR_SPKI_UNKNOWN);
	buf_free(&big);
	buf_free(&out);
	spkis_free();
}
END_TEST

/* ---- public keys ---- */

static bool within(const uint8_t *at, const uint8_t *from, size_t len)
{
	return at >= from && at < from + len;
}

/* Each octet of an RSASSA-PSS key with parameters, with each value: nothing but its modulus, its
 * exponent and the length of its salt may differ. */
START_TEST(every_damage_of_an_rsa_key)
{
	struct spki good, found;
	const uint8_t *salt = NULL;

	spkis_take();
	ck_assert_int_eq(spki_recognise(&good, pss.octets, pss.len), ERR_OK);
	for (size_t i = 0; i + 5 <= pss.len && salt == NULL; i++)
		if (memcmp(pss.octets + i, "\xa2\x03\x02\x01\x20", 5) == 0)
			salt = pss.octets + i + 4;
	ck_assert_ptr_nonnull(salt);
	for (size_t i = 0; i < pss.len; i++) {
		uint8_t *at = pss.octets + i, was = *at;

		for (unsigned v = 0; v < 256; v++) {
			*at = (uint8_t)v;
			if (v == was || spki_recognise(&found, pss.octets, pss.len) != ERR_OK)
				continue;
			ck_assert_msg(within(at, good.modulus - 1, good.modulus_len + 1) ||
					      within(at, good.modulus + good.modulus_len + 2, 3) ||
					      at == salt,
				"octet %zu may be %02x", i, v);
			ck_assert_int_eq(found.pss_digest, DIGEST_SHA256);
			ck_assert_int_eq(found.key, KEY_RSA_PSS);
			ck_assert(at != salt || v <= 32);
		}
		*at = was;
	}
	for (size_t i = 0; i < pss.len; i++) /* and none is shorter */
		ck_assert_int_ne(spki_recognise(&found, pss.octets, i), ERR_OK);
	spkis_free();
}
END_TEST

START_TEST(point_at_infinity)
{
	static const uint8_t zero;
	const struct spki spki = {.key = KEY_EC_P256, .point = &zero, .point_len = 1};

	ck_assert_int_eq(pubkey_check(&spki), ERR_SPKI_INVALID);
}
END_TEST

/* ---- PKCS#10 requests ---- */

static X509_REQ *request_of(EVP_PKEY *key, const EVP_MD *md)
{
	X509_REQ *request = X509_REQ_new();

	ck_assert_int_eq(X509_REQ_set_pubkey(request, key), 1);
	ck_assert_int_gt(X509_REQ_sign(request, key, md), 0);
	return request;
}

static enum err proves(X509_REQ *request)
{
	struct buf spki = BUF_INIT(SPKI_MAX);
	uint8_t *der = NULL;
	int len = i2d_X509_REQ(request, &der);
	enum err e;

	ck_assert_int_gt(len, 0);
	e = pubkey_csr(der, (size_t)len, &spki);
	ck_assert_int_eq(e == ERR_OK, spki.len > 0);
	buf_free(&spki);
	OPENSSL_free(der);
	return e;
}

/* What a signature's algorithm says of itself. */
START_TEST(algorithms_of_requests)
{
	EVP_PKEY *edwards = EVP_PKEY_Q_keygen(NULL, NULL, "ED448"), *key = EVP_EC_gen("P-256");
	X509_REQ *request = request_of(edwards, NULL);
	ASN1_STRING *none = ASN1_STRING_type_new(V_ASN1_SEQUENCE);
	X509_ALGOR *algorithm = X509_ALGOR_new();

	ck_assert_int_eq(proves(request), ERR_OK);
	X509_REQ_free(request);
	request = request_of(key, EVP_sha256());
	ck_assert_int_eq(proves(request), ERR_OK);
	/* RSASSA-PSS without parameters */
	X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_rsassaPss), V_ASN1_UNDEF, NULL);
	ck_assert_int_eq(X509_REQ_set1_signature_algo(request, algorithm), 1);
	ck_assert_int_eq(proves(request), ERR_PROOF_INVALID);
	/* with empty ones: SHA-1 */
	ck_assert_int_eq(ASN1_STRING_set(none, "\x30\x00", 2), 1);
	X509_ALGOR_set0(algorithm, OBJ_nid2obj(NID_rsassaPss), V_ASN1_SEQUENCE, none);
	ck_assert_int_eq(X509_REQ_set1_signature_algo(request, algorithm), 1);
	ck_assert_int_eq(proves(request), ERR_PROOF_INVALID);
	/* one that nobody knows */
	X509_ALGOR_set0(algorithm, OBJ_txt2obj("1.2.3.4", 1), V_ASN1_UNDEF, NULL);
	ck_assert_int_eq(X509_REQ_set1_signature_algo(request, algorithm), 1);
	ck_assert_int_eq(proves(request), ERR_PROOF_INVALID);
	X509_ALGOR_free(algorithm);
	X509_REQ_free(request);
	EVP_PKEY_free(key);
	EVP_PKEY_free(edwards);
}
END_TEST

/* ---- messages ---- */

struct odd {
	char text[600];
	uint8_t number;
	uint16_t count;
};

static const struct field text_alone[] = {
	STRING(odd, text, field_is_utf8),
	FIELDS_END,
};
static const struct field number_alone[] = {
	RANGE(odd, number, 5, 9),
	FIELDS_END,
};

static enum err writes(const struct field *f, const struct odd *o)
{
	struct buf out = BUF_INIT(1024);
	enum err e;

	fields_write(&out, f, (const uint8_t *)o);
	e = out.err;
	buf_free(&out);
	return e;
}

START_TEST(fields_beyond_their_bounds)
{
	struct odd o = {.count = 0};

	memset(o.text, 'a', sizeof o.text);
	ck_assert_int_eq(writes(text_alone, &o), ERR_FORMAT); /* it has no end */
	o.text[513] = '\0';
	ck_assert_int_eq(writes(text_alone, &o), ERR_FORMAT); /* longer than any text */
	o.text[512] = '\0';
	ck_assert_int_eq(writes(text_alone, &o), ERR_OK);
	for (unsigned n = 0; n < 12; n++) {
		o.number = (uint8_t)n;
		ck_assert_int_eq(writes(number_alone, &o), n < 5 || n > 9 ? ERR_FORMAT : ERR_OK);
	}
}
END_TEST

/* ---- records ---- */

START_TEST(octets_that_are_no_record)
{
	struct record r, found;
	struct buf good = BUF_INIT(4096), bad = BUF_INIT(4096);

	ck_assert_str_eq(record_type_name((enum record_type)0), "?");
	ck_assert_str_eq(record_type_name(RECORD_TYPES), "?");
	ck_assert_str_eq(record_type_name(RECORD_STOP), "STOP");
	record_init(&r, RECORD_UNKNOWN);
	r.time = 7;
	r.id = octets_text("0123456789abcdef0123456789abcdef");
	r.detail = octets_text("x");
	ck_assert_int_eq(record_encode(&good, &r), ERR_OK);
	ck_assert_int_eq(record_decode(&found, good.octets, good.len), ERR_OK);
	ck_assert_int_eq(record_encode(&bad, &(struct record){.type = RECORD_TYPES}), ERR_FORMAT);
	r.id = octets_text("0123456789ABCDEF0123456789abcdef");
	ck_assert_int_eq(record_encode(&bad, &r), ERR_FORMAT);
	/* each octet, with each value: what is read is written as it was */
	for (size_t i = 0; i < good.len; i++)
		for (unsigned v = 0; v < 256; v++) {
			uint8_t was = good.octets[i];

			good.octets[i] = (uint8_t)v;
			buf_reset(&bad);
			if (record_decode(&found, good.octets, good.len) == ERR_OK) {
				ck_assert_int_eq(record_encode(&bad, &found), ERR_OK);
				ck_assert_uint_eq(bad.len, good.len);
				ck_assert_mem_eq(bad.octets, good.octets, good.len);
			}
			good.octets[i] = was;
		}
	/* a member that is there, and empty */
	buf_reset(&bad);
	buf_put(&bad, good.octets, good.len);
	ck_assert_mem_eq(bad.octets + 9, "\x00\x00\x00\x01x", 5);
	memmove(bad.octets + 13, bad.octets + 14, bad.len - 14);
	bad.octets[12] = 0;
	ck_assert_int_eq(record_decode(&found, bad.octets, bad.len - 1), ERR_FORMAT);
	buf_free(&good);
	buf_free(&bad);
}
END_TEST

/* ---- proofs ---- */

static unsigned left; /* subtrees up to the one that can't be read */

static enum err subtree(void *arg, unsigned level, uint64_t index, uint8_t out[SHA256_SIZE])
{
	(void)arg;
	if (left == 0)
		return ERR_SYSTEM;
	left--;
	memset(out, (int)(level + index), SHA256_SIZE);
	return ERR_OK;
}

/* The n-th hash can't be read: no proof is made of the others. */
START_TEST(hashes_that_can_t_be_read)
{
	const uint64_t size = 1000;
	struct merkle_proof proof;
	uint8_t root[SHA256_SIZE];
	enum err e[3] = {ERR_SYSTEM, ERR_SYSTEM, ERR_SYSTEM};
	unsigned n;

	for (n = 0; e[0] || e[1] || e[2]; n++) {
		left = n;
		e[0] = merkle_root_at(size, subtree, NULL, root);
		left = n;
		e[1] = merkle_inclusion(&proof, 345, size, subtree, NULL);
		ck_assert(e[1] == ERR_SYSTEM || proof.count == 10);
		left = n;
		e[2] = merkle_consistency(&proof, 301, size, subtree, NULL);
		for (int i = 0; i < 3; i++)
			ck_assert(e[i] == ERR_OK || e[i] == ERR_SYSTEM);
		ck_assert_uint_lt(n, 100);
	}
	ck_assert_uint_gt(n, 10);
	ck_assert_int_eq(merkle_root_at(0, subtree, NULL, root), ERR_NOT_FOUND);
	ck_assert_int_eq(merkle_inclusion(&proof, 5, 5, subtree, NULL), ERR_NOT_FOUND);
	ck_assert_int_eq(merkle_consistency(&proof, 0, 5, subtree, NULL), ERR_NOT_FOUND);
	ck_assert_int_eq(merkle_consistency(&proof, 6, 5, subtree, NULL), ERR_NOT_FOUND);
}
END_TEST

RUN_SUITE("bounds", key_of_a_certificate, subjects, longer_than_anything,
	every_damage_of_an_rsa_key, point_at_infinity, algorithms_of_requests,
	fields_beyond_their_bounds, octets_that_are_no_record, hashes_that_can_t_be_read)
