/* issue: the order of its steps, its refusals, its outcomes. Token and ledger are fakes. */
#include <check.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "counters.h"
#include "credential.h"
#include "failing_malloc.h"
#include "fakes/fake_order.h"
#include "hsm_fixture.h"
#include "issue.h"
#include "policy.h"
#include "pubkey.h"
#include "sign.h"
#include "table.h"

static struct buf pem, spki, answer_octets;
static struct keyring *keys;
static struct msg_issue ask;
static struct msg_issue_answer answer;
static struct deadline deadline;

static void begin(const char *eku)
{
	int64_t now = (int64_t)time(NULL);
	const struct fixture_certificate what = {
		.not_before = now - 1000, .not_after = now + 30 * 86400, .eku = eku};
	struct fixture_key key = {.name = "www", .uri = "pkcs11:object=www", .pem = {&pem}};
	struct config *config;
	struct refusal why;

	clock_start();
	fake_reset();
	pem = (struct buf)BUF_INIT(65536);
	spki = (struct buf)BUF_INIT(SPKI_MAX);
	answer_octets = (struct buf)BUF_INIT(MSG_MAX);
	fixture_certify(&pem, fake_token.key, &what);
	config = fixture_config(&key, 1, "/nowhere", "/nowhere.so", "pkcs11:token=x", NULL);
	ck_assert_int_eq(keyring_new(&keys, config, "main", &why), ERR_OK);
	config_unref(config);
	ck_assert_int_eq(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
	fixture_issue(&ask, "www", &spki, 1);
	deadline_init(&deadline, monotonic_ms() + 60000);
}

static void setup(void)
{
	begin(NULL);
}

static void teardown(void)
{
	keyring_unref(keys);
	deadline_destroy(&deadline);
	buf_free(&pem);
	buf_free(&spki);
	buf_free(&answer_octets);
	fake_reset();
	EVP_PKEY_free(fake_token.key);
	fake_token.key = NULL;
}

/* Issues, and checks the order of everything that happened. */
static void run(void)
{
	struct issuer issuer = {.keys = keys, .token = (struct token *)&fake_token};
	const char *granted[MSG_ITEMS];
	struct reader body;
	size_t count = 0;

	buf_reset(&answer_octets);
	fake_issue(&issuer, &ask, &deadline, &answer_octets);
	fake_answered();
	reader_init(&body, answer_octets.octets, answer_octets.len);
	ck_assert_int_eq(msg_issue_answer_read(&answer, &body), ERR_OK);
	ck_assert_uint_eq(answer.count, ask.count);
	ck_assert_str_eq(answer.request, ask.request);
	for (uint16_t i = 0; i < answer.count; i++)
		if (answer.grant[i].refusal.err == ERR_OK &&
			!(answer.grant[i].flags & (GRANT_REPLAYED | GRANT_DRY_RUN)))
			granted[count++] = answer.grant[i].id;
	ck_assert_msg(
		fake_order_broken(granted, count) == NULL, "%s", fake_order_broken(granted, count));
}

static void refused(enum err e, const char *field)
{
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, e);
	ck_assert_str_eq(answer.grant[0].refusal.field, field);
	ck_assert_uint_eq(answer.grant[0].dc.len, 0);
	ck_assert_uint_eq(fake_count(RECORD_AUTHORISED), 0);
	ck_assert_uint_eq(fake_count(RECORD_REFUSED), 1);
	ck_assert_str_eq(fake_log.event[fake_log.count - 2].reason, err_name(e));
}

static void verify(const struct msg_grant *g)
{
	struct certificate chain[CERT_CHAIN_MAX];
	struct buf tbs = BUF_INIT(DC_TBS_MAX);
	size_t count;
	struct dc dc;

	certificate_read_pem(chain, CERT_CHAIN_MAX, &count, pem.octets, pem.len);
	ck_assert_int_eq(dc_parse(&dc, g->dc.at, g->dc.len), ERR_OK);
	dc_build_tbs(&tbs, (enum dc_role)g->role, chain[0].der, chain[0].len, &dc);
	ck_assert_int_eq(pubkey_verify(chain[0].key, scheme_by_code(dc.algorithm), tbs.octets,
				 tbs.len, dc.signature, dc.signature_len),
		ERR_OK);
	buf_free(&tbs);
	while (count > 0)
		certificate_free(&chain[--count]);
}

/* As of a key whose signatures are the longest. */
static void long_signatures(void)
{
	fake_token.signature_len = TOKEN_SIGNATURE_MAX;
	keyring_forget(keys);
	ck_assert_int_eq(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
}

START_TEST(authorised_signed_issued_answered)
{
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	verify(&answer.grant[0]);
	ck_assert_uint_eq(fake_count(RECORD_AUTHORISED), 1);
	ck_assert_uint_eq(fake_count(RECORD_ISSUED), 1);
	ck_assert_uint_eq(answer.grant[0].flags, 0);
	ck_assert_str_eq(answer.grant[0].chain, "node1/main");
	ck_assert_int_eq(answer.grant[0].not_after - (int64_t)time(NULL) <= 3600, 1);
	ck_assert_uint_eq(fake_append.max_live_key, 100000);
}
END_TEST

/* The checker itself: the two orders that must never be. */
START_TEST(order_is_checked)
{
	const char *granted[] = {answer.grant[0].id};

	run();
	for (size_t i = 0; i < fake_log.count; i++)
		if (fake_log.event[i].type == RECORD_AUTHORISED)
			fake_log.event[i].what = EVENT_SENT;
	ck_assert_ptr_nonnull(fake_order_broken(granted, 1));
	for (size_t i = 0; i < fake_log.count; i++)
		if (fake_log.event[i].type == RECORD_AUTHORISED)
			fake_log.event[i].what = EVENT_DURABLE;
	ck_assert_ptr_null(fake_order_broken(granted, 1));
	for (size_t i = 0; i < fake_log.count; i++)
		if (fake_log.event[i].type == RECORD_ISSUED)
			fake_log.event[i].what = EVENT_SENT;
	ck_assert_ptr_nonnull(fake_order_broken(granted, 1));
}
END_TEST

START_TEST(batch_is_one_commit_each)
{
	ask.count = 100;
	for (int i = 1; i < 100; i++)
		ask.item[i] = ask.item[0];
	ask.item[50].term_value = 604800;
	run();
	for (uint16_t i = 0; i < 100; i++) {
		if (i == 50)
			ck_assert_int_eq(answer.grant[i].refusal.err, ERR_LIFETIME_LONG);
		else
			verify(&answer.grant[i]);
	}
	ck_assert_uint_eq(fake_count(RECORD_ISSUED), 99);
	/* SELF-TEST, KEY-PROVED; REFUSED; 99 AUTHORISED, 99 signatures, 99 ISSUED in that order */
	for (size_t i = 0; i < 99; i++)
		ck_assert_int_eq(fake_log.event[4 + i].type, RECORD_AUTHORISED);
	ck_assert_int_eq(fake_log.event[4 + 99].what, EVENT_SIGN);
}
END_TEST

/* The largest batch fits, with PKCS#10 requests, references and idempotency keys. */
START_TEST(batch_of_the_most_items)
{
	struct buf csr = BUF_INIT(8192), message = BUF_INIT(MSG_MAX);

	fixture_csr(&csr);
	ask.count = MSG_ITEMS;
	ask.item[0].proof = PROOF_CSR;
	ask.item[0].spki = octets_of(csr.octets, csr.len);
	ask.item[0].reference = octets_text("a reference of the usual length, a ticket");
	for (int i = 1; i < MSG_ITEMS; i++)
		ask.item[i] = ask.item[0];
	msg_issue_write(&message, &ask);
	ck_assert_int_eq(message.err, ERR_OK);
	run();
	for (int i = 0; i < MSG_ITEMS; i++)
		verify(&answer.grant[i]);
	buf_free(&message);
	buf_free(&csr);
}
END_TEST

START_TEST(batch_that_can_t_be_answered)
{
	ask.count = MSG_ITEMS;
	for (int i = 1; i < MSG_ITEMS; i++)
		ask.item[i] = ask.item[0];
	long_signatures();
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_TOO_LARGE);
	ck_assert_uint_eq(fake_count(RECORD_AUTHORISED), 0);
}
END_TEST

