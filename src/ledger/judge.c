#include "judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inforce.h"
#include "rebuild.h"
#include "rules.h"

static void wrong(const struct judge *j, int64_t idx, const char *what)
{
	j->wrong(j->arg, idx, what);
}

static void bad_signature(void *arg, int64_t idx)
{
	wrong(arg, idx, "its signature does not verify under the certificate's key");
}

/* AUTHORISED: attempts before it must have come to nothing. */
static void order_check(struct judge *j, const struct record *r)
{
	char text[64];

	if (r->attempt < 1 || r->attempt > 3) {
		wrong(j, r->idx, "its attempt is none of 1 to 3");
		return;
	}
	for (uint8_t n = 1; n < r->attempt; n++) {
		const struct attempt *at = attempts_number(&j->attempts, r, n);

		snprintf(text, sizeof(text),
			at ? "attempt %u had not failed" : "there was no attempt %u before it", n);
		if (!at || (at->state != ATTEMPT_FAILED && at->state != ATTEMPT_UNKNOWN))
			wrong(j, r->idx, text);
	}
}

static enum err begin(struct judge *j, const struct record *r)
{
	const struct attempt *before = attempts_find(&j->attempts, r);
	char text[128];

	if (before) {
		snprintf(text, sizeof(text), "its id and attempt were used before, in record %lld",
			(long long)before->idx);
		wrong(j, r->idx, text);
		return ERR_OK;
	}
	return attempts_begin(&j->attempts, r, j->json, j->len) ? ERR_OK : ERR_NOMEM;
}

/* A signature over a credential that must have been expired from birth. */
static enum err take_self_test(struct judge *j, const struct record *r)
{
	if (r->valid_time != 0)
		wrong(j, r->idx, "a self-test's valid_time is not 0");
	if (r->now != RECORD_NONE && r->cert_not_before != RECORD_NONE &&
		r->now <= r->cert_not_before)
		wrong(j, r->idx,
			"a self-test of a certificate that is not valid yet: its credential has "
			"not expired");
	return begin(j, r);
}

/* The record that this outcome belongs to, read again; false: there is none that may get it. A
 * signature may follow UNKNOWN; one that follows FAILED shows that its writer said what is not
 * true, and is checked like any other. */
static bool opening(
	struct judge *j, const struct record *r, struct attempt **at, struct record *opened)
{
	uint8_t state;

	*at = attempts_find(&j->attempts, r);
	if (!*at) {
		wrong(j, r->idx, "nothing was authorised under its id and attempt");
		return false;
	}
	state = (*at)->state;
	if (r->type == RECORD_LATE && state == ATTEMPT_FAILED) {
		wrong(j, r->idx, "its attempt is FAILED, which says that there is no signature");
	} else if (state != ATTEMPT_OPEN && !(r->type == RECORD_LATE && state == ATTEMPT_UNKNOWN)) {
		wrong(j, r->idx, "its attempt has an outcome already");
		return false;
	}
	buf_reset(&j->opened);
	return record_parse(opened, &j->opened, (*at)->json, (*at)->len) == ERR_OK;
}

/* Where a problem of the record at hand is said. */
struct place {
	struct judge *judge;
	int64_t idx;
};

static void wrong_here(void *arg, const char *what)
{
	const struct place *p = arg;

	wrong(p->judge, p->idx, what);
}

static enum err take_authorised(struct judge *j, const struct record *r)
{
	const struct certificate *c = proved_find(j->proved, r);
	const struct rules *g = rules_find(j->rules, r);
	const struct inforce *hold = inforce_find(j->holds, r);
	struct place here = {j, r->idx};
	const char *what = NULL;
	char text[128];

	if (hold) {
		snprintf(text, sizeof(text), "was authorised against the hold of record %lld",
			(long long)hold->idx);
		wrong(j, r->idx, text);
	}
	if (g)
		rules_check(g, r, c, wrong_here, &here);
	else
		wrong(j, r->idx, "no CONFIG record announced its generation");
	buf_reset(&j->tbs);
	if (!c)
		what = "no KEY-PROVED record shows its certificate for its key";
	else
		what = rebuild_authorised(r, c, &j->tbs);
	if (what)
		wrong(j, r->idx, what);
	order_check(j, r);
	if (j->tables && r->idempotency.len &&
		recall_authorised(&j->tables->recall, r, j->tables->now))
		return ERR_NOMEM;
	return begin(j, r);
}

