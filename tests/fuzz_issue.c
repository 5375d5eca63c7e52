#include "fuzz_files.h"

#include <check.h>
#include <openssl/evp.h>
#include <time.h>

#include "clock.h"
#include "fakes/fake_order.h"
#include "hsm_fixture.h"
#include "issue.h"
#include "pubkey.h"
#include "sign.h"

/*
 * What a taken-over api may say to the process with the key: the input is the body of an ISSUE, its
 * times counted from now when the first octet is odd. Token and ledger are fakes that write down
 * the order of things. Whatever is asked: nothing is signed that was not authorised before, in
 * exactly these octets, and what is granted is a credential that verifies, for the key that was
 * sent, of a client that may, within the policy.
 */
int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len);

/* The fixtures' assertions, without Check's runner. */
void _mark_point(const char *file, int line)
{
	(void)file;
	(void)line;
}

void _ck_assert_failed(const char *file, int line, const char *expr, const char *msg, ...)
{
	(void)file;
	(void)line;
	(void)expr;
	(void)msg;
	abort();
}

static struct keyring *keys;
static struct config *config;
static struct certificate leaf;
static size_t events; /* of the beginning */

static void begin(void)
{
	static struct buf pem;
	struct fixture_key key = {.name = "www", .uri = "pkcs11:object=www", .pem = {&pem}};
	struct certificate chain[CERT_CHAIN_MAX];
	struct fixture_certificate what = {.eku = "serverAuth"};
	struct refusal why;
	size_t count;

	fuzz_hush();
	what.not_before = (int64_t)time(NULL) - 1000;
	what.not_after = what.not_before + 30 * 86400;
	pem = (struct buf)BUF_INIT(65536);
	clock_start();
	fake_reset();
	fixture_certify(&pem, fake_token.key, &what);
	config = fixture_config(&key, 1, "/nowhere", "/nowhere.so", "pkcs11:token=x", NULL);
	insist(keyring_new(&keys, config, "main", &why) == ERR_OK);
	insist(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 20000) == ERR_OK);
	insist(certificate_read_pem(chain, CERT_CHAIN_MAX, &count, pem.octets, pem.len) == ERR_OK);
	leaf = chain[0];
	while (count > 1)
		certificate_free(&chain[--count]);
	events = fake_log.count;
}

static void within_the_policy(
	const struct dc *dc, const struct msg_issue *ask, const struct msg_issue_item *item)
{
	const struct policy *p = config_policy(config, "default");
	int64_t left = dc_expiry(dc, leaf.not_before) - (int64_t)time(NULL);

	insist(strcmp(ask->client, "edge") == 0 && strcmp(item->key, "www") == 0);
	insist(item->role == DC_SERVER); /* the certificate's extended key usage has no other */
	insist(left > 0 && left <= p->max_lifetime + p->max_start_ahead);
	insist(dc_expiry(dc, leaf.not_before) < leaf.not_after);
	insist((p->schemes & scheme_bit(dc->scheme)) != 0);
	insist(item->algorithm == 0 || item->algorithm == dc->scheme);
}

static void is_good(
	const struct msg_grant *g, const struct msg_issue *ask, const struct msg_issue_item *item)
{
	struct buf tbs = BUF_INIT(DC_TBS_MAX), csr = BUF_INIT(CSR_MAX);
	struct octets spki = item->spki;
	struct dc dc;

	insist(dc_parse(&dc, g->dc.at, g->dc.len) == ERR_OK);
	if (item->proof == PROOF_CSR) {
		insist(pubkey_csr(spki.at, spki.len, &csr) == ERR_OK);
		spki = octets_of(csr.octets, csr.len);
	}
	insist(dc.spki_len == spki.len && memcmp(dc.spki, spki.at, spki.len) == 0);
	insist(dc_build_tbs(&tbs, DC_SERVER, leaf.der, leaf.len, &dc) == ERR_OK);
	insist(pubkey_verify(leaf.key, scheme_by_code(dc.algorithm), tbs.octets, tbs.len,
		       dc.signature, dc.signature_len) == ERR_OK);
	within_the_policy(&dc, ask, item);
	buf_free(&tbs);
	buf_free(&csr);
}

static void run(const struct msg_issue *ask)
{
	static struct msg_issue_answer answer;
	static struct buf out = BUF_INIT(MSG_MAX);
	const struct issuer issuer = {.keys = keys, .token = (struct token *)&fake_token};
	const char *granted[MSG_ITEMS];
	struct deadline deadline;
	struct reader body;
	size_t count = 0;

	fake_log.count = events;
	buf_reset(&out);
	deadline_init(&deadline, monotonic_ms() + 60000);
	fake_issue(&issuer, ask, &deadline, &out);
	deadline_destroy(&deadline);
	fake_answered();
	reader_init(&body, out.octets, out.len);
	insist(msg_issue_answer_read(&answer, &body) == ERR_OK);
	insist(answer.count == ask->count && strcmp(answer.request, ask->request) == 0);
	for (uint16_t i = 0; i < answer.count; i++) {
		const struct msg_grant *g = &answer.grant[i];

		insist((g->refusal.err == ERR_OK && !ask->dry_run) == (g->dc.len > 0));
		if (g->dc.len == 0)
			continue;
		is_good(g, ask, &ask->item[i]);
		granted[count++] = g->id;
	}
	insist(fake_order_broken(granted, count) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t len)
{
	static struct msg_issue ask;
	struct reader body;

	if (keys == NULL)
		begin();
	if (len == 0 || len > 16384)
		return 0;
	reader_init(&body, octets + 1, len - 1);
	if (msg_issue_read(&ask, &body) != ERR_OK)
		return 0;
	for (uint16_t i = 0; (octets[0] & 1) && i < ask.count; i++) {
		int64_t now = (int64_t)time(NULL);

		if (ask.item[i].term == TERM_NOT_AFTER)
			__builtin_add_overflow(
				ask.item[i].term_value, now, &ask.item[i].term_value);
		if (ask.item[i].has_not_before)
			__builtin_add_overflow(
				ask.item[i].not_before, now, &ask.item[i].not_before);
	}
	run(&ask);
	return 0;
}
