#include "link.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "signer.h"

struct link *link_new(uint8_t role, const char *token, int fd)
{
	struct link *l = calloc(1, sizeof(*l));

	if (l == NULL)
		return NULL;
	l->role = role;
	l->fd = fd;
	strncpy(l->token, token, sizeof(l->token) - 1);
	return l;
}

void link_free(struct link *l)
{
	if (l == NULL)
		return;
	close(l->fd);
	free(l->key);
	free(l->fresh);
	free(l->held);
	free(l->fresh_held);
	for (unsigned i = 0; i < LINK_NOTES; i++)
		free(l->note[i]);
	free(l);
}

static struct msg_read question(const struct link *l)
{
	static const enum msg_read_kind kinds[] = {READ_HEADS, READ_HOLDS, READ_LIVE, READ_NOTE};
	struct msg_read read = {.kind = (uint8_t)kinds[l->step]};

	if (l->step == POLL_HOLDS && l->fresh_held_count > 0) {
		const struct msg_held *last = &l->fresh_held[l->fresh_held_count - 1];

		memcpy(read.key, last->key, sizeof(read.key));
		memcpy(read.client, last->client, sizeof(read.client));
	}
	if (l->step == POLL_NOTES)
		memcpy(read.chain, l->heads.head[l->asked_note].chain, sizeof(read.chain));
	return read;
}

static void ask(struct link *l, uint64_t *serial, struct buf *out)
{
	uint64_t mine = ++*serial;

	buf_reset(out);
	if (l->role == ROLE_HSM) {
		struct msg_state state = {.from = l->fresh_count};

		if (l->fresh_count == 0)
			state.mark = l->mark;
		msg_begin(out, MSG_STATE, mine);
		msg_state_write(out, &state);
	} else {
		struct msg_read read = question(l);

		msg_begin(out, MSG_READ, mine);
		msg_read_write(out, &read);
	}
	/* a full or lost channel: asked again in the next turn, or found lost by poll(2) */
	l->poll_serial = channel_send(l->fd, out, NULL, 0, 0) == ERR_OK ? mine : 0;
}

void link_poll(struct link *l, int64_t now, uint64_t *serial, struct buf *out)
{
	if (l->retired || l->poll_serial != 0)
		return;
	if (l->poll_last != 0 && now - l->poll_last < SIGNER_POLL_MS)
		return;
	l->fresh_count = 0;
	l->step = POLL_HEADS;
	ask(l, serial, out);
	if (l->poll_serial != 0)
		l->poll_asked = l->poll_last = now;
}

static void show(struct link *l, const struct msg_state_answer *page)
{
	l->token_ok = page->token_ok != 0;
	memcpy(l->token_detail, page->token_detail, sizeof(l->token_detail));
	memcpy(l->generation, page->generation, sizeof(l->generation));
	memcpy(l->counter, page->counter, sizeof(l->counter));
	memcpy(l->span, page->span, sizeof(l->span));
	l->known = true;
}

static void show_keys(struct link *l)
{
	free(l->key);
	l->key = l->fresh;
	l->key_count = l->fresh_count;
	l->mark = l->fresh_mark;
	l->fresh = NULL;
	l->fresh_count = l->fresh_total = 0;
}

/* link_key looks for them by their order. */
static bool in_order(const struct link *l)
{
	for (uint32_t i = 1; i < l->fresh_count; i++)
		if (strcmp(l->fresh[i - 1].name, l->fresh[i].name) >= 0)
			return false;
	return true;
}

static enum err take_keys(struct link *l, const struct msg_state_answer *page)
{
	struct msg_state_key *more = realloc(l->fresh, (page->total + (size_t)1) * sizeof(*more));

	if (more == NULL)
		return ERR_NOMEM;
	l->fresh = more;
	l->fresh_total = page->total;
	if (l->fresh_count == 0)
		l->fresh_mark = page->mark;
	else if (l->fresh_mark != page->mark)
		l->fresh_mark = 0;
	memcpy(more + l->fresh_count, page->key, page->count * sizeof(*more));
	l->fresh_count += page->count;
	return l->fresh_count == page->total && !in_order(l) ? ERR_FORMAT : ERR_OK;
}

