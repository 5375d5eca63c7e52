#include "append_private.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* The answer to an APPEND can carry two records for each of its own (a replay), and must fit too.
 */
#define APPEND_OCTETS (MSG_MAX / 3)

/* How many of the items go into one message. */
static uint16_t chunk(const struct append_item *items, size_t count)
{
	size_t octets = items[0].record.len, n = 1;

	while (n < count && octets + items[n].record.len <= APPEND_OCTETS)
		octets += items[n++].record.len;
	return (uint16_t)n;
}

static void message_of(
	struct buf *out, uint64_t serial, const struct append_item *items, uint16_t n)
{
	struct msg_append *m = malloc(sizeof *m); /* most of it stays untouched */

	if (m == NULL) {
		out->err = ERR_NOMEM;
		return;
	}
	m->count = n;
	for (uint16_t i = 0; i < n; i++)
		m->item[i] = (struct msg_append_item){.record = items[i].record,
			.max_live_key = items[i].max_live_key,
			.max_live_client = items[i].max_live_client,
			.judge_only = items[i].judge_only};
	msg_begin(out, MSG_APPEND, serial);
	msg_append_write(out, m);
	free(m);
}

/* Sends one chunk; *w waits for its answer. */
static bool chunk_send(struct append *a, enum stage stage, const struct append_item *items,
	uint16_t n, struct waiter *w)
{
	struct buf message = BUF_INIT(MSG_MAX);
	struct link *link;
	bool sent = false;

	w->type = MSG_ANSWER(MSG_APPEND);
	pthread_cond_init(&w->woken, NULL);
	link = link_take(a, stage, w);
	if (link != NULL) {
		message_of(&message, w->serial, items, n);
		sent = link_send(a, link, w, &message);
	}
	buf_free(&message);
	return sent;
}

static enum err answer_take(struct append_answers *out, struct waiter *w, uint16_t expected)
{
	struct msg_append_answer *m = malloc(sizeof *m); /* most of it stays untouched */
	struct msg_head head;
	struct reader body;

	out->octets[out->messages++] = w->octets;
	if (m == NULL)
		return ERR_NOMEM;
	memset(m, 0, offsetof(struct msg_append_answer, item) + expected * sizeof *m->item);
	if (msg_open(&head, &body, w->octets, w->len) != ERR_OK ||
		msg_append_answer_read(m, &body) != ERR_OK || m->count != expected)
		append_malformed("APPEND");
	memcpy(&out->item[out->count], m->item, expected * sizeof *m->item);
	out->count += expected;
	free(m);
	return ERR_OK;
}

static enum err append_all(struct append *a, enum stage stage, const struct append_item *items,
	size_t count, struct append_answers *out, struct refusal *why)
{
	struct waiter *waiters = calloc(count, sizeof *waiters);
	uint16_t *sizes = calloc(count, sizeof *sizes);
	const struct refusal *refused = NULL;
	size_t sent = 0, done = 0;
	enum err e = waiters == NULL || sizes == NULL ? ERR_NOMEM : ERR_OK;

	out->count = out->messages = 0;
	for (; e == ERR_OK && done < count; done += sizes[sent++]) {
		sizes[sent] = chunk(items + done, count - done);
		if (!chunk_send(a, stage, items + done, sizes[sent], &waiters[sent]))
			break;
	}
	if (done < count)
		e = e == ERR_OK ? ERR_LEDGER_UNAVAILABLE : e;
	for (size_t i = 0; i < sent; i++) {
		waiter_wait(a, &waiters[i]);
		if (waiters[i].octets == NULL)
			e = ERR_LEDGER_UNAVAILABLE;
		else if (e == ERR_OK)
			e = answer_take(out, &waiters[i], sizes[i]);
		else
			free(waiters[i].octets);
	}
	for (size_t i = 0; stage == GREETED && e == ERR_OK && i < out->count; i++)
		if (out->item[i].refusal.err != ERR_OK)
			refused = &out->item[i].refusal;
	if (e == ERR_OK && stage == GREETED && refused == NULL)
		link_advance(a, &waiters[0], OPEN);
	free(waiters);
	free(sizes);
	if (refused != NULL)
		return refuse(why, refused->err, "", "%s", refused->detail);
	return e == ERR_OK ? ERR_OK : append_unavailable(why);
}

enum err append_records(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, struct refusal *why)
{
	return append_all(a, OPEN, items, count, out, why);
}

enum err append_first(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, struct refusal *why)
{
	return append_all(a, GREETED, items, count, out, why);
}

void append_answers_free(struct append_answers *out)
{
	for (size_t i = 0; i < out->messages; i++)
		free(out->octets[i]);
	out->count = out->messages = 0;
}

void append_post(struct append *a, const struct append_item *items, size_t count)
{
	while (count > 0) {
		uint16_t n = chunk(items, count);
		struct buf message = BUF_INIT(MSG_MAX);
		struct waiter w = {.serial = UINT64_MAX}; /* nobody waits */
		struct link *link = link_take(a, OPEN, &w);

		if (link == NULL)
			return;
		message_of(&message, w.serial, items, n);
		link_send(a, link, &w, &message);
		buf_free(&message);
		items += n;
		count -= n;
	}
}