START_TEST(proof_of_possession)
{
	struct buf csr = BUF_INIT(CSR_MAX);

	fixture_csr(&csr);
	ask.item[0].proof = PROOF_CSR;
	ask.item[0].spki = octets_of(csr.octets, csr.len);
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	verify(&answer.grant[0]);
	csr.octets[csr.len - 5] ^= 1;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_PROOF_INVALID);
	buf_free(&csr);
}
END_TEST

START_TEST(unknown_client)
{
	snprintf(ask.client, NAME_SIZE, "stranger");
	refused(ERR_UNKNOWN_CLIENT, "");
}
END_TEST

START_TEST(client_without_right)
{
	snprintf(ask.client, NAME_SIZE, "reader");
	refused(ERR_NO_RIGHT, "");
}
END_TEST

START_TEST(client_without_key)
{
	snprintf(ask.client, NAME_SIZE, "other");
	refused(ERR_NO_KEY, "key");
}
END_TEST

START_TEST(no_such_key)
{
	snprintf(ask.item[0].key, NAME_SIZE, "nokey");
	refused(ERR_NO_KEY, "key");
}
END_TEST

START_TEST(algorithm_not_of_the_key)
{
	ask.item[0].algorithm = SCHEME_ECDSA_P384;
	refused(ERR_SPKI_MISMATCH, "algorithm");
}
END_TEST

START_TEST(algorithm_not_approved)
{
	EVP_PKEY *key = EVP_EC_gen("P-521");
	uint8_t *octets = NULL;
	int len = i2d_PUBKEY(key, &octets);

	ask.item[0].spki = octets_of(octets, (size_t)len);
	refused(ERR_ALGORITHM, "algorithm");
	OPENSSL_free(octets);
	EVP_PKEY_free(key);
}
END_TEST

START_TEST(lifetime_too_long)
{
	ask.item[0].term_value = 604800;
	refused(ERR_LIFETIME_LONG, "lifetime");
}
END_TEST

START_TEST(start_too_far_ahead)
{
	ask.item[0].has_not_before = 1;
	ask.item[0].not_before = (int64_t)time(NULL) + 86400;
	refused(ERR_START_FUTURE, "not_before");
}
END_TEST

START_TEST(certificate_does_not_allow_the_role)
{
	teardown();
	begin("serverAuth");
	ask.item[0].role = DC_CLIENT;
	refused(ERR_CERT_PURPOSE, "role");
}
END_TEST

START_TEST(key_of_the_certificate)
{
	uint8_t *octets = NULL;
	int len = i2d_PUBKEY(fake_token.key, &octets);

	ask.item[0].spki = octets_of(octets, (size_t)len);
	refused(ERR_SPKI_REUSED, "public_key");
	OPENSSL_free(octets);
}
END_TEST

START_TEST(key_of_the_client_itself)
{
	sha256(spki.octets, spki.len, ask.client_spki_sha256);
	refused(ERR_SPKI_REUSED, "public_key");
}
END_TEST

START_TEST(octets_that_are_no_key)
{
	ask.item[0].spki.len--;
	refused(ERR_SPKI_UNKNOWN, "public_key");
}
END_TEST

START_TEST(dry_run_signs_and_records_nothing)
{
	size_t before = fake_log.count;

	ask.dry_run = 1;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	ck_assert_uint_eq(answer.grant[0].flags, GRANT_DRY_RUN);
	ck_assert_uint_eq(answer.grant[0].dc.len, 0);
	ck_assert_str_eq(answer.grant[0].id, "");
	ck_assert_uint_gt(answer.grant[0].valid_time, 0);
	ck_assert_uint_eq(fake_log.count, before + 2); /* the ledger's judgement, the answer */
	ck_assert_int_eq(fake_log.event[before].what, EVENT_JUDGED);
	ck_assert_int_eq(fake_log.event[before].type, RECORD_AUTHORISED);
	fake_append.refuse_authorised = ERR_HELD;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_HELD);
}
END_TEST

START_TEST(ledger_refuses)
{
	fake_append.refuse_authorised = ERR_HELD;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_HELD);
	ck_assert_uint_eq(fake_count(RECORD_ISSUED), 0);
	ck_assert_uint_eq(counter_get(COUNTER_VERIFY_FAILURES), 0);
}
END_TEST

START_TEST(ledger_is_gone_before_signing)
{
	fake_append.fail_type = RECORD_AUTHORISED;
	fake_append.fail_type_err = ERR_LEDGER_UNAVAILABLE;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_LEDGER_UNAVAILABLE);
}
END_TEST

START_TEST(ledger_is_gone_after_signing)
{
	fake_append.fail_type = RECORD_ISSUED;
	fake_append.fail_type_err = ERR_LEDGER_UNAVAILABLE;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OUTCOME_UNKNOWN);
	ck_assert_uint_eq(answer.grant[0].dc.len, 0);
}
END_TEST

START_TEST(ledger_writes_late)
{
	fake_append.refuse_issued = ERR_OUTCOME_UNKNOWN;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OUTCOME_UNKNOWN);
	ck_assert_uint_eq(answer.grant[0].dc.len, 0);
}
END_TEST

/* However long the token takes. */
START_TEST(one_reading_of_the_clock)
{
	int64_t time = 0;

	deadline.at = monotonic_ms() + 60000;
	fake_token.delay_ms = 1100;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	for (size_t i = 0; i < fake_log.count; i++) {
		const struct fake_event *e = &fake_log.event[i];

		if (e->type == RECORD_AUTHORISED)
			time = e->time;
		if (e->type == RECORD_ISSUED)
			ck_assert_int_eq(e->time, time);
	}
	ck_assert_int_ne(time, 0);
}
END_TEST

START_TEST(shared_key_is_told)
{
	fake_append.shared = true;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	ck_assert_uint_eq(answer.grant[0].flags, GRANT_KEY_SHARED);
}
END_TEST

