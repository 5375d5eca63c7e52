#include "fake_order.h"

#include "dc.h"

#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct token {
	int none;
};
struct token_session {
	int none;
};
struct append {
	int none;
};

__typeof__(fake_log) fake_log;
__typeof__(fake_token) fake_token;
__typeof__(fake_append) fake_append;

static struct token_session the_session;

void fake_reset(void)
{
	EVP_PKEY_free(fake_token.key);
	buf_free(&fake_append.replay_authorised);
	buf_free(&fake_append.replay_issued);
	memset(&fake_log, 0, sizeof fake_log);
	memset(&fake_token, 0, sizeof fake_token);
	memset(&fake_append, 0, sizeof fake_append);
	fake_append.replay_authorised = (struct buf)BUF_INIT(RECORD_MAX);
	fake_append.replay_issued = (struct buf)BUF_INIT(RECORD_MAX);
	fake_token.key = EVP_EC_gen("P-256");
	fake_token.type = KEY_EC_P256;
	fake_token.signature_len = 64;
	fake_token.width = 1;
}

static struct fake_event *event(enum fake_what what)
{
	struct fake_event *e = &fake_log.event[fake_log.count++];

	if (fake_log.count == FAKE_EVENTS)
		abort();
	*e = (struct fake_event){.what = what};
	return e;
}

void fake_answered(void)
{
	event(EVENT_ANSWER);
}

/* ---- the token ---- */

int64_t monotonic_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

enum err token_key_uri_check(const char *uri, struct refusal *why)
{
	(void)uri;
	(void)why;
	return ERR_OK;
}

bool token_lost(const struct token *t)
{
	(void)t;
	return fake_token.lost;
}

enum err token_index_make(struct token *t, struct token_index **out, struct refusal *why)
{
	(void)t;
	(void)why;
	*out = NULL;
	return ERR_OK;
}

void token_index_free(struct token_index *x)
{
	(void)x;
}

enum err token_key_look(struct token *t, const struct token_index *x, const char *uri,
	const struct token_key_rules *rules, struct token_key *key, char *weak, size_t size,
	struct refusal *why)
{
	(void)t;
	(void)x;
	(void)uri;
	(void)rules;
	*key = (struct token_key){
		.handle = 1, .type = fake_token.type, .signature_len = fake_token.signature_len};
	snprintf(weak, size, "copyable unknown");
	fake_token.looks++;
	nanosleep(&(struct timespec){0, fake_token.look_ms * 1000000L}, NULL);
	if (fake_token.find != ERR_OK)
		return refuse(why, fake_token.find, "uri", "fake");
	return fake_token.check == ERR_OK ? ERR_OK : refuse(why, fake_token.check, "", "fake");
}

enum err token_session_take(
	struct token *t, int64_t until, struct token_session **out, struct refusal *why)
{
	(void)t;
	(void)until;
	fake_token.asked++;
	if (fake_token.take != ERR_OK)
		return refuse(why, fake_token.take, "", "fake");
	fake_token.taken++;
	*out = &the_session;
	return ERR_OK;
}

unsigned token_width(const struct token *t)
{
	(void)t;
	return fake_token.width;
}

void token_session_until(struct token_session *s, int64_t until)
{
	(void)s;
	(void)until;
}

void token_session_give(struct token_session *s)
{
	(void)s;
}

void token_session_spoil(struct token_session *s)
{
	(void)s;
	fake_token.spoiled++;
}

/* A real P-256 signature, as r || s. */
static size_t sign_raw(
	EVP_PKEY *key, const uint8_t *message, size_t len, uint8_t raw[TOKEN_SIGNATURE_MAX])
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	uint8_t der[128];
	const uint8_t *at = der;
	size_t der_len = sizeof der;
	ECDSA_SIG *sig;

	if (EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) != 1 ||
		EVP_DigestSign(ctx, der, &der_len, message, len) != 1)
		abort();
	sig = d2i_ECDSA_SIG(NULL, &at, (long)der_len);
	BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, 32);
	BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + 32, 32);
	ECDSA_SIG_free(sig);
	EVP_MD_CTX_free(ctx);
	return 64;
}

