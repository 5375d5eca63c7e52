#include "judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "inforce.h"
#include "rebuild.h"

struct generation {
	uint8_t sha256[SHA256_SIZE];
	struct generation *next;
};

static void wrong(const struct judge *j, int64_t idx, const char *what)
{
	j->wrong(j->arg, idx, what);
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

/* The record that this outcome belongs to, read again; false: there is none that is open. */
static bool opening(
	struct judge *j, const struct record *r, struct attempt **at, struct record *opened)
{
	bool late = r->type == RECORD_LATE;

	*at = attempts_find(&j->attempts, r);
	if (!*at) {
		wrong(j, r->idx, "nothing was authorised under its id and attempt");
		return false;
	}
	if ((*at)->state != ATTEMPT_OPEN && !(late && (*at)->state == ATTEMPT_UNKNOWN)) {
		wrong(j, r->idx, "its attempt has an outcome already");
		return false;
	}
	buf_reset(&j->opened);
	return record_parse(opened, &j->opened, (*at)->json, (*at)->len) == ERR_OK;
}

static enum err take_authorised(struct judge *j, const struct record *r)
{
	const struct certificate *c = proved_find(j->proved, r);
	const struct generation *g = j->generations;
	const struct inforce *hold = inforce_find(j->holds, r);
	const char *what = NULL;
	char text[128];

	if (hold) {
		snprintf(text, sizeof(text), "was authorised against the hold of record %lld",
			(long long)hold->idx);
		wrong(j, r->idx, text);
	}

	while (g && memcmp(g->sha256, r->generation.at, SHA256_SIZE) != 0)
		g = g->next;
	if (!g)
		wrong(j, r->idx, "no CONFIG record announced its generation");
	buf_reset(&j->tbs);
	if (!c)
		what = "no KEY-PROVED record shows its certificate for its key";
	else
		what = rebuild_authorised(r, c, &j->tbs);
	if (what)
		wrong(j, r->idx, what);
	return begin(j, r);
}

/* ISSUED and LATE. */
static enum err take_credential(struct judge *j, const struct record *r)
{
	struct record authorised;
	struct attempt *at;

	if (!opening(j, r, &at, &authorised))
		return ERR_OK;

	const struct certificate *c = proved_find(j->proved, &authorised);
	const char *what = c ? rebuild_credential(r, &authorised, c) : NULL;

	if (what)
		wrong(j, r->idx, what);
	j->credentials += r->type == RECORD_ISSUED;
	attempts_end(&j->attempts, at, ATTEMPT_CLOSED);
	return ERR_OK;
}

/* FAILED, UNKNOWN, KEY-REFUSED. */
static enum err take_end(struct judge *j, const struct record *r)
{
	struct record opened;
	struct attempt *at;

	if (r->id.len && opening(j, r, &at, &opened))
		attempts_end(&j->attempts, at,
			r->type == RECORD_UNKNOWN ? ATTEMPT_UNKNOWN : ATTEMPT_CLOSED);
	return ERR_OK;
}

static enum err take_proved(struct judge *j, const struct record *r)
{
	const char *what = proved_add(&j->proved, r);
	const struct certificate *c = proved_find(j->proved, r);
	struct record test;
	struct attempt *at;

	if (what)
		wrong(j, r->idx, what);
	if (!opening(j, r, &at, &test))
		return ERR_OK;
	if (memcmp(test.certificate_sha256.at, r->certificate_sha256.at, SHA256_SIZE) != 0)
		wrong(j, r->idx, "its certificate is not that of its SELF-TEST");
	else if (c && r->dc.len && (what = rebuild_credential(r, &test, c)))
		wrong(j, r->idx, what);
	attempts_end(&j->attempts, at, ATTEMPT_CLOSED);
	return ERR_OK;
}

static enum err take_config(struct judge *j, const struct record *r)
{
	struct generation *g = calloc(1, sizeof(*g));

	if (!g)
		return ERR_NOMEM;
	memcpy(g->sha256, r->generation.at, SHA256_SIZE);
	g->next = j->generations;
	j->generations = g;
	return ERR_OK;
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
	return inforce_take(&j->holds, r) ? ERR_OK : ERR_NOMEM;
}

static enum err (*const types[RECORD_TYPES])(struct judge *j, const struct record *r) = {
	[RECORD_START] = take_border,
	[RECORD_STOP] = take_border,
	[RECORD_CONFIG] = take_config,
	[RECORD_KEY_PROVED] = take_proved,
	[RECORD_KEY_REFUSED] = take_end,
	[RECORD_SELF_TEST] = begin,
	[RECORD_AUTHORISED] = take_authorised,
	[RECORD_ISSUED] = take_credential,
	[RECORD_FAILED] = take_end,
	[RECORD_UNKNOWN] = take_end,
	[RECORD_LATE] = take_credential,
	[RECORD_HELD] = take_hold,
	[RECORD_RELEASED] = take_hold,
};

enum err judge_take(struct judge *j, const struct record *r, const char *json, size_t len)
{
	j->json = json;
	j->len = len;
	j->stopped = r->type == RECORD_STOP || (j->stopped && r->type == RECORD_CHECKPOINT);
	return types[r->type] ? types[r->type](j, r) : ERR_OK;
}

uint64_t judge_open(const struct judge *j)
{
	return j->stopped ? 0 : j->attempts.open;
}

void judge_init(struct judge *j, judge_wrong *say, void *arg)
{
	memset(j, 0, sizeof(*j));
	j->wrong = say;
	j->arg = arg;
	j->opened = (struct buf)BUF_INIT(RECORD_MAX);
	j->tbs = (struct buf)BUF_INIT(DC_TBS_MAX);
}

void judge_free(struct judge *j)
{
	while (j->generations) {
		struct generation *next = j->generations->next;

		free(j->generations);
		j->generations = next;
	}
	inforce_free(j->holds);
	proved_free(j->proved);
	attempts_free(&j->attempts);
	buf_free(&j->opened);
	buf_free(&j->tbs);
}