/* A bad signature is never released, whatever it looks like; it is FAILED and not tried again. */
START_TEST(bad_signature_is_not_released)
{
	unsigned before = (unsigned)counter_get(COUNTER_VERIFY_FAILURES);

	fake_token.plan[0] = _i == 0 ? PLAN_FLIP : PLAN_FOREIGN;
	fake_token.plans = 1;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_KEY_UNAVAILABLE);
	ck_assert_uint_eq(answer.grant[0].dc.len, 0);
	ck_assert_uint_eq(fake_count(RECORD_ISSUED), 0);
	ck_assert_uint_eq(fake_count(RECORD_FAILED), 1);
	ck_assert_uint_eq(fake_count(RECORD_AUTHORISED), 1);
	ck_assert_uint_eq(fake_token.spoiled, 1);
	ck_assert_uint_eq(counter_get(COUNTER_VERIFY_FAILURES), before + 1);
}
END_TEST

START_TEST(errors_are_tried_again)
{
	fake_token.plan[0] = PLAN_INIT_BUSY;
	fake_token.plan[1] = PLAN_SIGN_ERROR;
	fake_token.plans = 2;
	run();
	verify(&answer.grant[0]);
	ck_assert_uint_eq(fake_count(RECORD_AUTHORISED), 3);
	ck_assert_uint_eq(fake_count(RECORD_FAILED), 1);
	ck_assert_uint_eq(fake_count(RECORD_UNKNOWN), 1);
	ck_assert_uint_eq(fake_count(RECORD_ISSUED), 1);
	for (size_t i = 0; i < fake_log.count; i++)
		if (fake_log.event[i].type == RECORD_ISSUED)
			ck_assert_int_eq(fake_log.event[i].attempt, 3);
}
END_TEST

START_TEST(three_attempts_at_most)
{
	for (size_t i = 0; i < 4; i++)
		fake_token.plan[i] = PLAN_INIT_BUSY;
	fake_token.plans = 4;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_TOKEN);
	ck_assert_uint_eq(fake_count(RECORD_AUTHORISED), 3);
	ck_assert_uint_eq(fake_count(RECORD_FAILED), 3);
	ck_assert_uint_eq(fake_token.planned, 3);
}
END_TEST

START_TEST(no_session)
{
	fake_token.take = ERR_TOKEN;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_TOKEN);
	ck_assert_uint_eq(fake_count(RECORD_FAILED), 1);
}
END_TEST

/* Nor is there one for a second thread. */
START_TEST(no_session_for_a_batch)
{
	fake_token.take = ERR_TOKEN;
	fake_token.width = 4;
	ask.count = 3;
	ask.item[1] = ask.item[2] = ask.item[0];
	run();
	for (uint16_t i = 0; i < 3; i++)
		ck_assert_int_eq(answer.grant[i].refusal.err, ERR_TOKEN);
	ck_assert_uint_eq(fake_count(RECORD_FAILED), 3);
	ck_assert_uint_eq(
		fake_token.asked, 1 + 1 + 3); /* for the self-test, a second thread, each */
}
END_TEST

/* The deadline passes inside C_Sign: the signature is written down, not released. */
START_TEST(late_signature)
{
	fake_token.expires = &deadline;
	fake_token.expires_in = 1;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OUTCOME_UNKNOWN);
	ck_assert_uint_eq(answer.grant[0].dc.len, 0);
	ck_assert_uint_eq(fake_count(RECORD_LATE), 1);
	ck_assert_uint_eq(fake_count(RECORD_ISSUED), 0);
	ck_assert_int_eq(deadline_said(&deadline, 0), ERR_OUTCOME_UNKNOWN);
}
END_TEST

START_TEST(deadline_before_anything)
{
	deadline.at = monotonic_ms();
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_TIMEOUT);
	ck_assert_uint_eq(fake_count(RECORD_AUTHORISED), 0);
	ck_assert(deadline_claim(&deadline));
	ck_assert(!deadline_claim(&deadline));
}
END_TEST

/* The rest of a batch is not signed any more, and says so. */
START_TEST(deadline_within_a_batch)
{
	ask.count = 5;
	for (int i = 1; i < 5; i++)
		ask.item[i] = ask.item[0];
	fake_token.expires = &deadline;
	fake_token.expires_in = 2;
	run();
	ck_assert_uint_eq(fake_count(RECORD_AUTHORISED), 5);
	ck_assert_uint_eq(fake_count(RECORD_LATE), 2);
	ck_assert_uint_eq(fake_count(RECORD_FAILED), 3);
	ck_assert_int_eq(answer.grant[4].refusal.err, ERR_TIMEOUT);
}
END_TEST

static void replay_of(int64_t expiry)
{
	static const uint8_t dc[] = "the octets of the first credential";
	struct record a, i;
	uint8_t digest[SHA256_SIZE] = {7};

	record_init(&a, RECORD_AUTHORISED);
	a.time = a.now = 1;
	a.id = a.request = octets_text("fedcba9876543210fedcba9876543210");
	a.attempt = 1;
	a.client = a.key = a.peer = a.policy = octets_text("x");
	a.client_sha256 = a.certificate_sha256 = a.spki_sha256 = a.tbs_sha256 = a.generation =
		octets_of(digest, sizeof digest);
	a.role = octets_text("server");
	a.algorithm = octets_text("ecdsa_secp256r1_sha256");
	a.signature_algorithm = octets_text("ecdsa_secp384r1_sha384");
	a.spki = octets_of(digest, 5);
	a.possession = octets_text("csr");
	a.lifetime_asked = a.lifetime_granted = a.cert_not_before = 1;
	a.valid_time = 4711;
	a.expiry = expiry;
	a.window_opens = 99;
	ck_assert_int_eq(record_encode(&fake_append.replay_authorised, &a), ERR_OK);
	record_init(&i, RECORD_ISSUED);
	i.time = 1;
	i.id = a.id;
	i.attempt = 1;
	i.chain = octets_text("node2/main");
	i.idx = 77;
	i.dc = octets_of(dc, sizeof dc);
	i.dc_sha256 = octets_of(digest, sizeof digest);
	ck_assert_int_eq(record_encode(&fake_append.replay_issued, &i), ERR_OK);
	fake_append.replay = true;
	snprintf(ask.item[0].idempotency, IDEMPOTENCY_SIZE, "once");
}

START_TEST(replay_is_the_first_credential)
{
	int64_t expiry = (int64_t)time(NULL) + 100;

	replay_of(expiry);
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	ck_assert_uint_eq(answer.grant[0].flags, GRANT_REPLAYED);
	ck_assert_str_eq(answer.grant[0].id, "fedcba9876543210fedcba9876543210");
	ck_assert_int_eq(answer.grant[0].not_after, expiry);
	ck_assert_uint_eq(answer.grant[0].valid_time, 4711);
	ck_assert_uint_eq(answer.grant[0].algorithm, SCHEME_ECDSA_P384);
	ck_assert_str_eq(answer.grant[0].chain, "node2/main");
	ck_assert_uint_eq(answer.grant[0].idx, 77);
	ck_assert_uint_eq(fake_token.taken, 1); /* the self-test's */
}
END_TEST

START_TEST(replay_that_expired)
{
	replay_of((int64_t)time(NULL));
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_IDEMPOTENCY_EXPIRED);
	ck_assert_uint_eq(answer.grant[0].dc.len, 0);
}
END_TEST

/* ---- what is wrong with a key, in words ---- */

