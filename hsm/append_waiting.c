#include "append_private.h"

#include <string.h>

#include "channel.h"
#include "token.h"

void waiters_give_up(struct waiter *list)
{
	for (struct waiter *w = list, *next; w != NULL; w = next) {
		next = w->next;
		waiter_wake(w);
	}
}

void answers_drop(struct append_answers *out)
{
	if (--out->left == 0)
		out->done(out->arg);
}

void waiter_wake(struct waiter *w)
{
	if (w->of != NULL)
		answers_drop(w->of);
	else
		sem_post(&w->woken);
}

static void put_last(struct waiter **first, struct waiter **last, struct waiter *w)
{
	w->next = NULL;
	*(*first == NULL ? first : &(*last)->next) = w;
	*last = w;
}

struct waiter *waiters_sent(struct append *a, uint64_t serial)
{
	struct waiter *taken = NULL, *taken_last = NULL, *rest = NULL, *next;

	for (struct waiter *w = a->sent; w != NULL; w = next) {
		next = w->next;
		if (w->serial == serial)
			put_last(&taken, &taken_last, w);
		else
			put_last(&rest, &a->sent_last, w);
	}
	a->sent = rest;
	return taken;
}

static bool may_send(const struct append *a)
{
	if (a->link == NULL)
		return false;
	return a->link->under_way < UNDER_WAY_MOST ||
	       (a->sent != NULL && monotonic_ms() - a->sent->sent_ms > PATIENCE_MS);
}

/* Takes as much as goes into one message, if one may be sent now. With the lock held. */
static struct waiter *take_waiting(struct append *a)
{
	struct link *link = a->link;
	struct waiter *group = a->waiting, *last = NULL;
	size_t count = 0, octets = 0;

	if (!may_send(a))
		return NULL;
	while (a->waiting != NULL) {
		struct waiter *w = a->waiting;
		size_t more = 0;

		for (uint16_t i = 0; i < w->count; i++)
			more += w->items[i].record.len;
		if (last != NULL && (count + w->count > MSG_ITEMS || octets + more > APPEND_OCTETS))
			break;
		count += w->count;
		octets += more;
		w->serial = a->serial + 1;
		w->sent_ms = monotonic_ms();
		last = w;
		a->waiting = w->next;
	}
	if (last == NULL)
		return NULL;
	last->next = NULL;
	a->serial++;
	link->under_way++;
	link->users++;
	return group;
}

/* Those who went with it get no answer. */
static void not_sent(struct append *a, struct link *link, uint64_t serial)
{
	struct waiter *failed;

	pthread_mutex_lock(&a->lock);
	failed = waiters_sent(a, serial);
	link->under_way--;
	pthread_mutex_unlock(&a->lock);
	waiters_give_up(failed);
}

static void message_for(struct buf *out, uint64_t serial, const struct waiter *group)
{
	struct msg_hello hello = {.role = ROLE_HSM};

	if (group->items != NULL) {
		message_of(out, serial, group);
		return;
	}
	memcpy(hello.name, group->name, sizeof hello.name);
	msg_begin(out, MSG_HELLO, serial);
	msg_hello_write(out, &hello);
}

/* From now on it can be answered, and given up. False: the channel is another one by now. */
static bool put_sent(struct append *a, const struct link *link, struct waiter *group)
{
	bool same;

	pthread_mutex_lock(&a->lock);
	same = a->link == link;
	for (struct waiter *w = same ? group : NULL, *next; w != NULL; w = next) {
		next = w->next;
		put_last(&a->sent, &a->sent_last, w);
	}
	pthread_mutex_unlock(&a->lock);
	return same;
}

static void send_group(struct append *a, struct link *link, struct waiter *group)
{
	struct buf message = BUF_INIT(MSG_MAX);
	uint64_t serial = group->serial;

	message_for(&message, serial, group);
	if (!put_sent(a, link, group))
		waiters_give_up(group);
	else if (channel_send(link->fd, &message, NULL, 0, SEND_MS) != ERR_OK)
		not_sent(a, link, serial);
	buf_free(&message);
}

void waiters_flush(struct append *a)
{
	struct waiter *group;
	struct link *link;

	pthread_mutex_lock(&a->lock);
	if (a->sending) { /* that thread sends this, too: one after the other, in order */
		pthread_mutex_unlock(&a->lock);
		return;
	}
	a->sending = true;
	while ((group = take_waiting(a)) != NULL) {
		link = a->link;
		pthread_mutex_unlock(&a->lock);
		send_group(a, link, group);
		pthread_mutex_lock(&a->lock);
		link_drop(link);
	}
	a->sending = false;
	pthread_mutex_unlock(&a->lock);
}

bool waiter_ask(struct append *a, enum stage stage, struct waiter *w)
{
	bool there;

	pthread_mutex_lock(&a->lock);
	there = a->link != NULL && a->link->stage == stage;
	if (there) {
		w->number = a->link->number;
		put_last(&a->waiting, &a->waiting_last, w);
	}
	pthread_mutex_unlock(&a->lock);
	return there;
}

size_t append_ready(struct append *a)
{
	size_t n = 0;

	pthread_mutex_lock(&a->lock);
	if (!a->sending && may_send(a))
		for (const struct waiter *w = a->waiting; w != NULL; w = w->next)
			n++;
	pthread_mutex_unlock(&a->lock);
	return n;
}
