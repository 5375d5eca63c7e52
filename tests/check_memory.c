/*
 * The n-th allocation fails, for every n, in each function of the trusted core that allocates,
 * libcrypto's allocations counted as well: nothing that is wrong passes, nothing that was
 * allocated here is lost, and the next call works.
 */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certificate.h"
#include "dc.h"
#include "failing_malloc.h"
#include "ledger_help.h"
#include "pubkey.h"
#include "run_suite.h"
#include "table.h"

#define ALLOCATIONS_MAX 20000
#define EACH_TO		300 /* beyond so many: every second, every third ... */

/* Runs it with each allocation failing in turn, of the many of a long way some. It gives what comes
 * with enough memory, or another error; where that is an error, never ERR_OK. It gives ERR_INTERNAL
 * for a result that is wrong. */
static void each_allocation_fails(const char *what, enum err (*f)(const void *), const void *arg)
{
	enum err wanted, e;
	unsigned n = 1;
	bool failed;

	failing_malloc_at(0);
	wanted = f(arg); /* libcrypto makes its tables */
	ck_assert_int_ne(wanted, ERR_INTERNAL);
	do {
		long before = failing_malloc_alive(), after;

		failing_malloc_at(n);
		e = f(arg);
		failed = failing_malloc_failed();
		failing_malloc_at(0);
		after = failing_malloc_alive();
		ck_assert_msg(after == before, "%s: allocation %u: %ld pieces are lost", what, n,
			after - before);
		ck_assert_msg(e != ERR_INTERNAL, "%s: allocation %u: a wrong result", what, n);
		ck_assert_msg(e == wanted || e != ERR_OK, "%s: allocation %u: ok, not %s", what, n,
			err_name(wanted));
		ck_assert_msg(failed || e == wanted, "%s: %s, not %s", what, err_name(e),
			err_name(wanted));
		ck_assert_uint_lt(n, ALLOCATIONS_MAX);
		n += 1 + n / EACH_TO;
	} while (failed);
	e = f(arg);
	ck_assert_msg(e == wanted, "%s: afterwards %s", what, err_name(e));
}

/* ---- certificates ---- */

static struct certificate model;
static const struct block *block;

/* With enough memory the facts are those of the model. A key that can't be read signs nothing. */
static enum err read_certificate(const void *arg)
{
	const struct buf *der = arg;
	struct certificate c;
	enum err e = certificate_read(&c, der->octets, der->len);

	if (e != ERR_OK)
		return e;
	if (c.len != der->len || memcmp(c.sha256, model.sha256, SHA256_SIZE) != 0 ||
		memcmp(c.spki_sha256, model.spki_sha256, SHA256_SIZE) != 0 ||
		c.not_before != model.not_before || c.not_after != model.not_after ||
		c.has_delegation != model.has_delegation || c.is_ca != model.is_ca ||
		c.duplicate_extension != model.duplicate_extension ||
		c.digital_signature != model.digital_signature || c.has_eku != model.has_eku ||
		(c.algorithm != model.algorithm && c.algorithm != 0) ||
		c.weak_signature != model.weak_signature)
		e = ERR_INTERNAL;
	certificate_free(&c);
	return e;
}

static bool first_of(const char *const *ids, const struct block *b)
{
	for (; *ids != NULL; ids++)
		if (strcmp(*ids, block_get(b, "id")) == 0)
			return true;
	return false;
}

static void try_certificate(const struct block *b)
{
	static const char *const ids[] = {"p256", "ed25519", "rsa", "pss", "sha1", NULL};
	struct buf der = block_octets(b, "der");

	if (first_of(ids, b)) {
		ck_assert_int_eq(certificate_read(&model, der.octets, der.len), ERR_OK);
		each_allocation_fails(block_get(b, "id"), read_certificate, &der);
		certificate_free(&model);
	}
	buf_free(&der);
}

START_TEST(a_certificate_is_read)
{
	table_each("certificate.txt", try_certificate);
}
END_TEST

static enum err read_pem(const void *arg)
{
	const struct buf *pem = arg;
	struct certificate chain[CERT_CHAIN_MAX];
	size_t count;
	enum err e = certificate_read_pem(chain, CERT_CHAIN_MAX, &count, pem->octets, pem->len);

	if (e == ERR_OK ? count != 2 : count != 0)
		e = ERR_INTERNAL;
	while (count > 0)
		certificate_free(&chain[--count]);
	return e;
}

static enum err read_outline(const void *arg)
{
	const struct buf *pem = arg;
	struct certificate_outline chain[CERT_CHAIN_MAX];
	size_t count;
	enum err e = certificate_outline_pem(chain, CERT_CHAIN_MAX, &count, pem->octets, pem->len);