static void ask_for(EVP_PKEY *key, struct buf *octets)
{
	uint8_t *der = NULL;
	int len = i2d_PUBKEY(key, &der);

	ck_assert_int_gt(len, 0);
	*octets = (struct buf)BUF_INIT(SPKI_MAX);
	buf_put(octets, der, (size_t)len);
	OPENSSL_free(der);
	EVP_PKEY_free(key);
	ask.item[0].spki = octets_of(octets->octets, octets->len);
}

static bool told(const char *what)
{
	return strstr(answer.grant[0].refusal.detail, what) != NULL;
}

START_TEST(rsa_keys)
{
	struct buf octets;

	ask_for(EVP_RSA_gen(2048), &octets); /* rsaEncryption */
	refused(ERR_SPKI_FORBIDDEN, "public_key");
	ck_assert(told("must not be used") && told("policy default takes keys for: ecdsa_"));
	buf_free(&octets);
	fake_log.count = 3;
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
	EVP_PKEY *pss = NULL;
	ck_assert(EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_generate(ctx, &pss) == 1);
	EVP_PKEY_CTX_free(ctx);
	ask_for(pss, &octets);
	refused(ERR_ALGORITHM, "algorithm");
	ck_assert(told("must be named"));
	buf_free(&octets);
}
END_TEST

START_TEST(unknown_algorithm)
{
	ask.item[0].algorithm = 0x1234;
	refused(ERR_ALGORITHM, "algorithm");
	ck_assert(told("0x1234"));
}
END_TEST

START_TEST(point_off_the_curve)
{
	spki.octets[spki.len - 1] ^= 1;
	refused(ERR_SPKI_INVALID, "public_key");
	ck_assert(told("make a new key"));
}
END_TEST

START_TEST(certificate_for_clients_alone)
{
	teardown();
	begin("clientAuth");
	refused(ERR_CERT_PURPOSE, "role");
	ck_assert(told("lacks serverAuth: ask for role client"));
}
END_TEST

/* ---- replays that can't be what the ledger keeps ---- */

static struct record replayed[2]; /* AUTHORISED, ISSUED */

/* The same two records, changed, of these two as many octets less: the credential is not released.
 */
static void replay_is_refused(size_t authorised, size_t issued)
{
	fake_log.count = 3;
	buf_reset(&fake_append.replay_authorised);
	buf_reset(&fake_append.replay_issued);
	ck_assert_int_eq(record_encode(&fake_append.replay_authorised, &replayed[0]), ERR_OK);
	ck_assert_int_eq(record_encode(&fake_append.replay_issued, &replayed[1]), ERR_OK);
	fake_append.replay_authorised.len -= authorised;
	fake_append.replay_issued.len -= issued;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_INTERNAL);
	ck_assert_uint_eq(answer.grant[0].dc.len, 0);
}

START_TEST(replays_that_make_no_sense)
{
	struct record good[2];
	uint8_t octets[2][4096];
	struct buf *from[] = {&fake_append.replay_authorised, &fake_append.replay_issued};

	replay_of((int64_t)time(NULL) + 100);
	for (int i = 0; i < 2; i++) { /* good borrows from octets */
		memcpy(octets[i], from[i]->octets, from[i]->len);
		ck_assert_int_eq(record_decode(&good[i], octets[i], from[i]->len), ERR_OK);
	}
	memcpy(replayed, good, sizeof good);
	replayed[0].role = octets_text("emperor");
	replay_is_refused(0, 0);
	replayed[0].role = octets_text("a role with a name longer than any");
	replay_is_refused(0, 0);
	memcpy(replayed, good, sizeof good);
	replayed[0].algorithm = octets_text("rot13");
	replay_is_refused(0, 0);
	memcpy(replayed, good, sizeof good);
	replayed[0].signature_algorithm = octets_text("rot13");
	replay_is_refused(0, 0);
	memcpy(replayed, good, sizeof good);
	record_init(&replayed[1], RECORD_FAILED);
	replayed[1].time = 1;
	replayed[1].id = good[1].id;
	replayed[1].attempt = 1;
	replayed[1].reason = octets_text("x");
	replay_is_refused(0, 0);
	memcpy(replayed, good, sizeof good);
	replay_is_refused(1, 0);
	replay_is_refused(0, 1);
}
END_TEST

/* Its certificate is the present one, another client has a credential for its key, and the ledger
 * names no chain: that is told, too. */
START_TEST(replay_of_the_present_certificate)
{
	struct certificate chain[CERT_CHAIN_MAX];
	struct buf octets = BUF_INIT(DC_MAX);
	size_t count;

	run();
	buf_put(&octets, answer.grant[0].dc.at, answer.grant[0].dc.len);
	replay_of((int64_t)time(NULL) + 100);
	ck_assert_int_eq(record_decode(&replayed[0], fake_append.replay_authorised.octets,
				 fake_append.replay_authorised.len),
		ERR_OK);
	struct buf authorised = BUF_INIT(RECORD_MAX);
	ck_assert_int_eq(
		certificate_read_pem(chain, CERT_CHAIN_MAX, &count, pem.octets, pem.len), ERR_OK);
	replayed[0].certificate_sha256 = octets_of(chain[0].sha256, SHA256_SIZE);
	ck_assert_int_eq(record_encode(&authorised, &replayed[0]), ERR_OK);
	buf_free(&fake_append.replay_authorised);
	fake_append.replay_authorised = authorised;
	record_init(&replayed[1], RECORD_ISSUED);
	replayed[1].time = 1;
	replayed[1].id = octets_text("fedcba9876543210fedcba9876543210");
	replayed[1].attempt = 1;
	replayed[1].dc = octets_of(octets.octets, octets.len);
	replayed[1].dc_sha256 = octets_of(chain[0].sha256, SHA256_SIZE);
	replayed[1].shared = 1;
	buf_reset(&fake_append.replay_issued);
	ck_assert_int_eq(record_encode(&fake_append.replay_issued, &replayed[1]), ERR_OK);
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	ck_assert_uint_eq(answer.grant[0].flags, GRANT_REPLAYED | GRANT_KEY_SHARED);
	ck_assert_str_eq(answer.grant[0].chain, "node1/main");
	verify(&answer.grant[0]);
	/* what the ledger keeps is given, even what can't be read */
	replayed[1].dc = octets_text("x");
	buf_reset(&fake_append.replay_issued);
	ck_assert_int_eq(record_encode(&fake_append.replay_issued, &replayed[1]), ERR_OK);
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	ck_assert_uint_eq(answer.grant[0].compat, 0);
	/* a dry run says that there is one, and not which */
	ask.dry_run = 1;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	ck_assert(answer.grant[0].flags & GRANT_DRY_RUN);
	ck_assert_uint_eq(answer.grant[0].dc.len, 0);
	ck_assert_str_eq(answer.grant[0].id, "");
	ck_assert_str_eq(answer.grant[0].chain, "");
	while (count > 0)
		certificate_free(&chain[--count]);
	buf_free(&octets);
}
END_TEST

/* Another attempt under the same Idempotency-Key was released first: its credential is given. */
START_TEST(another_attempt_was_quicker)
{
	replay_of((int64_t)time(NULL) + 100);
	fake_append.replay_later = true;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	ck_assert_uint_eq(answer.grant[0].flags, GRANT_REPLAYED);
	ck_assert_str_eq(answer.grant[0].id, "fedcba9876543210fedcba9876543210");
	/* or, where that one is over, none */
	fake_log.count = 3;
	buf_reset(&fake_append.replay_authorised);
	buf_reset(&fake_append.replay_issued);
	replay_of((int64_t)time(NULL) - 1);
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_IDEMPOTENCY_EXPIRED);
	ck_assert_uint_eq(answer.grant[0].dc.len, 0);
}
END_TEST