/* Nothing has changed since all keys were shown. */
static bool unchanged(const struct link *l, const struct msg_state_answer *page)
{
	return l->mark != 0 && page->mark == l->mark && page->from == 0 && page->count == 0 &&
	       page->total == l->key_count;
}

enum err link_state(
	struct link *l, const struct msg_state_answer *page, uint64_t *serial, struct buf *out)
{
	enum err e;

	l->poll_serial = 0;
	if (page->from != l->fresh_count || page->from + page->count > page->total)
		return ERR_FORMAT;
	if (l->fresh_count != 0 && page->total != l->fresh_total)
		return ERR_OK; /* its configuration changed between two pages: from the start */
	if (unchanged(l, page)) {
		show(l, page);
		return ERR_OK;
	}
	e = take_keys(l, page);
	if (e != ERR_OK)
		return e;
	if (l->fresh_count == page->total) {
		show_keys(l);
		show(l, page);
	} else if (page->count == 0) {
		return ERR_FORMAT;
	} else {
		ask(l, serial, out);
	}
	return ERR_OK;
}

static enum err take_holds(struct link *l, const struct msg_read_answer *answer)
{
	struct msg_held *more = realloc(l->fresh_held,
		(l->fresh_held_count + (size_t)answer->held_count + 1) * sizeof(*more));

	if (more == NULL)
		return ERR_NOMEM;
	l->fresh_held = more;
	memcpy(more + l->fresh_held_count, answer->held, answer->held_count * sizeof(*more));
	l->fresh_held_count += answer->held_count;
	if (answer->held_count == READ_HELD)
		return ERR_OK;
	free(l->held);
	l->held = l->fresh_held;
	l->held_count = l->fresh_held_count;
	l->fresh_held = NULL;
	l->fresh_held_count = 0;
	l->step = POLL_LIVE;
	return ERR_OK;
}

/* True: there is one more note to ask for. */
static bool take_note(struct link *l, const struct msg_read_answer *answer)
{
	unsigned i = l->asked_note++;

	free(l->note[i]);
	l->note[i] = answer->text.len > 0 ? strndup((const char *)answer->text.at, answer->text.len)
					  : NULL;
	memcpy(l->note_chain[i], l->heads.head[i].chain, sizeof(l->note_chain[i]));
	return l->asked_note < l->heads.count && l->asked_note < LINK_NOTES;
}

/* True: there is one more question. */
static bool take_step(struct link *l, const struct msg_read_answer *answer)
{
	switch (l->step) {
	case POLL_HEADS:
		l->heads = *answer;
		l->known = true;
		l->step = POLL_HOLDS;
		l->fresh_held_count = 0;
		return l->polls++ % POLL_REST == 0;
	case POLL_HOLDS:
		return take_holds(l, answer) == ERR_OK;
	case POLL_LIVE:
		l->live = answer->live;
		l->step = POLL_NOTES;
		l->asked_note = 0;
		return l->heads.count > 0;
	case POLL_NOTES:
		return take_note(l, answer);
	}
	return false;
}

void link_read(
	struct link *l, const struct msg_read_answer *answer, uint64_t *serial, struct buf *out)
{
	l->poll_serial = 0;
	if (take_step(l, answer) && answer->err == ERR_OK)
		ask(l, serial, out);
}

bool link_fresh(const struct link *l, int64_t now)
{
	return l->known && (l->poll_serial == 0 || now - l->poll_asked <= SIGNER_STALE_MS);
}

const char *link_note(const struct link *l, const char *chain)
{
	for (unsigned i = 0; i < LINK_NOTES; i++)
		if (l->note[i] != NULL && strcmp(l->note_chain[i], chain) == 0)
			return l->note[i];
	return NULL;
}

static int by_name(const void *name, const void *key)
{
	return strcmp(name, ((const struct msg_state_key *)key)->name);
}

const struct msg_state_key *link_key(const struct link *l, const char *key)
{
	return l->key_count == 0 ? NULL
				 : bsearch(key, l->key, l->key_count, sizeof(*l->key), by_name);
}
