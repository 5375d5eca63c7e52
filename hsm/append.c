#include "append_private.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* How many of the items go into one message. */
static uint16_t chunk(const struct append_item *items, size_t count)
{
	size_t octets = items[0].record.len, n = 1;

	while (n < count && octets + items[n].record.len <= APPEND_OCTETS)
		octets += items[n++].record.len;
	return (uint16_t)n;
}

void message_of(struct buf *out, uint64_t serial, const struct waiter *list)
{
	struct msg_append *m;
	size_t count = 0;

	for (const struct waiter *w = list; w != NULL; w = w->next)
		count += w->count;
	m = malloc(offsetof(struct msg_append, item) + count * sizeof *m->item);
	if (m == NULL) {
		out->err = ERR_NOMEM;
		return;
	}
	m->count = 0;
	for (const struct waiter *w = list; w != NULL; w = w->next)
		for (uint16_t i = 0; i < w->count; i++)
			m->item[m->count++] = (struct msg_append_item){.record = w->items[i].record,
				.max_live_key = w->items[i].max_live_key,
				.max_live_client = w->items[i].max_live_client,
				.judge_only = w->items[i].judge_only};
	msg_begin(out, MSG_APPEND, serial);
	msg_append_write(out, m);
	free(m);
}

/* A place for each item, and a waiter for each chunk. */
static enum err answers_new(
	struct append_answers *out, const struct append_item *items, size_t count)
{
	size_t chunks = 0;

	for (size_t i = 0; i < count; i += chunk(items + i, count - i))
		chunks++;
	out->item = calloc(count, sizeof *out->item);
	out->waiters = calloc(chunks, sizeof *out->waiters);
	return out->item == NULL || out->waiters == NULL ? ERR_NOMEM : ERR_OK;
}

static void ask(struct append *a, enum stage stage, const struct append_item *items, size_t count,
	struct append_answers *out)
{
	size_t done = 0;

	out->left = 1; /* until all are asked */
	out->err = answers_new(out, items, count);
	while (out->err == ERR_OK && done < count) {
		struct waiter *w = &out->waiters[out->asked];

		w->items = items + done;
		w->count = chunk(items + done, count - done);
		w->of = out;
		out->left++;
		if (waiter_ask(a, stage, w)) {
			done += w->count;
			out->asked++;
		} else {
			out->left--;
			out->err = ERR_LEDGER_UNAVAILABLE;
		}
	}
	answers_drop(out);
}

void append_begin(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, void (*done)(void *arg), void *arg)
{
	*out = (struct append_answers){.done = done, .arg = arg};
	ask(a, OPEN, items, count, out);
}

enum err append_finish(struct append_answers *out, struct refusal *why)
{
	for (size_t i = 0; i < out->asked; i++) {
		struct waiter *w = &out->waiters[i];

		out->messages++;
		if (w->answer == NULL) {
			out->err = ERR_LEDGER_UNAVAILABLE;
			continue;
		}
		memcpy(&out->item[out->count], &w->answer->body->item[w->first],
			w->count * sizeof *out->item);
		out->count += w->count;
	}
	return out->err == ERR_OK ? ERR_OK : append_unavailable(why);
}

void append_flush(struct append *a)
{
	waiters_flush(a);
}

static void post(void *woken)
{
	sem_post(woken);
}

static enum err append_all(struct append *a, enum stage stage, const struct append_item *items,
	size_t count, struct append_answers *out, struct refusal *why)
{
	sem_t woken;

	*out = (struct append_answers){.done = post, .arg = &woken};
	sem_init(&woken, 0, 0);
	ask(a, stage, items, count, out);
	waiters_flush(a);
	while (sem_wait(&woken) != 0)
		;
	sem_destroy(&woken);
	return append_finish(out, why);
}

enum err append_records(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, struct refusal *why)
{
	return append_all(a, OPEN, items, count, out, why);
}

enum err append_first(struct append *a, const struct append_item *items, size_t count,
	struct append_answers *out, struct refusal *why)
{
	enum err e = append_all(a, GREETED, items, count, out, why);

	for (size_t i = 0; e == ERR_OK && i < out->count; i++)
		if (out->item[i].refusal.err != ERR_OK)
			return refuse(why, out->item[i].refusal.err, "", "%s",
				out->item[i].refusal.detail);
	if (e == ERR_OK)
		link_advance(a, &out->waiters[0], OPEN);
	return e;
}

void append_answers_free(struct append_answers *out)
{
	for (size_t i = 0; i < out->messages; i++)
		message_unref(out->waiters[i].answer);
	free(out->waiters);
	free(out->item);
	*out = (struct append_answers){.count = 0};
}

void append_post(struct append *a, const struct append_item *items, size_t count)
{
	while (count > 0) {
		struct buf message = BUF_INIT(MSG_MAX);
		struct waiter nobody = {.items = items, .count = chunk(items, count)};

		message_of(&message, UINT64_MAX, &nobody);
		link_post(a, OPEN, &message);
		buf_free(&message);
		items += nobody.count;
		count -= nobody.count;
	}
}