/* What stands there as AUTHORISED is none, and lacks one thing more than the other. */
START_TEST(replay_of_another_type)
{
	struct record r, good;
	uint8_t octets[4096];

	replay_of((int64_t)time(NULL) + 100);
	memcpy(octets, fake_append.replay_authorised.octets, fake_append.replay_authorised.len);
	ck_assert_int_eq(record_decode(&good, octets, fake_append.replay_authorised.len), ERR_OK);
	ck_assert_int_eq(record_decode(&replayed[1], fake_append.replay_issued.octets,
				 fake_append.replay_issued.len),
		ERR_OK);
	struct buf issued = BUF_INIT(RECORD_MAX);
	ck_assert_int_eq(record_encode(&issued, &replayed[1]), ERR_OK);
	ck_assert_int_eq(record_decode(&replayed[1], issued.octets, issued.len), ERR_OK);
	record_init(&r, RECORD_REFUSED);
	r.time = 1;
	r.reason = octets_text("x");
	for (int i = 0; i < 5; i++) {
		if (i == 1)
			r.id = good.id;
		if (i == 2)
			r.role = good.role;
		if (i == 3) {
			r.algorithm = good.algorithm;
			r.signature_algorithm = good.signature_algorithm;
		}
		if (i == 4)
			r.spki_sha256 = good.spki_sha256;
		replayed[0] = r;
		replay_is_refused(0, 0);
	}
	buf_free(&issued);
}
END_TEST

/* ---- keys that policies and owners are asked about ---- */

static struct config *config_now(void)
{
	return (struct config *)(uintptr_t)keyring_config(keys);
}

static struct buf mldsa[2]; /* a public key, and a request for it */

static void take_mldsa_key(const struct block *b)
{
	if (strcmp(block_get(b, "id"), "ML-DSA-44") == 0)
		mldsa[0] = block_octets(b, "spki");
	if (strcmp(block_get(b, "id"), "mldsa44") == 0)
		mldsa[1] = block_octets(b, "csr");
}

/* Its proof of possession can't be verified: that is said where the policy asks for one. */
START_TEST(mldsa_key)
{
	struct policy *policy = &config_now()->policy[0];

	table_each("spki.txt", take_mldsa_key);
	table_each("csr.txt", take_mldsa_key);
	policy->schemes |= scheme_bit(0x0904);
	policy->possession_required = true;
	ask.item[0].spki = octets_of(mldsa[0].octets, mldsa[0].len);
	refused(ERR_PROOF_UNSUPPORTED, "public_key");
	ck_assert(told("can't be verified for ML-DSA"));
	fake_log.count = 3;
	ask.item[0].spki = octets_of(mldsa[1].octets, mldsa[1].len);
	ask.item[0].proof = PROOF_CSR;
	refused(ERR_PROOF_UNSUPPORTED, "csr");
	ck_assert(told("a bare public key is taken where the policy does not ask"));
	fake_log.count = 3;
	ask.item[0].spki = octets_of(spki.octets, spki.len);
	ask.item[0].proof = PROOF_NONE;
	refused(ERR_PROOF_REQUIRED, "csr");
	fake_log.count = 3;
	policy->possession_required = false;
	ask.item[0].spki = octets_of(mldsa[0].octets, mldsa[0].len);
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_OK);
	verify(&answer.grant[0]);
	buf_free(&mldsa[0]);
	buf_free(&mldsa[1]);
}
END_TEST

START_TEST(key_of_the_service_itself)
{
	const int64_t now = (int64_t)time(NULL);
	const struct fixture_certificate what = {now - 100, now + 90000, false, NULL};
	struct buf server = BUF_INIT(65536);
	struct config_listen listen[2] = {{.is_unix = true}};
	struct config *config = config_now();
	EVP_PKEY *key = EVP_EC_gen("P-256");
	struct keyring *next;
	struct refusal why;
	struct buf octets;

	fixture_certify(&server, key, &what);
	listen[1].certificate.octets = server.octets;
	listen[1].certificate.len = server.len;
	config->listen = listen;
	config->listen_count = 2;
	ck_assert_int_eq(keyring_new(&next, config, "main", &why), ERR_OK);
	config->listen = NULL;
	config->listen_count = 0;
	keyring_adopt(next, keys);
	keyring_unref(keys);
	keys = next;
	ask_for(key, &octets);
	refused(ERR_SPKI_REUSED, "public_key");
	ck_assert(told("this service's own TLS certificate"));
	buf_free(&octets);
	buf_free(&server);
}
END_TEST

/* ---- what is read again before it is signed ---- */

enum err __real_dc_parse_tbs(struct dc *dc, enum dc_role *role, const uint8_t *tbs, size_t len,
	const uint8_t *cert, size_t cert_len);
enum err __wrap_dc_parse_tbs(struct dc *dc, enum dc_role *role, const uint8_t *tbs, size_t len,
	const uint8_t *cert, size_t cert_len);
int64_t __real_dc_expiry(const struct dc *dc, int64_t not_before);
int64_t __wrap_dc_expiry(const struct dc *dc, int64_t not_before);

static enum misread {
	READ_WELL,
	READ_NOTHING,
	READ_ROLE,
	READ_VALID_TIME,
	READ_SCHEME,
	READ_ALGORITHM,
	READ_LENGTH,
	READ_KEY,
	READ_EXPIRY,
	MISREADINGS
} misread;

enum err __wrap_dc_parse_tbs(struct dc *dc, enum dc_role *role, const uint8_t *tbs, size_t len,
	const uint8_t *cert, size_t cert_len)
{
	enum err e = __real_dc_parse_tbs(dc, role, tbs, len, cert, cert_len);

	if (misread == READ_NOTHING)
		e = ERR_MALFORMED;
	else if (misread == READ_ROLE)
		*role = DC_CLIENT;
	else if (misread == READ_VALID_TIME)
		dc->valid_time++;
	else if (misread == READ_SCHEME)
		dc->scheme++;
	else if (misread == READ_ALGORITHM)
		dc->algorithm++;
	else if (misread == READ_LENGTH)
		dc->spki_len--;
	else if (misread == READ_KEY)
		dc->spki++;
	return e;
}

int64_t __wrap_dc_expiry(const struct dc *dc, int64_t not_before)
{
	return __real_dc_expiry(dc, not_before) + (misread == READ_EXPIRY);
}

START_TEST(octets_that_are_not_what_was_decided)
{
	misread = (enum misread)_i;
	run();
	misread = READ_WELL;
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_INTERNAL);
	ck_assert_uint_eq(answer.grant[0].dc.len, 0);
	ck_assert_uint_eq(fake_count(RECORD_AUTHORISED), 0);
	for (size_t i = 3; i < fake_log.count; i++)
		ck_assert_int_ne(fake_log.event[i].what, EVENT_SIGN);
}
END_TEST

/* ---- ids ---- */