/* Its credential against what was authorised; the signature is verified later. */
static enum err credential_check(struct judge *j, const struct record *r,
	const struct record *authorised, const struct certificate *c)
{
	const struct scheme *scheme;
	const char *what;
	struct dc dc;

	buf_reset(&j->tbs);
	what = rebuild_credential(r, authorised, c, &dc, &j->tbs);
	if (what) {
		wrong(j, r->idx, what);
		return ERR_OK;
	}
	scheme = scheme_by_code(dc.algorithm);
	if (!scheme) {
		bad_signature(j, r->idx);
		return ERR_OK;
	}
	return signatures_put(
		j->signatures, r->idx, c->key, scheme, &j->tbs, dc.signature, dc.signature_len);
}

static void limit_check(
	struct judge *j, int64_t idx, const char *whose, uint64_t live, uint64_t max)
{
	char text[128];

	if (max == 0 || live <= max)
		return;
	snprintf(text, sizeof(text), "more than %llu unexpired credentials of its %s",
		(unsigned long long)max, whose);
	wrong(j, idx, text);
}

/* ISSUED: how many are out, and whether its Idempotency-Key had released one. */
static enum err release(struct judge *j, const struct record *r, const struct record *authorised)
{
	const struct rules *g = rules_find(j->rules, authorised);
	uint64_t key, client, max_key = 0, max_client = 0;
	const char *what;
	bool before = false;
	enum err e = tally_release(&j->tally, authorised, &key, &client);

	if (!e && authorised->idempotency.len)
		e = tally_idempotency(&j->tally, authorised, &before);
	if (e)
		return e;
	if (j->tables && authorised->idempotency.len)
		recall_issued(&j->tables->recall, r, authorised);
	if (j->tables && (what = tables_credential(j->tables, r, authorised)))
		wrong(j, r->idx, what);
	if (before)
		wrong(j, r->idx, "its Idempotency-Key released a credential before");
	if (g)
		rules_limits(g, authorised, &max_key, &max_client);
	limit_check(j, r->idx, "key", key, max_key);
	limit_check(j, r->idx, "client", client, max_client);
	j->credentials++;
	return ERR_OK;
}

/* ISSUED and LATE. */
static enum err take_credential(struct judge *j, const struct record *r)
{
	struct record authorised;
	struct attempt *at;

	if (!opening(j, r, &at, &authorised))
		return ERR_OK;

	const struct certificate *c = proved_find(j->proved, &authorised);
	enum err e = c ? credential_check(j, r, &authorised, c) : ERR_OK;

	if (!e && r->type == RECORD_ISSUED)
		e = release(j, r, &authorised);
	attempts_end(&j->attempts, at, ATTEMPT_CLOSED);
	return e;
}

/* FAILED, UNKNOWN, KEY-REFUSED. */
static enum err take_end(struct judge *j, const struct record *r)
{
	struct record opened;
	struct attempt *at;

	if (r->id.len && opening(j, r, &at, &opened))
		attempts_end(&j->attempts, at,
			r->type == RECORD_UNKNOWN  ? ATTEMPT_UNKNOWN
			: r->type == RECORD_FAILED ? ATTEMPT_FAILED
						   : ATTEMPT_CLOSED);
	return ERR_OK;
}

static bool same(const struct octets *a, const struct octets *b)
{
	return a->len == b->len && (a->len == 0 || memcmp(a->at, b->at, a->len) == 0);
}

static enum err take_proved(struct judge *j, const struct record *r)
{
	const char *what = proved_add(&j->proved, r);
	const struct certificate *c = proved_find(j->proved, r);
	struct record test;
	struct attempt *at;
	enum err e = ERR_OK;

	if (what)
		wrong(j, r->idx, what);
	if (!opening(j, r, &at, &test))
		return ERR_OK;
	if (!same(&test.certificate_sha256, &r->certificate_sha256) || !same(&test.key, &r->key))
		wrong(j, r->idx, "its SELF-TEST is of another key or certificate");
	else if (r->dc.len == 0)
		wrong(j, r->idx, "it shows no credential of its self-test");
	else if (c)
		e = credential_check(j, r, &test, c);
	attempts_end(&j->attempts, at, ATTEMPT_CLOSED);
	return e;
}

static enum err take_config(struct judge *j, const struct record *r)
{
	enum err e = rules_add(&j->rules, r);

