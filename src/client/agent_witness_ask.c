#include "settings.h"

#include "agent_witness_internal.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "agent.h"
#include "checkpoint.h"
#include "merkle.h"
#include "tool.h"

static void alarm_is(struct look *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void alarm_is(struct look *l, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (!*l->alarm)
		vsnprintf(l->alarm, sizeof l->alarm, fmt, ap);
	va_end(ap);
}

static void trouble_is(struct look *l, const char *chain, const char *what)
{
	if (!*l->trouble)
		snprintf(l->trouble, sizeof l->trouble, "%.150s: %.240s", chain, what);
}

/* ---- asking ---- */

static void escape(struct buf *out, const char *text)
{
	for (; *text; text++)
		if (strchr("#%&+", *text))
			buf_printf(out, "%%%02X", (unsigned char)*text);
		else
			buf_u8(out, (uint8_t)*text);
}

enum reply { REPLY_GIVEN, REPLY_MISSING, REPLY_NONE };

/* The same node that wrote the chain: another one may have another ledger. */
static enum reply ask(struct look *l, const char *url, const char *chain, const char *path,
	struct service_answer *answer)
{
	struct agent_service *s = l->c->service;
	const struct service_call call = {path, NULL, NULL, NULL};
	struct refusal why = {0};
	bool ours = false;
	size_t i;
	int code;

	for (i = 0; i < s->url_count; i++)
		ours = ours || strcmp(s->urls[i], url) == 0;
	code = agent_call_at(s, ours ? url : s->urls[s->current], &call, answer, &why);
	if (code == TOOL_OK && answer->status == 200)
		return REPLY_GIVEN;
	if (ours && answer->status == 404)
		return REPLY_MISSING;
	trouble_is(
		l, chain, why.detail[0] ? why.detail : "an answer that this service never gives");
	return REPLY_NONE;
}

static json_t *json_of(struct look *l, const char *chain, const struct service_answer *answer)
{
	json_t *o = json_loadb(
		(const char *)answer->body.octets, answer->body.len, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(o))
		trouble_is(l, chain, "the answer about the ledger is no JSON object");
	return o;
}

static bool read_proof(struct merkle_proof *proof, const json_t *o)
{
	const json_t *list = json_object_get(o, "proof");
	size_t i;

	proof->count = (unsigned)json_array_size(list);
	if (!json_is_array(list) || json_array_size(list) > MERKLE_PROOF_MAX)
		return false;
	for (i = 0; i < proof->count; i++) {
		const char *hex = json_string_value(json_array_get(list, i));
		if (!hex || strlen(hex) != 2 * SHA256_SIZE ||
			!hex_decode(proof->hash[i], SHA256_SIZE, hex))
			return false;
	}
	return true;
}

/* ---- judging ---- */

/* What stands between the note's text and its first signature's base64, and the key id after it:
 * who signed. */
static bool signer(char id[9], const char *note, const char *origin)
{
	char mark[CHECKPOINT_ORIGIN_SIZE + 16];
	struct buf line = BUF_INIT(256);
	const char *at;
	bool ok;

	snprintf(mark, sizeof mark, "\n\xe2\x80\x94 %s ", origin);
	at = strstr(note, mark);
	ok = at && strlen(at + strlen(mark)) >= 8 &&
	     base64_decode(&line, at + strlen(mark), 8) == ERR_OK && line.len >= 4;
	if (ok)
		hex_encode(id, line.octets, 4);
	buf_free(&line);
	return ok;
}

/* By one of the keys that are known. */
static enum err by_ledger_key(
	struct checkpoint *head, const char *note, const struct agent_service *s)
{
	enum err e = ERR_FORMAT;
	size_t i;

	for (i = 0; e && i < s->ledger_key_count; i++)
		e = checkpoint_verify(head, note, strlen(note), s->ledger_keys[i]);
	return e;
}

/* Is it a head of this chain, by the signer that is known? */
static bool read_note(struct look *l, const char *chain, const char *note, struct checkpoint *head)
{
	const struct agent_service *s = l->c->service;
	const char *before = witness_text(json_object_get(l->chains, chain), "note");
	struct checkpoint old;
	char now_by[9], before_by[9];
	size_t tail = strlen(chain), len;
	enum err e = s->ledger_key_count ? by_ledger_key(head, note, s)
					 : checkpoint_read(head, note, strlen(note));

	if (e) {
		if (s->ledger_key_count)
			alarm_is(l, "%s: a signed head is not by ledger_key: %s", chain,
				err_text(e));
		else
			trouble_is(l, chain, "the answer has no signed head");
		return false;
	}
	len = strlen(head->origin);
	if (len <= tail || head->origin[len - tail - 1] != '/' ||
		strcmp(head->origin + len - tail, chain) != 0) {
		alarm_is(l, "%s: the signed head is of %.200s", chain, head->origin);
		return false;
	}
	if (!*before)
		return true;
	if (checkpoint_read(&old, before, strlen(before)) ||
		strcmp(old.origin, head->origin) != 0 || !signer(now_by, note, head->origin) ||
		!signer(before_by, before, old.origin) || strcmp(now_by, before_by) != 0) {
		alarm_is(l, "%s: signed by another ledger's key than before", chain);
		return false;
	}
	return true;
}

/* Does all that the old head covers still stand, under the new one? */
static bool goes_on(struct look *l, const char *chain, const char *url,
	const struct checkpoint *old, const struct checkpoint *head)
{
	struct service_answer answer = {.body = BUF_INIT(SERVICE_ANSWER_MAX)};
	struct buf path = BUF_INIT(1024);
	struct merkle_proof proof = {0};
	enum reply reply = REPLY_NONE;
	json_t *o = NULL;
	bool ok = false;

	if (head->size < old->size) {
		alarm_is(l,
			"%s: the ledger has %" PRIu64 " records and had %" PRIu64
			": an older copy was put back",
			chain, head->size, old->size);
		return false;
	}
	if (head->size == old->size) {
		ok = memcmp(head->root, old->root, SHA256_SIZE) == 0;
		if (!ok)
			alarm_is(l,
				"%s: two signed heads of %" PRIu64
				" records differ: the ledger was rewritten or is forked",
				chain, head->size);
		l->proved = l->proved || ok;
		return ok;
	}
	buf_text(&path, "/v1/ledger/consistency?chain=");
	escape(&path, chain);
	buf_printf(&path, "&from=%" PRIu64 "&to=%" PRIu64, old->size, head->size);
	if (buf_cstr(&path))
		reply = ask(l, url, chain, buf_cstr(&path), &answer);
	if (reply == REPLY_GIVEN && (o = json_of(l, chain, &answer)) != NULL) {
		ok = read_proof(&proof, o) &&
		     merkle_consistent(&proof, old->size, head->size, old->root, head->root);
		if (!ok)
			alarm_is(l,
				"%s: the %" PRIu64 " records of before are not a part of the "
				"%" PRIu64 " of now: the ledger was rewritten or is forked",
				chain, old->size, head->size);
	} else if (reply == REPLY_MISSING) {
		alarm_is(l, "%s: the ledger does not know its own %" PRIu64 " records", chain,
			head->size);
	}
	l->proved = l->proved || ok;
	json_decref(o);
	buf_free(&path);
	buf_free(&answer.body);
	return ok;
}

/* Takes a head in: the first of its chain as it is, any other if it goes on from the last. */
static void take_head(struct look *l, const char *chain, const char *url, const char *note,
	const struct checkpoint *head)
{
	const char *before = witness_text(json_object_get(l->chains, chain), "note");
	struct checkpoint old;

	if (*before && (checkpoint_read(&old, before, strlen(before)) ||
			       !goes_on(l, chain, url, &old, head)))
		return;
	json_object_set_new(l->chains, chain,
		json_pack("{s:s, s:s, s:s}", "service", l->c->service->section.name, "url", url,
			"note", note));
}

void witness_ask_head(struct look *l, const char *chain, const char *url)
{
	struct service_answer answer = {.body = BUF_INIT(CHECKPOINT_MAX)};
	struct buf path = BUF_INIT(1024);
	struct checkpoint head;
	enum reply reply = REPLY_NONE;

	buf_text(&path, "/v1/ledger/checkpoint?chain=");
	escape(&path, chain);
	if (buf_cstr(&path))
		reply = ask(l, url, chain, buf_cstr(&path), &answer);
	if (reply == REPLY_MISSING && *witness_text(json_object_get(l->chains, chain), "note"))
		alarm_is(l, "%s: the chain is not in the ledger any more", chain);
	else if (reply == REPLY_MISSING)
		trouble_is(l, chain, "there is no signed head of this chain");
	else if (reply == REPLY_GIVEN && buf_cstr(&answer.body) &&
		 read_note(l, chain, buf_cstr(&answer.body), &head))
		take_head(l, chain, url, buf_cstr(&answer.body), &head);
	buf_free(&path);
	buf_free(&answer.body);
}

/* The record is the leaf that the answer to the request named, and stands under the head. */
static bool is_included(
	const struct witness_before *b, const json_t *o, const struct checkpoint *head)
{
	const char *record = witness_text(o, "record");
	struct merkle_proof proof = {0};
	uint8_t leaf[SHA256_SIZE];

	merkle_leaf(record, strlen(record), leaf);
	return memcmp(leaf, b->leaf_hash, sizeof leaf) == 0 && strstr(record, b->id) &&
	       strcmp(witness_text(o, "chain"), b->chain) == 0 && read_proof(&proof, o) &&
	       b->idx < head->size && merkle_included(&proof, b->idx, head->size, leaf, head->root);
}

bool witness_ask_inclusion(struct look *l, const struct witness_before *b, int64_t now)
{
	struct service_answer answer = {.body = BUF_INIT(SERVICE_ANSWER_MAX)};
	char path[128];
	struct checkpoint head;
	json_t *o = NULL;
	enum reply reply;
	bool ok = false;

	snprintf(path, sizeof path, "/v1/ledger/proof?id=%.64s", b->id);
	reply = ask(l, b->url, b->chain, path, &answer);
	if (reply == REPLY_GIVEN && (o = json_of(l, b->chain, &answer)) != NULL &&
		read_note(l, b->chain, witness_text(o, "checkpoint"), &head)) {
		ok = true;
		if (!is_included(b, o, &head))
			alarm_is(l,
				"%s: credential %s, record %" PRIu64
				", is not in the ledger as it was issued",
				b->chain, b->id, b->idx);
		else
			take_head(l, b->chain, b->url, witness_text(o, "checkpoint"), &head);
	} else if (reply == REPLY_MISSING && b->expiry > now) {
		alarm_is(l,
			"%s: credential %s, which is in use, is not in the ledger (or this "
			"client has another name at the service now)",
			b->chain, b->id);
	}
	json_decref(o);
	buf_free(&answer.body);
	return ok;
}