static enum err no_id;
enum err __real_identity_new(char id[ID_SIZE]);
enum err __wrap_identity_new(char id[ID_SIZE]);
enum err __wrap_identity_new(char id[ID_SIZE])
{
	return no_id != ERR_OK ? no_id : __real_identity_new(id);
}

START_TEST(no_randomness)
{
	ask.count = 2;
	ask.item[1] = ask.item[0];
	no_id = ERR_SYSTEM;
	run();
	no_id = ERR_OK;
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_SYSTEM);
	ck_assert_int_eq(answer.grant[1].refusal.err, ERR_SYSTEM);
	ck_assert_uint_eq(fake_log.count, 4); /* the answer alone */
}
END_TEST

/* ---- endings ---- */

START_TEST(ledger_is_gone_after_a_failure)
{
	fake_token.plan[0] = PLAN_INIT_BUSY;
	fake_token.plans = 1;
	fake_append.fail_type = RECORD_FAILED;
	fake_append.fail_type_err = ERR_LEDGER_UNAVAILABLE;
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_LEDGER_UNAVAILABLE);
	ck_assert_uint_eq(fake_token.planned, 1); /* and no other attempt */
}
END_TEST

/* Refused ones and one too many: the refusals stay what they were. */
START_TEST(batch_with_refusals_that_can_t_be_answered)
{
	ask.count = MSG_ITEMS;
	for (int i = 1; i < MSG_ITEMS; i++)
		ask.item[i] = ask.item[0];
	ask.item[3].term_value = 604800;
	long_signatures();
	run();
	ck_assert_int_eq(answer.grant[0].refusal.err, ERR_TOO_LARGE);
	ck_assert_int_eq(answer.grant[3].refusal.err, ERR_LIFETIME_LONG);
	ck_assert_uint_eq(fake_count(RECORD_AUTHORISED), 0);
}
END_TEST

/* The token does not come back from a self-test, and from an attempt. */
START_TEST(abandoned_attempts)
{
	struct attempt attempt = {.id = "0123456789abcdef0123456789abcdef"};

	for (; attempt.number < 2; attempt.number++) {
		fake_log.count = 3;
		evidence_abandoned(NULL, &attempt);
		ck_assert_uint_eq(fake_log.count, 4);
		ck_assert_int_eq(fake_log.event[3].type, RECORD_UNKNOWN);
		ck_assert_str_eq(fake_log.event[3].id, attempt.id);
		ck_assert_str_eq(fake_log.event[3].reason, err_name(ERR_TIMEOUT));
		ck_assert_int_eq(fake_log.event[3].attempt,
			attempt.number == 0 ? RECORD_NONE : attempt.number);
	}
	fake_log.count = 3; /* nothing half without memory */
	failing_malloc_at(1);
	evidence_abandoned(NULL, &attempt);
	failing_malloc_at(0);
	ck_assert_uint_eq(fake_log.count, 3);
}
END_TEST

START_TEST(everybody_is_refused_without_memory)
{
	const struct refusal why = {.err = ERR_OVERLOADED};
	struct buf none = BUF_INIT(MSG_MAX);

	failing_malloc_at(1);
	issue_refuse_all(&ask, &why, &none);
	failing_malloc_at(0);
	ck_assert_int_eq(none.err, ERR_NOMEM);
	buf_free(&none);
	issue_refuse_all(&ask, &why, &none);
	ck_assert_int_eq(none.err, ERR_OK);
	buf_free(&none);
}
END_TEST

/* ---- memory ---- */

/* Whatever there is no memory for: the order holds, what is granted is good, and a request is
 * answered or its answer's buffer has failed. _i: a batch with a proof; a dry run; a replay. */
START_TEST(each_allocation_fails_once)
{
	struct issuer issuer = {.keys = keys, .token = (struct token *)&fake_token};
	struct buf csr = BUF_INIT(CSR_MAX);
	bool failed = true;

	fixture_csr(&csr);
	ask.count = 2;
	ask.item[1] = ask.item[0];
	ask.item[1].proof = PROOF_CSR;
	ask.item[1].spki = octets_of(csr.octets, csr.len);
	snprintf(ask.item[0].idempotency, IDEMPOTENCY_SIZE, "once");
	ask.dry_run = _i == 1;
	if (_i == 2)
		replay_of((int64_t)time(NULL) + 100);
	for (unsigned n = 1; failed; n++) {
		const char *granted[2];
		struct reader body;
		size_t count = 0;
		long alive;

		fake_log.count = 3;
		buf_free(&answer_octets);
		alive = failing_malloc_alive();
		failing_malloc_at(n);
		fake_issue(&issuer, &ask, &deadline, &answer_octets);
		failed = failing_malloc_failed();
		failing_malloc_at(0);
		fake_answered();
		ck_assert_int_eq(
			failing_malloc_alive() - alive, answer_octets.octets != NULL ? 1 : 0);
		if (answer_octets.err == ERR_NOMEM) {
			ck_assert(failed);
			continue;
		}
		reader_init(&body, answer_octets.octets, answer_octets.len);
		ck_assert_int_eq(msg_issue_answer_read(&answer, &body), ERR_OK);
		for (uint16_t i = 0; i < answer.count; i++) {
			if (answer.grant[i].refusal.err != ERR_OK || ask.dry_run || _i == 2)
				continue;
			verify(&answer.grant[i]);
			granted[count++] = answer.grant[i].id;
		}
		ck_assert_msg(fake_order_broken(granted, count) == NULL, "allocation %u: %s", n,
			fake_order_broken(granted, count));
		ck_assert(failed || ask.dry_run || _i == 2 || count == 2);
		ck_assert(failed || (answer.grant[0].refusal.err == ERR_OK &&
					    answer.grant[1].refusal.err == ERR_OK));
	}
	buf_free(&csr);
}
END_TEST

/* ---- the keyring, with the same fakes ---- */

static enum err state_now(void)
{
	static struct msg_state_answer s;

	keyring_state(keys, &(const struct msg_state){.from = 0}, (int64_t)time(NULL), NULL, &s);
	ck_assert_uint_eq(s.total, 1);
	return s.key[0].err;
}

/* Whoever has all states is told no more until one of them changes. */
START_TEST(states_have_a_mark)
{
	static struct msg_state_answer s;
	const struct refusal doubt = {.err = ERR_CLOCK, .detail = "a step"};
	int64_t now = (int64_t)time(NULL);
	struct msg_state question = {.from = 0};
	uint64_t mark;

	keyring_state(keys, &question, now, NULL, &s);
	ck_assert_uint_eq(s.count, 1);
	ck_assert_uint_ne(s.mark, 0);
	question.mark = mark = s.mark;
	keyring_state(keys, &question, now + 1, NULL, &s);
	ck_assert_uint_eq(s.mark, mark);
	ck_assert_uint_eq(s.total, 1);
	ck_assert_uint_eq(s.count, 0);
	keyring_state(keys, &question, now, &doubt, &s);
	ck_assert_uint_ne(s.mark, mark);
	ck_assert_uint_eq(s.count, 1);
	ck_assert_int_eq(s.key[0].err, ERR_CLOCK);
	ck_assert_str_eq(s.key[0].detail, "a step");
	keyring_state(keys, &question, s.key[0].certificate_not_after + 1, NULL, &s); /* expired */
	ck_assert_uint_ne(s.mark, mark);
	ck_assert_uint_eq(s.count, 1);
	ck_assert_int_ne(s.key[0].err, ERR_OK);
	keyring_forget(keys);
	keyring_state(keys, &question, now, NULL, &s);
	ck_assert_uint_ne(s.mark, mark);
	ck_assert_int_eq(s.key[0].err, ERR_KEY_UNPROVED);
	question.mark = s.mark;
	keyring_refuse_all(keys, &(const struct refusal){.err = ERR_TOKEN, .detail = "gone"});
	keyring_state(keys, &question, now, NULL, &s);
	ck_assert_uint_ne(s.mark, question.mark);
	question.mark = s.mark;
	keyring_refuse_all(keys, &(const struct refusal){.err = ERR_TOKEN, .detail = "away"});
	keyring_state(keys, &question, now, NULL, &s);
	ck_assert_uint_ne(s.mark, question.mark);
	ck_assert_str_eq(s.key[0].detail, "away");
}
END_TEST