	if (e == ERR_FORMAT)
		wrong(j, r->idx, "its config can't be read");
	return e == ERR_FORMAT ? ERR_OK : e;
}

/* START and STOP: nothing may be open here. */
static enum err take_border(struct judge *j, const struct record *r)
{
	for (size_t i = 0; i < j->attempts.size && j->attempts.open; i++) {
		struct attempt *at = &j->attempts.slot[i];
		char text[128];

		if (at->state != ATTEMPT_OPEN)
			continue;
		snprintf(text, sizeof(text), "it has no outcome, and the %s record %lld follows",
			record_type_name(r->type), (long long)r->idx);
		wrong(j, at->idx, text);
		attempts_end(&j->attempts, at, ATTEMPT_CLOSED);
	}
	return ERR_OK;
}

/* HELD and RELEASED. */
static enum err take_hold(struct judge *j, const struct record *r)
{
	if (j->tables && tables_hold(j->tables, r))
		return ERR_NOMEM;
	return inforce_take(&j->holds, r) ? ERR_OK : ERR_NOMEM;
}

static enum err (*const types[RECORD_TYPES])(struct judge *j, const struct record *r) = {
	[RECORD_START] = take_border,
	[RECORD_STOP] = take_border,
	[RECORD_CONFIG] = take_config,
	[RECORD_KEY_PROVED] = take_proved,
	[RECORD_KEY_REFUSED] = take_end,
	[RECORD_SELF_TEST] = take_self_test,
	[RECORD_AUTHORISED] = take_authorised,
	[RECORD_ISSUED] = take_credential,
	[RECORD_FAILED] = take_end,
	[RECORD_UNKNOWN] = take_end,
	[RECORD_LATE] = take_credential,
	[RECORD_HELD] = take_hold,
	[RECORD_RELEASED] = take_hold,
};

/* CONFIG and KEY-PROVED of what is known already are not needed again. */
static bool context_note(struct judge *j, const struct record *r)
{
	bool wanted = r->type == RECORD_HELD || r->type == RECORD_RELEASED ||
		      (r->type == RECORD_CONFIG && !rules_find(j->rules, r)) ||
		      (r->type == RECORD_KEY_PROVED && !proved_find(j->proved, r));
	int64_t *more;

	if (!wanted)
		return true;
	more = reallocarray(j->context, j->contexts + 1, sizeof(*more));
	if (!more)
		return false;
	j->context = more;
	more[j->contexts++] = r->idx;
	return true;
}

enum err judge_take(struct judge *j, const struct record *r, const char *json, size_t len)
{
	char text[96];

	if (!j->begun && r->type != RECORD_START && r->type != RECORD_SUCCEEDED) {
		snprintf(text, sizeof(text), "the chain begins with %s", record_type_name(r->type));
		wrong(j, r->idx, text);
	}
	j->begun = true;
	if (!context_note(j, r))
		return ERR_NOMEM;
	if (j->tables)
		tables_time(j->tables, r->time);
	j->json = json;
	j->len = len;
	j->stopped = r->type == RECORD_STOP || (j->stopped && r->type == RECORD_CHECKPOINT);
	return types[r->type] ? types[r->type](j, r) : ERR_OK;
}

enum err judge_end(struct judge *j)
{
	signatures_end(j->signatures);
	return j->tables ? tables_chain(j->tables, &j->tally, &j->attempts) : ERR_OK;
}

uint64_t judge_open(const struct judge *j)
{
	return j->stopped ? 0 : j->attempts.open;
}

enum err judge_init(struct judge *j, struct crew *crew, judge_wrong *say, void *arg)
{
	memset(j, 0, sizeof(*j));
	j->wrong = say;
	j->arg = arg;
	j->opened = (struct buf)BUF_INIT(RECORD_MAX);
	j->tbs = (struct buf)BUF_INIT(DC_TBS_MAX);
	j->signatures = signatures_make(crew, bad_signature, j);
	return j->signatures ? ERR_OK : ERR_NOMEM;
}

/* Signatures that are under way use the keys of `proved`. */
void judge_free(struct judge *j)
{
	if (j->signatures)
		signatures_end(j->signatures);
	signatures_free(j->signatures);
	free(j->context);
	rules_free(j->rules);
	tally_free(&j->tally);
	inforce_free(j->holds);
	proved_free(j->proved);
	attempts_free(&j->attempts);
	buf_free(&j->opened);
	buf_free(&j->tbs);
}