static void expire(struct deadline *d)
{
	pthread_mutex_lock(&d->lock);
	d->at = monotonic_ms();
	pthread_mutex_unlock(&d->lock);
}

void token_sign(struct token_session *s, const struct token_key *key, const struct scheme *scheme,
	const uint8_t *message, size_t len, struct token_signature *out)
{
	enum fake_plan plan = fake_token.planned < fake_token.plans
				      ? fake_token.plan[fake_token.planned++]
				      : PLAN_GOOD;
	struct timespec delay = {.tv_sec = fake_token.delay_ms / 1000,
		.tv_nsec = fake_token.delay_ms % 1000 * 1000000};
	EVP_PKEY *foreign;

	(void)s;
	(void)key;
	(void)scheme;
	memset(out, 0, sizeof *out);
	if (plan == PLAN_INIT_BUSY) {
		out->outcome = SIGN_NOT_DONE;
		out->again = true;
		refuse(&out->why, ERR_TOKEN, "", "fake");
		return;
	}
	sha256(message, len, event(EVENT_SIGN)->tbs_sha256);
	nanosleep(&delay, NULL);
	if (fake_token.expires != NULL && --fake_token.expires_in == 0)
		expire(fake_token.expires);
	if (plan == PLAN_SIGN_ERROR) {
		out->outcome = SIGN_MAYBE;
		out->again = true;
		refuse(&out->why, ERR_TOKEN, "", "fake");
		return;
	}
	if (plan == PLAN_FOREIGN) {
		foreign = EVP_EC_gen("P-256");
		out->len = sign_raw(foreign, message, len, out->raw);
		EVP_PKEY_free(foreign);
	} else {
		out->len = sign_raw(fake_token.key, message, len, out->raw);
	}
	if (plan == PLAN_FLIP)
		out->raw[40] ^= 1;
	out->outcome = SIGN_DONE;
}

/* ---- the ledger ---- */

static void note(const struct append_item *item, enum fake_what what)
{
	struct fake_event *e = event(what);
	struct record r;

	if (record_decode(&r, item->record.at, item->record.len) != ERR_OK)
		abort();
	e->type = r.type;
	e->attempt = r.attempt;
	e->time = r.time;
	if (r.dc.len > 0) {
		struct dc dc;

		if (dc_parse(&dc, r.dc.at, r.dc.len) != ERR_OK)
			abort();
		e->valid_time = dc.valid_time;
	}
	if (r.id.len > 0)
		memcpy(e->id, r.id.at, r.id.len);
	if (r.reason.len > 0)
		memcpy(e->reason, r.reason.at, r.reason.len);
	if (r.tbs_sha256.len > 0)
		memcpy(e->tbs_sha256, r.tbs_sha256.at, SHA256_SIZE);
	if (r.type == RECORD_AUTHORISED) {
		fake_append.max_live_key = item->max_live_key;
		fake_append.max_live_client = item->max_live_client;
	}
}

static void take(struct msg_appended *a, const struct fake_event *e)
{
	a->idx = fake_log.count;
	if (e->type == RECORD_AUTHORISED) {
		a->shared = fake_append.shared;
		if (fake_append.refuse_authorised != ERR_OK)
			refuse(&a->refusal, fake_append.refuse_authorised, "", "fake");
	}
	if (e->type == RECORD_ISSUED && fake_append.refuse_issued != ERR_OK)
		refuse(&a->refusal, fake_append.refuse_issued, "", "fake");
	if (fake_append.replay &&
		(e->type == RECORD_ISSUED ||
			(e->type == RECORD_AUTHORISED && !fake_append.replay_later))) {
		a->replay_authorised = octets_of(
			fake_append.replay_authorised.octets, fake_append.replay_authorised.len);
		a->replay_issued =
			octets_of(fake_append.replay_issued.octets, fake_append.replay_issued.len);
	}
}

