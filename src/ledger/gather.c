#include "gather.h"

#include <stdlib.h>
#include <string.h>

#include "channel.h"

enum err gather_init(struct gather *g)
{
	memset(g, 0, sizeof(*g));
	g->items = calloc(GATHER_ITEMS, sizeof(*g->items));
	g->messages = calloc(GATHER_ITEMS, sizeof(*g->messages));
	return g->items && g->messages ? ERR_OK : ERR_NOMEM;
}

static void gather_empty(struct gather *g)
{
	for (size_t i = 0; i < g->count; i++)
		buf_free(&g->items[i].replay);
	for (size_t i = 0; i < g->message_count; i++)
		free(g->messages[i].octets);
	g->count = g->message_count = 0;
}

void gather_free(struct gather *g)
{
	gather_empty(g);
	free(g->items);
	free(g->messages);
}

bool gather_full(const struct gather *g)
{
	return g->count + MSG_ITEMS > GATHER_ITEMS;
}

static enum err items_add(struct gather *g, struct chain *chain, const struct msg_append *m)
{
	for (size_t i = 0; i < m->count; i++) {
		const struct msg_append_item *from = &m->item[i];
		struct commit_item *it = &g->items[g->count];

		memset(it, 0, sizeof(*it));
		it->chain = chain;
		it->max_live_key = from->max_live_key;
		it->judge_only = from->judge_only != 0;
		it->max_live_client = from->max_live_client;
		if (record_decode(&it->record, from->record.at, from->record.len) ||
			!commit_takes(&it->record))
			return ERR_FORMAT;
		g->count++;
	}
	return ERR_OK;
}

enum err gather_add(
	struct gather *g, int fd, struct chain *chain, const uint8_t *octets, size_t len)
{
	struct gathered *at = &g->messages[g->message_count];
	static struct msg_append m; /* most of it stays untouched */
	struct msg_head head;
	struct reader body;

	at->octets = malloc(len);
	if (!at->octets)
		return ERR_NOMEM;
	memcpy(at->octets, octets, len);
	at->fd = fd;
	at->first = g->count;
	g->message_count++;

	enum err e = msg_open(&head, &body, at->octets, len);

	if (!e)
		e = head.type == MSG_APPEND ? msg_append_read(&m, &body) : ERR_FORMAT;
	if (!e)
		e = items_add(g, chain, &m);
	at->serial = head.serial;
	at->count = g->count - at->first;
	return e;
}

/* The last item whose replay can be given up for room. */
static bool lighten(struct commit_item *items, size_t count)
{
	for (size_t i = count; i-- > 0;) {
		struct msg_appended *a = &items[i].answer;

		if (!a->replay_issued.len)
			continue;
		a->replay_issued = a->replay_authorised = (struct octets){0};
		if (!a->refusal.err) {
			refuse(&a->refusal, ERR_OVERLOADED, "Idempotency-Key",
				"too many replayed credentials in one call: ask for fewer");
			a->refusal.retry_after = 1;
		}
		return true;
	}
	return false;
}

static void answer_write(struct buf *out, const struct gathered *m, struct commit_item *items)
{
	static struct msg_append_answer answer; /* most of it stays untouched */

	do {
		answer.count = (uint16_t)m->count;
		for (size_t i = 0; i < m->count; i++)
			answer.item[i] = items[m->first + i].answer;
		buf_reset(out);
		msg_begin(out, MSG_ANSWER(MSG_APPEND), m->serial);
		msg_append_answer_write(out, &answer);
	} while (out->len > MSG_MAX && lighten(items + m->first, m->count));
}

void gather_answer(struct gather *g, int timeout_ms, int *lost, size_t *lost_count)
{
	struct buf out = BUF_INIT(MSG_ITEMS * MSG_MAX);

	*lost_count = 0;
	for (size_t i = 0; i < g->message_count; i++) {
		const struct gathered *m = &g->messages[i];

		answer_write(&out, m, g->items);
		if (channel_send(m->fd, &out, NULL, 0, timeout_ms))
			lost[(*lost_count)++] = m->fd;
	}
	buf_free(&out);
	gather_empty(g);
}

/* Whether a signature may exist that nothing but this message tells of. */
static bool tells(const struct gather *g, const struct gathered *m)
{
	bool any = false;

	for (size_t i = m->first; i < m->first + m->count; i++) {
		enum record_type type = g->items[i].record.type;

		any = any || type == RECORD_ISSUED || type == RECORD_LATE ||
		      type == RECORD_UNKNOWN || type == RECORD_FAILED ||
		      (type == RECORD_KEY_PROVED || type == RECORD_KEY_REFUSED);
	}
	return any;
}

static void unavailable(struct gather *g, const struct gathered *m)
{
	for (size_t i = m->first; i < m->first + m->count; i++) {
		struct commit_item *it = &g->items[i];

		memset(&it->answer, 0, sizeof(it->answer));
		buf_free(&it->replay);
		refuse(&it->answer.refusal, ERR_LEDGER_UNAVAILABLE, "",
			"the ledger's database is lost: try again");
		it->answer.refusal.retry_after = 1;
	}
}

void gather_unavailable(struct gather *g, int timeout_ms, int *lost, size_t *lost_count)
{
	struct buf out = BUF_INIT(MSG_ITEMS * MSG_MAX);
	size_t items = 0, messages = 0;

	*lost_count = 0;
	for (size_t i = 0; i < g->message_count; i++) {
		struct gathered m = g->messages[i];

		if (tells(g, &m)) {
			memmove(&g->items[items], &g->items[m.first], m.count * sizeof(*g->items));
			m.first = items;
			items += m.count;
			g->messages[messages++] = m;
			continue;
		}
		unavailable(g, &m);
		answer_write(&out, &m, g->items);
		if (channel_send(m.fd, &out, NULL, 0, timeout_ms))
			lost[(*lost_count)++] = m.fd;
		free(m.octets);
	}
	g->count = items;
	g->message_count = messages;
	buf_free(&out);
}

enum err gather_commit(struct gather *g, struct ledger *l, int64_t now, int64_t ms, int timeout_ms,
	int *lost, size_t *lost_count)
{
	enum err e = commit_group(l, g->items, g->count, now, ms);

	*lost_count = 0;
	if (!e)
		gather_answer(g, timeout_ms, lost, lost_count);
	else if (e != ERR_CLOSED)
		gather_empty(g);
	return e;
}
