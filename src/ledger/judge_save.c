#include <stdlib.h>
#include <string.h>

#include "inforce.h"
#include "judge.h"
#include "rebuild.h"
#include "rules.h"

static bool kept(const struct attempt *at)
{
	return at->state != ATTEMPT_NONE && at->state != ATTEMPT_CLOSED;
}

void judge_save(const struct judge *j, struct buf *out)
{
	uint64_t count = 0;

	buf_u8(out, j->begun);
	buf_u8(out, j->stopped);
	buf_u64(out, j->credentials);
	buf_u64(out, j->contexts);
	for (size_t i = 0; i < j->contexts; i++)
		buf_u64(out, (uint64_t)j->context[i]);
	for (size_t i = 0; i < j->attempts.size; i++)
		count += kept(&j->attempts.slot[i]);
	buf_u64(out, count);
	for (size_t i = 0; i < j->attempts.size; i++) {
		const struct attempt *at = &j->attempts.slot[i];

		if (!kept(at))
			continue;
		buf_u64(out, (uint64_t)at->idx);
		buf_u8(out, at->state);
	}
	tally_save(&j->tally, out);
}

/* A record as it was when it was judged: it is not judged again. */
static enum err record_again(struct record *r, struct buf *json, struct buf *text, struct store *s,
	const char *chain, int64_t idx)
{
	uint8_t leaf[SHA256_SIZE];

	buf_reset(json);
	buf_reset(text);
	if (s->engine->record_get(s, chain, idx, json, leaf) ||
		record_parse(r, text, (const char *)json->octets, json->len))
		return ERR_FORMAT;
	return ERR_OK;
}

static enum err context_load(struct judge *j, const struct record *r)
{
	if (r->type == RECORD_CONFIG)
		return rules_add(&j->rules, r) == ERR_NOMEM ? ERR_NOMEM : ERR_OK;
	if (r->type == RECORD_KEY_PROVED)
		proved_add(&j->proved, r);
	else if (r->type == RECORD_HELD || r->type == RECORD_RELEASED)
		return inforce_take(&j->holds, r) ? ERR_OK : ERR_NOMEM;
	return ERR_OK;
}

static enum err attempt_load(
	struct judge *j, const struct record *r, const struct buf *json, uint8_t state)
{
	struct attempt *at;

	if ((r->type != RECORD_AUTHORISED && r->type != RECORD_SELF_TEST) ||
		state > ATTEMPT_CLOSED || attempts_find(&j->attempts, r))
		return ERR_FORMAT;
	at = attempts_begin(&j->attempts, r, (const char *)json->octets, json->len);
	if (at && state != ATTEMPT_OPEN)
		attempts_end(&j->attempts, at, (enum attempt_state)state);
	return at ? ERR_OK : ERR_NOMEM;
}

enum err judge_load(struct judge *j, struct reader *in, struct store *s, const char *chain)
{
	struct buf json = BUF_INIT(RECORD_MAX), text = BUF_INIT(RECORD_MAX);
	enum err e = ERR_OK;
	struct record r;
	uint64_t count;

	j->begun = reader_u8(in) != 0;
	j->stopped = reader_u8(in) != 0;
	j->credentials = reader_u64(in);
	count = reader_u64(in);
	j->context = in->failed || count > in->left / 8 ? NULL : calloc(count + 1, 8);
	if (!j->context)
		return ERR_FORMAT;
	for (j->contexts = 0; !e && j->contexts < count; j->contexts++) {
		j->context[j->contexts] = (int64_t)reader_u64(in);
		e = record_again(&r, &json, &text, s, chain, j->context[j->contexts]);
		if (!e)
			e = context_load(j, &r);
	}
	count = e ? 0 : reader_u64(in);
	for (uint64_t i = 0; !e && i < count; i++) {
		int64_t idx = (int64_t)reader_u64(in);
		uint8_t state = reader_u8(in);

		e = in->failed ? ERR_FORMAT : record_again(&r, &json, &text, s, chain, idx);
		if (!e)
			e = attempt_load(j, &r, &json, state);
	}
	if (!e && !tally_load(&j->tally, in))
		e = ERR_FORMAT;
	buf_free(&json);
	buf_free(&text);
	return e;
}