	if (e == ERR_OK ? count != 2 : count != 0)
		e = ERR_INTERNAL;
	certificate_outline_free(chain, count);
	return e;
}

struct chain {
	struct certificate certificates[CERT_CHAIN_MAX];
	size_t count;
	struct buf anchor;
	int64_t now;
};

static enum err verify_chain(const void *arg)
{
	const struct chain *c = arg;

	return certificate_chain_verify(
		c->certificates, c->count, c->anchor.octets, c->anchor.len, c->now, NULL);
}

static void try_chain(const struct block *b)
{
	struct chain c = {.now = block_number(b, "now"), .anchor = BUF_INIT(1 << 20)};
	struct buf der = block_octets(b, "anchor"), pem = BUF_INIT(1 << 20);
	char field[32];

	pem_certificate(&c.anchor, &der);
	buf_free(&der);
	for (;; c.count++) {
		snprintf(field, sizeof field, "chain%zu", c.count);
		if (block_get(b, field)[0] == '\0')
			break;
		der = block_octets(b, field);
		ck_assert_int_eq(
			certificate_read(&c.certificates[c.count], der.octets, der.len), ERR_OK);
		pem_certificate(&pem, &der);
		buf_free(&der);
	}
	each_allocation_fails(block_get(b, "id"), verify_chain, &c);
	if (c.count == 2) {
		each_allocation_fails("pem", read_pem, &pem);
		each_allocation_fails("outline", read_outline, &pem);
	}
	while (c.count > 0)
		certificate_free(&c.certificates[--c.count]);
	buf_free(&c.anchor);
	buf_free(&pem);
}

static unsigned chains;

static void try_some_chains(const struct block *b)
{
	if (chains++ % 6 == 0)
		try_chain(b);
}

START_TEST(a_chain_is_verified)
{
	table_each("chain.txt", try_some_chains);
}
END_TEST

/* ---- public keys ---- */

static enum err check_key(const void *arg)
{
	return pubkey_check(arg);
}

/* Of each kind of key, and of each verdict, the first. */
static void try_key(const struct block *b)
{
	static bool seen[64][2];
	struct buf octets = block_octets(b, "spki");
	bool good = strcmp(block_get(b, "check"), "ok") == 0;
	struct spki spki;

	if (spki_recognise(&spki, octets.octets, octets.len) == ERR_OK && !seen[spki.key][good]) {
		seen[spki.key][good] = true;
		each_allocation_fails(block_get(b, "id"), check_key, &spki);
	}
	buf_free(&octets);
}

START_TEST(a_key_is_checked)
{
	table_each("spki.txt", try_key);
}
END_TEST

static struct buf request_spki;

static enum err read_request(const void *arg)
{
	const struct buf *csr = arg;
	struct buf spki = BUF_INIT(SPKI_MAX);
	enum err e = pubkey_csr(csr->octets, csr->len, &spki);

	if (e == ERR_OK && (spki.len != request_spki.len ||
				   memcmp(spki.octets, request_spki.octets, spki.len) != 0))
		e = ERR_INTERNAL;
	buf_free(&spki);
	return e;
}

static void try_request(const struct block *b)
{
	struct buf csr = block_octets(b, "csr");

	request_spki = block_octets(b, "spki");
	each_allocation_fails(block_get(b, "id"), read_request, &csr);
	buf_free(&request_spki);
	buf_free(&csr);
}

START_TEST(a_request_proves_its_key)
{
	table_each("csr.txt", try_request);
}
END_TEST

struct signed_dc {
	struct dc dc;
	struct buf tbs;
};

static enum err verify_signature(const void *arg)
{
	const struct signed_dc *d = arg;

	return pubkey_verify(model.key, scheme_by_code(d->dc.algorithm), d->tbs.octets, d->tbs.len,
		d->dc.signature, d->dc.signature_len);
}

static void keep_model(const struct block *b)
{
	if (strcmp(block_get(b, "id"), block_get(block, "certificate")) != 0)
		return;
	struct buf der = block_octets(b, "der");
	ck_assert_int_eq(certificate_read(&model, der.octets, der.len), ERR_OK);
	buf_free(&der);
}

