#include "append_private.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "channel.h"
#include "log.h"

#define SEND_MS	       2000
#define EXIT_MALFORMED 70

struct append *append_new(void)
{
	struct append *a = calloc(1, sizeof *a);

	if (a != NULL)
		pthread_mutex_init(&a->lock, NULL);
	return a;
}

/* With the lock held. */
static void link_drop(struct link *link)
{
	if (link == NULL || --link->users > 0)
		return;
	close(link->fd);
	free(link);
}

void append_free(struct append *a)
{
	if (a == NULL)
		return;
	link_drop(a->link);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

/* Nobody answers these any more. */
static void give_up(struct waiter *list)
{
	for (struct waiter *w = list, *next; w != NULL; w = next) {
		next = w->next; /* it may go as soon as it is woken */
		sem_post(&w->woken);
	}
}

static void put_last(struct waiter **first, struct waiter **last, struct waiter *w)
{
	w->next = NULL;
	*(*first == NULL ? first : &(*last)->next) = w;
	*last = w;
}

void append_attach(struct append *a, int fd)
{
	struct link *link = fd < 0 ? NULL : calloc(1, sizeof *link);
	struct waiter *sent, *waiting;

	if (fd >= 0 && link == NULL)
		close(fd);
	pthread_mutex_lock(&a->lock);
	link_drop(a->link);
	a->link = link;
	if (link != NULL)
		*link = (struct link){.fd = fd, .users = 1, .number = ++a->number};
	sent = a->sent;
	waiting = a->waiting;
	a->sent = a->waiting = NULL;
	pthread_mutex_unlock(&a->lock);
	give_up(sent);
	give_up(waiting);
}

int append_fd(const struct append *a)
{
	return a->link == NULL ? -1 : a->link->fd;
}

/* Those who went with this message, in their order. With the lock held. */
static struct waiter *take_sent(struct append *a, uint64_t serial)
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

/* --- what was not sent yet --- */

/* Takes as much as goes into one message, if one may be sent now. With the lock held. */
static struct waiter *take_waiting(struct append *a)
{
	struct link *link = a->link;
	struct waiter *group = a->waiting, *last = NULL;
	size_t count = 0, octets = 0;

	if (link == NULL || group == NULL || link->under_way >= UNDER_WAY_MOST)
		return NULL;
	a->serial++;
	while (a->waiting != NULL) {
		struct waiter *w = a->waiting;
		size_t more = 0;

		for (uint16_t i = 0; i < w->count; i++)
			more += w->items[i].record.len;
		if (last != NULL && (count + w->count > MSG_ITEMS || octets + more > APPEND_OCTETS))
			break;
		count += w->count;
		octets += more;
		w->serial = a->serial;
		last = w;
		a->waiting = w->next;
	}
	last->next = NULL;
	link->under_way++;
	link->users++;
	return group;
}

/* Those who went with it get no answer. */
static void not_sent(struct append *a, struct link *link, uint64_t serial)
{
	struct waiter *failed;

	pthread_mutex_lock(&a->lock);
	failed = take_sent(a, serial);
	link->under_way--;
	pthread_mutex_unlock(&a->lock);
	give_up(failed);
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
		give_up(group);
	else if (channel_send(link->fd, &message, NULL, 0, SEND_MS) != ERR_OK)
		not_sent(a, link, serial);
	buf_free(&message);
}

/* Sends what waits, as far as it may be sent now. */
static void flush(struct append *a)
{
	struct waiter *group;
	struct link *link;

	pthread_mutex_lock(&a->lock);
	while ((group = take_waiting(a)) != NULL) {
		link = a->link;
		pthread_mutex_unlock(&a->lock);
		send_group(a, link, group);
		pthread_mutex_lock(&a->lock);
		link_drop(link);
	}
	pthread_mutex_unlock(&a->lock);
}

bool waiter_ask(struct append *a, enum stage stage, struct waiter *w)
{
	bool there;

	sem_init(&w->woken, 0, 0);
	pthread_mutex_lock(&a->lock);
	there = a->link != NULL && a->link->stage == stage;
	if (there) {
		w->number = a->link->number;
		put_last(&a->waiting, &a->waiting_last, w);
	}
	pthread_mutex_unlock(&a->lock);
	if (there)
		flush(a);
	return there;
}

void waiter_wait(struct waiter *w)
{
	while (sem_wait(&w->woken) != 0)
		;
	sem_destroy(&w->woken);
}

/* --- answers --- */

void message_unref(struct append_message *m)
{
	if (m == NULL || --m->users > 0)
		return;
	free(m->body);
	free(m->octets);
	free(m);
}

/* Answers to so many records; ERR_FORMAT, ERR_NOMEM. */
static enum err message_read(struct append_message *m, size_t expected)
{
	struct msg_head head;
	struct reader body, count;
	enum err e = msg_open(&head, &body, m->octets, m->len);
	size_t size = offsetof(struct msg_append_answer, item) + expected * sizeof *m->body->item;

	count = body;
	if (e != ERR_OK || reader_u16(&count) != expected)
		return ERR_FORMAT;
	m->body = malloc(size); /* its reader fills no more items than it counts */
	if (m->body == NULL)
		return ERR_NOMEM;
	memset(m->body, 0, size);
	return msg_append_answer_read(m->body, &body);
}

static enum err message_new(struct append_message **out, const uint8_t *octets, size_t len,
	uint16_t type, const struct waiter *group)
{
	struct append_message *m = calloc(1, sizeof *m);
	size_t expected = 0;
	enum err e = ERR_NOMEM;

	*out = m;
	if (m == NULL || (m->octets = malloc(len)) == NULL)
		return ERR_NOMEM;
	memcpy(m->octets, octets, len);
	m->len = len;
	m->users = 1;
	if ((type == MSG_ANSWER(MSG_HELLO)) != (group->items == NULL))
		return ERR_FORMAT;
	for (const struct waiter *w = group; w != NULL; w = w->next)
		expected += w->count;
	if (type == MSG_ANSWER(MSG_APPEND))
		e = message_read(m, expected);
	else
		e = ERR_OK;
	return e;
}

static void hand_out(struct append_message *m, struct waiter *group)
{
	size_t first = 0;

	for (struct waiter *w = group, *next; w != NULL; w = next) {
		next = w->next;
		w->first = first;
		first += w->count;
		m->users++;
		w->answer = m;
		sem_post(&w->woken);
	}
}

static enum err deliver(struct append *a, size_t len)
{
	struct append_message *m = NULL;
	struct msg_head head;
	struct reader body;
	struct waiter *group;
	enum err e = msg_open(&head, &body, a->inbox, len);

	if (e != ERR_OK)
		return e;
	if (head.type != MSG_ANSWER(MSG_APPEND) && head.type != MSG_ANSWER(MSG_HELLO))
		return ERR_FORMAT;
	pthread_mutex_lock(&a->lock);
	group = take_sent(a, head.serial); /* none: the record was posted */
	if (group != NULL && a->link != NULL)
		a->link->under_way--;
	pthread_mutex_unlock(&a->lock);
	if (group == NULL)
		return ERR_OK;
	e = message_new(&m, a->inbox, len, head.type, group);
	if (e == ERR_OK)
		hand_out(m, group);
	else
		give_up(group);
	message_unref(m);
	flush(a);
	return e == ERR_NOMEM ? ERR_OK : e;
}

enum err append_receive(struct append *a)
{
	size_t len, count = 0;
	enum err e =
		channel_receive(append_fd(a), a->inbox, sizeof a->inbox, &len, NULL, &count, 0);

	if (e == ERR_OK)
		return deliver(a, len);
	if (e == ERR_TIMEOUT || e == ERR_FORMAT)
		return e;
	append_attach(a, -1);
	return ERR_CLOSED;
}

_Noreturn void append_malformed(const char *what)
{
	LOG(LOG_LEVEL_ERROR, "malformed answer of the ledger", LS("message", what));
	_exit(EXIT_MALFORMED);
}

enum err append_unavailable(struct refusal *why)
{
	refuse(why, ERR_LEDGER_UNAVAILABLE, "", "%s", "");
	if (why != NULL)
		why->retry_after = 1;
	return ERR_LEDGER_UNAVAILABLE;
}

void link_advance(struct append *a, const struct waiter *w, enum stage stage)
{
	pthread_mutex_lock(&a->lock);
	if (a->link != NULL && a->link->number == w->number)
		a->link->stage = stage;
	pthread_mutex_unlock(&a->lock);
}

void link_post(struct append *a, enum stage stage, const struct buf *message)
{
	struct link *link;

	pthread_mutex_lock(&a->lock);
	link = a->link != NULL && a->link->stage == stage ? a->link : NULL;
	if (link != NULL)
		link->users++;
	pthread_mutex_unlock(&a->lock);
	if (link == NULL)
		return;
	(void)channel_send(link->fd, message, NULL, 0, SEND_MS);
	pthread_mutex_lock(&a->lock);
	link_drop(link);
	pthread_mutex_unlock(&a->lock);
}

/* HELLO was answered on this channel, but START and CONFIG were not taken. */
static bool greeted(struct append *a, struct msg_hello_answer *answer)
{
	bool yes;

	pthread_mutex_lock(&a->lock);
	yes = a->link != NULL && a->link->stage == GREETED;
	*answer = a->hello;
	pthread_mutex_unlock(&a->lock);
	return yes;
}

enum err append_open(
	struct append *a, const char *token, struct msg_hello_answer *answer, struct refusal *why)
{
	struct waiter w = {.items = NULL};
	struct msg_head head;
	struct reader body;
	enum err e;

	strncpy(w.name, token, sizeof w.name - 1);
	if (!waiter_ask(a, FRESH, &w))
		return greeted(a, answer) ? ERR_OK : append_unavailable(why);
	waiter_wait(&w);
	if (w.answer == NULL)
		return append_unavailable(why);
	e = msg_open(&head, &body, w.answer->octets, w.answer->len);
	if (e == ERR_OK)
		e = msg_hello_answer_read(answer, &body);
	message_unref(w.answer);
	if (e != ERR_OK)
		append_malformed("HELLO");
	if (answer->err != ERR_OK)
		return refuse(why, answer->err, "", "the ledger does not open the chain");
	pthread_mutex_lock(&a->lock);
	a->hello = *answer;
	pthread_mutex_unlock(&a->lock);
	link_advance(a, &w, GREETED);
	return ERR_OK;
}

uint64_t append_generation(struct append *a)
{
	uint64_t n;

	pthread_mutex_lock(&a->lock);
	n = a->link != NULL && a->link->stage == OPEN ? a->link->number : 0;
	pthread_mutex_unlock(&a->lock);
	return n;
}

void append_chain(struct append *a, char chain[2 * NAME_SIZE + 8])
{
	pthread_mutex_lock(&a->lock);
	memcpy(chain, a->hello.chain, sizeof a->hello.chain);
	pthread_mutex_unlock(&a->lock);
}