enum err append_records(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, struct refusal *why)
{
	(void)a;
	nanosleep(&(struct timespec){fake_append.delay_ms / 1000,
			  fake_append.delay_ms % 1000 * 1000000},
		NULL);
	memset(out, 0, sizeof *out);
	for (size_t i = 0; i < count; i++) {
		struct record r;

		if (record_decode(&r, items[i].record.at, items[i].record.len) != ERR_OK)
			abort();
		if (fake_append.fail_type_err != ERR_OK && r.type == fake_append.fail_type)
			return refuse(why, fake_append.fail_type_err, "", "fake");
	}
	out->item = calloc(count, sizeof *out->item);
	if (out->item == NULL)
		return refuse(why, ERR_NOMEM, "", "%s", "");
	for (size_t i = 0; i < count; i++) {
		note(&items[i], items[i].judge_only ? EVENT_JUDGED : EVENT_DURABLE);
		take(&out->item[i], &fake_log.event[fake_log.count - 1]);
		if (out->item[i].refusal.err != ERR_OK || out->item[i].replay_issued.len > 0)
			fake_log.event[fake_log.count - 1].what = EVENT_SENT;
	}
	out->count = count;
	return ERR_OK;
}

void append_begin(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, void (*done)(void *), void *arg)
{
	enum err e = append_records(a, items, count, out, NULL);

	out->err = e;
	done(arg);
}

enum err append_finish(struct append_answers *out, struct refusal *why)
{
	return out->err == ERR_OK ? ERR_OK : refuse(why, out->err, "", "fake");
}

static void ready(void *arg)
{
	++*(size_t *)arg;
}

void fake_issue(const struct issuer *issuer, const struct msg_issue *ask, struct deadline *deadline,
	struct buf *answer)
{
	struct refusal why = {.err = ERR_OK};
	size_t calls = 1, told = 1;
	struct batch *b = issue_begin(issuer, ask, deadline, ready, &told, &why);

	if (b == NULL) {
		issue_refuse_all(ask, &why, answer);
		return;
	}
	while (!issue_go_on(b, answer))
		if (++calls != told)
			abort();
	issue_end(b);
}

void append_answers_free(struct append_answers *out)
{
	free(out->item);
	memset(out, 0, sizeof *out);
}

void append_post(struct append *a, const struct append_item *items, size_t count)
{
	(void)a;
	while (count-- > 0)
		note(items++, EVENT_SENT);
}

void append_chain(struct append *a, char chain[2 * NAME_SIZE + 8])
{
	(void)a;
	snprintf(chain, NAME_SIZE, "node1/main");
}

/* ---- the rule ---- */

static bool authorises(const struct fake_event *e, const struct fake_event *sign)
{
	return e->what == EVENT_DURABLE &&
	       (e->type == RECORD_AUTHORISED || e->type == RECORD_SELF_TEST) &&
	       memcmp(e->tbs_sha256, sign->tbs_sha256, SHA256_SIZE) == 0;
}

static bool issued_before_answer(const char *id)
{
	bool issued = false;

	for (size_t i = 0; i < fake_log.count; i++) {
		const struct fake_event *e = &fake_log.event[i];

		if (e->what == EVENT_ANSWER)
			break;
		issued = issued || (e->what == EVENT_DURABLE && e->type == RECORD_ISSUED &&
					   strcmp(e->id, id) == 0);
	}
	return issued;
}

const char *fake_order_broken(const char *const *granted, size_t count)
{
	static bool used[FAKE_EVENTS];

	memset(used, 0, sizeof used);
	for (size_t i = 0; i < fake_log.count; i++) {
		size_t j = 0;

		if (fake_log.event[i].what != EVENT_SIGN)
			continue;
		while (j < i && (used[j] || !authorises(&fake_log.event[j], &fake_log.event[i])))
			j++;
		if (j == i)
			return "a signature without its own durable AUTHORISED before it";
		used[j] = true;
	}
	for (size_t i = 0; i < count; i++)
		if (!issued_before_answer(granted[i]))
			return "an answer without a durable ISSUED before it";
	return NULL;
}

size_t fake_count(enum record_type type)
{
	size_t n = 0;

	for (size_t i = 0; i < fake_log.count; i++)
		n += fake_log.event[i].what <= EVENT_SENT && fake_log.event[i].type == type;
	return n;
}