/* Of each algorithm, and of each verdict, the first. */
static void try_signature(const struct block *b)
{
	static struct {
		uint16_t algorithm;
		char verdict[32];
	} seen[64];
	static unsigned many;
	struct buf octets = block_octets(b, "dc");
	struct signed_dc d = {.tbs = BUF_INIT(DC_TBS_MAX)};
	enum dc_role role;
	bool is_new = block_get(b, "certificate")[0] != '\0' &&
		      dc_parse(&d.dc, octets.octets, octets.len) == ERR_OK &&
		      scheme_by_code(d.dc.algorithm) != NULL;

	for (unsigned i = 0; i < many && is_new; i++)
		is_new = seen[i].algorithm != d.dc.algorithm ||
			 strcmp(seen[i].verdict, block_get(b, "verify")) != 0;
	if (is_new) {
		ck_assert_uint_lt(many, 64);
		seen[many].algorithm = d.dc.algorithm;
		snprintf(seen[many++].verdict, sizeof seen->verdict, "%s", block_get(b, "verify"));
		block = b;
		table_each("certificate.txt", keep_model);
		ck_assert(dc_role_parse(block_get(b, "role"), &role));
		ck_assert_int_eq(dc_build_tbs(&d.tbs, role, model.der, model.len, &d.dc), ERR_OK);
		each_allocation_fails(block_get(b, "id"), verify_signature, &d);
		certificate_free(&model);
	}
	buf_free(&d.tbs);
	buf_free(&octets);
}

START_TEST(a_signature_is_verified)
{
	table_each("dc.txt", try_signature);
}
END_TEST

static enum err encode_signature(const void *arg)
{
	struct buf out = BUF_INIT(256);
	const uint8_t *raw = arg;
	enum err e = pubkey_ecdsa_der(KEY_EC_P256, raw, 64, &out);

	if (e == ERR_OK && (out.len != 70 || out.octets[0] != 0x30))
		e = ERR_INTERNAL;
	buf_free(&out);
	return e;
}

START_TEST(a_signature_is_encoded)
{
	uint8_t raw[64];

	memset(raw, 0x11, sizeof raw);
	each_allocation_fails("ecdsa", encode_signature, raw);
	memset(raw, 0xff, sizeof raw); /* not below the order */
	each_allocation_fails("ecdsa", encode_signature, raw);
}
END_TEST

/* ---- credentials and records ---- */

static struct issuer issuer;
static struct sample sample;

static enum err build_dc(const void *arg)
{
	struct buf out = BUF_INIT(DC_MAX), tbs = BUF_INIT(DC_TBS_MAX);
	struct dc dc;
	enum err e = dc_parse(&dc, sample.dc.octets, sample.dc.len);

	(void)arg;
	if (e == ERR_OK)
		e = dc_build(&out, &dc);
	if (e == ERR_OK)
		e = dc_build_tbs(&tbs, DC_SERVER, issuer.certificate, issuer.certificate_len, &dc);
	if (e == ERR_OK &&
		(out.len != sample.dc.len || memcmp(out.octets, sample.dc.octets, out.len) != 0 ||
			tbs.len != sample.tbs.len ||
			memcmp(tbs.octets, sample.tbs.octets, tbs.len) != 0))
		e = ERR_INTERNAL;
	buf_free(&tbs);
	buf_free(&out);
	return e;
}

/* Through APPEND, as JSON, and back. */
static enum err carry_record(const void *arg)
{
	const struct record *r = arg;
	struct buf octets = BUF_INIT(RECORD_MAX), json = BUF_INIT(RECORD_MAX);
	struct buf again = BUF_INIT(RECORD_MAX), text = BUF_INIT(RECORD_MAX);
	struct record carried, parsed;
	enum err e = record_encode(&octets, r);

	if (e == ERR_OK)
		e = record_decode(&carried, octets.octets, octets.len);
	if (e == ERR_OK) {
		carried.chain = octets_text("sign1/main");
		carried.idx = 7;
		e = record_write(&json, &carried);
	}
	if (e == ERR_OK)
		e = record_parse(&parsed, &text, (const char *)json.octets, json.len);
	if (e == ERR_OK)
		e = record_write(&again, &parsed);
	if (e == ERR_OK &&
		(again.len != json.len || memcmp(again.octets, json.octets, json.len) != 0))
		e = ERR_INTERNAL;
	buf_free(&octets);
	buf_free(&json);
	buf_free(&again);
	buf_free(&text);
	return e;
}

START_TEST(credentials_and_records)
{
	issuer_make(&issuer);
	sample_make(&sample, &issuer, 1);
	each_allocation_fails("credential", build_dc, NULL);
	each_allocation_fails("AUTHORISED", carry_record, &sample.authorised);
	each_allocation_fails("ISSUED", carry_record, &sample.issued);
	each_allocation_fails("KEY-PROVED", carry_record, &sample.proved);
	sample_free(&sample);
	issuer_free(&issuer);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {a_certificate_is_read, a_chain_is_verified, a_key_is_checked,
		a_request_proves_its_key, a_signature_is_verified, a_signature_is_encoded,
		credentials_and_records};

	if (!failing_malloc_libcrypto())
		return EXIT_FAILURE;
	return run_suite("memory", tests, sizeof tests / sizeof *tests);
}