START_TEST(self_test_is_written_down_first)
{
	ck_assert_int_eq(fake_log.event[0].type, RECORD_SELF_TEST);
	ck_assert_int_eq(fake_log.event[1].what, EVENT_SIGN);
	ck_assert_mem_eq(fake_log.event[0].tbs_sha256, fake_log.event[1].tbs_sha256, SHA256_SIZE);
	ck_assert_int_eq(fake_log.event[2].type, RECORD_KEY_PROVED);
	ck_assert_str_eq(fake_log.event[0].id, fake_log.event[2].id);
	ck_assert_uint_eq(fake_log.event[2].valid_time, 0); /* expired from birth */
	ck_assert_uint_eq(fake_log.count, 3);
	ck_assert_int_eq(state_now(), ERR_OK);
	ck_assert_int_eq(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
	ck_assert_uint_eq(fake_log.count, 3); /* once */
	keyring_forget(keys);
	ck_assert_int_eq(state_now(), ERR_KEY_UNPROVED);
	refused(ERR_KEY_UNAVAILABLE, "key");
	ck_assert_int_eq(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
	ck_assert_int_eq(state_now(), ERR_OK);
}
END_TEST

START_TEST(foreign_key_is_refused)
{
	keyring_forget(keys);
	fake_token.plan[0] = PLAN_FOREIGN;
	fake_token.plans = 1;
	ck_assert_int_eq(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
	ck_assert_int_eq(state_now(), ERR_KEY_UNPROVED);
	ck_assert_uint_eq(fake_count(RECORD_KEY_REFUSED), 1);
	for (int i = 0; i < 3; i++) /* and stays so: no signature more */
		keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000);
	ck_assert_uint_eq(fake_count(RECORD_SELF_TEST), 2);
	ck_assert_uint_eq(fake_count(RECORD_KEY_REFUSED), 1);
}
END_TEST

START_TEST(unfit_key_is_refused)
{
	keyring_forget(keys);
	fake_token.check = ERR_KEY_WEAK;
	ck_assert_int_eq(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
	ck_assert_int_eq(state_now(), ERR_KEY_WEAK);
	ck_assert_uint_eq(fake_count(RECORD_SELF_TEST), 1);
	ck_assert_uint_eq(fake_count(RECORD_KEY_REFUSED), 1);
	fake_token.check = ERR_OK; /* a better key took its place */
	for (int i = 0; i < 500 && state_now() != ERR_OK;
		i++) { /* a slow look has a pause after it */
		ck_assert_int_eq(
			keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
		nanosleep(&(struct timespec){0, 100000000}, NULL);
	}
	ck_assert_int_eq(state_now(), ERR_OK);
}
END_TEST

/* Looks for what is proved already, in between, do not end that pause. */
START_TEST(slow_look_has_a_pause_after_it)
{
	keyring_forget(keys);
	fake_token.check = ERR_KEY_WEAK;
	fake_token.look_ms = 300;
	fake_token.looks = 0;
	for (int i = 0; i < 4; i++)
		ck_assert_int_eq(
			keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
	ck_assert_uint_eq(fake_token.looks, 1);
	ck_assert_int_eq(state_now(), ERR_KEY_WEAK);
}
END_TEST

START_TEST(ledger_is_gone_while_proving)
{
	keyring_forget(keys);
	fake_append.fail_type = RECORD_SELF_TEST;
	fake_append.fail_type_err = ERR_LEDGER_UNAVAILABLE;
	ck_assert_int_ne(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
	ck_assert_int_eq(state_now(), ERR_KEY_UNPROVED);
	ck_assert_uint_eq(fake_token.taken, 1);
	fake_append.fail_type_err = ERR_OK;
	ck_assert_int_eq(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
	ck_assert_int_eq(state_now(), ERR_OK);
}
END_TEST

/* However long the ledger takes: only the token's calls have a limit. */
START_TEST(ledger_is_slow_while_proving)
{
	keyring_forget(keys);
	fake_append.delay_ms = 1200;
	ck_assert_int_eq(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 1000), ERR_OK);
	ck_assert_int_eq(state_now(), ERR_OK);
	ck_assert_uint_eq(fake_count(RECORD_UNKNOWN), 0);
}
END_TEST

START_TEST(token_hangs_while_proving)
{
	keyring_forget(keys);
	fake_token.delay_ms = 600;
	ck_assert_int_eq(
		keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 50), ERR_TIMEOUT);
	ck_assert_uint_eq(keyring_hung(), 1);
	ck_assert_int_eq(state_now(), ERR_TOKEN);
	ck_assert_uint_eq(fake_count(RECORD_UNKNOWN), 1);
	for (int i = 0; i < 1000 && keyring_hung() > 0; i++)
		nanosleep(&(struct timespec){0, 10000000}, NULL);
	ck_assert_uint_eq(keyring_hung(), 0); /* what it brings is not used */
	ck_assert_int_eq(state_now(), ERR_TOKEN);
	fake_token.delay_ms = 0;
	ck_assert_int_eq(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
	ck_assert_int_eq(state_now(), ERR_OK);
}
END_TEST

/* Rollover: of several certificates the newest proved one that is valid issues. */
START_TEST(newest_valid_certificate)
{
	int64_t now = (int64_t)time(NULL);
	const struct fixture_certificate older = {now - 5000, now + 86400, false, NULL},
					 newer = {now - 100, now + 90000, false, NULL},
					 future = {now + 5000, now + 90000, false, NULL};
	struct buf first = BUF_INIT(65536), second = BUF_INIT(65536);
	struct fixture_key key = {
		.name = "www", .uri = "pkcs11:object=www", .pem = {&first, &second}};
	struct config *config;
	struct keyring_use use;
	struct refusal why;

	for (int i = 0; i < 2; i++) {
		keyring_unref(keys);
		buf_reset(&first);
		buf_reset(&second);
		fixture_certify(&first, fake_token.key, &older);
		fixture_certify(&second, fake_token.key, i == 0 ? &newer : &future);
		config = fixture_config(&key, 1, "/nowhere", "/x.so", "pkcs11:token=x", NULL);
		ck_assert_int_eq(keyring_new(&keys, config, "main", &why), ERR_OK);
		config_unref(config);
		ck_assert_int_eq(
			keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
		ck_assert_int_eq(keyring_find(keys, "www", now, &use, &why), ERR_OK);
		ck_assert_int_eq(
			use.certificate->not_before, i == 0 ? newer.not_before : older.not_before);
		ck_assert_int_eq(keyring_find(keys, "www", now + 86400, &use, &why),
			i == 0 ? ERR_OK : ERR_KEY_UNAVAILABLE);
	}
	buf_free(&first);
	buf_free(&second);
}
END_TEST

/* A new configuration keeps the proofs of what did not change. */
START_TEST(proofs_are_adopted)
{
	struct fixture_key key = {.name = "www", .uri = "pkcs11:object=www", .pem = {&pem}};
	struct keyring *next;
	struct config *config;
	struct refusal why;

	for (int i = 0; i < 2; i++) {
		key.uri = i == 0 ? "pkcs11:object=www" : "pkcs11:object=other";
		config = fixture_config(&key, 1, "/nowhere", "/x.so", "pkcs11:token=x", NULL);
		ck_assert_int_eq(keyring_new(&next, config, "main", &why), ERR_OK);
		config_unref(config);
		keyring_adopt(next, keys);
		keyring_unref(keys);
		keys = next;
		run();
		ck_assert_int_eq(
			answer.grant[0].refusal.err, i == 0 ? ERR_OK : ERR_KEY_UNAVAILABLE);
	}
}
END_TEST

/* The public key of each certificate is known for what it is, and no other. */
START_TEST(own_public_keys_are_known)
{
	enum { KEYS = 9 };
	int64_t now = (int64_t)time(NULL);
	const struct fixture_certificate what = {now - 100, now + 90000, false, NULL};
	struct certificate_outline chain[CERT_CHAIN_MAX];
	uint8_t *spki_sha256 = chain[0].spki_sha256;
	struct buf pems[KEYS];
	struct fixture_key key[KEYS];
	char names[KEYS][8];
	struct config *config;
	struct refusal why;
	size_t count;

	for (size_t i = 0; i < KEYS; i++) {
		EVP_PKEY *one = EVP_EC_gen("P-256");

		snprintf(names[i], sizeof names[i], "k%zu", i);
		pems[i] = (struct buf)BUF_INIT(65536);
		fixture_certify(&pems[i], one, &what);
		key[i] = (struct fixture_key){
			.name = names[i], .uri = "pkcs11:object=www", .pem = {&pems[i]}};
		EVP_PKEY_free(one);
	}
	keyring_unref(keys);
	config = fixture_config(key, KEYS, "/nowhere", "/x.so", "pkcs11:token=x", NULL);
	ck_assert_int_eq(keyring_new(&keys, config, "main", &why), ERR_OK);
	config_unref(config);
	for (size_t i = 0; i < KEYS; i++) {
		ck_assert_int_eq(certificate_outline_pem(chain, CERT_CHAIN_MAX, &count,
					 pems[i].octets, pems[i].len),
			ERR_OK);
		ck_assert(keyring_has_spki(keys, spki_sha256));
		ck_assert(!keyring_server_spki(keys, spki_sha256));
		for (size_t j = 0; j < SHA256_SIZE; j++) {
			spki_sha256[j] ^= 1;
			ck_assert(!keyring_has_spki(keys, spki_sha256));
			spki_sha256[j] ^= 1;
		}
		certificate_outline_free(chain, count);
		buf_free(&pems[i]);
	}
}
END_TEST

START_TEST(certificate_without_delegation)
{
	int64_t now = (int64_t)time(NULL);
	const struct fixture_certificate what = {now - 100, now + 90000, true, NULL};
	struct buf other = BUF_INIT(65536);
	struct fixture_key key = {.name = "www", .uri = "pkcs11:object=www", .pem = {&other}};
	struct config *config;
	struct refusal why;

	keyring_unref(keys);
	fixture_certify(&other, fake_token.key, &what);
	config = fixture_config(&key, 1, "/nowhere", "/x.so", "pkcs11:token=x", NULL);
	ck_assert_int_eq(keyring_new(&keys, config, "main", &why), ERR_OK);
	ck_assert_int_eq(keyring_prove(keys, (struct token *)&fake_token, NULL, 1, 60000), ERR_OK);
	ck_assert_int_eq(state_now(), ERR_CERT_NO_DELEGATION);
	ck_assert_uint_eq(fake_count(RECORD_SELF_TEST), 1);
	config_unref(config);
	other.octets[60] = '!';
	config = fixture_config(&key, 1, "/nowhere", "/x.so", "pkcs11:token=x", NULL);
	struct keyring *none;
	ck_assert_int_eq(keyring_new(&none, config, "main", &why), ERR_CERT_MALFORMED);
	ck_assert_ptr_nonnull(strstr(why.detail, "www"));
	config_unref(config);
	buf_free(&other);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {authorised_signed_issued_answered, order_is_checked,
		batch_is_one_commit_each, batch_of_the_most_items, batch_that_can_t_be_answered,
		proof_of_possession, unknown_client, client_without_right, client_without_key,
		no_such_key, algorithm_not_of_the_key, algorithm_not_approved, lifetime_too_long,
		start_too_far_ahead, certificate_does_not_allow_the_role, key_of_the_certificate,
		key_of_the_client_itself, octets_that_are_no_key, dry_run_signs_and_records_nothing,
		ledger_refuses, ledger_is_gone_before_signing, ledger_is_gone_after_signing,
		ledger_writes_late, one_reading_of_the_clock, shared_key_is_told,
		errors_are_tried_again, three_attempts_at_most, no_session, no_session_for_a_batch,
		late_signature, deadline_before_anything, deadline_within_a_batch,
		replay_is_the_first_credential, replay_that_expired, states_have_a_mark,
		self_test_is_written_down_first, foreign_key_is_refused, unfit_key_is_refused,
		ledger_is_gone_while_proving, foreign_key_is_refused, unfit_key_is_refused,
		slow_look_has_a_pause_after_it, ledger_is_gone_while_proving,
		ledger_is_slow_while_proving, token_hangs_while_proving, newest_valid_certificate,
		proofs_are_adopted, certificate_without_delegation, own_public_keys_are_known,
		rsa_keys, unknown_algorithm, point_off_the_curve, certificate_for_clients_alone,
		replays_that_make_no_sense, replay_of_the_present_certificate,
		another_attempt_was_quicker, replay_of_another_type, mldsa_key,
		key_of_the_service_itself, no_randomness, ledger_is_gone_after_a_failure,
		batch_with_refusals_that_can_t_be_answered, abandoned_attempts,
		everybody_is_refused_without_memory};
	Suite *s = suite_create("issue");
	TCase *c = tcase_create("order");
	SRunner *r = srunner_create(s);
	int failed;

	tcase_set_timeout(c, 120);
	tcase_add_checked_fixture(c, setup, teardown);
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
		tcase_add_test(c, tests[i]);
	tcase_add_loop_test(c, bad_signature_is_not_released, 0, 2);
	tcase_add_loop_test(
		c, octets_that_are_not_what_was_decided, READ_NOTHING, (int)MISREADINGS);
	tcase_add_loop_test(c, each_allocation_fails_once, 0, 3);
	suite_add_tcase(s, c);
	srunner_run_all(r, CK_ENV);
	failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed == 0 ? 0 : 1;
}
